//! What Resource Manager changes of a container: its policy, its legal holds, and whether it is there at all (azure.md
//! §7.3). The rules and the state, pure: knows neither who may nor how it is asked and answered.

use chrono::{DateTime, Utc};

use super::state::{Container, Hold, MOST_DAYS, Protection, Record, Retention, Tick, Update};
use super::{Blobs, ContainerFacts, container_facts, worm};

/// How often a locked policy can be extended (DOC immutable-container-level-worm-policies).
const MOST_EXTENSIONS: usize = 5;
/// How many legal holds a container can have (DOC).
const MOST_TAGS: usize = 10;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Governed {
    /// Sets an unlocked policy; what is not said stays (REC cli/test_immutability_policy_with_allow_protected… #7).
    Put {
        /// Days; needed where there was no policy.
        days: Option<u32>,
        /// `allowProtectedAppendWrites`.
        appends: Option<bool>,
        /// `allowProtectedAppendWritesAll`.
        appends_all: Option<bool>,
    },
    /// Locks the policy.
    Lock,
    /// Makes a locked policy longer.
    Extend(Option<u32>),
    /// Removes an unlocked policy.
    Remove,
    /// Adds tags to the legal holds there are.
    Hold {
        /// The tags.
        tags: Vec<String>,
        /// `allowProtectedAppendWritesAll`.
        appends_all: Option<bool>,
    },
    /// Takes tags from them; one that is not there is no matter (DOC).
    Release(Vec<String>),
    /// Deletes the container.
    Delete,
}

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ungoverned {
    /// There is no such container.
    Missing,
    /// The ETag is not the policy's.
    Etag,
    /// The policy's state does not permit it.
    State,
    /// No policy can have such a period, or this one cannot have it after the one it has.
    Period,
    /// It was extended as often as it can be.
    Extensions,
    /// A tag is none, or there would be too many.
    Tags,
    /// The container keeps versions, which have policies and holds of their own.
    Versions,
    /// It holds blobs that are protected.
    Protected,
}

impl Blobs {
    /// Changes a container, if the policy's ETag is `etag` where one is given, and for a lock, an extension and a removal
    /// only if one is. `by` is the object id of whoever asks. Returns what the management plane shows then.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn govern(
        &mut self,
        now: DateTime<Utc>,
        account: &str,
        container: &str,
        etag: Option<&str>,
        by: &str,
        change: &Governed,
    ) -> Result<ContainerFacts, Ungoverned> {
        let tick = self.tick(now);
        let containers = &mut self.accounts.get_mut(account).ok_or(Ungoverned::Missing)?.containers;
        let found = containers.get_mut(container).ok_or(Ungoverned::Missing)?;
        match change {
            Governed::Delete => {
                worm::permits_deletion(found).map_err(|_| Ungoverned::Protected)?;
                let facts = container_facts(container, found);
                containers.remove(container);
                return Ok(facts);
            }
            _ if found.protection.is_version_level() => return Err(Ungoverned::Versions),
            Governed::Hold { tags, appends_all } => {
                found.hold(tags, tick, by)?;
                found.held_appends = appends_all.or(found.held_appends);
            }
            Governed::Release(tags) => {
                let tags: Vec<String> = tags.iter().map(|tag| tag.to_ascii_lowercase()).collect();
                found.holds.retain(|hold| !tags.contains(&hold.tag));
                found.held_appends = found.held_appends.filter(|_| found.is_held());
            }
            _ => {
                found.fits(etag, matches!(change, Governed::Put { .. }))?;
                found.rule(change, tick, by)?;
            }
        }
        let mut facts = container_facts(container, found);
        // A policy that is gone has an ETag once more, in the answer that says so (REC cli/test_immutability_policy #7).
        if *change == Governed::Remove {
            facts.etag = self::etag(tick);
        }
        Ok(facts)
    }
}

impl Container {
    /// Whether a condition on the policy's ETag holds. Only a creation or change by PUT does without (REC
    /// cli/test_immutability_policy #3, #9; for a removal ISSUE[policy-etag], for the others GUESS[policy-etag]).
    fn fits(&self, condition: Option<&str>, optional: bool) -> Result<(), Ungoverned> {
        let now = self.record.changed.filter(|_| self.protection.has_policy()).map(etag);
        match condition {
            None if optional => Ok(()),
            Some("*") if now.is_some() => Ok(()),
            Some(wanted) if now.as_deref() == Some(wanted.trim_matches('"')) => Ok(()),
            _ => Err(Ungoverned::Etag),
        }
    }

