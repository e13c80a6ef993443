//! The governor against the emulator's limits, which share no code with it. Time is the emulator's, and waiting moves it:
//! minutes of an archive run pass in seconds.

use std::sync::Arc;
use std::time::Duration;

use akv_archiver::ambient::Ambient;
use akv_archiver::azure::{Connection, Vault};
use akv_archiver::emulator::Emulator;
use akv_archiver::emulator::faults::{Action, Rule, Status};
use akv_archiver::emulator::seed::{Limits, Percent};
use akv_archiver::model::{Kind, Object, VaultUri};
use akv_archiver::vault::{Condition, Governor, Listing, Read as _, Subscription};
use futures::{StreamExt as _, TryStreamExt as _};

const SEED: &str = r#"
    [[vault]]
    name = "prod"
    subscription = "11111111-1111-1111-1111-111111111111"
    location = "westeurope"
    sku = "premium"
    objects = [
      { kind = "key", type = "EC-HSM", name = "signing", count = 60 },
      { kind = "secret", name = "app", count = 240 },
    ]
"#;

/// The vault that is asked, and how fast it may be.
struct Stage {
    emulator: Arc<Emulator>,
    connection: Connection,
    ambient: Ambient,
}

impl Stage {
    fn start(limits: Limits) -> Self {
        let stage = crate::support::stage::Stage::start(SEED);
        stage.emulator.set_limits(limits);
        Stage { emulator: stage.emulator, connection: stage.connection, ambient: stage.ambient }
    }

    fn vault(&self) -> Vault {
        self.connection.vault(&VaultUri::parse("https://prod.vault.azure.net").unwrap()).unwrap()
    }

    fn governed(&self, share: f64) -> Vault {
        let subscription = Subscription::new(share, self.ambient.clone());
        self.vault().gated(Governor::new(subscription, self.ambient.clone()))
    }
}

/// What the emulator enforces: 5 % of the documented limits, 200 in ten seconds.
fn five_percent() -> Limits {
    Limits { enforce: true, percent: Percent::try_from(5).unwrap(), ..Limits::default() }
}

/// Lists keys and secrets and backs all of them up, two at a time: while one waits, time passes for the others too, and
/// looks as if the vault were slow. How many could not be.
async fn run(vault: &Vault) -> usize {
    let mut objects = Vec::new();
    for kind in [Kind::Key, Kind::Secret] {
        let pages: Vec<_> = vault.list(Listing::Live(kind)).try_collect().await.unwrap();
        let names = pages.iter().flat_map(|page| &page.items).map(|item| {
            let item: serde_json::Value = serde_json::from_str(item.get()).unwrap();
            let id = item["kid"].as_str().or(item["id"].as_str()).unwrap();
            Object::parse(&format!("{}/{}", kind.name(), id.rsplit_once('/').unwrap().1)).unwrap()
        });
        objects.extend(names);
    }
    assert_eq!(objects.len(), 300);
    let lost = |object: Object| async move {
        match vault.backup(&object).await {
            Ok(_) => 0,
            Err(error) if error.condition == Condition::Throttled => 1,
            Err(error) => panic!("{object}: {error}"),
        }
    };
    futures::stream::iter(objects).map(lost).buffer_unordered(2).collect::<Vec<usize>>().await.iter().sum()
}

#[tokio::test]
async fn a_share_of_nine_tenths_is_never_refused_and_wastes_little() {
    let stage = Stage::start(five_percent());
    let bare = stage.vault();
    run(&bare).await;
    assert!(bare.traffic().throttled > 0, "without a governor the same work is too much");

    stage.emulator.advance(Duration::from_secs(60));
    let vault = stage.governed(0.9 * 0.05);
    let started = stage.emulator.now();
    assert_eq!(run(&vault).await, 0);
    let took = (stage.emulator.now() - started).as_seconds_f64();
    let traffic = vault.traffic();
    assert_eq!((traffic.throttled, traffic.retried), (0, 0), "{took} s for {traffic:?}");
    // A key in the HSM takes the place of two.
    let ideal = (traffic.requests + 60) as f64 / (0.9 * 20.0);
    assert!(took < 1.15 * ideal + 1.0, "{took} s, ideal {ideal} s");
}

#[tokio::test]
async fn a_vault_that_refuses_at_random_is_taken_whole() {
    let stage = Stage::start(Limits::default());
    let status =
        |code| Status { code, headers: [].into(), body: None, when: akv_archiver::emulator::faults::When::Before };
    for (after, count, code) in [(10, 3, 429), (60, 5, 503), (120, 3, 429), (150, 1, 500)] {
        let rule = Rule::new(Action::Status(status(code))).host("prod.*").path("/backup").window(after, count);
        stage.emulator.fault(rule).unwrap();
    }
    let vault = stage.governed(0.25);
    assert_eq!(run(&vault).await, 0);
    assert_eq!((vault.traffic().throttled, vault.traffic().retried), (6, 12));
}
