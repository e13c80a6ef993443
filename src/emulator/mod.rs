//! Azure on localhost: an HTTP CONNECT proxy that answers for Key Vault, Blob Storage, Azure Resource Manager and Entra
//! ID with their production host names. Shares no code with `src/azure/`, so that a wrong belief is not held twice;
//! knows nothing of archives.
//!
//! Each service is a state machine without input or output: the time, the caller and a [`wire::Request`] go in, a
//! [`wire::Response`] comes out. `server` moves the bytes.

pub mod blob;
pub mod seed;
pub mod vault;
pub mod wire;
