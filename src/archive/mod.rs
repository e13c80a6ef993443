//! The archive as its writers and readers use it: find a log's head, append to it, read what it names. Knows formats,
//! the tree and the store traits; knows no vault, no Azure and no encryption.
//!
//! Reading here trusts the head's signature and follows hashes from there. Proving the whole is `verify`'s work, and
//! `verify` shares no code with this module.

mod append;
mod read;

pub(crate) use append::md5;
pub use append::{Appender, REBASES};
pub use read::{Entries, Reader, Sequences, latest_snapshot, oldest_of};
