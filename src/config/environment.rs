//! Settings from the environment: `AKV_ARCHIVER__TABLE__FIELD`. They win over the file. A variable that is no setting is
//! an error, since a misspelt one would otherwise be silently without effect.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer as _};

use super::file::{InFlight, OneOrMany, Raw, RawCredential, RawDiscover, RawVault, Share, VaultsInFlight, resolved};
use super::{MOVED, MOVED_HINT};
use crate::error::{Error, Result};
use crate::model::Tag;
use crate::policy::Choice;

/// What every variable of settings begins with.
pub const PREFIX: &str = "AKV_ARCHIVER__";

/// One part of a variable's name. Ordered so that vaults come in the order of their numbers, and a credential's kind
/// before its other fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Index(usize),
    Kind,
    Name(String),
}

impl Segment {
    fn of(text: &str) -> Self {
        match text.parse() {
            Ok(index) if text == "0" || !text.starts_with(['0', '+']) => Segment::Index(index),
            _ if text == "KIND" => Segment::Kind,
            _ => Segment::Name(text.to_owned()),
        }
    }
}

/// Applies every variable that begins with [`PREFIX`]. Relative paths are relative to `cwd`.
pub(super) fn apply(raw: &mut Raw, env: &BTreeMap<String, String>, cwd: &Path) -> Result<()> {
    let ours = env.iter().filter_map(|(name, value)| Some((name, name.strip_prefix(PREFIX)?, value)));
    let mut variables: Vec<_> = ours
        .map(|(name, rest, value)| (rest.split("__").map(Segment::of).collect::<Vec<_>>(), name, rest, value))
        .collect();
    variables.sort();
    for (_, name, rest, value) in variables {
        let wrong = |what: String| Error::usage(format!("{name}: {what}")).hint(hint_for(rest));
        if value.is_empty() {
            return Err(wrong("is set, and empty: unset it, or give it a value".to_owned()));
        }
        let previous = |name: &str| env.contains_key(name);
        let setter = Setter { value, cwd, name, previous: &previous };
        let segments: Vec<&str> = rest.split("__").collect();
        setter.set(raw, &segments).map_err(wrong)?;
    }
    Ok(())
}

fn hint_for(rest: &str) -> &'static str {
    match MOVED.iter().any(|field| rest == format!("CAPTURE__{}", field.to_uppercase())) {
        true => MOVED_HINT,
        false => "docs/SETTINGS.md lists every variable",
    }
}

struct Setter<'a> {
    value: &'a str,
    cwd: &'a Path,
    /// The variable's whole name.
    name: &'a str,
    /// Whether another variable is set.
    previous: &'a dyn Fn(&str) -> bool,
}

type Set = Result<(), String>;

