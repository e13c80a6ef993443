//! docs/EMULATOR.md says what each answer of the emulator rests on; this compares it with the code, and with the replay.

use std::collections::{BTreeMap, BTreeSet};

use akv_archiver::emulator::seed::Seed;
use akv_archiver::emulator::vault::Vaults;
use akv_archiver::emulator::wire::{Caller, Request};
use hyper::{HeaderMap, Method};

use super::Seen;
use crate::documents::{read, sources_and_documents};

/// The rows of every table in the document that begins with these columns.
fn rows(columns: &str) -> Vec<Vec<String>> {
    let document = read("docs/EMULATOR.md");
    let mut found = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if line.starts_with(columns) {
            let table = lines.by_ref().skip(1).take_while(|line| line.starts_with('|'));
            let cells =
                |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
            found.extend(table.map(cells));
        }
    }
    assert!(!found.is_empty(), "no table {columns}");
    found
}

/// The operations of the document, each with its evidence.
fn operations() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for row in rows("| operation on | keys | secrets | certificates |") {
        for (kind, evidence) in ["keys", "secrets", "certificates"].iter().zip(&row[1..]) {
            found.insert(row[0].replace("KIND", kind), evidence.clone());
        }
    }
    found.extend(rows("| operation | evidence |").into_iter().map(|row| (row[0].clone(), row[1].clone())));
    found
}

/// The refusals of the document, each with its evidence.
fn refusals() -> BTreeMap<(u16, String, String), String> {
    let row = |row: Vec<String>| ((row[0].parse().unwrap(), row[1].clone(), row[2].clone()), row[3].clone());
    rows("| status | code | inner code | evidence |").into_iter().map(row).collect()
}

/// Holds the document to the replay: it says *recorded* of what was replayed, and of nothing else.
///
/// # Panics
/// If it does not.
pub(super) fn judge(seen: &Seen) {
    let recorded: BTreeSet<String> = operations()
        .into_iter()
        .filter(|(_, evidence)| evidence == "recorded")
        .map(|(operation, _)| operation)
        .collect();
    assert_eq!(recorded, seen.operations, "operations in docs/EMULATOR.md (left) and in the replay");
    let recorded: BTreeSet<_> =
        refusals().into_iter().filter(|(_, evidence)| evidence == "recorded").map(|(refusal, _)| refusal).collect();
    assert_eq!(recorded, seen.errors, "refusals in docs/EMULATOR.md (left) and in the replay");
}

#[test]
fn every_listed_operation_of_key_vault_exists() {
    let seed = Seed::parse(
        "[[vault]]\nname = \"vvv\"\nsubscription = \"11111111-1111-1111-1111-111111111111\"\nlocation = \"westeurope\"",
    )
    .unwrap();
    let now = chrono::DateTime::UNIX_EPOCH;
    let mut vaults = Vaults::new(&seed.vaults, now, Box::new(|bytes| bytes.fill(7))).unwrap();
    let nobody = Caller {
        name: "nobody".into(),
        client_id: "c".into(),
        object_id: "o".into(),
        audience: "https://vault.azure.net".into(),
        actions: Vec::new(),
        scopes: Vec::new(),
    };
    let mut count = 0;
    for operation in
        operations().into_keys().filter(|operation| !operation.contains("{container}") && !operation.contains('?'))
    {
        let (method, path) = operation.split_once(' ').unwrap();
        let path = path.replace("{name}", "a").replace("{issuer}", "a").replace("{version}", &"0".repeat(32));
        let request = Request {
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            host: "vvv.vault.azure.net".into(),
            path,
            query: vec![("api-version".into(), "7.6".into())],
            headers: HeaderMap::new(),
            body: Default::default(),
        };
        // What does not exist is 404 or 405; what does takes a permission.
        let response = vaults.handle(now, Some(&nobody), &request, "t");
        assert_eq!(response.status.as_u16(), 403, "{operation}");
        count += 1;
    }
    assert!(count > 60, "{count}");
}

#[test]
fn every_code_of_a_refusal_is_listed() {
    let listed: BTreeSet<String> = refusals().into_keys().flat_map(|(_, code, inner)| [code, inner]).collect();
    for path in ["src/emulator/vault/errors.rs", "src/emulator/blob/errors.rs"] {
        let source = read(path);
        let code = source.split("#[cfg(test)]").next().unwrap();
        let literals = code.split('"').skip(1).step_by(2);
        // Codes are single words of two or more capitals; everything else in these files is text or a header.
        let is_code = |text: &&str| {
            text.chars().all(|c| c.is_ascii_alphanumeric())
                && text.starts_with(|c: char| c.is_ascii_uppercase())
                && text.chars().any(|c| c.is_ascii_lowercase())
        };
        let elements =
            ["HeaderName", "HeaderValue", "QueryParameterName", "QueryParameterValue", "Error", "Code", "Message"];
        let missing: Vec<&str> =
            literals.filter(is_code).filter(|code| !listed.contains(*code) && !elements.contains(code)).collect();
        assert!(missing.is_empty(), "{path}: not in docs/EMULATOR.md: {missing:?}");
    }
}

#[test]
fn every_mark_of_uncertainty_is_listed_and_none_besides() {
    let mut marked: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (path, text) in sources_and_documents().into_iter().filter(|(path, _)| path.starts_with("src/emulator/")) {
        for (mark, evidence) in [("ISSUE", "reported"), ("MEM", "remembered"), ("GUESS", "guessed")] {
            for (at, _) in text.match_indices(mark) {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let rest = &text[at + mark.len()..];
                if text[..at].ends_with(word) || rest.starts_with(word) {
                    continue;
                }
                let id = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(id, _)| id.to_owned());
                let id = id.unwrap_or_else(|| panic!("{path}: {mark} without an id"));
                marked.entry(id).or_default().insert(evidence);
            }
        }
    }
    assert!(marked.remove("id").is_some(), "the explanation of the marks in src/emulator/mod.rs was not found");
    let table = rows("| id | what | evidence |").into_iter();
    let listed: BTreeMap<String, String> = table.map(|row| (row[0].clone(), row[2].clone())).collect();
    let order = |evidence: BTreeSet<&str>| {
        let words = ["reported", "remembered", "guessed"].into_iter().filter(|word| evidence.contains(word));
        words.collect::<Vec<_>>().join(", ")
    };
    let marked: BTreeMap<String, String> = marked.into_iter().map(|(id, evidence)| (id, order(evidence))).collect();
    assert_eq!(listed, marked, "docs/EMULATOR.md (left) and the marks in src/emulator differ");
}
