//! Planning, from archives that are damaged here and there, and from files.

use crate::error::Kind;
use crate::format::manifest::State;
use crate::jobs::fixture::House;
use crate::restore::{Action, Origin, Step};
use crate::store::{self, Read as _};
use crate::vault::memory::{Call, Moment};

fn snapshot_of(step: &Step) -> u64 {
    match &step.from {
        Origin::Archive { snapshot, .. } => *snapshot,
        Origin::File { .. } => 0,
    }
}

#[tokio::test]
async fn all_means_what_an_earlier_snapshot_has_where_the_newest_could_not_take_it() {
    let house = House::new(&["secret/a", "secret/b", "secret/c"]).await;
    house.snapshot().await.unwrap();
    for name in ["secret/a", "secret/b"] {
        house.vault.put(&crate::jobs::fixture::object(name));
    }
    house.vault.put(&crate::jobs::fixture::object("secret/d"));
    house.vault.interfere(|_, moment, call| match (moment, call) {
        (Moment::Before, Call::Backup(object)) if ["a", "d"].contains(&object.name.as_str()) => {
            Err(crate::vault::Error::new(crate::vault::Condition::Denied, "no"))
        }
        _ => Ok(()),
    });
    house.clock.advance(std::time::Duration::from_secs(60));
    house.snapshot().await.unwrap();
    let plan = house.plan(&[]).await.unwrap();
    let found: Vec<(String, u64)> =
        plan.steps.iter().map(|step| (step.object.to_string(), snapshot_of(step))).collect();
    assert_eq!(found, [("secret/a".to_owned(), 2), ("secret/b".to_owned(), 2), ("secret/c".to_owned(), 2)]);
    assert_eq!(plan.missing, ["secret/d"], "nothing has it, and that is told");
}

#[tokio::test]
async fn all_does_not_mean_what_the_policy_leaves_out_and_the_plan_says_so() {
    let house = House::new(&["secret/a", "secret/b"]).await;
    house.snapshot().await.unwrap();
    house
        .commit(|manifest| {
            manifest.lines[0].state = State::Excluded;
            manifest.lines[0].capture = None;
        })
        .await;
    let plan = house.plan(&[]).await.unwrap();
    assert_eq!(plan.steps.iter().map(|step| step.object.to_string()).collect::<Vec<_>>(), ["secret/b"]);
    assert!(plan.notes.iter().any(|note| note.ends_with("by name: secret/a")), "{:?}", plan.notes);
    assert_eq!(house.plan(&["secret/a"]).await.unwrap().steps.len(), 1, "an earlier snapshot has it");
}

#[tokio::test]
async fn a_plan_that_somebody_changed_is_not_carried_out() {
    let house = House::new(&["secret/a", "secret/b"]).await;
    house.snapshot().await.unwrap();
    house.wipe(&["secret/a", "secret/b"]);
    let mut plan = house.plan(&["secret/a", "secret/b"]).await.unwrap();
    assert!(plan.steps.iter().all(|step| step.action == Action::Restore));
    let Origin::Archive { capture: other, .. } = plan.steps[1].from.clone() else { panic!() };
    plan.steps[0].from = Origin::Archive { snapshot: snapshot_of(&plan.steps[0]), capture: other };
    house.vault.interfere(|_, _, call| match call {
        Call::Restore(_) => panic!("nothing may be sent"),
        _ => Ok(()),
    });
    assert_eq!(house.apply(&plan).await.unwrap_err().kind(), Kind::Tampered);
}

#[tokio::test]
async fn one_damaged_capture_keeps_none_of_the_others_from_coming_back() {
    let house = House::new(&["secret/a", "secret/b"]).await;
    house.snapshot().await.unwrap();
    assert!(house.store.corrupt(&house.files("captures/secret/a/").await[0], "junk"));
    let plan = house.plan(&[]).await.unwrap();
    assert_eq!(plan.steps.iter().map(|step| step.object.to_string()).collect::<Vec<_>>(), ["secret/b"]);
    assert_eq!(plan.missing, ["secret/a"]);
    assert!(plan.notes.iter().any(|note| note.starts_with("secret/a is left out: ")), "{:?}", plan.notes);
    assert_eq!(house.plan(&["secret/a"]).await.unwrap_err().kind(), Kind::Tampered, "asked for by name");
}

/// A store that tells how often each path was read.
struct Counting<'a>(&'a crate::store::memory::Memory, std::sync::Mutex<Vec<String>>);

#[async_trait::async_trait]
impl store::Read for Counting<'_> {
    fn describe(&self) -> String {
        self.0.describe()
    }
    async fn get(
        &self,
        path: &crate::model::StorePath,
        version: Option<&str>,
        limit: u64,
    ) -> Result<bytes::Bytes, store::Error> {
        self.1.lock().unwrap().push(path.to_string());
        self.0.get(path, version, limit).await
    }
    fn list<'a>(&'a self, prefix: &'a str) -> futures::stream::BoxStream<'a, Result<store::Listed, store::Error>> {
        self.0.list(prefix)
    }
    async fn guard(&self) -> Result<store::Guard, store::Error> {
        self.0.guard().await
    }
}

