//! akv-archiver: snapshots Azure Key Vault objects into a write-once, encrypted, verifiable archive, and brings them back.
//!
//! This file is the map of the house and holds no logic. Data flows one way, from the vault to the store:
//! `vault → capture → seal → archive → store`, and back through `restore`. A module imports only what stands above
//! it in this list; `tests/architecture.rs` holds the table and enforces it, `docs/ARCHITECTURE.md` explains it.
#![forbid(unsafe_code)]

pub mod ambient;
pub mod error;
pub mod located;
pub mod model;
pub mod progress;
pub mod tlog;

pub mod format;
pub mod policy;
pub mod seal;
pub mod store;
pub mod vault;

pub mod archive;
pub mod capture;
pub mod restore;
pub mod verify;

pub mod azure;
pub mod config;
pub mod jobs;

pub mod assemble;

#[cfg(feature = "emulator")]
pub mod emulator;

pub mod cli;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
