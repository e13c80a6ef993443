//! Recorded Key Vault conversations, replayed against the emulator's state machine. Backups that Azure made are replaced
//! by ours of the same moment, versions and ciphertexts likewise.
//!
//! Delete, recover and purge take time on Azure, and how much is chance. So every transition takes its median here, and
//! the clock is moved just as far as the recorded answer demands: order is judged, not speed.

use std::collections::{BTreeMap, BTreeSet};

use akv_archiver::emulator::seed;
use akv_archiver::emulator::vault::Vaults;
use akv_archiver::emulator::wire::{Caller, Request, Response};
use chrono::DateTime;
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};

use super::Judged;
use super::compare::{self, Difference, Names, is_version};
use super::setup::{dice, id, key, parts, seeds};
use super::traffic::Interaction;

/// Headers that are not the vault's own: the transport's, the recorder's, and those of the permission model, which the
/// recorded vaults did not all share.
const IGNORED: &[&str] = &[
    "connection",
    "content-length",
    "date",
    "server",
    "x-aspnet-version",
    "x-ms-client-request-id",
    "x-ms-keyvault-rbac-assignment-id",
    "x-ms-keyvault-rbac-cache",
    "x-ms-request-id",
    "x-powered-by",
];

/// Headers whose value counts.
const JUDGED: &[&str] = &[
    "cache-control",
    "content-type",
    "expires",
    "location",
    "pragma",
    "strict-transport-security",
    "www-authenticate",
    "x-content-type-options",
];

/// Seconds within which everything settles: the longest recorded purge took 204.
const SETTLED: i64 = 210;

/// Replays the part of a conversation that went to vaults.
pub(super) fn replay(conversation: &[Interaction]) -> Judged {
    let ours: Vec<&Interaction> = conversation.iter().filter(|it| it.to_vault()).collect();
    let mut judged = Judged::default();
    if ours.is_empty() {
        return judged;
    }
    let mut replay = Replay::new(&ours);
    let mut done = BTreeSet::new();
    for (at, recorded) in ours.iter().enumerate() {
        if done.contains(&at) {
            continue;
        }
        if recorded.path.ends_with("/release") {
            // Needs an attestation service; the emulator refuses it.
            judged.left_out += 1;
            continue;
        }
        let pages = pages(&ours, at);
        let mut found = if pages.is_empty() { replay.one(recorded) } else { replay.list(&pages, &ours, &mut done, at) };
        // How a certificate was made that the conversation only found cannot be known.
        if replay.found_there(recorded) {
            found.retain(|difference| difference.what != "value" || !difference.at.starts_with("$.policy."));
        }
        judged.answers += pages.len().max(1);
        for page in &pages {
            let (own, foreign) = replay.items(ours[*page]);
            judged.items += own;
            judged.foreign += foreign;
        }
        if !found.iter().any(|difference| difference.at == "status") {
            let answer: Value = serde_json::from_str(&recorded.answer).unwrap_or_default();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let error = &answer["error"];
            judged.seen.note(
                recorded.status,
                operation(recorded),
                text(&error["code"]),
                text(&error["innererror"]["code"]),
            );
        }
        judged.note(recorded, &operation(recorded), found);
    }
    judged
}

/// The operation: its path without names.
fn operation(recorded: &Interaction) -> String {
    let mut path = String::new();
    for (at, segment) in recorded.path.split('/').filter(|segment| !segment.is_empty()).enumerate() {
        path.push('/');
        path.push_str(match (at, segment) {
            (1, "restore" | "contacts" | "issuers") | (0, _) => segment,
            (1, _) => "{name}",
            (2, _) if path.starts_with("/certificates/issuers") => "{issuer}",
            (2, version) if is_version(version) => "{version}",
            _ => segment,
        });
    }
    format!("{} {path}", recorded.method)
}