#[tokio::test]
async fn a_plan_for_many_reads_the_log_once_and_each_capture_once() {
    let names: Vec<String> = (0..40).map(|n| format!("secret/s-{n}")).collect();
    let house = House::new(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for _ in 0..3 {
        house.snapshot().await.unwrap();
    }
    let store = Counting(&house.store, Default::default());
    let reader = crate::archive::Reader::open(&store, &house.verifiers).await.unwrap();
    let eyes = house.eyes(Some(&reader));
    assert_eq!(
        crate::jobs::restore::make_plan(&eyes, &crate::jobs::restore::Request::of(&[])).await.unwrap().steps.len(),
        40
    );
    let read = store.1.into_inner().unwrap();
    let count = |part: &str| read.iter().filter(|path| path.contains(part)).count();
    assert_eq!((count("/log/"), count("/captures/")), (3, 40), "{read:#?}");
    assert!(count("/manifests/") <= 2, "{read:#?}");
}

/// Writes a capture from the archive into a folder, as somebody with a USB stick would.
async fn brought(house: &House, name: &str, folder: &std::path::Path) -> std::path::PathBuf {
    let path = house.files(&format!("captures/{name}/")).await.pop().unwrap();
    let path = crate::model::StorePath::parse(&path).unwrap();
    let file = folder.join(format!("{}.age", name.replace('/', "-")));
    std::fs::write(&file, house.store.get(&path, None, 1 << 20).await.unwrap()).unwrap();
    file
}

#[tokio::test]
async fn a_file_is_planned_with_and_the_archive_says_whether_it_names_it() {
    let house = House::new(&["key/k", "secret/a"]).await;
    house.snapshot().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (k, a) = (brought(&house, "key/k", folder.path()).await, brought(&house, "secret/a", folder.path()).await);
    house.wipe(&["key/k"]);
    let bring = |files: &[&std::path::PathBuf]| {
        let files: Vec<_> = files.iter().map(|&file| file.clone()).collect();
        crate::jobs::restore::bring(&house.identities, &files)
    };
    let plan = crate::jobs::restore::plan_files(&house.eyes(None), bring(&[&k, &a]).unwrap(), Default::default())
        .await
        .unwrap();
    assert_eq!(plan.steps.iter().map(|step| step.action).collect::<Vec<_>>(), [Action::Restore, Action::Nothing]);
    assert_eq!((plan.archive_id, plan.source.host()), (None, "prod.vault.azure.net"));
    let note = |plan: &crate::restore::Plan, part: &str| plan.notes.iter().any(|note| note.contains(part));
    assert!(note(&plan, "no archive vouches for the files of key/k, secret/a"), "{:?}", plan.notes);
    assert!(note(&plan, "no log will tell"), "{:?}", plan.notes);

    let reader = house.reader().await;
    let eyes = house.eyes(Some(&reader));
    let plan = crate::jobs::restore::plan_files(&eyes, bring(&[&k]).unwrap(), Default::default()).await.unwrap();
    assert!(note(&plan, "is in the archive: snapshot 1 ") && !note(&plan, "vouches"), "{:?}", plan.notes);
    assert_eq!(plan.archive_id, Some(reader.archive().archive_id), "its log will tell of the restore");
    // The same object sealed once more is another file, which the archive does not know.
    let capture = crate::jobs::restore::open_file(&house.identities, &k).unwrap().0;
    let forged = house.recipients.close(&crate::format::capture::pack(&capture).unwrap()).unwrap();
    std::fs::write(&a, forged).unwrap();
    let plan_of_forged =
        crate::jobs::restore::plan_files(&eyes, bring(&[&a]).unwrap(), Default::default()).await.unwrap();
    assert!(note(&plan_of_forged, "no archive vouches for the files of key/k"), "{:?}", plan_of_forged.notes);

    let step = &plan.steps[0];
    let fetch = |object: &crate::model::Object| {
        let object = object.clone();
        let (identities, source, from) = (&house.identities, &plan.source, &step.from);
        async move { crate::jobs::restore::fetch(None, identities, source, &object, from).await }
    };
    assert_eq!(fetch(&step.object).await.unwrap().metadata.object, step.object);
    let other = crate::jobs::fixture::object("key/other");
    assert_eq!(fetch(&other).await.unwrap_err().kind(), Kind::Tampered, "another object's");
    std::fs::copy(&a, &k).unwrap();
    let error = fetch(&step.object).await.unwrap_err();
    assert!(error.kind() == Kind::Tampered && error.message().contains("is not the file"), "{error}");
    assert_eq!(bring(&[&k, &a]).err().unwrap().kind(), Kind::Usage, "two captures of one object");
}
