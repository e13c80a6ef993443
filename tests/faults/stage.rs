//! What the tables are run on: an emulated Azure, a clock that never waits, and a judge.

use crate::support::order::order;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use akv_archiver::ambient::{Ambient, Clock, SeededRandom};
use akv_archiver::archive::Reader;
use akv_archiver::azure::{Cloud, Connection, CredentialConfig, Network};
use akv_archiver::emulator::faults::Rule;
use akv_archiver::emulator::seed::Seed;
use akv_archiver::emulator::{Emulator, Options};
use akv_archiver::error::Error;
use akv_archiver::format::archive::key_name;
use akv_archiver::jobs::init;
use akv_archiver::jobs::protection::Demand;
use akv_archiver::jobs::snapshot::{Doors, Objects, Outcome, Report, snapshot};
use akv_archiver::model::{Mode, VaultUri};
use akv_archiver::progress::{Progress, Silent, Stop};
use akv_archiver::seal::{Recipients, generate};
use akv_archiver::store::memory::Memory;
use akv_archiver::store::{Append, Worm};
use akv_archiver::tlog::{Signer, Verifier};
use akv_archiver::vault::Facts;
use akv_archiver::verify::{Code, Severity, Standard, verify};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use url::Url;
use zeroize::Zeroizing;

use super::table::{Expect, Row, Watch};

const SUBSCRIPTION: &str = "11111111-1111-1111-1111-111111111111";
const ACCOUNT: &str = "archive.blob.core.windows.net";

/// How long an answer may be waited for: a stall must end while the test does not wait.
const SILENCE: Duration = Duration::from_secs(1);

/// A clock that shows Azure's time. Whoever sleeps moves it, and waits for nothing.
struct Follow(Arc<Emulator>);

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Follow")
    }
}

#[async_trait]
impl Clock for Follow {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.advance(duration);
        tokio::task::yield_now().await;
    }
}

/// Calls a [`Watch`] when the first object is done.
struct Watched<'a>(&'a Emulator, std::sync::Mutex<Option<Watch>>);

impl Progress for Watched<'_> {
    fn stage(&self, _: &str, _: Option<u64>) {}
    fn expect(&self, _: u64) {}
    fn step(&self) {
        if let Some(watch) = self.1.lock().unwrap().take() {
            watch(self.0);
        }
    }
    fn note(&self, _: &str) {}
}

static RECIPIENTS: LazyLock<Arc<Recipients>> =
    LazyLock::new(|| Arc::new(Recipients::parse(&[&generate(DateTime::UNIX_EPOCH).recipient]).unwrap()));

/// An emulated Azure with a vault and a container for each row.
pub(super) struct Stage {
    azure: Arc<Emulator>,
    ambient: Ambient,
    /// For whatever meets no fault.
    calm: Connection,
}

