//! Events in JSON. Written by hand because an event of a type that nobody here knows must survive: parse, and come out
//! again as it was.

use serde::de::DeserializeOwned;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use super::{Event, Protect, RestoreIntent, RestoreResult, SnapshotRef};

/// An event of an unknown type, as it was read. Only reading makes one, so that it never disguises a known type.
#[derive(Clone, Debug, PartialEq)]
pub struct Opaque {
    kind: String,
    members: Map<String, Value>,
}

impl Opaque {
    /// The event's `type`.
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

impl Event {
    /// The event's `type`.
    pub fn kind(&self) -> &str {
        match self {
            Event::Snapshot(_) => "snapshot",
            Event::RestoreIntent(_) => "restore-intent",
            Event::RestoreResult(_) => "restore-result",
            Event::Protect(_) => "protect",
            Event::Unknown(opaque) => &opaque.kind,
        }
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(tag = "type", rename_all = "kebab-case")]
        enum Known<'a> {
            Snapshot(&'a SnapshotRef),
            RestoreIntent(&'a RestoreIntent),
            RestoreResult(&'a RestoreResult),
            Protect(&'a Protect),
        }
        match self {
            Event::Snapshot(event) => Known::Snapshot(event).serialize(serializer),
            Event::RestoreIntent(event) => Known::RestoreIntent(event).serialize(serializer),
            Event::RestoreResult(event) => Known::RestoreResult(event).serialize(serializer),
            Event::Protect(event) => Known::Protect(event).serialize(serializer),
            Event::Unknown(opaque) => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("type", &opaque.kind)?;
                opaque.members.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn known<T: DeserializeOwned, E: de::Error>(members: Map<String, Value>) -> Result<T, E> {
            serde_json::from_value(Value::Object(members)).map_err(|error| E::custom(format!("event: {error}")))
        }
        let mut members = Map::<String, Value>::deserialize(deserializer)?;
        let Some(Value::String(kind)) = members.remove("type") else {
            return Err(de::Error::custom("event: no type is named"));
        };
        match kind.as_str() {
            "snapshot" => known(members).map(Event::Snapshot),
            "restore-intent" => known(members).map(Event::RestoreIntent),
            "restore-result" => known(members).map(Event::RestoreResult),
            "protect" => known(members).map(Event::Protect),
            _ => Ok(Event::Unknown(Opaque { kind, members })),
        }
    }
}
