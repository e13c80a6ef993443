//! From the flags that say which vaults are meant to the vaults themselves. Shared by the commands that have them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::environment;
use crate::assemble::{Assembly, Fleet};
use crate::cli::args::Choice;
use crate::error::Result;
use crate::jobs::fleet::{Due, Member, Shard, Wish};
use crate::model::{VaultChoice, VaultUri};

/// What the platform of an indexed job tells each of its processes.
const COMPLETION_INDEX: &str = "JOB_COMPLETION_INDEX";

/// What the flags mean.
pub(super) struct Asked {
    pub(super) wish: Wish,
    pub(super) all: bool,
    pub(super) shard: Option<Shard>,
    pub(super) due: Option<Due>,
}

impl Asked {
    /// Reads the flags, and the number of this process where they leave it out.
    pub(super) fn parse(choice: Choice) -> Result<Self> {
        let Choice { vaults, all, subscriptions, tags, include, exclude, shard, due } = choice;
        let index = environment().remove(COMPLETION_INDEX);
        let shard = shard.map(|text| Shard::parse(&text, index.as_deref())).transpose()?;
        let choice = VaultChoice { subscriptions, tags, include, exclude };
        let due = due.map(|age| age.map_or(Due::Policy, Due::Age));
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

    /// How old the newest snapshot of each vault must be; none where any will do.
    pub(super) fn every(&self, assembly: &Assembly, members: &[Member]) -> Result<BTreeMap<VaultUri, Duration>> {
        let Some(due) = self.due else { return Ok(BTreeMap::new()) };
        let every = |member: &Member| {
            let policy = assembly.policy(&member.uri)?;
            Ok((member.uri.clone(), due.after(policy.cadence.snapshot_every)))
        };
        members.iter().map(every).collect()
    }
}
