//! Bytes at rest, exactly as docs/FORMAT.md says. Pure: bytes in, values out, and back. Everything parsed here is
//! hostile until parsed: bounded, total, with the offending place in the error. Knows no store, no vault, no keys.

pub mod archive;
pub mod capture;
pub mod entry;
pub mod json;
pub mod manifest;
pub mod paths;
