//! The house rules, enforced. Each failure names the place and the reason for the rule; docs/ARCHITECTURE.md holds the
//! same tables for people, and a test keeps the two equal.

mod source;

use std::collections::{BTreeMap, BTreeSet};

use source::Source;

const NOTHING: &str = "nothing";

/// Every top-level module, in layers: its name, what it may import, why. It may import only what stands above it, of that
/// only what is listed, and the list holds nothing that is not used.
#[rustfmt::skip]
const MODULES: &[(&str, &str, &str)] = &[
    ("error", NOTHING, "an error module that names other modules ends in one cycle through all of them"),
    ("ambient", NOTHING, "time and chance are values that tests can hold still; they depend on nothing"),
    ("progress", NOTHING, "a listener knows nothing of who talks to it"),
    ("located", "error", "where something stands in a file does not depend on what it means"),
    ("model", NOTHING, "nouns are pure: no input, no output, no time"),
    ("tlog", "error, model", "the tree and the notes are C2SP's and know nothing of vaults"),
    ("format", "error, model, tlog", "bytes at rest are pure functions: docs/FORMAT.md is all they know"),
    ("policy", "error, located, model", "a policy is a value: who follows it is not its business"),
    ("seal", "error", "encryption sees bytes, never what they mean or where they go"),
    ("store", "ambient, error, model", "a store knows paths and bytes, never what they mean"),
    ("vault", "ambient, error, model", "the door to a vault does not know what stands behind it"),
    ("archive", "ambient, error, format, model, store, tlog", "writing an archive needs no vault and no key that opens it"),
    ("capture", "ambient, format, model, vault", "what takes objects from a vault cannot reach a store"),
    ("restore", "ambient, error, format, model, progress, vault", "carrying out a plan knows no archive, no Azure and no settings"),
    ("verify", "error, format, model, progress, store, tlog", "the verifier shares no code with the writer: where the writer is wrong, it sees it"),
    ("azure", "ambient, error, model, store, vault", "the Azure SDK stays behind the doors that it implements"),
    ("config", "error, located, model, policy", "settings are values; what they are wired to is not their business"),
    ("jobs", "ambient, archive, capture, error, format, model, policy, progress, restore, seal, store, tlog, vault", "a use case gets doors; it knows neither Azure nor the settings file"),
    ("assemble", "ambient, archive, azure, capture, config, error, jobs, located, model, policy, seal, store, tlog, vault, verify", "wiring hands out doors and does no work of its own"),
    ("emulator", "error", "the emulator shares no code with what it judges, so that a wrong belief is not held twice"),
    ("cli", "ambient, assemble, config, emulator, error, format, jobs, model, policy, progress, restore, seal, vault, verify", "the command line runs jobs through assembled doors; it reaches for no door itself"),
    ("fuzzing", "azure, config, format, model, policy, restore, seal, tlog, verify", "a fuzzer calls the parsers that the program uses, and has none of its own"),
];

/// Crates that only these modules may name, so that each can be replaced, and audited, in one place.
#[rustfmt::skip]
const CRATES: &[(&str, &[&str])] = &[
    ("azure", &[
        "azure_core", "azure_identity", "azure_security_keyvault_certificates", "azure_security_keyvault_keys",
        "azure_security_keyvault_secrets", "azure_storage_blob",
    ]),
    // The demo plays people who do not use this program.
    ("azure, emulator", &["reqwest"]),
    ("seal", &["age"]),
    ("format", &["tar", "zstd"]),
    ("cli, seal, store", &["rustix"]),
    ("config, emulator, located", &["toml"]),
    ("cli", &["clap", "clap_complete", "clap_mangen", "indicatif", "rpassword", "toml_edit", "tracing_subscriber"]),
    ("emulator", &["http_body_util", "hyper", "hyper_util", "rcgen", "tokio_rustls"]),
];

/// The items of a list as the tables write it.
fn listed(list: &str) -> Vec<&str> {
    list.split(", ").filter(|item| *item != NOTHING).collect()
}

/// Spellings that appear only where they are said to, with the reason.
const CONFINED: &[(&[&str], &[&str], &str)] = &[
    (
        // An `expect` with a text; parsers may have a method of that name. Clippy sees the rest.
        &[".unwrap()", ".expect( ", "panic!", "unreachable!", "todo!", "unimplemented!", "dbg!"],
        &[],
        "a backup that panics loses what it held: return an error that says what to do",
    ),
    (
        &["println!", "eprintln!", "print!", "eprint!", "stdout()"],
        &["cli/"],
        "only the command line prints: standard output is a contract, and libraries do not own it",
    ),
    (
        &["Utc::now", "Local::now", "SystemTime::now", "Instant::now", "time::sleep", "thread::sleep"],
        &["ambient.rs", "emulator/clock.rs"],
        "time is an argument: a test that waits or depends on the date cannot be trusted",
    ),
    (
        &["rand::fill", "Uuid::new_v4", "getrandom", "OsRng"],
        &["ambient.rs", "emulator/clock.rs"],
        "chance is an argument: one seed must replay a failure",
    ),
    (&["unsafe"], &[], "what we build does not need it"),
];

