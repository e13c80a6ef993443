//! Opening: decryption with the identities that a person brings. Nothing is handed out before the whole file, to its
//! last byte, has proved authentic.

use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use age::armor::ArmoredReader;
use age::plugin::IdentityPluginV1;
use age::secrecy::SecretString;
use age::{DecryptError, Decryptor};
use zeroize::Zeroizing;

use super::prompt::{Asking, Prompt};
use crate::error::{Error, Kind, Result};

/// An identity file holds a few short lines; anything larger is something else.
const FILE_LIMIT: u64 = 1 << 20;
/// The highest scrypt work factor that is accepted, as age does: some 15 seconds and 4 GiB.
const MAX_WORK_FACTOR: u8 = 22;

/// The identities at hand.
pub struct Identities {
    /// Those that need no program: tried first.
    native: Vec<Box<dyn age::Identity + Send + Sync>>,
    plugins: Vec<age::plugin::Identity>,
    prompt: Asking,
    /// One conversation at a time: of several files that are opened at once, each may ask for a touch or a PIN.
    turn: Mutex<()>,
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identities({} native, {} of plugins)", self.native.len(), self.plugins.len())
    }
}

impl Identities {
    /// Reads identity files: as `age-keygen` writes them, the same encrypted with a passphrase (binary or armored), with
    /// plugin identities, or OpenSSH private keys. Passphrases are asked for here, once.
    ///
    /// # Errors
    /// [`Kind::Usage`] with file and line for what cannot be read or parsed, [`Kind::NoIdentity`] for a wrong or missing
    /// passphrase. No message repeats a file's content.
    pub fn from_files(paths: &[PathBuf], prompt: Arc<dyn Prompt>) -> Result<Self> {
        let mut identities = Identities::none(prompt);
        for path in paths {
            identities.add(path, &read(path)?)?;
        }
        if paths.is_empty() {
            return Err(Error::usage("no identity file is given").hint("set `identity` in [archive]"));
        }
        Ok(identities)
    }

    /// Reads the content of one identity file; messages call it `path`.
    ///
    /// # Errors
    /// As [`Identities::from_files`].
    pub fn parse(path: &Path, bytes: &[u8], prompt: Arc<dyn Prompt>) -> Result<Self> {
        let mut identities = Identities::none(prompt);
        identities.add(path, bytes)?;
        Ok(identities)
    }

    fn none(prompt: Arc<dyn Prompt>) -> Self {
        Identities { native: Vec::new(), plugins: Vec::new(), prompt: Asking(prompt), turn: Mutex::default() }
    }

    fn add(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let (native, plugins) = (self.native.len(), self.plugins.len());
        self.add_any(path, bytes)?;
        match (self.native.len(), self.plugins.len()) == (native, plugins) {
            true => Err(Error::usage(format!("identity file {} holds no identity", path.display()))),
            false => Ok(()),
        }
    }

