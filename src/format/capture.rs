//! A capture before sealing (docs/FORMAT.md section 6): a deterministic tar of `backup.blob`, `metadata.json` and
//! `README.txt`, compressed. Knows no key; `seal` encrypts what [`pack`] makes.

mod header;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

pub use crate::format::tar::NamedFile;
use crate::format::tar::{self, File};
use crate::format::time::seconds;
use crate::format::{Error, Fault};
use crate::model::{Digest, Object, VaultUri};

/// The format that `metadata.json` names.
pub const FORMAT: &str = "akv-archiver/capture/1";

/// The longest `backup.blob`, in bytes.
pub const BLOB_MAX: usize = 32 << 20;

/// The longest `metadata.json`, in bytes.
pub const METADATA_MAX: usize = 32 << 20;

/// The longest `README.txt`, in bytes.
pub const README_MAX: usize = 4 << 10;

const METADATA: File = File("metadata.json", METADATA_MAX);

/// What the tar holds.
const FILES: [File; 3] = [File("backup.blob", BLOB_MAX), METADATA, File("README.txt", README_MAX)];

/// The longest sealed capture, in bytes: what incompressible content of the greatest length takes, and age's share.
pub const SEALED_MAX: u64 = 68 << 20;

/// One object taken at one moment. Its blob is sensitive, and so it has no `Debug` that shows it.
pub struct Capture {
    /// Azure's backup blob, decoded: the file that `az keyvault … restore -f` takes.
    pub blob: Zeroizing<Vec<u8>>,
    /// What the blob does not tell.
    pub metadata: Metadata,
}

/// `metadata.json`: all that Azure tells of the object, in Azure's own JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// `akv-archiver/capture/1`.
    pub format: String,
    /// The vault it was taken from.
    pub vault: VaultUri,
    /// The object.
    pub object: Object,
    /// When the backup was taken, by the service's clock; whole seconds.
    #[serde(with = "seconds")]
    pub captured_at: DateTime<Utc>,
    /// The program that took it, `akv-archiver 0.1.0`.
    pub tool: String,
    /// Digest and length of `backup.blob`, and its readable header where it has one.
    pub backup: BackupFacts,
    /// The object's item in the base list: the current version's attributes and tags.
    pub listed: Box<RawValue>,
    /// The items of its versions list, ordered by version id.
    pub versions: Vec<Box<RawValue>>,
    /// Bundles that carry what lists do not: public keys of each key version; policy and chain of a certificate.
    pub bundles: Vec<Box<RawValue>>,
    /// A key's rotation policy, which the blob is not known to carry.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rotation_policy: Option<Box<RawValue>>,
    /// Service facts of the backup request.
    pub service: ServiceFacts,
}

/// Facts of a backup blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupFacts {
    /// SHA-256 of `backup.blob`.
    pub sha256: Digest,
    /// Length of `backup.blob` in bytes.
    pub size: u64,
    /// The readable header, where the blob has the known shape.
    pub header: Option<BlobHeader>,
}

/// The readable part of a backup blob: a length byte, a magic string, a JWE protected header (seen in recordings,
/// undocumented by Microsoft, so never required).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlobHeader {
    /// Such as `AzureKeyVaultKeyBackupV1.microsoft.com`.
    pub magic: String,
    /// The id of the wrapping key.
    pub kid: String,
    /// The key-wrapping algorithm.
    pub alg: String,
    /// The content-encryption algorithm.
    pub enc: String,
}

/// What the service said of itself when the backup was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceFacts {
    /// The api-version that was asked for.
    pub api_version: String,
    /// `x-ms-keyvault-region`.
    pub region: Option<String>,
    /// `x-ms-keyvault-service-version`.
    pub service_version: Option<String>,
    /// `x-ms-request-id` of the backup.
    pub request_id: Option<String>,
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Capture({}, {} bytes)", self.metadata.object, self.blob.len())
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        let Metadata { listed, versions, bundles, rotation_policy, .. } = self;
        tar::wipe([listed].into_iter().chain(versions).chain(bundles).chain(rotation_policy));
    }
}

impl BackupFacts {
    /// The facts of a blob.
    pub fn of(blob: &[u8]) -> Self {
        BackupFacts { sha256: Digest::of(blob), size: blob.len() as u64, header: BlobHeader::parse(blob) }
    }
}

/// The compressed tar of a capture, ready to be sealed. The same capture gives the same bytes.
pub fn pack(capture: &Capture) -> Result<Zeroizing<Vec<u8>>, Error> {
    let Capture { blob, metadata } = capture;
    check(blob, metadata)?;
    let text = tar::write_json(METADATA.0, metadata)?;
    tar::pack(FILES, [blob, &text, readme(metadata).as_bytes()], tar::mtime(metadata.captured_at)?)
}

/// The three files of a capture.
pub fn files(capture: &Capture) -> Result<[NamedFile; 3], Error> {
    Ok([
        ("backup.blob", capture.blob.clone()),
        ("metadata.json", tar::write_json(METADATA.0, &capture.metadata)?),
        ("README.txt", Zeroizing::new(readme(&capture.metadata).into_bytes())),
    ])
}

/// Reads what [`pack`] made, and refuses anything else.
pub fn unpack(bytes: &[u8]) -> Result<Capture, Error> {
    let tar = tar::decompress(FILES, bytes)?;
    let ([blob, text, _], mtime) = tar::read(FILES, &tar)?;
    let metadata: Metadata = tar::read_json(METADATA.0, text, FORMAT)?;
    check(blob, &metadata)?;
    if tar::mtime(metadata.captured_at)? != mtime {
        return Err(Error::new(Fault::BadTar, "the files are not of the time that metadata.json gives"));
    }
    Ok(Capture { blob: Zeroizing::new(blob.to_vec()), metadata })
}

