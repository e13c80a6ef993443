//! Plays worlds of the simulation outside the suite: one seed again, with its trace; a range of seeds; or one after the
//! other until stopped. `cargo simulate --seed N`, `--seeds A..B`, `--nightly [SECONDS]`.

// It is a test's kin: what cannot go on stops.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

#[path = "../tests/simulation/mod.rs"]
mod simulation;

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use simulation::{runtime, simulate, simulate_all, table};

const USAGE: &str = "usage: cargo simulate --seed N | --seeds A..B | --nightly [SECONDS]";

fn main() -> ExitCode {
    // Cargo adds an argument of its own.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    match arguments[..] {
        ["--seed", seed] => number(seed).map(one),
        ["--seeds", range] => {
            let range = range.split_once("..").and_then(|(from, to)| Some((number(from)?, number(to)?)));
            range.map(|(from, to)| all(from..to))
        }
        ["--nightly"] => Some(nightly(None)),
        ["--nightly", seconds] => number(seconds).map(|seconds| nightly(Some(Duration::from_secs(seconds)))),
        _ => None,
    }
    .unwrap_or_else(|| {
        eprintln!("{USAGE}");
        ExitCode::from(2)
    })
}

/// Plays a seed with its whole trace.
fn one(seed: u64) -> ExitCode {
    let played = simulate(seed, &runtime());
    println!("{}", played.trace.join("\n"));
    println!("{}digest of the trace: {:016x}", table(&played.tally), played.digest);
    match played.wrong.is_empty() {
        true => ExitCode::SUCCESS,
        false => {
            println!("seed {seed}: {}", played.wrong.join("\n"));
            ExitCode::FAILURE
        }
    }
}

fn all(seeds: impl Iterator<Item = u64> + Send) -> ExitCode {
    let begun = Instant::now();
    let (tally, failure) = simulate_all(seeds);
    println!("{}{:.1} s", table(&tally), begun.elapsed().as_secs_f64());
    match failure {
        None => ExitCode::SUCCESS,
        Some(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Seeds that nobody has seen, from the time on.
fn nightly(time: Option<Duration>) -> ExitCode {
    let begun = Instant::now();
    let first = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() << 20;
    println!("seeds from {first} on");
    all((first..).take_while(move |_| time.is_none_or(|time| begun.elapsed() < time)))
}
