//! The play: starts processes, lets people use the vaults and time pass, kills, and gives turns, all as the seed says; then
//! lets peace return, in which everything must come to its end. The model looks on after each turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use akv_archiver::jobs::restore::{Mode, Point};
use akv_archiver::jobs::snapshot::{Effort, Outcome};
use akv_archiver::jobs::status::Depth;
use akv_archiver::progress::{Halt, Stop};
use akv_archiver::restore::Allowed;
use akv_archiver::verify::Subset;
use chrono::TimeDelta;
use futures::future::BoxFuture;

use super::doors::{Process, Weather};
use super::jobs::{self, Ended, Look};
use super::keep;
use super::model::Model;
use super::stage::{Company, Went};
use super::world::World;

/// Turns that a world may take, far more than any needs.
const TURNS: u64 = 60_000;

/// What is to become of a process.
struct Running {
    /// Turns that it has had.
    turns: u64,
    /// After how many turns it is killed, or asked to stop.
    kill: Option<u64>,
    halt: Option<u64>,
    stop: Arc<Stop>,
    begun: u64,
    number: usize,
}

pub(crate) struct Play {
    pub(crate) world: Arc<World>,
    pub(crate) model: Model,
    company: Company<Ended>,
    running: BTreeMap<String, Running>,
    started: usize,
    /// Whether this is a world of many restores, one after the other: where names of HSM keys are spent.
    drill: bool,
    /// Whether people protect its archive again and again; only where versions are protected one by one.
    keeping: bool,
}

/// A kind of process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Job {
    Snapshot,
    Restore,
    Resume,
    Verify,
    Status,
    Protect,
}

impl Job {
    fn name(self) -> &'static str {
        match self {
            Job::Snapshot => "snapshot",
            Job::Restore => "restore",
            Job::Resume => "resume",
            Job::Verify => "verify",
            Job::Status => "status",
            Job::Protect => "protect",
        }
    }
}

impl Play {
    pub(crate) fn new(seed: u64, runtime: tokio::runtime::Handle) -> Self {
        let world = World::new(seed);
        let (model, company) = (Model::new(&world), Company::new(world.stage.clone(), runtime));
        let (drill, keeping) = world.stage.chance(|chance| (chance.one_in(4), chance.one_in(2)));
        let keeping = keeping && world.versioned && !drill;
        Play { world, model, company, running: BTreeMap::new(), started: 0, drill, keeping }
    }

    /// Plays to the end, or to the first thing that cannot be.
    pub(crate) fn play(&mut self) {
        for number in 0..self.world.vaults.len() {
            for _ in 0..self.world.stage.chance(|chance| 1 + chance.below(5)) {
                self.people();
            }
            for first in ["secret/first", "key/hsm-0"] {
                self.world.put(number, &akv_archiver::model::Object::parse(first).unwrap());
            }
        }
        self.model.look(&self.world);
        self.world.stage.advance(TimeDelta::hours(1));
        for number in 0..self.world.vaults.len() {
            for object in self.model.live(number) {
                if self.world.stage.chance(|chance| chance.one_in(2)) {
                    self.world.edit(number, &object);
                }
            }
        }
        self.model.look(&self.world);
        let mut deeds = self.world.stage.chance(|chance| 4 + chance.below(10));
        while self.model.wrong.is_empty() && (deeds > 0 || !self.running.is_empty()) {
            let act = deeds > 0 && (self.running.is_empty() || self.world.stage.chance(|chance| chance.one_in(25)));
            if act {
                deeds -= 1;
                self.act();
            }
            self.turn();
        }
        if self.model.wrong.is_empty() {
            self.peace();
        }
    }

