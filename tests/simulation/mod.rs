//! The simulation: worlds of vaults, people, an archive, and processes that run at once, fail, and are killed, each world
//! as its seed says, against a small model of what must be recoverable. `cargo test` plays a thousand; `cargo simulate`
//! plays one again, or plays until it is stopped.

mod chance;
mod doors;
mod end;
mod jobs;
mod keep;
mod model;
mod play;
mod seen;
mod stage;
mod world;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use play::Play;

/// What came of a seed.
pub(crate) struct Played {
    pub(crate) wrong: Vec<String>,
    pub(crate) trace: Vec<String>,
    pub(crate) digest: u64,
    pub(crate) tally: BTreeMap<&'static str, u64>,
}

/// The words of a panic.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// One thread's runtime: whoever seals or opens hands the work to the one thread that may block.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build().unwrap()
}

/// What a judge finds out while nobody plays. He has threads of his own: the players' one is held meanwhile.
pub(crate) fn found_out<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static JUDGE: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    }
    JUDGE.with(|judge| judge.block_on(work))
}

/// Plays one seed.
pub(crate) fn simulate(seed: u64, runtime: &tokio::runtime::Runtime) -> Played {
    let _entered = runtime.enter();
    let mut play = Play::new(seed, runtime.handle().clone());
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| play.play())) {
        play.model.wrong.push(format!("a panic: {}", words_of(&*panic)));
    }
    let (trace, digest) = play.world.stage.trace();
    play.world.count("worlds");
    play.world.count_many("turns", play.world.stage.step());
    let tally = play.world.note(|notes| notes.tally.clone());
    Played { wrong: std::mem::take(&mut play.model.wrong), trace, digest, tally }
}

/// Plays seeds on all processors until they are used up or one goes wrong. Returns what happened how often, and what
/// went wrong, with its trace.
pub(crate) fn simulate_all(seeds: impl Iterator<Item = u64> + Send) -> (BTreeMap<&'static str, u64>, Option<String>) {
    let seeds = Mutex::new(seeds);
    let tally = Mutex::new(BTreeMap::new());
    let failure = Mutex::new(None);
    let ended = AtomicBool::new(false);
    let played = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let runtime = runtime();
                while !ended.load(Ordering::Relaxed) {
                    let Some(seed) = seeds.lock().unwrap().next() else { return };
                    let found = simulate(seed, &runtime);
                    played.fetch_add(1, Ordering::Relaxed);
                    let mut all = tally.lock().unwrap();
                    found.tally.iter().for_each(|(what, many)| *all.entry(*what).or_default() += many);
                    drop(all);
                    if !found.wrong.is_empty() {
                        ended.store(true, Ordering::Relaxed);
                        failure.lock().unwrap().get_or_insert(describe(seed, &found));
                    }
                }
            });
        }
    });
    (tally.into_inner().unwrap(), failure.into_inner().unwrap())
}

/// A failure, with the end of its trace and how to see all of it.
fn describe(seed: u64, played: &Played) -> String {
    let from = played.trace.len().saturating_sub(150);
    format!(
        "{}\n\nseed {seed}: {}\nplay it again with: cargo simulate --seed {seed}",
        played.trace[from..].join("\n"),
        played.wrong.join("\n")
    )
}

/// How often what happened, a line each.
pub(crate) fn table(tally: &BTreeMap<&'static str, u64>) -> String {
    tally.iter().map(|(what, many)| format!("{many:>9} {what}\n")).collect()
}
