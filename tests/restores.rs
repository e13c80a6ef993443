//! The decision table of docs/RESTORE.md against the emulator, whose deletes, recovers and purges take their time: every
//! row twice in a row, and once more for each of its writes, *lost* and *landed*. In the end the object is there as it was
//! captured, and was restored no more than once.

use std::sync::Arc;
use std::time::Duration;

use akv_archiver::archive::{Appender, Reader};
use akv_archiver::emulator::faults::{Action as Strike, Rule, When};
use akv_archiver::error::Error;
use akv_archiver::format::archive::key_name;
use akv_archiver::format::entry::{Became, Change, Event, IntentStep, RestoreIntent};
use akv_archiver::jobs::init;
use akv_archiver::jobs::protection::Demand;
use akv_archiver::jobs::restore::{self, Request};
use akv_archiver::jobs::snapshot::{Doors, snapshot};
use akv_archiver::model::{Atlas, Mode, Object, VaultUri};
use akv_archiver::progress::{Silent, Stop};
use akv_archiver::restore::{Action, Allowed, Applied, Plan, Refusal};
use akv_archiver::seal::{Identities, NoPrompt, Recipients, generate};
use akv_archiver::store::Worm;
use akv_archiver::store::memory::Memory as Store;
use akv_archiver::tlog::{Signer, Verifier};
use akv_archiver::vault::Facts;
use chrono::DateTime;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::order::order;
use crate::support::stage::Stage;
use crate::support::world::Stranger;

/// `prod` is archived. `open` may be purged and `locked` may not, `spare` is elsewhere in Europe, `plain` has no HSM, the others are too far.
const SEED: &str = r#"
limits = { limbo = "real" }

[[vault]]
name = "prod"
subscription = "11111111-1111-1111-1111-111111111111"
location = "westeurope"
sku = "premium"
purge_protection = true
objects = [
  { kind = "key", type = "EC-HSM", name = "hsm" },
  { kind = "key", type = "EC", name = "signing", versions = 2 },
  { kind = "secret", name = "app" },
  { kind = "certificate", name = "tls" },
]

[[vault]]
name = "open"
subscription = "11111111-1111-1111-1111-111111111111"
location = "westeurope"
sku = "premium"

[[vault]]
name = "locked"
subscription = "11111111-1111-1111-1111-111111111111"
location = "westeurope"
sku = "premium"
purge_protection = true

[[vault]]
name = "spare"
subscription = "11111111-1111-1111-1111-111111111111"
location = "northeurope"
sku = "premium"

[[vault]]
name = "plain"
subscription = "11111111-1111-1111-1111-111111111111"
location = "northeurope"
sku = "standard"

[[vault]]
name = "faraway"
subscription = "11111111-1111-1111-1111-111111111111"
location = "eastus"
sku = "premium"

[[vault]]
name = "foreign"
subscription = "22222222-2222-2222-2222-222222222222"
location = "westeurope"
sku = "premium"
"#;

/// Longer than anything stays in transition.
const SETTLED: Duration = Duration::from_secs(15 * 60);

/// An emulated Azure with an archive of `prod` beside it.
struct Table {
    runtime: Arc<Runtime>,
    stage: Stage,
    stranger: Stranger,
    store: Store,
    signer: Signer,
    verifiers: Vec<Verifier>,
    recipients: Arc<Recipients>,
    identities: Arc<Identities>,
}

fn uri(name: &str) -> VaultUri {
    VaultUri::parse(&format!("https://{name}.vault.azure.net")).unwrap()
}

