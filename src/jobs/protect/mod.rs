//! How the files of an archive are protected, for people: a table by class, and, for whoever holds that right, longer
//! protection and legal holds. Asks the store for what is so now, plans, records, acts; knows no Azure.
//!
//! No snapshot needs any of it: what a snapshot takes is protected by the container's own policy, and renewed by the next
//! one. What no snapshot renews is `archive.json` and the log, and so they belong to everything that is protected here.

mod carry_out;
mod plan;
mod report;
mod standing;
mod survey;
mod whole;

#[cfg(test)]
mod tests;

pub use carry_out::{Carried, Failure, Hands, Recorded, carry_out};
pub use plan::{Affected, Plan, Version, Want, plan};
pub use report::{Report, Status};
pub use standing::{Row, Standing, Store, VaultRows, standing};
pub use survey::{Found, survey};
pub use whole::{Turn, Turned};

pub use crate::store::MOST_EXTENSIONS;
