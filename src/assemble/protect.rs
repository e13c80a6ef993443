//! The door for people who change how files are protected.

use super::Assembly;
use crate::config::Store;
use crate::error::{Error, Kind, Result};
use crate::store::Protect;

impl Assembly {
    /// The archive's store, for whoever may change protection. A directory has no protection that could be changed.
    pub fn keeper(&self) -> Result<Box<dyn Protect>> {
        match &self.settings.archive.store {
            Store::Container { .. } => Ok(Box::new(self.container()?)),
            Store::Directory { path, .. } => Err(Error::new(
                Kind::Refused,
                format!("directory {} has no write-once protection that could be changed", path.display()),
            )
            .hint("make it write-once by other means, such as the file system's or the medium's; or archive into a container")),
            Store::Nowhere => Err(Error::usage("the settings name no archive")
                .hint("set `container` in [archive]; docs/SETTINGS.md describes it")),
        }
    }
}