/// What each door can do: all of it, by name. A capability that is not there cannot be used by mistake.
const DOORS: &[(&str, &str, &[&str], &str)] = &[
    ("store/mod.rs", "trait Read:", &["describe", "get", "list", "guard"], "reading a store changes nothing in it"),
    ("store/mod.rs", "trait Append:", &["create"], "an archive is never changed: there is no overwrite and no delete"),
    (
        "store/protect.rs",
        "trait Protect:",
        &["reach", "extend", "hold", "extend_whole", "lock_whole", "hold_whole"],
        "whoever may protect files for longer has no way to shorten, unlock or delete",
    ),
    (
        "vault/mod.rs",
        "trait Read:",
        &["uri", "list", "get", "backup", "traffic"],
        "a snapshot can neither change a vault nor read a secret's value",
    ),
    ("vault/mod.rs", "trait Facts:", &["facts", "describe", "atlas"], "the management plane is only asked, never told"),
    ("vault/rights.rs", "trait Rights:", &["rights"], "what one may do is asked, never tried"),
    ("store/seat.rs", "trait Seat:", &["site", "rights", "clock_skew"], "what one may do is asked, never tried"),
    ("vault/discover.rs", "trait Discover:", &["subscriptions", "vaults"], "looking for vaults changes none"),
];

/// Lines that a file may have before its tests.
const LINES: usize = 450;

/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "misc"];

fn none(violations: impl IntoIterator<Item = String>) {
    let violations: Vec<String> = violations.into_iter().collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// Imports that the table does not allow.
fn forbidden_imports(sources: &[Source]) -> Vec<String> {
    let order: Vec<&str> = MODULES.iter().map(|(name, ..)| *name).collect();
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !matches!(source.module(), "lib" | "main")) {
        let Some((name, list, why)) = MODULES.iter().find(|(name, ..)| *name == source.module()) else {
            found.push(format!("src/{}: its module has no row here and in docs/ARCHITECTURE.md", source.path));
            continue;
        };
        for import in source.imports().iter().map(String::as_str).filter(|import| order.contains(import)) {
            if !listed(list).contains(&import) {
                found.push(format!("src/{}: {name} must not import {import}: {why}", source.path));
            }
        }
    }
    found
}

#[test]
fn imports_go_one_way() {
    none(forbidden_imports(&Source::all()));
}

#[test]
fn a_forbidden_import_is_found() {
    let guilty = |path: &str, code: &str| forbidden_imports(&[Source::new(path, code)]).join("\n");
    assert!(guilty("verify/log.rs", "use crate::archive::Reader;").contains("shares no code with the writer"));
    assert!(guilty("emulator/wire.rs", "use super::super::azure::x;").contains("must not import azure"));
    assert!(guilty("nowhere.rs", "").contains("no row"));
    assert_eq!(guilty("jobs/verify.rs", "use crate::archive::Reader; use crate::cli_like;"), "");
}

#[test]
fn the_table_of_imports_has_no_cycle_and_nothing_superfluous() {
    let sources = Source::all();
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for source in &sources {
        used.entry(source.module()).or_default().extend(source.imports());
    }
    let mut above: Vec<&str> = Vec::new();
    for (name, list, _) in MODULES {
        let used = used.get(name).unwrap_or_else(|| panic!("{name} is in the table and not in src/"));
        let list = listed(list);
        assert!(list.is_sorted(), "{name}: keep the list sorted");
        for import in list {
            assert!(above.contains(&import), "{name} may not import {import}, which stands below it");
            assert!(
                used.contains(import),
                "{name} no longer imports {import}: take it out of the table, here and in the document"
            );
        }
        above.push(name);
    }
}

#[test]
fn the_document_has_the_same_table() {
    let document = document("docs/ARCHITECTURE.md");
    let rows: Vec<[String; 2]> = rows(&document, "| module | may import |");
    let ours: Vec<[String; 2]> =
        MODULES.iter().map(|(name, list, _)| [format!("`{name}`"), (*list).to_owned()]).collect();
    assert_eq!(rows, ours, "docs/ARCHITECTURE.md and tests/architecture.rs differ");
}

