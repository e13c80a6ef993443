//! What is in a sealed capture: the object, the moment and the vault that its path names, whole, with a backup that
//! begins as Azure's do. Whoever opens it is passed in; no key is known here.

use zeroize::Zeroizing;

use super::finding::Code;
use crate::error::{Kind, Result};
use crate::format::capture::{self, BlobHeader, Capture};
use crate::format::fingerprint::fingerprint;
use crate::format::paths::ArchivePath;
use crate::format::settings;
use crate::model::{Kind as ObjectKind, StorePath};

/// Opens a sealed file: [`Kind::NoIdentity`] where no identity does, [`Kind::Tampered`] where it is no such file.
pub type Opener<'a> = dyn Fn(&[u8]) -> Result<Zeroizing<Vec<u8>>> + Send + Sync + 'a;

/// What is wrong with the sealed file at `path`, whose backup is wrapped with `kid` as its manifest says.
pub(super) fn check(
    open: &Opener<'_>,
    path: &StorePath,
    sealed: &[u8],
    kid: Option<&str>,
) -> Result<Vec<(Code, String)>> {
    let one = |code, detail: String| Ok(vec![(code, detail)]);
    let packed = match open(sealed) {
        Ok(packed) => packed,
        Err(error) if error.kind() == Kind::NoIdentity => {
            return one(Code::CaptureUnreadable, error.message().to_owned());
        }
        Err(error) if error.kind() == Kind::Tampered => return one(Code::CaptureMalformed, error.message().to_owned()),
        Err(error) => return Err(error.context(format!("couldn't open {path}"))),
    };
    let other = "what is in it is of another object, moment or vault than its path says".to_owned();
    match ArchivePath::parse(path) {
        Some(ArchivePath::Capture { vault, object, captured_at, fingerprint12 }) => {
            let found = match capture::unpack(&packed) {
                Ok(found) => found,
                Err(error) => return one(Code::CaptureMalformed, error.to_string()),
            };
            let metadata = &found.metadata;
            let listed = fingerprint(&metadata.listed).map(|found| found.short());
            let told = (&metadata.vault, &metadata.object, metadata.captured_at.timestamp(), listed.ok());
            if told != (&vault, &object, captured_at.timestamp(), Some(fingerprint12)) {
                return one(Code::CaptureMislabelled, other);
            }
            Ok(backup(&found, kid).into_iter().collect())
        }
        Some(ArchivePath::Settings { vault, captured_at, fingerprint12 }) => {
            let found = match settings::unpack(&packed) {
                Ok(found) => found,
                Err(error) => return one(Code::CaptureMalformed, error.to_string()),
            };
            let content = settings::fingerprint(&found).map(|found| found.short());
            let told = (&found.vault, found.captured_at.timestamp(), content.ok());
            match told == (&vault, captured_at.timestamp(), Some(fingerprint12)) {
                true => Ok(Vec::new()),
                false => one(Code::CaptureMislabelled, other),
            }
        }
        _ => one(Code::CaptureMislabelled, "it is not at the path of a capture".to_owned()),
    }
}

/// What is wrong with the readable beginning of Azure's backup (`azure.md` §1.3).
fn backup(found: &Capture, kid: Option<&str>) -> Option<(Code, String)> {
    let header = BlobHeader::parse(&found.blob);
    if header != found.metadata.backup.header {
        return Some((Code::CaptureMalformed, "metadata.json tells of another backup header than there is".into()));
    }
    let found_kid = header.as_ref().map(|header| header.kid.as_str());
    if kid != found_kid {
        let shown = |kid: Option<&str>| kid.map_or_else(|| "none".to_owned(), |kid| format!("{kid:?}"));
        let detail = format!("its backup is wrapped with key {}, its manifest says {}", shown(found_kid), shown(kid));
        return Some((Code::KidMismatch, detail));
    }
    let magic = header.as_ref().map(|header| header.magic.as_str());
    let object = &found.metadata.object;
    let known = match (magic, object.kind) {
        // A Managed HSM, which holds nothing but keys, puts nothing before the JWE.
        (Some(""), ObjectKind::Key) => found.metadata.vault.suffix().starts_with("managedhsm."),
        (Some(magic), ObjectKind::Key | ObjectKind::Certificate) => magic.starts_with("AzureKeyVaultKeyBackup"),
        (Some(magic), ObjectKind::Secret) => magic.starts_with("AzureKeyVaultSecretBackup"),
        (None, _) => false,
    };
    let detail =
        || format!("its backup does not begin as Azure's backups of a {} do: prove it by a restore", object.kind);
    (!known).then(|| (Code::BackupMalformed, detail()))
}
