//! Claiming names: an intent goes into the log only behind the entries that it was judged by, so that of two operators one
//! wins, and the other is told who and when. Changes no vault.

use std::collections::BTreeMap;

use crate::archive::{Appender, REBASES, Reader};
use crate::error::{Context, Error, Kind, Result};
use crate::format::entry::{Entry, Event, IntentStep, LogFile, Outcome, RestoreIntent, RestoreResult};
use crate::jobs::history::{self, Log};
use crate::model::VaultUri;
use crate::restore::{Ledger, Record};

/// The log of a vault as far as it was read, and what it and others tell of restores.
pub(super) struct Register<'a> {
    reader: &'a Reader<'a>,
    /// The vault whose log is written.
    vault: &'a VaultUri,
    /// Other vaults, whose logs are only read.
    others: Vec<VaultUri>,
    ledger: Ledger,
    head: Option<LogFile>,
    /// The newest entry that was read, of each log.
    read: BTreeMap<String, u64>,
    /// The same, when the register was opened. Slots are looked at after that, and what is committed later may change them.
    looked: BTreeMap<String, u64>,
}

/// Reads the ledger of a vault's log; with `all`, that of all logs in the archive: an HSM key may have come from a capture
/// of another vault.
///
/// What is damaged, the head too, does not keep from reading the rest: [`Ledger::blind`] tells of it.
pub async fn read_ledger(reader: &Reader<'_>, vault: &VaultUri, all: bool) -> Result<Ledger> {
    let mut register = Register::new(reader, vault, all).await?;
    register.catch_up_others().await?;
    register.catch_up(vault).await?;
    Ok(register.ledger)
}

/// The same, for whoever has read the vault's own log.
pub(super) async fn ledger_with(reader: &Reader<'_>, log: &Log, all: bool) -> Result<Ledger> {
    let mut register = Register::new(reader, &log.vault, all).await?;
    register.catch_up_others().await?;
    register.learn(&log.vault, &log.entries, &log.damaged);
    Ok(register.ledger)
}

impl<'a> Register<'a> {
    /// Reads the log of `vault`, and with `all` every other log.
    pub(super) async fn open(reader: &'a Reader<'a>, vault: &'a VaultUri, all: bool) -> Result<Self> {
        let mut register = Register::new(reader, vault, all).await?;
        register.refresh().await?;
        register.looked = register.read.clone();
        Ok(register)
    }

    async fn new(reader: &'a Reader<'a>, vault: &'a VaultUri, all: bool) -> Result<Self> {
        let mut others = if all { reader.vaults().await? } else { Vec::new() };
        others.retain(|other| other != vault);
        let (read, looked) = (BTreeMap::new(), BTreeMap::new());
        Ok(Register { reader, vault, others, ledger: Ledger::default(), head: None, read, looked })
    }

    /// Reads what was committed since.
    async fn refresh(&mut self) -> Result<()> {
        self.catch_up_others().await?;
        self.catch_up_own().await
    }

    async fn catch_up_own(&mut self) -> Result<()> {
        // The head first: entries that come in between make the commit fail, and are read then.
        self.head = self.reader.head(self.vault).await?;
        self.catch_up(self.vault).await
    }

    async fn catch_up_others(&mut self) -> Result<()> {
        for other in self.others.clone() {
            self.catch_up(&other).await?;
        }
        Ok(())
    }

    async fn catch_up(&mut self, vault: &VaultUri) -> Result<()> {
        let after = self.read.get(vault.host()).copied().unwrap_or(0);
        let entries = self.reader.entries_after(vault, after).await?;
        self.learn(vault, &entries.verified, &entries.damaged);
        Ok(())
    }

    /// Adds what the next entries of a log tell, and which of them tell nothing.
    fn learn(&mut self, vault: &VaultUri, entries: &[Entry], damaged: &[u64]) {
        let host = vault.host();
        for sequence in damaged {
            self.ledger.cannot_read(host, *sequence);
        }
        self.ledger.add(entries);
        if let Some(newest) = entries.iter().map(|entry| entry.sequence).chain(damaged.iter().copied()).max() {
            self.read.insert(host.to_owned(), newest);
        }
    }