#[test]
fn every_dependency_is_explained_and_stays_in_its_place() {
    let manifest: toml::Table = document("Cargo.toml").parse().unwrap();
    let declared: BTreeSet<String> =
        manifest["dependencies"].as_table().unwrap().keys().map(|name| format!("`{name}`")).collect();
    let explained: BTreeSet<String> =
        rows::<1>(&document("docs/ARCHITECTURE.md"), "| crate |").into_iter().map(|[name]| name).collect();
    let differ = explained.symmetric_difference(&declared);
    let mut found: Vec<String> =
        differ.map(|name| format!("{name} is in only one of Cargo.toml and ARCHITECTURE.md")).collect();
    let sources = Source::all();
    for name in declared.iter().map(|name| name.trim_matches('`')) {
        // The one crate whose library is named otherwise.
        let library = if name == "md-5" { "md5".to_owned() } else { name.replace('-', "_") };
        if sources.iter().all(|source| source.lines_with(&format!("{library}::")).is_empty()) {
            found.push(format!("Cargo.toml: nothing uses {name}: take it out"));
        }
    }
    for source in sources {
        for (home, crates) in CRATES.iter().filter(|(home, _)| !listed(home).contains(&source.module())) {
            for name in *crates {
                let lines = source.lines_with(&format!("{name}::"));
                found.extend(lines.into_iter().map(|line| format!("{line}\n    {name} belongs to {home}")));
            }
        }
    }
    none(found);
}

#[test]
fn files_say_what_they_are_for_and_stay_short() {
    let mut found = Vec::new();
    for source in Source::all() {
        let path = &source.path;
        if !source.text.starts_with("//!") {
            found.push(format!("src/{path}: open with `//!`: what it is for and what it must not know"));
        }
        let lines = source.code.lines().count();
        if lines > LINES {
            found.push(format!(
                "src/{path}: {lines} lines before its tests, more than {LINES}: more than one concept lives here"
            ));
        }
        if path.split('/').any(|name| EMPTY_NAMES.contains(&name.trim_end_matches(".rs"))) {
            found.push(format!("src/{path}: the name does not say what is in it"));
        }
    }
    none(found);
}

/// Spellings outside the places they are confined to.
fn strays(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (needles, places, why) in CONFINED {
            let at_home = places
                .iter()
                .any(|place| source.path == *place || (place.ends_with('/') && source.path.starts_with(place)));
            if !at_home {
                let lines = needles.iter().flat_map(|needle| source.lines_with(needle));
                found.extend(lines.map(|line| format!("{line}\n    {why}")));
            }
        }
    }
    found
}

#[test]
fn nothing_panics_prints_or_asks_for_the_time_where_it_must_not() {
    let mut sources = Source::all();
    // The attribute that forbids it has to name it.
    sources.retain(|source| source.path != "lib.rs");
    none(strays(&sources));
}

#[test]
fn a_stray_is_found() {
    for code in [
        "fn a() { b.unwrap(); }",
        "fn a() { println!(); }",
        "fn a() { chrono::Utc::now(); }",
        "fn a() { Uuid::new_v4(); }",
    ] {
        assert_eq!(strays(&[Source::new("jobs/a.rs", code)]).len(), 1, "{code}");
    }
    assert_eq!(
        strays(&[Source::new("cli/a.rs", "fn a() { println!(); }"), Source::new("ambient.rs", "Utc::now()")]).len(),
        0
    );
}

/// Names of the functions of a trait.
fn methods(code: &str, head: &str) -> Vec<String> {
    let body = code.split_once(head).unwrap_or_else(|| panic!("there is no `{head}`")).1;
    let body = body.split("\n}").next().unwrap();
    let names = body.lines().filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn "));
    names.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
}

#[test]
fn doors_open_no_further_than_they_must() {
    for source in Source::all() {
        for (_, head, allowed, why) in DOORS.iter().filter(|(path, ..)| *path == source.path) {
            assert_eq!(methods(&source.code, head), *allowed, "src/{}, {head} {why}", source.path);
        }
    }
    assert_eq!(
        methods(
            "trait Append: Read {\n    async fn create(&self);\n    fn delete(&self);\n}\nfn x() {}",
            "trait Append:"
        ),
        ["create", "delete"]
    );
}

/// A file of the repository.
fn document(path: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The first columns of the table whose heading begins with `heading`.
fn rows<const N: usize>(document: &str, heading: &str) -> Vec<[String; N]> {
    let table =
        document.lines().skip_while(|line| !line.starts_with(heading)).skip(2).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows: Vec<[String; N]> = table.map(|line| cells(line)[..N].to_vec().try_into().unwrap()).collect();
    assert!(!rows.is_empty(), "no table {heading}");
    rows
}
