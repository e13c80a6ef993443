//! A vault's settings before sealing (docs/FORMAT.md section 6.2): what no backup blob carries, in the service's own JSON. A
//! deterministic tar of `settings.json` and `README.txt`, compressed. Knows no key; `seal` encrypts what [`pack`] makes.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::format::json::{self, Members, Numbers};
use crate::format::tar::{self, File, NamedFile};
use crate::format::time::seconds;
use crate::format::{Error, Fault};
use crate::model::{Digest, VaultUri};

/// The format that `settings.json` names.
pub const FORMAT: &str = "akv-archiver/settings/1";

/// The longest `settings.json`, in bytes. A subscription has at most 4,000 role assignments, of about a kilobyte each.
pub const TEXT_MAX: usize = 16 << 20;

/// The longest sealed settings, in bytes: what incompressible content of the greatest length takes, and age's share.
pub const SEALED_MAX: u64 = 17 << 20;

const TEXT: File = File("settings.json", TEXT_MAX);

/// What the tar holds.
const FILES: [File; 2] = [TEXT, File("README.txt", 4 << 10)];

/// A vault's settings at one moment.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `akv-archiver/settings/1`.
    pub format: String,
    /// The vault.
    pub vault: VaultUri,
    /// When they were read; whole seconds.
    #[serde(with = "seconds")]
    pub captured_at: DateTime<Utc>,
    /// The program that read them, `akv-archiver 0.1.0`.
    pub tool: String,
    /// What could be read. A document that is not here could not be, which is a gap of the snapshot; `null` and the empty
    /// list mean that there is nothing of the kind.
    pub documents: BTreeMap<Document, Box<RawValue>>,
}

/// A document: an object, or a list of objects, as the service wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Document {
    /// Who is told about certificates.
    Contacts,
    /// Where the vault's logs go: a list.
    DiagnosticSettings,
    /// The certificate issuers, without passwords: a list.
    Issuers,
    /// The role assignments that hold for the vault, inherited ones included: a list.
    RoleAssignments,
    /// The vault's resource: tier, network rules, access policies, private endpoints, tags.
    Vault,
}

impl Document {
    /// Its name in `settings.json`.
    pub fn name(self) -> &'static str {
        match self {
            Document::Contacts => "contacts",
            Document::DiagnosticSettings => "diagnostic-settings",
            Document::Issuers => "issuers",
            Document::RoleAssignments => "role-assignments",
            Document::Vault => "vault",
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({}, {:?})", self.vault, self.documents.keys())
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        tar::wipe(self.documents.values_mut());
    }
}

/// The compressed tar of settings, ready to be sealed. The same settings give the same bytes.
pub fn pack(settings: &Settings) -> Result<Zeroizing<Vec<u8>>, Error> {
    check(settings)?;
    let text = tar::write_json(TEXT.0, settings)?;
    tar::pack(FILES, [&text, readme(settings).as_bytes()], tar::mtime(settings.captured_at)?)
}

/// The two files of settings.
pub fn files(settings: &Settings) -> Result<[NamedFile; 2], Error> {
    Ok([(TEXT.0, tar::write_json(TEXT.0, settings)?), ("README.txt", Zeroizing::new(readme(settings).into_bytes()))])
}

/// Reads what [`pack`] made, and refuses anything else.
pub fn unpack(bytes: &[u8]) -> Result<Settings, Error> {
    let tar = tar::decompress(FILES, bytes)?;
    let ([text, _], mtime) = tar::read(FILES, &tar)?;
    let settings: Settings = tar::read_json(TEXT.0, text, FORMAT)?;
    check(&settings)?;
    if tar::mtime(settings.captured_at)? != mtime {
        return Err(Error::new(Fault::BadTar, "the files are not of the time that settings.json gives"));
    }
    Ok(settings)
}

/// Whether packed bytes are meant to be settings, and not a capture: whether `settings.json` is the first file.
pub fn recognise(bytes: &[u8]) -> bool {
    let name = [TEXT.0.as_bytes(), b"\0"].concat();
    tar::decompress(FILES, bytes).is_ok_and(|tar| tar.starts_with(&name))
}

