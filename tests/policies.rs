//! The published schema and the program's parser judge the same policies. They agree, but for what a schema cannot say.

use akv_archiver::policy::Policy;
use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

use crate::documents::read;

const HEAD: &str = "format = \"akv-archiver/policy/1\"\nname = \"own\"\ndescription = \"Ours.\"\n";

/// The schema, checked against its own meta-schema.
fn schema() -> (Schemas, SchemaIndex) {
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler.set_default_draft(boon::Draft::V2020_12);
    let document: Value = serde_json::from_str(&read("policies/policy.schema.json")).unwrap();
    compiler.add_resource("file:///policy.schema.json", document).unwrap();
    let index =
        compiler.compile("file:///policy.schema.json", &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
    (schemas, index)
}

/// What the schema says and what the parser says of a text.
fn verdicts(text: &str) -> (bool, bool) {
    let (schemas, index) = schema();
    let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error} in\n{text}"));
    let instance = serde_json::to_value(table).unwrap();
    (schemas.validate(&instance, index).is_ok(), Policy::parse(text, "own.toml").is_ok())
}

fn rule(more: &str) -> String {
    format!("{HEAD}[[rule]]\nname = \"r\"\n{more}\n")
}

fn long(length: usize) -> String {
    "x".repeat(length)
}

#[test]
fn shipped_and_documented_policies_are_good() {
    let documented = read("docs/POLICIES.md");
    let example = documented.split("```toml\n").find(|text| text.starts_with("#:schema")).unwrap();
    let example = example.split("```").next().unwrap().to_owned();
    for text in [read("policies/default.toml"), read("policies/regulated.toml"), example] {
        assert!(text.starts_with("#:schema ./policy.schema.json\n"), "editors find the schema by the first line");
        assert_eq!(verdicts(&text), (true, true), "{text}");
        assert!(Policy::parse(&text, "own.toml").unwrap().findings().iter().all(|finding| finding.rule.is_none()));
    }
}

#[test]
fn schema_and_parser_accept_the_same() {
    let tags = (0..15).map(|n| format!("t{n} = \"\"")).collect::<Vec<_>>().join(", ");
    for text in [
        HEAD.to_owned(),
        HEAD.replace("own", &long(64)),
        HEAD.replace("Ours.", &"ä".repeat(1000)),
        format!("{HEAD}[cadence]\n[retention]\n[recipients]\n"),
        format!(
            "{HEAD}[cadence]\nsnapshot_every = \"1s\"\nrpo = \"99m\"\nrecapture_every = \"5h\"\nfull_every = \"36525d\"\n"
        ),
        format!("{HEAD}[retention]\nclass = \"a.b_c-D\"\nprotection_min = \"1d\"\nlock = \"required\"\n"),
        format!("{HEAD}[recipients]\nquorum = 100\n"),
        rule("take = true"),
        rule("take = true\nrecapture_every = \"1d\"\nwhy = \"w\""),
        rule("take = false\nwhy = \"w\""),
        rule("take = true\nkinds = [\"key\", \"secret\", \"certificate\", \"key\"]\nenabled = false"),
        rule(&format!("take = true\nnames = [\"*\", \"a?b.c_d-E\"]\nvaults = [\"{}\"]", long(256))),
        rule(&format!("take = true\ntags = {{ {tags} }}")),
        rule(&format!("take = true\ntags = {{ \"{}\" = \"{}\" }}", long(256), "ä".repeat(256))),
    ] {
        assert_eq!(verdicts(&text), (true, true), "{text}");
    }
}

