//! The whole suite, one binary.
// A test that cannot go on shall panic. The lints know that of test functions, but not of what these call.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod emulator;