impl Stage {
    /// A stage whose vault number n holds what the nth text says, and that has as many containers.
    pub(super) fn new<'a>(vaults: impl IntoIterator<Item = &'a str>) -> Stage {
        let mut seed = String::new();
        let mut containers = String::new();
        for (n, objects) in vaults.into_iter().enumerate() {
            seed.push_str(&format!(
                "[[vault]]\nname = \"v{n:03}\"\nsubscription = \"{SUBSCRIPTION}\"\nlocation = \"westeurope\"\nobjects = [{objects}]\n"
            ));
            containers
                .push_str(&format!("{{ name = \"c{n:03}\", worm = \"version-level\", days = 365, locked = true }},\n"));
        }
        seed.push_str(&format!(
            "[[storage]]\naccount = \"archive\"\nsubscription = \"{SUBSCRIPTION}\"\nlocation = \"northeurope\"\ncontainers = [{containers}]\n"
        ));
        let azure = Arc::new(Emulator::start(Seed::parse(&seed).unwrap(), Options::default()).unwrap());
        // What a run sees is older than the second in which it looks.
        azure.advance(Duration::from_secs(10));
        let ambient = Ambient::new(Arc::new(Follow(azure.clone())), Arc::new(SeededRandom::new(5)));
        let calm = connect(&azure, &ambient);
        Stage { azure, ambient, calm }
    }

    /// A connection such as a run of the program has: new, without tokens.
    fn connection(&self) -> Connection {
        connect(&self.azure, &self.ambient)
    }

    /// Puts rules in force, with what the placeholders stand for.
    fn strike(&self, rules: &[Rule], vault: usize, name: &str) {
        for rule in rules {
            let text = serde_json::to_string(rule).unwrap();
            let text = text.replace("HOST", &host(vault)).replace("NAME", name);
            let text = text.replace("CONTAINER", &format!("c{vault:03}")).replace("VAULT", &format!("v{vault:03}"));
            self.azure.fault(serde_json::from_str(&text).unwrap()).unwrap();
        }
    }

    /// Runs each row on a vault and an archive of its own. `stored` puts the archive into a container.
    pub(super) async fn run(rows: &[Row], stored: bool) {
        let stage = Stage::new(rows.iter().map(|row| row.objects));
        let mut failed = Vec::new();
        for (n, row) in rows.iter().enumerate() {
            // One row's failure hides no other's.
            if AssertUnwindSafe(stage.row(n, row, stored)).catch_unwind().await.is_err() {
                failed.push(&row.what);
            }
            stage.azure.clear_faults();
        }
        assert!(failed.is_empty(), "{} of {} rows: {failed:#?}", failed.len(), rows.len());
        eprintln!("{} rows were tried", rows.len());
    }

    async fn row(&self, n: usize, row: &Row, stored: bool) {
        let house = House::new(self, n, stored).await;
        self.strike(&row.rules, n, "NAME");
        let seen = self.azure.requests().len();
        let outcome = house.snapshot(self, &self.connection(), row.watch).await;
        let struck = self.azure.requests().split_off(seen).iter().any(|request| request.fault.is_some());
        self.azure.clear_faults();
        let what = format!("{}: expected {:?}, found {outcome:#?}", row.what, row.expect);
        assert!(struck || row.rules.is_empty(), "no request met the fault: {what}");
        match (&row.expect, &outcome) {
            (Expect::Fails(kind), Err(error)) => {
                assert_eq!(error.kind(), *kind, "{what}");
                assert!(!house.committed(self).await, "{what}");
            }
            (Expect::Fails(_), Ok(_)) | (_, Err(_)) => panic!("{what}"),
            (expect, Ok(report)) => judge(report, expect, &what),
        }
        house.verify(self, &what).await;
        // The clock must leave the second behind in which a file was stored without anybody knowing.
        self.azure.advance(Duration::from_secs(2));
        let next =
            house.snapshot(self, &self.calm, None).await.unwrap_or_else(|error| panic!("afterwards: {error}; {what}"));
        assert_eq!((next.status, next.gaps.len()), (Outcome::Complete, 0), "afterwards: {next:#?}; {what}");
        assert_eq!(next.objects.seen, seen_of(row.objects), "afterwards: {next:#?}; {what}");
        house.verify(self, &what).await;
    }

    /// Runs all rows at once, on one object each of one vault: `objects` with the names `f-0000`, `f-0001` and so on.
    pub(super) async fn run_together(rows: &[Row], objects: &str) {
        let stage = Stage::new([objects]);
        let house = House::new(&stage, 0, false).await;
        for (n, row) in rows.iter().enumerate() {
            stage.strike(&row.rules, 0, &format!("f-{n:04}"));
        }
        let report = house.snapshot(&stage, &stage.connection(), None).await.unwrap();
        let struck = stage.azure.requests();
        stage.azure.clear_faults();
        let (mut gaps, mut failed) = (0, Vec::new());
        for (n, row) in rows.iter().enumerate() {
            let name = format!("/f-{n:04}");
            let hit = struck.iter().any(|request| request.fault.is_some() && request.path.contains(&name));
            let found: Vec<_> =
                report.gaps.iter().filter(|gap| gap.object.as_ref().unwrap().ends_with(&name)).collect();
            gaps += found.len() as u64;
            let right = match row.expect {
                Expect::Gap(code) => found.len() == 1 && found[0].code == code && found[0].detail.contains(&name[1..]),
                Expect::Again | Expect::Complete => found.is_empty(),
                _ => false,
            };
            if !(right && hit) {
                failed
                    .push(format!("{} (met the fault: {hit}): expected {:?}, found {found:#?}", row.what, row.expect));
            }
        }
        assert!(failed.is_empty(), "{} of {} rows: {}", failed.len(), rows.len(), failed.join("\n"));
        let Objects { seen, captured, reused, gaps: counted, .. } = report.objects;
        assert_eq!((seen, captured, reused, counted), (rows.len() as u64, seen - gaps, 0, gaps));
        assert_eq!(report.gaps.len() as u64, gaps, "{report:#?}");
        house.verify(&stage, "together").await;
        let next = house.snapshot(&stage, &stage.calm, None).await.unwrap();
        assert_eq!((next.status, next.objects.captured, next.objects.reused), (Outcome::Complete, gaps, seen - gaps));
        house.verify(&stage, "afterwards").await;
        eprintln!("{} rows were tried", rows.len());
    }
}

