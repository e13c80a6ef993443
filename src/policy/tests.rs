//! Policies as a whole: what they decide, what they say of themselves, what is refused.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::error::Kind;
use crate::model::{Object, VaultUri};

const HEAD: &str = "format = \"akv-archiver/policy/1\"\nname = \"own\"\ndescription = \"Ours.\"\n";

/// The rules that most tests ask.
const RULES: &str = r#"
[cadence]
recapture_every = "20d"
[[rule]]
name = "scratch"
why = "the pipeline makes them anew"
vaults = ["dev-*", "*.vault.azure.cn"]
kinds = ["secret"]
names = ["scratch-*", "tmp-?"]
take = false
[[rule]]
name = "gone-soon"
why = "nobody wants them back"
tags = { purpose = "test", owner = "*" }
enabled = false
take = false
[[rule]]
name = "protectors"
names = ["tde-*"]
take = true
recapture_every = "7d"
"#;

fn policy(rest: &str) -> Policy {
    Policy::parse(&format!("{HEAD}{rest}"), "own.toml").unwrap()
}

fn error(text: &str) -> String {
    let error = Policy::parse(text, "own.toml").unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.hint_text().is_some(), "{error}");
    error.message().to_owned()
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The rule that decides, whether the object is taken, and after how many days it is taken again.
fn decided(host: &str, object: &str, enabled: Option<bool>, of: &[(&str, &str)]) -> (Option<String>, bool, i64) {
    let (policy, vault) = (policy(RULES), VaultUri::parse(&format!("https://{host}")).unwrap());
    let (object, tags) = (Object::parse(object).unwrap(), tags(of));
    let facts = Facts { vault: Some(&vault), object: &object, enabled, tags: Some(&tags) };
    let decision = policy.decide(&facts);
    (decision.rule.map(|rule| rule.name.clone()), decision.take, decision.recapture_every.num_days())
}

fn by(rule: &str, take: bool, days: i64) -> (Option<String>, bool, i64) {
    (Some(rule.to_owned()), take, days)
}

const DEV: &str = "dev-app.vault.azure.net";

#[test]
fn the_first_rule_whose_every_condition_holds_decides() {
    assert_eq!(decided(DEV, "secret/scratch-1", Some(true), &[]), by("scratch", false, 20));
    assert_eq!(decided(DEV, "secret/TMP-1", Some(true), &[]), by("scratch", false, 20));
    assert_eq!(decided("x.vault.azure.cn", "secret/tmp-1", None, &[]), by("scratch", false, 20));
    assert_eq!(decided(DEV, "key/TDE-1", Some(true), &[]), by("protectors", true, 7));
    let test = [("purpose", "test"), ("owner", "anyone"), ("more", "")];
    assert_eq!(decided(DEV, "key/tde-1", Some(false), &test), by("gone-soon", false, 20));
    // One condition after the other fails.
    for (host, object) in
        [(DEV, "key/scratch-1"), (DEV, "secret/scratch"), ("prod.vault.azure.net", "secret/scratch-1")]
    {
        assert_eq!(decided(host, object, Some(true), &[]), (None, true, 20), "{host} {object}");
    }
    for (enabled, tags) in [
        (Some(true), &test[..]),
        (None, &test[..]),
        (Some(false), &[("purpose", "Test"), ("owner", "x")]),
        (Some(false), &[("purpose", "test")]),
    ] {
        assert_eq!(decided(DEV, "secret/a", enabled, tags), (None, true, 20), "{enabled:?} {tags:?}");
    }
}

#[test]
fn a_pattern_without_a_dot_is_for_a_name_and_one_with_a_dot_for_a_host() {
    let selects = |pattern: &str, host: &str| {
        let rule = format!("[[rule]]\nname = \"r\"\nwhy = \"w\"\nvaults = [\"{pattern}\"]\ntake = false\n");
        let (policy, vault) = (policy(&rule), VaultUri::parse(&format!("https://{host}")).unwrap());
        let object = Object::parse("key/a").unwrap();
        !policy.decide(&Facts { vault: Some(&vault), object: &object, enabled: None, tags: None }).take
    };
    assert!(selects("prod", "prod.vault.azure.net") && selects("prod.*", "PROD.vault.azure.net"));
    assert!(!selects("prod", "production.vault.azure.net") && !selects("*net", "prod.vault.azure.net"));
}

