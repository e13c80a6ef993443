//! Stories told to the whole state machine through `handle`, as a client would: request in, response out.

mod access;
mod content;
mod listing;
mod worm;

use super::*;
use bytes::Bytes;
use chrono::TimeDelta;
use hyper::HeaderMap;

const VLW: &str = "archive.blob.core.windows.net";
const ALL: &[&str] = &["*"];
const PREFIX: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/";

/// An account with one container of each kind, a clock, and the principal who asks.
struct Service {
    blobs: Blobs,
    now: DateTime<Utc>,
    caller: Caller,
}

impl Service {
    fn new() -> Self {
        let seed: seed::Seed = toml::from_str(
            r#"
            [[storage]]
            account = "archive"
            subscription = "22222222-2222-2222-2222-222222222222"
            location = "northeurope"
            containers = [
              { name = "versions", worm = "version-level", days = 10, locked = true },
              { name = "unlocked", worm = "version-level", days = 10 },
              { name = "bare", worm = "version-level" },
              { name = "names", worm = "container-level", days = 10, locked = true },
              { name = "held", legal_hold = true },
              { name = "plain" },
            ]"#,
        )
        .unwrap();
        let now = DateTime::from_timestamp(1_800_000_000, 123_456_700).unwrap();
        let caller = Caller {
            name: "owner".into(),
            client_id: "c".into(),
            object_id: "o".into(),
            audience: "https://storage.azure.com".into(),
            actions: Vec::new(),
            scopes: Vec::new(),
        };
        let mut service = Service { blobs: Blobs::new(&seed.accounts, now).unwrap(), now, caller };
        service.act_as(ALL);
        service
    }

    /// Changes what the caller may do; names without a slash in front of them are relative to `blobs/`.
    fn act_as(&mut self, actions: &[&str]) {
        let full = |action: &&str| if *action == "*" { "*".into() } else { format!("{PREFIX}{action}") };
        self.caller.actions = actions.iter().map(full).collect();
    }

    fn days_pass(&mut self, days: i64) {
        self.now += TimeDelta::days(days);
    }

    fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let request = request(method, target, headers, body);
        Reply(self.blobs.handle(self.now, Some(&self.caller), &request))
    }

    fn put(&mut self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut all = vec![("x-ms-blob-type", "BlockBlob")];
        all.extend_from_slice(headers);
        self.send("PUT", path, &all, body.as_bytes())
    }

    fn get(&mut self, target: &str) -> Reply {
        self.send("GET", target, &[], b"")
    }

    fn head(&mut self, target: &str) -> Reply {
        self.send("HEAD", target, &[], b"")
    }

    fn delete(&mut self, target: &str) -> Reply {
        self.send("DELETE", target, &[], b"")
    }

    fn after_days(&self, days: i64) -> String {
        state::http_date(self.now + TimeDelta::days(days))
    }
}

fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Request {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decode(name), percent_decode(value))
    };
    let mut map = HeaderMap::new();
    map.insert("x-ms-version", "2026-04-06".parse().unwrap());
    for (name, value) in headers {
        map.insert(hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    Request {
        method: method.parse().unwrap(),
        host: VLW.into(),
        path: path.into(),
        query: query.split('&').filter(|query| !query.is_empty()).map(pair).collect(),
        headers: map,
        body: Bytes::copy_from_slice(body),
    }
}

struct Reply(Response);

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.0.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.0.body).unwrap()
    }

    #[track_caller]
    fn ok(self, status: u16) -> Self {
        assert_eq!(self.0.status.as_u16(), status, "{:?} {}", self.0.headers, self.text());
        self
    }

    #[track_caller]
    fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.0.status.as_u16(), self.header("x-ms-error-code")), (status, Some(code)), "{}", self.text());
        self
    }

    fn version(&self) -> String {
        self.header("x-ms-version-id").unwrap().to_owned()
    }

    /// The texts of all elements of a name.
    fn all(&self, tag: &str) -> Vec<&str> {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        self.text().split(&open).skip(1).map(|rest| rest.split_once(&close).unwrap().0).collect()
    }
}

#[test]
fn state_survives_being_saved() {
    let mut service = Service::new();
    let first =
        service.put("/versions/a", &[("x-ms-legal-hold", "true"), ("x-ms-meta-k", "v")], "\u{0}one").ok(201).version();
    service.put("/versions/a", &[], "two").ok(201);
    service.send("PUT", "/plain/b?comp=block&blockid=AAAA", &[], b"block").ok(201);
    let saved = service.blobs.save();
    service.blobs = Blobs::load(&saved).unwrap();
    assert_eq!(service.blobs.save(), saved);
    let old = service.get(&format!("/versions/a?versionid={first}")).ok(200);
    assert_eq!((old.text(), old.header("x-ms-meta-k")), ("\u{0}one", Some("v")));
    service.delete("/versions/a").refused(409, "BlobImmutableDueToPolicy");
    service.send("PUT", "/plain/b?comp=blocklist", &[], b"<BlockList><Latest>AAAA</Latest></BlockList>").ok(201);
    assert!(Blobs::load(b"{\"accounts\":").unwrap_err().contains("line 1"));
}

#[test]
fn the_management_plane_sees_what_the_seed_said() {
    let mut service = Service::new();
    service.send("PUT", "/fresh?restype=container", &[], b"").ok(201);
    let accounts = service.blobs.accounts();
    let [account] = accounts.as_slice() else { panic!("{accounts:?}") };
    assert_eq!((account.name.as_str(), account.location.as_str()), ("archive", "northeurope"));
    let facts: Vec<_> = account
        .containers
        .iter()
        .map(|container| {
            (container.name.as_str(), container.worm, container.days, container.locked, container.legal_hold)
        })
        .collect();
    assert_eq!(
        facts,
        [
            ("bare", seed::Worm::VersionLevel, None, false, false),
            ("fresh", seed::Worm::None, None, false, false),
            ("held", seed::Worm::None, None, false, true),
            ("names", seed::Worm::ContainerLevel, Some(10), true, false),
            ("plain", seed::Worm::None, None, false, false),
            ("unlocked", seed::Worm::VersionLevel, Some(10), false, false),
            ("versions", seed::Worm::VersionLevel, Some(10), true, false),
        ]
    );
    assert!(service.blobs.knows(VLW));
    for host in ["other.blob.core.windows.net", "archive.queue.core.windows.net", "archive", ""] {
        assert!(!service.blobs.knows(host), "{host}");
    }
}