/// For the first page of a list, the positions of all its pages.
fn pages(conversation: &[&Interaction], at: usize) -> Vec<usize> {
    let first = conversation[at];
    let is_page = |it: &Interaction| {
        let answer: Value = serde_json::from_str(&it.answer).unwrap_or_default();
        (it.method == "GET" && it.status == 200 && answer["value"].is_array()).then_some(answer)
    };
    let Some(mut answer) = is_page(first) else { return Vec::new() };
    let mut pages = vec![at];
    while let Some(link) = answer["nextLink"].as_str() {
        let link = url::Url::parse(link).unwrap();
        let token = link.query_pairs().find(|(name, _)| name == "$skiptoken").map(|(_, token)| token.into_owned());
        let from = pages.last().unwrap() + 1;
        let next = conversation.iter().enumerate().skip(from).find(|(_, it)| {
            // A recording without queries shows only that the same list was asked for.
            it.path == first.path && (it.query.is_empty() || it.query("$skiptoken") == token.as_deref())
        });
        let Some((next, it)) = next else { break };
        let Some(page) = is_page(it) else { break };
        pages.push(next);
        answer = page;
    }
    pages
}

struct Replay {
    vaults: Vaults,
    now: i64,
    /// Until when something may be in transition.
    unsettled: i64,
    names: Names,
    backups: BTreeMap<String, String>,
    /// The last recorded backup of each type, for recordings without request bodies.
    last_backup: BTreeMap<String, String>,
    /// Objects that this conversation made, as `type/NAME`. The recorded vaults held others, too.
    made: BTreeSet<String>,
    /// Those among them that it only found.
    found: BTreeSet<String>,
    tenant: String,
    /// Vaults without soft delete, as there were until 2020.
    bare: BTreeSet<String>,
}

