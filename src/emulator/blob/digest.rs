//! Checksums as Blob Storage computes them: MD5 and its own CRC-64, both as base64. Knows no blobs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

/// Standard base64 with padding.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Decodes standard base64 with padding.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// The MD5 of a content, in base64.
pub(super) fn md5(content: &[u8]) -> String {
    base64(&Md5::digest(content))
}

/// The CRC-64 of a content (reflected polynomial 0x9A6C9329AC4BC9B5, all ones before and after), little endian, in
/// base64: the `x-ms-content-crc64` header.
pub(super) fn crc64(content: &[u8]) -> String {
    let crc = content.iter().fold(u64::MAX, |crc, byte| {
        let index = usize::from((crc as u8) ^ byte);
        TABLE.get(index).copied().unwrap_or_default() ^ (crc >> 8)
    });
    base64(&(crc ^ u64::MAX).to_le_bytes())
}

const TABLE: [u64; 256] = table();

#[expect(clippy::indexing_slicing, reason = "the index is below 256 and evaluated by the compiler")]
const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x9A6C_9329_AC4B_C9B5 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_that_azure_answered() {
        // py/test_delete_specific_blob_version #1, js/list_blobs_include_versions #1 and #2.
        for (content, md5_text, crc64_text) in [
            ("abc", "kAFQmDzST7DWlj99KOF/cg==", "6/rBP7vK5QU="),
            ("Hello World", "sQqNsWTgdUEFt6mb5y4/5Q==", "YeJLfssylmU="),
            ("", "1B2M2Y8AsgTpgAmY7PhCfg==", "AAAAAAAAAAA="),
        ] {
            assert_eq!(md5(content.as_bytes()), md5_text, "{content}");
            assert_eq!(crc64(content.as_bytes()), crc64_text, "{content}");
        }
    }
}
