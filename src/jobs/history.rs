//! What the archive holds: snapshots, the objects of the newest one, the captures of one object over time. Which capture
//! a restore takes is `search`'s to find.

mod log;
mod search;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Serialize;

pub use log::{Log, Range};
pub(super) use log::{minute, told};
pub use search::{Found, Population, Search, find, find_in, population, search};
pub(super) use search::{gone_around, some_of};

use crate::archive::{Reader, latest_snapshot};
use crate::error::{Error, Kind, Result};
use crate::format::entry::SnapshotRef;
use crate::format::manifest::{CaptureRef, Header, Line, State, Status};
use crate::model::{Mode, Object, VaultUri};

/// A committed snapshot, for a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// The vault.
    pub vault: VaultUri,
    /// Its sequence number in the vault's log.
    pub sequence: u64,
    /// When the run began.
    pub started: DateTime<Utc>,
    /// Whether it covers everything it saw.
    pub status: Status,
    /// Live objects.
    pub seen: u64,
    /// Taken in that run.
    pub captured: u64,
    /// Reused.
    pub reused: u64,
    /// Not taken, whether or not an earlier capture is left.
    pub gaps: u64,
    /// Left out by the policy; not among those seen.
    pub excluded: u64,
}

/// An object in the newest snapshot of its vault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    /// The vault.
    pub vault: VaultUri,
    /// `KIND/NAME`.
    pub object: String,
    /// What the newest snapshot says of it.
    pub state: Standing,
    /// How many versions its capture holds.
    pub versions: Option<u64>,
    /// When it was captured.
    pub captured_at: Option<DateTime<Utc>>,
    /// How its capture is protected.
    pub protection: Option<Mode>,
    /// Until when.
    pub protected_until: Option<DateTime<Utc>>,
    /// The code of its gap, where that snapshot could not take it. Beside it, the capture is an earlier one.
    pub gap: Option<String>,
}

/// What the newest snapshot says of an object. The names are a contract (`docs/JSON.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Live and captured on its own.
    Live,
    /// A key or secret that belongs to the certificate of the same name.
    Managed,
    /// Soft-deleted.
    Deleted,
    /// Left out by the archive's policy.
    Excluded,
    /// Nothing: it was purged, or its time ran out.
    Gone,
}

impl From<State> for Standing {
    fn from(state: State) -> Self {
        match state {
            State::Live => Standing::Live,
            State::Managed => Standing::Managed,
            State::Deleted => Standing::Deleted,
            State::Excluded => Standing::Excluded,
        }
    }
}

/// One capture of an object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Capture {
    /// The first snapshot that refers to it.
    pub snapshot: u64,
    /// When the object was captured.
    pub captured_at: DateTime<Utc>,
    /// How many versions it holds.
    pub versions: Option<u64>,
    /// The newest version's id.
    pub current: Option<String>,
    /// How it was protected when it was stored.
    pub protection: Mode,
    /// Until when.
    pub protected_until: Option<DateTime<Utc>>,
    /// Where it is.
    pub path: String,
}

/// The vaults to look at: those asked for, or every vault in the archive.
pub async fn vaults(reader: &Reader<'_>, asked: &[VaultUri]) -> Result<Vec<VaultUri>> {
    if !asked.is_empty() {
        return Ok(asked.to_vec());
    }
    let vaults = reader.vaults().await?;
    match vaults.is_empty() {
        true => {
            Err(Error::new(Kind::NotFound, "the archive holds no snapshot").hint("`akv-archiver snapshot` takes one"))
        }
        false => Ok(vaults),
    }
}

/// Every snapshot of `vault`, the newest first.
pub async fn snapshots(reader: &Reader<'_>, vault: &VaultUri) -> Result<Vec<Snapshot>> {
    let log = Log::read(reader, vault).await?;
    let each = log.snapshots().iter();
    Ok(each
        .map(|snapshot| Snapshot {
            vault: vault.clone(),
            sequence: snapshot.sequence,
            started: snapshot.started,
            status: snapshot.status,
            seen: snapshot.counts.seen,
            captured: snapshot.counts.captured,
            reused: snapshot.counts.reused,
            gaps: snapshot.counts.gaps,
            excluded: snapshot.counts.excluded,
        })
        .collect())
}

