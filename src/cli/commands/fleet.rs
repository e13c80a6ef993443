//! From the flags that say which vaults are meant to the vaults themselves. Shared by the commands that have them.

use std::time::Duration;

use super::environment;
use crate::assemble::{Assembly, Fleet};
use crate::cli::args::Choice;
use crate::error::Result;
use crate::jobs::fleet::{Shard, Wish};
use crate::model::VaultChoice;

/// What the platform of an indexed job tells each of its processes.
const COMPLETION_INDEX: &str = "JOB_COMPLETION_INDEX";

/// What the flags mean.
pub(super) struct Asked {
    pub(super) wish: Wish,
    pub(super) all: bool,
    pub(super) shard: Option<Shard>,
    pub(super) due: Option<Duration>,
}

impl Asked {
    /// Reads the flags, and the number of this process where they leave it out.
    pub(super) fn parse(choice: Choice) -> Result<Self> {
        let Choice { vaults, all, subscriptions, tags, include, exclude, shard, due } = choice;
        let index = environment().remove(COMPLETION_INDEX);
        let shard = shard.map(|text| Shard::parse(&text, index.as_deref())).transpose()?;
        let choice = VaultChoice { subscriptions, tags, include, exclude };
        Ok(Asked { wish: Wish { choice, names: vaults }, all, shard, due })
    }

    /// Chooses the vaults, and keeps this process's share of them.
    pub(super) async fn fleet(&self, assembly: &Assembly) -> Result<Fleet> {
        let mut fleet = assembly.fleet(self.all, &self.wish).await?;
        if let Some(shard) = self.shard {
            fleet.members.retain(|member| shard.takes(member.uri.host()));
        }
        Ok(fleet)
    }
}