#[test]
fn an_explanation_says_what_stood_against_each_rule() {
    let policy = policy(RULES);
    let object = Object::parse("secret/scratch-1").unwrap();
    let vault = VaultUri::parse("https://prod.vault.azure.net").unwrap();
    let explain = |vault, tags, enabled| {
        let explanation = policy.explain(&Facts { vault, object: &object, enabled, tags });
        let rules = explanation.rules.iter().map(|rule| (rule.outcome, rule.because.join("; "))).collect::<Vec<_>>();
        (rules, explanation.certain, explanation.decision.take)
    };
    let none = BTreeMap::new();
    let (rules, certain, take) = explain(Some(&vault), Some(&none), Some(true));
    assert_eq!((certain, take), (true, true));
    assert_eq!(
        rules,
        [
            (Outcome::Passed, "the vault is prod.vault.azure.net, not any of dev-*, *.vault.azure.cn".to_owned()),
            (Outcome::Passed, "it has no tag owner; it has no tag purpose; it is enabled".to_owned()),
            (Outcome::Passed, "its name is scratch-1, not tde-*".to_owned()),
        ]
    );
    // Whoever does not say which vault is told that it matters.
    let (rules, certain, _) = explain(None, None, Some(false));
    assert!(!certain);
    assert_eq!(
        rules[..2],
        [
            (Outcome::Open, "it asks for the vault any of dev-*, *.vault.azure.cn, and none was named".to_owned()),
            (
                Outcome::Open,
                "it asks for the tag owner=*, and tags were not given; it asks for the tag purpose=test, and tags were not given"
                    .to_owned()
            ),
        ]
    );
    let dev = VaultUri::parse("https://dev-x.vault.azure.net").unwrap();
    let (rules, certain, take) = explain(Some(&dev), None, None);
    assert_eq!((certain, take), (true, false));
    let outcomes: Vec<Outcome> = rules.into_iter().map(|(outcome, _)| outcome).collect();
    assert_eq!(outcomes, [Outcome::Decides, Outcome::NotReached, Outcome::NotReached]);
}

#[test]
fn an_open_rule_that_would_change_nothing_leaves_no_doubt() {
    let rule = |name: &str, more: &str| format!("[[rule]]\nname = \"{name}\"\ntake = true\n{more}\n");
    let object = Object::parse("key/a").unwrap();
    let facts = Facts { vault: None, object: &object, enabled: None, tags: None };
    assert!(policy(&rule("a", "tags = { a = \"b\" }")).explain(&facts).certain);
    assert!(!policy(&rule("a", "tags = { a = \"b\" }\nrecapture_every = \"1d\"")).explain(&facts).certain);
}

#[test]
fn the_built_in_policies_are_sound() {
    for (name, findings) in [("default", &[Code::QuorumOne, Code::LockOptional][..]), ("regulated", &[])] {
        let policy = Policy::built_in(name).unwrap();
        assert_eq!(policy.name, name);
        let found: Vec<Code> = policy.findings().into_iter().map(|finding| finding.code).collect();
        assert_eq!(found, findings);
    }
    assert_eq!(Policy::built_in("nosuch"), None);
    let smallest = policy("");
    let default = Policy::built_in("default").unwrap();
    assert_eq!(Policy { name: default.name.clone(), description: default.description.clone(), ..smallest }, default);
}

