//! Documents that state what the code states: the two are compared, so that neither can drift.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use akv_archiver::error::Kind;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file of the repository.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files below `folder` with one of the extensions, each with its text.
fn files(folder: &Path, extensions: &[&str], found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
        if path.is_dir() && !matches!(path.file_name().and_then(|it| it.to_str()), Some("target" | ".git")) {
            files(&path, extensions, found);
        } else if extensions.contains(&extension) {
            let shown = path.strip_prefix(root()).unwrap().display().to_string();
            found.push((shown, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The text of every source and every document.
pub(crate) fn sources_and_documents() -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(&root().join("src"), &["rs"], &mut found);
    found.extend(documents());
    found
}

fn documents() -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(root(), &["md"], &mut found);
    assert!(found.len() > 8, "the documents were not found");
    found
}

#[test]
fn exit_codes_are_those_of_the_code() {
    let document = read("docs/EXIT-CODES.md");
    let table = document
        .lines()
        .skip_while(|line| !line.starts_with("| code | kind |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let listed: Vec<(u8, String)> = table
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            (cells[1].parse().unwrap(), cells[2].trim_matches('`').to_owned())
        })
        .collect();
    let success = (0, String::new());
    let known: Vec<(u8, String)> = std::iter::once(success)
        .chain(Kind::ALL.iter().map(|kind| (kind.exit_code(), kind.name().to_owned())))
        .collect();
    assert_eq!(listed, known);
}

/// Targets of the links in a Markdown text, code blocks left out.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut code = false;
    for line in text.lines() {
        code ^= line.trim_start().starts_with("```");
        let ends = line.match_indices("](").map(|(at, _)| &line[at + 2..]);
        found.extend(ends.filter(|_| !code).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())));
    }
    found
}

/// Names that GitHub gives the headings of a Markdown text.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let slug = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
    };
    headings.map(slug).collect()
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in documents() {
        for link in links(&text).into_iter().filter(|link| !link.starts_with("https://")) {
            let (file, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let target = match file {
                "" => root().join(&path),
                file => root().join(&path).parent().unwrap().join(file),
            };
            let known = match anchor {
                Some(anchor) => std::fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(anchor)),
                None => target.exists(),
            };
            if !known {
                broken.push(format!("{path}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn a_broken_link_is_seen() {
    assert_eq!(links("a [b](c.md#d) and\n```\n[x](y)\n```\n[e](f)"), ["c.md#d", "f"]);
    assert!(anchors("# A\n## 9. Committing, or not").contains("9-committing-or-not"));
}

#[test]
fn examples_of_json_are_json() {
    let document = read("docs/JSON.md");
    let examples: Vec<&str> =
        document.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() > 4, "the examples were not found");
    for example in examples {
        serde_json::from_str::<serde_json::Value>(example).unwrap_or_else(|error| panic!("{error} in\n{example}"));
    }
}

#[test]
fn the_readme_names_the_two_commands() {
    let readme = read("README.md");
    for command in ["cargo demo", "cargo test"] {
        assert!(readme.contains(&format!("\n{command}")), "README.md must name `{command}` on a line of its own");
    }
    assert!(read(".cargo/config.toml").contains("demo = "), "`cargo demo` is an alias in .cargo/config.toml");
    assert!(read(".ci/run").contains(" cargo test 2>&1 |"), ".ci/run must run the README's command, exactly");
}
