//! Bringing objects back: look at the name slots, plan, carry out. The plan is a pure, printable value; carrying it out
//! is dull. Knows vaults and formats; knows no archive, no Azure SDK and no settings.

pub mod aftermath;
pub mod applied;
pub mod decide;
pub mod equivalence;
pub mod execute;
pub mod ledger;
mod limbo;
pub mod live;
pub mod place;
pub mod plan;
mod reading;
pub mod rebuild;
pub mod settings;
pub mod slot;
pub mod source;

pub use applied::{Applied, AppliedStep};
pub use ledger::{Ledger, Record};
pub use plan::{Action, Allowed, Origin, Plan, Refusal, Step};
pub use slot::{Slot, observe, observe_all};
pub use source::Source;
