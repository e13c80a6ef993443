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

/// A zstd frame as it is, and anything else in a frame of its own: so that a fuzzer reaches what is inside.
#[cfg(feature = "fuzzing")]
pub fn in_a_frame(bytes: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    match zst::compress(bytes) {
        Ok(frame) if !bytes.starts_with(&zst::MAGIC) => frame.into(),
        _ => bytes.into(),
    }
}
