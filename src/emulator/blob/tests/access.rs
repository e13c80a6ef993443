//! Who may do what, and what is refused to everybody.

use super::*;

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
