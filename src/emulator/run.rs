//! Starts and stops an emulator: in this process for tests and the demonstration, or as a command of its own. Wires the
//! parts together; decides nothing about Azure.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::azure::{Azure, changed};
use super::blob::Blobs;
use super::clock::{self, Clock};
use super::control;
use super::faults::Rule;
use super::identity::Identity;
use super::journal::Logged;
use super::proxy::{Proxy, accept};
use super::seed::{Limits, Seed};
use super::state::{self, StateDirectory};
use super::tls::Authority;
use super::vault::Vaults;
use crate::error::{Context, Error, Kind, Result};

/// How to start.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A directory that keeps everything from one run to the next. Without it the emulator forgets.
    pub state: Option<PathBuf>,
    /// Where to put `ca.pem`. Default: the state directory, or else a directory of its own that goes when it stops.
    pub ca_directory: Option<PathBuf>,
}

/// What a client needs to know. No `Debug`: it holds secrets, if of an emulated tenant.
#[derive(Clone, Serialize)]
pub struct Ready {
    /// URL for `HTTPS_PROXY`.
    pub proxy: String,
    /// The authority that a client must trust, PEM; an absolute path.
    pub ca_file: PathBuf,
    /// URL of the control interface.
    pub control: String,
    /// The tenant.
    pub tenant_id: String,
    /// Application id of the identity that may do everything.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// The seed's principals, by name.
    pub principals: BTreeMap<String, Credential>,
}

/// What a principal signs in with.
#[derive(Clone, Serialize)]
pub struct Credential {
    /// Application id.
    pub client_id: String,
    /// Secret.
    pub client_secret: String,
}

/// A running emulator. It has threads of its own and runs whatever the caller's threads do. Dropping stops it.
pub struct Emulator {
    ready: Ready,
    azure: Arc<Azure>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// The services of a new or an old state.
struct Parts {
    identity: Identity,
    clock: Clock,
    vaults: Vaults,
    blobs: Blobs,
}

impl Parts {
    fn new(seed: &Seed) -> Result<Self> {
        let clock = Clock::default();
        let now = clock.now();
        Ok(Parts {
            identity: Identity::generate(&seed.principals)?,
            vaults: Vaults::new(&seed.vaults, now, Box::new(clock::fill)).map_err(Error::usage).context("seed")?,
            blobs: Blobs::new(&seed.accounts, now).map_err(Error::usage).context("seed")?,
            clock,
        })
    }

    fn restore(saved: state::Saved) -> Result<Self> {
        Ok(Parts {
            clock: Clock::new(saved.clock_offset_ms),
            vaults: Vaults::load(&saved.vaults, Box::new(clock::fill))
                .map_err(Error::usage)
                .context("the stored vaults")?,
            blobs: Blobs::load(&saved.blobs).map_err(Error::usage).context("the stored storage accounts")?,
            identity: saved.identity,
        })
    }
}

/// Saves what has changed.
struct Saver {
    directory: StateDirectory,
    identity: Identity,
    azure: Arc<Azure>,
}

impl Saver {
    fn save(&self) -> Result<()> {
        let parts = self.azure.take_changed();
        if parts & changed::VAULTS != 0 {
            self.directory.save_vaults(&self.azure.save_vaults())?;
        }
        if parts & changed::BLOBS != 0 {
            self.directory.save_blobs(&self.azure.save_blobs())?;
        }
        if parts & changed::CLOCK != 0 {
            self.directory.save_main(&self.identity, self.azure.clock.offset_ms())?;
        }
        Ok(())
    }

    /// Saves once a second, until the emulator stops.
    async fn keep_saving(self: Arc<Self>) {
        loop {
            clock::sleep(Duration::from_secs(1)).await;
            if let Err(error) = tokio::task::block_in_place(|| self.save()) {
                // Whatever is lost is saved by the next attempt, or reported by the last.
                self.azure.note(u8::MAX);
                tracing::warn!(%error, "couldn't save the emulator's state");
            }
        }
    }
}

/// A listener on a free port of the loopback interface, and its URL.
fn listen() -> Result<(TcpListener, String)> {
    let open = || -> std::io::Result<(TcpListener, String)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        Ok((listener, url))
    };
    open().map_err(|error| Error::new(Kind::Unavailable, format!("couldn't listen on 127.0.0.1: {error}")))
}

