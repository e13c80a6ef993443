//! Whether protection of a stored file exists and can be taken back.

use serde::{Deserialize, Serialize};

/// Whether protection exists and can be taken back. Only [`Mode::Locked`] counts as protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// No policy.
    #[default]
    None,
    /// A policy that its administrator can shorten or delete.
    Unlocked,
    /// A policy that nobody can shorten.
    Locked,
}
