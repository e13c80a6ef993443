//! Containers, and lists of blobs page by page.

use super::*;

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