    fn add_any(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        if bytes.starts_with(b"age-encryption.org/") || bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----") {
            let text = self.unlock(path, bytes)?;
            return self.add_lines(path, &text);
        }
        if bytes.starts_with(b"-----BEGIN ") {
            return self.add_ssh(path, bytes);
        }
        self.add_lines(path, bytes)
    }

    /// Decrypts an identity file that is protected with a passphrase.
    fn unlock(&self, path: &Path, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let shown = path.display();
        let broken = || Error::usage(format!("identity file {shown} is encrypted, and damaged or cut short"));
        let decryptor = Decryptor::new(ArmoredReader::new(bytes)).map_err(|_| broken())?;
        if !decryptor.is_scrypt() {
            return Err(Error::usage(format!("identity file {shown} is encrypted, but not with a passphrase"))
                .hint("decrypt it with age first"));
        }
        let passphrase = self.passphrase(path)?;
        let mut identity = age::scrypt::Identity::new(passphrase);
        identity.set_max_work_factor(MAX_WORK_FACTOR);
        let mut reader = match decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)) {
            Ok(reader) => reader,
            Err(DecryptError::DecryptionFailed) => return Err(wrong_passphrase(path)),
            Err(DecryptError::ExcessiveWork { required, .. }) => {
                return Err(Error::usage(format!(
                    "identity file {shown} wants a scrypt work factor of {required}, more than {MAX_WORK_FACTOR}"
                )));
            }
            Err(_) => return Err(broken()),
        };
        let mut text = Zeroizing::new(Vec::with_capacity(bytes.len()));
        reader.read_to_end(&mut text).map_err(|_| broken())?;
        Ok(text)
    }

    fn passphrase(&self, path: &Path) -> Result<SecretString> {
        let what = format!("passphrase of identity file {}", path.display());
        age::Callbacks::request_passphrase(&self.prompt, &what).ok_or_else(|| {
            Error::new(
                Kind::NoIdentity,
                format!("identity file {} needs a passphrase, and there is nobody to ask", path.display()),
            )
            .hint("run it in a terminal, or set `identity_passphrase_env` or `identity_passphrase_file` in [archive]")
        })
    }

    fn add_ssh(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let shown = path.display();
        let identity = age::ssh::Identity::from_buffer(bytes, None)
            .map_err(|_| Error::usage(format!("identity file {shown} is no OpenSSH private key")))?;
        let identity = match identity {
            age::ssh::Identity::Encrypted(key) => {
                let passphrase = self.passphrase(path)?;
                key.decrypt(passphrase).map_err(|_| wrong_passphrase(path))?.into()
            }
            age::ssh::Identity::Unsupported(_) => {
                return Err(Error::usage(format!("identity file {shown} holds an SSH key that age cannot use"))
                    .hint("age takes ssh-ed25519 and ssh-rsa keys in OpenSSH format: `ssh-keygen -p` converts"));
            }
            unencrypted => unencrypted,
        };
        self.native.push(Box::new(identity));
        Ok(())
    }

    fn add_lines(&mut self, path: &Path, text: &[u8]) -> Result<()> {
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let at = format!("line {} of identity file {}", index + 1, path.display());
            let Ok(line) = std::str::from_utf8(line) else {
                return Err(Error::usage(format!("{at} is not text")));
            };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Ok(identity) = line.parse::<age::x25519::Identity>() {
                self.native.push(Box::new(identity));
            } else if let Ok(identity) = line.parse::<age::plugin::Identity>() {
                self.plugins.push(identity);
            } else if line.starts_with("age1") {
                return Err(Error::usage(format!("{at} is a recipient, which closes and cannot open"))
                    .hint("give the file with the private key, AGE-SECRET-KEY-1…"));
            } else {
                return Err(Error::usage(format!("{at} is not an identity"))
                    .hint("an identity looks like AGE-SECRET-KEY-1… or AGE-PLUGIN-NAME-1…"));
            }
        }
        Ok(())
    }

    /// Decrypts a sealed file whole.
    ///
    /// # Errors
    /// [`Kind::NoIdentity`] if none of the identities opens it, [`Kind::Tampered`] if it is no age file, cut short, or
    /// changed anywhere. Whoever opens it is told nothing of its content then.
    pub fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        // What is no age file is so for every identity, also for one whose plugin is missing.
        header(sealed)?;
        for identity in &self.native {
            if let Some(plaintext) = attempt(sealed, identity.as_ref())? {
                return Ok(plaintext);
            }
        }
        let mut complaints = Vec::new();
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        for identity in &self.plugins {
            // One at a time: a token that is not plugged in must not hide another that is.
            let name = identity.plugin();
            let plugin = IdentityPluginV1::new(name, std::slice::from_ref(identity), self.prompt.clone());
            let Ok(plugin) = plugin else {
                complaints.push(format!("age-plugin-{name} is not in PATH"));
                continue;
            };
            let attempted = attempt(sealed, &plugin);
            super::reap::plugins();
            match attempted {
                Ok(Some(plaintext)) => return Ok(plaintext),
                Ok(None) => {}
                Err(error) if error.kind() == Kind::NoIdentity => complaints.push(error.message().to_owned()),
                Err(error) => return Err(error),
            }
        }
        let error = match complaints.is_empty() {
            true => Error::new(Kind::NoIdentity, "none of the identities opens it"),
            false => {
                Error::new(Kind::NoIdentity, format!("none of the identities opens it: {}", complaints.join("; ")))
            }
        };
        Err(error.hint("it opens with the identity file of one of its recipients: `identity` in [archive], or --identity of `open`"))
    }
}