impl Table {
    /// With a snapshot of `prod`.
    fn new() -> Table {
        let runtime =
            Arc::new(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
        let stage = Stage::start(SEED);
        let stranger = Stranger::of(&stage.emulator, runtime.clone());
        let store = Store::protected(stage.clock.clone(), Worm::VersionLevel, Mode::Locked, 365);
        let (archive, _) = runtime.block_on(init::create_archive(&store, Demand::Required, &stage.ambient)).unwrap();
        let signer = Signer::from_seed(&key_name(archive.archive_id), &[3; 32]).unwrap();
        let identity = generate(DateTime::UNIX_EPOCH);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("identity");
        std::fs::write(&file, identity.file.as_bytes()).unwrap();
        let table = Table {
            verifiers: vec![signer.verifier()],
            recipients: Arc::new(Recipients::parse(&[&identity.recipient]).unwrap()),
            identities: Arc::new(Identities::from_files(&[file], Arc::new(NoPrompt)).unwrap()),
            runtime,
            stage,
            stranger,
            store,
            signer,
        };
        table.snapshot();
        table
    }

    fn snapshot(&self) {
        self.settle();
        let report = self.runtime.block_on(async {
            let reader = Reader::open(&self.store, &self.verifiers).await?;
            let vault = self.stage.connection.vault(&uri("prod"))?;
            let arm = self.stage.connection.arm()?;
            let doors = Doors {
                vault: &vault,
                facts: Some(&arm as &dyn Facts),
                store: &self.store,
                reader: &reader,
                recipients: &self.recipients,
                signer: &self.signer,
                ambient: &self.stage.ambient,
                progress: &Silent,
                stop: &Stop::new(),
            };
            snapshot(&doors, &order()).await
        });
        assert_eq!(report.unwrap().objects.gaps, 0);
    }

    fn settle(&self) {
        self.stage.emulator.advance(SETTLED);
    }

    /// Somebody else's request to a vault. It must succeed.
    fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let (host, rest) = path.split_once('/').unwrap();
        let (status, answer) = self.stranger.vault(method, &format!("{host}.vault.azure.net/{rest}"), body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer:#}");
        answer
    }

    fn delete(&self, path: &str) {
        self.ask("DELETE", path, "");
        self.settle();
    }

    fn plan(&self, row: &Row) -> Plan {
        let plan: Result<Plan, Error> = self.runtime.block_on(async {
            let reader = Reader::open(&self.store, &self.verifiers).await?;
            let target = self.stage.connection.vault(&uri(row.target))?;
            let arm = self.stage.connection.arm()?;
            let eyes = restore::Eyes {
                reader: Some(&reader),
                identities: &self.identities,
                source: uri("prod"),
                target: &target,
                facts: Some(&arm as &dyn Facts),
                others: &[],
                atlas: Atlas::default(),
                ambient: &self.stage.ambient,
                progress: &Silent,
            };
            let objects: Vec<Object> = row.objects.iter().map(|text| Object::parse(text).unwrap()).collect();
            let request = Request { allowed: (row.allowed)(), ..Request::of(&objects) };
            restore::make_plan(&eyes, &request).await
        });
        plan.unwrap_or_else(|error| panic!("{}: {error}", row.name))
    }

    fn apply(&self, plan: &Plan, operator: &str) -> Result<Applied, Error> {
        self.runtime.block_on(async {
            let reader = Reader::open(&self.store, &self.verifiers).await?;
            let vault = self.stage.connection.vault(&plan.target)?;
            let hands = restore::Hands {
                reader: Some(&reader),
                logbook: Some(restore::Logbook { store: &self.store, signer: &self.signer }),
                identities: &self.identities,
                vault: &vault,
                ambient: &self.stage.ambient,
                operator,
                progress: &Silent,
                stop: &Stop::new(),
                wait: Duration::from_secs(600),
                in_flight: 4,
            };
            restore::apply(&hands, plan).await
        })
    }

    /// Writes with a token that were sent to vaults since the log had `from` requests: method, path, status.
    fn writes(&self, from: usize) -> Vec<(String, String, Option<u16>)> {
        let all = self.stage.emulator.requests();
        let ours = all.iter().skip(from).filter(|request| {
            request.method != "GET" && request.host.ends_with(".vault.azure.net") && request.caller.is_some()
        });
        ours.map(|request| (request.method.clone(), request.path.clone(), request.status)).collect()
    }
}

/// One row of the table.
struct Row {
    name: &'static str,
    /// What happened after the snapshot.
    before: fn(&Table),
    objects: &'static [&'static str],
    target: &'static str,
    allowed: fn() -> Allowed,
    /// What is decided for each object.
    decided: Decided,
}

enum Decided {
    Refused(Refusal),
    Does(Action),
}

fn nothing_happens(_: &Table) {}

