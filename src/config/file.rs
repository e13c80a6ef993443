//! `akv-archiver.toml` as it is written: every field optional, since the environment may supply it. What one field alone
//! can get wrong is found here, with line and column; what several can only get wrong together, in `check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::address::{ContainerUrl, Endpoint, ProxyUrl};
use super::{CloudName, Limits, Worm, duration};
use crate::error::{Error, Result};
use crate::model::VaultUri;

/// Settings fit on a page; anything larger is something else.
const LIMIT: u64 = 1 << 20;

/// The fields of a credential as written; which of them belong together is `check`'s to say.
pub(super) type RawCredential = BTreeMap<String, String>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub(super) network: RawNetwork,
    pub(super) archive: RawArchive,
    pub(super) vault: Vec<RawVault>,
    pub(super) capture: RawCapture,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawNetwork {
    pub(super) proxy: Option<ProxyUrl>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) cloud: Option<CloudName>,
    pub(super) endpoints: Option<RawEndpoints>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEndpoints {
    pub(super) authority: Option<Endpoint>,
    pub(super) management: Option<Endpoint>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawArchive {
    pub(super) container: Option<ContainerUrl>,
    pub(super) directory: Option<PathBuf>,
    pub(super) shared: Option<bool>,
    pub(super) worm: Option<Worm>,
    pub(super) resource_id: Option<ResourceId>,
    pub(super) credential: Option<RawCredential>,
    pub(super) recipients: Option<Vec<String>>,
    pub(super) recipients_file: Option<PathBuf>,
    pub(super) signer: Option<PathBuf>,
    pub(super) verifiers: Option<Vec<String>>,
    pub(super) identity: Option<OneOrMany>,
    pub(super) identity_passphrase_env: Option<String>,
    pub(super) identity_passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawVault {
    pub(super) name: Option<VaultName>,
    pub(super) uri: Option<VaultUri>,
    pub(super) credential: Option<RawCredential>,
    pub(super) resource_id: Option<ResourceId>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCapture {
    pub(super) recapture_every: Option<Span>,
    pub(super) full_every: Option<Span>,
    pub(super) protection_min: Option<Span>,
    pub(super) max_in_flight: Option<InFlight>,
    pub(super) share: Option<Share>,
    pub(super) limits: Option<Limits>,
}

/// A path, or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a path or a list of paths")]
pub(super) enum OneOrMany {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

impl OneOrMany {
    pub(super) fn into_paths(self) -> Vec<PathBuf> {
        match self {
            OneOrMany::One(path) => vec![path],
            OneOrMany::Many(paths) => paths,
        }
    }

    pub(super) fn paths_mut(&mut self) -> &mut [PathBuf] {
        match self {
            OneOrMany::One(path) => std::slice::from_mut(path),
            OneOrMany::Many(paths) => paths,
        }
    }
}

/// A value with a rule of its own, checked where it stands.
macro_rules! checked {
    ($name:ident($inner:ty), $from:ty, $text:literal, $check:expr) => {
        #[derive(Clone, Debug, Deserialize)]
        #[serde(try_from = $text)]
        pub(super) struct $name(pub(super) $inner);

        impl TryFrom<$from> for $name {
            type Error = String;

            fn try_from(value: $from) -> Result<Self, String> {
                let check: fn($from) -> Result<$inner, String> = $check;
                check(value).map($name)
            }
        }
    };
}

checked!(Span(Duration), String, "String", |text| duration::parse(&text));
checked!(InFlight(u16), i64, "i64", |number| match u16::try_from(number) {
    Ok(number @ 1..=256) => Ok(number),
    _ => Err(format!("{number} is not between 1 and 256")),
});
checked!(Share(f64), f64, "f64", |share| match share > 0.0 && share <= 1.0 {
    true => Ok(share),
    false => Err(format!("{share} is not above 0 and at most 1")),
});
checked!(VaultName(String), String, "String", |text| {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    match (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text),
        false => Err(format!("{text:?} is not a vault's name in settings: 1 to 64 letters, digits, `.`, `_` and `-`")),
    }
});
checked!(ResourceId(String), String, "String", |text| {
    let segments: Vec<&str> = text.split('/').collect();
    match segments[..] {
        ["", first, subscription, _, ..] if first.eq_ignore_ascii_case("subscriptions") && !subscription.is_empty() => {
            Ok(text)
        }
        _ => Err(format!("{text:?} is not a resource id such as /subscriptions/…/resourceGroups/…/providers/…")),
    }
});

impl Raw {
    /// Makes relative paths mean what they meant where they were written.
    pub(super) fn resolve(&mut self, base: &Path) {
        let Raw { network, archive, vault, .. } = self;
        let single = [&mut network.ca_file, &mut archive.directory, &mut archive.recipients_file, &mut archive.signer];
        let paths = single
            .into_iter()
            .chain([&mut archive.identity_passphrase_file])
            .flatten()
            .chain(archive.identity.as_mut().map(OneOrMany::paths_mut).into_iter().flatten());
        for path in paths {
            *path = base.join(&*path);
        }
        let credentials = vault.iter_mut().map(|vault| &mut vault.credential).chain([&mut archive.credential]);
        for (field, value) in credentials.flatten().flatten() {
            *value = resolved(field, value, base);
        }
    }
}

/// A credential's field, with a path made absolute.
pub(super) fn resolved(field: &str, value: &str, base: &Path) -> String {
    match field.ends_with("_file") {
        true => base.join(value).to_string_lossy().into_owned(),
        false => value.to_owned(),
    }
}

/// A file's text, where it is from, and where in it something stands.
pub(super) struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Reads a file of settings.
    pub(super) fn read(path: &Path) -> Result<Self> {
        Ok(Source { path: path.to_owned(), text: read_text(path)? })
    }

    /// Parses the text.
    pub(super) fn parse(&self) -> Result<Raw> {
        toml::from_str(&self.text).map_err(|error| {
            let at = error.span().map(|span| position(&self.text, span.start));
            Error::usage(format!("{}{}", self.place(at), without_values(error.message())))
                .hint("docs/SETTINGS.md describes every field")
        })
    }

    /// `FILE:LINE:COLUMN: ` of what stands at `path` (keys, and numbers in arrays), or `FILE: `.
    pub(super) fn locate(&self, path: &[&str]) -> String {
        let document = DeTable::parse(&self.text).ok();
        let offset = document.and_then(|document| find(document.get_ref(), path));
        self.place(offset.map(|offset| position(&self.text, offset)))
    }

    fn place(&self, at: Option<(usize, usize)>) -> String {
        match at {
            Some((line, column)) => format!("{}:{line}:{column}: ", self.path.display()),
            None => format!("{}: ", self.path.display()),
        }
    }
}

fn find(table: &DeTable<'_>, path: &[&str]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first)?;
    within(value, rest, key.span().start)
}

fn within(value: &Spanned<DeValue<'_>>, path: &[&str], start: usize) -> Option<usize> {
    let Some((first, rest)) = path.split_first() else { return Some(start) };
    match value.get_ref() {
        DeValue::Table(table) => find(table, path),
        DeValue::Array(array) => {
            let item = array.get(first.parse::<usize>().ok()?)?;
            within(item, rest, item.span().start)
        }
        _ => None,
    }
}

/// Line and column, from one, in characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// What serde says of a value of the wrong type repeats the value, and someone may have put a secret there.
fn without_values(message: &str) -> String {
    match (message.find("string \""), message.rfind("\", expected ")) {
        (Some(start), Some(end)) if start < end => {
            let head = message.get(..start).unwrap_or_default();
            format!("{head}a string{}", message.get(end + 1..).unwrap_or_default())
        }
        _ => message.to_owned(),
    }
}

/// A small text file.
pub(super) fn read_text(path: &Path) -> Result<String> {
    use std::io::Read as _;
    let failed = |what: String| Error::usage(format!("couldn't read {}: {what}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > LIMIT {
        return Err(failed("it is larger than 1 MiB".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let (line, column) =
            position(&String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default()), valid);
        failed(format!("line {line}, column {column} is not UTF-8"))
    })
}
