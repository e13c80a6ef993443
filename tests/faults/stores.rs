//! Faults of the container that the archive is in.

use akv_archiver::emulator::faults::{Action, Rewrite, Rule, Status, When};
use akv_archiver::error::Kind;

use super::stage::Stage;
use super::table::{Expect, Row, always, body, header, status};

pub(super) fn tables() -> Vec<(&'static str, Vec<Row>)> {
    vec![("The archive's container: storing", storing()), ("The archive's container: looking", looking())]
}

fn blob(method: &str, path: &str, action: Action) -> Rule {
    Rule::new(action).host("archive.blob.core.windows.net").method(method).path(path)
}

fn landed(code: u16) -> Action {
    Action::Status(Status { code, headers: Default::default(), body: None, when: When::After })
}

fn storing() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, path) in [
        ("a capture", "/CONTAINER/vaults%2FHOST%2Fcaptures%2F"),
        ("the manifest", "/CONTAINER/vaults%2FHOST%2Fmanifests%2F"),
        ("the log entry", "/CONTAINER/vaults%2FHOST%2Flog%2F"),
    ] {
        let put = |action| blob("PUT", path, action);
        let error = |code: &'static str| [("x-ms-error-code", code)];
        let once = |what: &str, action| Row::new(format!("{name}: {what}"), [put(action)], Expect::Again);
        let ever =
            |what: &str, action, kind| Row::new(format!("{name}: {what}"), [always(put(action))], Expect::Fails(kind));
        rows.extend([
            once("500, and it is not stored", status(500, &[], None)),
            once("500, and it is stored", landed(500)),
            once("the connection closes, and it is not stored", Action::Reset(When::Before)),
            once("the connection closes, and it is stored", Action::Reset(When::After)),
            ever("503, for ever", status(503, &[], None), Kind::Unavailable),
            ever("403", status(403, &error("AuthorizationPermissionMismatch"), Some("")), Kind::Denied),
        ]);
        if name != "a capture" {
            continue;
        }
        let html = [("content-type", "text/html")];
        rows.extend([
            once("503, and it is stored", landed(503)),
            once("no answer comes, and it is not stored", Action::Stall(When::Before)),
            once("no answer comes, and it is stored", Action::Stall(When::After)),
            once("400, damaged on its way", status(400, &error("Md5Mismatch"), Some(""))),
            ever("403 by the firewall", status(403, &error("AuthorizationFailure"), Some("")), Kind::Denied),
            ever("404: there is no such container", status(404, &error("ContainerNotFound"), Some("")), Kind::NotFound),
            ever("400 with a page of HTML", status(400, &html, Some("<html>")), Kind::Unavailable),
        ]);
    }
    let taken = |path, code: &'static str, at| blob("PUT", path, status(at, &[("x-ms-error-code", code)], Some("")));
    let captures = "/CONTAINER/vaults%2FHOST%2Fcaptures%2F";
    rows.extend([
        Row::new("a capture: 409, the name is taken", [taken(captures, "BlobAlreadyExists", 409)], Expect::Again),
        Row::new(
            "a capture: 409, the name is immutable",
            [taken(captures, "BlobImmutableDueToPolicy", 409)],
            Expect::Again,
        ),
        Row::new(
            "a capture: 412, the condition does not hold",
            [taken(captures, "ConditionNotMet", 412)],
            Expect::Again,
        ),
        Row::new(
            "a capture: 409, every name is taken",
            [always(taken(captures, "BlobAlreadyExists", 409))],
            Expect::Fails(Kind::Conflict),
        ),
        Row::new(
            "a capture: the answer has no version id",
            [blob("PUT", captures, header("x-ms-version-id", None))],
            Expect::Complete,
        ),
        Row::new(
            "a capture: the answer has another version id",
            [blob("PUT", captures, header("x-ms-version-id", Some("2020-01-01T00:00:00.0000000Z")))],
            Expect::Fails(Kind::Tampered),
        ),
    ]);
    rows
}

fn looking() -> Vec<Row> {
    let list = |action| blob("GET", "/CONTAINER", action).query("comp=list");
    let once = |what: &str, action| Row::new(what, [list(action)], Expect::Again);
    let ever = |what: &str, action, kind| Row::new(what, [always(list(action))], Expect::Fails(kind));
    vec![
        once("the listing: 503", status(503, &[], None)),
        once("the listing: the connection closes", Action::Reset(When::Before)),
        once("the listing: the connection breaks in the middle", Action::Rewrite(Rewrite::Cut)),
        once("the listing: no answer comes", Action::Stall(When::Before)),
        once("the listing: a page of HTML", Action::Rewrite(Rewrite::Html)),
        once("the listing: XML that ends too early", Action::Rewrite(Rewrite::Truncate)),
        once("the listing: nothing in it", Action::Rewrite(Rewrite::Empty)),
        ever("the listing: 503, for ever", status(503, &[], None), Kind::Unavailable),
        ever("the listing: a page of HTML, for ever", Action::Rewrite(Rewrite::Html), Kind::Unavailable),
        ever("the listing: JSON, for ever", body("{}"), Kind::Unavailable),
        ever(
            "the listing: 403",
            status(403, &[("x-ms-error-code", "AuthorizationPermissionMismatch")], Some("")),
            Kind::Denied,
        ),
        ever(
            "the listing runs in a circle",
            Action::Rewrite(Rewrite::Replace {
                from: "<NextMarker />".into(),
                to: "<NextMarker>m</NextMarker>".into(),
            }),
            Kind::Unavailable,
        ),
        ever(
            "the listing shows another size",
            Action::Rewrite(Rewrite::Replace { from: "<Content-Length>".into(), to: "<Content-Length>1".into() }),
            Kind::Tampered,
        ),
        ever(
            "the listing shows no policy",
            Action::Rewrite(Rewrite::Replace { from: "ImmutabilityPolicyMode".into(), to: "Nothing".into() }),
            Kind::Noncompliant,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storing_goes_wrong() {
    Stage::run(&storing(), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_goes_wrong() {
    Stage::run(&looking(), true).await;
}