/// The objects of the newest snapshot of `vault`, deleted ones with the newest capture from before; with `ever`, also those
/// that the snapshot no longer names, if a capture is left.
pub async fn objects(reader: &Reader<'_>, vault: &VaultUri, ever: bool) -> Result<Vec<Listed>> {
    let snapshot = newest(reader, vault).await?;
    let mut listed: Vec<(Object, Listed)> = Vec::new();
    let each = |_: &Header, line: Line| {
        let (object, state) = (line.object(), line.state.into());
        let mut one = listed_as(vault, &object, state, line.versions, line.capture.as_ref());
        one.gap = line.gap.map(|gap| gap.code);
        listed.push((object, one));
        Ok(())
    };
    reader.manifest_lines(&snapshot, each).await?;
    let bare = |(_, one): &&mut (Object, Listed)| one.state == Standing::Deleted && one.captured_at.is_none();
    if ever || listed.iter_mut().any(|one| bare(&one)) {
        // What the store has no file of need not be searched for in every manifest.
        let captured = reader.captured(vault).await?;
        let named: BTreeSet<&Object> = listed.iter().map(|(object, _)| object).collect();
        let gone: Vec<Object> = captured.iter().filter(|object| ever && !named.contains(object)).cloned().collect();
        let deleted = listed.iter_mut().filter(bare).map(|(object, _)| object.clone());
        let deleted: Vec<Object> = deleted.filter(|object| captured.contains(object)).collect();
        let wanted = [deleted, gone].concat();
        let log = Log::read(reader, vault).await?;
        let found = search(reader, &log, &log.all(), &wanted).await?.found;
        let mut found: BTreeMap<Object, Found> =
            wanted.into_iter().zip(found).filter_map(|(object, found)| Some((object, found?))).collect();
        for (object, one) in listed.iter_mut().filter(bare) {
            if let Some(found) = found.remove(object) {
                *one = listed_as(vault, object, Standing::Deleted, found.versions, Some(&found.capture));
            }
        }
        listed.extend(found.into_iter().map(|(object, found)| {
            let one = listed_as(vault, &object, Standing::Gone, found.versions, Some(&found.capture));
            (object, one)
        }));
    }
    Ok(listed.into_iter().map(|(_, one)| one).collect())
}

fn listed_as(
    vault: &VaultUri,
    object: &Object,
    state: Standing,
    versions: Option<u64>,
    capture: Option<&CaptureRef>,
) -> Listed {
    Listed {
        vault: vault.clone(),
        object: object.to_string(),
        state,
        versions,
        captured_at: capture.map(|capture| capture.captured_at),
        protection: capture.map(|capture| capture.mode),
        protected_until: capture.and_then(|capture| capture.protected_until),
        gap: None,
    }
}

/// The captures of an object over time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct History {
    /// The vault.
    pub vault: VaultUri,
    /// `KIND/NAME`.
    pub object: String,
    /// Its captures, the newest first.
    pub captures: Vec<Capture>,
    /// Whether the archive's policy left it out of the newest snapshot.
    pub excluded: bool,
    /// Snapshots whose manifest is damaged or gone, so that what they had is not known.
    pub unreadable: Vec<u64>,
}

/// Every capture of `object` in the archive of `vault`. A damaged manifest hides what it had, and not what others have:
/// whoever looks for a way back needs all that is left.
pub async fn captures(reader: &Reader<'_>, vault: &VaultUri, object: &Object) -> Result<History> {
    let log = Log::read(reader, vault).await?;
    let mut captures: Vec<Capture> = Vec::new();
    let (mut excluded, mut unreadable) = (None, Vec::new());
    let wanted = BTreeSet::from([object]);
    for snapshot in log.snapshots() {
        let (_, lines) = match lines_of(reader, snapshot, &wanted).await {
            Ok(found) => found,
            Err(error) if error.kind() == Kind::Tampered => {
                unreadable.push(snapshot.sequence);
                continue;
            }
            Err(error) => return Err(error),
        };
        let line = lines.get(object);
        let left_out = line.is_some_and(|line| line.state == State::Excluded);
        excluded.get_or_insert(left_out);
        let Some((line, reference)) = line.and_then(|line| Some((line, line.capture.as_ref()?))) else { continue };
        // Older snapshots come later, so what is left is the first that refers to it. Not only neighbours are alike:
        // of two runs that overlap, the second may reuse what the first took anew.
        match captures.iter_mut().find(|capture| capture.path == reference.path.as_str()) {
            Some(known) => known.snapshot = snapshot.sequence,
            None => captures.push(Capture {
                snapshot: snapshot.sequence,
                captured_at: reference.captured_at,
                versions: line.versions,
                current: line.current.clone(),
                protection: reference.mode,
                protected_until: reference.protected_until,
                path: reference.path.to_string(),
            }),
        }
    }
    captures.sort_by_key(|capture| std::cmp::Reverse(capture.captured_at));
    let excluded = excluded.unwrap_or(false);
    match captures.is_empty() && unreadable.is_empty() {
        true => Err(search::unknown("the archive", vault, object, excluded)),
        false => {
            let (vault, object) = (vault.clone(), object.to_string());
            Ok(History { vault, object, captures, excluded, unreadable })
        }
    }
}

