//! A capture before sealing: a deterministic tar of `backup.blob`, `metadata.json` and `README.txt`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::model::{Digest, Object, VaultUri};

/// One object taken at one moment.
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
