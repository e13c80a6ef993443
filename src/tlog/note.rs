//! C2SP signed notes with Ed25519 (`c2sp.org/signed-note`): text, an empty line, signatures; and the keys as Go's
//! `golang.org/x/mod/sumdb/note` writes them. Knows nothing of what a note says.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Error, Fault};
use crate::model::hex;

/// The longest note that is read, in bytes: room for a hundred post-quantum signatures is not needed, for sixteen it is.
pub const NOTE_MAX: usize = 256 * 1024;

/// The most signatures that are read, as in Go's implementation; the specification asks for at least 16.
pub const SIGNATURES_MAX: usize = 100;

/// The signature type of plain Ed25519.
const ED25519_TYPE: u8 = 1;

/// A key that signs notes.
pub struct Signer {
    name: String,
    id: [u8; 4],
    pair: Ed25519KeyPair,
    seed: Zeroizing<[u8; 32]>,
}

impl Signer {
    /// The signer of this name whose Ed25519 private key is `seed`.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, Error> {
        check_name(name)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| Error::new(Fault::BadKey, format!("the seed of signer {name:?} makes no key")))?;
        let id = key_id(name, pair.public_key().as_ref());
        Ok(Signer { name: name.to_owned(), id, pair, seed: Zeroizing::new(*seed) })
    }

    /// Parses `PRIVATE+KEY+NAME+ID+BASE64`, without a newline. Errors do not show the text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |what: &str| Error::new(Fault::BadKey, format!("not a signer key: {what}"));
        let rest = text.strip_prefix("PRIVATE+KEY+").ok_or_else(|| bad("it does not begin with PRIVATE+KEY+"))?;
        let (name, id, seed) = parse_key(rest).map_err(bad)?;
        let signer = Signer::from_seed(name, &seed)?;
        (hex(&signer.id) == id).then_some(signer).ok_or_else(|| bad("its key id does not match"))
    }

    /// The key as text, `PRIVATE+KEY+NAME+ID+BASE64`. Secret.
    pub fn encode(&self) -> Zeroizing<String> {
        let mut key = Zeroizing::new([ED25519_TYPE; 33]);
        key.iter_mut().skip(1).zip(self.seed.iter()).for_each(|(to, from)| *to = *from);
        let secret = Zeroizing::new(STANDARD.encode(key.as_slice()));
        Zeroizing::new(format!("PRIVATE+KEY+{}+{}+{}", self.name, hex(&self.id), secret.as_str()))
    }

    /// The public half.
    pub fn verifier(&self) -> Verifier {
        let mut key = [0; 32];
        key.iter_mut().zip(self.pair.public_key().as_ref()).for_each(|(to, from)| *to = *from);
        Verifier { name: self.name.clone(), id: self.id, key }
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Signs a text, which must end with a newline, and returns the whole note.
    pub fn sign(&self, text: &str) -> Result<String, Error> {
        if text.bytes().any(forbidden) {
            return Err(Error::new(Fault::NoteNotText, "the text to sign holds control characters"));
        }
        if !text.ends_with('\n') {
            return Err(Error::new(Fault::NoteLayout, "the text to sign does not end with a newline"));
        }
        let signature = self.pair.sign(text.as_bytes());
        let signature = STANDARD.encode([&self.id, signature.as_ref()].concat());
        Ok(format!("{text}\n— {} {signature}\n", self.name))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}+{})", self.name, hex(&self.id))
    }
}

/// A key that verifies notes. Pinned in configuration, never taken from what it verifies.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Verifier {
    name: String,
    id: [u8; 4],
    key: [u8; 32],
}

