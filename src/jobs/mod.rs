//! One file per use case: what is wired to what. A job gets doors, keys, time and a place to report progress; it gives
//! back a value. Nothing here prints, and nothing here knows Azure or the settings file.

pub mod doctor;
#[cfg(test)]
pub(crate) mod fixture;
pub mod fleet;
pub mod history;
pub mod init;
pub mod live;
pub mod promises;
pub mod protect;
pub mod protection;
pub mod restore;
pub mod snapshot;
pub mod status;

/// The program and its version, as written into manifests and captures.
pub const TOOL: &str = concat!("akv-archiver ", env!("CARGO_PKG_VERSION"));
