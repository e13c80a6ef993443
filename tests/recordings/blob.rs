//! Recorded Blob Storage conversations, replayed against the emulator's state machine: conditions, versions, listings
//! and write-once storage.

use std::collections::{BTreeMap, BTreeSet};

use akv_archiver::emulator::blob::Blobs;
use akv_archiver::emulator::seed;
use akv_archiver::emulator::wire::{Caller, Request, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

use super::Judged;
use super::compare::{self, Difference, Names};
use super::traffic::Interaction;

/// Conversations about what the emulator does not offer: it refuses it, and nothing after that is comparable.
const LEFT_OUT: &[(&str, &str)] = &[
    ("lease", "leases"),
    ("WithoutLeaseId", "leases"),
    ("soft_delete", "soft delete of blobs and containers"),
    ("copy_rehydrate", "copies"),
    ("storage-blob__recordings__node", "recorded without queries, which say what is asked"),
];

/// The transport's headers, the recorder's, and those that name one request.
const IGNORED: &[&str] = &[
    "access-control-allow-origin",
    "access-control-expose-headers",
    "content-length",
    "date",
    "server",
    "transfer-encoding",
    "vary",
    "x-ms-client-request-id",
    "x-ms-request-id",
];

/// Headers whose value counts.
const JUDGED: &[&str] = &[
    "accept-ranges",
    "content-md5",
    "content-range",
    "content-type",
    "x-ms-access-tier",
    "x-ms-access-tier-inferred",
    "x-ms-blob-type",
    "x-ms-delete-type-permanent",
    "x-ms-error-code",
    "x-ms-immutability-policy-mode",
    "x-ms-immutability-policy-until-date",
    "x-ms-is-current-version",
    "x-ms-lease-state",
    "x-ms-lease-status",
    "x-ms-legal-hold",
    "x-ms-request-server-encrypted",
    "x-ms-server-encrypted",
    "x-ms-version",
];

/// Request headers that belong to the connection.
const HOP: &[&str] = &["accept-encoding", "authorization", "connection", "content-length", "host"];

/// Replays the part of a conversation that went to Blob Storage.
pub(super) fn replay(conversation: &[Interaction]) -> Judged {
    let ours: Vec<&Interaction> = conversation.iter().filter(|it| it.to_blob()).collect();
    let mut judged = Judged::default();
    let Some(first) = ours.first() else { return judged };
    if LEFT_OUT.iter().any(|(pattern, _)| first.file.contains(pattern)) {
        judged.left_out = ours.len();
        return judged;
    }
    let mut replay = Replay::new(&ours);
    for recorded in ours {
        let found = replay.one(recorded);
        judged.answers += 1;
        if !found.iter().any(|difference| difference.at == "status") {
            let code = recorded.answer.split_once("<Code>").and_then(|(_, rest)| rest.split_once('<'));
            let code = code.map(|(code, _)| code.to_owned());
            let code = code.or_else(|| recorded.answer_headers.get("x-ms-error-code").cloned()).unwrap_or_default();
            judged.seen.note(recorded.status, operation(recorded), code, String::new());
        }
        judged.note(recorded, &operation(recorded), found);
    }
    judged
}

fn operation(recorded: &Interaction) -> String {
    let path = match recorded.path.trim_matches('/').split('/').count() {
        1 if recorded.query("restype") == Some("container") => "/{container}",
        1 => "/",
        _ => "/{container}/{blob}",
    };
    let comp = recorded.query("comp").map(|comp| format!("?comp={}", comp.to_ascii_lowercase()));
    format!("{} {path}{}", recorded.method, comp.unwrap_or_default())
}

struct Replay {
    blobs: Blobs,
    /// The same accounts without a container.
    empty: Blobs,
    seeded: BTreeSet<String>,
    /// Names of the blobs that this conversation wrote. The recorded containers held others, too.
    made: BTreeSet<String>,
    names: Names,
    now: DateTime<Utc>,
}

fn container(it: &Interaction) -> String {
    it.path.split('/').nth(1).unwrap_or_default().to_owned()
}

impl Replay {
    /// Accounts as the conversation found them. Those that give version ids keep versions, which in the emulator only a
    /// container of the seed does: such a container is there before it is created, and the creation is judged apart.
    fn new(conversation: &[&Interaction]) -> Self {
        let date = conversation[0].answer_headers.get("date").unwrap();
        let now = DateTime::parse_from_rfc2822(date).unwrap().to_utc();
        let mut accounts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for it in conversation {
            let account = it.host.trim_end_matches(".blob.core.windows.net").to_owned();
            let containers = accounts.entry(account).or_default();
            if it.answer_headers.contains_key("x-ms-version-id")
                || it.answer_headers.get("x-ms-error-code").is_some_and(|code| code == "ContainerAlreadyExists")
            {
                containers.insert(container(it));
            }
        }
        let seed = |full: bool| -> Vec<seed::Account> {
            let account = |(name, containers): (&String, &BTreeSet<String>)| seed::Account {
                account: name.clone(),
                subscription: "s".into(),
                location: "westus".into(),
                containers: containers.iter().filter(|_| full).map(|name| versioned(name)).collect(),
            };
            accounts.iter().map(account).collect()
        };
        Replay {
            blobs: Blobs::new(&seed(true), now).unwrap(),
            empty: Blobs::new(&seed(false), now).unwrap(),
            seeded: accounts.into_values().flatten().collect(),
            made: conversation.iter().filter_map(|it| Some(it.path.splitn(3, '/').nth(2)?.to_owned())).collect(),
            names: Names::default(),
            now,
        }
    }

    fn one(&mut self, recorded: &Interaction) -> Vec<Difference> {
        let request = self.request(recorded);
        let caller = Caller {
            name: "tester".into(),
            client_id: "c".into(),
            object_id: "o".into(),
            audience: "https://storage.azure.com".into(),
            actions: vec!["*".into()],
            scopes: Vec::new(),
        };
        self.now += TimeDelta::milliseconds(10);
        let creates = request.method == Method::PUT && recorded.query("restype").is_some() && recorded.status == 201;
        let apart = creates && self.seeded.contains(&container(recorded));
        let blobs = if apart { &mut self.empty } else { &mut self.blobs };
        let response = blobs.handle(self.now, Some(&caller), &request);
        self.judge(recorded, &response)
    }

    fn request(&self, recorded: &Interaction) -> Request {
        let mut headers = HeaderMap::new();
        for (name, value) in recorded.headers.iter().filter(|(name, _)| !HOP.contains(&name.as_str())) {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.insert(name, self.names.ours(value).parse().unwrap());
        }
        // The Go recorder wrote bodies that are not text in base64.
        let go = recorded.headers.get("user-agent").is_some_and(|agent| agent.starts_with("azsdk-go"));
        let body = Some(&recorded.body).filter(|_| go).and_then(|body| STANDARD.decode(body).ok());
        let body = body.unwrap_or_else(|| recorded.body.clone().into_bytes());
        Request {
            method: Method::from_bytes(recorded.method.as_bytes()).unwrap(),
            host: recorded.host.clone(),
            path: recorded.path.clone(),
            query: recorded.query.iter().map(|(name, value)| (name.clone(), self.names.ours(value))).collect(),
            headers,
            body: body.into(),
        }
    }

    fn judge(&mut self, recorded: &Interaction, response: &Response) -> Vec<Difference> {
        let status = response.status.as_u16();
        let ours = String::from_utf8_lossy(&response.body);
        if status != recorded.status {
            let theirs = format!("{} {}", recorded.status, recorded.answer);
            return vec![Difference::new("status", "value", &theirs, &format!("{status} {ours}"))];
        }
        let mut found = compare::headers(&recorded.answer_headers, &response.headers, IGNORED, JUDGED, &self.names);
        for (name, value) in &response.headers {
            if let ("etag" | "x-ms-version-id", Some(theirs)) = (name.as_str(), recorded.answer_headers.get(name)) {
                self.names.learn(theirs, value);
            }
        }
        match (xml(&recorded.answer), xml(&ours)) {
            (Some(mut theirs), Some(mut ours)) => {
                self.own(&mut theirs);
                self.own(&mut ours);
                found.extend(compare::json(&theirs, &ours, false, &mut self.names));
            }
            (None, None) => {}
            (theirs, _) => {
                let what = if theirs.is_some() { "missing" } else { "extra" };
                found.push(Difference::new("$", what, &recorded.answer, &ours));
            }
        }
        found
    }
}

impl Replay {
    /// Leaves only this conversation's blobs in a listing.
    fn own(&self, listing: &mut Value) {
        let Some(blob) = listing.pointer_mut("/EnumerationResults/Blobs/Blob") else { return };
        let blobs = match blob.take() {
            Value::Array(blobs) => blobs,
            one => vec![one],
        };
        let own = |blob: &Value| blob["Name"].as_str().is_some_and(|name| self.made.contains(name));
        *blob = blobs.into_iter().filter(own).collect();
    }
}

fn versioned(name: &str) -> seed::Container {
    seed::Container {
        name: name.to_owned(),
        worm: seed::Worm::VersionLevel,
        days: None,
        locked: false,
        legal_hold: false,
    }
}

/// Elements whose text is a time, an identifier or a sentence with one in it.
const OPAQUE: &[&str] = &["Creation-Time", "Last-Modified", "Etag", "VersionId", "AccessTierChangeTime", "Message"];

/// XML as JSON: an element is an object of its elements, or its text. Elements of one name become a list. Attributes,
/// and blobs that are not the conversation's own, are left out.
fn xml(text: &str) -> Option<Value> {
    let text = text.trim_start_matches('\u{feff}');
    let text = text.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")).map(|(_, rest)| rest)?;
    let mut stack: Vec<(String, Map<String, Value>)> = vec![(String::new(), Map::new())];
    let mut last = "";
    for piece in text.split('<').skip(1) {
        let (tag, content) = piece.split_once('>')?;
        let name = tag.trim_end_matches('/').split(' ').next().unwrap_or_default();
        if let Some(closed) = tag.strip_prefix('/') {
            let (name, members) = stack.pop().filter(|(name, _)| name == closed)?;
            let opaque = OPAQUE.contains(&name.as_str());
            let value = match (members.is_empty(), opaque) {
                (false, _) => Value::Object(members),
                (true, true) => Value::Bool(true),
                (true, false) => Value::String(last.to_owned()),
            };
            add(&mut stack.last_mut()?.1, name, value);
        } else if tag.ends_with('/') {
            add(&mut stack.last_mut()?.1, name.to_owned(), Value::String(String::new()));
        } else {
            stack.push((name.to_owned(), Map::new()));
        }
        last = content;
    }
    stack.pop().map(|(_, members)| Value::Object(members))
}

fn add(members: &mut Map<String, Value>, name: String, value: Value) {
    match members.get_mut(&name) {
        Some(Value::Array(list)) => list.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
        None => {
            members.insert(name, value);
        }
    }
}

#[test]
fn xml_becomes_comparable() {
    let text = "\u{feff}<?xml version=\"1.0\"?><A x=\"1\"><B>1</B><B>2</B><C /><Etag>3</Etag></A>";
    let expected = serde_json::json!({"A": {"B": ["1", "2"], "C": "", "Etag": true}});
    assert_eq!(xml(text), Some(expected));
    assert_eq!(xml("no"), None);
}
