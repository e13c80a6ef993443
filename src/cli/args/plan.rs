//! Arguments of `restore plan`: what to bring back, from when, into which vault, and what may be lost for it.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args};

use crate::model::{Kind, Object, Pattern, VaultUri, moment, object_of_id};

const EXAMPLES: &str = "\
Examples:
  # the newest capture of a key, into its own vault
  akv-archiver restore plan key/tde-protector
  # patterns (in quotes) and names
  akv-archiver restore plan 'key/payments-*' secret/app
  # all keys, as the archive had them then
  akv-archiver restore plan --kind key --at '2026-11-20 03:00'
  # the whole vault, into another
  akv-archiver restore plan --all --to https://spare.vault.azure.net
  # the newest capture with the version that SQL Server asks for
  akv-archiver restore plan --version-containing https://prod.vault.azure.net/keys/tde/0123…
  # a capture on a USB stick; no archive is needed
  akv-archiver restore plan --from-file /media/stick/capture.tar.zst.age";

/// Arguments of `restore plan`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["objects", "kinds", "all", "version", "files"]))]
pub(crate) struct Plan {
    /// Objects to bring back, such as key/tde-protector, or patterns such as 'key/payments-*' and '*/tls-*'
    #[arg(value_name = "KIND/NAME|PATTERN", value_parser = term)]
    pub(crate) objects: Vec<Term>,
    /// Bring back everything of this kind: key, secret or certificate; may be repeated
    #[arg(long = "kind", value_name = "KIND", value_parser = kind, conflicts_with = "objects")]
    pub(crate) kinds: Vec<Kind>,
    /// Bring back everything that was live in the snapshot, or soft-deleted and captured before
    #[arg(long, conflicts_with = "objects")]
    pub(crate) all: bool,
    /// Of what --all, --kind and patterns describe, only what was live in the snapshot
    #[arg(long, conflicts_with_all = ["version", "files"])]
    pub(crate) live_only: bool,
    /// The vault that was archived, by its name in the settings or its host; needed where there are several
    #[arg(long, value_name = "NAME")]
    pub(crate) vault: Option<String>,
    /// The vault to restore into, by its name in the settings or its address [default: the one that was archived]
    #[arg(long, value_name = "NAME|URI")]
    pub(crate) to: Option<String>,
    /// Take captures from this snapshot, not the newest that has them
    #[arg(long, value_name = "SEQUENCE", help_heading = "From which captures", conflicts_with_all = ["at", "version", "files"])]
    pub(crate) snapshot: Option<u64>,
    /// Take captures from the newest snapshot that had begun by then, and from older ones what it does not have:
    /// 2026-11-20, '2026-11-20 03:00' or RFC 3339, UTC; a date alone is its first moment
    #[arg(long, value_name = "TIME", value_parser = moment::parse, help_heading = "From which captures", conflicts_with_all = ["version", "files"])]
    pub(crate) at: Option<DateTime<Utc>>,
    /// Take the newest capture that contains this version: the id of one of the named object's versions, or a whole
    /// identifier, which names vault and object too
    #[arg(long = "version-containing", value_name = "ID|URL", value_parser = version, help_heading = "From which captures", conflicts_with_all = ["kinds", "all", "files"])]
    pub(crate) version: Option<Version>,
    /// Take the capture from this sealed file, without an archive; may be repeated
    #[arg(long = "from-file", value_name = "FILE", num_args = 1.., help_heading = "From which captures", conflicts_with_all = ["objects", "kinds", "all", "vault"])]
    pub(crate) files: Vec<PathBuf>,
    /// Purge soft-deleted objects that hold the names of others, where the vault allows it; nothing brings them back
    #[arg(long, help_heading = "What may be done")]
    pub(crate) allow_purge: bool,
    /// Recover soft-deleted objects though they are older than the capture, or others
    #[arg(long, help_heading = "What may be done")]
    pub(crate) recover_other: bool,
    /// Restore an HSM key a second time into a vault, for a reason that the log records
    #[arg(long, value_name = "REASON", value_parser = reason, help_heading = "What may be done")]
    pub(crate) override_single_restore: Option<String>,
    /// Write issuers, contacts and rotation policies too, where the whole vault goes into another
    #[arg(long, requires = "all", requires = "to", conflicts_with = "kinds", help_heading = "What may be done")]
    pub(crate) with_vault_settings: bool,
    /// Where to write the plan; an earlier plan there is replaced, any other file is not
    #[arg(long, value_name = "FILE", default_value = "restore-plan.json", help_heading = "Output")]
    pub(crate) out: PathBuf,
}

