//! Where a secret is found. Settings name the place; the secret itself never stands in a file of settings.

use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::error::{Error, Result};

const LIMIT: u64 = 64 * 1024;

/// A secret's place.
#[derive(Clone, PartialEq)]
pub enum Secret {
    /// An environment variable, with its value when settings were read. A missing one is an error only when the secret
    /// is needed: whoever verifies an archive need not hold the vault's.
    Env {
        /// The variable's name.
        name: String,
        /// Its value.
        value: Option<Zeroizing<String>>,
    },
    /// A file.
    File(PathBuf),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Env { name, .. } => write!(f, "Env({name})"),
            Secret::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

impl Secret {
    /// The secret; a file's last line break does not belong to it.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`], naming the variable or file.
    pub fn read(&self) -> Result<Zeroizing<String>> {
        match self {
            Secret::Env { name, value } => match value {
                Some(value) if !value.is_empty() => Ok(value.clone()),
                Some(_) => Err(Error::usage(format!("environment variable {name} is empty"))),
                None => Err(Error::usage(format!("environment variable {name} is not set"))
                    .hint("the settings say that it holds a secret")),
            },
            Secret::File(path) => {
                let failed =
                    |what: String| Error::usage(format!("couldn't read secret file {}: {what}", path.display()));
                let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
                let mut text = Zeroizing::new(String::with_capacity(4096));
                file.take(LIMIT).read_to_string(&mut text).map_err(|error| match error.kind() {
                    ErrorKind::InvalidData => failed("it is not text".to_owned()),
                    _ => failed(error.to_string()),
                })?;
                let secret = text.strip_suffix('\n').unwrap_or(&text);
                let secret = secret.strip_suffix('\r').unwrap_or(secret);
                if secret.is_empty() {
                    return Err(failed("it is empty".to_owned()));
                }
                Ok(Zeroizing::new(secret.to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_secret_is_named_and_a_present_one_is_not_shown() {
        let env = |value: Option<&str>| Secret::Env {
            name: "ARCHIVE_SECRET".into(),
            value: value.map(|value| Zeroizing::new(value.to_owned())),
        };
        assert_eq!(env(None).read().unwrap_err().message(), "environment variable ARCHIVE_SECRET is not set");
        assert_eq!(env(Some("")).read().unwrap_err().message(), "environment variable ARCHIVE_SECRET is empty");
        assert_eq!(*env(Some("hunter2")).read().unwrap(), "hunter2");
        assert_eq!(format!("{:?}", env(Some("hunter2"))), "Env(ARCHIVE_SECRET)");
    }

    #[test]
    fn a_file_gives_its_text_without_the_last_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let secret = Secret::File(folder.path().join("secret"));
        assert!(secret.read().unwrap_err().message().contains("couldn't read secret file /"));
        for (content, expected) in [("a b \n", "a b "), ("a\r\n", "a"), ("a\n\n", "a\n")] {
            std::fs::write(folder.path().join("secret"), content).unwrap();
            assert_eq!(*secret.read().unwrap(), expected);
        }
        std::fs::write(folder.path().join("secret"), "\n").unwrap();
        assert!(secret.read().unwrap_err().message().ends_with("it is empty"));
    }
}