impl Verifier {
    /// Parses `NAME+ID+BASE64`. Errors do not show the text: a signer key may have been put in its place.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |what: &str| Error::new(Fault::BadKey, format!("not a verifier key: {what}"));
        if text.starts_with("PRIVATE+KEY+") {
            return Err(bad("this is a signer key, which is secret"));
        }
        let (name, id, key) = parse_key(text).map_err(bad)?;
        let verifier = Verifier { name: name.to_owned(), id: key_id(name, key.as_slice()), key: *key };
        (hex(&verifier.id) == id).then_some(verifier).ok_or_else(|| bad("its key id does not match"))
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id, eight hexadecimal digits.
    pub fn id(&self) -> String {
        hex(&self.id)
    }

    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.key).verify(text.as_bytes(), signature).is_ok()
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([[ED25519_TYPE].as_slice(), &self.key].concat());
        write!(f, "{}+{}+{key}", self.name, hex(&self.id))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A note whose layout is right. Its text means nothing until [`Note::verify`] says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
}

impl Note {
    /// Parses a note's layout. No signature is checked.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > NOTE_MAX {
            let detail = format!("the note has {} bytes, more than {NOTE_MAX}", bytes.len());
            return Err(Error::new(Fault::NoteTooLarge, detail));
        }
        if let Some(at) = bytes.iter().position(|byte| forbidden(*byte)) {
            return Err(Error::new(Fault::NoteNotText, format!("byte {at} of the note is a control character")));
        }
        let note = std::str::from_utf8(bytes).map_err(|e| {
            Error::new(Fault::NoteNotText, format!("byte {} of the note is not UTF-8", e.valid_up_to()))
        })?;
        let layout = |what: &str| Error::new(Fault::NoteLayout, format!("the note {what}"));
        // The last empty line separates: the text may hold others.
        let end = note.rfind("\n\n").ok_or_else(|| layout("has no empty line before its signatures"))?;
        let (text, rest) = note.split_at_checked(end + 1).ok_or_else(|| layout("is cut within a character"))?;
        let lines = rest.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
        let lines = lines.ok_or_else(|| layout("has no signature, or no newline at its end"))?;
        if lines.split('\n').count() > SIGNATURES_MAX {
            let detail = format!("the note has more than {SIGNATURES_MAX} signatures");
            return Err(Error::new(Fault::NoteTooLarge, detail));
        }
        let signatures = lines.split('\n').map(Signature::parse).collect::<Result<_, _>>()?;
        Ok(Note { text: text.to_owned(), signatures })
    }

    /// The text, if every signature of a known key verifies and there is at least one. Others are ignored, as the
    /// specification demands: a key may be in rotation, a witness may have signed.
    pub fn verify(&self, known: &[Verifier]) -> Result<&str, Error> {
        let mut verified = false;
        for signature in &self.signatures {
            for key in known.iter().filter(|key| key.name == signature.name && key.id == signature.id) {
                if !key.verifies(&self.text, &signature.bytes) {
                    let detail = format!("the signature of {}+{} does not verify", key.name, key.id());
                    return Err(Error::new(Fault::BadSignature, detail));
                }
                verified = true;
            }
        }
        verified.then_some(self.text.as_str()).ok_or_else(|| {
            let signers: Vec<String> = self.signatures.iter().map(|s| format!("{}+{}", s.name, hex(&s.id))).collect();
            let detail = format!("no known key signed the note; it is signed by {}", signers.join(", "));
            Error::new(Fault::NoKnownSignature, detail)
        })
    }

    /// The text, without any claim to its truth.
    pub fn unverified_text(&self) -> &str {
        &self.text
    }
}

impl Signature {
    fn parse(line: &str) -> Result<Self, Error> {
        let bad = || Error::new(Fault::SignatureLine, "a signature line is not \"— NAME BASE64\"");
        let (name, text) = line.strip_prefix("— ").and_then(|rest| rest.split_once(' ')).ok_or_else(bad)?;
        check_name(name).map_err(|_| bad())?;
        let bytes = STANDARD.decode(text).map_err(|_| bad())?;
        let (id, signature) = bytes.split_first_chunk::<4>().ok_or_else(bad)?;
        if signature.is_empty() {
            return Err(bad());
        }
        Ok(Signature { name: name.to_owned(), id: *id, bytes: signature.to_vec() })
    }
}

