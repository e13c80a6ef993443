//! Signed notes. The good ones and their keys are from golang.org/x/mod, sumdb/note/note_test.go (BSD-3-Clause).

use super::{Subject, Vector, replace};

const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const PETER_LINE: &str =
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH_LINE: &str =
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

pub(super) fn all() -> Vec<Vector> {
    let one = format!("{TEXT}\n{PETER_LINE}");
    let both = format!("{TEXT}\n{PETER_LINE}{ENOCH_LINE}");
    let spoilt = replace(&both, "rwz+eBzm", "rwz+eBzn");
    let make = |name: &str, expect: &str, comment: &str, verifiers: &[&str], text: &str| {
        let verifiers = verifiers.iter().map(|text| (*text).to_owned()).collect();
        let vector = super::vector(Subject::Note, name, expect, comment, text.as_bytes().to_vec());
        Vector { verifiers, ..vector }
    };
    let mut vectors = vec![
        make("one-signature", "ok", "the example of golang.org/x/mod", &[PETER], &one),
        make("both-known", "ok", "two signatures, both verified", &[PETER, ENOCH], &both),
        make("one-unknown", "ok", "the signature of an unknown key is ignored", &[PETER], &both),
        make("bad-unknown", "ok", "an unknown key's signature is ignored, right or wrong", &[PETER], &spoilt),
        make(
            "sixteen",
            "ok",
            "readers accept at least 16 signatures",
            &[PETER],
            &format!("{TEXT}\n{}", PETER_LINE.repeat(16)),
        ),
        make("bad-known", "bad-signature", "a known key's bad signature spoils the note", &[PETER, ENOCH], &spoilt),
        make("changed-text", "bad-signature", "a changed word", &[PETER], &replace(&one, "think", "drink")),
        make("no-known", "no-known-signature", "no signature is of a known key", &[], &one),
        make(
            "other-name",
            "no-known-signature",
            "a known id under another name is another key",
            &[PETER],
            &replace(&one, "PeterNeumann", "CarmenSandiego"),
        ),
        make(
            "other-id",
            "no-known-signature",
            "a known name with another id is another key",
            &[PETER],
            &replace(&one, "x08g", "xxxx"),
        ),
        make("no-signature", "note-layout", "text without signatures", &[PETER], TEXT),
        make("no-final-newline", "note-layout", "the last line does not end", &[PETER], one.trim_end()),
        make(
            "control-character",
            "note-not-text",
            "a tab in the text",
            &[PETER],
            &replace(&one, "then you", "then\tyou"),
        ),
        make("carriage-returns", "note-not-text", "lines end in CR LF", &[PETER], &one.replace('\n', "\r\n")),
        make("hyphen", "signature-line", "a hyphen in place of the em dash", &[PETER], &replace(&one, "—", "-")),
        make(
            "space-in-name",
            "signature-line",
            "a key name with a space",
            &[PETER],
            &replace(&one, "PeterNeumann", "Peter Neumann"),
        ),
        make(
            "plus-in-name",
            "signature-line",
            "a key name with a plus",
            &[PETER],
            &replace(&one, "PeterNeumann", "Peter+Neumann"),
        ),
        make("unpadded", "signature-line", "base64 without its padding", &[PETER], &replace(&one, "AM=", "AM")),
        make(
            "no-signature-bytes",
            "signature-line",
            "a key id and nothing more",
            &[PETER],
            &format!("{TEXT}\n— PeterNeumann x08gow==\n"),
        ),
        make(
            "stray-line",
            "signature-line",
            "something else after the signatures",
            &[PETER],
            &format!("{one}Unexpected line.\n"),
        ),
        make("too-many", "note-too-large", "101 signatures", &[PETER], &format!("{TEXT}\n{}", PETER_LINE.repeat(101))),
    ];
    let mut bytes = one.into_bytes();
    bytes[0] = 0xff;
    let verifiers = vec![PETER.to_owned()];
    let broken = super::vector(Subject::Note, "not-utf8", "note-not-text", "the first byte is 0xff", bytes);
    vectors.push(Vector { verifiers, ..broken });
    vectors
}
