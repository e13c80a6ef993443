//! Questions that opening a capture may raise, asked on the terminal: passphrases of identity files, what plugins want.

use std::io::IsTerminal;

use zeroize::Zeroizing;

use crate::seal::Prompt;

/// A person at a terminal, or a passphrase from the settings, or nobody.
pub(crate) struct Terminal {
    /// The passphrase of the identity file, where the settings name one.
    pub(crate) passphrase: Option<Zeroizing<String>>,
}

impl Terminal {
    fn there(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    fn answer(&self, question: &str) -> Option<String> {
        use std::io::Write;
        if !self.there() {
            return None;
        }
        let mut stderr = std::io::stderr().lock();
        write!(stderr, "{question} ").ok()?;
        stderr.flush().ok()?;
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim().to_owned())
    }
}

impl Prompt for Terminal {
    fn passphrase(&self, what: &str) -> Option<Zeroizing<String>> {
        match &self.passphrase {
            Some(passphrase) => Some(passphrase.clone()),
            None if self.there() => rpassword::prompt_password(format!("{what}: ")).ok().map(Zeroizing::new),
            None => None,
        }
    }

    fn line(&self, what: &str) -> Option<String> {
        self.answer(&format!("{what}:"))
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let choices = no.map_or_else(|| format!("[{yes}]"), |no| format!("[{yes}/{no}]"));
        let answer = self.answer(&format!("{message} {choices}"))?;
        Some(answer.eq_ignore_ascii_case(yes))
    }

    fn say(&self, message: &str) {
        use std::io::Write;
        let _ = writeln!(std::io::stderr().lock(), "{message}");
    }
}
