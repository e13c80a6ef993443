//! Arguments of `protect`: which files, for how long, why.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args, Subcommand};

use super::plan::reason;
use crate::format::entry::Class;
use crate::model::{HoldTag, duration, moment};

/// `protect` commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Protect {
    /// Show, by class of file, how files are protected, until when, and what is at risk
    Status {
        /// Only this vault, by its name in the settings or its host; may be repeated
        #[arg(long = "vault", value_name = "NAME")]
        vaults: Vec<String>,
    },
    /// Have files protected for longer, which nobody can take back where they are locked; says first what would change
    Extend(Extend),
    /// Put a legal hold on files, for as long as it takes; says first what would change
    Hold(Hold),
    /// Lift the legal hold of files; says first what would change
    Release(Hold),
}

/// Arguments of `protect extend`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how_long").required(true).args(["until", "period"]))]
pub(crate) struct Extend {
    /// Until then: 2028-01-01, '2028-01-01 03:00' or RFC 3339, UTC; a date alone is its first moment
    #[arg(long, value_name = "TIME", value_parser = moment::parse)]
    pub(crate) until: Option<DateTime<Utc>>,
    /// For so long from now, such as 400d, and on to the next midnight UTC
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    pub(crate) period: Option<Duration>,
    /// Lock what is not locked: nobody can shorten or remove it any more
    #[arg(long)]
    pub(crate) lock: bool,
    /// Why, for the log
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

/// Arguments of `protect hold` and `protect release`.
#[derive(Debug, Args)]
pub(crate) struct Hold {
    /// Why, for the log, such as the number of a case
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub(crate) reason: String,
    /// The name of the hold, 3 to 23 letters and digits: needed in a container with one policy for all files, which it holds
    /// as a whole, and not known elsewhere
    #[arg(long, value_name = "TAG", value_parser = tag)]
    pub(crate) tag: Option<HoldTag>,
    #[command(flatten)]
    pub(crate) selection: Selection,
}

/// Which files, and whether to go on.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// Carry it out and do not ask; without it nothing is changed unless somebody at a terminal agrees
    #[arg(long)]
    pub(crate) yes: bool,
    /// Write the list of versions that are to be changed, over which the log has a digest
    #[arg(long, value_name = "FILE")]
    pub(crate) list: Option<PathBuf>,
    /// Only this vault, by its name in the settings or its host; may be repeated
    #[arg(long = "vault", value_name = "NAME", help_heading = "Which files (docs/PROTECTION.md)")]
    pub(crate) vaults: Vec<String>,
    /// Only this class: archive, log, manifests, captures, old-captures or unreferenced; may be repeated [default: all, and
    /// for `extend` all but unreferenced]
    #[arg(long = "class", value_name = "CLASS", value_parser = class, help_heading = "Which files (docs/PROTECTION.md)")]
    pub(crate) classes: Vec<Class>,
    /// Only files whose path begins so, such as vaults/HOST/captures/key/NAME/; may be repeated
    #[arg(long = "path", value_name = "PREFIX", value_parser = prefix, help_heading = "Which files (docs/PROTECTION.md)")]
    pub(crate) paths: Vec<String>,
}

fn class(text: &str) -> Result<Class, String> {
    let known = || Class::ALL.map(Class::name).join(", ");
    Class::ALL.into_iter().find(|class| class.name() == text).ok_or_else(|| format!("classes are {}", known()))
}

fn tag(text: &str) -> Result<HoldTag, String> {
    HoldTag::parse(text).ok_or_else(|| "a tag is 3 to 23 letters and digits".into())
}

fn prefix(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
    let fits = (1..=1024).contains(&text.len()) && text.bytes().all(plain);
    fits.then(|| text.to_owned()).ok_or_else(|| "no path of an archive begins so".into())
}