/// `NAME+ID+BASE64(type || 32 bytes)`; the id is the caller's to compare, for only it knows the public key.
fn parse_key(text: &str) -> Result<(&str, &str, Zeroizing<[u8; 32]>), &'static str> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("it is not NAME+ID+KEY");
    };
    check_name(name).map_err(|_| "its name is empty or holds spaces")?;
    let bytes = Zeroizing::new(STANDARD.decode(key).map_err(|_| "its key is not base64")?);
    let (kind, key) = bytes.split_first().ok_or("its key is empty")?;
    if *kind != ED25519_TYPE {
        return Err("its algorithm is not Ed25519");
    }
    Ok((name, id, Zeroizing::new(key.try_into().map_err(|_| "its key has not 32 bytes")?)))
}

fn check_name(name: &str) -> Result<(), Error> {
    let fits = !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c == '+' || c.is_control());
    fits.then_some(())
        .ok_or_else(|| Error::new(Fault::BadKey, format!("{name:?} is not a key name: no spaces, no plus, not empty")))
}

fn key_id(name: &str, public: &[u8]) -> [u8; 4] {
    let hash = Sha256::new().chain_update(name).chain_update([b'\n', ED25519_TYPE]).chain_update(public).finalize();
    hash.first_chunk().copied().unwrap_or_default()
}