fn tampered(what: &str) -> Error {
    Error::new(Kind::Tampered, what)
}

fn header(sealed: &[u8]) -> Result<Decryptor<&[u8]>> {
    Decryptor::new_buffered(sealed).map_err(|error| match error {
        DecryptError::UnknownFormat => tampered("it is encrypted in a version of age's format that is not known"),
        DecryptError::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            tampered("it is cut short: the age header is incomplete")
        }
        _ => tampered("it is not an age file, or its header is damaged"),
    })
}

/// Tries one identity; `None` if the file is not for it.
fn attempt(sealed: &[u8], identity: &dyn age::Identity) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let decryptor = header(sealed)?;
    let mut reader = match decryptor.decrypt(std::iter::once(identity)) {
        Ok(reader) => reader,
        Err(DecryptError::NoMatchingKeys) => return Ok(None),
        Err(DecryptError::Plugin(errors)) => {
            return Err(Error::new(Kind::NoIdentity, super::plugin_errors(&errors)));
        }
        Err(DecryptError::Io(error)) => {
            return Err(Error::new(
                Kind::NoIdentity,
                format!("a plugin failed: {}", super::one_line(&error.to_string())),
            ));
        }
        Err(_) => return Err(tampered("its age header was changed: it does not authenticate")),
    };
    // Never longer than the sealed file, so that the buffer does not move and leave copies behind.
    let mut plaintext = Zeroizing::new(Vec::with_capacity(sealed.len()));
    match reader.read_to_end(&mut plaintext) {
        Ok(_) => Ok(Some(plaintext)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(tampered("it is cut short: its end is missing")),
        Err(_) => Err(tampered("its content was changed or cut short: it does not authenticate")),
    }
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let shown = path.display();
    let failed = |error: std::io::Error| {
        let plain = Error::usage(format!("couldn't read identity file {shown}: {error}"));
        match error.kind() {
            ErrorKind::NotFound => plain.hint("set `identity` in [archive] to where the identity file is"),
            _ => plain,
        }
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > FILE_LIMIT {
        return Err(Error::usage(format!("identity file {shown} is larger than 1 MiB, and therefore none")));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
    file.take(FILE_LIMIT).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn wrong_passphrase(path: &Path) -> Error {
    Error::new(Kind::NoIdentity, format!("the passphrase does not open identity file {}", path.display()))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use std::io::Write as _;

    use super::super::{NewIdentity, NoPrompt, Recipients, generate};
    use super::*;

    /// Made with `ssh-keygen -t ed25519`, for this test alone; its passphrase is `correct horse`.
    const SSH_PRIVATE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABAX0gyGu4
ZTB0zaEeixgQiiAAAAAQAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIKMN7ABSDPuPKamr
AcvU4iykgsAl6Y7yh7lZ85+8j4GeAAAAkGgoD7qB74j+fYwl+Ih/OXKxs7YHSL3sZWbvA6
xHPYWKTtEuKErc0c5RsjKj8OrEUiCAYia687CKjPi4zWT4dhlkv50VM2qq6IS9jws02Jaa
Z6X/kXj6OnxsM87RpKnr6v+aIQd43dRia1LPql8Y8ye6OqRSy+1OjACjq4tpUAUhku9vdW
kGyv0izwWpEaS4ug==
-----END OPENSSH PRIVATE KEY-----\n";
    const SSH_PUBLIC: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKMN7ABSDPuPKamrAcvU4iykgsAl6Y7yh7lZ85+8j4Ge test";

    /// Always gives the same passphrase.
    struct Says(&'static str);

    impl Prompt for Says {
        fn passphrase(&self, what: &str) -> Option<Zeroizing<String>> {
            assert!(what.starts_with("passphrase of identity file /"), "{what}");
            Some(Zeroizing::new(self.0.to_owned()))
        }
    }

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            Files(tempfile::tempdir().unwrap())
        }

        fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        }

        fn load(&self, content: impl AsRef<[u8]>, prompt: impl Prompt + 'static) -> Result<Identities> {
            Identities::from_files(&[self.write("identity.txt", content)], Arc::new(prompt))
        }
    }

    fn new() -> NewIdentity {
        generate(DateTime::UNIX_EPOCH)
    }

    fn identities(identity: &NewIdentity) -> Identities {
        Files::new().load(&*identity.file, NoPrompt).unwrap()
    }

    fn sealed_to(recipients: &[&NewIdentity], plaintext: &[u8]) -> Vec<u8> {
        let texts: Vec<&str> = recipients.iter().map(|identity| identity.recipient.as_str()).collect();
        Recipients::parse(&texts).unwrap().close(plaintext).unwrap()
    }

    fn with_passphrase(text: &[u8], passphrase: &str, armored: bool) -> Vec<u8> {
        let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
        recipient.set_work_factor(2);
        let format = if armored { age::armor::Format::AsciiArmor } else { age::armor::Format::Binary };
        let output = age::armor::ArmoredWriter::wrap_output(Vec::new(), format).unwrap();
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
        let mut writer = encryptor.wrap_output(output).unwrap();
        writer.write_all(text).unwrap();
        writer.finish().unwrap().finish().unwrap()
    }

    #[test]
    fn each_recipient_opens_and_nobody_else() {
        let (one, two, other) = (new(), new(), new());
        for plaintext in [&b""[..], b"capture", &[7; 3 * 65_536]] {
            let sealed = sealed_to(&[&one, &two], plaintext);
            for identity in [&one, &two] {
                assert_eq!(&identities(identity).open(&sealed).unwrap()[..], plaintext);
            }
            let error = identities(&other).open(&sealed).unwrap_err();
            assert_eq!((error.kind(), error.message()), (Kind::NoIdentity, "none of the identities opens it"));
        }
        let all = Files::new();
        let files = [all.write("a", &*other.file), all.write("b", one.file.replace('\n', "\r\n"))];
        let opened = Identities::from_files(&files, Arc::new(NoPrompt)).unwrap().open(&sealed_to(&[&one], b"x"));
        assert_eq!(&opened.unwrap()[..], b"x");
    }

    #[test]
    fn a_file_cut_anywhere_is_tampered() {
        let identity = new();
        let identities = identities(&identity);
        let plaintext: Vec<u8> = (0..2 * 65_536 + 100).map(|n: u32| n as u8).collect();
        let sealed = sealed_to(&[&identity], &plaintext);
        let payload = sealed.len() - (plaintext.len() + 3 * 16);
        let cuts = (0..payload + 40).chain((payload..sealed.len()).step_by(4_099)).chain([sealed.len() - 1]);
        for length in cuts {
            let error = identities.open(&sealed[..length]).unwrap_err();
            assert_eq!(error.kind(), Kind::Tampered, "cut to {length}: {error}");
        }
        // Between two chunks everything so far is authentic; only the end is missing.
        let error = identities.open(&sealed[..payload + 65_552]).unwrap_err();
        assert_eq!(error.message(), "it is cut short: its end is missing");
        assert_eq!(identities.open(b"").unwrap_err().message(), "it is cut short: the age header is incomplete");
        assert_eq!(
            identities.open(b"PK\x03\x04 something else\n").unwrap_err().message(),
            "it is not an age file, or its header is damaged"
        );
    }

    #[test]
    fn a_file_changed_anywhere_does_not_open() {
        let identity = new();
        let identities = identities(&identity);
        let sealed = sealed_to(&[&identity], b"some content");
        let payload = sealed.len() - 12 - 16;
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            let error = identities.open(&changed).unwrap_err();
            // A changed stanza looks like one for someone else.
            assert!(matches!(error.kind(), Kind::Tampered | Kind::NoIdentity), "{position}: {error:?}");
            if position >= payload {
                assert_eq!(error.message(), "its content was changed or cut short: it does not authenticate");
            }
        }
        let longer = [&sealed[..], b"\0"].concat();
        assert_eq!(identities.open(&longer).unwrap_err().kind(), Kind::Tampered);
    }

    #[test]
    fn identity_files_may_have_a_passphrase() {
        let (files, identity) = (Files::new(), new());
        let sealed = sealed_to(&[&identity], b"x");
        for armored in [false, true] {
            let locked = with_passphrase(identity.file.as_bytes(), "correct horse", armored);
            assert_eq!(&files.load(&locked, Says("correct horse")).unwrap().open(&sealed).unwrap()[..], b"x");

            let error = files.load(&locked, Says("wrong horse")).unwrap_err();
            assert_eq!(error.kind(), Kind::NoIdentity);
            assert!(error.message().starts_with("the passphrase does not open identity file /"), "{error}");

            let error = files.load(&locked, NoPrompt).unwrap_err();
            assert_eq!(error.kind(), Kind::NoIdentity);
            assert!(error.message().ends_with("needs a passphrase, and there is nobody to ask"), "{error}");

            let error = files.load(&locked[..locked.len() - 40], Says("correct horse")).unwrap_err();
            assert!(error.message().ends_with("is encrypted, and damaged or cut short"), "{error}");
        }
        let error = files.load(sealed_to(&[&identity], identity.file.as_bytes()), NoPrompt).unwrap_err();
        assert!(error.message().ends_with("is encrypted, but not with a passphrase"), "{error}");
    }

    #[test]
    fn ssh_keys_open_too_and_ask_once() {
        let files = Files::new();
        let sealed = Recipients::parse(&[SSH_PUBLIC]).unwrap().close(b"x").unwrap();
        let identities = files.load(SSH_PRIVATE, Says("correct horse")).unwrap();
        for _ in 0..2 {
            assert_eq!(&identities.open(&sealed).unwrap()[..], b"x");
        }
        let error = files.load(SSH_PRIVATE, Says("wrong horse")).unwrap_err();
        assert_eq!(error.kind(), Kind::NoIdentity);
    }

    #[test]
    fn what_is_no_identity_is_located_and_not_repeated() {
        let (files, identity) = (Files::new(), new());
        let damaged = format!("# one\n\n{}\n", identity.file.lines().last().unwrap().replace("KEY-1", "KEY-1Q"));
        let nothing = "# only a comment\n".to_owned();
        for (content, expected) in [
            (damaged, "line 3 of identity file PATH is not an identity"),
            (identity.recipient.clone(), "line 1 of identity file PATH is a recipient, which closes and cannot open"),
            (nothing, "identity file PATH holds no identity"),
            ("-----BEGIN PRIVATE KEY-----\n".to_owned(), "identity file PATH is no OpenSSH private key"),
        ] {
            let error = files.load(&content, NoPrompt).unwrap_err();
            let path = files.0.path().join("identity.txt").display().to_string();
            assert_eq!((error.kind(), error.message().replace(&path, "PATH").as_str()), (Kind::Usage, expected));
        }
        let error = Identities::from_files(&[files.0.path().join("no")], Arc::new(NoPrompt)).unwrap_err();
        assert!(error.message().contains("/no: ") && error.hint_text().is_some(), "{error}");
        let error = files.load([0xff, b'\n'], NoPrompt).unwrap_err();
        assert!(error.message().ends_with("is not text"), "{error}");
    }

    #[test]
    fn debug_shows_no_key() {
        let identity = new();
        assert_eq!(format!("{:?}", identities(&identity)), "Identities(1 native, 0 of plugins)");
    }

    #[test]
    fn a_missing_plugin_is_named_and_hides_no_other_identity() {
        let (files, identity) = (Files::new(), new());
        let absent = age::plugin::Identity::default_for_plugin("absent").unwrap().to_string();
        let identities = files.load(format!("{absent}\n{}", *identity.file), NoPrompt).unwrap();
        assert_eq!(&identities.open(&sealed_to(&[&identity], b"x")).unwrap()[..], b"x");
        let error = identities.open(&sealed_to(&[&new()], b"x")).unwrap_err();
        assert_eq!(error.message(), "none of the identities opens it: age-plugin-absent is not in PATH");
        assert_eq!(error.kind(), Kind::NoIdentity);
    }

    /// A whole conversation with a plugin, both ways. The plugin wraps the file key by leaving it as it is.
    ///
    /// Plugins are found in PATH, which a test cannot change for itself: it runs itself again with another.
    #[test]
    fn a_plugin_closes_and_opens() {
        use std::os::unix::fs::PermissionsExt as _;
        const PLUGIN: &str = r#"#!/bin/sh
stanza() { # the header into $1…, the body into $body; a body ends with a line of less than 64 characters
    IFS= read -r line || exit 1; set -- $line; header=$*; body=
    while IFS= read -r line; do body=$body$line; [ ${#line} -eq 64 ] || break; done
}
while stanza; do
    case $header in
        "-> wrap-file-key") key=$body ;;
        "-> recipient-stanza 0 fake") key=$body ;;
        "-> done") break ;;
    esac
done
case $1 in
    --age-plugin=recipient-v1) printf -- '-> recipient-stanza 0 fake\n%s\n' "$key" ;;
    --age-plugin=identity-v1) [ -z "$key" ] || printf -- '-> file-key 0\n%s\n' "$key" ;;
