//! The crash matrix of a rebuild: a vault's objects, rotation policies, issuers and contacts go into an empty vault, and that is
//! cut off at each request to the vault and to the store, in every way that a request can fail. What comes after is what an
//! operator does who has the log and the plan file, and no memory of the first run.

use std::sync::Arc;
use std::time::Duration;

use akv_archiver::archive::Reader;
use akv_archiver::error::{Error, Kind};
use akv_archiver::format::entry::Event;
use akv_archiver::jobs::restore::settings;
use akv_archiver::model::{Geography, Place, SoftDelete, VaultFacts, VaultUri};
use akv_archiver::restore::settings::SettingResult;
use akv_archiver::restore::{Action, Applied, Plan};
use akv_archiver::store::memory::Memory as Store;
use akv_archiver::vault::memory::Memory as Vault;
use akv_archiver::vault::{Item, Read as _, Setting, Write as _};
use serde_json::value::RawValue;

use crate::support::faulty::{After, Course, Faulty, FaultyVault};
use crate::support::house::{House, house, object};

const OBJECTS: [&str; 3] = ["certificate/tls", "key/turning", "secret/s"];
const ISSUERS: [&str; 2] = ["acme", "own"];

const ROTATION: &str = r#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P90D"},"action":{"type":"Rotate"}}]}"#;

/// A vault with issuers, contacts and a key that rotates, archived; an empty one of the same place; and the plan.
async fn rebuild() -> (House, Store, Vault, Plan) {
    let (house, store) = house(&OBJECTS).await;
    house.vault.set_facts(VaultFacts {
        resource_id: "/subscriptions/1/resourceGroups/g/providers/Microsoft.KeyVault/vaults/prod".into(),
        place: Place {
            subscription: "1".into(),
            location: "westeurope".into(),
            geography: Some(Geography("Europe".into())),
        },
        sku: "premium".into(),
        soft_delete: SoftDelete { enabled: true, retention_days: 90, purge_protection: false },
        rbac: true,
    });
    ISSUERS.iter().for_each(|name| house.vault.put_issuer(name, "Test"));
    house.vault.set_contacts(&["ops@a.example", "ops@b.example"]);
    let policy = RawValue::from_string(ROTATION.to_owned()).unwrap();
    house.vault.write(Setting::RotationPolicy(&object("key/turning").name, &policy)).await.unwrap();
    house.snapshot(&store).await.unwrap();
    let spare = Vault::new(VaultUri::parse("https://spare.vault.azure.net").unwrap(), house.clock.clone());
    let plan = planned(&house, &store, &spare).await;
    assert!(plan.changes().count() == OBJECTS.len() && plan.settings.is_some(), "{plan:#?}");
    (house, store, spare, plan)
}

/// As `restore plan --all --to spare --with-vault-settings` does.
async fn planned(house: &House, store: &Store, spare: &Vault) -> Plan {
    let mut plan = house.plan_into(spare, store, &[]).await.unwrap();
    let reader = Reader::open(store, &house.verifiers).await.unwrap();
    plan.settings = settings::rebuild(&reader, &house.identities, spare, &plan).await.unwrap().map(|it| it.from);
    plan
}

/// Carries the plan out through doors on a course; `None` where it was killed.
async fn apply(
    house: &House,
    store: &Store,
    spare: &Vault,
    plan: &Plan,
    course: &Arc<Course>,
) -> Option<Result<Applied, Error>> {
    let (vault, store) = (FaultyVault::new(spare, course), Faulty::new(store, course));
    course.run(house.applied_through(&vault, &store, plan)).await
}

/// Whether an intent is in the log: then resuming is what is left, else applying the same plan once more.
async fn begun(house: &House, store: &Store) -> bool {
    let reader = Reader::open(store, &house.verifiers).await.unwrap();
    let entries = reader.entries(house.vault.uri()).await.unwrap().verified;
    entries.iter().any(|entry| matches!(entry.event, Event::RestoreIntent(_)))
}

/// Whatever a cut left: finishes it, and demands that everything is there, the vault's settings too. `told` is whether the
/// first run said that something is left: only then is a second plan carried out.
async fn finish(house: &House, store: &Store, spare: &Vault, plan: &Plan, told: bool, cut: &str) {
    house.judge(store, cut).await;
    house.clock.advance(Duration::from_secs(60));
    match begun(house, store).await {
        true => assert!(house.resume_through(spare, store).await.unwrap(), "{cut}"),
        false => drop(house.applied_through(spare, store, plan).await.unwrap_or_else(|e| panic!("{cut}: {e}"))),
    }
    house.judge(store, cut).await;
    let mut again = planned(house, store, spare).await;
    if told {
        house.applied_through(spare, store, &again).await.unwrap_or_else(|error| panic!("{cut}: {error}"));
        again = planned(house, store, spare).await;
    }
    assert!(again.steps.iter().all(|step| step.action == Action::Nothing), "{cut}: {again:#?}");
    for name in ISSUERS {
        spare.get(Item::Issuer(name.into())).await.unwrap_or_else(|error| panic!("{cut}: {error}"));
    }
    let contacts = spare.get(Item::Contacts).await.unwrap_or_else(|error| panic!("{cut}: {error}"));
    assert!(contacts.body.get().contains("ops@b.example"), "{cut}");
    let policy = spare.get(Item::RotationPolicy(object("key/turning").name)).await.unwrap().body;
    assert!(policy.get().contains("P90D"), "{cut}: {policy}");
    // What was there already stays, and there is nothing left to write.
    let applied = house.applied_through(spare, store, &again).await.unwrap();
    let same = applied.vault_settings.iter().all(|it| it.result == SettingResult::Same);
    assert!(same && applied.vault_settings.len() == 3 && applied.status == "nothing", "{cut}: {applied:#?}");
}

#[tokio::test]
async fn a_rebuild_is_cut_off_at_any_request() {
    let (house, store, spare, plan) = rebuild().await;
    let course = Course::new(None);
    let applied = apply(&house, &store, &spare, &plan, &course).await.unwrap().unwrap();
    assert!(applied.status == "done" && applied.vault_settings.len() == 3, "{applied:#?}");
    finish(&house, &store, &spare, &plan, false, "undisturbed").await;
    let cuts = course.cuts();
    println!("rebuild with the vault's settings: {} requests, {} points", course.requests(), cuts.len());
    let mut tells = 0;
    for cut in cuts {
        let (house, store, spare, plan) = rebuild().await;
        let course = Course::new(Some(cut));
        let (cut, after) = (format!("{cut:?}"), cut.after);
        let told = match apply(&house, &store, &spare, &plan, &course).await {
            None => after != After::Silence,
            Some(Ok(applied)) => {
                let failed = applied.vault_settings.iter().any(|it| it.result == SettingResult::Failed);
                failed || applied.status != "done"
            }
            Some(Err(error)) if error.kind() == Kind::Unavailable => false,
            Some(Err(error)) => panic!("{cut}: {error}"),
        };
        assert!(!told || after == After::Well, "{cut}");
        tells += u32::from(told);
        finish(&house, &store, &spare, &plan, told, &cut).await;
    }
    println!("{tells} of them ended, and told what was left");
}
