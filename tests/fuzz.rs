//! Fuzzing without a fuzzer: every target of `src/fuzzing` with its committed corpus, and with damage done to it by a
//! seeded mutator. The same targets and the same corpus are `cargo fuzz`'s (fuzz/README.md).
//!
//! `AKV_ARCHIVER_REGENERATE_CORPUS=1 cargo test fuzz` writes the corpus anew; review the difference.
//! `AKV_ARCHIVER_FUZZ_CASES=N` asks for N mutants of each target, `AKV_ARCHIVER_FUZZ_SEED=N` for others.

mod corpus;
mod hostile;
mod mutate;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;

use akv_archiver::fuzzing::{TARGETS, Target};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use mutate::Mutator;

/// Mutants of each target in an ordinary run: a few seconds for all of them.
const CASES: usize = 2_000;

/// The committed corpora together, in bytes.
const CORPUS_MAX: usize = 1 << 20;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The committed corpus by target and name.
fn committed() -> BTreeMap<String, BTreeMap<String, Vec<u8>>> {
    static REGENERATED: Once = Once::new();
    REGENERATED.call_once(|| {
        if std::env::var_os("AKV_ARCHIVER_REGENERATE_CORPUS").is_some() {
            regenerate();
        }
    });
    let mut all = BTreeMap::new();
    for target in fs::read_dir(folder().join("corpus")).unwrap().map(Result::unwrap) {
        let files = fs::read_dir(target.path()).unwrap().map(Result::unwrap);
        let seeds = files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()));
        all.insert(target.file_name().into_string().unwrap(), seeds.collect());
    }
    all
}

fn regenerate() {
    for (target, seeds) in corpus::all() {
        let folder = folder().join("corpus").join(target);
        // What age seals differs each time: what is there stays.
        if target == "sealed" && folder.exists() {
            continue;
        }
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        seeds.iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
    }
}

/// Puts bytes through a target. What it must not do, with the bytes that made it do so.
fn judge(target: &Target, bytes: &[u8]) -> Result<bool, String> {
    let verdict = catch_unwind(AssertUnwindSafe(|| target.check(bytes)));
    let verdict = verdict.unwrap_or_else(|_| Err(format!("{}: it panicked", target.name)));
    verdict.map_err(|what| format!("{what}\n    base64 of the input: {}", STANDARD.encode(bytes)))
}

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

/// Runs a target's corpus and `cases` mutants of it; counts inputs and those that were accepted.
fn smoke(target: &Target, seeds: &[Vec<u8>], cases: usize, seed: u64) -> Result<(usize, usize), String> {
    let mut accepted = 0;
    for bytes in seeds {
        accepted += usize::from(judge(target, bytes)?);
    }
    let mut mutator = Mutator::new(seed, seeds);
    for _ in 0..cases {
        accepted += usize::from(judge(target, &mutator.next())?);
    }
    Ok((seeds.len() + cases, accepted))
}

#[test]
fn no_damage_to_the_corpora_breaks_a_promise() {
    let corpus = committed();
    let (cases, seed) = (number("AKV_ARCHIVER_FUZZ_CASES", CASES), number("AKV_ARCHIVER_FUZZ_SEED", 1) as u64);
    let results: Vec<_> = std::thread::scope(|scope| {
        let half = TARGETS.len().div_ceil(2);
        let workers: Vec<_> = TARGETS
            .chunks(half)
            .map(|targets| {
                let corpus = &corpus;
                scope.spawn(move || {
                    let run = |target: &'static Target| {
                        let seeds: Vec<Vec<u8>> = corpus[target.name].values().cloned().collect();
                        let begun = std::time::Instant::now();
                        // What opens a file computes on a curve, which takes its time unoptimised.
                        let cases = if target.name == "sealed" { cases / 4 } else { cases };
                        (target.name, smoke(target, &seeds, cases, seed), begun.elapsed())
                    };
                    targets.iter().map(run).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let (mut inputs, mut accepted) = (0, 0);
    let mut broken = Vec::new();
    for (name, result, took) in results {
        match result {
            Ok((all, good)) => {
                eprintln!("fuzz smoke: {name}: {all} inputs, {good} accepted, {} ms", took.as_millis());
                if good == 0 {
                    broken.push(format!("{name}: nothing was accepted, so that no promise was tested"));
                }
                (inputs, accepted) = (inputs + all, accepted + good);
            }
            Err(what) => broken.push(what),
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    eprintln!("fuzz smoke: {} targets, {inputs} inputs, {accepted} accepted, 0 promises broken", TARGETS.len());
}

#[test]
fn a_parser_that_breaks_a_promise_is_caught() {
    let seeds = vec![b"harmless".to_vec()];
    let made = |parse| Target { name: "made-up", silent: true, parse };
    // Each is right about its corpus, and wrong about what can be made of it.
    let panics = made(|bytes| {
        assert!(bytes.len() < 20, "too long for me");
        Ok(())
    });
    assert!(smoke(&panics, &seeds, 500, 1).unwrap_err().contains("it panicked"));
    let quotes = made(|bytes| match bytes {
        b"harmless" => Ok(()),
        _ => Err(akv_archiver::fuzzing::Not::Refused(String::from_utf8_lossy(bytes).into_owned())),
    });
    assert!(smoke(&quotes, &seeds, 500, 1).is_err());
}

#[test]
fn every_target_is_a_program_and_has_a_corpus() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    let manifest: toml::Table = fs::read_to_string(folder().join("Cargo.toml")).unwrap().parse().unwrap();
    let programs = manifest["bin"].as_array().unwrap();
    let mut called: Vec<&str> = programs.iter().map(|program| program["name"].as_str().unwrap()).collect();
    called.sort_unstable();
    assert_eq!(called, names, "fuzz/Cargo.toml");
    for program in programs {
        let source = fs::read_to_string(folder().join(program["path"].as_str().unwrap())).unwrap();
        assert!(source.contains(&format!("check({}, bytes)", program["name"])), "{program:?}");
    }
    let committed = committed();
    assert_eq!(committed.keys().collect::<Vec<_>>(), names, "fuzz/corpus");
    let size: usize = committed.values().flat_map(|seeds| seeds.values().map(Vec::len)).sum();
    let count: usize = committed.values().map(BTreeMap::len).sum();
    eprintln!("fuzz corpora: {count} files, {size} bytes");
    assert!(size < CORPUS_MAX, "the corpora have {size} bytes");
}

#[test]
fn the_committed_corpora_are_those_that_the_generator_makes() {
    let committed = committed();
    for (target, seeds) in corpus::all() {
        let names = |seeds: &BTreeMap<String, Vec<u8>>| seeds.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&committed[target]), names(&seeds), "{target}");
        for (name, bytes) in seeds {
            assert!(target == "sealed" || committed[target][&name] == bytes, "{target}/{name}");
        }
    }
}