#[test]
fn the_canonical_text_has_everything_in_one_spelling() {
    assert_eq!(
        policy(RULES).canonical(),
        r#"{"cadence":{"full_every":604800,"recapture_every":1728000,"rpo":93600,"snapshot_every":86400},"description":"Ours.","format":"akv-archiver/policy/1","name":"own","recipients":{"quorum":1},"retention":{"class":"standard","lock":"optional","protection_min":5184000},"rule":[{"kinds":["secret"],"name":"scratch","names":["scratch-*","tmp-?"],"take":false,"vaults":["dev-*","*.vault.azure.cn"],"why":"the pipeline makes them anew"},{"enabled":false,"name":"gone-soon","tags":{"owner":"*","purpose":"test"},"take":false,"why":"nobody wants them back"},{"name":"protectors","names":["tde-*"],"recapture_every":604800,"take":true}]}"#
    );
    let text = "rule = [ { take = true, name = \"r\" } ]\n[retention]\nprotection_min = \"1440h\"\n[cadence]\nrpo = \"93600s\"\n# a comment\n";
    let same = "[[rule]]\nname = \"r\"\ntake = true\nrecapture_every = \"720h\"\n";
    assert_eq!(policy(text).sha256(), policy(same).sha256());
    assert_ne!(policy("").sha256(), policy("[cadence]\nrpo = \"25h\"\n").sha256());
    assert_eq!(policy("").sha256(), Digest::of(policy("").canonical().as_bytes()));
}

#[test]
fn the_digests_of_the_built_in_policies_are_known() {
    // Manifests quote them: a change to a built-in policy is a change that users must be told of (CHANGELOG.md).
    let digests = BUILT_IN.map(|(name, _)| format!("{name} {}", Policy::built_in(name).unwrap().sha256()));
    assert_eq!(
        digests,
        [
            "default 3ebedb4a9c194691087b43ad11acf0c70e135adb7e995995828835c74ae3b82d",
            "regulated 54ac9c78d1bf36ffaec9c7ca0f5c595ea395e80eecc3da33bd02f3d0ef860c0c",
        ]
    );
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let rule = |more: &str| format!("{HEAD}[[rule]]\nname = \"r\"\n{more}\n");
    for (text, expected) in [
        (String::new(), "own.toml:1:1: missing field `format`"),
        (
            HEAD.replace("policy/1", "policy/2"),
            "own.toml:1:10: the format is \"akv-archiver/policy/2\", and this program knows \"akv-archiver/policy/1\"",
        ),
        (
            HEAD.replace("\"own\"", "\"our own\""),
            "own.toml:2:8: \"our own\" is not a name: 1 to 64 letters, digits, `.`, `_` and `-`",
        ),
        (HEAD.replace("Ours.", " "), "own.toml:3:15: it must have 1 to 1000 characters, not all of them white space"),
        (HEAD.replace("Ours.", "two\\nlines"), "own.toml:3:15: it must be one line, without control characters"),
        (
            format!("{HEAD}[cadence]\nrpo = \"soon\"\n"),
            "own.toml:5:7: \"soon\" is not a duration: write a number and a unit, as in 45s, 90m, 26h or 30d",
        ),
        (
            format!("{HEAD}[cadence]\nevery = \"1d\"\n"),
            "own.toml:5:1: unknown field `every`, expected one of `snapshot_every`, `rpo`, `recapture_every`, `full_every`",
        ),
        (
            format!("{HEAD}[retention]\nlock = \"maybe\"\n"),
            "own.toml:5:8: unknown variant `maybe`, expected `required` or `optional`",
        ),
        (format!("{HEAD}[recipients]\nquorum = 0\n"), "own.toml:5:10: 0 is not between 1 and 100"),
        (rule(""), "own.toml:4:1: missing field `take`"),
        (rule("take = false"), "own.toml:6:1: rule \"r\" leaves objects out and does not say why"),
        (
            rule("why = \"w\"\ntake = false\nrecapture_every = \"1d\""),
            "own.toml:8:1: rule \"r\" leaves out what it selects, so `recapture_every` has no meaning",
        ),
        (rule("take = true\n[[rule]]\nname = \"r\"\ntake = true"), "own.toml:8:1: there are two rules named \"r\""),
        (
            rule("take = true\nnames = []"),
            "own.toml:7:9: the list is empty and would select nothing: leave it out to select everything",
        ),
        (
            rule("take = true\nnames = [\"a\", \"a b\"]"),
            "own.toml:7:9: \"a b\" is no pattern: letters, digits, `-`, `.`, `_`, and the wildcards `*` and `?`",
        ),
        (
            rule("take = true\nkinds = [\"keys\"]"),
            "own.toml:7:10: unknown variant `keys`, expected one of `certificate`, `key`, `secret`",
        ),
        (
            rule("take = true\ntags = {}"),
            "own.toml:7:8: 0 tags are given: an object has at most 15; leave `tags` out to ask for none",
        ),
        (
            rule("take = true\ntags = { \"\" = \"x\" }"),
            "own.toml:7:8: tag \"\": a tag's name has 1 to 256 characters, its value at most 256",
        ),
        (rule("take = \"yes\""), "own.toml:6:8: invalid type: a string, expected a boolean"),
    ] {
        assert_eq!(error(&text), expected, "{text}");
    }
}

