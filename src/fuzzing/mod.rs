//! Every parser of bytes from outside as one function of bytes, with what it promises of them: for the targets of `fuzz/`,
//! and for `tests/fuzz.rs`, which needs no fuzzer (feature `fuzzing`, never part of a production build). Holds no
//! parser: each is the one that the program itself uses.

mod answers;
mod files;
mod words;

/// A parser, under the name of its target in `fuzz/` and of its corpus.
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// Whether it reads secrets. Its refusals then repeat nothing of what was read.
    pub silent: bool,
    /// The parser, and everything that it promises of these bytes.
    pub parse: fn(&[u8]) -> Judged,
}

/// What became of bytes that did not parse, or did and should not have.
#[derive(Debug, PartialEq, Eq)]
pub enum Not {
    /// They were refused, in these words.
    Refused(String),
    /// They were accepted, and this promise is broken.
    Broken(&'static str),
}

/// Bytes that were accepted and are what they should be, or not.
pub type Judged = Result<(), Not>;

/// The longest refusal, in characters: a few lines of a terminal.
pub const REFUSAL_MAX: usize = 800;

/// As many characters of the input in a silent parser's refusal betray it.
const QUOTE: usize = 16;

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "archive", silent: false, parse: files::archive },
    Target { name: "arm", silent: true, parse: answers::resource },
    Target { name: "backup-answer", silent: true, parse: answers::backup },
    Target { name: "backup-header", silent: true, parse: files::backup_header },
    Target { name: "blob-list", silent: false, parse: answers::blob_list },
    Target { name: "capture", silent: false, parse: files::capture },
    Target { name: "error-body", silent: false, parse: answers::error_body },
    Target { name: "event", silent: false, parse: files::event },
    Target { name: "identity", silent: true, parse: words::identity },
    Target { name: "json", silent: false, parse: files::json },
    Target { name: "key", silent: true, parse: words::key },
    Target { name: "list-page", silent: true, parse: answers::list_page },
    Target { name: "log", silent: false, parse: files::log },
    Target { name: "manifest", silent: false, parse: files::manifest },
    Target { name: "note", silent: false, parse: files::note },
    Target { name: "plan", silent: false, parse: files::plan },
    Target { name: "policy", silent: false, parse: words::policy },
    Target { name: "recipient", silent: false, parse: words::recipient },
    Target { name: "report", silent: false, parse: files::report },
    Target { name: "sealed", silent: true, parse: files::sealed },
    Target { name: "settings", silent: false, parse: words::settings },
    Target { name: "vault-settings", silent: false, parse: files::vault_settings },
    Target { name: "words", silent: false, parse: words::words },
];

/// Puts bytes through the parser of that name. Returns whether they were accepted.
///
/// # Errors
/// The promise that was broken.
pub fn check(name: &str, bytes: &[u8]) -> Result<bool, String> {
    let target = TARGETS.iter().find(|target| target.name == name);
    target.ok_or_else(|| format!("there is no target {name}"))?.check(bytes)
}

impl Target {
    /// Puts bytes through the parser. Returns whether they were accepted.
    ///
    /// # Errors
    /// The promise that was broken.
    pub fn check(&self, bytes: &[u8]) -> Result<bool, String> {
        match (self.parse)(bytes) {
            Ok(()) => Ok(true),
            Err(Not::Broken(promise)) => Err(format!("{}: {promise}", self.name)),
            Err(Not::Refused(words)) => match self.fault_of(&words, bytes) {
                Some(fault) => Err(format!("{}: its refusal {fault}: {words}", self.name)),
                None => Ok(false),
            },
        }
    }

    fn fault_of(&self, words: &str, bytes: &[u8]) -> Option<&'static str> {
        if words.chars().count() > REFUSAL_MAX {
            return Some("is too long");
        }
        // TOML's parser writes two lines. Anything else could move a terminal's cursor.
        if words.chars().any(|c| c.is_control() && c != '\n') {
            return Some("has control characters");
        }
        let quoted = || {
            let pieces: std::collections::HashSet<&[u8]> = bytes.windows(QUOTE).collect();
            words.as_bytes().windows(QUOTE).any(|piece| pieces.contains(piece))
        };
        (self.silent && quoted()).then_some("repeats what was read")
    }
}

/// A refusal.
fn no(error: impl std::fmt::Display) -> Not {
    Not::Refused(error.to_string())
}

/// A promise.
fn holds(fact: bool, promise: &'static str) -> Judged {
    if fact { Ok(()) } else { Err(Not::Broken(promise)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(silent: bool, parse: fn(&[u8]) -> Judged) -> Target {
        Target { name: "made-up", silent, parse }
    }

    #[test]
    fn a_broken_promise_is_told() {
        assert_eq!(target(true, |_| Ok(())).check(b""), Ok(true));
        assert_eq!(target(true, |_| Err(no("no"))).check(b""), Ok(false));
        let broken = target(false, |_| holds(false, "it is not what it was"));
        assert_eq!(broken.check(b""), Err("made-up: it is not what it was".into()));
    }

    #[test]
    fn a_refusal_that_says_too_much_is_told() {
        let quoting = |bytes: &[u8]| Err(no(String::from_utf8_lossy(bytes)));
        let secret = b"correct horse battery staple";
        assert_eq!(target(false, quoting).check(secret), Ok(false));
        assert!(target(true, quoting).check(secret).unwrap_err().contains("repeats"));
        assert!(target(false, quoting).check(&[b'x'; REFUSAL_MAX + 1]).unwrap_err().contains("too long"));
        assert!(target(false, quoting).check(b"\x1b[2J").unwrap_err().contains("control"));
    }

    #[test]
    fn targets_have_names_of_their_own() {
        assert!(TARGETS.is_sorted_by(|a, b| a.name < b.name));
        assert!(check("none", b"").is_err());
    }
}
