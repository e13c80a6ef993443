//! Faults while one object is taken: its backup, its versions, what neither carries. All rows of a kind are objects of
//! one vault, and one run meets them all.

use akv_archiver::emulator::faults::{Action, Rewrite, Rule};

use super::stage::Stage;
use super::table::{Expect, Plague, Row, always, body, header, plagues, refusal, replace, vault};

pub(super) fn tables() -> Vec<(&'static str, Vec<Row>)> {
    vec![
        ("The backup of a secret", backups()),
        ("The versions of a secret", versions()),
        ("The public part of a key", bundles()),
        ("The rotation policy of a key", rotation()),
    ]
}

/// The rows of what any answer may be, to the requests that `rule` makes of an action.
fn common(rule: impl Fn(Action) -> Rule) -> Vec<Row> {
    let mut rows = Vec::new();
    for Plague { what, action, passing, condition } in plagues() {
        let rule = rule(action);
        if passing {
            rows.push(Row::common(what, [rule.clone()], Expect::Again));
            rows.push(Row::common(format!("{what}, for ever"), [always(rule)], Expect::Gap(condition)));
        } else {
            rows.push(Row::common(what, [always(rule)], Expect::Gap(condition)));
        }
    }
    rows.push(Row::new(
        "the right JSON as `application/octet-stream`, for ever",
        [always(rule(Action::Rewrite(Rewrite::ContentType)))],
        Expect::Complete,
    ));
    rows
}

fn missing() -> Action {
    refusal(404, "SecretNotFound", "")
}

fn backups() -> Vec<Row> {
    let rule = |action| vault("POST", "/secrets/NAME/backup", action);
    let mut rows = common(rule);
    let row = |what: &str, action, code| Row::new(what, [always(rule(action))], Expect::Gap(code));
    let blob = |bytes: usize| body(&format!(r#"{{"value":"{}"}}"#, "JkF6".repeat(bytes.div_ceil(3))));
    rows.extend([
        row("404: deleted since it was listed", missing(), "vanished"),
        row("409: it is being deleted", refusal(409, "Conflict", "ObjectIsBeingDeleted"), "in-transition"),
        row("409: it is being recovered", refusal(409, "Conflict", "ObjectIsBeingRecovered"), "in-transition"),
        row("400: it has more than 500 versions", refusal(400, "BadParameter", ""), "rejected"),
        row("`{}`, for ever", body("{}"), "malformed"),
        row("`value` is null, for ever", body(r#"{"value":null}"#), "malformed"),
        row("`value` is empty, for ever", body(r#"{"value":""}"#), "malformed"),
        row("`value` is not base64url, for ever", body(r#"{"value":"+/+/"}"#), "malformed"),
        row("a blob of more than 32 MiB", blob(33 << 20), "malformed"),
        row("an answer of more than 64 MiB", Action::Rewrite(Rewrite::Pad(65 << 20)), "malformed"),
        row("an answer without `Date`", header("date", None), "malformed"),
        row("a `Date` that is none", header("date", Some("yesterday")), "malformed"),
        row("a `Date` of 1990", header("date", Some("Mon, 01 Jan 1990 00:00:00 GMT")), "malformed"),
        row("a `Date` of 2999", header("date", Some("Tue, 01 Jan 2999 00:00:00 GMT")), "malformed"),
        Row::new("a blob of 4 MiB", [rule(blob(4 << 20))], Expect::Complete),
        Row::new("a blob of an unknown shape", [rule(body(r#"{"value":"AAECAwQF"}"#))], Expect::Complete),
    ]);
    rows
}

fn versions() -> Vec<Row> {
    let rule = |action| vault("GET", "/secrets/NAME/versions", action);
    let mut rows = common(rule);
    let row = |what: &str, action, code| Row::new(what, [always(rule(action))], Expect::Gap(code));
    let next = |link: &str| replace(r#""nextLink":null"#, &format!(r#""nextLink":"{link}""#));
    let item = |item: &str| replace(r#"{"value":["#, &format!(r#"{{"value":[{item},"#));
    rows.extend([
        row("404: deleted since its backup", missing(), "vanished"),
        row("none", body(r#"{"value":[],"nextLink":null}"#), "vanished"),
        row("`{}`, for ever", body("{}"), "malformed"),
        row("`nextLink` leads to another host", next("https://evil.example/secrets"), "malformed"),
        row("`nextLink` leads in a circle", next("https://HOST/secrets/NAME/versions?again=1"), "malformed"),
        row("an item is null", item("null"), "malformed"),
        row("an item has no id", item("{}"), "malformed"),
        row("an item is of another object", item(r#"{"id":"https://HOST/secrets/other/1"}"#), "malformed"),
        row("an item is of another vault", item(r#"{"id":"https://evil.example/secrets/NAME/1"}"#), "malformed"),
        row("an item names no version", item(r#"{"id":"https://HOST/secrets/NAME"}"#), "malformed"),
        row(
            "an item is always of this very second",
            item(r#"{"id":"https://HOST/secrets/NAME/1","attributes":{"created":4102444800}}"#),
            "torn-read",
        ),
        Row::new("an item has no attributes", [rule(item(r#"{"id":"https://HOST/secrets/NAME/1"}"#))], Expect::Complete),
        Row::new(
            "an item has absurd times",
            [rule(item(
                r#"{"id":"https://HOST/secrets/NAME/1","attributes":{"created":-9223372036854775808,"exp":292277026596}}"#,
            ))],
            Expect::Complete,
        ),
        Row::new(
            "an item comes twice",
            [rule(item(r#"{"id":"https://HOST/secrets/NAME/1"},{"id":"https://HOST/secrets/NAME/1"}"#))],
            Expect::Complete,
        ),
    ]);
    rows
}

fn bundles() -> Vec<Row> {
    // Under the key's name come its versions, its one bundle, its rotation policy.
    let rule = |action| vault("GET", "/keys/NAME/", action).window(1, 1);
    let mut rows = common(rule);
    let row = |what: &str, action, code| Row::new(what, [always(rule(action))], Expect::Gap(code));
    rows.extend([
        row("404: deleted since its backup", refusal(404, "KeyNotFound", ""), "vanished"),
        row("`{}`, for ever", body("{}"), "malformed"),
        row("the bundle of another key, for ever", replace("/keys/NAME/", "/keys/other/"), "malformed"),
        row("an answer of another kind, for ever", body(r#"{"id":"https://HOST/secrets/NAME/1"}"#), "malformed"),
    ]);
    rows
}

fn rotation() -> Vec<Row> {
    let rule = |action| vault("GET", "/keys/NAME/rotationpolicy", action);
    let mut rows = common(rule);
    for row in &mut rows {
        // A vault may grant all the rest and not this: it is left out of the capture.
        if row.expect == Expect::Gap("denied") {
            row.expect = Expect::Complete;
        }
    }
    rows.push(Row::new("404: it has none", [always(rule(refusal(404, "KeyNotFound", "")))], Expect::Complete));
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_meets_the_backup_and_the_versions_of_an_object() {
    let rows = [backups(), versions()].concat();
    Stage::run_together(&rows, &format!(r#"{{ kind = "secret", name = "f", count = {} }}"#, rows.len())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_meets_the_bundle_and_the_rotation_policy_of_a_key() {
    let rows = [bundles(), rotation()].concat();
    let keys = format!(r#"{{ kind = "key", type = "EC", name = "f", count = {} }}"#, rows.len());
    Stage::run_together(&rows, &keys).await;
}