#[test]
fn a_policy_is_bounded() {
    let rules = |count: usize| {
        (0..count).fold(HEAD.to_owned(), |text, n| format!("{text}[[rule]]\nname = \"{n}\"\ntake = true\n"))
    };
    assert_eq!(Policy::parse(&rules(1000), "own.toml").unwrap().rules.len(), 1000);
    assert_eq!(error(&rules(1001)), "own.toml:3004:1: there are 1001 rules, more than 1000");
    let large = format!("{HEAD}{}", "#".repeat(256 * 1024));
    assert_eq!(error(&large), "own.toml: it is larger than 256 KiB");
}

/// Rules, and the codes that they give; the notes that the smallest policy has are left out.
fn codes(rest: &str) -> Vec<(&'static str, Option<String>)> {
    let found = policy(rest).findings().into_iter();
    found
        .filter(|finding| !matches!(finding.code, Code::QuorumOne | Code::LockOptional))
        .map(|finding| (finding.code.name(), finding.rule))
        .collect()
}

#[test]
fn what_is_probably_not_meant_is_found() {
    let rule = |name: &str, more: &str| format!("[[rule]]\nname = \"{name}\"\nwhy = \"w\"\n{more}\n");
    let of = |code: &'static str, rule: &str| (code, Some(rule.to_owned()));
    let (all, none) = ("take = true", "take = false");
    let two = |one: &str, other: &str| codes(&(rule("a", one) + &rule("b", other)));

    assert_eq!(codes(""), []);
    assert_eq!(codes(&rule("a", none)), [of("takes-nothing", "a")]);
    assert_eq!(
        codes(&rule("a", "names = [\"*\"]\nkinds = [\"key\", \"secret\", \"certificate\"]\ntake = false")),
        [of("takes-nothing", "a")]
    );
    assert_eq!(two("names = [\"a\"]\ntake = true", none), [of("leaves-out-the-rest", "b")]);
    assert_eq!(two(none, all), [of("takes-nothing", "a"), of("unreachable-rule", "b")]);
    for (earlier, later) in [
        (all, "names = [\"a\"]\ntake = true"),
        ("names = [\"a*\", \"b\"]\ntake = true", "names = [\"AB\", \"b\"]\nenabled = true\ntake = true"),
        ("kinds = [\"key\", \"secret\"]\ntake = true", "kinds = [\"key\"]\ntake = true"),
        ("tags = { a = \"*\" }\ntake = true", "tags = { a = \"b\", c = \"d\" }\ntake = true"),
        ("enabled = true\ntake = true", "enabled = true\nvaults = [\"v\"]\ntake = true"),
    ] {
        assert_eq!(two(earlier, later), [of("unreachable-rule", "b")], "{earlier} then {later}");
    }
    for (earlier, later) in [
        ("names = [\"a*\"]\ntake = true", all),
        ("names = [\"a*\"]\ntake = true", "names = [\"a\", \"b\"]\ntake = true"),
        ("kinds = [\"key\"]\ntake = true", "kinds = [\"key\", \"secret\"]\ntake = true"),
        ("tags = { a = \"b\" }\ntake = true", "tags = { a = \"*\" }\ntake = true"),
        ("enabled = true\ntake = true", "enabled = false\ntake = true"),
        ("vaults = [\"v\"]\ntake = true", "vaults = [\"v.*\"]\ntake = true"),
    ] {
        assert_eq!(two(earlier, later), [], "{earlier} then {later}");
    }
    assert_eq!(codes(&rule("a", "names = [\"a\", \"b.c\"]\ntake = true")), [of("matches-nothing", "a")]);
}