/// An older key of the same name is soft-deleted in `open`.
fn an_older_key_lies_there(table: &Table) {
    table.ask("POST", "open/keys/signing/create", r#"{"kty":"EC","crv":"P-256"}"#);
    table.delete("open/keys/signing");
    table.ask("POST", "prod/keys/signing/rotate", "");
    table.snapshot();
}

/// The only restore of the HSM key into `open` is spent, and its name is free again.
fn an_hsm_key_was_restored_and_purged(table: &Table) {
    let row = ROWS.iter().find(|row| row.name == "an HSM key into a premium vault").unwrap();
    let applied = table.apply(&table.plan(row), "ada").unwrap();
    assert_eq!(applied.status, "done", "{applied:#?}");
    table.delete("open/keys/hsm");
    table.delete("open/deletedkeys/hsm");
}

const ROWS: &[Row] = &[
    Row {
        name: "a free name",
        before: nothing_happens,
        objects: &["key/signing", "secret/app"],
        target: "spare",
        allowed: Allowed::default,
        decided: Decided::Does(Action::Restore),
    },
    Row {
        name: "three free names for a certificate",
        before: nothing_happens,
        objects: &["certificate/tls"],
        target: "spare",
        allowed: Allowed::default,
        decided: Decided::Does(Action::Restore),
    },
    Row {
        name: "an HSM key into a premium vault",
        before: nothing_happens,
        objects: &["key/hsm"],
        target: "open",
        allowed: Allowed::default,
        decided: Decided::Does(Action::Restore),
    },
    Row {
        name: "live and the same",
        before: nothing_happens,
        objects: &["key/signing", "secret/app", "certificate/tls"],
        target: "prod",
        allowed: Allowed::default,
        decided: Decided::Does(Action::Nothing),
    },
    Row {
        name: "live, and newer than the archive",
        before: |table| drop(table.ask("POST", "prod/keys/signing/rotate", "")),
        objects: &["key/signing"],
        target: "prod",
        allowed: Allowed::default,
        decided: Decided::Does(Action::Nothing),
    },
    Row {
        name: "live, and another one",
        before: |table| drop(table.ask("PUT", "spare/secrets/app", r#"{"value":"other"}"#)),
        objects: &["secret/app"],
        target: "spare",
        allowed: Allowed::default,
        decided: Decided::Refused(Refusal::LiveOther),
    },
    Row {
        name: "soft-deleted, as it was captured",
        before: |table| {
            table.delete("prod/keys/signing");
            table.delete("prod/secrets/app");
        },
        objects: &["key/signing", "secret/app"],
        target: "prod",
        allowed: Allowed::default,
        decided: Decided::Does(Action::Recover),
    },
    Row {
        name: "a soft-deleted certificate",
        before: |table| table.delete("prod/certificates/tls"),
        objects: &["certificate/tls"],
        target: "prod",
        allowed: Allowed::default,
        decided: Decided::Does(Action::Recover),
    },
    Row {
        name: "held by an older one",
        before: an_older_key_lies_there,
        objects: &["key/signing"],
        target: "open",
        allowed: Allowed::default,
        decided: Decided::Refused(Refusal::HeldPurgeable),
    },
    Row {
        name: "held by an older one that may be purged",
        before: an_older_key_lies_there,
        objects: &["key/signing"],
        target: "open",
        allowed: || Allowed { purge: true, ..Allowed::default() },
        decided: Decided::Does(Action::PurgeAndRestore),
    },
    Row {
        name: "held by an older one under purge protection",
        before: |table| {
            table.ask("POST", "locked/keys/signing/create", r#"{"kty":"EC","crv":"P-256"}"#);
            table.delete("locked/keys/signing");
            table.ask("POST", "prod/keys/signing/rotate", "");
            table.snapshot();
        },
        objects: &["key/signing"],
        target: "locked",
        allowed: || Allowed { purge: true, ..Allowed::default() },
        decided: Decided::Refused(Refusal::HeldProtected),
    },
    Row {
        name: "a certificate whose secret's name is taken",
        before: |table| drop(table.ask("PUT", "open/secrets/tls", r#"{"value":"other"}"#)),
        objects: &["certificate/tls"],
        target: "open",
        allowed: Allowed::default,
        decided: Decided::Refused(Refusal::PartTaken),
    },
    Row {
        name: "a name that a certificate owns",
        before: |table| {
            let policy = r#"{"policy":{"issuer":{"name":"Self"},"x509_props":{"subject":"CN=signing"}}}"#;
            table.ask("POST", "open/certificates/signing/create", policy);
            table.settle();
        },
        objects: &["key/signing"],
        target: "open",
        allowed: Allowed::default,
        decided: Decided::Refused(Refusal::OwnedByCertificate),
    },
    Row {
        name: "an HSM key that was restored there before",
        before: an_hsm_key_was_restored_and_purged,
        objects: &["key/hsm"],
        target: "open",
        allowed: Allowed::default,
        decided: Decided::Refused(Refusal::RestoredBefore),
    },
    Row {
        name: "an HSM key that was restored there before, and must be again",
        before: an_hsm_key_was_restored_and_purged,
        objects: &["key/hsm"],
        target: "open",
        allowed: || Allowed { single_restore_override: Some("the vault was rebuilt".into()), ..Allowed::default() },
        decided: Decided::Does(Action::Restore),
    },
    Row {
        name: "an HSM key into a standard vault",
        before: nothing_happens,
        objects: &["key/hsm"],
        target: "plain",
        allowed: Allowed::default,
        decided: Decided::Refused(Refusal::StandardVault),
    },
    Row {
        name: "a name on which somebody's intent is open",
        before: |table| {
            let intent = RestoreIntent {
                plan: uuid::Uuid::from_u128(9),
                target: uri("spare"),
                steps: vec![IntentStep {
                    object: Object::parse("key/signing").unwrap(),
                    action: Change::Restore,
                    snapshot: None,
                    capture: None,
                    hsm: false,
                }],
                operator: "ada".to_owned(),
                single_restore_override: None,
            };
            table.runtime.block_on(async {
                let reader = Reader::open(&table.store, &table.verifiers).await.unwrap();
                let prod = uri("prod");
                let appender = Appender::new(&table.store, &reader, &table.signer, &prod, &table.stage.ambient);
                appender.commit(|_, _| Ok(Event::RestoreIntent(intent.clone()))).await.unwrap();
            });
        },
        objects: &["key/signing"],
        target: "spare",
        allowed: Allowed::default,
        decided: Decided::Refused(Refusal::IntentOpen),
    },
    Row {
        name: "another geography",
        before: nothing_happens,
        objects: &["key/signing"],
        target: "faraway",
        allowed: Allowed::default,
        decided: Decided::Refused(Refusal::OtherGeography),
    },
    Row {
        name: "another subscription",
        before: nothing_happens,
        objects: &["key/signing"],
        target: "foreign",
        allowed: Allowed::default,
        decided: Decided::Refused(Refusal::OtherSubscription),
    },
];

/// A row with its accident behind it.
fn after_the_accident(row: &Row) -> Table {
    let table = Table::new();
    (row.before)(&table);
    table
}

/// Plans again and again until nothing is left to do. How often it took.
fn until_nothing_is_left(table: &Table, row: &Row) -> usize {
    for round in 0..4 {
        let plan = table.plan(row);
        if plan.steps.iter().all(|step| step.action == Action::Nothing) {
            return round;
        }
        table.apply(&plan, "ada").unwrap_or_else(|error| panic!("{}: {error}", row.name));
        table.settle();
    }
    panic!("{}: there is always something left: {:#?}", row.name, table.plan(row));
}

#[test]
fn every_row_is_decided_carried_out_and_then_done() {
    for row in ROWS {
        let table = after_the_accident(row);
        let sent = table.stage.emulator.requests().len();
        let plan = table.plan(row);
        assert_eq!(plan.steps.len(), row.objects.len(), "{}", row.name);
        assert_eq!(table.writes(sent), [], "{}: a plan writes nothing", row.name);
        for step in &plan.steps {
            match &row.decided {
                Decided::Refused(refusal) => {
                    assert_eq!(
                        (step.action, step.refusal),
                        (Action::Refused, Some(*refusal)),
                        "{}: {step:#?}",
                        row.name
                    );
                    assert!(!step.alternatives.is_empty(), "{}", row.name);
                }
                Decided::Does(action) => assert_eq!(step.action, *action, "{}: {step:#?}", row.name),
            }
        }
        let applied = table.apply(&plan, "ada").unwrap_or_else(|error| panic!("{}: {error}", row.name));
        let changes = plan.changes().count();
        match changes {
            0 => assert_eq!(table.writes(sent), [], "{}: nothing is to be done, and nothing is", row.name),
            _ => {
                assert_eq!(applied.status, "done", "{}: {applied:#?}", row.name);
                for step in &applied.steps {
                    assert_eq!((step.result, step.differences.len()), (Became::Done, 0), "{}: {step:#?}", row.name);
                }
                let sent = table.stage.emulator.requests().len();
                assert_eq!(until_nothing_is_left(&table, row), 0, "{}: the second time has nothing to do", row.name);
                assert_eq!(table.writes(sent), [], "{}", row.name);
            }
        }
    }
}

/// Carries out a row with one of its writes struck, and judges what is there in the end. Tells whether it was: how often a
/// name is asked for that is on its way depends on who is faster.
fn struck(row: &Row, method: &str, nth: u64, when: When) -> bool {
    let table = after_the_accident(row);
    let told = format!("{}: {method} number {nth} {when:?}", row.name);
    let sent = table.stage.emulator.requests().len();
    let caller = table.stage.emulator.requests().iter().find_map(|request| request.caller.clone()).unwrap();
    let rule = Rule::new(Strike::Reset(when)).host("*.vault.azure.net").method(method).caller(&caller).window(nth, 1);
    table.stage.emulator.fault(rule).unwrap();
    until_nothing_is_left(&table, row);
    table.stage.emulator.clear_faults();
    let landed =
        |(_, path, status): &&(String, String, Option<u16>)| path.ends_with("/restore") && *status == Some(200);
    let landed = table.writes(sent).iter().filter(landed).count();
    assert!(landed <= row.objects.len(), "{told}: {landed} restores landed: a name slot was spent twice");
    table.stage.emulator.requests().iter().any(|request| request.fault.is_some())
}

#[test]
fn every_write_may_be_lost_or_land_unheard() {
    let mut tried = 0;
    for row in ROWS.iter().filter(|row| matches!(row.decided, Decided::Does(action) if action.changes())) {
        let table = after_the_accident(row);
        let sent = table.stage.emulator.requests().len();
        until_nothing_is_left(&table, row);
        let writes = table.writes(sent);
        assert!(!writes.is_empty(), "{}", row.name);
        for method in ["POST", "DELETE", "PUT"] {
            let count = writes.iter().filter(|(of, _, _)| of == method).count();
            for nth in 0..count as u64 {
                for when in [When::Before, When::After] {
                    tried += usize::from(struck(row, method, nth, when));
                }
            }
        }
    }
    println!("{tried} writes were struck");
    assert!(tried >= 20, "{tried}");
}

#[test]
fn what_is_recovered_though_it_is_another_one_is_called_different() {
    let row = Row { allowed: || Allowed { recover_other: true, ..Allowed::default() }, ..held() };
    let table = after_the_accident(&row);
    let plan = table.plan(&row);
    assert_eq!(plan.steps[0].action, Action::Recover, "{plan:#?}");
    let applied = table.apply(&plan, "ada").unwrap();
    assert_eq!(applied.steps[0].result, Became::Different, "{applied:#?}");
    assert_eq!(table.plan(&row).steps[0].refusal, Some(Refusal::LiveOther));
}

/// The row of a key that is held by an older one.
fn held() -> Row {
    Row {
        name: "held by an older one, which is to be recovered",
        before: an_older_key_lies_there,
        objects: &["key/signing"],
        target: "open",
        allowed: Allowed::default,
        decided: Decided::Refused(Refusal::HeldPurgeable),
    }
}

#[test]
fn a_name_on_its_way_is_waited_for_or_refused_and_never_spent() {
    let row = ROWS.iter().find(|row| row.name == "soft-deleted, as it was captured").unwrap();
    let table = Table::new();
    table.ask("DELETE", "prod/keys/signing", "");
    table.ask("DELETE", "prod/secrets/app", "");
    // Deleted a moment ago: neither live nor among the deleted yet.
    let rounds = until_nothing_is_left(&table, row);
    assert!(rounds >= 1, "{rounds}");
}

#[test]
fn of_two_operators_one_wins_and_the_other_is_told_who_and_when() {
    let row = ROWS.iter().find(|row| row.name == "a free name").unwrap();
    let table = Table::new();
    let (first, second) = (table.plan(row), table.plan(row));
    assert_eq!(table.apply(&first, "ada").unwrap().status, "done");
    let told = table.apply(&second, "bob").unwrap_err();
    assert!(told.to_string().contains("is not as it was"), "{told}");
    let landed =
        table.writes(0).iter().filter(|(_, path, status)| path.ends_with("/restore") && *status == Some(200)).count();
    assert_eq!(landed, row.objects.len());
}
