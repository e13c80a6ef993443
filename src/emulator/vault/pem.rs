//! PEM bundles of a key and its certificates. Knows no objects.

use super::encoding;
use super::pfx::Contents;

/// A bundle: the key, if it may leave, then the certificates.
pub(super) fn write(key: Option<&[u8]>, certificates: &[Vec<u8>]) -> String {
    let block = |label: &str, bytes: &[u8]| {
        let text = encoding::standard(bytes);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    };
    let key = key.map(|key| block("PRIVATE KEY", key)).unwrap_or_default();
    certificates.iter().fold(key, |bundle, one| bundle + &block("CERTIFICATE", one))
}

/// Reads a bundle; `None` if there is no certificate in it. Only PKCS #8 keys are read, as in Azure (DOC).
pub(super) fn read(text: &str) -> Option<Contents> {
    let mut contents = Contents { key: None, certificates: Vec::new() };
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----")?;
        let (body, after) = after.split_once(&format!("-----END {label}-----"))?;
        let bytes = encoding::from_standard(body)?;
        match label {
            "PRIVATE KEY" => contents.key = Some(bytes),
            "CERTIFICATE" => contents.certificates.push(bytes),
            _ => {}
        }
        rest = after;
    }
    (!contents.certificates.is_empty()).then_some(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_gives_back_what_went_in() {
        let text = write(Some(&[1; 100]), &[vec![2; 65], vec![3]]);
        let contents = read(&text).unwrap();
        assert_eq!(contents.key.unwrap(), [1; 100]);
        assert_eq!(contents.certificates, [vec![2; 65], vec![3]]);
        assert!(text.lines().all(|line| line.len() <= 64));
        assert!(read("-----BEGIN CERTIFICATE-----\nAA==").is_none());
        assert!(read("none").is_none());
    }
}
