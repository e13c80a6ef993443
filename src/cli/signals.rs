//! SIGINT and SIGTERM, for commands that can stop early and commit what is done. All other commands die of them at once,
//! as programs do.

use tokio::signal::unix::{SignalKind, signal};

use crate::error::Kind;
use crate::progress::{Halt, Stop};

/// Asked by the first signal; looked at by jobs between steps.
static STOP: Stop = Stop::new();

/// Listens from now on, and returns what the signals ask.
pub(crate) fn listen() -> &'static Stop {
    tokio::spawn(async {
        let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
        let mut signalled = false;
        loop {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
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
