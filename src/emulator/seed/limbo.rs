//! How long changes take to show. Knows no vault.

use serde::{Deserialize, Serialize};

/// How long an object stays in transition after delete, recover and purge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum Limbo {
    /// Changes complete at once.
    #[default]
    Off,
    /// Seconds to minutes, as recorded on Azure (`azure.md` §1.6).
    Real,
    /// As long as the table says.
    Set(Waits),
}

/// Seconds, by what was done. What is absent completes at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Waits {
    /// Until a deleted object can be seen; its name is taken from the first moment.
    pub delete: Wait,
    /// Until a recovered object is live.
    pub recover: Wait,
    /// Until the name of a purged object is free.
    pub purge: Wait,
}

/// Seconds, by kind of object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenWait", into = "WrittenWait")]
pub struct Wait {
    /// Of keys.
    pub key: u32,
    /// Of secrets.
    pub secret: u32,
    /// Of certificates, with their keys and secrets.
    pub certificate: u32,
}

impl Wait {
    /// The same for all kinds.
    pub fn all(seconds: u32) -> Self {
        Wait { key: seconds, secret: seconds, certificate: seconds }
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Named {
    Off,
    Real,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected \"off\", \"real\", or seconds, such as { delete = 5, recover = 10, purge = 60 }"
)]
enum Written {
    Named(Named),
    Set(Waits),
}

impl From<Written> for Limbo {
    fn from(written: Written) -> Self {
        match written {
            Written::Named(Named::Off) => Limbo::Off,
            Written::Named(Named::Real) => Limbo::Real,
            Written::Set(waits) => Limbo::Set(waits),
        }
    }
}

impl From<Limbo> for Written {
    fn from(limbo: Limbo) -> Self {
        match limbo {
            Limbo::Off => Written::Named(Named::Off),
            Limbo::Real => Written::Named(Named::Real),
            Limbo::Set(waits) => Written::Set(waits),
        }
    }
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EachKind {
    key: u32,
    secret: u32,
    certificate: u32,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenWait {
    All(u32),
    Each(EachKind),
}

impl From<WrittenWait> for Wait {
    fn from(written: WrittenWait) -> Self {
        match written {
            WrittenWait::All(seconds) => Wait::all(seconds),
            WrittenWait::Each(EachKind { key, secret, certificate }) => Wait { key, secret, certificate },
        }
    }
}

impl From<Wait> for WrittenWait {
    fn from(wait: Wait) -> Self {
        let Wait { key, secret, certificate } = wait;
        if wait == Wait::all(key) {
            WrittenWait::All(key)
        } else {
            WrittenWait::Each(EachKind { key, secret, certificate })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn waits_are_written_as_a_word_a_number_or_a_table() {
        for (written, limbo) in [
            (json!("off"), Limbo::Off),
            (json!("real"), Limbo::Real),
            (
                json!({"delete": 5, "purge": {"key": 60, "secret": 1, "certificate": 0}, "recover": 0}),
                Limbo::Set(Waits {
                    delete: Wait::all(5),
                    recover: Wait::all(0),
                    purge: Wait { key: 60, secret: 1, certificate: 0 },
                }),
            ),
        ] {
            assert_eq!(serde_json::from_value::<Limbo>(written.clone()).unwrap(), limbo);
            assert_eq!(json!(limbo), written);
        }
        let partly: Limbo = serde_json::from_value(json!({"recover": {"key": 3}})).unwrap();
        let recover = Wait { key: 3, ..Wait::default() };
        assert_eq!(partly, Limbo::Set(Waits { recover, ..Waits::default() }));
        for wrong in
            [json!("slow"), json!(5), json!({"restore": 5}), json!({"purge": -1}), json!({"purge": {"hsm": 1}})]
        {
            let refused = serde_json::from_value::<Limbo>(wrong.clone()).unwrap_err().to_string();
            assert!(refused.contains("expected \"off\", \"real\", or seconds"), "{wrong}: {refused}");
        }
    }
}
