//! Stories told to the whole state machine through `handle`, as a client would: request in, response out.

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
fn a_stranger_is_told_where_to_log_in() {
    let mut service = Service::new();
    for (authorization, query, status, code) in [
        ("", "", 401, "NoAuthenticationInformation"),
        ("Bearer ", "", 401, "NoAuthenticationInformation"),
        ("Bearer forged", "", 401, "InvalidAuthenticationInfo"),
        ("SharedKey archive:abc", "", 403, "KeyBasedAuthenticationNotPermitted"),
        ("", "?sv=2020-01-01&sig=abc", 403, "KeyBasedAuthenticationNotPermitted"),
    ] {
        let request = request("GET", &format!("/plain/a{query}"), &[("authorization", authorization)], b"");
        let reply = Reply(service.blobs.handle(service.now, None, &request)).refused(status, code);
        let challenge = reply.header("www-authenticate").unwrap_or_default();
        assert_eq!(challenge.contains("resource_id=https://storage.azure.com"), status == 401, "{code}");
        assert!(reply.text().starts_with("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>"));
    }
}

#[test]
fn a_token_must_be_for_storage() {
    let mut service = Service::new();
    for audience in ["https://storage.azure.com", "https://storage.azure.com/", "https://archive.blob.core.windows.net"]
    {
        service.caller.audience = audience.into();
        service.get("/plain/a").refused(404, "BlobNotFound");
    }
    for audience in ["https://vault.azure.net", "https://other.blob.core.windows.net", ""] {
        service.caller.audience = audience.into();
        let reply = service.get("/plain/a").refused(401, "InvalidAuthenticationInfo");
        assert_eq!(reply.all("AuthenticationErrorDetail"), ["Audience validation failed. Audience did not match."]);
    }
}

#[test]
fn the_service_version_is_required_and_sane() {
    let mut service = Service::new();
    let mut bare = request("GET", "/plain/a", &[], b"");
    bare.headers.remove("x-ms-version");
    Reply(service.blobs.handle(service.now, Some(&service.caller), &bare)).refused(400, "MissingRequiredHeader");
    for version in ["", "latest", "2026-13-01", "2015-04-05", "2026-4-6"] {
        service.send("GET", "/plain/a", &[("x-ms-version", version)], b"").refused(400, "InvalidHeaderValue");
    }
    let old = [("x-ms-version", "2019-12-12"), ("x-ms-immutability-policy-mode", "Locked")];
    service.put("/versions/a", &old, "").refused(400, "InvalidHeaderValue");
}

/// The table of platform.md §3.3.
#[test]
fn each_operation_needs_its_permission() {
    let until = Service::new().after_days(20);
    let policy: &[(&str, &str)] = &[("x-ms-immutability-policy-until-date", &until)];
    let block_blob: &[(&str, &str)] = &[("x-ms-blob-type", "BlockBlob")];
    let list = "<BlockList></BlockList>".as_bytes();
    for (needs, method, target, headers, body) in [
        (&["read"][..], "GET", "/plain/there", &[][..], &b""[..]),
        (&["read"], "HEAD", "/plain/there", &[], b""),
        (&["read"], "GET", "/plain?restype=container&comp=list", &[], b""),
        (&["write"], "PUT", "/plain/new", block_blob, b"x"),
        (&["add/action"], "PUT", "/plain/new", block_blob, b"x"),
        (&["write"], "PUT", "/plain/there", block_blob, b"x"),
        (&["write"], "PUT", "/plain/new?comp=block&blockid=AAAA", &[], b"x"),
        (&["write"], "PUT", "/plain/new?comp=blocklist", &[], list),
        (&["write"], "PUT", "/plain/there?comp=metadata", &[], b""),
        (&["write"], "PUT", "/plain/there?comp=properties", &[], b""),
        (&["write"], "PUT", "/plain/there?comp=tier", &[("x-ms-access-tier", "Cool")], b""),
        (&["delete"], "DELETE", "/plain/there", &[], b""),
        (&["immutableStorage/runAsSuperUser/action"], "PUT", "/unlocked/there?comp=immutabilityPolicies", policy, b""),
        (&["immutableStorage/runAsSuperUser/action"], "DELETE", "/unlocked/there?comp=immutabilityPolicies", &[], b""),
        (
            &["immutableStorage/runAsSuperUser/action"],
            "PUT",
            "/unlocked/there?comp=legalhold",
            &[("x-ms-legal-hold", "true")],
            b"",
        ),
    ] {
        let mut service = Service::new();
        service.put("/plain/there", &[], "1").ok(201);
        service.put("/unlocked/there", &[], "1").ok(201);
        let others = ["read", "write", "delete", "deleteBlobVersion/action", "immutableStorage/runAsSuperUser/action"];
        let others: Vec<_> = others.into_iter().filter(|action| !needs.contains(action)).collect();
        // Creating takes either of two, so neither may be left.
        let creates = target == "/plain/new";
        let others: Vec<_> = others.into_iter().filter(|action| !(creates && *action == "write")).collect();
        service.act_as(&others);
        service.send(method, target, headers, body).refused(403, "AuthorizationPermissionMismatch");
        service.act_as(needs);
        let reply = service.send(method, target, headers, body);
        assert!(reply.0.status.is_success(), "{needs:?} {method} {target}: {}", reply.text());
    }
}