impl Emulator {
    /// Starts an emulator. Making the seed's RSA keys may take seconds.
    ///
    /// An old state directory outranks the seed: of that, only the limits are applied.
    ///
    /// # Errors
    /// [`Kind::Usage`] if seed or state are unusable, [`Kind::Conflict`] if another emulator uses the state directory,
    /// [`Kind::Unavailable`] if the system refuses a file, a port or a thread.
    pub fn start(seed: Seed, options: Options) -> Result<Emulator> {
        let (directory, saved) = match &options.state {
            None => (None, None),
            Some(path) => {
                let (directory, saved) = StateDirectory::open(path)?;
                (Some(directory), saved)
            }
        };
        let Parts { identity, clock, vaults, blobs } = match saved {
            None => Parts::new(&seed)?,
            Some(saved) => Parts::restore(saved)?,
        };
        let azure = Arc::new(Azure::new(clock, &identity, vaults, blobs, seed.limits)?);
        let authority = Arc::new(Authority::new(&identity.ca_certificate, &identity.ca_key)?);
        let (proxy, proxy_url) = listen()?;
        let (control, control_url) = listen()?;
        let (ca_file, scratch) = publish(&identity, &options, directory.as_ref())?;
        let ready = ready(&identity, proxy_url, control_url, ca_file)?;
        let saver = directory.map(|directory| Arc::new(Saver { directory, identity, azure: azure.clone() }));
        if let Some(saver) = &saver {
            saver.save()?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("emulator")
            .enable_all()
            .build()
            .map_err(|error| Error::new(Kind::Unavailable, format!("couldn't start a thread: {error}")))?;
        let server = Server { azure: azure.clone(), authority, proxy, control, saver, scratch };
        let thread = std::thread::Builder::new()
            .name("emulator".into())
            .spawn(move || server.run(runtime))
            .map_err(|error| Error::new(Kind::Unavailable, format!("couldn't start a thread: {error}")))?;
        Ok(Emulator { ready, azure, thread: Some(thread) })
    }

    /// What a client needs to know.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// The emulator's time.
    pub fn now(&self) -> DateTime<Utc> {
        self.azure.clock.now()
    }

    /// Moves the emulator's clock forward.
    pub fn advance(&self, by: Duration) {
        self.azure.advance(by);
    }

    /// Puts a fault in force; returns its id.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the rule asks for what HTTP cannot say.
    pub fn fault(&self, rule: Rule) -> Result<u64> {
        self.azure.fault(rule)
    }

    /// Drops every fault; what stalled goes on.
    pub fn clear_faults(&self) {
        self.azure.clear_faults();
    }

    /// Every request so far, oldest first.
    pub fn requests(&self) -> Vec<Logged> {
        self.azure.requests(0)
    }

    /// Replaces the limits.
    pub fn set_limits(&self, limits: Limits) {
        self.azure.set_limits(limits);
    }

    /// Returns when something asked the emulator to stop.
    pub async fn stopped(&self) {
        self.azure.stopped().await;
    }

    /// Stops the emulator and saves its state. Open connections break.
    ///
    /// # Errors
    /// If the state cannot be saved.
    pub fn stop(mut self) -> Result<()> {
        self.finish()
    }

    fn finish(&mut self) -> Result<()> {
        self.azure.stop();
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(Error::internal("the emulator's thread died")),
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::warn!(%error, "couldn't stop the emulator cleanly");
        }
    }
}

/// Writes `ca.pem`; returns where it is, and the directory that was made for it alone.
fn publish(
    identity: &Identity,
    options: &Options,
    state: Option<&StateDirectory>,
) -> Result<(PathBuf, Option<PathBuf>)> {
    let given = options.ca_directory.as_deref().or(state.map(StateDirectory::path));
    let (directory, scratch) = match given {
        Some(directory) => (directory.to_owned(), None),
        None => {
            let scratch = std::env::temp_dir().join(format!("akv-emulator-{}", clock::uuid()));
            let made = DirBuilder::new().mode(0o700).create(&scratch);
            made.map_err(|e| Error::new(Kind::Unavailable, format!("couldn't make {}: {e}", scratch.display())))?;
            (scratch.clone(), Some(scratch))
        }
    };
    let file = directory.join("ca.pem");
    let file = std::path::absolute(&file).unwrap_or(file);
    state::replace(&file, identity.ca_certificate.as_bytes())?;
    Ok((file, scratch))
}

