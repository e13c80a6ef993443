//! The tree's sources as the rules look at them: code without its comments, strings and tests. Knows Rust's spelling
//! and none of the rules.

use std::collections::BTreeSet;
use std::path::Path;

/// One source file.
pub(super) struct Source {
    /// Below `src/`, such as `verify/mod.rs`.
    pub(super) path: String,
    /// As it is in the file.
    pub(super) text: String,
    /// Comments and the insides of strings blanked out, tests cut off. Lines keep their numbers.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Source {
        let mut code = blank(text);
        code.truncate(tests_begin(&code));
        Source { path: path.to_owned(), text: text.to_owned(), code }
    }

    /// Every file below `src/`; those that hold only tests have no code.
    pub(super) fn all() -> Vec<Source> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut sources = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let below = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                    sources.push(Source::new(&below, &std::fs::read_to_string(&path).unwrap()));
                }
            }
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        let tests: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
        for source in &mut sources {
            let stem = source.path.trim_end_matches(".rs");
            if tests.iter().any(|test| stem == test || stem.starts_with(&format!("{test}/"))) {
                source.code.clear();
            }
        }
        assert!(sources.len() > 20, "the sources were not found");
        sources
    }

    /// Paths, without `.rs`, of the modules that exist for tests only.
    fn test_modules(&self) -> Vec<String> {
        let stem = self.path.trim_end_matches(".rs");
        let folder = match stem.rsplit_once('/') {
            Some((folder, "mod")) => format!("{folder}/"),
            _ if matches!(stem, "lib" | "main") => String::new(),
            _ => format!("{stem}/"),
        };
        let marks = self.code.match_indices(TEST).filter_map(|(at, _)| test_module(&self.code[at..]));
        marks.map(|name| format!("{folder}{name}")).collect()
    }

    /// The module directly below the crate that the file belongs to.
    pub(super) fn module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Modules of this crate that the code names, its own left out: by `crate::…`, in a group, or by climbing out with
    /// `super::`.
    pub(super) fn imports(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (at, _) in self.code.match_indices("crate::") {
            heads(&self.code[at + "crate::".len()..], &mut found);
        }
        let climb = "super::".repeat(self.depth());
        for (at, _) in self.code.match_indices(&climb) {
            heads(&self.code[at + climb.len()..], &mut found);
        }
        found.remove(self.module());
        found
    }

    /// How many `super::` lead to the root of the crate.
    fn depth(&self) -> usize {
        let names = self.path.split('/').filter(|name| *name != "mod.rs").count();
        names.max(1)
    }

    /// Lines of code that hold `needle` where it is not part of a longer name, each with its number.
    pub(super) fn lines_with(&self, needle: &str) -> Vec<String> {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let stands = |line: &str| {
            line.match_indices(needle).any(|(at, _)| {
                let before = needle.starts_with(word) && line[..at].ends_with(word);
                let after = needle.ends_with(word) && line[at + needle.len()..].starts_with(word);
                !before && !after
            })
        };
        let lines = self.code.lines().enumerate().filter(|(_, line)| stands(line));
        lines.map(|(number, line)| format!("src/{}:{}: {}", self.path, number + 1, line.trim())).collect()
    }
}

/// The first names of a path or of each path in a group: `{a::x, b}` gives `a` and `b`.
fn heads(rest: &str, found: &mut BTreeSet<String>) {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else {
        found.insert(name(rest));
        return;
    };
    let mut depth = 1;
    let mut fresh = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => fresh = true,
            _ if depth == 1 && fresh && !c.is_whitespace() => {
                found.insert(name(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found.remove("self");
}

const TEST: &str = "#[cfg(test)]\n";

/// The module that a mark declares, if it stands in a file of its own.
fn test_module(mark: &str) -> Option<&str> {
    let declaration = mark.strip_prefix(TEST)?.lines().next()?;
    declaration.trim_start_matches("pub ").trim_start_matches("pub(crate) ").strip_prefix("mod ")?.strip_suffix(';')
}

/// Where the tests at the foot of a file begin.
fn tests_begin(code: &str) -> usize {
    let mut marks = code.match_indices(TEST).map(|(at, _)| at).filter(|at| *at == 0 || code[..*at].ends_with('\n'));
    marks.find(|at| test_module(&code[*at..]).is_none()).unwrap_or(code.len())
}

/// Blanks out comments and what is inside strings and character literals, newlines excepted.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |at| at + 2),
            '"' => quoted(rest, '"'),
            'r' if !out.ends_with(|c: char| c.is_alphanumeric() || c == '_') => raw(rest),
            '\'' => character(rest),
            _ => 0,
        };
        if end == 0 {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            out.extend(rest[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[end..];
        }
    }
    out
}

/// The length of a literal that begins with `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a raw string, or 0 if an `r` begins something else.
fn raw(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let Some(body) = text[1 + hashes..].strip_prefix('"') else { return 0 };
    let close = format!("\"{}", "#".repeat(hashes));
    body.find(&close).map_or(text.len(), |at| 2 + hashes + at + close.len())
}

/// The length of a character literal, or 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut inside = text.chars().skip(1);
    match (inside.next(), inside.next()) {
        (Some('\\'), _) => quoted(text, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

#[test]
fn comments_strings_and_tests_are_not_code() {
    let text = "//! panic!()\nfn a<'x>() { \"un\\\"wrap()\"; r#\"todo!()\"#; '\"'; f() /* x */ }\n#[cfg(test)]\nmod tests { f() }\n";
    let source = Source::new("a.rs", text);
    for absent in ["panic", "wrap", "todo", "x */", "mod tests"] {
        assert!(!source.code.contains(absent), "{absent} in {:?}", source.code);
    }
    assert!(source.code.contains("fn a<'x>() {"));
    let [line] = source.lines_with("f()").try_into().unwrap();
    assert_eq!(line.split_whitespace().collect::<String>(), "src/a.rs:2:fna<'x>(){;;;f()}");
    assert!(
        source.lines_with("f").len() == 1
            && source.lines_with("fn a<'x>(").len() == 1
            && source.lines_with("n a").is_empty()
    );
}

#[test]
fn modules_for_tests_only_are_told_apart() {
    let code = "#[cfg(test)]\nmod fake;\nuse crate::a;\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}\n";
    let source = Source::new("azure/mod.rs", code);
    assert_eq!(source.test_modules(), ["azure/fake"]);
    assert_eq!(source.imports().into_iter().collect::<Vec<_>>(), ["a"]);
    assert_eq!(Source::new("azure/vault.rs", code).test_modules(), ["azure/vault/fake"]);
}

#[test]
fn imports_are_seen_however_they_are_written() {
    let imports = |path: &str, code: &str| Source::new(path, code).imports().into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(imports("jobs/a.rs", "use crate::error::{Error, Kind};\nfn f() { crate::model::hex() }"), "error model");
    assert_eq!(imports("jobs/a.rs", "use crate::{error::{Error, Kind}, store,\n    vault as v};"), "error store vault");
    assert_eq!(imports("jobs/a.rs", "use super::super::archive::Reader; use super::b; use crate::jobs::c;"), "archive");
    assert_eq!(imports("jobs/mod.rs", "use super::archive; pub(crate) mod a; use self::b;"), "archive");
    assert_eq!(imports("a.rs", "use super::b::C;"), "b");
}
