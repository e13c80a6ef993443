//! Faults of sign-in and of the management plane.

use std::time::Duration;

use akv_archiver::emulator::faults::{Action, Rewrite, Rule, When};
use akv_archiver::error::Kind;

use super::stage::Stage;
use super::table::{Expect, Plague, Row, always, body, plagues, refusal, replace, status, vault};

pub(super) fn tables() -> Vec<(&'static str, Vec<Row>)> {
    vec![("Sign-in", sign_in()), ("Resource Manager: what the vault is", management())]
}

fn sign_in() -> Vec<Row> {
    let token = |action| Rule::new(action).host("login.microsoftonline.com").path("/token");
    let once = |what: &str, action| Row::new(what, [token(action)], Expect::Again);
    let ever = |what: &str, action, kind| Row::new(what, [always(token(action))], Expect::Fails(kind));
    let html = [("content-type", "text/html")];
    let wrong = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided."}"#;
    let json = [("content-type", "application/json")];
    let revoked = || status(401, &[("www-authenticate", CHALLENGE)], Some(r#"{"error":{"code":"Unauthorized"}}"#));
    vec![
        once("503", status(503, &[], None)),
        once("500", status(500, &[], None)),
        once("429", status(429, &[], None)),
        once("502 with a page of HTML", status(502, &html, Some("<html></html>"))),
        once("the connection closes before the request is seen", Action::Reset(When::Before)),
        once("the connection closes instead of the answer", Action::Reset(When::After)),
        once("the connection breaks in the middle of the answer", Action::Rewrite(Rewrite::Cut)),
        once("no answer comes", Action::Stall(When::Before)),
        ever("503, for ever", status(503, &[], None), Kind::Unavailable),
        ever("the connection closes, for ever", Action::Reset(When::Before), Kind::Unavailable),
        ever("401: the secret is wrong", status(401, &json, Some(wrong)), Kind::Denied),
        ever("400 with a page of HTML", status(400, &html, Some("<html></html>")), Kind::Denied),
        ever("200 with a page of HTML, for ever", Action::Rewrite(Rewrite::Html), Kind::Denied),
        ever("200 with JSON that ends too early, for ever", Action::Rewrite(Rewrite::Truncate), Kind::Denied),
        ever("200 with `{}`, for ever", body("{}"), Kind::Denied),
        Row::new(
            "a token that has expired already",
            [always(token(replace(r#""expires_in":3599"#, r#""expires_in":0"#)))],
            Expect::Complete,
        ),
        Row::new(
            "a token that never expires",
            [always(token(replace(r#""expires_in":3599"#, r#""expires_in":9223372036854775807"#)))],
            Expect::Fails(Kind::Denied),
        ),
        Row::new("tokens expire in the middle of the run", [], Expect::Complete)
            .watched(|azure| azure.advance(Duration::from_secs(2 * 3600))),
        Row::new(
            "the vault refuses a token that should hold, once",
            [vault("POST", "/secrets/s1/backup", revoked()).window(0, 2)],
            Expect::Again,
        ),
        Row::new(
            "the vault refuses every token for one object",
            [always(vault("POST", "/secrets/s1/backup", revoked()))],
            Expect::Gap("denied"),
        ),
    ]
}

/// The challenge of a vault.
const CHALLENGE: &str =
    r#"Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net""#;

fn management() -> Vec<Row> {
    let rule = |action| Rule::new(action).host("management.azure.com").path("/vaults/VAULT").caller("default");
    let mut rows = Vec::new();
    for Plague { what, action, passing, condition } in plagues() {
        let rule = rule(action);
        let aside = Expect::Aside(match condition {
            "malformed" => "vault-facts-malformed",
            "unavailable" => "vault-facts-unavailable",
            "throttled" => "vault-facts-throttled",
            _ => "vault-facts-denied",
        });
        if passing {
            rows.push(Row::common(what, [rule.clone()], Expect::Again));
            rows.push(Row::common(format!("{what}, for ever"), [always(rule)], aside));
        } else {
            rows.push(Row::common(what, [always(rule)], aside));
        }
    }
    rows.push(Row::new(
        "404 with an error in JSON",
        [always(rule(refusal(404, "ResourceNotFound", "")))],
        Expect::Aside("vault-facts-not-found"),
    ));
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_in_goes_wrong() {
    Stage::run(&sign_in(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_management_plane_goes_wrong() {
    Stage::run(&management(), false).await;
}
