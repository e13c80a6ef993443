//! Closing: encryption to one or more age recipients. Holds public keys only; nothing here can open what it closed.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;

use age::plugin::{RecipientPluginV1, ResolveError};
use age::ssh::ParseRecipientKeyError;
use age::{EncryptError, NoCallbacks};

use crate::error::{Error, Kind, Result};

type Recipient = Box<dyn age::Recipient + Send + Sync>;

/// The recipients of an archive: everyone who shall be able to open it.
pub struct Recipients {
    texts: Vec<String>,
    recipients: Vec<Recipient>,
    plugins: bool,
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.texts).finish()
    }
}

impl Recipients {
    /// Parses recipients: `age1…` (X25519), `age1tag1…` and `age1tagpq1…` (hardware keys), `age1NAME1…` (a plugin,
    /// whose program must be installed), `ssh-ed25519 …` and `ssh-rsa …`.
    ///
    /// # Errors
    /// [`Kind::Usage`], naming the recipient: none at all, one that cannot be parsed, one given twice, a missing plugin,
    /// post-quantum recipients beside others (age refuses to mix them).
    pub fn parse<S: AsRef<str>>(texts: &[S]) -> Result<Self> {
        let mut parsed = Recipients { texts: Vec::new(), recipients: Vec::new(), plugins: false };
        let mut plugins: BTreeMap<String, Vec<age::plugin::Recipient>> = BTreeMap::new();
        let (mut post_quantum, mut classic) = (None, None);
        for (index, text) in texts.iter().enumerate() {
            let text = text.as_ref().trim();
            if parsed.texts.iter().any(|other| key(other).eq(key(text))) {
                return Err(Error::usage(format!("recipient {text} is given twice"))
                    .hint("a second recipient is of use only if its identity is kept elsewhere"));
            }
            match parse_one(text).map_err(|problem| problem.of(index, text))? {
                Parsed::Native(recipient) => {
                    let seen = if text.starts_with("age1tagpq1") { &mut post_quantum } else { &mut classic };
                    seen.get_or_insert(text);
                    parsed.recipients.push(recipient);
                }
                Parsed::Plugin(recipient) => {
                    plugins.entry(recipient.plugin().to_owned()).or_default().push(recipient);
                }
            }
            parsed.texts.push(text.to_owned());
        }
        if parsed.texts.is_empty() {
            return Err(Error::usage("there is no recipient to encrypt to")
                .hint("name at least one age recipient; two, kept apart, are better"));
        }
        if let (Some(one), Some(other)) = (post_quantum, classic) {
            return Err(Error::usage(format!("recipients {} and {} cannot be mixed", one_word(one), one_word(other)))
                .hint("post-quantum recipients protect only where all recipients are"));
        }
        // One process for all recipients of a plugin.
        for (name, recipients) in plugins {
            let plugin = RecipientPluginV1::new(&name, &recipients, &[], NoCallbacks)
                .map_err(|error| unresolved(&recipients, &error))?;
            parsed.recipients.push(Box::new(plugin));
            parsed.plugins = true;
        }
        Ok(parsed)
    }

    /// How many different recipients. One alone is a risk worth a warning: whoever loses its identity loses the archive.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Never: parsing refuses that.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Encrypts to all recipients. The result differs each time and is some 200 bytes longer, and 100 more for each
    /// recipient after the first (`sdk.md` §8).
    ///
    /// # Errors
    /// Only recipients of plugins can fail: [`Kind::Unavailable`] with what the plugin says.
    pub fn close(&self, plaintext: &[u8]) -> Result<Vec<u8>> {
        let recipients = self.recipients.iter().map(|recipient| recipient.as_ref() as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients);
        if self.plugins {
            super::reap::plugins();
        }
        let encryptor = encryptor.map_err(|error| failed(&error))?;
        let sealed = Vec::with_capacity(plaintext.len() + plaintext.len() / 4096 + 512 * (self.len() + 1));
        let written = encryptor.wrap_output(sealed).and_then(|mut writer| {
            writer.write_all(plaintext)?;
            writer.finish()
        });
        written.map_err(|error| failed(&EncryptError::Io(error)))
    }
}

/// What makes a recipient another one: of an SSH key, not its comment.
fn key(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().take(2)
}

enum Parsed {
    Native(Recipient),
    Plugin(age::plugin::Recipient),
}

enum Problem {
    /// A secret, or what may be one: not to be repeated.
    Secret,
    Unknown,
    Damaged,
    Ssh(String),
}

fn parse_one(text: &str) -> Result<Parsed, Problem> {
    let upper = text.to_ascii_uppercase();
    if upper.starts_with("AGE-SECRET-KEY-") || upper.starts_with("AGE-PLUGIN-") || upper.starts_with("-----BEGIN") {
        return Err(Problem::Secret);
    }
    if text.starts_with("age1") {
        if let Ok(recipient) = text.parse::<age::x25519::Recipient>() {
            return Ok(Parsed::Native(Box::new(recipient)));
        }
        if let Ok(recipient) = text.parse::<age::tag::Recipient>() {
            return Ok(Parsed::Native(Box::new(recipient)));
        }
        if let Ok(recipient) = text.parse::<age::tagpq::Recipient>() {
            return Ok(Parsed::Native(Box::new(recipient)));
        }
        // The checksum of a plugin's recipient is the same as of a native one.
        return text.parse::<age::plugin::Recipient>().map(Parsed::Plugin).map_err(|_| Problem::Damaged);
    }
    if text.starts_with("ssh-") || text.starts_with("sk-") || text.starts_with("ecdsa-") {
        return match text.parse::<age::ssh::Recipient>() {
            Ok(recipient) => Ok(Parsed::Native(Box::new(recipient))),
            Err(ParseRecipientKeyError::RsaModulusTooSmall) => Err(Problem::Ssh("is shorter than 2,048 bits".into())),
            Err(ParseRecipientKeyError::RsaModulusTooLarge) => Err(Problem::Ssh("is longer than 4,096 bits".into())),
            Err(ParseRecipientKeyError::Unsupported(_)) => {
                Err(Problem::Ssh("is of a type that cannot encrypt; age takes ssh-ed25519 and ssh-rsa".into()))
            }
            Err(_) => Err(Problem::Damaged),
        };
    }
    Err(Problem::Unknown)
}

