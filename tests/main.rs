//! The whole suite, one binary.

// Clippy takes only what is marked as a test for one; a suite's shared functions are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod architecture;
mod documents;
mod roles;
