//! Where each file of an archive is (docs/FORMAT.md section 2): every path is built here and parsed here, and the two
//! are each other's inverse. Knows no file's content.

use chrono::{DateTime, Utc};

use super::{Error, Fault, time};
use crate::model::{Digest, Kind, Name, Object, StorePath, VaultUri, unhex};

/// The largest sequence number: ten digits.
pub const SEQUENCE_MAX: u64 = 9_999_999_999;

/// A file of an archive, told by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArchivePath {
    /// `archive.json`.
    Archive,
    /// A sealed capture.
    Capture {
        /// The vault.
        vault: VaultUri,
        /// The object.
        object: Object,
        /// When it was captured.
        captured_at: DateTime<Utc>,
        /// The first twelve digits of the list item's fingerprint.
        fingerprint12: String,
    },
    /// The sealed settings of the vault as a whole.
    Settings {
        /// The vault.
        vault: VaultUri,
        /// When they were captured.
        captured_at: DateTime<Utc>,
        /// The first twelve digits of their fingerprint.
        fingerprint12: String,
    },
    /// A manifest.
    Manifest {
        /// The vault.
        vault: VaultUri,
        /// The sequence number that its writer hoped for.
        sequence: u64,
        /// SHA-256 of the file.
        sha256: Digest,
    },
    /// A log file.
    Log {
        /// The vault.
        vault: VaultUri,
        /// The entry's number.
        sequence: u64,
    },
}

impl ArchivePath {
    /// The file at a path, or `None` where format 1 has none.
    pub fn parse(path: &StorePath) -> Option<Self> {
        let mut segments = path.as_str().split('/');
        let mut next = || segments.next();
        let found = match next()? {
            "archive.json" => ArchivePath::Archive,
            "vaults" => {
                let host = next()?;
                let vault = VaultUri::parse(&format!("https://{host}")).filter(|vault| vault.host() == host)?;
                match next()? {
                    "captures" => {
                        let (kind, name) = (next()?, next()?);
                        let object = Object::new(Kind::parse(kind)?, Name::parse(name)?);
                        let (captured_at, fingerprint12) = parse_sealed(next()?)?;
                        ArchivePath::Capture { vault, object, captured_at, fingerprint12 }
                    }
                    "settings" => {
                        let (captured_at, fingerprint12) = parse_sealed(next()?)?;
                        ArchivePath::Settings { vault, captured_at, fingerprint12 }
                    }
                    "manifests" => {
                        let (sequence, digest) = next()?.strip_suffix(".jsonl.zst")?.split_once('-')?;
                        ArchivePath::Manifest { vault, sequence: number(sequence)?, sha256: Digest::parse(digest)? }
                    }
                    "log" => ArchivePath::Log { vault, sequence: number(next()?)? },
                    _ => return None,
                }
            }
            _ => return None,
        };
        // Building it again settles what the pieces above leave open: plural kinds, upper case, segments left over.
        (found.store_path().ok().as_ref() == Some(path)).then_some(found)
    }

    /// The path of this file. Fails for a sequence number, a year or a fingerprint that no path can hold.
    pub fn store_path(&self) -> Result<StorePath, Error> {
        let text = match self {
            ArchivePath::Archive => Some("archive.json".to_owned()),
            ArchivePath::Capture { vault, object, captured_at, fingerprint12 } => {
                let name = object.name.as_str().to_ascii_lowercase();
                let file = sealed(captured_at, fingerprint12);
                file.map(|file| format!("{}{}/{name}/{file}", captures_prefix(vault), object.kind))
            }
            ArchivePath::Settings { vault, captured_at, fingerprint12 } => {
                sealed(captured_at, fingerprint12).map(|file| format!("{}{file}", settings_prefix(vault)))
            }
            ArchivePath::Manifest { vault, sequence, sha256 } => {
                in_range(*sequence).then(|| format!("{}{sequence:010}-{sha256}.jsonl.zst", manifests_prefix(vault)))
            }
            ArchivePath::Log { vault, sequence } => {
                in_range(*sequence).then(|| format!("{}{sequence:010}", log_prefix(vault)))
            }
        };
        text.as_deref()
            .and_then(StorePath::parse)
            .ok_or_else(|| Error::new(Fault::BadPath, format!("there is no path for {self:?}")))
    }
}

/// The path of `archive.json`.
pub fn archive() -> Result<StorePath, Error> {
    ArchivePath::Archive.store_path()
}

