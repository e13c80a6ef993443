//! Recorded conversations about the protection of containers, replayed against the emulator's Resource Manager. What else
//! was asked of it is not replayed: it shows resources that no conversation made.

use akv_archiver::emulator::arm::{World, handle};
use akv_archiver::emulator::blob::Blobs;
use akv_archiver::emulator::seed;
use akv_archiver::emulator::wire::{Caller, Request};
use chrono::{DateTime, TimeDelta, Utc};
use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::Judged;
use super::compare::{self, Difference, Names};
use super::traffic::Interaction;

/// A request about a container's protection, or its deletion: account, container, and what follows these in its path.
fn about(it: &Interaction) -> Option<(&str, &str, &str)> {
    let (_, path) = it.path.split_once("/Microsoft.Storage/storageAccounts/")?;
    let (account, path) = path.split_once("/blobServices/default/containers/")?;
    let (container, rest) = path.split_once('/').unwrap_or((path, ""));
    let judged = rest.starts_with("immutabilityPolicies/")
        || matches!(rest, "setLegalHold" | "clearLegalHold")
        || rest.is_empty() && it.method == "DELETE";
    (it.host == "management.azure.com" && judged).then_some((account, container, rest))
}

/// Replays the part of a conversation that is about a container's protection.
pub(super) fn replay(conversation: &[Interaction]) -> Judged {
    let ours: Vec<&Interaction> = conversation.iter().filter(|it| about(it).is_some()).collect();
    let mut judged = Judged::default();
    let Some(first) = ours.first() else { return judged };
    let mut replay = Replay::new(first);
    for recorded in ours {
        let found = replay.one(recorded);
        judged.answers += 1;
        if !found.iter().any(|difference| difference.at == "status") {
            let answer: Value = serde_json::from_str(&recorded.answer).unwrap_or_default();
            let code = answer["error"]["code"].as_str().unwrap_or_default().to_owned();
            judged.seen.note(recorded.status, operation(recorded), code, String::new());
        }
        judged.note(recorded, &operation(recorded), found);
    }
    judged
}

fn operation(recorded: &Interaction) -> String {
    let (.., rest) = about(recorded).unwrap();
    let slash = if rest.is_empty() { "" } else { "/" };
    format!("{} …/containers/{{container}}{slash}{rest}", recorded.method)
}

struct Replay {
    blobs: Blobs,
    names: Names,
    now: DateTime<Utc>,
    /// The part of ids that the emulator has a rule for.
    group: (String, String),
}

impl Replay {
    /// The account and the container, which was made before.
    fn new(first: &Interaction) -> Self {
        let (account, container, _) = about(first).unwrap();
        let date = first.answer_headers.get("date").unwrap();
        let now = DateTime::parse_from_rfc2822(date).unwrap().to_utc();
        let subscription = first.path.split('/').nth(2).unwrap().to_owned();
        let group = first.path.split('/').nth(4).unwrap();
        let container = seed::Container {
            name: container.to_owned(),
            worm: seed::Worm::None,
            days: None,
            locked: false,
            legal_hold: false,
        };
        let seed = seed::Account {
            account: account.to_owned(),
            subscription,
            location: "westus".into(),
            containers: vec![container],
        };
        Replay {
            blobs: Blobs::new(&[seed], now).unwrap(),
            names: Names::default(),
            now,
            group: (format!("/resourceGroups/{group}/"), format!("/resourceGroups/rg-{account}/")),
        }
    }

    fn one(&mut self, recorded: &Interaction) -> Vec<Difference> {
        let caller = Caller {
            name: "tester".into(),
            client_id: "c".into(),
            object_id: "o".into(),
            audience: "https://management.azure.com".into(),
            actions: vec!["*".into()],
            scopes: Vec::new(),
        };
        let mut headers = HeaderMap::new();
        if let Some(etag) = recorded.headers.get("if-match") {
            headers.insert("if-match", HeaderValue::from_str(&self.names.ours(etag)).unwrap());
        }
        let request = Request {
            method: Method::from_bytes(recorded.method.as_bytes()).unwrap(),
            host: recorded.host.clone(),
            path: recorded.path.replace(&self.group.0, &self.group.1),
            query: recorded.query.clone(),
            headers,
            body: recorded.body.clone().into(),
        };
        self.now += TimeDelta::milliseconds(10);
        let world = World { tenant_id: "t".into(), vaults: Vec::new(), accounts: self.blobs.accounts() };
        let response = handle(&world, &mut self.blobs, self.now, Some(&caller), &request);
        let (status, ours) = (response.status.as_u16(), String::from_utf8_lossy(&response.body));
        if status != recorded.status {
            let theirs = format!("{} {}", recorded.status, recorded.answer);
            return vec![Difference::new("status", "value", &theirs, &format!("{status} {ours}"))];
        }
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let (theirs, ours) = (json(&recorded.answer), json(&ours.replace(&self.group.1, &self.group.0)));
        // An ETag names a state: theirs is ours from here on, and the same where it was the same before.
        if let (Some(theirs), Some(ours)) = (theirs["etag"].as_str(), ours["etag"].as_str()) {
            if theirs.is_empty() != ours.is_empty() {
                return vec![Difference::new("$.etag", "value", theirs, ours)];
            }
            self.names.learn(theirs.trim_matches('"'), ours.trim_matches('"'));
        }
        let theirs = json(&self.names.ours(&theirs.to_string()));
        compare::json(&theirs, &ours, false, &mut self.names)
    }
}
