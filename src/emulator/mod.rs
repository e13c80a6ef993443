//! Azure on localhost: an HTTP CONNECT proxy that answers for Key Vault, Blob Storage, Azure Resource Manager and Entra
//! ID with their production host names. Shares no code with `src/azure/`, so that a wrong belief is not held twice;
//! knows nothing of archives. docs/EMULATOR.md is its manual.
//!
//! Each service is a state machine without input or output: the time, the caller and a [`wire::Request`] go in, a
//! [`wire::Response`] comes out. A request takes this way:
//!
//! ```text
//! client ─CONNECT─▶ proxy ─TLS─▶ http ─▶ exchange ─▶ azure ─▶ login │ arm │ vault │ blob
//!                                 log, latency, faults, limits, caller
//! ```
//!
//! What a behaviour rests on is marked where it is written: `REC` seen in recorded traffic, `DOC` documented, and, with an
//! id under which docs/EMULATOR.md lists it, `ISSUE[id]` reported by a user, `MEM[id]` remembered from use, `GUESS[id]`
//! our guess.
//!
//! `control` is a second, plain listener for tests; `run` starts and stops the whole.

mod azure;
mod clock;
mod control;
mod exchange;
mod http;
mod identity;
mod limits;
mod login;
mod proxy;
mod run;
mod state;
mod tls;
mod tokens;

pub mod arm;
pub mod blob;
pub mod faults;
pub mod journal;
pub mod outsider;
pub mod regions;
pub mod seed;
pub mod vault;
pub mod wire;

pub use run::{Credential, Emulator, Options, Ready, run};
