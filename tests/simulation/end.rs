//! What must hold when a process ends, and when a world does: nobody cries tampering, no secret is told, everything that
//! a snapshot claims comes back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use akv_archiver::ambient::{Ambient, ManualClock, SeededRandom};
use akv_archiver::archive::Reader;
use akv_archiver::error::Kind;
use akv_archiver::format::manifest::Status;
use akv_archiver::format::paths::ArchivePath;
use akv_archiver::jobs::restore::{self, Point};
use akv_archiver::jobs::snapshot::Outcome;
use akv_archiver::jobs::status::Verdict;
use akv_archiver::model::{Atlas, Object, VaultUri};
use akv_archiver::progress::{Silent, Stop};
use akv_archiver::restore::Refusal;
use akv_archiver::store::Read as _;
use akv_archiver::vault::Read as _;
use akv_archiver::vault::memory::Memory as Vault;
use akv_archiver::verify::{Code, Severity};
use chrono::TimeDelta;
use futures::{FutureExt as _, StreamExt as _};

use super::found_out;
use super::jobs::Ended;
use super::model::{Model, Snapshot};
use super::world::{CANARY, World, keys};

impl Model {
    /// How old the newest complete snapshot is, of the vault where it is oldest.
    fn newest_age(&self, world: &World) -> TimeDelta {
        let complete = |vault: &VaultUri| {
            let of = self.snapshots.iter().filter(|it| it.vault == *vault && it.status == Status::Complete);
            of.map(|snapshot| snapshot.started).max()
        };
        let ages = world.uris().into_iter().filter_map(|vault| Some(world.now() - complete(&vault)?));
        ages.max().unwrap_or(TimeDelta::MAX)
    }

    /// Judges how a process ended. `undisturbed`: its vault and when it began, where neither fault nor signal met it.
    pub(crate) fn ended(&mut self, world: &World, name: &str, undisturbed: Option<(usize, u64)>, ended: &Ended) {
        if ended.text().contains(CANARY) {
            self.wrong.push(format!("{name} told a secret: {}", ended.text()));
        }
        if let Some(error) = ended.error() {
            let usual = [Kind::Conflict, Kind::Unavailable, Kind::NotFound, Kind::Refused, Kind::Denied];
            if !usual.contains(&error.kind()) {
                self.wrong.push(format!("{name} ended with {}: {error}", error.kind().name()));
            }
            world.count(match error.kind() {
                Kind::Conflict => "errors: conflict",
                Kind::Unavailable => "errors: unavailable",
                Kind::NotFound => "errors: not found",
                Kind::Refused => "errors: refused",
                _ => "errors: others",
            });
            if undisturbed.is_some() && matches!(error.kind(), Kind::Unavailable | Kind::Denied) {
                self.wrong.push(format!("{name} met no fault, and ended with {}: {error}", error.kind().name()));
            }
        }
        match ended {
            Ended::Snapshot(Ok(report)) => {
                world.count(super::play::told(report.status));
                if report.commits > 1 {
                    world.count("commits half-way");
                }
                let vault = VaultUri::parse(&report.vault).unwrap();
                self.theirs(name, &vault, report.sequence);
                let still = undisturbed.filter(|(number, begun)| self.still_since(*number, *begun));
                if still.is_some() && report.status != Outcome::Complete {
                    let gaps = &report.gaps;
                    self.wrong.push(format!("{name} met nothing that disturbs, and is {:?}: {gaps:?}", report.status));
                }
            }
            Ended::Snapshot(Err(error)) if undisturbed.is_some() => {
                self.wrong.push(format!("{name} met no fault, and failed: {error}"));
            }
            Ended::Restore(Ok((plan, applied))) => {
                for step in &plan.steps {
                    world.count(match step.action.name() {
                        "restore" => "plan: restore",
                        "recover" => "plan: recover",
                        "purge-and-restore" => "plan: purge and restore",
                        "refused" => "plan: refused",
                        "wait" => "plan: wait",
                        _ => "plan: nothing",
                    });
                    step.refusal.iter().for_each(|refusal| world.count(refused(*refusal)));
                }
                applied.intents.iter().for_each(|intent| self.theirs(name, &plan.source, Some(*intent)));
                if applied.intents.iter().any(|_| true) {
                    world.count("restores carried out");
                }
            }
            Ended::Resume(Ok(resumed)) => {
                world.count_many("intents closed by others", resumed.iter().filter(|it| it.closed).count() as u64);
            }
            Ended::Verify(Ok(report)) => {
                self.verdict = Some(report.findings.clone());
                for code in report.counts.keys() {
                    world.count(match code {
                        Code::SnapshotStale => "findings: snapshot stale",
                        Code::ProtectionShort => "findings: protection short",
                        Code::CoverageGap => "findings: coverage gap",
                        Code::Orphan => "findings: orphans",
                        Code::LiveAhead | Code::LiveOverdue | Code::LiveGone => "findings: of the live vault",
                        _ => "findings: others",
                    });
                }
                for finding in report.findings.iter().filter(|finding| finding.severity == Severity::Tampered) {
                    self.wrong.push(format!("{name} cries tampering: {finding:?}"));
                }
            }
            Ended::Status(Ok(report)) => {
                for vault in report.vaults.iter().filter(|vault| vault.status == Verdict::Tampered) {
                    self.wrong.push(format!("{name} cries tampering: {:?}", vault.reasons));
                }
            }
            Ended::Protect(Ok(kept)) => self.kept(world, name, undisturbed.is_some(), kept),
            _ => {}
        }
    }

