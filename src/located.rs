//! A TOML text, and where in it things stand: what is wrong with a file is said with its name, line and column. Knows
//! no field of any file; what they mean is for `policy` and `config` to say.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Error, Result, bounded};

/// A text, and what it is called in messages: mostly the path of its file.
pub struct Source {
    origin: String,
    text: String,
}

impl Source {
    /// A text that is there already.
    pub fn new(origin: impl Into<String>, text: impl Into<String>) -> Self {
        Source { origin: origin.into(), text: text.into() }
    }

    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`]: it cannot be read, is larger, or is not UTF-8.
    pub fn read(path: &Path, limit: u64) -> Result<Self> {
        Ok(Source { origin: path.display().to_string(), text: read_text(path, limit)? })
    }

    /// Parses the text, strictly if `T` is strict.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`], `ORIGIN:LINE:COLUMN: what is wrong`; the hint is the caller's to give.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        toml::from_str(&self.text).map_err(|error| {
            let at = error.span().map(|span| position(&self.text, span.start));
            Error::usage(format!("{}{}", self.place(at), brief(&without_values(error.message()))))
        })
    }

    /// `ORIGIN:LINE:COLUMN: ` of what stands at `path` (keys, and numbers in arrays), or `ORIGIN: `.
    pub fn locate(&self, path: &[&str]) -> String {
        let document = DeTable::parse(&self.text).ok();
        let offset = document.and_then(|document| find(document.get_ref(), path));
        self.place(offset.map(|offset| position(&self.text, offset)))
    }

    fn place(&self, at: Option<(usize, usize)>) -> String {
        match at {
            Some((line, column)) => format!("{}:{line}:{column}: ", self.origin),
            None => format!("{}: ", self.origin),
        }
    }
}

fn find(table: &DeTable<'_>, path: &[&str]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first)?;
    within(value, rest, key.span().start)
}

fn within(value: &Spanned<DeValue<'_>>, path: &[&str], start: usize) -> Option<usize> {
    let Some((first, rest)) = path.split_first() else { return Some(start) };
    match value.get_ref() {
        DeValue::Table(table) => find(table, path),
        DeValue::Array(array) => {
            let item = array.get(first.parse::<usize>().ok()?)?;
            within(item, rest, item.span().start)
        }
        _ => None,
    }
}

/// Line and column, from one, in characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// Not longer than a message should be, whatever is quoted in it. TOML's parser writes several lines.
fn brief(message: &str) -> String {
    message.lines().take(3).map(|line| bounded(line.to_owned())).collect::<Vec<_>>().join("\n")
}

/// What serde says of a value of the wrong type repeats the value, and someone may have put a secret there.
fn without_values(message: &str) -> String {
    match (message.find("string \""), message.rfind("\", expected ")) {
        (Some(start), Some(end)) if start < end => {
            let head = message.get(..start).unwrap_or_default();
            format!("{head}a string{}", message.get(end + 1..).unwrap_or_default())
        }
        _ => message.to_owned(),
    }
}

/// A text file of at most `limit` bytes.
///
/// # Errors
/// [`crate::error::Kind::Usage`]: it cannot be read, is larger, or is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    use std::io::Read as _;
    let failed = |what: String| Error::usage(format!("couldn't read {}: {what}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > limit {
        return Err(failed(format!("it is larger than {}", size(limit))));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let (line, column) =
            position(&String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default()), valid);
        failed(format!("line {line}, column {column} is not UTF-8"))
    })
}

fn size(bytes: u64) -> String {
    match bytes.is_multiple_of(1 << 20) {
        true => format!("{} MiB", bytes >> 20),
        false => format!("{} KiB", bytes >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_items_are_found_by_their_path() {
        let source = Source::new("a.toml", "# ä\n[one]\nkey = 1\n[[two]]\n[[two]]\nlist = [\"ä\", { x = 1 }]\n");
        for (path, expected) in [
            (&["one", "key"][..], "a.toml:3:1: "),
            (&["two", "1"], "a.toml:5:1: "),
            (&["two", "1", "list", "1", "x"], "a.toml:6:16: "),
            (&["two", "2"], "a.toml: "),
            (&["one", "no"], "a.toml: "),
            (&["one", "key", "deeper"], "a.toml: "),
        ] {
            assert_eq!(source.locate(path), expected, "{path:?}");
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_read_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.toml");
        std::fs::write(&path, vec![b'#'; 4097]).unwrap();
        assert!(read_text(&path, 4096).unwrap_err().message().ends_with("it is larger than 4 KiB"));
        assert_eq!(read_text(&path, 4097).unwrap().len(), 4097);
    }
}