impl Setter<'_> {
    fn set(&self, raw: &mut Raw, segments: &[&str]) -> Set {
        let Raw { network, archive, vault, discover, capture, geography, restore, verify } = raw;
        match segments {
            ["NETWORK", "PROXY"] => self.text(&mut network.proxy),
            ["NETWORK", "CA_FILE"] => self.path(&mut network.ca_file),
            ["NETWORK", "CLOUD"] => self.text(&mut network.cloud),
            ["NETWORK", "ENDPOINTS", field] => {
                let endpoints = network.endpoints.get_or_insert_default();
                match *field {
                    "AUTHORITY" => self.text(&mut endpoints.authority),
                    "MANAGEMENT" => self.text(&mut endpoints.management),
                    _ => unknown(),
                }
            }
            ["ARCHIVE", "CONTAINER"] => self.text(&mut archive.container),
            ["ARCHIVE", "DIRECTORY"] => self.path(&mut archive.directory),
            ["ARCHIVE", "SHARED"] => self.parsed(&mut archive.shared, "neither true nor false"),
            ["ARCHIVE", "WORM"] => self.text(&mut archive.worm),
            ["ARCHIVE", "RESOURCE_ID"] => self.text(&mut archive.resource_id),
            ["ARCHIVE", "CREDENTIAL", field] => self.credential(&mut archive.credential, field),
            ["ARCHIVE", "RECIPIENTS", rest @ ..] => {
                self.list(rest)?.apply(archive.recipients.get_or_insert_default(), str::to_owned);
                Ok(())
            }
            ["ARCHIVE", "RECIPIENTS_FILE"] => self.path(&mut archive.recipients_file),
            ["ARCHIVE", "SIGNER"] => self.path(&mut archive.signer),
            ["ARCHIVE", "VERIFIERS", rest @ ..] => {
                self.list(rest)?.apply(archive.verifiers.get_or_insert_default(), str::to_owned);
                Ok(())
            }
            ["ARCHIVE", "IDENTITY", rest @ ..] => {
                let mut paths = archive.identity.take().map(OneOrMany::into_paths).unwrap_or_default();
                self.list(rest)?.apply(&mut paths, |item| self.cwd.join(item));
                archive.identity = Some(OneOrMany::Many(paths));
                Ok(())
            }
            ["ARCHIVE", "IDENTITY_PASSPHRASE_ENV"] => self.text(&mut archive.identity_passphrase_env),
            ["ARCHIVE", "IDENTITY_PASSPHRASE_FILE"] => self.path(&mut archive.identity_passphrase_file),
            ["VERIFY", "SIGNER"] => self.path(&mut verify.signer),
            ["VERIFY", "VERIFIERS", rest @ ..] => {
                self.list(rest)?.apply(verify.verifiers.get_or_insert_default(), str::to_owned);
                Ok(())
            }
            ["VAULT", rest @ ..] => self.vault(vault, rest),
            ["DISCOVER", rest @ ..] => self.discover(discover, rest),
            ["CAPTURE", "POLICY"] => self.policy(&mut capture.policy),
            ["CAPTURE", "MAX_IN_FLIGHT"] => {
                let mut number: Option<i64> = None;
                self.parsed(&mut number, "not a whole number")?;
                capture.max_in_flight = number.map(InFlight::try_from).transpose()?;
                Ok(())
            }
            ["CAPTURE", "VAULTS_IN_FLIGHT"] => {
                let mut number: Option<i64> = None;
                self.parsed(&mut number, "not a whole number")?;
                capture.vaults_in_flight = number.map(VaultsInFlight::try_from).transpose()?;
                Ok(())
            }
            ["CAPTURE", "SHARE"] => {
                let mut number: Option<f64> = None;
                self.parsed(&mut number, "not a number")?;
                capture.share = number.map(Share::try_from).transpose()?;
                Ok(())
            }
            ["CAPTURE", "LIMITS"] => self.text(&mut capture.limits),
            ["GEOGRAPHY", region] => geography.insert(region, self.value).map(drop),
            ["RESTORE", "WAIT"] => self.text(&mut restore.wait),
            _ => unknown(),
        }
    }

    /// A table of several by its number, or the only one; the number after the last adds one.
    fn one_of<'t, 's, T: Default>(
        &self,
        tables: &'t mut Vec<T>,
        [one, many, table]: [&str; 3],
        segments: &'s [&'s str],
    ) -> Result<(&'t mut T, &'s [&'s str]), String> {
        let (index, rest) = match segments {
            [first, rest @ ..] => match Segment::of(first) {
                Segment::Index(index) => (index, rest),
                _ if tables.len() > 1 => {
                    return Err(format!(
                        "there are {} {many}: say which, as in {PREFIX}{table}__0__{first}",
                        tables.len()
                    ));
                }
                _ => (0, segments),
            },
            [] => return Err(UNKNOWN.to_owned()),
        };
        if index > tables.len() {
            return Err(format!("there is no {one} {} before it", index - 1));
        }
        if index == tables.len() {
            tables.push(T::default());
        }
        tables.get_mut(index).map(|found| (found, rest)).ok_or_else(|| UNKNOWN.to_owned())
    }

    fn vault(&self, vaults: &mut Vec<RawVault>, segments: &[&str]) -> Set {
        let (vault, rest) = self.one_of(vaults, ["vault", "vaults", "VAULT"], segments)?;
        match rest {
            ["NAME"] => self.text(&mut vault.name),
            ["URI"] => self.text(&mut vault.uri),
            ["RESOURCE_ID"] => self.text(&mut vault.resource_id),
            ["POLICY"] => self.policy(&mut vault.policy),
            ["CREDENTIAL", field] => self.credential(&mut vault.credential, field),
            _ => unknown(),
        }
    }

    fn discover(&self, rules: &mut Vec<RawDiscover>, segments: &[&str]) -> Set {
        let (rule, rest) = self.one_of(rules, ["[[discover]]", "[[discover]] tables", "DISCOVER"], segments)?;
        match rest {
            ["SUBSCRIPTIONS", rest @ ..] => self.items(rest, rule.subscriptions.get_or_insert_default()),
            ["TAGS", rest @ ..] => self.items::<Tag>(rest, &mut rule.tags.get_or_insert_default().0),
            ["INCLUDE", rest @ ..] => self.items(rest, rule.include.get_or_insert_default()),
            ["EXCLUDE", rest @ ..] => self.items(rest, rule.exclude.get_or_insert_default()),
            ["CREDENTIAL", field] => self.credential(&mut rule.credential, field),
            _ => unknown(),
        }
    }

    /// A list of items with a form of their own.
    fn items<T: TryFrom<String, Error = String>>(&self, rest: &[&str], target: &mut Vec<T>) -> Set {
        let mut texts = Vec::new();
        let items = self.list(rest)?;
        if matches!(items, Items::All(_)) {
            target.clear();
        }
        items.apply(&mut texts, str::to_owned);
        for text in texts {
            target.push(T::try_from(text)?);
        }
        Ok(())
    }

    /// A kind replaces the file's credential whole; any other field joins what is there.
    fn credential(&self, target: &mut Option<RawCredential>, field: &str) -> Set {
        if !field.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
            return unknown();
        }
        if field == "KIND" {
            *target = None;
        }
        let field = field.to_ascii_lowercase();
        let value = resolved(&field, self.value, self.cwd);
        target.get_or_insert_default().insert(field, value);
        Ok(())
    }

    fn text<T: DeserializeOwned>(&self, target: &mut Option<T>) -> Set {
        let deserializer: StrDeserializer<'_, ValueError> = self.value.into_deserializer();
        *target = Some(T::deserialize(deserializer).map_err(|error| error.to_string())?);
        Ok(())
    }

    fn policy(&self, target: &mut Option<Choice>) -> Set {
        let mut choice = Choice::parse(self.value)?;
        choice.resolve(self.cwd);
        *target = Some(choice);
        Ok(())
    }

    fn path(&self, target: &mut Option<std::path::PathBuf>) -> Set {
        *target = Some(self.cwd.join(self.value));
        Ok(())
    }

    fn parsed<T: std::str::FromStr>(&self, target: &mut Option<T>, wrong: &str) -> Set {
        *target = Some(self.value.parse().map_err(|_| format!("{:?} is {wrong}", self.value))?);
        Ok(())
    }

    /// A list is given by values between commas, or by variables that end in `__0`, `__1`, ….
    fn list(&self, rest: &[&str]) -> Result<Items<'_>, String> {
        let index = match rest {
            [] => {
                let items: Vec<&str> = self.value.split(',').map(str::trim).collect();
                return match items.contains(&"") {
                    true => Err("has an empty item".to_owned()),
                    false => Ok(Items::All(items)),
                };
            }
            [index] => match Segment::of(index) {
                Segment::Index(index) => index,
                _ => return Err(UNKNOWN.to_owned()),
            },
            _ => return Err(UNKNOWN.to_owned()),
        };
        let stem = self.name.rsplit_once("__").map_or("", |(stem, _)| stem);
        if (self.previous)(stem) {
            return Err(format!("{stem} is set as well: use one or the other"));
        }
        match index.checked_sub(1) {
            None => Ok(Items::All(vec![self.value])),
            Some(before) if (self.previous)(&format!("{stem}__{before}")) => Ok(Items::Next(self.value)),
            Some(before) => Err(format!("{stem}__{before} is not set")),
        }
    }
}