/// The path of a sealed capture. `fingerprint` is that of the list item.
pub fn capture(
    vault: &VaultUri,
    object: &Object,
    captured_at: DateTime<Utc>,
    fingerprint: &Digest,
) -> Result<StorePath, Error> {
    let (vault, object, fingerprint12) = (vault.clone(), object.clone(), fingerprint.short());
    ArchivePath::Capture { vault, object, captured_at, fingerprint12 }.store_path()
}

/// The path of a vault's sealed settings. `fingerprint` is that of their canonical content.
pub fn settings(vault: &VaultUri, captured_at: DateTime<Utc>, fingerprint: &Digest) -> Result<StorePath, Error> {
    ArchivePath::Settings { vault: vault.clone(), captured_at, fingerprint12: fingerprint.short() }.store_path()
}

/// The path of a manifest.
pub fn manifest(vault: &VaultUri, sequence: u64, sha256: Digest) -> Result<StorePath, Error> {
    ArchivePath::Manifest { vault: vault.clone(), sequence, sha256 }.store_path()
}

/// The path of a log file.
pub fn log(vault: &VaultUri, sequence: u64) -> Result<StorePath, Error> {
    ArchivePath::Log { vault: vault.clone(), sequence }.store_path()
}

/// What every path of a vault begins with.
pub fn vault_prefix(vault: &VaultUri) -> String {
    format!("vaults/{}/", vault.host())
}

/// What every capture of a vault begins with.
pub fn captures_prefix(vault: &VaultUri) -> String {
    format!("{}captures/", vault_prefix(vault))
}

/// The object whose captures a path is among, if it begins with a vault's [`captures_prefix`]. What comes after its name
/// is not looked at: for those who know the whole path, and only look for what to compare it with.
pub fn object_below(prefix: &str, path: &StorePath) -> Option<Object> {
    let (kind, rest) = path.as_str().strip_prefix(prefix)?.split_once('/')?;
    let (name, _) = rest.split_once('/')?;
    Some(Object::new(Kind::parse(kind)?, Name::parse(name)?))
}

/// What all sealed settings of a vault begin with.
pub fn settings_prefix(vault: &VaultUri) -> String {
    format!("{}settings/", vault_prefix(vault))
}

/// What every manifest of a vault begins with.
pub fn manifests_prefix(vault: &VaultUri) -> String {
    format!("{}manifests/", vault_prefix(vault))
}

/// What every log file of a vault begins with.
pub fn log_prefix(vault: &VaultUri) -> String {
    format!("{}log/", vault_prefix(vault))
}

/// The name of a sealed file.
fn sealed(captured_at: &DateTime<Utc>, fingerprint12: &str) -> Option<String> {
    let (at, fingerprint) = time::short(captured_at).zip(short_digest(fingerprint12))?;
    Some(format!("{at}-{fingerprint}.tar.zst.age"))
}

fn parse_sealed(file: &str) -> Option<(DateTime<Utc>, String)> {
    let (at, fingerprint) = file.strip_suffix(".tar.zst.age")?.split_once('-')?;
    Some((time::parse_short(at)?, short_digest(fingerprint)?.to_owned()))
}

fn in_range(sequence: u64) -> bool {
    (1..=SEQUENCE_MAX).contains(&sequence)
}

fn number(text: &str) -> Option<u64> {
    (text.len() == 10).then(|| text.parse().ok()).flatten()
}

