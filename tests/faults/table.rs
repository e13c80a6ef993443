//! What a table is made of: rows, their outcomes, and the faults that any answer may have.

use std::fmt;

use akv_archiver::emulator::Emulator;
use akv_archiver::emulator::faults::{Action, Rewrite, Rule, Status, When};
use akv_archiver::error::Kind;

/// One fault and what is expected of the run that meets it. In its rules `HOST`, `NAME` and `CONTAINER` stand for the
/// vault's host, the object's name and the archive's container.
#[derive(Clone)]
pub(super) struct Row {
    /// What Azure does.
    pub(super) what: String,
    pub(super) rules: Vec<Rule>,
    pub(super) expect: Expect,
    /// The vault's objects, as the seed names them.
    pub(super) objects: &'static str,
    /// What happens meanwhile, once the first object is done.
    pub(super) watch: Option<Watch>,
    /// Whether it is one of the [`plagues`], which the document shows once for all.
    pub(super) common: bool,
}

/// Something that happens to Azure while a run goes on.
pub(super) type Watch = fn(&Emulator);

/// What is expected of a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expect {
    /// It asks again, and is complete.
    Again,
    /// It does not mind.
    Complete,
    /// The object has a gap with this code, and nothing else has one.
    Gap(&'static str),
    /// So many objects have gaps with this code.
    Gaps(&'static str, u64),
    /// The vault as a whole has a gap with this code; so many objects were seen, and all of them taken.
    Blind(&'static str, u64),
    /// What is no list has a gap, and the snapshot is complete all the same.
    Aside(&'static str),
    /// It ends with this kind of error, and nothing is committed.
    Fails(Kind),
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Again => f.write_str("asks again; complete"),
            Expect::Complete => f.write_str("complete"),
            Expect::Gap(code) => write!(f, "gap `{code}` of this object"),
            Expect::Gaps(code, _) => write!(f, "gap `{code}` of each object"),
            Expect::Blind(code, _) => write!(f, "gap `{code}` of the vault; takes what it saw"),
            Expect::Aside(code) => write!(f, "gap `{code}` of the vault; complete"),
            Expect::Fails(kind) => write!(f, "fails, exit {}; commits nothing", kind.exit_code()),
        }
    }
}

/// Objects of a vault: one of each kind, and one more.
pub(super) const FEW: &str = r#"
  { kind = "key", type = "EC", name = "k1" },
  { kind = "secret", name = "s1" },
  { kind = "secret", name = "s2", tags = { team = "payments" } },
  { kind = "certificate", type = "EC", name = "c1" },
"#;

impl Row {
    pub(super) fn new(what: impl Into<String>, rules: impl IntoIterator<Item = Rule>, expect: Expect) -> Row {
        Row { what: what.into(), rules: rules.into_iter().collect(), expect, objects: FEW, watch: None, common: false }
    }

    /// A row that one of the [`plagues`] makes.
    pub(super) fn common(what: impl Into<String>, rules: impl IntoIterator<Item = Rule>, expect: Expect) -> Row {
        Row { common: true, ..Row::new(what, rules, expect) }
    }

    pub(super) fn objects(mut self, objects: &'static str) -> Row {
        self.objects = objects;
        self
    }

    pub(super) fn watched(mut self, watch: Watch) -> Row {
        self.watch = Some(watch);
        self
    }
}

/// A request of the vault, once it carries a token.
pub(super) fn vault(method: &str, path: &str, action: Action) -> Rule {
    Rule::new(action).host("HOST").method(method).path(path).caller("default")
}

/// Strikes every request that fits.
pub(super) fn always(rule: Rule) -> Rule {
    let after = rule.after;
    rule.window(after, u64::MAX)
}

pub(super) fn status(code: u16, headers: &[(&str, &str)], body: Option<&str>) -> Action {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Action::Status(Status { code, headers, body: body.map(str::to_owned), when: When::Before })
}

/// An error as Key Vault words it.
pub(super) fn refusal(code: u16, error: &str, inner: &str) -> Action {
    let body = format!(r#"{{"error":{{"code":"{error}","message":"injected","innererror":{{"code":"{inner}"}}}}}}"#);
    status(code, &[("content-type", "application/json")], Some(&body))
}

pub(super) fn body(text: &str) -> Action {
    Action::Rewrite(Rewrite::Body(text.to_owned()))
}

pub(super) fn replace(from: &str, to: &str) -> Action {
    Action::Rewrite(Rewrite::Replace { from: from.to_owned(), to: to.to_owned() })
}

pub(super) fn header(name: &str, value: Option<&str>) -> Action {
    Action::Rewrite(Rewrite::Header { name: name.to_owned(), value: value.map(str::to_owned) })
}

/// A fault that any answer may have, and what comes of it if it strikes once, and if it strikes for ever.
pub(super) struct Plague {
    pub(super) what: &'static str,
    pub(super) action: Action,
    /// Whether it is worth asking again.
    pub(super) passing: bool,
    /// The condition, and so the code of the gap.
    pub(super) condition: &'static str,
}

const HTML: &str = "<!DOCTYPE html><html><head><title>Runtime Error</title></head></html>";

/// The faults that any answer of a vault may have.
pub(super) fn plagues() -> Vec<Plague> {
    let plague = |what, action, passing, condition| Plague { what, action, passing, condition };
    let html = [("content-type", "text/html")];
    vec![
        plague("200 with a page of HTML", Action::Rewrite(Rewrite::Html), true, "malformed"),
        plague("200 with JSON that ends too early", Action::Rewrite(Rewrite::Truncate), true, "malformed"),
        plague("200 with nothing in it", Action::Rewrite(Rewrite::Empty), true, "malformed"),
        plague("200 with `[]`", body("[]"), true, "malformed"),
        plague(
            "200 `text/plain` with rubbish",
            status(200, &[("content-type", "text/plain")], Some("rubbish")),
            true,
            "malformed",
        ),
        plague("400 with a page of HTML", status(400, &html, Some(HTML)), false, "malformed"),
        plague("404 with a page of HTML", status(404, &html, Some(HTML)), false, "malformed"),
        plague(
            "302 to another host",
            status(302, &[("location", "https://evil.example/")], Some("")),
            false,
            "malformed",
        ),
        plague("502 with a page of HTML", status(502, &html, Some(HTML)), true, "unavailable"),
        plague("408", status(408, &[], None), true, "unavailable"),
        plague("500", status(500, &[], None), true, "unavailable"),
        plague("503", status(503, &[], None), true, "unavailable"),
        plague("504", status(504, &[], None), true, "unavailable"),
        plague("429", status(429, &[], None), true, "throttled"),
        plague("429 with `Retry-After: 2`", status(429, &[("retry-after", "2")], None), true, "throttled"),
        plague("429 with `Retry-After: 86400`", status(429, &[("retry-after", "86400")], None), false, "throttled"),
        plague("the connection closes before the request is seen", Action::Reset(When::Before), true, "unavailable"),
        plague("the connection closes instead of the answer", Action::Reset(When::After), true, "unavailable"),
        plague("the connection breaks in the middle of the answer", Action::Rewrite(Rewrite::Cut), true, "unavailable"),
        plague("no answer comes", Action::Stall(When::Before), true, "unavailable"),
        plague("403 by RBAC", refusal(403, "Forbidden", "ForbiddenByRbac"), false, "denied"),
        plague("403 by access policy", refusal(403, "Forbidden", "ForbiddenByPolicy"), false, "denied"),
        plague("403 by the firewall", refusal(403, "Forbidden", "ForbiddenByFirewall"), false, "firewall"),
        plague("401, whatever token it is shown", status(401, &[], None), false, "denied"),
    ]
}