#[test]
fn who_may_only_add_can_neither_overwrite_nor_protect_nor_use_blocks() {
    let mut service = Service::new();
    service.act_as(&["add/action", "read"]);
    let until = service.after_days(20);
    service.put("/versions/a", &[("if-none-match", "*")], "1").ok(201);
    service.put("/versions/a", &[], "2").refused(403, "AuthorizationPermissionMismatch");
    service.put("/versions/a", &[("if-none-match", "*")], "2").refused(409, "BlobAlreadyExists");
    let policy = [("x-ms-immutability-policy-until-date", until.as_str())];
    service.put("/versions/b", &policy, "1").refused(403, "AuthorizationPermissionMismatch");
    service.put("/versions/b", &[("x-ms-legal-hold", "false")], "1").refused(403, "AuthorizationPermissionMismatch");
    service
        .send("PUT", "/versions/b?comp=block&blockid=AAAA", &[], b"1")
        .refused(403, "AuthorizationPermissionMismatch");
    assert_eq!(service.get("/versions/a").ok(200).text(), "1");
}

#[test]
fn a_version_id_deletes_only_for_those_who_may_delete_versions() {
    let mut service = Service::new();
    let first = service.put("/unlocked/a", &[], "1").ok(201).version();
    service.put("/unlocked/a", &[], "2").ok(201);
    service.days_pass(11);
    service.act_as(&["delete"]);
    service.delete(&format!("/unlocked/a?versionid={first}")).refused(403, "AuthorizationPermissionMismatch");
    service.act_as(&["deleteBlobVersion/action"]);
    service.delete(&format!("/unlocked/a?versionid={first}")).ok(202);
}

#[test]
fn put_blob_answers_and_head_describes_as_recorded() {
    let mut service = Service::new();
    let headers = [
        ("x-ms-blob-content-type", "my_type"),
        ("content-type", "text/plain"),
        ("x-ms-blob-cache-control", "control"),
        ("x-ms-blob-content-encoding", "my_encoding"),
        ("x-ms-meta-foo", "bar"),
        ("x-ms-client-request-id", "mine"),
    ];
    let put = service.put("/versions/dir%2Fa", &headers, "Hello World").ok(201);
    assert_eq!(put.header("content-md5"), Some("sQqNsWTgdUEFt6mb5y4/5Q=="));
    assert_eq!(put.header("x-ms-content-crc64"), Some("YeJLfssylmU="));
    assert_eq!(put.header("x-ms-request-server-encrypted"), Some("true"));
    assert_eq!(put.header("x-ms-client-request-id"), Some("mine"));
    assert_eq!(put.header("x-ms-version"), Some("2026-04-06"));
    assert_eq!(put.header("date"), Some("Fri, 15 Jan 2027 08:00:00 GMT"));
    assert!(!put.0.headers.iter().any(|(name, _)| name.contains("immutability")), "the 201 does not echo a policy");

    let head = service.head("/versions/dir/a").ok(200);
    assert!(head.0.body.is_empty());
    for (name, value) in [
        ("content-length", "11"),
        ("content-type", "my_type"),
        ("content-md5", "sQqNsWTgdUEFt6mb5y4/5Q=="),
        ("cache-control", "control"),
        ("content-encoding", "my_encoding"),
        ("x-ms-meta-foo", "bar"),
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-access-tier", "Hot"),
        ("x-ms-access-tier-inferred", "true"),
        ("x-ms-is-current-version", "true"),
        ("x-ms-lease-state", "available"),
        ("x-ms-immutability-policy-mode", "locked"),
        ("x-ms-immutability-policy-until-date", &service.after_days(10)),
        ("x-ms-version-id", &put.version()),
        ("etag", put.header("etag").unwrap()),
    ] {
        assert_eq!(head.header(name), Some(value), "{name}");
    }
    assert_eq!(head.header("x-ms-legal-hold"), None);
}