fn short_digest(text: &str) -> Option<&str> {
    (text.len() == 12 && unhex(text).is_some()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_object_is_told_from_the_beginning_of_a_captures_path() {
        let vault = VaultUri::parse("https://v.vault.azure.net").unwrap();
        let below = |rest: &str| {
            let prefix = captures_prefix(&vault);
            object_below(&prefix, &StorePath::parse(&format!("{prefix}{rest}")).unwrap()).map(|it| it.to_string())
        };
        assert_eq!(below("secret/a-b/20261121T013000Z-0123456789ab.tar.zst.age").as_deref(), Some("secret/a-b"));
        for none in ["secret/a", "thing/a/x", "secret/a_b/x", "secret"] {
            assert_eq!(below(none), None, "{none}");
        }
        assert_eq!(
            object_below("vaults/w.vault.azure.net/captures/", &manifest(&vault, 1, Digest::of(b"")).unwrap()),
            None
        );
    }

    fn parse(text: &str) -> Option<ArchivePath> {
        ArchivePath::parse(&StorePath::parse(text)?)
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        let vault = VaultUri::parse("https://prod.vault.azure.net").unwrap();
        let digest = Digest::of(b"abc");
        let at = DateTime::from_timestamp(1_795_224_600, 0).unwrap();
        let object = Object::parse("keys/TDE-Protector").unwrap();
        assert_eq!(archive().unwrap().as_str(), "archive.json");
        assert_eq!(
            capture(&vault, &object, at, &digest).unwrap().as_str(),
            "vaults/prod.vault.azure.net/captures/key/tde-protector/20261121T013000Z-ba7816bf8f01.tar.zst.age"
        );
        assert_eq!(
            settings(&vault, at, &digest).unwrap().as_str(),
            "vaults/prod.vault.azure.net/settings/20261121T013000Z-ba7816bf8f01.tar.zst.age"
        );
        assert_eq!(
            manifest(&vault, 7, digest).unwrap().as_str(),
            format!("vaults/prod.vault.azure.net/manifests/0000000007-{digest}.jsonl.zst")
        );
        assert_eq!(log(&vault, SEQUENCE_MAX).unwrap().as_str(), "vaults/prod.vault.azure.net/log/9999999999");
        assert_eq!(log(&vault, 0).unwrap_err().fault, Fault::BadPath);
        assert_eq!(log(&vault, SEQUENCE_MAX + 1).unwrap_err().fault, Fault::BadPath);
        assert_eq!(capture(&vault, &object, DateTime::<Utc>::MAX_UTC, &digest).unwrap_err().fault, Fault::BadPath);
    }

    #[test]
    fn nothing_else_is_a_path_of_an_archive() {
        let good = "vaults/v.vault.azure.net/captures/key/a/20261121T013000Z-ba7816bf8f01.tar.zst.age";
        assert!(parse(good).is_some());
        for (from, to) in [
            ("vaults/", "vault/"),
            ("v.vault", "V.vault"),
            ("v.vault.azure.net", "v"),
            ("captures", "capture"),
            ("/key/", "/keys/"),
            ("/key/", "/thing/"),
            ("/a/", "/A/"),
            ("/a/", "/a.b/"),
            ("Z-", "-"),
            ("T013000Z", "T253000Z"),
            ("ba7816bf8f01", "BA7816bf8f01"),
            ("ba7816bf8f01", "ba7816bf8f"),
            (".age", ""),
            (".age", ".age/more"),
        ] {
            assert_eq!(parse(&good.replace(from, to)), None, "{from} -> {to}");
        }
        for wrong in [
            "vaults/v.w/settings",
            "vaults/v.w/settings/key/a/20261121T013000Z-ba7816bf8f01.tar.zst.age",
            "vaults/v.w/settings/20261121T013000Z-ba7816bf8f01.jsonl.zst",
            "archive.json/a",
            "Archive.json",
            "vaults/v.w/log/0000000000",
            "vaults/v.w/log/1",
            "vaults/v.w/log/+000000001",
            "vaults/v.w/log",
            "vaults/v.w",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn building_and_parsing_are_inverse(
            host in "[a-z][a-z0-9-]{0,20}(\\.[a-z][a-z0-9-]{0,9}){1,3}", kind in 0usize..3, name in "[a-z0-9-]{1,127}",
            at in 0i64..253_402_300_800, sequence in 1..=SEQUENCE_MAX, digest: [u8; 32],
        ) {
            let Some(vault) = VaultUri::parse(&format!("https://{host}")) else { return Ok(()) };
            let (object, digest) = (Object::new(Kind::ALL[kind], Name::parse(&name).unwrap()), Digest(digest));
            let captured_at = DateTime::from_timestamp(at, 0).unwrap();
            for path in [
                ArchivePath::Capture { vault: vault.clone(), object, captured_at, fingerprint12: digest.short() },
                ArchivePath::Settings { vault: vault.clone(), captured_at, fingerprint12: digest.short() },
                ArchivePath::Manifest { vault: vault.clone(), sequence, sha256: digest },
                ArchivePath::Log { vault, sequence },
            ] {
                prop_assert_eq!(ArchivePath::parse(&path.store_path().unwrap()), Some(path));
            }
        }

        #[test]
        fn what_parses_builds_the_same_path(text in "(vaults|archive\\.json|a\\.b|log|captures|settings|manifests|key|0000000001|/|-|\\.){1,12}") {
            let found = StorePath::parse(&text).and_then(|path| Some((ArchivePath::parse(&path)?, path)));
            if let Some((found, path)) = found {
                prop_assert_eq!(found.store_path().unwrap(), path);
            }
        }
    }
}