#[test]
fn times_that_do_not_go_together_are_found() {
    assert_eq!(codes("[cadence]\nrpo = \"23h\"\n"), [("rpo-too-tight", None)]);
    assert_eq!(codes("[cadence]\nrpo = \"24h\"\n"), []);
    assert_eq!(codes("[retention]\nprotection_min = \"59d\"\n"), [("protection-before-renewal", None)]);
    let rare = "[retention]\nprotection_min = \"182d\"\n[cadence]\nrecapture_every = ";
    assert_eq!(codes(&format!("{rare}\"91d\"\n")), [("recapture-rare", None)]);
    assert_eq!(codes(&format!("{rare}\"90d\"\n")), []);
    let rule = "[[rule]]\nname = \"slow\"\ntake = true\nrecapture_every = \"100d\"\n";
    let of = |code: &'static str| (code, Some("slow".to_owned()));
    assert_eq!(codes(rule), [of("protection-before-renewal"), of("recapture-rare")]);
}

#[test]
fn every_code_is_documented_with_its_severity() {
    let document = include_str!("../../docs/POLICIES.md");
    let table = document.lines().skip_while(|line| !line.starts_with("| code | severity |")).skip(2);
    let rows: Vec<(String, String)> = table
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())
        })
        .collect();
    let ours = Code::ALL.map(|code| (code.name().to_owned(), format!("{:?}", code.severity()).to_lowercase()));
    assert_eq!(rows, ours);
    assert!(Code::ALL.is_sorted());
}

#[test]
fn a_choice_is_a_name_that_is_known_or_a_file() {
    assert_eq!(Choice::parse("regulated"), Ok(Choice::BuiltIn("regulated")));
    assert_eq!(Choice::parse("own.toml"), Ok(Choice::File("own.toml".into())));
    assert_eq!(Choice::parse("./own"), Ok(Choice::File("./own".into())));
    assert!(Choice::parse("own").unwrap_err().starts_with("there is no policy \"own\": default and regulated come"));
    assert_eq!(Choice::default(), Choice::BuiltIn("default"));
}

proptest! {
    /// What a rule covers by the books, it never lets reach the rule after it.
    #[test]
    fn a_covered_rule_never_decides(
        one in prop::collection::vec("[ab*?]{1,3}", 0..3),
        other in prop::collection::vec("[ab*?]{1,3}", 0..3),
        kinds in prop::collection::vec(prop::sample::select(vec!["key", "secret"]), 0..3),
        name in "[ab]{1,4}",
    ) {
        let rule = |rule: &str, names: &[String], kinds: &[&str]| {
            let names = if names.is_empty() { String::new() } else { format!("names = {names:?}\n") };
            let kinds = if kinds.is_empty() { String::new() } else { format!("kinds = {kinds:?}\n") };
            format!("[[rule]]\nname = \"{rule}\"\ntake = true\n{names}{kinds}")
        };
        let policy = policy(&(rule("one", &one, &kinds) + &rule("other", &other, &["key"])));
        let unreachable = policy.findings().iter().any(|finding| finding.code == Code::UnreachableRule);
        let object = Object::parse(&format!("key/{name}")).unwrap();
        let facts = Facts { vault: None, object: &object, enabled: None, tags: None };
        let decision = policy.decide(&facts);
        prop_assert!(!unreachable || decision.rule.is_none_or(|rule| rule.name == "one"));
    }

    #[test]
    fn parsing_is_total(text in "\\PC{0,200}", at in 0_usize..400) {
        let _ = Policy::parse(&text, "own.toml");
        let whole = format!("{HEAD}{RULES}");
        let at = (0..=at.min(whole.len())).rev().find(|at| whole.is_char_boundary(*at)).unwrap();
        let _ = Policy::parse(&format!("{}{text}{}", &whole[..at], &whole[at..]), "own.toml");
    }
}