#[test]
fn schema_and_parser_refuse_the_same() {
    let tags = (0..16).map(|n| format!("t{n} = \"\"")).collect::<Vec<_>>().join(", ");
    let rules = (0..1001).map(|n| format!("[[rule]]\nname = \"{n}\"\ntake = true\n")).collect::<String>();
    let mut bad = vec![
        String::new(),
        HEAD.replace("policy/1", "policy/2"),
        HEAD.replace("format", "formats"),
        HEAD.replace("name = \"own\"\n", ""),
        HEAD.replace("description = \"Ours.\"\n", ""),
        HEAD.replace("own", ""),
        HEAD.replace("own", "our own"),
        HEAD.replace("own", "ä"),
        HEAD.replace("own", &long(65)),
        HEAD.replace("\"own\"", "5"),
        HEAD.replace("Ours.", ""),
        HEAD.replace("Ours.", "  "),
        HEAD.replace("Ours.", "two\\nlines"),
        HEAD.replace("Ours.", "\\u0085"),
        HEAD.replace("Ours.", &long(1001)),
        format!("{HEAD}more = 1\n"),
        format!("{HEAD}cadence = \"1d\"\n"),
        format!("{HEAD}[cadence]\nevery = \"1d\"\n"),
        format!("{HEAD}[retention]\ndays = 30\n"),
        format!("{HEAD}[retention]\nclass = \"a b\"\n"),
        format!("{HEAD}[retention]\nlock = \"Required\"\n"),
        format!("{HEAD}[retention]\nlock = true\n"),
        format!("{HEAD}[recipients]\nquorum = 0\n"),
        format!("{HEAD}[recipients]\nquorum = -1\n"),
        format!("{HEAD}[recipients]\nquorum = 101\n"),
        format!("{HEAD}[recipients]\nquorum = \"2\"\n"),
        format!("{HEAD}[recipients]\nquorum = 1.5\n"),
        format!("{HEAD}[recipients]\nnames = []\n"),
        format!("{HEAD}[rule]\nname = \"r\"\ntake = true\n"),
        format!("{HEAD}{rules}"),
        format!("{HEAD}[[rule]]\ntake = true\n"),
        rule(""),
        rule("take = \"true\""),
        rule("take = false"),
        rule("take = false\nwhy = \"\""),
        rule("take = false\nwhy = \"w\"\nrecapture_every = \"1d\""),
        rule("take = true\nrecapture_every = \"1w\""),
        rule("take = true\nenabled = \"no\""),
        rule("take = true\nkinds = []"),
        rule("take = true\nkinds = [\"keys\"]"),
        rule("take = true\nkinds = \"key\""),
        rule("take = true\nnames = []"),
        rule("take = true\nnames = [\"\"]"),
        rule("take = true\nnames = [\"a b\"]"),
        rule(&format!("take = true\nnames = [\"{}\"]", long(257))),
        rule("take = true\nvaults = [\"https://a\"]"),
        rule("take = true\ntags = {}"),
        rule("take = true\ntags = [\"a\"]"),
        rule("take = true\ntags = { \"\" = \"x\" }"),
        rule("take = true\ntags = { a = 1 }"),
        rule(&format!("take = true\ntags = {{ {tags} }}")),
        rule(&format!("take = true\ntags = {{ \"{}\" = \"\" }}", long(257))),
        rule(&format!("take = true\ntags = {{ a = \"{}\" }}", long(257))),
        rule("take = true\nobjects = [\"key/a\"]"),
    ];
    for duration in ["", "d", "30", "0d", "05d", "+5d", "-5d", "1.5h", "5 d", "5D", "5w", "1h30m", "٣d"] {
        bad.push(format!("{HEAD}[cadence]\nrpo = \"{duration}\"\n"));
    }
    for text in bad {
        assert_eq!(verdicts(&text), (false, false), "{text}");
    }
}

/// The list of these is short, stands in the schema's description, and is what `policy check` is for.
#[test]
fn what_a_schema_cannot_say_the_parser_says() {
    for text in [
        format!("{HEAD}[cadence]\nrpo = \"36526d\"\n"),
        format!("{HEAD}[cadence]\nrpo = \"99999999999999999999d\"\n"),
        rule("take = true\n[[rule]]\nname = \"r\"\ntake = true"),
        format!("{HEAD}#{}\n", long(256 * 1024)),
    ] {
        assert_eq!(verdicts(&text), (true, false), "{}", &text[..text.len().min(200)]);
    }
}

#[test]
fn the_schema_names_the_defaults_of_the_program() {
    let schema: Value = serde_json::from_str(&read("policies/policy.schema.json")).unwrap();
    let mut text = HEAD.to_owned();
    for table in ["cadence", "retention", "recipients"] {
        text.push_str(&format!("[{table}]\n"));
        for (field, said) in schema["properties"][table]["properties"].as_object().unwrap() {
            text.push_str(&format!("{field} = {}\n", said["default"]));
        }
    }
    let parsed = |text: &str| Policy::parse(text, "own.toml").unwrap();
    assert_eq!(parsed(&text).canonical(), parsed(HEAD).canonical(), "{text}");
    assert!(text.lines().count() > 9, "{text}");
}

/// Whoever reads the file in an editor sees what each field means.
#[test]
fn every_field_is_described_in_schema_and_document() {
    let schema: Value = serde_json::from_str(&read("policies/policy.schema.json")).unwrap();
    let document = read("docs/POLICIES.md");
    let top = &schema["properties"];
    let tables = ["cadence", "retention", "recipients"].map(|table| &top[table]["properties"]);
    let mut fields = 0;
    for (field, said) in
        tables.into_iter().chain([top, &schema["$defs"]["rule"]["properties"]]).flat_map(|it| it.as_object().unwrap())
    {
        assert!(said["description"].is_string(), "{field}");
        assert!(
            document.contains(&format!("| `{field}` |"))
                || document.contains(&format!("`[{field}]`"))
                || document.contains(&format!("`[[{field}]]`")),
            "{field}"
        );
        fields += 1;
    }
    assert!(fields > 20);
}