#[test]
fn without_versioning_there_are_no_version_ids() {
    let mut service = Service::new();
    for container in ["plain", "names"] {
        assert_eq!(service.put(&format!("/{container}/a"), &[], "1").ok(201).header("x-ms-version-id"), None);
        let head = service.head(&format!("/{container}/a")).ok(200);
        assert_eq!(head.header("x-ms-version-id"), None);
        assert_eq!(head.header("x-ms-immutability-policy-mode"), None, "container-level policies are not on blobs");
    }
    service.put("/plain/a", &[], "2").ok(201);
    assert_eq!(service.get("/plain?restype=container&comp=list&include=versions").all("Name"), ["a"]);
    assert_eq!(service.delete("/plain/a").ok(202).header("x-ms-delete-type-permanent"), Some("true"));
    service.get("/plain/a").refused(404, "BlobNotFound");
}

#[test]
fn damaged_content_is_refused() {
    let mut service = Service::new();
    let wrong = "1B2M2Y8AsgTpgAmY7PhCfg==";
    for (header, value, code) in [
        ("content-md5", wrong, "Md5Mismatch"),
        ("x-ms-blob-content-md5", wrong, "Md5Mismatch"),
        ("content-md5", "abc", "InvalidMd5"),
        ("x-ms-content-crc64", "AAAAAAAAAAA=", "Crc64Mismatch"),
        ("x-ms-content-crc64", "AAAA", "InvalidHeaderValue"),
    ] {
        service.put("/plain/a", &[(header, value)], "Hello World").refused(400, code);
    }
    service.head("/plain/a").refused(404, "BlobNotFound");
    let right = [("content-md5", "sQqNsWTgdUEFt6mb5y4/5Q=="), ("x-ms-content-crc64", "YeJLfssylmU=")];
    service.put("/plain/a", &right, "Hello World").ok(201);
}

#[test]
fn conditions_hold_or_the_write_does_not_happen() {
    let mut service = Service::new();
    let put = service.put("/plain/a", &[("if-none-match", "*")], "1").ok(201);
    let etag = put.header("etag").unwrap().to_owned();
    service.put("/plain/a", &[("if-none-match", "*")], "2").refused(409, "BlobAlreadyExists");
    service.put("/plain/a", &[("if-none-match", &etag)], "2").refused(412, "ConditionNotMet");
    service.put("/plain/a", &[("if-match", "\"0x1\"")], "2").refused(412, "ConditionNotMet");
    service.put("/plain/b", &[("if-match", "*")], "2").refused(412, "ConditionNotMet");
    service
        .put("/plain/a", &[("if-unmodified-since", "Thu, 01 Jan 2026 00:00:00 GMT")], "2")
        .refused(412, "ConditionNotMet");
    service.send("DELETE", "/plain/a", &[("if-match", "\"0x1\"")], b"").refused(412, "ConditionNotMet");
    let unchanged = service.send("GET", "/plain/a", &[("if-none-match", &etag)], b"").refused(304, "ConditionNotMet");
    assert!(unchanged.0.body.is_empty());
    assert_eq!(service.get("/plain/a").text(), "1");
    service.put("/plain/a", &[("if-match", &etag)], "2").ok(201);
    service.send("GET", "/plain/a", &[("if-match", &etag)], b"").refused(412, "ConditionNotMet");
}

#[test]
fn a_range_is_a_part_and_its_hash_has_another_name() {
    let mut service = Service::new();
    service.put("/plain/a", &[], "hello world").ok(201);
    let whole = service.send("GET", "/plain/a", &[("x-ms-range", "bytes=0-33554431")], b"").ok(206);
    assert_eq!(whole.header("content-range"), Some("bytes 0-10/11"));
    assert_eq!(whole.header("x-ms-blob-content-md5"), Some("XrY7u+Ae7tCTyyK7j1rNww=="));
    assert_eq!(whole.header("content-md5"), None);
    assert_eq!(whole.text(), "hello world");
    let wanted = [("x-ms-range", "bytes=6-8"), ("range", "bytes=0-0"), ("x-ms-range-get-content-md5", "true")];
    let part = service.send("GET", "/plain/a", &wanted, b"").ok(206);
    assert_eq!((part.text(), part.header("content-range")), ("wor", Some("bytes 6-8/11")));
    assert_eq!(part.header("content-md5"), Some(digest::md5(b"wor").as_str()));
    let beyond = service.send("GET", "/plain/a", &[("x-ms-range", "bytes=11-")], b"").refused(416, "InvalidRange");
    assert_eq!(beyond.header("content-range"), Some("bytes */11"));
    service.put("/plain/empty", &[], "").ok(201);
    service.send("GET", "/plain/empty", &[("x-ms-range", "bytes=0-4194303")], b"").refused(416, "InvalidRange");
    service.get("/plain/empty").ok(200);
}

