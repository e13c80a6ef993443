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
