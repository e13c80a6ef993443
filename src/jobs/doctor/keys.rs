//! The keys: who can open captures, who signs, whether that signer is pinned, and how key files are kept.

use super::Check;
use crate::error;
use crate::tlog::{Signer, Verifier};

const SUBJECT: &str = "keys";

/// Checks the keys: who can open captures, who signs, and whether that signer is pinned.
pub fn check_keys(recipients: usize, signer: &Signer, verifiers: &[Verifier]) -> Vec<Check> {
    let readers = match recipients {
        1 => Check::warn(
            SUBJECT,
            "recipients",
            "one: whoever loses that identity loses the archive",
            "add a second recipient, kept elsewhere, to archive.recipients",
        ),
        n => Check::ok(SUBJECT, "recipients", n.to_string()),
    };
    vec![readers, check_signer(signer, verifiers)]
}

/// Checks that what is signed will be believed.
pub fn check_signer(signer: &Signer, verifiers: &[Verifier]) -> Check {
    match verifiers.contains(&signer.verifier()) {
        true => Check::ok(SUBJECT, "signer", format!("{}, pinned", signer.name())),
        false => Check::fail(
            SUBJECT,
            "signer",
            error::Error::usage("the log signer is not among archive.verifiers: readers would call its entries forged")
                .hint(format!("add \"{}\" to archive.verifiers", signer.verifier())),
        ),
    }
}

/// A file that holds a secret, and the mode that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custody {
    /// What it is: `signer`, `identity`.
    pub what: &'static str,
    /// Where it is.
    pub path: String,
    /// Its Unix mode; `None` where that could not be read.
    pub mode: Option<u32>,
}

/// Checks how secrets are kept: no key file is open to other users, and a job that writes captures cannot open them.
pub fn check_custody(files: &[Custody], signs: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    for Custody { what, path, mode } in files {
        let Some(mode) = mode else { continue };
        let name = format!("{what} file");
        // The group may read what Kubernetes mounts for it; nobody else may.
        checks.push(match mode & 0o077 {
            0 => Check::ok(SUBJECT, &name, format!("{path}: its owner's only")),
            open => {
                let who = if open & 0o007 == 0 { "its group" } else { "every user of this machine" };
                let detail = format!("{path}: mode {:03o}, open to {who}", mode & 0o777);
                Check::warn(SUBJECT, &name, detail, &format!("chmod 600 {path}"))
            }
        });
    }
    if signs && files.iter().any(|file| file.what == "identity") {
        checks.push(Check::warn(
            SUBJECT,
            "identity",
            "this machine both writes captures and can open them: whoever takes it over reads the archive",
            "keep the identity elsewhere, and take `identity` out of the nightly job's settings",
        ));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::doctor::Verdict;

    #[test]
    fn key_files_are_their_owners_and_identities_are_elsewhere() {
        let file = |what, mode| Custody { what, path: "k".into(), mode };
        let verdicts = |files: &[Custody], signs| {
            check_custody(files, signs).into_iter().map(|check| check.verdict).collect::<Vec<_>>()
        };
        for (mode, verdict) in
            [(0o100_600, Verdict::Ok), (0o400, Verdict::Ok), (0o640, Verdict::Warn), (0o604, Verdict::Warn)]
        {
            assert_eq!(verdicts(&[file("signer", Some(mode))], true), [verdict], "{mode:o}");
        }
        assert_eq!(verdicts(&[file("signer", None)], true), [], "that it cannot be read is told elsewhere");
        assert_eq!(verdicts(&[file("identity", Some(0o600))], true), [Verdict::Ok, Verdict::Warn]);
        assert_eq!(verdicts(&[file("identity", Some(0o600))], false), [Verdict::Ok], "an operator's machine");
        let open = &check_custody(&[file("signer", Some(0o644))], true)[0];
        assert!(open.detail.contains("mode 644, open to every user"), "{open:?}");
    }
}