impl Replay {
    fn new(conversation: &[&Interaction]) -> Self {
        let date = conversation.iter().find_map(|it| it.answer_headers.get("date"));
        let now = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()).unwrap().timestamp();
        let seeds = seeds(conversation);
        let made = seeds.iter().flat_map(|vault| &vault.objects);
        let made = made.flat_map(|object| ["keys", "secrets", "certificates"].map(|kind| key(kind, &object.name)));
        let made: BTreeSet<String> = made.collect();
        let mut vaults = Vaults::new(&seeds, DateTime::from_timestamp(now, 0).unwrap(), dice()).unwrap();
        vaults.set_limbo(seed::Limbo::Real);
        let bare = |it: &&&Interaction| it.answer.contains("\"Purgeable\"");
        let challenge = conversation.iter().find_map(|it| it.answer_headers.get("www-authenticate"));
        let tenant = challenge.and_then(|text| text.split('"').nth(1)?.rsplit('/').next()).unwrap_or("t").to_owned();
        Replay {
            vaults,
            now,
            unsettled: 0,
            names: Names::default(),
            backups: BTreeMap::new(),
            last_backup: BTreeMap::new(),
            found: made.clone(),
            made,
            tenant,
            bare: conversation.iter().filter(bare).map(|it| it.host.clone()).collect(),
        }
    }

    fn found_there(&self, recorded: &Interaction) -> bool {
        let address = format!("https://{}{}", recorded.host, recorded.path);
        parts(&address).is_some_and(|(kind, name, _)| self.found.contains(&key(&kind, &name)))
    }

    /// Sends a request at a time.
    fn send(&mut self, now: i64, known: bool, request: &Request) -> Response {
        let caller = Caller {
            name: "tester".into(),
            client_id: "c".into(),
            object_id: "o".into(),
            audience: "https://vault.azure.net".into(),
            actions: vec!["*".into()],
            scopes: Vec::new(),
        };
        let now = DateTime::from_timestamp(now, 0).unwrap();
        self.vaults.handle(now, known.then_some(&caller), request, &self.tenant)
    }

    /// Our version of a recorded request.
    fn request(&mut self, recorded: &Interaction) -> Request {
        let mut query: Vec<(String, String)> =
            recorded.query.iter().map(|(name, value)| (name.clone(), self.names.ours(value))).collect();
        if query.is_empty() {
            // By what the recorded answers show: no recoverableDays in 2019.
            let version = if date(recorded) < 1_590_000_000 { "7.0" } else { "7.2" };
            query.push(("api-version".into(), version.into()));
        }
        let path = self.names.ours(&recorded.path);
        let body = self.body(recorded, &path, &query);
        Request {
            method: Method::from_bytes(recorded.method.as_bytes()).unwrap(),
            host: recorded.host.clone(),
            path,
            query,
            headers: HeaderMap::new(),
            body: body.into(),
        }
    }

    fn body(&mut self, recorded: &Interaction, path: &str, query: &[(String, String)]) -> String {
        let known = recorded.status != 401;
        let kind = path.split('/').nth(1).unwrap_or_default().to_owned();
        if recorded.body.is_empty() && known && path.ends_with("/create") {
            let answer: Value = serde_json::from_str(&recorded.answer).unwrap();
            return json!({"kty": answer["key"]["kty"]}).to_string();
        }
        if recorded.body.is_empty() && known && path.ends_with("/restore") {
            return json!({"value": self.last_backup[&kind]}).to_string();
        }
        let Ok(mut body) = serde_json::from_str::<Value>(&recorded.body) else { return recorded.body.clone() };
        if path.ends_with("/restore")
            && let Some(ours) = body["value"].as_str().and_then(|blob| self.backups.get(blob))
        {
            body["value"] = ours.clone().into();
        }
        if let Some(object) = path.strip_suffix("/decrypt") {
            // Azure's ciphertext was for Azure's key: the same plaintext, for ours.
            let answer: Value = serde_json::from_str(&recorded.answer).unwrap();
            let plain = json!({"alg": body["alg"], "value": answer["value"]}).to_string();
            let request = Request {
                method: Method::POST,
                host: recorded.host.clone(),
                path: format!("{object}/encrypt"),
                query: query.to_vec(),
                headers: HeaderMap::new(),
                body: plain.into(),
            };
            let answer = self.send(self.now, true, &request);
            let answer: Value = serde_json::from_slice(&answer.body).unwrap();
            body["value"] = answer["value"].clone();
        }
        body.to_string()
    }

    /// One request; a list is [`Replay::list`].
    fn one(&mut self, recorded: &Interaction) -> Vec<Difference> {
        let request = self.request(recorded);
        let mut first = None;
        let mut at = self.now;
        loop {
            let response = self.send(at, recorded.status != 401, &request);
            let found = self.judge(recorded, &response);
            let changed = response.status.is_success() && request.method != Method::GET;
            if changed || !found.iter().any(of_time) {
                self.now = at;
                self.settle(recorded, &response);
                return found;
            }
            first.get_or_insert(found);
            at += 1;
            if at > self.unsettled {
                return first.unwrap_or_default();
            }
        }
    }

    fn judge(&mut self, recorded: &Interaction, response: &Response) -> Vec<Difference> {
        let status = response.status.as_u16();
        let ours = String::from_utf8_lossy(&response.body);
        if status != recorded.status {
            let detail = |status: u16, body: &str| format!("{status} {body}");
            let theirs = detail(recorded.status, &recorded.answer);
            return vec![Difference::new("status", "value", &theirs, &detail(status, &ours))];
        }
        let mut found = Vec::new();
        match (serde_json::from_str(&recorded.answer), serde_json::from_slice(&response.body)) {
            (Ok(recorded_json), Ok(ours)) => {
                let secret = is_secret(recorded, &recorded_json);
                found.extend(compare::json(&recorded_json, &ours, secret, &mut self.names));
            }
            (Err(_), Err(_)) => {}
            (Ok(_), Err(_)) => found.push(Difference::new("$", "missing", &recorded.answer, &ours)),
            (Err(_), Ok(_)) => found.push(Difference::new("$", "extra", &recorded.answer, &ours)),
        }
        found.extend(self.judge_headers(recorded, response));
        found
    }

    fn judge_headers(&self, recorded: &Interaction, response: &Response) -> Vec<Difference> {
        let mut found = compare::headers(&recorded.answer_headers, &response.headers, IGNORED, JUDGED, &self.names);
        // Only the Go recorder keeps the advice when to ask again; the others take it out, so that tests do not wait.
        if !recorded.file.contains("-for-go__") {
            found.retain(|difference| difference.at != "header retry-after");
        }
        found
    }

    /// What follows from a request that both sides granted.
    fn settle(&mut self, recorded: &Interaction, response: &Response) {
        if recorded.method == "GET" || !response.status.is_success() {
            return;
        }
        self.now += 1;
        self.unsettled = self.now + SETTLED;
        if recorded.method == "DELETE" && self.bare.contains(&recorded.host) {
            self.now = self.unsettled;
            let mut purge = self.request(recorded);
            purge.path = format!("/deleted{}", purge.path.trim_start_matches('/'));
            self.send(self.now, true, &purge);
            self.now += SETTLED;
        }
        let text = |json: &Value| json["value"].as_str().map(str::to_owned);
        let ours: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let theirs: Value = serde_json::from_str(&recorded.answer).unwrap_or_default();
        if recorded.path.ends_with("/backup")
            && let (Some(theirs), Some(ours)) = (text(&theirs), text(&ours))
        {
            let kind = recorded.path.split('/').nth(1).unwrap_or_default().to_owned();
            self.backups.insert(theirs, ours.clone());
            self.last_backup.insert(kind, ours);
        }
        let address = id(&theirs).or_else(|| id(&theirs["key"]));
        if let Some((kind, name, _)) = address.as_deref().and_then(parts) {
            self.made.insert(key(&kind, &name));
            if kind == "certificates" {
                self.made.extend([key("keys", &name), key("secrets", &name)]);
            }
        }
    }

    /// Items of a page that are this conversation's own, and others.
    fn items(&self, page: &Interaction) -> (usize, usize) {
        let page: Value = serde_json::from_str(&page.answer).unwrap();
        let items = page["value"].as_array().unwrap();
        let addresses = items.iter().filter_map(id);
        let own = addresses
            .filter_map(|address| parts(&address))
            .filter(|(kind, name, _)| self.made.contains(&key(kind, name)));
        let own = own.count();
        (own, items.len() - own)
    }

    /// A whole list: its pages need not break where Azure's did, but what is in it must agree.
    fn list(
        &mut self,
        pages: &[usize],
        conversation: &[&Interaction],
        done: &mut BTreeSet<usize>,
        at: usize,
    ) -> Vec<Difference> {
        done.extend(pages);
        let recorded: Vec<&Interaction> = pages.iter().map(|page| conversation[*page]).collect();
        let theirs: Vec<Value> = recorded.iter().map(|page| serde_json::from_str(&page.answer).unwrap()).collect();
        let request = self.request(conversation[at]);
        let mut first = None;
        let mut now = self.now;
        loop {
            let found = self.judge_list(now, &request, recorded[0], &theirs);
            if !found.iter().any(of_time) {
                self.now = now;
                return found;
            }
            first.get_or_insert(found);
            now += 1;
            if now > self.unsettled {
                return first.unwrap_or_default();
            }
        }
    }

    fn judge_list(&mut self, now: i64, request: &Request, recorded: &Interaction, theirs: &[Value]) -> Vec<Difference> {
        let mut request = request.clone();
        let mut found = Vec::new();
        let mut ours = Vec::new();
        loop {
            let response = self.send(now, true, &request);
            if ours.is_empty() {
                if response.status.as_u16() != recorded.status {
                    return self.judge(recorded, &response);
                }
                found = self.judge_headers(recorded, &response);
            }
            let page: Value = serde_json::from_slice(&response.body).unwrap();
            let next = page["nextLink"].as_str().map(|link| url::Url::parse(link).unwrap());
            ours.push(page);
            let Some(next) = next else { break };
            request.query = next.query_pairs().into_owned().collect();
        }
        found.extend(self.judge_pages(theirs, &ours));
        found
    }

    fn judge_pages(&mut self, theirs: &[Value], ours: &[Value]) -> Vec<Difference> {
        let mut found = Vec::new();
        let shape = |pages: &[Value]| {
            let keys = pages.iter().flat_map(|page| page.as_object().unwrap().keys().cloned());
            keys.collect::<BTreeSet<String>>()
        };
        let (left, right) = (shape(theirs), shape(ours));
        if left != right {
            found.push(Difference::new("$", "value", &format!("{left:?}"), &format!("{right:?}")));
        }
        let links = |pages: &[Value]| pages.first().and_then(|page| page["nextLink"].as_str().map(link_form));
        if let (Some(left), Some(right)) = (links(theirs), links(ours))
            && left != right
        {
            found.push(Difference::new("$.nextLink", "value", &left, &right));
        }
        let items = |pages: &[Value]| -> Vec<Value> {
            pages.iter().flat_map(|page| page["value"].as_array().unwrap().clone()).collect()
        };
        let complete = theirs.last().is_some_and(|page| page["nextLink"].is_null());
        let mut rest: Vec<(String, Value)> =
            items(ours).into_iter().map(|item| (id(&item).unwrap_or_default(), item)).collect();
        let mut order = Vec::new();
        for item in items(theirs) {
            let address = id(&item).unwrap_or_default();
            let Some((kind, name, version)) = parts(&address) else { continue };
            if !self.made.contains(&key(&kind, &name)) {
                continue;
            }
            let wanted = self.names.ours(&address);
            match rest.iter().position(|(address, _)| *address == wanted) {
                Some(at) => {
                    order.extend(version.is_none().then(|| name.to_ascii_uppercase()));
                    let (_, ours) = rest.swap_remove(at);
                    let differences = compare::json(&item, &ours, false, &mut self.names);
                    let differences = differences.into_iter();
                    found.extend(differences.map(|it| Difference { at: it.at.replacen('$', "$.value[]", 1), ..it }));
                }
                None => found.push(Difference::new("$.value", "missing", &item.to_string(), "nothing")),
            }
        }
        if !order.is_sorted() {
            found.push(Difference::new("$.value", "order", &order.join(" "), "by name"));
        }
        for (_, item) in rest.into_iter().filter(|_| complete) {
            found.push(Difference::new("$.value", "extra", "nothing", &item.to_string()));
        }
        found
    }
}

/// Whether waiting may make a difference go away.
fn of_time(difference: &Difference) -> bool {
    matches!(difference.at.as_str(), "status" | "$.status" | "$.value")
}

/// Whether the answer's `value` is key material: a backup, a ciphertext or signature, a certificate's key.
fn is_secret(recorded: &Interaction, answer: &Value) -> bool {
    let certificate = answer["contentType"].as_str().is_some_and(|kind| kind.starts_with("application/x-p"));
    let last = recorded.path.rsplit('/').next().unwrap_or_default();
    certificate || matches!(last, "backup" | "encrypt" | "sign" | "wrapkey")
}

/// A next link without host and token: what surrounds them is fixed.
fn link_form(link: &str) -> String {
    let (before, after) = link.split_once("$skiptoken=").unwrap_or((link, ""));
    let before = before.split_once(".vault.azure.net").map_or(before, |(_, rest)| rest);
    format!("{before}$skiptoken=…{}", after.find('&').and_then(|at| after.get(at..)).unwrap_or_default())
}

fn date(recorded: &Interaction) -> i64 {
    let date = recorded.answer_headers.get("date");
    date.and_then(|date| DateTime::parse_from_rfc2822(date).ok()).map_or(0, |date| date.timestamp())
}
