//! What is written can be read: uploads, ranges, conditions, blocks, tiers.

use super::*;

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
