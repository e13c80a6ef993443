//! Bytes at rest, exactly as docs/FORMAT.md says. Pure: bytes in, values out, and back. Everything parsed here is
//! hostile until parsed: bounded, total, with the offending place in the error. Knows no store, no vault, no keys.

pub mod archive;
pub mod capture;
pub mod entry;
mod fault;
pub mod fingerprint;
pub mod json;
pub mod jwk;
pub mod manifest;
pub mod paths;
pub mod settings;
mod tar;
mod time;
mod zst;

pub use fault::{Error, Fault};
