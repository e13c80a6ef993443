//! Whether what came back is what was captured. Pure: it compares two readings of an object and asks nobody.

use super::plan::Action;
use super::source::Versions;

/// How a restored object differs from its capture: version ids, public keys, the enabled flag, dates, tags. The recovery
/// level is the target vault's own, and other fields come and go with api-versions: neither is a difference. What was
/// recovered may have lived on after the capture: of that only what it lacks is a difference.
pub fn differences(captured: &Versions, live: &Versions, action: Action) -> Differences {
    let copied = action.creates();
    let mut found = Vec::new();
    let mut grave = false;
    for (id, ours) in captured {
        let Some(theirs) = live.get(id) else {
            found.push(format!("version {id} did not come back"));
            grave = true;
            continue;
        };
        let (a, b) = (&ours.attributes, &theirs.attributes);
        if ours.thumbprint.is_some() && ours.thumbprint != theirs.thumbprint {
            found.push(format!("version {id} came back with another public key"));
            grave = true;
        }
        if !copied {
            continue;
        }
        if (a.enabled, a.not_before, a.expires, a.created) != (b.enabled, b.not_before, b.expires, b.created) {
            found.push(format!("version {id} came back with other attributes"));
        }
        if ours.tags != theirs.tags {
            found.push(format!("version {id} came back with other tags"));
        }
    }
    let more = live.keys().filter(|id| copied && !captured.contains_key(*id));
    found.extend(more.map(|id| format!("version {id} was not in the capture")));
    Differences { found, grave }
}

/// How what came back differs from the capture.
pub struct Differences {
    /// In words.
    pub found: Vec<String>,
    /// Whether it is another object, or less of it: then the step failed, whatever Azure answered.
    pub grave: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_versions_keys_attributes_and_tags_and_nothing_else() {
        use super::super::source::Version;
        use crate::model::Attributes;
        let version = |id: &str| {
            let attributes = Attributes { enabled: Some(true), ..Attributes::default() };
            (id.to_owned(), Version { attributes, tags: "{\"a\":\"b\"}".into(), thumbprint: Some("t".into()) })
        };
        let captured = Versions::from(["1", "2", "3", "4", "5"].map(version));
        let mut live = captured.clone();
        assert!(differences(&captured, &live, Action::Restore).found.is_empty());
        live.remove("1");
        live.get_mut("2").unwrap().thumbprint = None;
        live.get_mut("3").unwrap().attributes.enabled = Some(false);
        live.get_mut("4").unwrap().tags = String::new();
        live.get_mut("5").unwrap().attributes.recovery_level = Some("Purgeable".into());
        live.insert("6".into(), version("6").1);
        let told = differences(&captured, &live, Action::Restore);
        let expected = [
            "version 1 did not come back",
            "version 2 came back with another public key",
            "version 3 came back with other attributes",
            "version 4 came back with other tags",
            "version 6 was not in the capture",
        ];
        assert_eq!(told.found, expected);
        assert!(told.grave);
        assert_eq!(differences(&captured, &live, Action::Recover).found, expected[..2], "it may have lived on");
        live = captured.clone();
        live.get_mut("4").unwrap().tags = String::new();
        assert!(!differences(&captured, &live, Action::Restore).grave, "tags are told, and are no other object");
    }
}