#[test]
fn version_level_protects_bytes_but_not_the_meaning_of_a_name() {
    let mut service = Service::new();
    let first = service.put("/versions/a", &[], "good").ok(201).version();
    let second = service.put("/versions/a", &[], "evil").ok(201).version();
    assert_eq!(service.get("/versions/a").text(), "evil");
    let old = service.get(&format!("/versions/a?versionid={first}")).ok(200);
    assert_eq!((old.text(), old.header("x-ms-is-current-version")), ("good", None));
    assert_eq!(old.header("x-ms-lease-state"), None);
    service.delete(&format!("/versions/a?versionid={first}")).refused(409, "BlobImmutableDueToPolicy");
    service.delete(&format!("/versions/a?versionid={second}")).refused(403, "OperationNotAllowedOnRootBlob");
    service.delete("/versions/a").refused(409, "BlobImmutableDueToPolicy");
    service.send("PUT", "/versions/a?comp=metadata", &[], b"").refused(409, "BlobImmutableDueToPolicy");
    service.send("PUT", "/versions/a?comp=properties", &[], b"").refused(409, "BlobImmutableDueToPolicy");
    service.send("PUT", "/versions/a?comp=tier", &[("x-ms-access-tier", "Cool")], b"").ok(200);

    service.days_pass(10);
    assert_eq!(service.delete("/versions/a").ok(202).header("x-ms-delete-type-permanent"), Some("false"));
    service.get("/versions/a").refused(404, "BlobNotFound");
    assert_eq!(service.get(&format!("/versions/a?versionid={second}")).ok(200).text(), "evil");
    let gone = service.delete(&format!("/versions/a?versionid={first}")).ok(202);
    assert_eq!(gone.header("x-ms-delete-type-permanent"), Some("true"));
    service.delete(&format!("/versions/a?versionid={first}")).refused(404, "BlobNotFound");
}

#[test]
fn an_unlocked_policy_protects_too_until_it_is_removed() {
    let mut service = Service::new();
    service.put("/unlocked/a", &[], "1").ok(201);
    assert_eq!(service.head("/unlocked/a").header("x-ms-immutability-policy-mode"), Some("unlocked"));
    service.delete("/unlocked/a").refused(409, "BlobImmutableDueToPolicy");
    service.delete("/unlocked/a?comp=immutabilityPolicies").ok(200);
    service.delete("/unlocked/a").ok(202);
}

#[test]
fn a_locked_policy_grows_and_never_shrinks() {
    let mut service = Service::new();
    let etag = service.put("/unlocked/a", &[], "1").ok(201).header("etag").unwrap().to_owned();
    let dates = [1, 5, 20].map(|days| service.after_days(days));
    let set = |service: &mut Service, date: usize, mode: &str| {
        let headers =
            [("x-ms-immutability-policy-until-date", dates[date].as_str()), ("x-ms-immutability-policy-mode", mode)];
        service.send("PUT", "/unlocked/a?comp=immutabilityPolicies", &headers, b"")
    };
    set(&mut service, 0, "Unlocked").ok(200);
    let locked = set(&mut service, 1, "Locked").ok(200);
    assert_eq!(locked.header("x-ms-immutability-policy-mode"), Some("locked"));
    assert_eq!(locked.header("x-ms-immutability-policy-until-date"), Some(dates[1].as_str()));
    set(&mut service, 0, "Locked").refused(409, "BlobImmutableDueToPolicy");
    set(&mut service, 2, "Unlocked").refused(409, "BlobImmutableDueToPolicy");
    service.delete("/unlocked/a?comp=immutabilityPolicies").refused(409, "BlobImmutableDueToPolicy");
    set(&mut service, 2, "Locked").ok(200);
    assert_eq!(service.head("/unlocked/a").header("etag"), Some(etag.as_str()), "a policy leaves the etag alone");
    service.days_pass(19);
    service.delete("/unlocked/a").refused(409, "BlobImmutableDueToPolicy");
    service.days_pass(1);
    service.delete("/unlocked/a").ok(202);
}