fn ready(identity: &Identity, proxy: String, control: String, ca_file: PathBuf) -> Result<Ready> {
    let Some((owner, principals)) = identity.applications.split_first() else {
        return Err(Error::usage("the stored identity has no application"));
    };
    let principals = principals.iter().map(|application| {
        let (client_id, client_secret) = (application.client_id.clone(), application.client_secret.clone());
        (application.name.clone(), Credential { client_id, client_secret })
    });
    Ok(Ready {
        proxy,
        ca_file,
        control,
        tenant_id: identity.tenant_id.clone(),
        client_id: owner.client_id.clone(),
        client_secret: owner.client_secret.clone(),
        principals: principals.collect(),
    })
}

/// What the emulator's thread works with.
struct Server {
    azure: Arc<Azure>,
    authority: Arc<Authority>,
    proxy: TcpListener,
    control: TcpListener,
    saver: Option<Arc<Saver>>,
    scratch: Option<PathBuf>,
}

impl Server {
    /// Serves until told to stop, then saves.
    fn run(self, runtime: Runtime) -> Result<()> {
        let Server { azure, authority, proxy, control, saver, scratch } = self;
        let served = runtime.block_on(async {
            let (proxy, control) =
                (tokio::net::TcpListener::from_std(proxy)?, tokio::net::TcpListener::from_std(control)?);
            let door = Proxy { azure: azure.clone(), authority };
            tokio::spawn(accept(proxy, move |stream| door.clone().serve(stream)));
            let controlled = azure.clone();
            tokio::spawn(accept(control, move |stream| control::serve(controlled.clone(), stream)));
            if let Some(saver) = &saver {
                tokio::spawn(saver.clone().keep_saving());
            }
            azure.stopped().await;
            std::io::Result::Ok(())
        });
        // Every exchange ends here, so that what is saved next is what clients were told.
        runtime.shutdown_timeout(Duration::from_secs(10));
        if let Some(scratch) = scratch {
            fs::remove_dir_all(scratch).ok();
        }
        served.map_err(|error| Error::new(Kind::Unavailable, format!("couldn't serve: {error}")))?;
        saver.map_or(Ok(()), |saver| saver.save())
    }
}

/// Runs an emulator until ctrl-c, SIGTERM or `POST /shutdown`. `announce` is told when it is ready, after the ready file
/// is written; of an older run there is none by then.
///
/// # Errors
/// As [`Emulator::start`] and [`Emulator::stop`], and if the seed file cannot be read or the ready file not written.
pub async fn run(
    seed_file: &Path,
    state: Option<PathBuf>,
    ready_file: Option<&Path>,
    announce: impl FnOnce(&Ready),
) -> Result<()> {
    let text = fs::read_to_string(seed_file)
        .map_err(|error| Error::usage(format!("couldn't read the seed file {}: {error}", seed_file.display())))?;
    let seed = Seed::parse(&text).context(seed_file.display())?;
    if let Some(ready_file) = ready_file {
        // Whoever waits for the file must not find that of an older run.
        fs::remove_file(ready_file).ok();
    }
    let unavailable = |error: std::io::Error| Error::new(Kind::Unavailable, format!("couldn't watch signals: {error}"));
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt()).map_err(unavailable)?, signal(SignalKind::terminate()).map_err(unavailable)?);
    let emulator = blocking(move || Emulator::start(seed, Options { state, ca_directory: None })).await?;
    if let Some(ready_file) = ready_file {
        let document = serde_json::to_vec_pretty(emulator.ready())
            .map_err(|error| Error::internal(format!("couldn't write the ready file: {error}")))?;
        state::replace(ready_file, &document)?;
    }
    announce(emulator.ready());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = emulator.stopped() => {}
    }
    blocking(move || emulator.stop()).await
}

/// Runs what takes long off the caller's runtime threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::internal("the emulator's thread died")),
    }
}