    fn rule(&mut self, change: &Governed, tick: Tick, by: &str) -> Result<(), Ungoverned> {
        let present = self.protection.retention();
        let period = |days: Option<u32>| days.filter(|days| (1..=MOST_DAYS).contains(days)).ok_or(Ungoverned::Period);
        let before = (self.protection, self.record.appends, self.record.appends_all);
        let (days, locked, word) = match (change, present) {
            (Governed::Put { .. } | Governed::Lock | Governed::Remove, Some(Retention { locked: true, .. })) => {
                return Err(Ungoverned::State);
            }
            (Governed::Put { days, appends, appends_all }, present) => {
                let days = period(days.or(present.map(|present| present.days)))?;
                self.record.appends = appends.or(self.record.appends);
                self.record.appends_all = appends_all.or(self.record.appends_all);
                (days, false, "put")
            }
            (Governed::Lock, Some(present)) => (present.days, true, "lock"),
            (Governed::Extend(days), Some(Retention { days: present, locked: true })) => {
                let days = period(*days)?;
                let extended = self.record.history.iter().filter(|it| it.update == "extend").count();
                if extended >= MOST_EXTENSIONS {
                    return Err(Ungoverned::Extensions);
                }
                if days <= present {
                    return Err(Ungoverned::Period);
                }
                (days, true, "extend")
            }
            (Governed::Remove, Some(_)) => {
                (self.protection, self.record) = (Protection::None, Record::default());
                return Ok(());
            }
            _ => return Err(Ungoverned::State),
        };
        self.protection = Protection::ContainerLevel(Retention { days, locked });
        // The same again moves nothing (REC cli/test_immutability_policy #5).
        if before == (self.protection, self.record.appends, self.record.appends_all) {
            return Ok(());
        }
        self.record.changed = Some(tick);
        // GUESS[policy-history]: of what was set before the lock, only the last is kept.
        self.record.history.retain(|it| word != "put" || it.update != "put");
        self.record.history.push(Update { update: word.to_owned(), days, at: tick, by: by.to_owned() });
        Ok(())
    }

    /// Adds tags, in lower case (DOC: three to 23 letters and digits). Those that are there stay (DOC).
    fn hold(&mut self, tags: &[String], tick: Tick, by: &str) -> Result<(), Ungoverned> {
        let fits = |tag: &String| (3..=23).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if tags.is_empty() || !tags.iter().all(fits) {
            return Err(Ungoverned::Tags);
        }
        let mut holds = self.holds.clone();
        for tag in tags.iter().map(|tag| tag.to_ascii_lowercase()) {
            if !holds.iter().any(|hold| hold.tag == tag) {
                holds.push(Hold { tag, since: tick, by: by.to_owned() });
            }
        }
        if holds.len() > MOST_TAGS {
            return Err(Ungoverned::Tags);
        }
        self.holds = holds;
        Ok(())
    }
}

