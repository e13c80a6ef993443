//! Makes the vectors: a good file of each kind, and mutations of it that break one rule each. Everything that is not
//! broken on purpose is right, signatures and counts included, so that a reader can fail for one reason only.

mod captures;
mod logs;
mod manifests;
mod notes;
mod settings;

use akv_archiver::format::archive::Archive;
use akv_archiver::model::VaultUri;
use akv_archiver::tlog::Signer;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Subject, Vector};

pub(super) fn all() -> Vec<Vector> {
    [archives(), captures::all(), logs::all(), manifests::all(), notes::all(), settings::all()].concat()
}

/// What docs/FORMAT.md shows on its first page.
pub(super) fn examples() -> Vec<String> {
    let archive = String::from_utf8(archive().encode().unwrap()).unwrap();
    [vec![archive], logs::examples(), manifests::examples(), captures::examples()].concat()
}

fn time(seconds_later: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_224_600 + seconds_later, 0).unwrap()
}

fn vault() -> VaultUri {
    VaultUri::parse("https://prod.vault.azure.net").unwrap()
}

fn archive() -> Archive {
    Archive::new(Uuid::from_u128(0x6f9b_1c52_9d0e_4a37_8c1e_5b2f_7a3d_4e60), time(-3600))
}

fn signer() -> Signer {
    Signer::from_seed(&akv_archiver::format::archive::key_name(archive().archive_id), &[7; 32]).unwrap()
}

fn vector(subject: Subject, name: &str, expect: &str, comment: &str, bytes: Vec<u8>) -> Vector {
    let verifiers = match subject {
        Subject::Log => vec![signer().verifier().to_string()],
        _ => Vec::new(),
    };
    let (name, expect, comment) = (name.to_owned(), expect.to_owned(), comment.to_owned());
    Vector { subject, name, expect, comment, verifiers, bytes }
}

/// Replaces the one place where `from` stands.
fn replace(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} in {text}");
    text.replacen(from, to, 1)
}

fn archives() -> Vec<Vector> {
    let good = String::from_utf8(archive().encode().unwrap()).unwrap();
    let make = |name: &str, expect: &str, comment: &str, text: String| {
        vector(Subject::Archive, name, expect, comment, text.into_bytes())
    };
    vec![
        make("good", "ok", "an archive", good.clone()),
        make("next-format", "unknown-format", "from a later program", replace(&good, "archive/1", "archive/2")),
        make("no-newline", "not-canonical", "the final newline is missing", good.trim_end().to_owned()),
        make("two-lines", "not-canonical", "something follows the line", format!("{good}\n")),
        make("upper-case-id", "not-canonical", "a UUID is written in lower case", good.replace("6f9b1c52", "6F9B1C52")),
        make("unknown-member", "bad-member", "format 1 never grows", replace(&good, "}", ",\"more\":1}")),
        make("too-large", "too-large", "beyond 4 KiB", replace(&good, "archive/1", &"archive/1".repeat(500))),
    ]
}
