//! Where two answers differ: JSON by keys, types and values, headers by name and value. Learns on the way which of our
//! identifiers stands for which recorded one. Knows no service.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// One difference between a recorded answer and ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Difference {
    /// Where: `status`, `header NAME`, or a path such as `$.error.code`.
    pub(super) at: String,
    /// What: `missing` in ours, `extra` in ours, `type`, `value`, `order`.
    pub(super) what: &'static str,
    /// What was recorded.
    pub(super) recorded: String,
    /// What we have.
    pub(super) ours: String,
}

impl Difference {
    pub(super) fn new(at: impl Into<String>, what: &'static str, recorded: &str, ours: &str) -> Self {
        Difference { at: at.into(), what, recorded: recorded.to_owned(), ours: ours.to_owned() }
    }
}

/// Recorded identifiers and ours.
#[derive(Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    /// A recorded text with our identifiers in it.
    pub(super) fn ours(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (recorded, ours) in &self.0 {
            if text.contains(recorded.as_str()) {
                text = text.replace(recorded, ours);
            }
        }
        text
    }

    /// Notes that `recorded` is `ours` here. The first to say so is right.
    pub(super) fn learn(&mut self, recorded: &str, ours: &str) {
        if !recorded.is_empty() && recorded != ours {
            self.0.entry(recorded.to_owned()).or_insert_with(|| ours.to_owned());
        }
    }

    /// Notes the versions at the ends of two addresses.
    fn learn_version(&mut self, recorded: &str, ours: &str) {
        let version = |url: &str| url.rsplit('/').next().filter(|last| is_version(last)).map(str::to_owned);
        if let (Some(recorded), Some(ours)) = (version(recorded), version(ours)) {
            self.learn(&recorded, &ours);
        }
    }
}

/// Whether a path's segment is an object's version.
pub(super) fn is_version(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Members that hold times, key material and identifiers that are not addresses: they must be there, of the same type.
const OPAQUE: &[&str] = &[
    "created",
    "updated",
    "nbf",
    "exp",
    "deletedDate",
    "scheduledPurgeDate",
    "n",
    "x",
    "y",
    "k",
    "cer",
    "x5t",
    "csr",
    "request_id",
];

/// Compares JSON. `secret` says that a member `value` holds key material.
pub(super) fn json(recorded: &Value, ours: &Value, secret: bool, names: &mut Names) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(recorded, ours, "$", secret, names, &mut found);
    found
}

fn walk(recorded: &Value, ours: &Value, at: &str, secret: bool, names: &mut Names, found: &mut Vec<Difference>) {
    let mut differ = |what| found.push(Difference::new(at, what, &recorded.to_string(), &ours.to_string()));
    match (recorded, ours) {
        (Value::Object(left), Value::Object(right)) => {
            // Addresses first: what follows may name their versions.
            let keys: BTreeSet<(bool, &String)> =
                left.keys().chain(right.keys()).map(|key| (!matches!(key.as_str(), "kid" | "id"), key)).collect();
            for (_, key) in keys {
                let at = format!("{at}.{key}");
                match (left.get(key), right.get(key)) {
                    (Some(recorded), Some(ours)) => walk(recorded, ours, &at, secret, names, found),
                    (Some(recorded), None) => {
                        found.push(Difference::new(at, "missing", &recorded.to_string(), "nothing"));
                    }
                    (None, Some(ours)) => found.push(Difference::new(at, "extra", "nothing", &ours.to_string())),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            if left.len() != right.len() {
                differ("value");
            }
            for (recorded, ours) in left.iter().zip(right) {
                walk(recorded, ours, &format!("{at}[]"), secret, names, found);
            }
        }
        (Value::String(left), Value::String(right)) => {
            let name = at.rsplit('.').next().unwrap_or_default();
            if left.starts_with("https://") {
                names.learn_version(left, right);
            }
            if name == "request_id" {
                names.learn(left, right);
            }
            let opaque = OPAQUE.contains(&name) || (secret && name == "value");
            if !opaque && names.ours(left) != *right {
                differ("value");
            }
        }
        (Value::Number(_), Value::Number(_)) => {
            let name = at.rsplit('.').next().unwrap_or_default();
            if !OPAQUE.contains(&name) && recorded != ours {
                differ("value");
            }
        }
        (Value::Bool(_), Value::Bool(_)) | (Value::Null, Value::Null) => {
            if recorded != ours {
                differ("value");
            }
        }
        _ => differ("type"),
    }
}

/// Compares headers. Names in `ignored` are not looked at; values only where `judged` has the name.
pub(super) fn headers(
    recorded: &BTreeMap<String, String>,
    ours: &[(String, String)],
    ignored: &[&str],
    judged: &[&str],
    names: &Names,
) -> Vec<Difference> {
    let ours: BTreeMap<&str, &str> = ours.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut found = Vec::new();
    for (name, value) in recorded.iter().filter(|(name, _)| !ignored.contains(&name.as_str())) {
        let at = format!("header {name}");
        match ours.get(name.as_str()) {
            None => found.push(Difference::new(at, "missing", value, "nothing")),
            Some(found_value) if judged.contains(&name.as_str()) && names.ours(value) != **found_value => {
                found.push(Difference::new(at, "value", value, found_value));
            }
            Some(_) => {}
        }
    }
    for (name, value) in ours {
        if !ignored.contains(&name) && !recorded.contains_key(name) {
            found.push(Difference::new(format!("header {name}"), "extra", "nothing", value));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    #[test]
    fn keys_types_and_values_are_judged_and_identifiers_learnt() {
        let (old, new) = ("0".repeat(32), "f".repeat(32));
        let mut names = Names::default();
        let recorded = value!({"id": format!("https://v/keys/k/{old}"), "n": "a", "created": 1, "on": true, "a": {"b": 1}, "c": 1});
        let ours =
            value!({"id": format!("https://v/keys/k/{new}"), "n": "b", "created": "2", "on": false, "a": {}, "d": 1});
        let found = json(&recorded, &ours, false, &mut names);
        let found: Vec<(&str, &str)> = found.iter().map(|it| (it.at.as_str(), it.what)).collect();
        let expected =
            [("$.a.b", "missing"), ("$.c", "missing"), ("$.created", "type"), ("$.d", "extra"), ("$.on", "value")];
        assert_eq!(found, expected);
        assert_eq!(names.ours(&old), new);
        assert!(json(&value!({"value": "a"}), &value!({"value": "b"}), true, &mut names).is_empty());
        assert_eq!(json(&value!({"value": "a"}), &value!({"value": "b"}), false, &mut names).len(), 1);
    }

    #[test]
    fn headers_are_judged_by_name_and_some_by_value() {
        let recorded = [("a", "1"), ("b", "1"), ("c", "1"), ("date", "x")];
        let recorded = recorded.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let ours = [("a", "2"), ("b", "2"), ("d", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let found = headers(&recorded, &ours, &["date"], &["b"], &Names::default());
        let found: Vec<(&str, &str)> = found.iter().map(|it| (it.at.as_str(), it.what)).collect();
        assert_eq!(found, [("header b", "value"), ("header c", "missing"), ("header d", "extra")]);
    }
}