fn connect(azure: &Emulator, ambient: &Ambient) -> Connection {
    let ready = azure.ready();
    let network = Network {
        proxy: Some(Url::parse(&ready.proxy).unwrap()),
        ca_file: Some(ready.ca_file.clone()),
        silence: Some(SILENCE),
    };
    let credential = CredentialConfig::ClientSecret {
        tenant_id: ready.tenant_id.clone(),
        client_id: ready.client_id.clone(),
        secret: Zeroizing::new(ready.client_secret.clone()),
    };
    Connection::new(&network, Cloud::Public, &credential, ambient.clone()).unwrap()
}

fn host(n: usize) -> String {
    format!("v{n:03}.vault.azure.net")
}

/// How many live objects a seed's text makes.
fn seen_of(objects: &str) -> u64 {
    let lines = objects.lines().filter(|line| line.contains("kind"));
    lines.map(|line| line.split_once("count = ").map_or(1, |(_, n)| n[..2].trim().parse().unwrap())).sum()
}

/// Compares a report with what is expected. Nothing may be lost silently.
fn judge(report: &Report, expect: &Expect, what: &str) {
    let Objects { seen, captured, reused, gaps, .. } = report.objects;
    assert_eq!(seen, captured + reused + gaps, "{what}");
    let found: Vec<(Option<&str>, &str)> =
        report.gaps.iter().map(|gap| (gap.object.as_deref(), gap.code.as_str())).collect();
    match *expect {
        Expect::Again | Expect::Complete => {
            assert_eq!((found.len(), gaps, report.status), (0, 0, Outcome::Complete), "{what}");
        }
        Expect::Gap(code) => judge(report, &Expect::Gaps(code, 1), what),
        Expect::Gaps(code, count) => {
            // The vault's settings may meet the same fault; that is a gap of their own.
            let found: Vec<_> = found.iter().filter(|(_, code)| !code.starts_with("vault-")).collect();
            assert!(found.iter().all(|(object, found)| object.is_some() && *found == code), "{what}");
            assert_eq!((found.len() as u64, gaps, report.status), (count, count, Outcome::Partial), "{what}");
        }
        Expect::Blind(code, expected) => {
            assert!(!found.is_empty() && found.iter().all(|gap| *gap == (None, code)), "{what}");
            assert_eq!((seen, gaps, report.status), (expected, 0, Outcome::Partial), "{what}");
        }
        Expect::Aside(code) => {
            assert!(
                found.contains(&(None, code)) && found.iter().all(|(_, code)| code.starts_with("vault-")),
                "{what}"
            );
            assert_eq!((gaps, report.status), (0, Outcome::Complete), "{what}");
        }
        Expect::Fails(_) => panic!("{what}"),
    }
}