    /// What a process says that it committed, it did.
    fn theirs(&mut self, name: &str, vault: &VaultUri, sequence: Option<u64>) {
        let Some(sequence) = sequence else { return };
        let author = self.author(vault, sequence).map(str::to_owned);
        if author.as_deref() != Some(name) {
            self.wrong.push(format!("{name} says that it committed entry {sequence}, and {author:?} did"));
        }
    }
}

/// Judges a world that has come to rest.
pub(crate) fn judge(world: &World, model: &mut Model) {
    let mut wrong = Vec::new();
    kept(world, model, &mut wrong);
    wrong.extend(model.protection_holds(world));
    unexpected(world, model, &mut wrong);
    for number in 0..world.vaults.len() {
        let newest = model.snapshots.iter().rfind(|it| it.vault == world.uris()[number]);
        match newest {
            Some(newest) if newest.status == Status::Complete => {
                if model.claims(newest) != model.holds(number) {
                    wrong.push(format!("the last snapshot of {} is not what it holds", newest.vault.name()));
                }
            }
            _ => wrong.push(format!("vault {number} rests, and its last snapshot is not complete")),
        }
    }
    let mut complete: Vec<&Snapshot> = model.snapshots.iter().filter(|it| it.status == Status::Complete).collect();
    // The newest of all, and some others.
    world.stage.chance(|chance| {
        let last = complete.len().saturating_sub(1);
        if last > 0 {
            chance.shuffle(&mut complete[..last]);
        }
        complete.reverse();
        complete.truncate(1 + chance.below(2));
    });
    for snapshot in complete {
        world.count("snapshots brought back whole");
        if let Err(why) = comes_back(world, model, snapshot) {
            wrong.push(format!("snapshot {} of {}: {why}", snapshot.sequence, snapshot.vault.name()));
        }
    }
    model.wrong.extend(wrong);
}

/// What the verifier finds in an archive at rest, and what it should not.
fn unexpected(world: &World, model: &Model, wrong: &mut Vec<String>) {
    let Some(findings) = &model.verdict else { return wrong.push("nobody verified".to_owned()) };
    let short = i64::from(world.days) < world.order.renewal.protection_min.num_days() + 1;
    let oldest: Vec<_> = world.store.list("archive.json").map(Result::unwrap).collect().now_or_never().unwrap();
    let ends = |born| born + TimeDelta::days(i64::from(world.days)) - world.order.renewal.protection_min;
    let aged = oldest.iter().any(|file| ends(file.created) <= world.now());
    for finding in findings {
        let expected = match finding.code {
            // What the vault in memory backs up does not begin as Azure's backups do.
            Code::BackupMalformed | Code::Orphan => true,
            Code::ProtectionShort => short,
            // What no snapshot renews, and nobody here extends.
            Code::RecordShort => aged,
            Code::Unlocked => world.unlocked,
            // Of whoever asks for more than is promised.
            Code::SnapshotStale => model.newest_age(world) > TimeDelta::hours(1),
            _ => false,
        };
        if !expected {
            wrong.push(format!("the verifier finds what is not so: {finding:?}"));
        }
    }
    let unlocked = findings.iter().any(|finding| finding.code == Code::Unlocked);
    if unlocked != world.unlocked {
        wrong.push(format!("the store is unlocked: {}; the verifier says {unlocked}", world.unlocked));
    }
}

