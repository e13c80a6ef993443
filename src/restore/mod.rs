//! Bringing objects back: look at the name slots, plan, carry out. The plan is a pure, printable value; carrying it out
//! is dull. Knows vaults, formats and the log; knows no Azure SDK and no settings.

pub mod decide;
pub mod equivalence;
pub mod execute;
pub mod ledger;
<<<<<<< HEAD
pub mod live;
=======
pub mod place;
>>>>>>> i/planner
pub mod plan;
mod reading;
pub mod rebuild;
pub mod settings;
pub mod slot;
pub mod source;

pub use execute::{Applied, apply};
pub use ledger::Ledger;
pub use plan::{Action, Allowed, Origin, Plan, Refusal, Step};
pub use slot::{Slot, observe, observe_all};
pub use source::Source;