enum Items<'a> {
    /// They replace what the file says.
    All(Vec<&'a str>),
    /// It follows the one before.
    Next(&'a str),
}

impl Items<'_> {
    fn apply<T>(self, target: &mut Vec<T>, convert: impl Fn(&str) -> T) {
        match self {
            Items::All(items) => *target = items.into_iter().map(convert).collect(),
            Items::Next(item) => target.push(convert(item)),
        }
    }
}

const UNKNOWN: &str = "is not a setting";

fn unknown() -> Set {
    Err(UNKNOWN.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../docs/SETTINGS.md");

    /// A value that some kind of field takes.
    const VALUES: [&str; 12] = [
        "10m",
        "true",
        "1",
        "default",
        "public",
        "required",
        "documented",
        "https://a.vault.azure.net",
        "https://a.b/vaults",
        "/subscriptions/s/x",
        "11111111-1111-1111-1111-111111111111",
        "env=prod",
    ];

    fn accepted(name: &str) -> bool {
        VALUES.iter().any(|value| {
            let env = BTreeMap::from([(name.to_owned(), (*value).to_owned())]);
            apply(&mut Raw::default(), &env, Path::new("/")).is_ok()
        })
    }

    #[test]
    fn what_is_documented_is_a_variable() {
        let names = DOCUMENT.match_indices(PREFIX).map(|(start, _)| {
            let rest = &DOCUMENT[start..];
            &rest[..rest.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')).unwrap()]
        });
        let names: Vec<&str> = names.filter(|name| !name.ends_with("__")).collect();
        assert!(names.len() > 30);
        for name in names {
            assert!(accepted(name), "{name}");
        }
        assert!(!accepted("AKV_ARCHIVER__ARCHIVE__NO"));
    }

    /// The fields of the file, as serde knows them.
    #[test]
    fn every_field_is_documented_and_has_a_variable() {
        for table in ["network", "network.endpoints", "archive", "vault", "discover", "capture", "verify"] {
            let several = ["vault", "discover"].contains(&table);
            let header = if several { format!("[[{table}]]") } else { format!("[{table}]") };
            let error = toml::from_str::<Raw>(&format!("{header}\n\"no such field\" = 1\n")).unwrap_err();
            let fields: Vec<&str> = error.message().split('`').skip(3).step_by(2).collect();
            assert!(fields.len() >= 2, "{error}");
            for field in fields {
                let variable = format!("{PREFIX}{}__{field}", table.replace('.', "__")).to_uppercase();
                let nested = ["endpoints", "credential"].contains(&field);
                assert!(nested || accepted(&variable), "{variable}");
                assert!(DOCUMENT.contains(&format!("`{variable}")) || nested, "{variable} is not documented");
                assert!(DOCUMENT.contains(&format!("`{field}`")) || table.contains('.'), "{field} is not documented");
            }
        }
    }
}
