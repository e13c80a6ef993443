//! Calling an operation until it has an answer. The SDK's own retries are switched off: they send a body that was
//! taken away, believe any `Retry-After`, and turn a lost success into a conflict (`sdk.md` §0.1, §0.5, §0.6). Here each
//! try builds its request anew, waits are bounded, and what may have taken effect is not repeated unless that is sound.

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::Context;

use super::credential::Tokens;
use super::failure::{Cause, Failure, Tokenless, Unreached, settle};
use super::wire::{Answer, Meter, Trial};
use crate::ambient::Ambient;
use crate::vault::{Gate, Heard, Load, Outcome};

/// Tries in all. With the waits below: about a minute and a half.
const TRIES: u32 = 8;
/// Tries where only a typing mistake, a moment's outage of a name server, or nonsense of a server in between is likely.
const FEW_TRIES: u32 = 3;
/// The longest that an operation goes on.
const TOTAL: Duration = Duration::from_secs(180);
/// The longest wait that a service may ask for. Beyond it, giving up tells the operator more than sleeping.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Whether an operation may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Always: doing it twice is the same as doing it once.
    Freely,
    /// Only while nothing can have happened.
    UntilUnclear,
}

/// Calls operations through one door.
#[derive(Debug)]
pub(super) struct Caller {
    ambient: Ambient,
    meter: Arc<Meter>,
    gate: Option<Arc<dyn Gate>>,
    tokens: Option<Arc<Tokens>>,
}

impl Caller {
    /// A caller for a door whose requests are counted by `meter` and carry one of `tokens`.
    pub(super) fn new(ambient: Ambient, meter: Arc<Meter>, tokens: Option<Arc<Tokens>>) -> Self {
        Caller { ambient, meter, gate: None, tokens }
    }

    /// Passes `gate` before each try.
    pub(super) fn gated(self, gate: Arc<dyn Gate>) -> Self {
        Caller { gate: Some(gate), ..self }
    }

    /// The gate, if there is one.
    pub(super) fn gate(&self) -> Option<&dyn Gate> {
        self.gate.as_deref()
    }

