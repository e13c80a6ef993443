//! A thousand worlds of the simulation, and that it can be trusted: a seed plays the same each time, and what hangs is told.

use std::time::Instant;

use crate::simulation::{runtime, simulate, simulate_all, table};

const WORLDS: u64 = 1000;

/// What must have happened so often in a thousand worlds, or they prove little.
const ENOUGH: [(&str, u64); 34] = [
    ("jobs run", 6_000),
    ("complete snapshots", 1_500),
    ("partial snapshots", 500),
    ("snapshots of a vault that changed meanwhile", 500),
    ("snapshots brought back whole", 1_000),
    ("captures reused", 1_000),
    ("captures checked against the vault", 4_000),
    ("commits half-way", 200),
    ("gaps: interrupted", 500),
    ("gaps: vanished", 100),
    ("gaps: of a list", 20),
    ("jumps of time", 200),
    ("intents", 300),
    ("intents closed by others", 20),
    ("objects restored", 300),
    ("objects recovered", 100),
    ("objects purged by restores", 2),
    ("HSM keys restored", 100),
    ("refusals: HSM key restored before", 2),
    ("entries: protect", 200),
    ("protect runs: partial", 5),
    ("files extended", 500),
    ("files held", 500),
    ("files released", 50),
    ("second runs of protect with nothing to do", 100),
    ("thefts refused", 300),
    ("thefts refused for a hold alone", 20),
    ("races for a file lost", 50),
    ("races for a log entry lost", 100),
    ("processes killed", 200),
    ("processes asked to stop", 150),
    ("requests lost", 1_000),
    ("requests landed without an answer", 30),
    ("requests landed late", 20),
];

#[test]
fn whatever_happens_in_a_thousand_worlds_what_was_committed_comes_back() {
    let begun = Instant::now();
    let (tally, failure) = simulate_all(0..WORLDS);
    println!("{}{:.1} s", table(&tally), begun.elapsed().as_secs_f64());
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
    for (what, least) in ENOUGH {
        let found = tally.get(what).copied().unwrap_or_default();
        assert!(found >= least, "{what}: only {found} in {WORLDS} worlds, and at least {least} were wanted");
    }
}

#[test]
fn a_seed_plays_the_same_each_time() {
    let runtime = runtime();
    let mut digests = std::collections::BTreeSet::new();
    for seed in 0..6 {
        let (one, two) = (simulate(seed, &runtime), simulate(seed, &self::runtime()));
        let differs = one.trace.iter().zip(&two.trace).find(|(one, two)| one != two);
        assert_eq!((one.digest, one.tally), (two.digest, two.tally), "seed {seed}: {differs:?}");
        digests.insert(one.digest);
    }
    assert_eq!(digests.len(), 6, "and others differ");
}
