//! C2SP checkpoints (`c2sp.org/tlog-checkpoint`): a log's origin, tree size and root as the text of a signed note.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Error, Fault, Note, Signer, Verifier};
use crate::model::Digest;

/// The head of a log at one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's identity.
    pub origin: String,
    /// How many leaves the tree has.
    pub size: u64,
    /// The tree's root.
    pub root: Digest,
}

impl Checkpoint {
    /// The text to sign.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// Reads a note's text. Extension lines are accepted and ignored: they carry nothing that a log's reader needs.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |what: &str| Error::new(Fault::NotACheckpoint, format!("the note is not a checkpoint: {what}"));
        let body = text.strip_suffix('\n').ok_or_else(|| bad("it does not end with a newline"))?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(bad("it has fewer than three lines"));
        };
        if origin.is_empty() || lines.any(str::is_empty) {
            return Err(bad("it has an empty line"));
        }
        let number = size.parse::<u64>().ok().filter(|number| number.to_string() == size);
        let size = number.ok_or_else(|| bad("its second line is not a tree size"))?;
        let root = STANDARD.decode(root).ok().and_then(|bytes| bytes.try_into().ok());
        let root = root.map(Digest).ok_or_else(|| bad("its third line is not a root hash"))?;
        Ok(Checkpoint { origin: origin.to_owned(), size, root })
    }

    /// Signs the checkpoint and returns the whole note.
    pub fn sign(&self, signer: &Signer) -> Result<String, Error> {
        // What could not be read back must not be signed.
        Checkpoint::parse(&self.text())?;
        signer.sign(&self.text())
    }

    /// Opens a signed checkpoint.
    pub fn open(note: &[u8], known: &[Verifier]) -> Result<Self, Error> {
        let note = Note::parse(note)?;
        Checkpoint::parse(note.verify(known)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_specification_reads() {
        // c2sp.org/tlog-checkpoint; its key is not published.
        let note = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
            — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
        let note = Note::parse(note.as_bytes()).unwrap();
        let checkpoint = Checkpoint::parse(note.unverified_text()).unwrap();
        assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(checkpoint.text(), note.unverified_text());
    }

    #[test]
    fn only_the_one_spelling_is_a_checkpoint() {
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        assert!(Checkpoint::parse(&format!("a\n0\n{root}\n")).is_ok());
        assert!(Checkpoint::parse(&format!("a\n7\n{root}\nextension\nanother\n")).is_ok());
        for wrong in [
            format!("a\n7\n{root}"),
            format!("\n7\n{root}\n"),
            format!("a\n07\n{root}\n"),
            format!("a\n+7\n{root}\n"),
            format!("a\n-7\n{root}\n"),
            format!("a\n18446744073709551616\n{root}\n"),
            format!("a\n7\n{}\n", root.trim_end_matches('=')),
            "a\n7\nYmFuYW5hcw==\n".to_owned(),
            format!("a\n7\n{root}\n\n"),
            "a\n7\n".to_owned(),
        ] {
            assert_eq!(Checkpoint::parse(&wrong).unwrap_err().fault, Fault::NotACheckpoint, "{wrong:?}");
        }
        let broken = Checkpoint { origin: "a\nb".to_owned(), size: 1, root: Digest([0; 32]) };
        assert!(broken.sign(&Signer::from_seed("a", &[7; 32]).unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn what_is_signed_opens(origin in "[a-z/.-]{1,30}", size: u64, root: [u8; 32]) {
            let signer = Signer::from_seed("example.com", &[7; 32]).unwrap();
            let checkpoint = Checkpoint { origin, size, root: Digest(root) };
            let note = checkpoint.sign(&signer).unwrap();
            prop_assert_eq!(Checkpoint::open(note.as_bytes(), &[signer.verifier()]).unwrap(), checkpoint);
        }

        #[test]
        fn no_text_makes_it_panic(text in "(.|\n){0,60}") {
            let _ = Checkpoint::parse(&text);
        }
    }
}
