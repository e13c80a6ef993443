//! An emulated Azure whose clock is everybody's: whoever waits moves it, so that minutes pass in milliseconds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use akv_archiver::ambient::{Ambient, Clock, SeededRandom};
use akv_archiver::azure::{Cloud, Connection, CredentialConfig, Network};
use akv_archiver::emulator::seed::Seed;
use akv_archiver::emulator::{Emulator, Options};
use chrono::{DateTime, Utc};
use url::Url;
use zeroize::Zeroizing;

/// The emulator's clock. Whoever waits moves it for everybody.
struct Shared(Arc<Emulator>);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

#[async_trait::async_trait]
impl Clock for Shared {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }

    async fn sleep(&self, duration: Duration) {
        // The emulator's clock moves by whole milliseconds.
        self.0.advance(duration + Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
}

/// An emulator, and the archiver's own connection to it.
pub(crate) struct Stage {
    pub(crate) emulator: Arc<Emulator>,
    pub(crate) connection: Connection,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ambient: Ambient,
}

impl Stage {
    pub(crate) fn start(seed: &str) -> Self {
        let emulator = Arc::new(Emulator::start(Seed::parse(seed).unwrap(), Options::default()).unwrap());
        let ready = emulator.ready();
        let network = Network {
            proxy: Some(Url::parse(&ready.proxy).unwrap()),
            ca_file: Some(ready.ca_file.clone()),
            silence: None,
        };
        let credential = CredentialConfig::ClientSecret {
            tenant_id: ready.tenant_id.clone(),
            client_id: ready.client_id.clone(),
            secret: Zeroizing::new(ready.client_secret.clone()),
        };
        let clock: Arc<dyn Clock> = Arc::new(Shared(emulator.clone()));
        let ambient = Ambient::new(clock.clone(), Arc::new(SeededRandom::new(1)));
        let connection = Connection::new(&network, Cloud::Public, &credential, ambient.clone()).unwrap();
        Stage { emulator, connection, clock, ambient }
    }
}
