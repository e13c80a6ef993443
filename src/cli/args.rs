//! The command line as a value. Knows clap, and nothing of what the commands do.

mod plan;
mod protect;
mod setup;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use plan::{Plan, Term, Version};
pub(crate) use protect::{Extend, Hold, Protect, Selection};
pub(crate) use setup::{Credential, Doctor, Init, Purpose};

use crate::model::duration;
use crate::model::{Glob, SubscriptionId, Tag};
use crate::verify::Subset;

/// What every help text ends with.
const EXIT_CODES: &str = "\
Exit codes (docs/EXIT-CODES.md tells what to do):
  0 done           10 not found     20 tampered
  2 wrong usage    11 conflict      21 noncompliant
  3 done in part   12 denied        22 refused
                   13 unavailable   130 interrupted
                   14 no identity";

/// Snapshots Azure Key Vault objects into a write-once, encrypted, verifiable archive, and brings them back.
#[derive(Debug, Parser)]
#[command(name = "akv-archiver", version, about, max_term_width = 100)]
#[command(
    after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Settings file [default: akv-archiver.toml in the working directory, if it is there]
    #[arg(long, short, global = true, value_name = "FILE", help_heading = "Options of every command")]
    pub(crate) config: Option<PathBuf>,

    /// How results are printed
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Text, help_heading = "Options of every command")]
    pub(crate) output: Output,

    /// Log stages and retries to standard error; twice for each request. AKV_ARCHIVER_LOG takes a filter such as `debug`
    #[arg(long, short, global = true, action = clap::ArgAction::Count, help_heading = "Options of every command")]
    pub(crate) verbose: u8,

    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Tables and sentences for people
    Text,
    /// One JSON document on standard output
    Json,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create an archive, its keys and the settings file
    Init(Init),
    /// Check credentials, permissions, vaults, write-once protection and clocks
    Doctor(Doctor),
    /// Capture every object of the vaults and commit a snapshot of each
    Snapshot(Snapshot),
    /// List the vaults that a snapshot would take, and how old their newest snapshots are; changes nothing
    Vaults(Choice),
    /// List what the archive holds
    List(List),
    /// List the captures of one object over time
    History(History),
    /// Tell how old the newest snapshots are, what they lack and how long they are protected; needs read access only
    Status(Status),
    /// Prove that the archive is whole, signed and protected
    Verify(Verify),
    /// Show how files are protected; protect them for longer, put legal holds on them, lift these
    #[command(subcommand)]
    Protect(Protect),
    /// Check, show and explain archive policies
    #[command(subcommand)]
    Policy(Policy),
    /// Open sealed captures from files, without archive or network
    Open(Open),
    /// Plan a restore, carry it out, finish one that was cut off, show what was restored
    #[command(subcommand)]
    Restore(Restore),
    /// Run Azure on localhost (in builds with the feature `emulator`)
    #[cfg_attr(not(feature = "emulator"), command(hide = true))]
    Emulator(Emulator),
    /// Play the main job end to end on an embedded Azure (in builds with the feature `emulator`)
    #[cfg_attr(not(feature = "emulator"), command(hide = true))]
    Demo(Demo),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages
    Man {
        /// Folder to write them to; without one, the main page goes to standard output
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

impl Command {
    /// Whether the command itself hears signals: it commits what is done, or runs until it is told to stop.
    pub(crate) fn hears_signals(&self) -> bool {
        let restores = matches!(self, Command::Restore(Restore::Apply(_) | Restore::Resume(_)));
        restores || matches!(self, Command::Snapshot(_) | Command::Emulator(_) | Command::Demo(_))
    }
}

/// Arguments of `snapshot`.
#[derive(Debug, Args)]
pub(crate) struct Snapshot {
    /// Compare every version of unchanged objects too
    #[arg(long)]
    pub(crate) full: bool,
    /// Capture every object anew, changed or not
    #[arg(long)]
    pub(crate) recapture: bool,
    /// Stop after this time, such as 8m: commit what is done, skip the vaults that were not begun
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) deadline: Option<Duration>,
    // Last, for its heading would hold for whatever follows.
    #[command(flatten)]
    pub(crate) choice: Choice,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// A newest complete snapshot that is older is stale, such as 26h [default: the policy's rpo, for each vault]
    #[arg(long, value_name = "AGE", value_parser = duration::parse)]
    pub(crate) max_age: Option<Duration>,
    /// Do not list the store: only vaults that the settings name, protected as they were when they were stored
    #[arg(long)]
    pub(crate) quick: bool,
    /// Write metrics for Prometheus to this file, over earlier ones, also if the check fails
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_file: Option<PathBuf>,
}