/// An archive and what a run into it needs.
struct House {
    vault: VaultUri,
    store: Option<Memory>,
    container: Url,
    signer: Signer,
    verifiers: Vec<Verifier>,
    arm_id: String,
}

impl House {
    async fn new(stage: &Stage, n: usize, stored: bool) -> House {
        let clock = stage.ambient.clock();
        let memory = (!stored).then(|| Memory::protected(clock, Worm::VersionLevel, Mode::Locked, 365));
        let mut house = House {
            vault: VaultUri::parse(&format!("https://{}", host(n))).unwrap(),
            store: memory,
            container: Url::parse(&format!("https://{ACCOUNT}/c{n:03}")).unwrap(),
            signer: Signer::from_seed("x", &[3; 32]).unwrap(),
            verifiers: Vec::new(),
            arm_id: format!(
                "/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-v{n:03}/providers/Microsoft.KeyVault/vaults/v{n:03}"
            ),
        };
        let container = house.open(&stage.calm);
        let (archive, _) = init::create_archive(house.of(&container), Demand::Required, &stage.ambient).await.unwrap();
        house.signer = Signer::from_seed(&key_name(archive.archive_id), &[3; 32]).unwrap();
        house.verifiers = vec![house.signer.verifier()];
        house
    }

    fn open(&self, connection: &Connection) -> Option<akv_archiver::azure::Container> {
        let account = format!(
            "/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-archive/providers/Microsoft.Storage/storageAccounts/archive"
        );
        let arm = Arc::new(connection.arm().unwrap().knowing(account));
        self.store.is_none().then(|| connection.container(&self.container, Some(arm)).unwrap())
    }

    fn of<'a>(&'a self, container: &'a Option<akv_archiver::azure::Container>) -> &'a dyn Append {
        match (&self.store, container) {
            (Some(memory), _) => memory,
            (None, Some(container)) => container,
            (None, None) => panic!("an archive is somewhere"),
        }
    }

    /// One run.
    async fn snapshot(&self, stage: &Stage, connection: &Connection, watch: Option<Watch>) -> Result<Report, Error> {
        let container = self.open(connection);
        let store = self.of(&container);
        let facts = connection.arm()?.knowing(&self.arm_id);
        let watched = Watched(&stage.azure, std::sync::Mutex::new(watch));
        let doors = Doors {
            vault: &connection.vault(&self.vault)?,
            facts: Some(&facts as &dyn Facts),
            store,
            reader: &Reader::open(store, &self.verifiers).await?,
            recipients: &RECIPIENTS,
            signer: &self.signer,
            ambient: &stage.ambient,
            progress: if watch.is_some() { &watched } else { &Silent },
            stop: &Stop::new(),
        };
        // One at a time: a clock that is moved by one who waits must not hurry another.
        let order = order();
        snapshot(&doors, &order).await
    }

    /// Whether there is a log entry.
    async fn committed(&self, stage: &Stage) -> bool {
        let container = self.open(&stage.calm);
        let reader = Reader::open(self.of(&container), &self.verifiers).await.unwrap();
        reader.head(&self.vault).await.unwrap().is_some()
    }

    /// Nothing that is worse than a note, except that something is not covered, or that there is no snapshot yet.
    async fn verify(&self, stage: &Stage, what: &str) {
        let standard = Standard {
            vaults: Vec::new(),
            verifiers: self.verifiers.clone(),
            worm: true,
            protection_min: TimeDelta::days(90),
            protection_min_of: std::collections::BTreeMap::new(),
            max_age: None,
            now: stage.ambient.now(),
        };
        let container = self.open(&stage.calm);
        let findings = verify(self.of(&container), &standard).await.unwrap().findings;
        let harmless = |code| matches!(code, Code::NoSnapshot | Code::CoverageGap);
        assert!(findings.iter().all(|f| f.severity == Severity::Note || harmless(f.code)), "{what}: {findings:#?}");
    }
}