#[test]
fn a_policy_can_come_with_the_upload_and_is_unlocked_unless_it_says_so() {
    let mut service = Service::new();
    let until = "Fri, 11 Jun 2049 20:00:00 GMT";
    let date = ("x-ms-immutability-policy-until-date", until);
    service.put("/versions/a", &[date, ("x-ms-legal-hold", "true")], "1").ok(201);
    let head = service.head("/versions/a");
    assert_eq!(head.header("x-ms-immutability-policy-until-date"), Some(until));
    assert_eq!(head.header("x-ms-immutability-policy-mode"), Some("unlocked"));
    assert_eq!(head.header("x-ms-legal-hold"), Some("true"));
    service.put("/versions/b", &[date, ("x-ms-immutability-policy-mode", "Locked")], "1").ok(201);
    assert_eq!(service.head("/versions/b").header("x-ms-immutability-policy-mode"), Some("locked"));

    let past = ("x-ms-immutability-policy-until-date", "Fri, 11 Jun 2021 20:00:00 GMT");
    service.put("/versions/c", &[past], "1").refused(400, "InvalidHeaderValue");
    service
        .put("/versions/c", &[date, ("x-ms-immutability-policy-mode", "Mutable")], "1")
        .refused(400, "InvalidHeaderValue");
    service
        .put("/versions/c", &[("x-ms-immutability-policy-mode", "Locked")], "1")
        .refused(400, "MissingRequiredHeader");
    for container in ["plain", "names"] {
        let path = format!("/{container}/c");
        service.put(&path, &[date], "1").refused(409, "BlobOperationNotSupported");
        service.head(&path).refused(404, "BlobNotFound");
    }
}

#[test]
fn version_level_without_a_default_policy_protects_nothing_of_its_own_accord() {
    let mut service = Service::new();
    let first = service.put("/bare/a", &[], "1").ok(201).version();
    assert_eq!(service.head("/bare/a").header("x-ms-immutability-policy-mode"), None);
    service.delete("/bare/a").ok(202);
    service.delete(&format!("/bare/a?versionid={first}")).ok(202);
    service.get(&format!("/bare/a?versionid={first}")).refused(404, "BlobNotFound");
}

#[test]
fn a_legal_hold_outlasts_every_policy() {
    let mut service = Service::new();
    let first = service.put("/versions/a", &[("x-ms-legal-hold", "true")], "1").ok(201).version();
    service.put("/versions/a", &[], "2").ok(201);
    service.days_pass(400);
    let by_id = format!("/versions/a?versionid={first}");
    service.delete(&by_id).refused(409, "BlobImmutableDueToLegalHold");
    let off = service.send("PUT", &format!("{by_id}&comp=legalhold"), &[("x-ms-legal-hold", "false")], b"").ok(200);
    assert_eq!(off.header("x-ms-legal-hold"), Some("false"));
    service.delete(&by_id).ok(202);

    service.put("/held/a", &[], "1").ok(201);
    service.put("/held/a", &[], "2").refused(409, "BlobImmutableDueToLegalHold");
    service.delete("/held/a").refused(409, "BlobImmutableDueToLegalHold");
}

#[test]
fn container_level_protects_names_even_after_expiry() {
    let mut service = Service::new();
    service.put("/names/a", &[], "1").ok(201);
    service.put("/names/a", &[], "2").refused(409, "BlobImmutableDueToPolicy");
    service.put("/names/a", &[("if-none-match", "*")], "2").refused(409, "BlobAlreadyExists");
    service.send("PUT", "/names/a?comp=block&blockid=AAAA", &[], b"2").refused(409, "BlobImmutableDueToPolicy");
    service.send("PUT", "/names/a?comp=metadata", &[], b"").refused(409, "BlobImmutableDueToPolicy");
    service.delete("/names/a").refused(409, "BlobImmutableDueToPolicy");
    service.days_pass(9);
    service.delete("/names/a").refused(409, "BlobImmutableDueToPolicy");
    service.days_pass(1);
    service.put("/names/a", &[], "2").refused(409, "BlobImmutableDueToPolicy");
    service.send("PUT", "/names/a?comp=metadata", &[], b"").refused(409, "BlobImmutableDueToPolicy");
    service.delete("/names/a").ok(202);
    service.put("/names/a", &[], "2").ok(201);
}

#[test]
fn where_nothing_protects_metadata_makes_a_version_if_versions_are_kept() {
    let mut service = Service::new();
    let first = service.put("/unlocked/a", &[("x-ms-meta-old", "1")], "1").ok(201).version();
    service.delete("/unlocked/a?comp=immutabilityPolicies").ok(200);
    let second = service.send("PUT", "/unlocked/a?comp=metadata", &[("x-ms-meta-new", "2")], b"").ok(200).version();
    assert_ne!(first, second);
    let head = service.head("/unlocked/a");
    assert_eq!((head.header("x-ms-meta-old"), head.header("x-ms-meta-new")), (None, Some("2")));
    assert_eq!(head.header("x-ms-immutability-policy-mode"), Some("unlocked"), "every new version inherits");
    assert_eq!(service.head(&format!("/unlocked/a?versionid={first}")).header("x-ms-meta-old"), Some("1"));
    service.send("PUT", "/plain/none?comp=metadata", &[], b"").refused(404, "BlobNotFound");
}

