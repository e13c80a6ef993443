//! SIGINT and SIGTERM. Commands that can stop early commit what is done; all others end at once, and say so as they say any
//! other error: a process that dies of the signal itself leaves no document and, as the first of a container, may not die.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Kind;
use crate::progress::{Halt, Stop};

/// Asked by the first signal; looked at by jobs between steps.
static STOP: Stop = Stop::new();

/// Both signals, heard from when this was made.
pub(crate) struct Ears {
    interrupt: Signal,
    terminate: Signal,
}

impl Ears {
    /// Listens from now on. `None` where the system does not let us: then signals do what they always do.
    pub(crate) fn new() -> Option<Ears> {
        let terminate = signal(SignalKind::terminate()).ok()?;
        Some(Ears { interrupt: signal(SignalKind::interrupt()).ok()?, terminate })
    }

    /// Returns with the next signal.
    pub(crate) async fn hear(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Listens from now on, and returns what the signals ask.
pub(crate) fn listen() -> &'static Stop {
    let Some(mut ears) = Ears::new() else { return &STOP };
    tokio::spawn(async move {
        let mut signalled = false;
        loop {
            ears.hear().await;
            // Not `STOP.asked()`: a run whose time is over has been asked too, and not by anybody in a hurry.
            if signalled {
                // Asked twice: somebody is in a hurry. Nothing is lost; what was in flight is not committed.
                std::process::exit(i32::from(Kind::Interrupted.exit_code()));
            }
            signalled = true;
            STOP.ask(Halt::Signal);
        }
    });
    &STOP
}