/// What must hold between blob and metadata.
fn check(blob: &[u8], metadata: &Metadata) -> Result<(), Error> {
    if metadata.format != FORMAT {
        return Err(Error::new(Fault::UnknownFormat, format!("metadata.json: the format is not {FORMAT:?}")));
    }
    if metadata.backup.size != blob.len() as u64 || metadata.backup.sha256 != Digest::of(blob) {
        return Err(Error::new(Fault::WrongDigest, "backup.blob is not the file that metadata.json describes"));
    }
    Ok(())
}

/// Four lines for whoever finds the file without knowing this program.
fn readme(metadata: &Metadata) -> String {
    let Metadata { object, vault, captured_at, .. } = metadata;
    let flag = if vault.suffix().starts_with("managedhsm.") { "--hsm-name" } else { "--vault-name" };
    format!(
        "backup.blob is Azure Key Vault's own backup of the {kind} \"{name}\" of {vault}, all versions, taken {at}.\n\
         To restore it: az keyvault {kind} restore {flag} {into} --file backup.blob\n\
         Azure accepts it only in the same subscription and geography, and only where the name is neither live nor soft-deleted.\n\
         metadata.json has what the backup does not tell: versions, attributes, tags, public keys, policies.\n",
        kind = object.kind,
        name = object.name,
        at = captured_at.format("%Y-%m-%d %H:%M:%S UTC"),
        into = vault.name(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::zst;
    use proptest::prelude::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn capture(blob: Vec<u8>, at: i64) -> Capture {
        let metadata = Metadata {
            format: FORMAT.to_owned(),
            vault: VaultUri::parse("https://prod.vault.azure.net").unwrap(),
            object: Object::parse("key/TDE").unwrap(),
            captured_at: DateTime::from_timestamp(at, 0).unwrap(),
            tool: "akv-archiver 0.1.0".to_owned(),
            backup: BackupFacts::of(&blob),
            listed: raw(r#"{ "kid" : "https://prod.vault.azure.net:443/keys/TDE", "attributes":{"x":1.50} }"#),
            versions: vec![raw("{}")],
            bundles: Vec::new(),
            rotation_policy: None,
            service: ServiceFacts { api_version: "7.6".to_owned(), ..ServiceFacts::default() },
        };
        Capture { blob: Zeroizing::new(blob), metadata }
    }

    #[test]
    fn azures_own_words_come_back_to_the_letter() {
        let found = unpack(&pack(&capture(vec![1, 2, 3], 1_795_224_600)).unwrap()).unwrap();
        assert!(found.metadata.listed.get().contains(r#"{"x":1.50} }"#));
        assert_eq!(format!("{found:?}"), "Capture(key/TDE, 3 bytes)");
    }

    #[test]
    fn the_readme_is_four_lines_with_the_very_command() {
        let text = readme(&capture(vec![], 0).metadata);
        assert_eq!(text.lines().count(), 4);
        assert!(
            text.contains("\nTo restore it: az keyvault key restore --vault-name prod --file backup.blob\n"),
            "{text}"
        );
        let mut hsm = capture(vec![], 0).metadata;
        hsm.vault = VaultUri::parse("https://pool.managedhsm.azure.net").unwrap();
        assert!(readme(&hsm).contains("restore --hsm-name pool"));
    }

    #[test]
    fn any_tar_reads_it() {
        let packed = pack(&capture(vec![7; 700], 1_795_224_600)).unwrap();
        let tar = zst::decompress(&packed, 1 << 20).unwrap();
        let mut archive = ::tar::Archive::new(tar.as_slice());
        let names: Vec<(String, u64, u32)> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                (entry.path().unwrap().display().to_string(), header.mtime().unwrap(), header.mode().unwrap())
            })
            .collect();
        let want = ["backup.blob", "metadata.json", "README.txt"].map(|name| (name.to_owned(), 1_795_224_600, 0o600));
        assert_eq!(names, want);
    }

    #[test]
    fn what_could_not_be_read_is_not_packed() {
        let mut wrong = capture(vec![1], 0);
        wrong.metadata.backup.size = 2;
        assert_eq!(pack(&wrong).unwrap_err().fault, Fault::WrongDigest);
        assert_eq!(pack(&capture(vec![], -1)).unwrap_err().fault, Fault::BadTar);
        assert_eq!(pack(&capture(vec![0; BLOB_MAX + 1], 0)).unwrap_err().fault, Fault::TooLarge);
    }

    proptest! {
        #[test]
        fn what_is_packed_unpacks_and_packs_to_the_same_bytes(blob: Vec<u8>, at in 0i64..253_402_300_800) {
            let packed = pack(&capture(blob.clone(), at)).unwrap();
            let found = unpack(&packed).unwrap();
            prop_assert_eq!(&*found.blob, &blob);
            prop_assert_eq!(&*pack(&found).unwrap(), &*packed);
        }

        #[test]
        fn a_changed_tar_is_refused_or_differs_only_in_words(at: prop::sample::Index, bit in 0u8..8) {
            let packed = pack(&capture(vec![5; 100], 1_795_224_600)).unwrap();
            let mut tar = zst::decompress(&packed, 1 << 20).unwrap();
            let at = at.index(tar.len());
            tar[at] ^= 1 << bit;
            if let Ok(found) = unpack(&zst::compress(&tar).unwrap()) {
                // What nothing else in the tar repeats: the text of metadata and README.
                prop_assert_eq!(found.blob.as_slice(), &[5; 100]);
                prop_assert!(at > 1024);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = unpack(&bytes);
            let _ = unpack(&zst::compress(&bytes).unwrap());
        }
    }
}