#[test]
fn blocks_become_a_blob_when_their_list_is_put() {
    let mut service = Service::new();
    let staged = service.send("PUT", "/versions/a?comp=block&blockid=AAAAAA%3D%3D", &[], b"GoBlockBlobData").ok(201);
    assert_eq!(
        staged.header("x-ms-content-crc64"),
        Some("+JGsS7CR5kg="),
        "go/TestBlobPutBlockListWithImmutabilityPolicy"
    );
    service.head("/versions/a").refused(404, "BlobNotFound");
    service.send("PUT", "/versions/a?comp=block&blockid=AAAA", &[], b"x").refused(400, "InvalidBlobOrBlock");
    service.send("PUT", "/versions/a?comp=block&blockid=%21", &[], b"x").refused(400, "InvalidBlockId");
    service.send("PUT", "/versions/a?comp=block", &[], b"x").refused(400, "MissingRequiredQueryParameter");
    service.send("PUT", "/versions/a?comp=block&blockid=AAAAAQ%3D%3D", &[], b" and more").ok(201);
    let put = |service: &mut Service, list: &str| {
        let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<BlockList>{list}</BlockList>");
        service.send("PUT", "/versions/a?comp=blocklist", &[("content-type", "application/xml")], body.as_bytes())
    };
    put(&mut service, "<Latest>AAAABA==</Latest>").refused(400, "InvalidBlockList");
    let done = put(&mut service, "<Latest>AAAAAA==</Latest><Uncommitted>AAAAAQ==</Uncommitted>").ok(201);
    assert_eq!(done.header("content-md5"), None);
    let got = service.get("/versions/a").ok(200);
    assert_eq!(got.text(), "GoBlockBlobData and more");
    assert_eq!((got.header("content-md5"), got.header("content-type")), (None, Some("application/octet-stream")));
    put(&mut service, "<Committed>AAAAAQ==</Committed>").ok(201);
    assert_eq!(service.get("/versions/a").text(), " and more");
    put(&mut service, "<Uncommitted>AAAAAQ==</Uncommitted>").refused(400, "InvalidBlockList");
    service.send("PUT", "/versions/a?comp=blocklist", &[], b"<nonsense").refused(400, "InvalidXmlDocument");
}

#[test]
fn the_recorded_block_list_has_the_recorded_checksum() {
    // go/TestBlobPutBlockListWithImmutabilityPolicy #3: the checksum of an answer to Put Block List is of the list.
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<BlockList><Latest>AAAAAA==</Latest></BlockList>";
    assert_eq!(digest::crc64(body.as_bytes()), "+4yvd89kHyE=");
}

#[test]
fn an_archived_blob_can_be_looked_at_but_not_read() {
    let mut service = Service::new();
    service.put("/plain/a", &[], "1").ok(201);
    service
        .send("PUT", "/plain/a?comp=tier", &[("x-ms-access-tier", "Lukewarm")], b"")
        .refused(400, "InvalidHeaderValue");
    service.send("PUT", "/plain/a?comp=tier", &[("x-ms-access-tier", "Archive")], b"").ok(200);
    service.get("/plain/a").refused(409, "BlobArchived");
    let head = service.head("/plain/a").ok(200);
    assert_eq!((head.header("x-ms-access-tier"), head.header("x-ms-access-tier-inferred")), (Some("Archive"), None));
}

#[test]
fn a_delete_names_either_a_version_or_snapshots() {
    let mut service = Service::new();
    let first = service.put("/versions/a", &[], "1").ok(201).version();
    let header = [("x-ms-delete-snapshots", "include")];
    service
        .send("DELETE", &format!("/versions/a?versionid={first}"), &header, b"")
        .refused(400, "InvalidQueryParameterValue");
    service.delete("/versions/a?versionid=yesterday").refused(400, "InvalidQueryParameterValue");
    service.put("/plain/a", &[], "1").ok(201);
    service.send("DELETE", "/plain/a", &header, b"").ok(202);
}