/// What is named on the command line.
#[derive(Clone, Debug)]
pub(crate) enum Term {
    /// One object.
    Object(Object),
    /// All that a pattern describes.
    Pattern(Pattern),
}

/// A version: by its id, or by an identifier that names everything.
#[derive(Clone, Debug)]
pub(crate) enum Version {
    /// `0123…`.
    Id(String),
    /// `https://VAULT/keys/NAME/VERSION`.
    Whole {
        /// The vault.
        vault: VaultUri,
        /// The object.
        object: Object,
        /// The version's id.
        id: String,
    },
}

fn term(text: &str) -> Result<Term, String> {
    if let Some(object) = Object::parse(text) {
        return Ok(Term::Object(object));
    }
    let pattern = Pattern::parse(text).filter(|_| text.contains(['*', '?']));
    pattern.map(Term::Pattern).ok_or_else(|| {
        "name it KIND/NAME, such as key/tde-protector, secret/app or certificate/tls, or a pattern such as 'key/tde-*'".into()
    })
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::parse(text).ok_or_else(|| "kinds are key, secret and certificate".into())
}

fn version(text: &str) -> Result<Version, String> {
    const WHOLE: &str = "a whole identifier is https://VAULT/keys/NAME/VERSION";
    if !text.contains('/') {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        return plain.then(|| Version::Id(text.to_owned())).ok_or_else(|| "no version has such an id".into());
    }
    let vault = text.strip_prefix("https://").and_then(|rest| rest.split('/').next());
    let vault = vault.and_then(|host| VaultUri::parse(&format!("https://{host}"))).ok_or(WHOLE)?;
    let (object, id) = object_of_id(text).ok_or(WHOLE)?;
    let id = id.ok_or_else(|| format!("the identifier names {object}, and no version; {WHOLE}"))?;
    Ok(Version::Whole { vault, object, id })
}

pub(super) fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    let fits = (1..=500).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned()).ok_or_else(|| "a reason is one line of 1 to 500 characters".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_an_id_or_what_sql_server_and_azure_print() {
        let whole = |text: &str| match version(text).unwrap() {
            Version::Whole { vault, object, id } => (vault.host().to_owned(), object.to_string(), id),
            Version::Id(id) => panic!("{id}"),
        };
        let expected = ("prod.vault.azure.net".to_owned(), "key/tde".to_owned(), "0123".to_owned());
        for text in [
            "https://prod.vault.azure.net/keys/tde/0123",
            "https://PROD.vault.azure.net:443/keys/tde/0123/",
            "https://prod.vault.azure.net/deletedkeys/tde/0123",
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
        assert!(matches!(version("0123ABC").unwrap(), Version::Id(id) if id == "0123ABC"));
        for wrong in [
            "",
            "a b",
            "keys/tde/0123",
            "https://prod.vault.azure.net/keys/tde",
            "http://prod.vault.azure.net/keys/a/1",
        ] {
            assert!(version(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_an_object_and_wildcards_make_it_a_pattern() {
        assert!(matches!(term("key/tde").unwrap(), Term::Object(_)));
        assert!(matches!(term("*/tls-*").unwrap(), Term::Pattern(_)));
        for wrong in ["tde", "key/", "key/a_b", "*", "lock/a*"] {
            assert!(term(wrong).is_err(), "{wrong}");
        }
    }
}
