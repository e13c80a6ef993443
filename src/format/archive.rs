//! `archive.json`: what an archive is, written once by `init`. Also how an archive's logs and keys are named.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Error, Fault, json};
use crate::format::time::seconds;
use crate::model::VaultUri;

/// The format that `archive.json` names.
pub const FORMAT: &str = "akv-archiver/archive/1";

/// The longest `archive.json`, in bytes.
pub const ARCHIVE_MAX: u64 = 4 * 1024;

/// The archive's birth certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// `akv-archiver/archive/1`.
    pub format: String,
    /// The archive's identity; part of every log's origin.
    pub archive_id: Uuid,
    /// When it was created; whole seconds, UTC.
    #[serde(with = "seconds")]
    pub created: DateTime<Utc>,
}

impl Archive {
    /// A new archive.
    pub fn new(archive_id: Uuid, created: DateTime<Utc>) -> Self {
        Archive { format: FORMAT.to_owned(), archive_id, created }
    }

    /// The bytes of `archive.json`.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = json::write(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Parses `archive.json`.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let decode = || {
            if bytes.len() as u64 > ARCHIVE_MAX {
                return Err(Error::new(Fault::TooLarge, format!("{} bytes, more than {ARCHIVE_MAX}", bytes.len())));
            }
            let line = bytes.strip_suffix(b"\n");
            let line = line.ok_or_else(|| Error::new(Fault::NotCanonical, "the newline at the end is missing"))?;
            json::read_format(line, FORMAT)
        };
        decode().map_err(|error: Error| error.at("archive.json"))
    }
}

/// The name of an archive's signing key: one key for all its logs.
pub fn key_name(archive_id: Uuid) -> String {
    format!("akv-archiver/{archive_id}")
}

/// The origin of a vault's log: what keeps one vault's checkpoints from passing for another's.
pub fn origin(archive_id: Uuid, vault: &VaultUri) -> String {
    format!("akv-archiver/{archive_id}/{}", vault.host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_line_with_one_spelling() {
        let archive = Archive::new(Uuid::from_u128(7), DateTime::from_timestamp(1_795_224_600, 123_000_000).unwrap());
        let bytes = archive.encode().unwrap();
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(
            text,
            "{\"archive_id\":\"00000000-0000-0000-0000-000000000007\",\"created\":\"2026-11-21T01:30:00Z\",\
             \"format\":\"akv-archiver/archive/1\"}\n"
        );
        assert_eq!(Archive::decode(&bytes).unwrap().encode().unwrap(), bytes);
        for (from, to, fault) in [
            ("archive/1", "archive/2", Fault::UnknownFormat),
            ("00Z", "00.0Z", Fault::BadMember),
            ("-0000-0000-0000-", "000000000000", Fault::NotCanonical),
            ("\n", "", Fault::NotCanonical),
            ("\n", "\n\n", Fault::NotCanonical),
            ("}\n", ",\"more\":1}\n", Fault::BadMember),
        ] {
            let error = Archive::decode(text.replace(from, to).as_bytes()).unwrap_err();
            assert_eq!(error.fault, fault, "{to:?}: {error}");
        }
        assert_eq!(Archive::decode(&[b' '; 5000]).unwrap_err().fault, Fault::TooLarge);
    }

    #[test]
    fn a_vault_has_an_origin_of_its_own_under_the_archives_key() {
        let vault = VaultUri::parse("https://prod.vault.azure.net").unwrap();
        let id = Uuid::from_u128(1);
        assert_eq!(origin(id, &vault), format!("{}/prod.vault.azure.net", key_name(id)));
    }
}