    /// Something happens.
    fn act(&mut self) {
        let idle = self.running.is_empty();
        let what = self.world.stage.chance(|chance| chance.below(102));
        if self.keeping && self.running.len() < 4 && self.world.stage.chance(|chance| chance.one_in(3)) {
            let many = self.world.stage.chance(|chance| 1 + chance.below(8) / 7);
            (0..many).for_each(|_| self.start(Job::Protect, true));
            return self.model.look(&self.world);
        }
        if self.drill && what < 70 {
            // One after the other, most of the time.
            match self.running.keys().any(|name| name.starts_with("restore")) && what >= 20 {
                true => {}
                false => self.restore(if what < 10 { 2 } else { 1 }),
            }
            return self.model.look(&self.world);
        }
        match what {
            0..24 => self.people(),
            24..30 => {
                let number = self.world.stage.chance(|chance| chance.below(self.world.vaults.len()));
                self.world.disaster(number, &self.model.live(number));
            }
            30..40 if idle => {
                let passes = self.world.stage.chance(|chance| match chance.below(4) {
                    0 => TimeDelta::minutes(chance.between(1, 120)),
                    1 => TimeDelta::hours(chance.between(1, 60)),
                    2 => TimeDelta::days(chance.between(1, 20)),
                    _ => TimeDelta::days(chance.between(20, 120)),
                });
                self.overdue();
                self.world.count("jumps of time");
                self.world.stage.advance(passes);
            }
            _ if self.running.len() >= 4 => {}
            40..57 => self.start(Job::Snapshot, true),
            // Two at once are where it becomes interesting.
            57..61 => (0..2).for_each(|_| self.start(Job::Snapshot, true)),
            61..77 => self.restore(1),
            77..86 => self.restore(2),
            86..92 => self.start(Job::Resume, true),
            92..94 => (0..2).for_each(|_| self.start(Job::Resume, true)),
            94..97 => self.start(Job::Verify, true),
            97..100 => self.start(Job::Status, true),
            100 if self.world.versioned => self.start(Job::Protect, true),
            _ => self.model.thief(&self.world),
        }
        self.model.look(&self.world);
    }

    fn people(&mut self) {
        let model = &self.model;
        self.world.somebody(&|number, object| model.is_live(number, object), &|number, object| {
            model.is_deleted(number, object)
        });
        self.model.look(&self.world);
    }

    /// Starts so many restores of the same vault, after a disaster where there is nothing to bring back.
    fn restore(&mut self, many: usize) {
        let number = self.world.stage.chance(|chance| chance.below(self.world.vaults.len()));
        let captured = self.model.captured(&self.world, number);
        if captured.is_empty() {
            return self.start_at(Job::Snapshot, true, number);
        }
        let nothing_gone = captured.iter().all(|object| self.model.is_live(number, object));
        if nothing_gone || self.drill || self.world.stage.chance(|chance| chance.one_in(2)) {
            self.world.disaster(number, &self.model.live(number));
            self.model.look(&self.world);
        }
        (0..many).for_each(|_| self.start_at(Job::Restore, true, number));
    }

    fn start(&mut self, job: Job, rough: bool) {
        let number = self.world.stage.chance(|chance| chance.below(self.world.vaults.len()));
        self.start_at(job, rough, number);
    }

    /// Starts a process; in rough times it may fare badly.
    fn start_at(&mut self, job: Job, rough: bool, number: usize) {
        self.started += 1;
        let name = format!("{}-{}", job.name(), self.started);
        let (weather, kill, halt) = self.world.stage.chance(|chance| {
            let rate = |chance: &mut super::chance::Chance| *chance.pick(&[0, 0, 0, 0, 10, 30, 100]).unwrap();
            let weather = Weather { vault: rate(chance), store: rate(chance) };
            let kill = chance.one_in(5).then(|| chance.between(0, 90) as u64);
            let halt = chance.one_in(6).then(|| chance.between(0, 90) as u64);
            (weather, kill, halt)
        });
        if job == Job::Protect {
            self.model.kept.wants(&self.world, rough);
        }
        let stop = Arc::new(Stop::new());
        let (weather, kill, halt) = if rough { (weather, kill, halt) } else { (Weather::default(), None, None) };
        let process = Process { world: self.world.clone(), name: name.clone(), weather, resumes: None };
        let future = self.future(job, process, number, stop.clone(), rough);
        let begun = self.world.stage.step();
        self.begin(&name, job, future, Running { turns: 0, kill, halt, stop, begun, number });
    }

    fn begin(&mut self, name: &str, job: Job, future: BoxFuture<'static, Ended>, running: Running) {
        self.world.count("jobs run");
        self.world.count(match job {
            Job::Snapshot => "jobs: snapshot",
            Job::Restore => "jobs: restore",
            Job::Resume => "jobs: resume",
            Job::Verify => "jobs: verify",
            Job::Status => "jobs: status",
            Job::Protect => "jobs: protect",
        });
        self.model.began(name, running.begun);
        self.running.insert(name.to_owned(), running);
        let seals_or_opens = !matches!(job, Job::Verify | Job::Status | Job::Protect);
        self.company.start(name, seals_or_opens, future);
        self.world.stage.tell(format_args!("{name} starts"));
    }

