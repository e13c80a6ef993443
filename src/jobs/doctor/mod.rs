//! The doctor: asks every door whether tonight's job, or a restore, would get through, and says what to do where not. Changes
//! nothing: where a permission can only be seen by using it, it is used on something that cannot succeed.

mod clock;
mod keys;
mod place;
mod privilege;
mod restore;
mod store;
mod vault;

use serde::Serialize;

use crate::error::{self, Kind};

use clock::check_clock;
pub use keys::{Custody, check_custody, check_keys, check_signer};
use place::{check_pair, check_place};
pub use restore::{check_opening, check_target};
pub use store::{check_seat, check_store};
pub use vault::{Doors, check_vault};

pub use crate::store::Site;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// The job runs, but somebody should look.
    Warn,
    /// The job would fail.
    Fail,
}

/// One check: one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was asked about: a vault's name, `archive`, `keys`.
    pub subject: String,
    /// What was checked.
    pub check: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The kind of the failure, which decides the exit code.
    #[serde(skip)]
    pub kind: Option<Kind>,
}

impl Check {
    /// A check that found things as they should be.
    pub fn ok(subject: &str, check: &str, detail: impl Into<String>) -> Self {
        Check {
            subject: subject.into(),
            check: check.into(),
            verdict: Verdict::Ok,
            detail: detail.into(),
            fix: None,
            kind: None,
        }
    }

    /// A check that found something to look at.
    pub fn warn(subject: &str, check: &str, detail: impl Into<String>, fix: &str) -> Self {
        Check { verdict: Verdict::Warn, fix: Some(fix.into()), ..Check::ok(subject, check, detail) }
    }

    /// A check that failed.
    pub fn fail(subject: &str, check: &str, error: impl Into<error::Error>) -> Self {
        let error = error.into();
        Check {
            verdict: Verdict::Fail,
            fix: error.hint_text().map(str::to_owned),
            kind: Some(error.kind()),
            ..Check::ok(subject, check, error.message())
        }
    }
}

#[cfg(test)]
mod tests;
