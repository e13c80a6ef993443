//! Bytes as text on the wire and in the saved state: base64 in its two alphabets. Knows nothing else.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const STANDARD: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_encode_padding(true));
const STANDARD_LENIENT: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// Base64url without padding, as Key Vault writes almost everything.
pub(super) fn url(bytes: &[u8]) -> String {
    URL.encode(bytes)
}

/// Reads base64url, padded or not.
pub(super) fn from_url(text: &str) -> Option<Vec<u8>> {
    URL.decode(text).ok()
}

/// Base64 with padding, as certificates are written.
pub(super) fn standard(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads base64, padded or not; white space is skipped, as in PEM.
pub(super) fn from_standard(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD_LENIENT.decode(text).ok()
}

/// Bytes that are written as base64url. Not `Debug`: they may be a private key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Octets(pub(super) Vec<u8>);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&url(&self.0))
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_url(&text).map(Octets).ok_or_else(|| serde::de::Error::custom("not base64url"))
    }
}