fn forbidden(byte: u8) -> bool {
    byte < 0x20 && byte != b'\n'
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // From golang.org/x/mod, sumdb/note/note_test.go (BSD-3-Clause).
    const PETER_SIGNER: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
    const TEXT: &str =
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const PETER_LINE: &str =
        "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const ENOCH_LINE: &str =
        "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

    fn open(note: &str, known: &[&str]) -> Result<String, Fault> {
        let known: Vec<Verifier> = known.iter().map(|text| Verifier::parse(text).unwrap()).collect();
        let text = |note: Note| note.verify(&known).map(str::to_owned);
        Note::parse(note.as_bytes()).and_then(text).map_err(|error| error.fault)
    }

    #[test]
    fn keys_and_signatures_are_those_of_go() {
        let signer = Signer::parse(PETER_SIGNER).unwrap();
        assert_eq!(signer.encode().as_str(), PETER_SIGNER);
        assert_eq!(signer.verifier().to_string(), PETER);
        assert_eq!(Verifier::parse(PETER).unwrap(), signer.verifier());
        assert_eq!(signer.sign(TEXT).unwrap(), format!("{TEXT}\n{PETER_LINE}"));
    }

    #[test]
    fn known_signatures_count_and_unknown_ones_do_not() {
        let both = format!("{TEXT}\n{PETER_LINE}{ENOCH_LINE}");
        assert_eq!(open(&both, &[PETER]).as_deref(), Ok(TEXT));
        assert_eq!(open(&both, &[PETER, ENOCH]).as_deref(), Ok(TEXT));
        assert_eq!(open(&both, &[]), Err(Fault::NoKnownSignature));
        // One bad signature of a known key spoils the note, a good one beside it or not.
        let spoilt = both.replace("rwz+eBzm", "rwz+eBzn");
        assert_eq!(open(&spoilt, &[PETER]).as_deref(), Ok(TEXT));
        assert_eq!(open(&spoilt, &[PETER, ENOCH]), Err(Fault::BadSignature));
        // The same name with another id, or the same id under another name, is another key.
        let renamed = format!("{TEXT}\n{}", PETER_LINE.replace("PeterNeumann", "CarmenSandiego"));
        assert_eq!(open(&renamed, &[PETER]), Err(Fault::NoKnownSignature));
        let other_id = format!("{TEXT}\n{}", PETER_LINE.replace("x08g", "xxxx"));
        assert_eq!(open(&other_id, &[PETER]), Err(Fault::NoKnownSignature));
        assert_eq!(open(&both.replace("think", "drink"), &[PETER]), Err(Fault::BadSignature));
    }

    #[test]
    fn layout_is_strict() {
        let short = PETER_LINE.trim_end();
        for (note, fault) in [
            (TEXT.to_owned(), Fault::NoteLayout),
            (format!("{TEXT}\n"), Fault::NoteLayout),
            (format!("{TEXT}\n{short}"), Fault::NoteLayout),
            (format!("\u{1}{TEXT}\n{PETER_LINE}"), Fault::NoteNotText),
            (format!("{TEXT}\r\n{PETER_LINE}"), Fault::NoteNotText),
            (format!("{TEXT}\n{PETER_LINE}Unexpected line.\n"), Fault::SignatureLine),
            (format!("{TEXT}\n{}", PETER_LINE.replace("PeterNeumann", "Bad Name")), Fault::SignatureLine),
            (format!("{TEXT}\n{}", PETER_LINE.replace("PeterNeumann", "Bad+Name")), Fault::SignatureLine),
            (format!("{TEXT}\n{}", PETER_LINE.replace("AM=", "AM")), Fault::SignatureLine),
            (format!("{TEXT}\n— PeterNeumann x08gow==\n"), Fault::SignatureLine),
            (format!("{TEXT}\n{}", PETER_LINE.replace('—', "-")), Fault::SignatureLine),
            (format!("{TEXT}\n{}", PETER_LINE.repeat(101)), Fault::NoteTooLarge),
            (format!("{}\n{PETER_LINE}", TEXT.repeat(4000)), Fault::NoteTooLarge),
        ] {
            assert_eq!(open(&note, &[PETER]), Err(fault), "{note:.300}");
        }
        assert_eq!(Note::parse(b"\xff\n\n\xe2\x80\x94 a AAAAAAA=\n").unwrap_err().fault, Fault::NoteNotText);
        assert_eq!(open(&format!("{TEXT}\n{}", PETER_LINE.repeat(16)), &[PETER]).as_deref(), Ok(TEXT));
    }

    #[test]
    fn the_last_empty_line_separates() {
        // The example of c2sp.org/signed-note; its key is not published.
        let note = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
            — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
        let parsed = Note::parse(note.as_bytes()).unwrap();
        assert!(parsed.unverified_text().ends_with("raggio di sole:\n\ned è subito sera.\n"));
        assert_eq!(parsed.signatures.len(), 1);
        assert_eq!(hex(&parsed.signatures[0].id), "367ba04b");
        assert_eq!(parsed.verify(&[]).unwrap_err().fault, Fault::NoKnownSignature);
    }

    #[test]
    fn damaged_keys_are_refused_and_never_shown() {
        for text in [PETER, PETER_SIGNER] {
            for at in 0..text.len() {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] += 1;
                let changed = String::from_utf8(bytes).unwrap();
                assert!(Verifier::parse(&text[..at]).is_err());
                for error in [Signer::parse(&changed).unwrap_err(), Verifier::parse(&changed).unwrap_err()] {
                    assert!(!format!("{error:?}").contains("FALVFGyN"), "{error:?}");
                }
            }
        }
        // Wrong length and unknown algorithm, each with a matching id (golang.org/x/mod).
        for wrong in [
            "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
            "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            assert_eq!(Verifier::parse(wrong).unwrap_err().fault, Fault::BadKey);
        }
        assert_eq!(format!("{:?}", Signer::parse(PETER_SIGNER).unwrap()), "Signer(PeterNeumann+c74f20a3)");
    }

    #[test]
    fn what_is_no_note_is_not_signed() {
        let signer = Signer::parse(PETER_SIGNER).unwrap();
        assert_eq!(signer.sign("no newline").unwrap_err().fault, Fault::NoteLayout);
        assert_eq!(signer.sign("tab\t\n").unwrap_err().fault, Fault::NoteNotText);
        assert!(Signer::from_seed("a b", &[1; 32]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_signed_verifies(seed: [u8; 32], text in "[^\\p{Cc}]{0,40}(\n[^\\p{Cc}]{0,40}){0,3}\n") {
            let signer = Signer::from_seed("example.com/log", &seed).unwrap();
            let note = Note::parse(signer.sign(&text).unwrap().as_bytes()).unwrap();
            prop_assert_eq!(note.verify(&[signer.verifier()]).unwrap(), text);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, text in "(.|\n|— ){0,60}") {
            let _ = Note::parse(&bytes);
            let _ = Note::parse(text.as_bytes());
            let _ = Verifier::parse(&text);
            let _ = Signer::parse(&text);
        }
    }
}
