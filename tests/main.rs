//! The whole suite, one binary.

mod conformance;
mod support;
