//! Taking captures: sweep the lists, plan what to take, fetch it whole. Knows vaults and formats; knows no store, no
//! encryption and no log: what comes out is handed on.

mod fetch;
mod plan;
mod settings;
mod sweep;

pub use fetch::{Fetched, fetch, versions_fingerprint};
pub use plan::{Effort, Known, Renewal, Task, decide, still_good};
pub use settings::{Settled, settings};
pub use sweep::{EVERYTHING, Found, List, Room, Swept, sweep};
