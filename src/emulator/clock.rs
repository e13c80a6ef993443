//! The emulator's time and chance: the only place in the emulator that asks the system for the time, sleeps, or rolls
//! dice (keys roll their own). Everything else is handed a moment or bytes. Knows nothing of services.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::{Builder, Uuid};

/// The system's clock plus an offset that the control API moves forward.
#[derive(Debug, Default)]
pub(super) struct Clock {
    offset_ms: AtomicI64,
}

/// The offset never exceeds 1,000 years, so that adding it to a date cannot overflow.
const MAX_OFFSET_MS: i64 = 1_000 * 365 * 86_400_000;

impl Clock {
    /// A clock that is `offset_ms` milliseconds ahead of the system's.
    pub(super) fn new(offset_ms: i64) -> Self {
        Clock { offset_ms: AtomicI64::new(offset_ms.clamp(0, MAX_OFFSET_MS)) }
    }

    /// The emulator's time now.
    pub(super) fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::milliseconds(self.offset_ms())
    }

    /// Moves the clock forward for good. It stops at 1,000 years ahead.
    pub(super) fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(MAX_OFFSET_MS);
        let moved = |offset: i64| offset.saturating_add(by).min(MAX_OFFSET_MS);
        // Two advances at once must add up, so the new value is computed from what is really there.
        self.offset_ms.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |offset| Some(moved(offset))).ok();
    }

    /// How many milliseconds the clock is ahead of the system's.
    pub(super) fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::SeqCst)
    }
}

/// Waits `duration` of real time: latency is felt by the client, whatever the emulator's clock shows.
pub(super) async fn sleep(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

/// Fills `bytes` from the operating system's generator.
pub(super) fn fill(bytes: &mut [u8]) {
    // Seeded by the operating system, it does not fail once it has started; without it no key may be made.
    if aws_lc_rs::rand::fill(bytes).is_err() {
        std::process::abort();
    }
}

/// A new random (version 4) UUID.
pub(super) fn uuid() -> Uuid {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    Builder::from_random_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advances_add_up_and_never_overflow() {
        let clock = Clock::new(5_000);
        clock.advance(Duration::from_secs(10));
        assert_eq!(clock.offset_ms(), 15_000);
        clock.advance(Duration::MAX);
        assert_eq!(clock.offset_ms(), MAX_OFFSET_MS);
        clock.now();
    }
}
