//! Write-once rules of both kinds, with the traps of azure.md §7.

use super::*;

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
