//! A policy file as it is written, and from there to a [`Policy`]. What one field alone can get wrong is found where it
//! stands; what several can only get wrong together, afterwards. policies/policy.schema.json says the same to editors.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde::Deserialize;

use super::selection::{Selection, TagValue};
use super::{Cadence, Effect, FORMAT, LIMIT, Lock, Policy, Recipients, Retention, Rule};
use crate::error::{Error, Result};
use crate::located::Source;
use crate::model::{Glob, Kind, duration};

const DOCS: &str = "docs/POLICIES.md describes every field; `akv-archiver policy show default` shows one that is whole";

/// More than a person can read; a machine that writes so many means something else.
const RULES_MAX: usize = 1000;
/// As many tags as an object in Key Vault may have, and as long.
const TAGS_MAX: usize = 15;
const TAG_MAX: usize = 256;
const NAME_MAX: usize = 64;
const TEXT_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    format: Format,
    name: Word,
    description: Sentence,
    #[serde(default)]
    cadence: RawCadence,
    #[serde(default)]
    retention: RawRetention,
    #[serde(default)]
    recipients: RawRecipients,
    #[serde(default)]
    rule: Vec<RawRule>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCadence {
    snapshot_every: Option<Span>,
    rpo: Option<Span>,
    recapture_every: Option<Span>,
    full_every: Option<Span>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRetention {
    class: Option<Word>,
    protection_min: Option<Span>,
    lock: Option<Lock>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRecipients {
    quorum: Option<Quorum>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: Word,
    why: Option<Sentence>,
    vaults: Option<Items<Glob>>,
    kinds: Option<Items<Kind>>,
    names: Option<Items<Glob>>,
    tags: Option<Tags>,
    enabled: Option<bool>,
    take: bool,
    recapture_every: Option<Span>,
}

/// A value with a rule of its own, checked where it stands.
macro_rules! checked {
    ($name:ident($inner:ty), $from:ty, $text:literal, $check:expr) => {
        #[derive(Deserialize)]
        #[serde(try_from = $text)]
        struct $name($inner);

        impl TryFrom<$from> for $name {
            type Error = String;

            fn try_from(value: $from) -> std::result::Result<Self, String> {
                let check: fn($from) -> std::result::Result<$inner, String> = $check;
                check(value).map($name)
            }
        }
    };
}

checked!(Format(()), String, "String", |text| match text == FORMAT {
    true => Ok(()),
    false => Err(format!("the format is {text:?}, and this program knows {FORMAT:?}")),
});
checked!(Span(TimeDelta), String, "String", |text| {
    let seconds = duration::parse(&text)?.as_secs();
    i64::try_from(seconds).ok().and_then(TimeDelta::try_seconds).ok_or_else(|| format!("{text:?} is too long"))
});
checked!(Quorum(u16), i64, "i64", |number| match u16::try_from(number) {
    Ok(number @ 1..=100) => Ok(number),
    _ => Err(format!("{number} is not between 1 and 100")),
});
checked!(Word(String), String, "String", |text| {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    match (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(text),
        false => Err(format!("{text:?} is not a name: 1 to {NAME_MAX} letters, digits, `.`, `_` and `-`")),
    }
});
checked!(Sentence(String), String, "String", |text| {
    let count = text.chars().count();
    match count {
        _ if text.chars().any(char::is_control) => Err("it must be one line, without control characters".into()),
        1..=TEXT_MAX if !text.trim().is_empty() => Ok(text),
        _ => Err(format!("it must have 1 to {TEXT_MAX} characters, not all of them white space")),
    }
});
checked!(Tags(BTreeMap<String, TagValue>), BTreeMap<String, String>, "BTreeMap<String, String>", |tags| {
    let fits = |text: &str, least: usize| (least..=TAG_MAX).contains(&text.chars().count());
    if !(1..=TAGS_MAX).contains(&tags.len()) {
        return Err(format!("{} tags are given: an object has at most {TAGS_MAX}; leave `tags` out to ask for none", tags.len()));
    }
    if let Some((name, _)) = tags.iter().find(|(name, value)| !fits(name, 1) || !fits(value, 0)) {
        let name: String = name.chars().take(32).collect();
        return Err(format!("tag {name:?}: a tag's name has 1 to {TAG_MAX} characters, its value at most {TAG_MAX}"));
    }
    let value = |value: String| if value == "*" { TagValue::Any } else { TagValue::Is(value) };
    Ok(tags.into_iter().map(|(name, text)| (name, value(text))).collect())
});

/// A list of something. An empty one would select nothing, where it probably means everything.
#[derive(Deserialize)]
#[serde(try_from = "Vec<T>", bound = "T: Deserialize<'de>")]
struct Items<T>(Vec<T>);

impl<T> TryFrom<Vec<T>> for Items<T> {
    type Error = String;

    fn try_from(items: Vec<T>) -> std::result::Result<Self, String> {
        match items.len() {
            0 => Err("the list is empty and would select nothing: leave it out to select everything".into()),
            1..=RULES_MAX => Ok(Items(items)),
            many => Err(format!("the list has {many} items, more than {RULES_MAX}")),
        }
    }
}

/// Parses a policy.
pub(super) fn policy(text: &str, origin: &str) -> Result<Policy> {
    if text.len() as u64 > LIMIT {
        return Err(Error::usage(format!("{origin}: it is larger than {} KiB", LIMIT >> 10)).hint(DOCS));
    }
    let source = Source::new(origin, text);
    let raw: Raw = source.parse().map_err(|error| error.hint(DOCS))?;
    let Format(()) = raw.format;
    let wrong =
        |at: &[&str], message: String, hint: &str| Error::usage(format!("{}{message}", source.locate(at))).hint(hint);
    if raw.rule.len() > RULES_MAX {
        let message = format!("there are {} rules, more than {RULES_MAX}", raw.rule.len());
        return Err(wrong(&["rule", &RULES_MAX.to_string()], message, "one pattern can stand for many names"));
    }
    let mut rules = Vec::with_capacity(raw.rule.len());
    let mut names = BTreeSet::new();
    for (index, raw) in raw.rule.into_iter().enumerate() {
        let index = index.to_string();
        if !names.insert(raw.name.0.clone()) {
            let message = format!("there are two rules named {:?}", raw.name.0);
            return Err(wrong(
                &["rule", &index, "name"],
                message,
                "reports name the rule that decided: give each its own name",
            ));
        }
        rules.push(rule(raw).map_err(|(field, message, hint)| wrong(&["rule", &index, field], message, hint))?);
    }
    Ok(Policy {
        name: raw.name.0,
        description: raw.description.0,
        cadence: cadence(&raw.cadence),
        retention: retention(raw.retention),
        recipients: raw.recipients.quorum.map_or_else(Recipients::default, |quorum| Recipients { quorum: quorum.0 }),
        rules,
    })
}

fn cadence(raw: &RawCadence) -> Cadence {
    let default = Cadence::default();
    let or = |span: &Option<Span>, default: TimeDelta| span.as_ref().map_or(default, |span| span.0);
    Cadence {
        snapshot_every: or(&raw.snapshot_every, default.snapshot_every),
        rpo: or(&raw.rpo, default.rpo),
        recapture_every: or(&raw.recapture_every, default.recapture_every),
        full_every: or(&raw.full_every, default.full_every),
    }
}

fn retention(raw: RawRetention) -> Retention {
    let default = Retention::default();
    Retention {
        class: raw.class.map_or(default.class, |class| class.0),
        protection_min: raw.protection_min.map_or(default.protection_min, |span| span.0),
        lock: raw.lock.unwrap_or(default.lock),
    }
}

/// A rule; or the field that is wrong, what is wrong with it, and a hint.
fn rule(raw: RawRule) -> std::result::Result<Rule, (&'static str, String, &'static str)> {
    let name = raw.name.0;
    let effect = match (raw.take, raw.recapture_every) {
        (true, span) => Effect::Take { recapture_every: span.map(|span| span.0) },
        (false, None) => Effect::LeaveOut,
        (false, _) => {
            let message = format!("rule {name:?} leaves out what it selects, so `recapture_every` has no meaning");
            return Err(("recapture_every", message, "remove it, or set take = true"));
        }
    };
    if effect == Effect::LeaveOut && raw.why.is_none() {
        let message = format!("rule {name:?} leaves objects out and does not say why");
        return Err(("take", message, "add `why`: it stands in every report of what was left out"));
    }
    Ok(Rule {
        name,
        why: raw.why.map(|why| why.0),
        selection: Selection {
            vaults: raw.vaults.map(|list| list.0).unwrap_or_default(),
            kinds: raw.kinds.map(|list| list.0.into_iter().collect()).unwrap_or_default(),
            names: raw.names.map(|list| list.0).unwrap_or_default(),
            tags: raw.tags.map(|tags| tags.0).unwrap_or_default(),
            enabled: raw.enabled,
        },
        effect,
    })
}
