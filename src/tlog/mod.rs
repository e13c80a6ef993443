//! A verifiable log in miniature: the Merkle tree of RFC 6962, C2SP signed notes, and the checkpoints written in them.
//! Pure values. Knows nothing of vaults, stores or what a leaf means; any other implementation of those three
//! specifications reads what this writes.

pub mod checkpoint;
mod fault;
pub mod note;
pub mod tree;

pub use checkpoint::Checkpoint;
pub use fault::{Error, Fault};
pub use note::{Note, Signer, Verifier};
pub use tree::Frontier;
