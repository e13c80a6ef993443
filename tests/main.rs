//! The whole suite, one binary.

mod architecture;
mod documents;
mod roles;