#[test]
fn what_is_not_modelled_is_refused_and_never_ignored() {
    let mut service = Service::new();
    service.put("/plain/a", &[], "1").ok(201);
    for target in
        ["/plain/a?comp=lease", "/plain/a?comp=snapshot", "/plain/a?comp=undelete", "/plain?restype=container&comp=acl"]
    {
        service.send("PUT", target, &[], b"").refused(501, "NotImplemented");
    }
    for header in [("x-ms-tags", "a=b"), ("x-ms-copy-source", "https://x"), ("x-ms-lease-id", "x")] {
        service.put("/plain/b", &[header], "1").refused(501, "NotImplemented");
    }
    service.send("PUT", "/plain/b", &[("x-ms-blob-type", "PageBlob")], b"").refused(501, "NotImplemented");
    service.send("PUT", "/plain/b", &[], b"").refused(400, "MissingRequiredHeader");
    service.send("POST", "/plain/b", &[], b"").refused(405, "UnsupportedHttpVerb");
    service.put("/none/a", &[], "1").refused(404, "ContainerNotFound");
    service.put(&format!("/plain/{}", "x".repeat(1025)), &[], "1").refused(400, "InvalidUri");
    service.head("/plain/b").refused(404, "BlobNotFound");
}

#[test]
fn containers_tell_their_protection_and_keep_what_they_hold() {
    let mut service = Service::new();
    for (name, policy, hold, versions) in [
        ("versions", "true", "false", "true"),
        ("bare", "false", "false", "true"),
        ("names", "true", "false", "false"),
        ("held", "false", "true", "false"),
        ("plain", "false", "false", "false"),
    ] {
        let head = service.head(&format!("/{name}?restype=container")).ok(200);
        assert_eq!(head.header("x-ms-has-immutability-policy"), Some(policy), "{name}");
        assert_eq!(head.header("x-ms-has-legal-hold"), Some(hold), "{name}");
        assert_eq!(head.header("x-ms-immutable-storage-with-versioning-enabled"), Some(versions), "{name}");
    }
    service.send("PUT", "/fresh?restype=container", &[("x-ms-meta-a", "b")], b"").ok(201);
    service.send("PUT", "/fresh?restype=container", &[], b"").refused(409, "ContainerAlreadyExists");
    service.send("PUT", "/No?restype=container", &[], b"").refused(400, "InvalidResourceName");
    assert_eq!(service.head("/fresh?restype=container").header("x-ms-meta-a"), Some("b"));

    for path in ["/versions/a", "/names/a", "/held/a", "/fresh/a"] {
        service.put(path, &[], "1").ok(201);
    }
    service.delete("/versions?restype=container").refused(409, "ContainerImmutabilityPolicyLocked");
    service.delete("/names?restype=container").refused(409, "ContainerImmutabilityPolicyLocked");
    service.delete("/held?restype=container").refused(409, "ContainerHasLegalHold");
    service.delete("/fresh?restype=container").ok(202);
    service.head("/fresh?restype=container").refused(404, "ContainerNotFound");
    service.days_pass(10);
    service.delete("/names/a").ok(202);
    service.delete("/names?restype=container").ok(202);

    let page = service.get("/?comp=list&maxresults=2").ok(200);
    assert_eq!(page.all("Name"), ["bare", "held"]);
    let rest = service.get(&format!("/?comp=list&marker={}", page.all("NextMarker")[0])).ok(200);
    assert_eq!(rest.all("Name"), ["plain", "unlocked", "versions"]);
    service.act_as(&["*"]);
    service.caller.actions = vec![format!("{PREFIX}*")];
    service.get("/?comp=list").refused(403, "AuthorizationPermissionMismatch");
    service.send("PUT", "/fresh?restype=container", &[], b"").refused(403, "AuthorizationPermissionMismatch");
}

#[test]
fn a_listing_of_versions_has_all_that_a_verifier_needs() {
    let mut service = Service::new();
    let first = service.put("/versions/a", &[("x-ms-meta-k", "<v>")], "abc").ok(201).version();
    let second = service.put("/versions/a", &[("x-ms-legal-hold", "true")], "").ok(201).version();
    let reply = service
        .get("/versions?restype=container&comp=list&include=versions%2Cimmutabilitypolicy%2Clegalhold%2Cmetadata")
        .ok(200);
    let (created, until) = (state::http_date(service.now), service.after_days(10));
    let stamps = [&first, &second].map(|version| Tick::from_version_id(version).unwrap().etag());
    let first_etag = &stamps[0];
    let item = format!(
        "<Blob><Name>a</Name><VersionId>{first}</VersionId><Properties><Creation-Time>{created}</Creation-Time>\
         <Last-Modified>{created}</Last-Modified><Etag>{first_etag}</Etag><Content-Length>3</Content-Length>\
         <Content-Type>application/octet-stream</Content-Type><Content-Encoding /><Content-Language /><Content-CRC64 />\
         <Content-MD5>kAFQmDzST7DWlj99KOF/cg==</Content-MD5><Cache-Control /><Content-Disposition />\
         <BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier><AccessTierInferred>true</AccessTierInferred>\
         <ServerEncrypted>true</ServerEncrypted><ImmutabilityPolicyUntilDate>{until}</ImmutabilityPolicyUntilDate>\
         <ImmutabilityPolicyMode>locked</ImmutabilityPolicyMode></Properties><Metadata><k>&lt;v&gt;</k></Metadata>\
         <OrMetadata /></Blob>"
    );
    let begin = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults \
                 ServiceEndpoint=\"https://archive.blob.core.windows.net/\" ContainerName=\"versions\"><Blobs>";
    assert!(reply.text().starts_with(&format!("{begin}{item}<Blob>")), "{}", reply.text());
    assert!(reply.text().ends_with("</Blobs><NextMarker /></EnumerationResults>"));
    assert_eq!(reply.all("VersionId"), [first.as_str(), second.as_str()], "oldest first, the current one last");
    assert_eq!(reply.all("IsCurrentVersion"), ["true"]);
    assert_ne!(reply.all("Etag")[1], stamps[1], "the etag of an overwrite is not its version id");
    assert_eq!(reply.all("LegalHold"), ["true"]);
    assert_eq!(reply.all("LeaseState"), ["available"], "only the current version has a lease state");

    let plain = service.get("/versions?restype=container&comp=list").ok(200);
    assert_eq!(plain.all("Name"), ["a"]);
    for absent in ["VersionId", "ImmutabilityPolicyMode", "LegalHold"] {
        assert!(plain.all(absent).is_empty(), "{absent}");
    }
}

