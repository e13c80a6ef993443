//! A new identity, in the file format of `age-keygen`. The key comes from age's own generator.

use std::fmt;

use age::secrecy::ExposeSecret as _;
use chrono::{DateTime, SecondsFormat, Utc};
use zeroize::Zeroizing;

/// A new X25519 identity.
pub struct NewIdentity {
    /// Its public half, `age1…`.
    pub recipient: String,
    /// The text of its identity file: a secret.
    pub file: Zeroizing<String>,
}

impl fmt::Debug for NewIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewIdentity({})", self.recipient)
    }
}

/// Makes an identity; `now` is written into its file for people.
pub fn generate(now: DateTime<Utc>) -> NewIdentity {
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public().to_string();
    let created = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let secret = identity.to_string();
    let file = format!("# created: {created}\n# public key: {recipient}\n{}\n", secret.expose_secret());
    NewIdentity { recipient, file: Zeroizing::new(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_like_one_of_age_keygen() {
        let identity = generate(DateTime::from_timestamp(1_700_000_000, 0).unwrap());
        let lines: Vec<&str> = identity.file.lines().collect();
        assert_eq!(lines[0], "# created: 2023-11-14T22:13:20Z");
        assert_eq!(lines[1], format!("# public key: {}", identity.recipient));
        assert!(lines[2].starts_with("AGE-SECRET-KEY-1") && lines.len() == 3 && identity.file.ends_with('\n'));
        assert!(!format!("{identity:?}").contains("SECRET"));
        assert_ne!(generate(DateTime::UNIX_EPOCH).recipient, identity.recipient);
    }
}
