//! The whole suite, one binary: `cargo test`.

mod conformance;
mod emulator;
mod support;
mod vectors;