/// A digest of what the documents say: equal means that no setting changed. Neither the time nor the order of a list is
/// in it, for the service promises none.
pub fn fingerprint(settings: &Settings) -> Result<Digest, Error> {
    let mut text = Vec::from(b"{");
    for (number, (document, raw)) in settings.documents.iter().enumerate() {
        if number > 0 {
            text.push(b',');
        }
        text.extend(json::write(&document.name())?);
        text.push(b':');
        text.extend(ordered(raw).map_err(|error| error.at(document.name()))?);
    }
    text.push(b'}');
    Ok(Digest::of(&text))
}

/// The canonical form of a document, the items of a list in the order of their ids.
fn ordered(raw: &RawValue) -> Result<Vec<u8>, Error> {
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
        return json::canonical(raw, Numbers::Verbatim);
    };
    let mut items = items
        .into_iter()
        .map(|item| Ok((id_of(item)?, json::canonical(item, Numbers::Verbatim)?)))
        .collect::<Result<Vec<_>, Error>>()?;
    items.sort();
    let items: Vec<Vec<u8>> = items.into_iter().map(|(_, text)| text).collect();
    Ok([b"[".as_slice(), &items.join(&b','), b"]"].concat())
}

fn id_of(item: &RawValue) -> Result<Option<String>, Error> {
    let members = Members::of(item)?;
    let id = members.0.iter().find(|(name, _)| name == "id");
    Ok(id.and_then(|(_, value)| serde_json::from_str(value.get()).ok()))
}

/// What the schema of [`Settings`] does not say.
fn check(settings: &Settings) -> Result<(), Error> {
    if settings.format != FORMAT {
        return Err(Error::new(Fault::UnknownFormat, format!("settings.json: the format is not {FORMAT:?}")));
    }
    // Whatever can be unpacked can be compared: no member occurs twice, nothing is nested too deeply.
    fingerprint(settings).map(drop).map_err(|error| error.at(TEXT.0))
}