/// What a snapshot says of some objects. Of an object's lines as live and as deleted, the one with a capture.
pub(in crate::jobs) async fn lines_of(
    reader: &Reader<'_>,
    snapshot: &SnapshotRef,
    wanted: &BTreeSet<&Object>,
) -> Result<(Header, BTreeMap<Object, Line>)> {
    let mut lines: BTreeMap<Object, Line> = BTreeMap::new();
    let each = |_: &Header, line: Line| {
        let object = line.object();
        if wanted.contains(&object) && lines.get(&object).is_none_or(|known| known.capture.is_none()) {
            lines.insert(object, line);
        }
        Ok(())
    };
    let header = reader.manifest_lines(snapshot, each).await?;
    Ok((header, lines))
}

async fn newest(reader: &Reader<'_>, vault: &VaultUri) -> Result<SnapshotRef> {
    let head = reader.head(vault).await?;
    head.as_ref().and_then(latest_snapshot).cloned().ok_or_else(|| log::nothing(vault))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::entry::Event;
    use crate::format::manifest::Gap;
    use crate::jobs::fixture::{House, object};
    use crate::vault::Read as _;
    use std::time::Duration;

    /// All that the archive has of some objects.
    async fn searched(reader: &Reader<'_>, vault: &VaultUri, objects: &[Object]) -> Search {
        let log = Log::read(reader, vault).await.unwrap();
        search(reader, &log, &log.all(), objects).await.unwrap()
    }

    async fn populated(reader: &Reader<'_>, vault: &VaultUri, at: Option<u64>) -> Result<Population> {
        let log = Log::read(reader, vault).await?;
        let range = at.map_or_else(|| Ok(log.all()), |number| log.numbered(number))?;
        population(reader, &log, &range).await
    }

    /// Three snapshots: of k and a; then a changed; then k was deleted.
    async fn house() -> House {
        let house = House::new(&["key/k", "secret/a", "certificate/tls"]).await;
        house.snapshot().await.unwrap();
        house.vault.put(&object("secret/a"));
        house.snapshot().await.unwrap();
        house.vault.delete(&object("key/k"));
        house.snapshot().await.unwrap();
        house
    }

    #[tokio::test]
    async fn a_capture_is_told_once_with_the_first_snapshot_that_refers_to_it() {
        let house = house().await;
        let (reader, vault) = (house.reader().await, house.vault.uri());
        let told = |history: History| -> Vec<(u64, Option<u64>)> {
            history.captures.into_iter().map(|capture| (capture.snapshot, capture.versions)).collect()
        };
        assert_eq!(told(captures(&reader, vault, &object("secret/A")).await.unwrap()), [(2, Some(2)), (1, Some(1))]);
        assert_eq!(told(captures(&reader, vault, &object("key/k")).await.unwrap()), [(1, Some(1))]);
        let managed = captures(&reader, vault, &object("key/tls")).await.unwrap_err();
        assert!(managed.hint_text().is_some_and(|hint| hint.contains("restored with the certificate")));
    }

    #[tokio::test]
    async fn a_capture_that_an_overlapping_run_refers_to_again_is_still_one() {
        let house = House::new(&["secret/a"]).await;
        house.snapshot().await.unwrap();
        let old = house.reader().await.head(house.vault.uri()).await.unwrap().unwrap();
        house.vault.put(&object("secret/a"));
        house.snapshot().await.unwrap();
        // A run that began before the second one and ended after it refers to what was there when it began.
        let Event::Snapshot(first) = old.entry().event.clone() else { panic!("no snapshot") };
        let reader = house.reader().await;
        let appender =
            crate::archive::Appender::new(&house.store, &reader, &house.signer, house.vault.uri(), &house.ambient);
        appender.commit(|_, sequence| Ok(Event::Snapshot(SnapshotRef { sequence, ..first.clone() }))).await.unwrap();
        let found = captures(&reader, house.vault.uri(), &object("secret/a")).await.unwrap();
        assert_eq!(found.captures.iter().map(|capture| capture.snapshot).collect::<Vec<_>>(), [2, 1]);
    }

    #[tokio::test]
    async fn a_damaged_manifest_hides_its_own_captures_and_no_others() {
        let house = house().await;
        let (reader, vault) = (house.reader().await, house.vault.uri());
        let log = Log::read(&reader, vault).await.unwrap();
        let newest = &log.snapshots()[0];
        assert!(house.store.corrupt(newest.manifest.as_str(), "damaged"));
        let history = captures(&reader, vault, &object("secret/a")).await.unwrap();
        assert_eq!((history.captures.len(), history.unreadable), (2, vec![newest.sequence]));
    }

    #[tokio::test]
    async fn an_object_that_is_gone_is_found_where_it_last_was_or_where_it_is_asked_for() {
        let house = house().await;
        let (reader, vault) = (house.reader().await, house.vault.uri());
        let (k, a) = (object("key/k"), object("secret/a"));
        let found = find(&reader, vault, &[k.clone(), a.clone()], None).await.unwrap();
        assert_eq!(found.iter().map(|found| found.snapshot).collect::<Vec<_>>(), [2, 3], "in the order asked for");
        let found = find(&reader, vault, std::slice::from_ref(&a), Some(1)).await.unwrap();
        assert_eq!(found[0].snapshot, 1);
        for (object, at) in [(&k, Some(3)), (&a, Some(4)), (&object("key/none"), None)] {
            assert_eq!(
                find(&reader, vault, std::slice::from_ref(object), at).await.err().unwrap().kind(),
                Kind::NotFound
            );
        }
    }

    #[tokio::test]
    async fn damage_to_the_past_does_not_keep_from_restoring_what_the_newest_snapshot_has() {
        let house = house().await;
        let first = house.files("/log/").await.remove(0);
        house.store.corrupt(&first, "nonsense");
        let (reader, vault) = (house.reader().await, house.vault.uri());
        let found = find(&reader, vault, &[object("secret/a")], None).await.unwrap();
        assert_eq!(found[0].snapshot, 3);
        let older = searched(&reader, vault, &[object("key/k")]).await;
        assert_eq!(older.found[0].as_ref().unwrap().snapshot, 2);
        assert!(older.notes.iter().any(|note| note.contains("log entries 1 ")), "{:?}", older.notes);
    }

    #[tokio::test]
    async fn junk_at_the_head_of_the_log_leads_to_the_newest_snapshot_that_is_signed() {
        let house = house().await;
        house.store.attacker_put("vaults/prod.vault.azure.net/log/0000000004", "junk").unwrap();
        house.store.corrupt(&house.files("/manifests/").await.remove(2), "junk");
        let (reader, vault) = (house.reader().await, house.vault.uri());
        let search = searched(&reader, vault, &[object("secret/a")]).await;
        assert_eq!(search.found[0].as_ref().unwrap().snapshot, 2);
        assert!(search.notes.len() >= 2, "{:?}", search.notes);
    }

    #[tokio::test]
    async fn lists_show_the_newest_snapshot_and_every_snapshot_there_is() {
        let house = house().await;
        let (reader, vault) = (house.reader().await, house.vault.uri());
        let newest: Vec<(String, Standing, bool)> = objects(&reader, vault, false)
            .await
            .unwrap()
            .into_iter()
            .map(|listed| (listed.object, listed.state, listed.captured_at.is_some()))
            .collect();
        let line = |text: &str, state, captured| (text.to_owned(), state, captured);
        assert_eq!(
            newest,
            [
                line("certificate/tls", Standing::Live, true),
                line("key/k", Standing::Deleted, true),
                line("key/tls", Standing::Managed, false),
                line("secret/a", Standing::Live, true),
                line("secret/tls", Standing::Managed, false),
            ]
        );
        let all = snapshots(&reader, vault).await.unwrap();
        assert_eq!(
            all.iter().map(|s| (s.sequence, s.captured, s.reused)).collect::<Vec<_>>(),
            [(3, 0, 2), (2, 1, 2), (1, 3, 0)]
        );
        let kept = populated(&reader, vault, None).await.unwrap();
        assert_eq!(kept.live, [object("certificate/tls"), object("secret/a")]);
        assert_eq!(populated(&reader, vault, Some(1)).await.unwrap().live.len(), 3);
        assert_eq!(populated(&reader, vault, Some(9)).await.err().unwrap().kind(), Kind::NotFound);
    }

    #[tokio::test]
    async fn what_was_deleted_is_listed_with_its_newest_capture_and_what_is_gone_where_it_is_asked_for() {
        let house = house().await;
        house.wipe(&["certificate/tls"]);
        house.vault.put(&object("secret/never"));
        house.vault.delete(&object("secret/never"));
        house.snapshot().await.unwrap();
        let (reader, vault) = (house.reader().await, house.vault.uri());
        let told = |listed: Vec<Listed>| -> Vec<(String, Standing, Option<u64>)> {
            listed.into_iter().map(|one| (one.object, one.state, one.captured_at.and(one.versions))).collect()
        };
        let line = |object: &str, state, versions| (object.to_owned(), state, versions);
        let mut expected = vec![
            line("key/k", Standing::Deleted, Some(1)),
            line("secret/a", Standing::Live, Some(2)),
            line("secret/never", Standing::Deleted, None),
        ];
        let listed = objects(&reader, vault, false).await.unwrap();
        assert_eq!(listed[0].protection, Some(Mode::Locked), "as `history` shows it");
        assert_eq!(told(listed), expected);
        expected.push(line("certificate/tls", Standing::Gone, Some(1)));
        assert_eq!(told(objects(&reader, vault, true).await.unwrap()), expected);
    }

    #[tokio::test]
    async fn a_gap_does_not_hide_the_capture_that_there_is() {
        let house = house().await;
        let gap = |line: &mut Line| line.gap = Some(Gap { code: "denied".into(), detail: "no".into() });
        house.commit(|manifest| manifest.lines.iter_mut().filter(|line| line.capture.is_some()).for_each(gap)).await;
        let (reader, vault) = (house.reader().await, house.vault.uri());
        let listed = objects(&reader, vault, false).await.unwrap();
        let a = listed.iter().find(|listed| listed.object == "secret/a").unwrap();
        assert_eq!((a.state, a.gap.as_deref(), a.captured_at.is_some()), (Standing::Live, Some("denied"), true));
        let found = searched(&reader, vault, &[object("secret/a")]).await;
        assert_eq!(found.found[0].as_ref().unwrap().snapshot, 4);
        assert!(found.notes.iter().any(|note| note.contains("secret/a (denied; captured 20")), "{:?}", found.notes);
        let history = captures(&reader, vault, &object("secret/a")).await.unwrap();
        assert_eq!(history.captures.iter().map(|capture| capture.snapshot).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(snapshots(&reader, vault).await.unwrap()[0].gaps, 2);
        assert_eq!(populated(&reader, vault, None).await.unwrap().live.len(), 2);
    }

    #[tokio::test]
    async fn what_the_policy_leaves_out_is_told_as_that() {
        let house = house().await;
        let new = object("secret/new");
        house
            .commit(|manifest| {
                let a = manifest.lines.iter_mut().find(|line| line.object() == object("secret/a")).unwrap();
                *a = Line { state: State::Excluded, capture: None, ..a.clone() };
                let line = Line { name: new.name.clone(), ..a.clone() };
                manifest.lines.push(line);
            })
            .await;
        let (reader, vault) = (house.reader().await, house.vault.uri());
        let listed = objects(&reader, vault, false).await.unwrap();
        assert_eq!(listed.iter().filter(|listed| listed.state == Standing::Excluded).count(), 2);
        let all = populated(&reader, vault, None).await.unwrap();
        assert_eq!((all.live.len(), all.excluded.len()), (1, 2));
        // What earlier snapshots have is still there, and it is told why later ones have it not.
        assert!(captures(&reader, vault, &object("secret/a")).await.unwrap().excluded);
        assert!(!captures(&reader, vault, &object("certificate/tls")).await.unwrap().excluded);
        let found = searched(&reader, vault, &[object("secret/a")]).await;
        assert_eq!(found.found[0].as_ref().unwrap().snapshot, 3);
        assert!(found.notes.iter().any(|note| note.contains("policy leaves out")), "{:?}", found.notes);
        for error in [
            captures(&reader, vault, &new).await.unwrap_err(),
            find(&reader, vault, std::slice::from_ref(&new), None).await.err().unwrap(),
            find(&reader, vault, &[object("secret/a")], Some(4)).await.err().unwrap(),
        ] {
            assert!(error.message().ends_with("its policy leaves the object out"), "{error}");
        }
        let snapshot = snapshots(&reader, vault).await.unwrap().remove(0);
        assert_eq!((snapshot.seen, snapshot.excluded), (1, 2));
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(some_of(&[1, 2, 3]), "1, 2, 3");
        assert_eq!(some_of(&[7; 12]), "7, 7, 7, 7, 7, 7, 7, 7, 7, 7 and 2 more");
    }

    #[tokio::test]
    async fn an_archive_without_a_log_says_so() {
        let house = House::new(&[]).await;
        house.clock.advance(Duration::from_secs(1));
        let (reader, vault) = (house.reader().await, house.vault.uri());
        assert_eq!(vaults(&reader, &[]).await.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(vaults(&reader, std::slice::from_ref(vault)).await.unwrap().as_slice(), std::slice::from_ref(vault));
        assert_eq!(objects(&reader, vault, true).await.unwrap_err().kind(), Kind::NotFound);
    }
}