/// Which vaults: of `snapshot` and `vaults`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which vaults (docs/FLEET.md)")]
pub(crate) struct Choice {
    /// Only this vault, by its name or host, or those that fit a pattern such as 'prod-*'; may be repeated
    #[arg(long = "vault", value_name = "NAME|PATTERN", value_parser = parsed::<Glob>)]
    pub(crate) vaults: Vec<Glob>,
    /// Every vault that the settings' identities see, beside those that the settings name
    #[arg(long)]
    pub(crate) all: bool,
    /// Only vaults in this subscription; may be repeated
    #[arg(long = "subscription", value_name = "ID", value_parser = parsed::<SubscriptionId>)]
    pub(crate) subscriptions: Vec<SubscriptionId>,
    /// Only vaults with this tag; may be repeated, and then all must be there
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = parsed::<Tag>)]
    pub(crate) tags: Vec<Tag>,
    /// Only vaults whose name in Azure fits; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = parsed::<Glob>)]
    pub(crate) include: Vec<Glob>,
    /// No vault whose name in Azure fits; may be repeated
    #[arg(long, value_name = "PATTERN", value_parser = parsed::<Glob>)]
    pub(crate) exclude: Vec<Glob>,
    /// Only this process's share: number I, from 0, of N; /N takes the number from JOB_COMPLETION_INDEX
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<String>,
    /// Only vaults whose newest snapshot is at least this old, such as 20h, or partial, or missing; without AGE, as old
    /// as their policy's `snapshot_every` says, less a twentieth
    #[arg(long, value_name = "AGE", value_parser = duration::parse, num_args = 0..=1)]
    // Whether the flag is there, and whether it has a value.
    #[allow(clippy::option_option)]
    pub(crate) due: Option<Option<Duration>>,
}

/// Parses what says itself what is wrong with it.
fn parsed<T: TryFrom<String, Error = String>>(text: &str) -> Result<T, String> {
    T::try_from(text.to_owned())
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only this vault, by its name in the settings or its host; may be repeated
    #[arg(long = "vault", value_name = "NAME")]
    pub(crate) vaults: Vec<String>,
    /// List snapshots, not objects
    #[arg(long)]
    pub(crate) snapshots: bool,
    /// List also what the newest snapshot no longer names, if a capture is left
    #[arg(long, conflicts_with = "snapshots")]
    pub(crate) ever: bool,
}

/// Arguments of `history`.
#[derive(Debug, Args)]
pub(crate) struct History {
    /// The object, such as key/tde-protector
    #[arg(value_name = "KIND/NAME")]
    pub(crate) object: String,
    /// The vault, by its name in the settings or its host; needed where there are several
    #[arg(long, value_name = "NAME")]
    pub(crate) vault: Option<String>,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Download and hash every capture too
    #[arg(long)]
    pub(crate) read_captures: bool,
    /// Only part K of N of the captures, such as 3/7: N runs read them all [implies --read-captures]
    #[arg(long, value_name = "K/N", value_parser = parsed::<Subset>)]
    pub(crate) subset: Option<Subset>,
    /// Open the captures that are read; needs an identity [implies --read-captures]
    #[arg(long)]
    pub(crate) open: bool,
    /// Compare the newest snapshots with what the settings' vaults show now
    #[arg(long)]
    pub(crate) live: bool,
    /// Complain if a vault's newest complete snapshot is older, such as 26h
    #[arg(long, value_name = "AGE", value_parser = duration::parse)]
    pub(crate) max_age: Option<Duration>,
    /// Write what was verified, signed by [verify] signer of the settings, over an earlier report
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Start from an earlier report: logs must continue those it saw, and what it covers is not read again
    #[arg(long, value_name = "FILE")]
    pub(crate) since_report: Option<PathBuf>,
    /// Make a key that signs reports, print its verifier, and do nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["read_captures", "subset", "open", "live", "max_age", "report", "since_report"])]
    pub(crate) make_key: Option<PathBuf>,
}

/// `policy` commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Say what is wrong with policies, and what is unwise
    Check {
        /// Policy files, or names of built-in policies [default: those that the settings use]
        #[arg(value_name = "FILE|NAME")]
        policies: Vec<String>,
    },
    /// Print a policy as canonical JSON, defaults filled in, and the SHA-256 that manifests quote
    Show {
        /// A policy file, or the name of a built-in policy [default: the one in [capture] of the settings]
        #[arg(value_name = "FILE|NAME")]
        policy: Option<String>,
    },
    /// Say which rule decides about an object, and what follows; asks no vault
    Explain(Explain),
}