impl Problem {
    fn of(self, index: usize, text: &str) -> Error {
        let number = index + 1;
        match self {
            Problem::Secret => {
                Error::usage(format!("recipient {number} is a private key, and is therefore not repeated here"))
                    .hint("take it out of the configuration, and give the public key (`age-keygen -y FILE`)")
            }
            Problem::Unknown => Error::usage(format!(
                "recipient {number} is not an age recipient: it begins with neither age1 nor ssh-"
            ))
            .hint("a recipient looks like age1…, age1yubikey1… or ssh-ed25519 AAAA…"),
            Problem::Damaged => {
                Error::usage(format!("recipient {number}, {}, is misspelt or cut short", one_word(text)))
                    .hint("copy it again, whole, from the identity file's `# public key:` line")
            }
            Problem::Ssh(what) => Error::usage(format!("recipient {number}, {}, {what}", one_word(text)))
                .hint("an age key is the better choice: `age-keygen`"),
        }
    }
}

/// A recipient fit for a message.
fn one_word(text: &str) -> String {
    let text = super::one_line(text);
    if text.chars().count() > 120 { text.chars().take(119).chain(['…']).collect() } else { text }
}

fn unresolved(recipients: &[age::plugin::Recipient], error: &ResolveError) -> Error {
    let recipient = recipients.first().map(ToString::to_string).unwrap_or_default();
    let error = match error {
        ResolveError::MissingPlugin { binary_name } => {
            let error = Error::usage(format!("recipient {recipient} needs {binary_name}, which is not in PATH"));
            if binary_name == "age-plugin-pq" {
                error.hint("native post-quantum recipients are not supported yet; use an X25519 recipient (age1…)")
            } else {
                error
            }
        }
        _ => Error::usage(format!("recipient {recipient} names no plugin")),
    };
    error.hint("install the plugin where snapshots run, or use an X25519 recipient (age1…)")
}

fn failed(error: &EncryptError) -> Error {
    match error {
        EncryptError::IncompatibleRecipients { .. } => Error::usage("the recipients cannot be mixed in one file")
            .hint("a plugin wants to be alone, or with post-quantum recipients only"),
        EncryptError::Plugin(errors) => {
            Error::new(Kind::Unavailable, format!("couldn't encrypt: {}", super::plugin_errors(errors)))
        }
        EncryptError::Io(error) => Error::new(Kind::Unavailable, format!("couldn't encrypt: a plugin failed: {error}")),
        _ => Error::internal("couldn't encrypt"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X25519: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice@rust";

    fn message(recipients: &[&str]) -> String {
        let error = Recipients::parse(recipients).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.hint_text().is_some(), "{error}");
        error.to_string()
    }

    #[test]
    fn recipients_of_several_kinds_stand_side_by_side() {
        let recipients = Recipients::parse(&[X25519, &format!(" {ED25519} ")]).unwrap();
        assert_eq!(recipients.len(), 2);
        let sealed = recipients.close(b"x").unwrap();
        let header = String::from_utf8_lossy(&sealed);
        assert!(header.contains("\n-> X25519 ") && header.contains("\n-> ssh-ed25519 "));
    }

    #[test]
    fn a_wrong_recipient_is_named() {
        let cut = &X25519[..60];
        assert_eq!(message(&[X25519, cut]), format!("recipient 2, {cut}, is misspelt or cut short"));
        assert_eq!(message(&["alice"]), "recipient 1 is not an age recipient: it begins with neither age1 nor ssh-");
        assert_eq!(message(&[]), "there is no recipient to encrypt to");
        assert_eq!(message(&[X25519, X25519]), format!("recipient {X25519} is given twice"));
        let ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";
        let [one, two] = ["one", "two"].map(|comment| format!("{ssh} {comment}"));
        assert_eq!(message(&[&one, &two]), format!("recipient {two} is given twice"));
        let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBA==";
        assert!(message(&[ecdsa]).starts_with("recipient 1, ecdsa-sha2-nistp256 "), "{}", message(&[ecdsa]));
    }

    #[test]
    fn a_private_key_among_the_recipients_is_not_repeated() {
        use age::secrecy::ExposeSecret as _;
        let identity = age::x25519::Identity::generate().to_string();
        let secret = identity.expose_secret();
        for text in [secret.to_owned(), secret.to_lowercase()] {
            let message = message(&[&text]);
            assert_eq!(message, "recipient 1 is a private key, and is therefore not repeated here");
        }
    }

    #[test]
    fn a_missing_plugin_is_named() {
        let absent = "age1absent1w3jhxaq247r4x";
        let text = message(&[X25519, absent]);
        assert_eq!(text, format!("recipient {absent} needs age-plugin-absent, which is not in PATH"));
    }

    #[test]
    fn closing_the_same_twice_gives_different_bytes() {
        let recipients = Recipients::parse(&[X25519]).unwrap();
        assert_ne!(recipients.close(b"same").unwrap(), recipients.close(b"same").unwrap());
    }
}