    fn future(
        &self,
        job: Job,
        process: Process,
        number: usize,
        stop: Arc<Stop>,
        rough: bool,
    ) -> BoxFuture<'static, Ended> {
        let world = &self.world;
        let captured = self.model.captured(&self.world, number);
        let (mut gone, there): (Vec<_>, Vec<_>) =
            captured.into_iter().partition(|object| !self.model.is_live(number, object));
        let ever = self.model.ever(number);
        let newest = self.model.snapshots.iter().rfind(|it| world.number(&it.vault) == number);
        let newest = newest.map(|snapshot| snapshot.sequence);
        let (now, drill, wanted) = (world.now(), self.drill, self.model.kept.last.clone());
        world.stage.chance(|chance| match job {
            Job::Snapshot => {
                let mut order = world.order.clone();
                if rough {
                    order.effort = chance.weighed(&[(6, Effort::Usual), (1, Effort::Compare), (1, Effort::Take)]);
                }
                Box::pin(jobs::take(process, number, order, chance.one_in(2), stop)) as BoxFuture<'static, Ended>
            }
            Job::Restore => {
                let to = if chance.one_in(3) { chance.below(world.vaults.len()) } else { number };
                // Mostly what is gone; now and then what is there, what may never have been captured, and everything.
                let mut objects = match chance.below(8) {
                    0 => Vec::new(),
                    1 => chance.pick(&ever).into_iter().cloned().collect(),
                    2 => chance.pick(&there).into_iter().cloned().collect(),
                    _ => {
                        if !drill && chance.one_in(2) {
                            chance.shuffle(&mut gone);
                        } else {
                            gone.sort_by_key(|object| !object.name.as_str().starts_with("hsm"));
                        }
                        gone.truncate(1 + chance.below(5));
                        gone
                    }
                };
                objects.dedup();
                let point = match (chance.below(8), newest) {
                    (0, Some(newest)) if chance.one_in(3) => Point::Snapshot(1 + chance.below(newest as usize) as u64),
                    (0, Some(newest)) => Point::Snapshot(newest),
                    (1, Some(_)) => Point::Time(now - TimeDelta::hours(chance.between(0, 200))),
                    _ => Point::Newest,
                };
                let allowed = Allowed {
                    purge: chance.one_in(2),
                    recover_other: chance.one_in(3),
                    single_restore_override: chance.one_in(8).then(|| "a drill".to_owned()),
                };
                Box::pin(jobs::bring_back(process, number, to, jobs::request(&objects, point, allowed), stop))
            }
            Job::Resume => {
                let rough_mode = chance.weighed(&[(6, Mode::Finish), (1, Mode::Abandon), (1, Mode::DryRun)]);
                Box::pin(jobs::finish(process, if rough { rough_mode } else { Mode::Finish }, stop))
            }
            Job::Verify => {
                let read = match chance.below(3) {
                    _ if !rough => Some(Subset::ALL),
                    0 => None,
                    1 => Some(Subset::ALL),
                    _ => Subset::try_from(format!("{}/3", chance.between(1, 3))).ok(),
                };
                let (open, live) = (chance.one_in(2), !rough || chance.one_in(2));
                let max_age = TimeDelta::hours(chance.between(1, 400));
                Box::pin(jobs::check(process, Look { read, open, live, max_age }))
            }
            Job::Protect => Box::pin(keep::protect(process, wanted.unwrap(), stop)),
            Job::Status => {
                let depth = if chance.one_in(2) { Depth::Listing } else { Depth::Promises };
                Box::pin(jobs::stand(process, depth, TimeDelta::hours(chance.between(1, 400))))
            }
        })
    }

    /// Gives one turn, and sees what comes of it.
    fn turn(&mut self) {
        self.settle();
        if self.running.is_empty() || !self.model.wrong.is_empty() {
            return;
        }
        if self.world.stage.step() > TURNS {
            let running = self.company.running();
            return self.model.wrong.push(format!("after {TURNS} turns these have not come to an end: {running:?}"));
        }
        match self.world.stage.go_on() {
            Went::Late(effect) => {
                self.world.stage.tell("a request lands late");
                effect();
                self.model.look(&self.world);
            }
            Went::On(name) => {
                self.settle();
                self.meddle(&name);
            }
            Went::Nowhere => {
                let running = self.company.running();
                self.model.wrong.push(format!("nobody can go on, and these have not come to an end: {running:?}"));
            }
        }
    }

    /// Kills a process, or asks it to stop, if the time has come.
    fn meddle(&mut self, name: &str) {
        let Some(running) = self.running.get_mut(name) else { return };
        running.turns += 1;
        if running.halt == Some(running.turns) {
            running.stop.ask(Halt::Signal);
            self.world.count("processes asked to stop");
            self.world.stage.tell(format_args!("{name} is asked to stop"));
        }
        if running.kill.is_some_and(|kill| running.turns > kill) && self.company.kill(name) {
            self.running.remove(name);
            self.world.count("processes killed");
            self.world.stage.tell(format_args!("{name} is killed"));
        }
    }

    fn settle(&mut self) {
        for (name, outcome) in self.company.settle() {
            let running = self.running.remove(&name);
            match outcome {
                Ok(ended) => self.ended(&name, running, &ended),
                Err(panic) => self.model.wrong.push(format!("{name} panicked: {panic}")),
            }
        }
        self.model.look(&self.world);
    }

    fn ended(&mut self, name: &str, running: Option<Running>, ended: &Ended) {
        self.model.look(&self.world);
        let kind = ended.error().map_or("done", |error| error.kind().name());
        self.world.stage.tell(format_args!("{name} ends: {kind}"));
        let faulted = self.world.note(|notes| notes.faulted.contains(name));
        let undisturbed = running.filter(|running| !faulted && running.stop.asked().is_none());
        let undisturbed = undisturbed.map(|running| (running.number, running.begun));
        self.model.ended(&self.world, name, undisturbed, ended);
    }

    /// What is on its way arrives.
    fn overdue(&mut self) {
        while let Some(effect) = self.world.stage.overdue() {
            effect();
            self.model.look(&self.world);
        }
    }

    /// Runs one process to its end, in fair weather and alone.
    fn alone(&mut self, job: Job) {
        self.start(job, false);
        while self.model.wrong.is_empty() && !self.running.is_empty() {
            self.turn();
        }
    }

    /// No more faults, no more people: everything that is open is closed, everything that is there is captured, and all
    /// that was ever captured comes back.
    fn peace(&mut self) {
        self.world.stage.tell("peace");
        self.overdue();
        self.world.stage.advance(TimeDelta::minutes(10));
        self.model.look(&self.world);
        self.alone(Job::Resume);
        if self.model.wrong.is_empty() && self.model.open_intents() > 0 {
            self.model.wrong.push("intents are open that nobody can close".to_owned());
        }
        self.world.stage.advance(TimeDelta::minutes(10));
        for number in 0..self.world.vaults.len() {
            self.last_snapshot(number);
        }
        self.model.verdict = None;
        // Whatever was cut off is completed by running it once more.
        if self.model.kept.last.is_some() {
            self.alone(Job::Protect);
            self.model.thief(&self.world);
        }
        self.alone(Job::Verify);
        self.alone(Job::Status);
        if self.model.wrong.is_empty() {
            super::end::judge(&self.world, &mut self.model);
        }
        // When all protection has ended, what is held is still there.
        self.world.stage.advance(TimeDelta::days(1000));
        (0..3).for_each(|_| self.model.thief(&self.world));
    }

    /// A snapshot that compares everything, of a vault in which nothing happens any more.
    fn last_snapshot(&mut self, number: usize) {
        self.started += 1;
        let name = format!("snapshot-{}", self.started);
        let process =
            Process { world: self.world.clone(), name: name.clone(), weather: Weather::default(), resumes: None };
        let order = akv_archiver::jobs::snapshot::Order { effort: Effort::Compare, ..self.world.order.clone() };
        let (stop, begun) = (Arc::new(Stop::new()), self.world.stage.step());
        let future = Box::pin(jobs::take(process, number, order, true, stop.clone()));
        let running = Running { turns: 0, kill: None, halt: None, stop, begun, number };
        self.begin(&name, Job::Snapshot, future, running);
        while self.model.wrong.is_empty() && !self.running.is_empty() {
            self.turn();
        }
    }
}

/// How a snapshot ended, for the tally.
pub(crate) fn told(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Complete => "snapshot runs: complete",
        Outcome::Partial => "snapshot runs: partial",
        Outcome::Failed => "snapshot runs: failed",
        Outcome::Skipped => "snapshot runs: skipped",
    }
}