    /// Refuses what the logs forbid: names on which somebody's intent is open, or that somebody used since they were
    /// looked at, and HSM keys whose one restore is spent.
    pub(super) fn judge(&self, intent: &RestoreIntent) -> Result<()> {
        let mut taken = Vec::new();
        let mut spent = Vec::new();
        for step in &intent.steps {
            let (target, object) = (&intent.target, &step.object);
            if let Some(record) = self.ledger.open(target, object) {
                taken.push(format!("{object}: {} began to change it, and no result is recorded", record.who()));
            } else if let Some(record) = self.newer(intent, step) {
                taken.push(format!("{object}: {} changed it since this plan was begun", record.who()));
            } else if step.hsm && step.action.creates() && intent.single_restore_override.is_none() {
                spent.extend(self.spent(target, step));
            }
        }
        if !taken.is_empty() {
            let message = format!("somebody else was faster: {}", history::some_of(&taken));
            return Err(Error::new(Kind::Conflict, message).hint(
                "`akv-archiver restore log` shows who and what; `akv-archiver restore resume` finishes what somebody left open",
            ));
        }
        if !spent.is_empty() {
            return Err(Error::new(Kind::Refused, history::some_of(&spent)).hint(
                "restore into another vault (--to), or plan with --override-single-restore \"reason\", which the log records",
            ));
        }
        Ok(())
    }

    /// A record on the step's name that was committed after the slots were looked at.
    fn newer(&self, intent: &RestoreIntent, step: &IntentStep) -> Option<&Record> {
        // The cheap question first: a ledger may be long, and so may a plan.
        let of = |record: &&Record| !self.seen(record) && record.touches(&intent.target, &step.object);
        self.ledger.records().iter().find(of)
    }

    /// Whether a record was there when the register was opened.
    fn seen(&self, record: &Record) -> bool {
        self.looked.get(&record.log).is_some_and(|looked| record.sequence <= *looked)
    }

    fn spent(&self, target: &VaultUri, step: &IntentStep) -> Option<String> {
        let object = &step.object;
        if let Some(record) = self.ledger.spent(target, object) {
            return Some(format!("{object} is an HSM key, and was restored into {target} before: by {}", record.who()));
        }
        let (log, sequence) = self.ledger.blind().first()?;
        Some(format!(
            "{object} is an HSM key, and whether it was restored into {target} before is not known: entry {sequence} in the log of {log} cannot be read"
        ))
    }

    /// Commits an intent, if the log still allows it. Returns its number.
    pub(super) async fn claim(&mut self, appender: &Appender<'_>, intent: &RestoreIntent) -> Result<u64> {
        for _ in 0..REBASES {
            self.refresh().await?;
            self.judge(intent)?;
            let event = Event::RestoreIntent(intent.clone());
            if let Some(sequence) = appender.try_commit(self.head.as_ref(), event).await? {
                return Ok(sequence);
            }
        }
        Err(appender.overtaken())
    }

    /// What other logs tell of names of ours that was not there to be judged: two logs have no common head, so each operator
    /// looks once more after having told the other. An intent stands in the way while it is open, and for good where it may
    /// have had an effect.
    pub(super) async fn rivals(&mut self, intent: &RestoreIntent) -> Result<Vec<(usize, String)>> {
        self.catch_up_others().await?;
        let ours = self.vault.host();
        let rival = |step: &IntentStep| {
            let news = |record: &&Record| record.log != ours && (record.result.is_none() || !self.seen(record));
            let counts = |record: &&Record| {
                record.steps().any(|(_, outcome)| outcome.is_none_or(|outcome| outcome.result.spent()))
            };
            let mut found = self.ledger.records().iter().filter(news).filter(counts);
            found.find(|record| record.touches(&intent.target, &step.object)).map(Record::who)
        };
        let steps = intent.steps.iter().enumerate().filter(|(_, step)| step.hsm);
        Ok(steps.filter_map(|(index, step)| Some((index, rival(step)?))).collect())
    }

    /// Commits what became of an intent of this log. Returns `false` where somebody else has done so already.
    pub(super) async fn close(&mut self, appender: &Appender<'_>, intent: u64, outcomes: Vec<Outcome>) -> Result<bool> {
        let event = Event::RestoreResult(RestoreResult { intent, outcomes });
        for _ in 0..REBASES {
            self.catch_up_own().await.context("couldn't read the log again")?;
            if self.ledger.record(self.vault.host(), intent).is_some_and(|record| record.result.is_some()) {
                return Ok(false);
            }
            if appender.try_commit(self.head.as_ref(), event.clone()).await?.is_some() {
                return Ok(true);
            }
        }
        Err(appender.overtaken())
    }
}