esac
[ -z "$key" ] || stanza
printf -- '-> done\n\n'
"#;
        let Some(folder) = std::env::var_os("SEAL_TEST_PLUGIN") else {
            let folder = tempfile::tempdir().unwrap();
            let plugin = folder.path().join("age-plugin-fake");
            std::fs::write(&plugin, PLUGIN).unwrap();
            std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
            let output = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "seal::open::tests::a_plugin_closes_and_opens", "--nocapture"])
                .env("SEAL_TEST_PLUGIN", folder.path())
                .env("PATH", folder.path())
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && text.contains("1 passed"),
                "{text}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            return;
        };
        assert!(Path::new(&folder).join("age-plugin-fake").exists());
        let (files, identity) = (Files::new(), new());
        let recipients = Recipients::parse(&["age1fake1w3jhxaqrc5akr", &identity.recipient]).unwrap();
        let sealed = recipients.close(b"x").unwrap();
        let plugin = age::plugin::Identity::default_for_plugin("fake").unwrap().to_string();
        let identities = files.load(plugin, NoPrompt).unwrap();
        assert_eq!(&identities.open(&sealed).unwrap()[..], b"x");
        assert_eq!(&super::tests::identities(&identity).open(&sealed).unwrap()[..], b"x");
        let error = identities.open(&sealed_to(&[&identity], b"x")).unwrap_err();
        assert_eq!(error.message(), "none of the identities opens it");

        if cfg!(target_os = "linux") {
            (0..20).for_each(|_| drop(recipients.close(b"x").unwrap()));
            let left = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
            assert!(left.split_whitespace().count() < 10, "plugins are not waited for: {left}");
        }
    }
}