/// Five lines for whoever finds the file without knowing this program.
fn readme(settings: &Settings) -> String {
    let Settings { vault, captured_at, .. } = settings;
    format!(
        "settings.json has the settings of the Azure key vault {vault}, as Azure told them at {at}.\n\
         No backup blob brings them back, and no command restores them: read them, and make the vault the same again.\n\
         To read one document: jq .documents.vault settings.json (others: \"role-assignments\", \"diagnostic-settings\", issuers, contacts).\n\
         A document that is missing could not be read at the time; null or [] means that there was nothing.\n\
         Passwords of certificate issuers are never shown by Azure, and so are not here.\n",
        at = captured_at.format("%Y-%m-%d %H:%M:%S UTC"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::zst;
    use proptest::prelude::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn settings(documents: &[(Document, &str)]) -> Settings {
        Settings {
            format: FORMAT.to_owned(),
            vault: VaultUri::parse("https://prod.vault.azure.net").unwrap(),
            captured_at: DateTime::from_timestamp(1_795_224_600, 0).unwrap(),
            tool: "akv-archiver 0.1.0".to_owned(),
            documents: documents.iter().map(|(document, text)| (*document, raw(text))).collect(),
        }
    }

    fn of(documents: &[(Document, &str)]) -> Digest {
        fingerprint(&settings(documents)).unwrap()
    }

    #[test]
    fn the_services_own_words_come_back_to_the_letter() {
        let words = r#"{ "id" : "/subscriptions/s" , "properties":{"x":1.50} }"#;
        let packed = pack(&settings(&[(Document::Vault, words), (Document::Contacts, "null")])).unwrap();
        let found = unpack(&packed).unwrap();
        assert_eq!(found.documents[&Document::Vault].get(), words);
        assert_eq!(found.documents[&Document::Contacts].get(), "null");
        assert_eq!(pack(&found).unwrap(), packed);
        assert_eq!(format!("{found:?}"), "Settings(https://prod.vault.azure.net, [Contacts, Vault])");
        let [(_, text), _] = files(&found).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        for document in found.documents.keys() {
            assert!(json["documents"].get(document.name()).is_some(), "{document:?}");
        }
    }

    #[test]
    fn any_tar_reads_it_and_it_is_told_from_a_capture() {
        let packed = pack(&settings(&[])).unwrap();
        let tar = zst::decompress(&packed, 1 << 20).unwrap();
        let mut archive = ::tar::Archive::new(tar.as_slice());
        let names: Vec<String> =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["settings.json", "README.txt"]);
        assert!(recognise(&packed));
        assert_eq!(crate::format::capture::unpack(&packed).unwrap_err().fault, Fault::BadTar);
        let other = String::from_utf8(tar.to_vec()).unwrap().replacen("settings.json\0", "settings.jso\0\0", 1);
        assert!(!recognise(&zst::compress(other.as_bytes()).unwrap()));
    }

    #[test]
    fn the_readme_names_the_vault_and_every_document() {
        let text = readme(&settings(&[]));
        assert_eq!(text.lines().count(), 5);
        let documents = [
            Document::Contacts,
            Document::DiagnosticSettings,
            Document::Issuers,
            Document::RoleAssignments,
            Document::Vault,
        ];
        assert!(documents.iter().all(|document| text.contains(document.name())) && text.contains("prod.vault"));
    }

    #[test]
    fn a_fingerprint_knows_content_and_no_order_of_lists_and_no_time() {
        let roles = r#"[{"id":"/r/2","x":1},{"id":"/r/1","y":{"b":1,"a":[2,1]}}]"#;
        let base = of(&[(Document::RoleAssignments, roles)]);
        for same in [
            r#"[{"y":{"a":[2,1],"b":1},"id":"/r/1"},{"x":1,"id":"/r/2"}]"#,
            "[ {\"id\":\"/r/2\",\"x\":1}, {\"id\":\"\\u002fr/1\",\"y\":{\"b\":1,\"a\":[2,1]}} ]",
        ] {
            assert_eq!(of(&[(Document::RoleAssignments, same)]), base, "{same}");
        }
        for other in [
            roles.replace("\"x\":1", "\"x\":2"),
            roles.replace("[2,1]", "[1,2]"),
            roles.replace("\"x\":1", "\"x\":1.0"),
            r#"[{"id":"/r/2","x":1}]"#.to_owned(),
        ] {
            assert_ne!(of(&[(Document::RoleAssignments, &other)]), base, "{other}");
        }
        let mut later = settings(&[(Document::RoleAssignments, roles)]);
        later.captured_at += chrono::TimeDelta::hours(1);
        later.tool = "another".to_owned();
        assert_eq!(fingerprint(&later).unwrap(), base);
        assert_ne!(of(&[(Document::DiagnosticSettings, roles)]), base);
        assert_ne!(of(&[(Document::RoleAssignments, roles), (Document::Contacts, "null")]), base);
    }

    #[test]
    fn what_could_not_be_compared_or_read_is_neither_packed_nor_unpacked() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        for (text, fault) in [
            (r#"{"a":1,"a":2}"#, Fault::DuplicateMember),
            (r#"[1]"#, Fault::BadMember),
            (&format!("{{\"a\":{deep}}}"), Fault::TooDeep),
        ] {
            assert_eq!(pack(&settings(&[(Document::Vault, text)])).unwrap_err().fault, fault, "{text}");
        }
        let mut early = settings(&[]);
        early.captured_at = DateTime::from_timestamp(-1, 0).unwrap();
        assert_eq!(pack(&early).unwrap_err().fault, Fault::BadTar);
        let long = format!("\"{}\"", "x".repeat(TEXT_MAX));
        assert_eq!(pack(&settings(&[(Document::Vault, &long)])).unwrap_err().fault, Fault::TooLarge);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = (unpack(&bytes), recognise(&bytes));
            let compressed = zst::compress(&bytes).unwrap();
            let _ = (unpack(&compressed), recognise(&compressed));
        }
    }
}