/// A policy's ETag, as Resource Manager writes stamps (REC cli/test_immutability_policy: `8dc904f971b1646`).
pub(super) fn etag(tick: Tick) -> String {
    format!("{:x}", tick.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::seed::Seed;

    const NOW: i64 = 1_800_000_000;

    fn blobs() -> Blobs {
        let seed = "[[storage]]\naccount = \"arc\"\nsubscription = \"11111111-1111-1111-1111-111111111111\"\nlocation = \
                    \"westeurope\"\ncontainers = [{ name = \"plain\" }, { name = \"versions\", worm = \"version-level\" }]";
        Blobs::new(&Seed::parse(seed).unwrap().accounts, DateTime::from_timestamp(NOW, 0).unwrap()).unwrap()
    }

    fn govern(blobs: &mut Blobs, etag: Option<&str>, change: Governed) -> Result<ContainerFacts, Ungoverned> {
        blobs.govern(DateTime::from_timestamp(NOW, 0).unwrap(), "arc", "plain", etag, "me", &change)
    }

    fn put(days: u32) -> Governed {
        Governed::Put { days: Some(days), appends: None, appends_all: None }
    }

    #[test]
    fn a_policy_is_free_until_it_is_locked_and_then_grows_five_times() {
        let mut blobs = blobs();
        let first = govern(&mut blobs, None, put(5)).unwrap();
        assert_eq!((first.days, first.locked), (Some(5), false));
        assert_eq!(govern(&mut blobs, None, put(5)).unwrap().etag, first.etag, "the same again moves nothing");
        let shorter = govern(&mut blobs, Some(&format!("\"{}\"", first.etag)), put(3)).unwrap();
        assert_ne!(shorter.etag, first.etag);
        assert_eq!(govern(&mut blobs, Some(&first.etag), put(9)), Err(Ungoverned::Etag));
        assert_eq!(govern(&mut blobs, Some("*"), Governed::Extend(Some(9))), Err(Ungoverned::State), "not locked");
        assert_eq!(govern(&mut blobs, None, Governed::Lock), Err(Ungoverned::Etag), "a lock needs a condition");
        let mut facts = govern(&mut blobs, Some(&shorter.etag), Governed::Lock).unwrap();
        for change in [put(400), Governed::Lock, Governed::Remove] {
            assert_eq!(govern(&mut blobs, Some(&facts.etag), change), Err(Ungoverned::State));
        }
        for days in 4..9 {
            assert_eq!(
                govern(&mut blobs, Some(&facts.etag), Governed::Extend(Some(days - 1))),
                Err(Ungoverned::Period)
            );
            facts = govern(&mut blobs, Some(&facts.etag), Governed::Extend(Some(days))).unwrap();
        }
        assert_eq!(govern(&mut blobs, Some(&facts.etag), Governed::Extend(Some(99))), Err(Ungoverned::Extensions));
        let words: Vec<&str> = facts.history.iter().map(|it| it.update.as_str()).collect();
        assert_eq!(words, ["put", "lock", "extend", "extend", "extend", "extend", "extend"]);
    }

    #[test]
    fn tags_are_lower_case_and_ten_at_most() {
        let mut blobs = blobs();
        let tags = |from: u32, to: u32| (from..to).map(|n| format!("Case{n}")).collect::<Vec<_>>();
        let hold = |tags| Governed::Hold { tags, appends_all: None };
        let tagged = |facts: ContainerFacts| facts.holds.into_iter().map(|hold| hold.tag).collect::<Vec<_>>();
        assert_eq!(tagged(govern(&mut blobs, None, hold(tags(0, 2))).unwrap()), ["case0", "case1"]);
        assert_eq!(govern(&mut blobs, None, hold(tags(2, 11))), Err(Ungoverned::Tags));
        assert_eq!(tagged(govern(&mut blobs, None, hold(tags(0, 10))).unwrap()).len(), 10);
        assert_eq!(govern(&mut blobs, None, hold(vec!["a b c".into()])), Err(Ungoverned::Tags));
        let left = govern(&mut blobs, None, Governed::Release(["CASE0".into(), "other".into()].to_vec())).unwrap();
        assert_eq!((left.holds.len(), left.legal_hold), (9, true));
        assert!(!govern(&mut blobs, None, Governed::Release(tags(0, 10))).unwrap().legal_hold);
    }

    #[test]
    fn what_is_held_as_of_old_stays_held() {
        let mut blobs = blobs();
        govern(&mut blobs, None, Governed::Hold { tags: vec!["case7".into()], appends_all: None }).unwrap();
        let saved = String::from_utf8(blobs.save()).unwrap();
        assert_eq!(Blobs::load(saved.as_bytes()).unwrap().accounts(), blobs.accounts());
        let mut value: serde_json::Value = serde_json::from_str(&saved).unwrap();
        let plain = value["accounts"]["arc"]["containers"]["plain"].as_object_mut().unwrap();
        plain.remove("holds").unwrap();
        plain.insert("legal_hold".into(), true.into());
        let old = Blobs::load(value.to_string().as_bytes()).unwrap();
        assert!(old.accounts()[0].containers[0].legal_hold);
    }
}