/// The names on all pages, with the number of pages.
fn walk(service: &mut Service, query: &str, tag: &str) -> (Vec<String>, usize) {
    let (mut names, mut pages, mut marker) = (Vec::new(), 0, String::new());
    loop {
        let target = format!("/versions?restype=container&comp=list{query}&marker={marker}");
        let page = service.get(&target).ok(200);
        names.extend(page.all(tag).into_iter().map(str::to_owned));
        pages += 1;
        match page.all("NextMarker").first() {
            Some(next) => marker = next.replace('+', "%2B").replace('=', "%3D"),
            None => return (names, pages),
        }
    }
}

#[test]
fn pages_neither_lose_nor_repeat_anything() {
    let mut service = Service::new();
    let names = ["a", "b/1", "b/2", "b/\u{10ffff}", "b/\u{10ffff}x", "b0", "c/x/y", "d", "é"];
    for name in names {
        for content in ["1", "2"] {
            service.put(&format!("/versions/{name}"), &[], content).ok(201);
        }
    }
    for size in 1..=19 {
        let (found, pages) = walk(&mut service, &format!("&maxresults={size}"), "Name");
        assert_eq!((found.as_slice(), pages), (&names.map(String::from)[..], names.len().div_ceil(size)), "{size}");
        let (found, _) = walk(&mut service, &format!("&include=versions&maxresults={size}"), "VersionId");
        let unique: std::collections::BTreeSet<_> = found.iter().collect();
        assert_eq!((found.len(), unique.len()), (2 * names.len(), 2 * names.len()), "{size}");
        let (found, _) = walk(&mut service, &format!("&delimiter=/&maxresults={size}"), "Name");
        assert_eq!(found, ["a", "b/", "b0", "c/", "d", "é"], "{size}");
        let (found, _) = walk(&mut service, &format!("&delimiter=/&prefix=b/&maxresults={size}"), "Name");
        assert_eq!(found, ["b/1", "b/2", "b/\u{10ffff}", "b/\u{10ffff}x"], "{size}");
        let (found, _) = walk(&mut service, &format!("&startFrom=b0&maxresults={size}"), "Name");
        assert_eq!(found, ["b0", "c/x/y", "d", "é"], "{size}");
    }
    service.get("/versions?restype=container&comp=list&maxresults=0").refused(400, "OutOfRangeQueryParameterValue");
    service.get("/versions?restype=container&comp=list&maxresults=x").refused(400, "InvalidQueryParameterValue");
    service.get("/versions?restype=container&comp=list&marker=x").refused(400, "InvalidQueryParameterValue");
    service.get("/versions?restype=container&comp=list&include=everything").refused(400, "InvalidQueryParameterValue");
    let empty = service.get("/versions?restype=container&comp=list&prefix=zz").ok(200);
    assert!(empty.text().ends_with("<Prefix>zz</Prefix><Blobs /><NextMarker /></EnumerationResults>"));
}

#[test]
fn a_page_has_at_most_five_thousand_results() {
    let mut service = Service::new();
    for index in 0..5001 {
        service.put(&format!("/versions/{index:04}"), &[], "").ok(201);
    }
    let page = service.get("/versions?restype=container&comp=list&maxresults=9999");
    assert_eq!(page.all("Name").len(), 5000);
    assert!(!page.all("NextMarker").is_empty());
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
