//! The whole suite, one binary: `cargo test`.

// Clippy takes only what is marked as a test for one; a suite's shared functions are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

mod architecture;
mod azure;
mod conformance;
mod containers;
mod crash;
mod crash_protect;
mod crash_rebuild;
mod documents;
mod emulator;
mod faults;
mod fuzz;
mod memory;
mod pace;
mod policies;
mod recordings;
mod restores;
mod roles;
mod runbook;
mod scenarios;
mod simulation;
mod support;
mod tamper;
mod vaults;
mod vectors;
mod worlds;
