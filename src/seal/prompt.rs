//! Questions that opening may raise: passphrases, and what plugins want from a person. Who answers is the caller's
//! affair. Knows nothing of terminals.

use std::fmt;
use std::sync::Arc;

use age::secrecy::SecretString;
use zeroize::Zeroizing;

/// Answers questions, or declines to.
pub trait Prompt: Send + Sync {
    /// A passphrase or PIN; `what` says which. `None` if there is nobody to ask.
    fn passphrase(&self, what: &str) -> Option<Zeroizing<String>>;

    /// Something that is no secret. `None` if there is nobody to ask.
    fn line(&self, _what: &str) -> Option<String> {
        None
    }

    /// A choice between `yes` and `no` (or to cancel). `None` if there is nobody to ask.
    fn confirm(&self, _message: &str, _yes: &str, _no: Option<&str>) -> Option<bool> {
        None
    }

    /// Something that a person should know or do, such as touching a security key.
    fn say(&self, _message: &str) {}
}

/// There is nobody to ask.
#[derive(Clone, Copy, Debug)]
pub struct NoPrompt;

impl Prompt for NoPrompt {
    fn passphrase(&self, _what: &str) -> Option<Zeroizing<String>> {
        None
    }
}

/// A [`Prompt`] in the form that age's plugins call.
#[derive(Clone)]
pub(super) struct Asking(pub(super) Arc<dyn Prompt>);

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asking")
    }
}

impl age::Callbacks for Asking {
    fn display_message(&self, message: &str) {
        self.0.say(&super::one_line(message));
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        self.0.confirm(&super::one_line(message), yes, no)
    }

    fn request_public_string(&self, what: &str) -> Option<String> {
        self.0.line(&super::one_line(what))
    }

    fn request_passphrase(&self, what: &str) -> Option<SecretString> {
        let mut passphrase = self.0.passphrase(&super::one_line(what))?;
        Some(SecretString::from(std::mem::take(&mut *passphrase)))
    }
}
