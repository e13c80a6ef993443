//! The whole suite, one binary.

mod vectors;