/// Arguments of `policy explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The object, such as secret/build-token; it need not exist
    #[arg(value_name = "KIND/NAME")]
    pub(crate) object: String,
    /// Its vault, by its name in the settings, its name in Azure or its address
    #[arg(long, value_name = "NAME")]
    pub(crate) vault: Option<String>,
    /// A policy file, or the name of a built-in policy; the settings are not read then [default: the vault's]
    #[arg(long, value_name = "FILE|NAME")]
    pub(crate) policy: Option<String>,
    /// A tag that it has; may be repeated. Without any, its tags are not known
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    pub(crate) tags: Vec<(String, String)>,
    /// Take it to be disabled, not enabled
    #[arg(long)]
    pub(crate) disabled: bool,
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a tag is given as NAME=VALUE".to_owned()),
    }
}

/// `restore` commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Restore {
    /// Look at the names in the target vault and say what would be done; changes nothing
    Plan(Box<Plan>),
    /// Carry out a plan
    Apply(Apply),
    /// Finish what somebody began and recorded no result of
    Resume(Resume),
    /// Show what was restored, by whom, and what became of it; asks no vault
    Log(RestoreLog),
}

/// Arguments of `restore apply`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The plan file
    #[arg(value_name = "PLAN", default_value = "restore-plan.json")]
    pub(crate) plan: PathBuf,
    /// Restore although the log does not hold or cannot be written; nothing is recorded then
    #[arg(long)]
    pub(crate) without_log: bool,
    /// Do not ask; needed where there is no terminal to ask on
    #[arg(long)]
    pub(crate) yes: bool,
    /// Wait so long for one object that is being deleted, purged or recovered [default: restore.wait of the settings]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) wait: Option<Duration>,
}

/// Arguments of `restore resume`.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The vault that was archived, by its name in the settings or its host [default: every vault of the archive]
    #[arg(long, value_name = "NAME")]
    pub(crate) vault: Option<String>,
    /// Only this intent, by its number in that vault's log
    #[arg(long, value_name = "SEQUENCE")]
    pub(crate) intent: Option<u64>,
    /// Look, and say what would be done; nothing is changed or recorded
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Restore nothing more: look, and record what became of it
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) abandon: bool,
    /// Do not ask; needed where there is no terminal to ask on
    #[arg(long)]
    pub(crate) yes: bool,
    /// Wait so long for one object that is being deleted, purged or recovered [default: restore.wait of the settings]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) wait: Option<Duration>,
}

/// Arguments of `restore log`.
#[derive(Debug, Args)]
pub(crate) struct RestoreLog {
    /// Only restores from this vault's captures, by its name in the settings or its host; may be repeated
    #[arg(long = "vault", value_name = "NAME")]
    pub(crate) vaults: Vec<String>,
    /// Only restores of this object, such as key/tde-protector
    #[arg(long, value_name = "KIND/NAME")]
    pub(crate) object: Option<String>,
}

/// Arguments of `open`.
#[derive(Debug, Args)]
pub(crate) struct Open {
    /// Sealed captures of objects or of vaults' settings, as they were stored: ….tar.zst.age
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// age identity file that opens them; may be repeated [default: archive.identity of the settings]
    #[arg(long = "identity", value_name = "FILE")]
    pub(crate) identities: Vec<PathBuf>,
    /// Write what is inside into this new folder: backup.blob, metadata.json and README.txt, or settings.json and
    /// README.txt; of several files, into a folder each in there
    #[arg(long, value_name = "DIR")]
    pub(crate) extract: Option<PathBuf>,
    /// Print metadata.json or settings.json of the one file as it was stored
    #[arg(long, conflicts_with = "extract")]
    pub(crate) metadata: bool,
}

/// Arguments of `emulator`.
#[derive(Debug, Args)]
pub(crate) struct Emulator {
    /// What Azure holds at the start
    #[arg(long, value_name = "FILE")]
    pub(crate) seed: PathBuf,
    /// Folder that keeps the state from run to run
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// File to write once the emulator answers: addresses and credentials as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leave the emulator running until ctrl-c, and print how to use it
    #[arg(long)]
    pub(crate) keep: bool,
    /// Folder to work in [default: a new temporary one]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
