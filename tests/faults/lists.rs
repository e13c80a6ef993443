//! Faults of lists: of a page, of what leads to the next one, and of the items.

use akv_archiver::emulator::faults::{Action, Rewrite, Rule, When};
use akv_archiver::error::Kind;

use super::stage::Stage;
use super::table::{Expect, Plague, Row, always, body, header, plagues, refusal, replace, status, vault};

const SECRETS: &str = "/secrets";

/// Objects that take more than one page.
const MANY: &str = r#"
  { kind = "key", type = "EC", name = "k1" },
  { kind = "secret", name = "s", count = 27 },
"#;

pub(super) fn tables() -> Vec<(&'static str, Vec<Row>)> {
    vec![
        ("The list of live secrets: a page", pages()),
        ("Lists: the second page, and others", others()),
        ("Lists: the link to the next page", links()),
        ("Lists: items", items()),
    ]
}

/// The list's codes. They outlive the rows.
fn code(condition: &str) -> &'static str {
    match condition {
        "malformed" => "list-malformed",
        "unavailable" => "list-unavailable",
        "throttled" => "list-throttled",
        "denied" => "list-denied",
        "firewall" => "list-firewall",
        other => panic!("{other}"),
    }
}

fn pages() -> Vec<Row> {
    let mut rows = Vec::new();
    for Plague { what, action, passing, condition } in plagues() {
        let rule = vault("GET", SECRETS, action);
        // The certificate and the key are seen, the two secrets are not.
        let blind = Expect::Blind(code(condition), 2);
        if passing {
            rows.push(Row::common(what, [rule.clone()], Expect::Again));
            rows.push(Row::common(format!("{what}, for ever"), [always(rule)], blind));
        } else {
            rows.push(Row::common(what, [always(rule)], blind));
        }
    }
    let page = |what: &str, action, expect| Row::new(what, [always(vault("GET", SECRETS, action))], expect);
    rows.extend([
        page(
            "the right JSON as `application/octet-stream`, for ever",
            Action::Rewrite(Rewrite::ContentType),
            Expect::Complete,
        ),
        page("`{}`, for ever", body("{}"), Expect::Blind("list-malformed", 2)),
        page(
            "`value` is null, for ever",
            body(r#"{"value":null,"nextLink":null}"#),
            Expect::Blind("list-malformed", 2),
        ),
        page(
            "`value` is no list, for ever",
            body(r#"{"value":{},"nextLink":null}"#),
            Expect::Blind("list-malformed", 2),
        ),
        page("`nextLink` is missing", replace(r#","nextLink":null"#, ""), Expect::Complete),
        page("a page longer than 64 MiB", Action::Rewrite(Rewrite::Pad(65 << 20)), Expect::Blind("list-malformed", 2)),
        page("404 with an error in JSON", refusal(404, "NotFound", "NotFound"), Expect::Blind("list-not-found", 2)),
    ]);
    rows
}

fn others() -> Vec<Row> {
    let second = |action| vault("GET", SECRETS, action).query("skiptoken");
    // Every object of the pages before it is taken.
    let rows = [
        ("the second page: 503", second(status(503, &[], None)), Expect::Again),
        ("the second page: JSON that ends too early", second(Action::Rewrite(Rewrite::Truncate)), Expect::Again),
        ("the second page: the connection closes", second(Action::Reset(When::Before)), Expect::Again),
    ];
    let mut rows: Vec<Row> = rows.map(|(what, rule, expect)| Row::new(what, [rule], expect).objects(MANY)).into();
    let lost = [
        ("the second page: 503, for ever", status(503, &[], None), "list-unavailable"),
        ("the second page: a page of HTML, for ever", Action::Rewrite(Rewrite::Html), "list-malformed"),
        ("the second page: 403", refusal(403, "Forbidden", "ForbiddenByRbac"), "list-denied"),
        ("the second page: 400, the token is not valid", refusal(400, "BadParameter", ""), "list-rejected"),
    ];
    for (what, action, code) in lost {
        rows.push(Row::new(what, [always(second(action))], Expect::Blind(code, FIRST_PAGE)).objects(MANY));
    }
    let denied = || refusal(403, "Forbidden", "ForbiddenByRbac");
    rows.extend([
        Row::new(
            "the list of deleted keys: 403",
            [always(vault("GET", "/deletedkeys", denied()))],
            Expect::Blind("list-denied", 4),
        ),
        Row::new(
            "the list of deleted secrets: a page of HTML, for ever",
            [always(vault("GET", "/deletedsecrets", Action::Rewrite(Rewrite::Html)))],
            Expect::Blind("list-malformed", 4),
        ),
        Row::new(
            "the lists of deleted objects: 503, for ever",
            [always(vault("GET", "/deleted", status(503, &[], None)))],
            Expect::Blind("list-unavailable", 4),
        ),
        Row::new("every list: 403", [always(vault("GET", "", denied()))], Expect::Fails(Kind::Denied)),
        Row::new(
            "every list: 403 by the firewall",
            [always(Rule::new(refusal(403, "Forbidden", "ForbiddenByFirewall")).host("HOST"))],
            Expect::Fails(Kind::Denied),
        ),
        Row::new(
            "every list: 503, for ever",
            [always(vault("GET", "", status(503, &[], None)))],
            Expect::Fails(Kind::Unavailable),
        ),
        Row::new(
            "every list: a page of HTML, for ever",
            [always(vault("GET", "", Action::Rewrite(Rewrite::Html)))],
            Expect::Fails(Kind::Unavailable),
        ),
        Row::new(
            "the challenge for a token: 503 before it",
            [Rule::new(status(503, &[], None)).host("HOST").window(0, 2)],
            Expect::Again,
        ),
        Row::new(
            "the challenge for a token is for another domain",
            [always(Rule::new(header(
                "www-authenticate",
                Some(r#"Bearer authorization="https://login.microsoftonline.com/t", resource="https://evil.example""#),
            ))
            .host("HOST"))],
            Expect::Fails(Kind::Unavailable),
        ),
        Row::new(
            "401 without a challenge",
            [always(Rule::new(header("www-authenticate", None)).host("HOST"))],
            Expect::Fails(Kind::Denied),
        ),
    ]);
    rows
}

/// Objects of [`MANY`] that are seen when the list of secrets ends after its first page.
const FIRST_PAGE: u64 = 6;

fn links() -> Vec<Row> {
    let to = |link: &str| replace(r#""nextLink":null"#, &format!(r#""nextLink":{link}"#));
    let bad = [
        ("another host", r#""https://evil.example/secrets""#),
        ("another vault", r#""https://other.vault.azure.net/secrets?api-version=7.6""#),
        ("another host, dressed up as user and password", r#""https://HOST@evil.example/secrets""#),
        ("another port", r#""https://HOST:8443/secrets""#),
        ("`http`", r#""http://HOST/secrets""#),
        ("nowhere: it is no address", r#""https://""#),
        ("the same page again", r#""https://HOST:443/secrets?api-version=7.6&again=1""#),
    ];
    let mut rows: Vec<Row> = bad
        .into_iter()
        .map(|(what, link)| {
            // The first page, and the page again to which the last of the links leads.
            let again = vault("GET", SECRETS, to(link)).query("again");
            let rules = [vault("GET", SECRETS, to(link)), again];
            Row::new(format!("`nextLink` leads to {what}"), rules, Expect::Blind("list-malformed", 4))
        })
        .collect();
    rows.push(Row::new(
        "`nextLink` is a number, for ever",
        [always(vault("GET", SECRETS, to("5")))],
        Expect::Blind("list-malformed", 2),
    ));
    rows.push(Row::new("`nextLink` is empty", [always(vault("GET", SECRETS, to(r#""""#)))], Expect::Complete));
    let empty = |n: u32| {
        let page = format!(r#"{{"value":[],"nextLink":"https://HOST:443/secrets?api-version=7.6&page={n}"}}"#);
        vault("GET", SECRETS, body(&page))
    };
    rows.push(Row::new("100 empty pages in a row", (0..100).map(empty), Expect::Complete));
    rows
}

fn items() -> Vec<Row> {
    let list = |action| [vault("GET", SECRETS, action)];
    let first = |members: &str| {
        list(replace(r#"/secrets/s1","attributes":{"#, &format!(r#"/secrets/s1","attributes":{{{members},"#)))
    };
    let before = |item: &str| list(replace(r#"{"value":["#, &format!(r#"{{"value":[{item},"#)));
    let malformed = Expect::Blind("malformed-item", 4);
    let long = format!(r#"{{"id":"https://HOST/secrets/{}"}}"#, "x".repeat(128));
    let huge = format!(r#"{{"id":"https://HOST/secrets/s1","tags":{{"t":"{}"}}}}"#, "x".repeat(1 << 20));
    vec![
        Row::new("an item is a number", before("1"), malformed.clone()),
        Row::new("an item is null", before("null"), malformed.clone()),
        Row::new("an item has no id", before(r#"{"attributes":{"enabled":true}}"#), malformed.clone()),
        Row::new("an item's id is a number", before(r#"{"id":7}"#), malformed.clone()),
        Row::new("an item's id is no address", before(r#"{"id":"secrets/s1"}"#), malformed.clone()),
        Row::new("an item's id is of a key", before(r#"{"id":"https://HOST/keys/k1"}"#), malformed.clone()),
        Row::new(
            "an item's id is of another vault",
            before(r#"{"id":"https://evil.example/secrets/foreign"}"#),
            malformed.clone(),
        ),
        Row::new(
            "a deleted item is purged in the year 11232",
            [vault(
                "GET",
                "/deletedsecrets",
                body(
                    r#"{"value":[{"id":"https://HOST/deletedsecrets/gone","scheduledPurgeDate":292277026596}],"nextLink":null}"#,
                ),
            )],
            Expect::Complete,
        ),
        Row::new("an item's name has 128 letters", before(&long), malformed.clone()),
        Row::new("an item's name has a dot", before(r#"{"id":"https://HOST/secrets/a.b"}"#), malformed.clone()),
        Row::new("an item's name is `..`", before(r#"{"id":"https://HOST/secrets/.."}"#), malformed.clone()),
        Row::new("an item has a member twice", before(r#"{"id":"https://HOST/secrets/x","a":1,"a":2}"#), malformed),
        Row::new("an item comes twice", before(r#"{"id":"https://HOST/secrets/s1"}"#), Expect::Complete),
        Row::new(
            "an item comes twice, in another case",
            before(r#"{"id":"https://HOST/secrets/S1"}"#),
            Expect::Complete,
        ),
        Row::new(
            "an item of the first page comes again on the second",
            [always(
                vault("GET", SECRETS, replace(r#""value":[{"#, r#""value":[{"id":"https://HOST/secrets/s-0000"},{"#))
                    .query("skiptoken"),
            )],
            Expect::Complete,
        )
        .objects(MANY),
        Row::new(
            "times are negative, of the year 11232, a word",
            first(r#""exp":292277026596,"nbf":-62135596801,"later":"then""#),
            Expect::Complete,
        ),
        Row::new(
            "times are beyond every calendar",
            first(r#""exp":9223372036854775807,"nbf":-9223372036854775808"#),
            Expect::Complete,
        ),
        Row::new("`enabled` is a word", list(replace(r#""enabled":true"#, r#""enabled":"yes""#)), Expect::Complete),
        Row::new(
            "`attributes` is a list",
            list(replace(r#""attributes":{"#, r#""attributes":[],"x":{"#)),
            Expect::Complete,
        ),
        Row::new("a tag of a megabyte", before(&huge), Expect::Complete),
        Row::new(
            "a member that nobody knows",
            list(replace(r#""attributes":{"#, r#""later":{"x":1.50},"attributes":{"#)),
            Expect::Complete,
        ),
        Row::new(
            "the secret of a certificate is listed, and the certificate is not",
            [always(vault("GET", "/certificates", body(r#"{"value":[],"nextLink":null}"#)))],
            Expect::Gaps("managed-without-certificate", 2),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_list() {
    Stage::run(&pages(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_pages_and_links() {
    Stage::run(&[others(), links()].concat(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_items_of_a_list() {
    Stage::run(&items(), false).await;
}