    /// What has been asked so far.
    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// Calls `operation` until it succeeds or there is no point. Each call gets a context to pass to the SDK.
    pub(super) async fn call<F, T>(&self, repeat: Repeat, operation: F) -> Result<Answer, Failure>
    where
        F: Fn(Context<'static>) -> T + Send,
        T: Future<Output = azure_core::Result<()>> + Send,
    {
        self.call_for(Load::Transaction, repeat, operation).await
    }

    /// The same for an operation that is a certain load to a vault: what a gate wants to know.
    pub(super) async fn call_for<F, T>(&self, load: Load<'_>, repeat: Repeat, operation: F) -> Result<Answer, Failure>
    where
        F: Fn(Context<'static>) -> T + Send,
        T: Future<Output = azure_core::Result<()>> + Send,
    {
        // Time for tries and the waits between them. Time at the gate is not the operation's own.
        let mut spent = Duration::ZERO;
        let (mut tries, mut unclear, mut renewed) = (0, false, false);
        loop {
            tries += 1;
            let generation = self.tokens.as_ref().map(|tokens| tokens.generation());
            let (result, took) = self.once(load, &operation).await;
            let mut failure = match result {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            unclear |= failure.unclear;
            failure.unclear = unclear;
            if unclear && repeat == Repeat::UntilUnclear {
                return Err(failure);
            }
            // The service does not take the token: perhaps it takes a new one.
            if let (Some(tokens), Some(generation), false) = (&self.tokens, generation, renewed)
                && failure.refusal().is_some_and(|refusal| refusal.status == 401)
            {
                tokens.renew(generation);
                renewed = true;
                continue;
            }
            let Some(wait) = self.wait(tries, &failure.cause) else { return Err(failure) };
            spent += took + wait;
            if spent > TOTAL {
                return Err(failure);
            }
            tracing::info!("trying again in {} ms: {}", wait.as_millis(), failure.cause.brief());
            self.meter.retry();
            self.ambient.sleep(wait).await;
        }
    }

    /// One try, and how long it took.
    async fn once<F, T>(&self, load: Load<'_>, operation: &F) -> (Result<Answer, Failure>, Duration)
    where
        F: Fn(Context<'static>) -> T + Send,
        T: Future<Output = azure_core::Result<()>> + Send,
    {
        let pass = match &self.gate {
            Some(gate) => Some((gate, gate.enter(load).await)),
            None => None,
        };
        let began = self.ambient.monotonic();
        let trial = Arc::new(Trial::default());
        let result = operation(Context::new().with_value(trial.clone())).await;
        let (requests, answered) = trial.spent();
        let result = settle(result, &trial);
        if let Some((gate, pass)) = pass {
            gate.heard(pass, &Heard { requests, outcome: outcome(&result, answered) });
        }
        (result, self.ambient.monotonic().saturating_sub(began))
    }

    /// Calls `operation`, which may be repeated freely, until its answer can be read. What cannot be read may be the
    /// page of some server in between, or the half of an answer: gone when asked again.
    pub(super) async fn read<F, T, R>(
        &self,
        load: Load<'_>,
        operation: F,
        parse: impl Fn(&Answer) -> Result<R, String> + Send,
    ) -> Result<(R, Answer), Failure>
    where
        F: Fn(Context<'static>) -> T + Send + Sync,
        T: Future<Output = azure_core::Result<()>> + Send,
    {
        let mut tries = 0;
        loop {
            tries += 1;
            // An answer that made no sense may have hidden a success.
            let hidden = |failure: Failure| Failure { unclear: failure.unclear || tries > 1, ..failure };
            let answer = self.call_for(load, Repeat::Freely, &operation).await.map_err(hidden)?;
            match parse(&answer) {
                Ok(read) => return Ok((read, answer)),
                Err(why) if tries == FEW_TRIES => return Err(Failure::malformed(why)),
                Err(_) => self.pause(tries).await,
            }
        }
    }

    /// Waits as before the try after `tries`.
    pub(super) async fn pause(&self, tries: u32) {
        self.ambient.sleep(self.backoff(tries)).await;
    }

    fn wait(&self, tries: u32, cause: &Cause) -> Option<Duration> {
        let (most, asked) = match cause {
            Cause::Refused(refusal) => match refusal.status {
                408 | 429 | 500 | 502 | 503 | 504 => (TRIES, refusal.retry_after),
                // Damaged on its way: the service says that it kept nothing.
                400 if refusal.is("Md5Mismatch") => (FEW_TRIES, None),
                _ => return None,
            },
            Cause::Unreached(Unreached::Connection, _) | Cause::Lost(_) | Cause::NoToken(_, Tokenless::Passing) => {
                (TRIES, None)
            }
            Cause::Unreached(Unreached::Name | Unreached::Proxy, _) => (FEW_TRIES, None),
            Cause::Unreached(Unreached::Certificate, _) | Cause::NoToken(..) | Cause::Malformed(_) => return None,
        };
        let asked = asked.unwrap_or_default();
        // A gate makes everybody wait as long as the service asked, not only whom it told.
        let ours = if self.gate.is_some() { Duration::ZERO } else { asked };
        (tries < most && asked <= LONGEST_WAIT).then(|| ours.max(self.backoff(tries)))
    }

    /// 1, 2, 4, 8, 16, 30, 30 seconds (Key Vault's own advice, `azure.md` §1.5), less up to half of it by chance, so
    /// that many jobs do not come back at once.
    fn backoff(&self, tries: u32) -> Duration {
        let full = Duration::from_secs(1 << (tries - 1).min(5)).min(Duration::from_secs(30));
        let [chance] = self.ambient.bytes::<1>();
        full - full.mul_f64(f64::from(chance) / 512.0)
    }
}

/// What a try says of the service's load; `took` is the time that its answer took.
fn outcome(result: &Result<Answer, Failure>, took: Duration) -> Outcome {
    match result.as_ref().map_err(|failure| &failure.cause) {
        Err(Cause::Refused(refusal)) if matches!(refusal.status, 408 | 429 | 500..=599) => {
            Outcome::Strained { retry_after: refusal.retry_after }
        }
        Ok(_) | Err(Cause::Refused(_)) => Outcome::Served { took },
        Err(Cause::Lost(_) | Cause::Unreached(Unreached::Connection, _)) => Outcome::Strained { retry_after: None },
        Err(Cause::Unreached(..) | Cause::NoToken(..) | Cause::Malformed(_)) => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::{Clock as _, ManualClock, SeededRandom};
    use crate::azure::failure::Refusal;
    use chrono::{DateTime, TimeDelta, Utc};

    fn caller() -> (Caller, Arc<ManualClock>, DateTime<Utc>) {
        let start = DateTime::from_timestamp(1_763_700_000, 0).unwrap();
        let clock = Arc::new(ManualClock::new(start));
        let ambient = Ambient::new(clock.clone(), Arc::new(SeededRandom::new(1)));
        (Caller::new(ambient, Arc::default(), None), clock, start)
    }

    /// A clock that somebody sets whenever it is looked at, and the other that nobody can.
    #[derive(Debug)]
    struct Set(ManualClock, ManualClock, TimeDelta);

    #[async_trait::async_trait]
    impl crate::ambient::Clock for Set {
        fn now(&self) -> DateTime<Utc> {
            self.0.set(self.0.now() + self.2);
            self.0.now()
        }
        fn monotonic(&self) -> Duration {
            self.1.monotonic()
        }
        async fn sleep(&self, duration: Duration) {
            self.1.sleep(duration).await;
        }
    }

    #[tokio::test]
    async fn a_clock_that_is_set_neither_ends_an_operation_early_nor_hides_how_long_it_took() {
        for hours in [-1, 1] {
            let start = DateTime::from_timestamp(1_763_700_000, 0).unwrap();
            let clock = Arc::new(Set(ManualClock::new(start), ManualClock::new(start), TimeDelta::hours(hours)));
            let ambient = Ambient::new(clock.clone(), Arc::new(SeededRandom::new(1)));
            let caller = Caller::new(ambient, Arc::default(), None);
            let calls = std::sync::atomic::AtomicU32::new(0);
            let failing = |_| {
                calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                clock.1.advance(Duration::from_secs(7));
                async { Err(azure_core::Error::with_message(azure_core::error::ErrorKind::Io, "reset")) }
            };
            let (_, took) = caller.once(Load::Transaction, &failing).await;
            assert_eq!(took, Duration::from_secs(7));
            caller.call(Repeat::Freely, failing).await.unwrap_err();
            assert_eq!(calls.into_inner(), 1 + TRIES, "{hours}");
        }
    }

    fn throttled(seconds: Option<u64>) -> Cause {
        Cause::Refused(Refusal { status: 429, retry_after: seconds.map(Duration::from_secs), ..Refusal::default() })
    }

    #[test]
    fn trap_a_retry_after_of_an_hour_is_not_slept_through() {
        let (caller, _, _) = caller();
        assert_eq!(caller.wait(1, &throttled(Some(3600))), None);
        assert_eq!(caller.wait(1, &throttled(Some(60))), Some(Duration::from_secs(60)));
        let plain = caller.wait(3, &throttled(None)).unwrap();
        assert!(plain > Duration::from_secs(2) && plain <= Duration::from_secs(4), "{plain:?}");
    }

    #[tokio::test]
    async fn an_operation_that_never_succeeds_ends_within_its_bound() {
        let (caller, clock, start) = caller();
        let calls = std::sync::atomic::AtomicU32::new(0);
        let failure = caller
            .call(Repeat::Freely, |_| {
                calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                async { Err(azure_core::Error::with_message(azure_core::error::ErrorKind::Io, "reset")) }
            })
            .await
            .unwrap_err();
        assert!(matches!(failure.cause, Cause::Lost(_)));
        assert_eq!(calls.into_inner(), TRIES);
        assert!((clock.now() - start).to_std().unwrap() <= TOTAL);
    }
}
