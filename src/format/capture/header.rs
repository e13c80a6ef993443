//! The readable header of a backup blob: undocumented, known from recordings (`azure.md` §1.3), never relied upon.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::BlobHeader;

/// The longest protected header that is looked at, in characters of base64url. Known ones have about a hundred.
const HEADER_MAX: usize = 4096;

impl BlobHeader {
    /// The header of a blob of a known shape, `None` for any other.
    pub fn parse(blob: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Protected {
            kid: String,
            alg: String,
            enc: String,
        }
        // A JWE in compact form begins with base64url of `{"`. A Managed HSM puts nothing before it.
        let (magic, jwe) = if blob.starts_with(b"eyJ") {
            ("", blob)
        } else {
            let (length, rest) = blob.split_first()?;
            let (magic, jwe) = rest.split_at_checked(usize::from(*length))?;
            (std::str::from_utf8(magic).ok()?, jwe)
        };
        let known = magic.is_empty() || (magic.starts_with("AzureKeyVault") && magic.ends_with(".microsoft.com"));
        if !known || !magic.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let end = jwe.iter().take(HEADER_MAX).position(|byte| *byte == b'.')?;
        let text = URL_SAFE_NO_PAD.decode(jwe.get(..end)?).ok()?;
        let Protected { kid, alg, enc } = serde_json::from_slice(&text).ok()?;
        Some(BlobHeader { magic: magic.to_owned(), kid, alg, enc })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blob(magic: &str, header: &str) -> Vec<u8> {
        let length = if magic.is_empty() { vec![] } else { vec![magic.len() as u8] };
        [&length, magic.as_bytes(), URL_SAFE_NO_PAD.encode(header).as_bytes(), b".AAAA.BBBB.CCCC.DDDD"].concat()
    }

    const KEY: &str = "AzureKeyVaultKeyBackupV1.microsoft.com";
    const HEADER: &str = r#"{"kid":"57117840-50cb-4f22-8b2e-c5b7e5d088be","alg":"RSA-OAEP-256","enc":"A256CBC-HS512"}"#;

    #[test]
    fn the_recorded_shapes_are_known() {
        for (magic, length) in [(KEY, 0x26), ("AzureKeyVaultSecretBackupV1.microsoft.com", 0x29)] {
            let blob = blob(magic, HEADER);
            assert_eq!(blob[0], length);
            let header = BlobHeader::parse(&blob).unwrap();
            assert_eq!((header.magic.as_str(), header.enc.as_str()), (magic, "A256CBC-HS512"));
            assert_eq!(header.kid, "57117840-50cb-4f22-8b2e-c5b7e5d088be");
        }
        let hsm = r#"{"alg":"dir","enc":"A256CBC-HS512","kid":"backup-protection-key"}"#;
        assert_eq!(BlobHeader::parse(&blob("", hsm)).unwrap().alg, "dir");
    }

    #[test]
    fn other_shapes_are_not_guessed_at() {
        let good = blob(KEY, HEADER);
        for wrong in [
            Vec::new(),
            vec![0x26],
            good[..60].to_vec(),
            good[1..].to_vec(),
            blob("SomethingElse", HEADER),
            blob("AzureKeyVault\u{7}.microsoft.com", HEADER),
            blob(KEY, r#"{"kid":"a","alg":"b"}"#),
            blob(KEY, "not json"),
            [&good[..39], &[b'A'; 5000][..], b"."].concat(),
        ] {
            assert_eq!(BlobHeader::parse(&wrong), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, length in 0u8..60) {
            let _ = BlobHeader::parse(&bytes);
            let _ = BlobHeader::parse(&[&[length], KEY.as_bytes(), &bytes].concat());
        }
    }
}