/// Nothing that was created is gone or changed, nothing is there twice, and nobody can read a secret.
fn kept(world: &World, model: &Model, wrong: &mut Vec<String>) {
    let listed: Vec<_> = world.store.list("").map(Result::unwrap).collect().now_or_never().unwrap();
    let paths: BTreeSet<String> = listed.iter().map(|it| it.path.as_ref().unwrap().to_string()).collect();
    if paths.len() != listed.len() {
        wrong.push("a path has two versions".to_owned());
    }
    for file in model.files() {
        let read = world.store.get(&file.path, None, u64::MAX).now_or_never().unwrap();
        if read.ok().as_ref() != Some(&file.bytes) {
            wrong.push(format!("{} is gone, or has other bytes", file.path));
        }
        let plain = match ArchivePath::parse(&file.path) {
            Some(ArchivePath::Manifest { .. }) => zstd::stream::decode_all(&file.bytes[..]).unwrap(),
            _ => file.bytes.to_vec(),
        };
        if plain.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()) {
            wrong.push(format!("{} shows a secret", file.path));
        }
    }
}

/// Restores a snapshot into an empty vault of the same place, and compares.
fn comes_back(world: &World, model: &Model, snapshot: &Snapshot) -> Result<(), String> {
    let number = world.number(&snapshot.vault);
    let clock = Arc::new(ManualClock::new(world.now()));
    let ambient = Ambient::new(clock.clone(), Arc::new(SeededRandom::new(1)));
    let empty = Vault::new(VaultUri::parse("https://empty.vault.azure.net").unwrap(), clock);
    empty.set_facts(world.vaults[number].facts.clone());
    let stop = Stop::new();
    let claims = model.claims(snapshot);
    let applied = async {
        let reader = Reader::open(&world.store, &world.verifiers).await?;
        let eyes = restore::Eyes {
            reader: Some(&reader),
            identities: &keys().identities,
            source: snapshot.vault.clone(),
            target: &empty,
            facts: Some(&empty),
            others: &[],
            atlas: Atlas::default(),
            ambient: &ambient,
            progress: &Silent,
        };
        let request = restore::Request { point: Point::Snapshot(snapshot.sequence), ..restore::Request::of(&[]) };
        if claims.is_empty() {
            return Ok(None);
        }
        let plan = restore::make_plan(&eyes, &request).await?;
        let hands = restore::Hands {
            logbook: None,
            reader: Some(&reader),
            identities: &keys().identities,
            vault: &empty,
            ambient: &ambient,
            operator: "judge",
            progress: &Silent,
            stop: &stop,
            wait: Duration::from_secs(60),
            in_flight: 4,
        };
        restore::apply(&hands, &plan).await.map(Some)
    };
    let applied = found_out(applied).map_err(|error: akv_archiver::error::Error| error.to_string())?;
    let Some(applied) = applied else { return Ok(()) };
    if applied.status != "done" || applied.steps.len() != claims.len() {
        return Err(format!("it does not come back: {applied:#?}"));
    }
    let differs = |object: &Object| {
        let backup = empty.backup(object).now_or_never().unwrap();
        backup.ok().is_none_or(|backup| backup.blob[..] != claims[object][..])
    };
    match claims.keys().find(|object| differs(object)) {
        Some(object) => Err(format!("{object} came back as something else")),
        None => Ok(()),
    }
}

/// A refusal, for the tally.
fn refused(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::RestoredBefore => "refusals: HSM key restored before",
        Refusal::IntentOpen => "refusals: intent open",
        Refusal::HeldPurgeable | Refusal::HeldProtected => "refusals: name held",
        Refusal::LiveOther => "refusals: live and other",
        refusal if refusal.of_place() => "refusals: place",
        _ => "refusals: others",
    }
}
