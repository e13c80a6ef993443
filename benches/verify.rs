//! What `verify` costs at its default level: an archive of a million captures is made, verified in a process of its own, and
//! the CPU time and the memory of that process are printed. Captures are listed and have no bytes, since none is read.
//!
//! Usage: `cargo bench --bench verify` [-- CAPTURES]. Where it is only tried, as a test, a thousand will do.

// A benchmark is a test's kin: what cannot go on stops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr, missing_docs)]

use std::path::Path;
use std::process::Command;

use akv_archiver::format::archive::{Archive, key_name};
use akv_archiver::format::entry::{Entry, Event, LogFile, SnapshotRef};
use akv_archiver::format::manifest::{self, CaptureRef, Counts, Header, Line, State, Status};
use akv_archiver::format::paths;
use akv_archiver::model::{Digest, Kind, Mode, Name, Object, StorePath, VaultUri, hex};
use akv_archiver::store::directory::Directory;
use akv_archiver::store::{Append, Error, Guard, Listed, Protection, Read, Worm};
use akv_archiver::tlog::Signer;
use akv_archiver::verify::{Standard, verify};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{self, BoxStream, StreamExt};
use uuid::Uuid;

const VAULTS: u64 = 10;
const NIGHTS: u64 = 10;

/// The objects of each vault; each is captured every night.
#[derive(Clone, Copy)]
struct Shape {
    objects: u64,
}

impl Shape {
    fn of(captures: u64) -> Shape {
        Shape { objects: captures.div_ceil(VAULTS * NIGHTS) }
    }

    fn captures(self) -> u64 {
        self.objects * VAULTS * NIGHTS
    }
}

fn id() -> Uuid {
    Uuid::from_u128(7)
}

fn signer() -> Signer {
    Signer::from_seed(&key_name(id()), &[7; 32]).unwrap()
}

fn night(number: u64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_224_600, 0).unwrap() + TimeDelta::days(i64::try_from(number).unwrap())
}

fn vault(number: u64) -> VaultUri {
    VaultUri::parse(&format!("https://payments-{number:03}.vault.azure.net")).unwrap()
}

fn object(number: u64) -> Object {
    Object::new(Kind::Secret, Name::parse(&format!("service-{number:06}-connection-string")).unwrap())
}

/// A capture as its manifest tells of it, and as a listing of its container shows it.
fn capture(vault: &VaultUri, of: u64, on: u64) -> (Digest, CaptureRef) {
    let object = object(of);
    let fingerprint = Digest::of(format!("{} {on}", object.name).as_bytes());
    let path = paths::capture(vault, &object, night(on), &fingerprint).unwrap();
    let sha256 = Digest::of(path.as_str().as_bytes());
    let reference = CaptureRef {
        path,
        version: Some(format!("{}.{of:07}Z", night(on).format("%Y-%m-%dT%H:%M:%S"))),
        md5: hex(&sha256.0[..16]),
        sha256,
        size: 6000 + of % 4096,
        captured_at: night(on),
        mode: Mode::Locked,
        protected_until: Some(night(on) + TimeDelta::days(365)),
        kid: Some("4385b07b-d547-42e5-ae9e-610dc39dfaf8".into()),
        reused: false,
    };
    (fingerprint, reference)
}

fn line(vault: &VaultUri, of: u64, on: u64) -> Line {
    let (fingerprint, capture) = capture(vault, of, on);
    Line {
        salt: hex(&Digest::of(capture.sha256.to_string().as_bytes()).0[..16]),
        kind: Kind::Secret,
        name: object(of).name,
        state: State::Live,
        fingerprint,
        current: Some(hex(&fingerprint.0[..16])),
        versions_fingerprint: Some(capture.sha256),
        versions: Some(3),
        compared_at: None,
        enabled: Some(true),
        expires: None,
        key_type: None,
        thumbprint: None,
        purge_at: None,
        capture: Some(capture),
        gap: None,
    }
}

/// Writes everything but captures.
async fn make(folder: &Path, shape: Shape) {
    let store = Directory::new(folder, false);
    let archive = Archive::new(id(), night(0)).encode().unwrap();
    store.create(&paths::archive().unwrap(), archive.into()).await.unwrap();
    for number in 0..VAULTS {
        let vault = vault(number);
        let mut head: Option<LogFile> = None;
        for on in 0..NIGHTS {
            let counts = Counts { seen: shape.objects, captured: shape.objects, ..Counts::default() };
            let header = Header {
                format: manifest::FORMAT.to_owned(),
                archive_id: id(),
                sequence: on + 1,
                vault: vault.clone(),
                facts: None,
                started: night(on),
                finished: night(on),
                tool: "bench".to_owned(),
                status: Status::Complete,
                policy_sha256: Digest::of(b"{}"),
                counts,
                gaps: Vec::new(),
                settings: None,
                settings_fingerprint: None,
            };
            let encoded = manifest::encode(&header, || (0..shape.objects).map(|of| Ok(line(&vault, of, on)))).unwrap();
            let path = paths::manifest(&vault, on + 1, encoded.sha256).unwrap();
            let snapshot = SnapshotRef { sequence: on + 1, ..SnapshotRef::of(&header, &encoded, path.clone()) };
            store.create(&path, encoded.bytes.into()).await.unwrap();
            let event = Event::Snapshot(snapshot);
            let entry = match &head {
                None => Entry::first(id(), &vault, night(on), event),
                Some(head) => head.successor(night(on), event).unwrap(),
            };
            let file = LogFile::build(entry, &signer()).unwrap();
            store.create(&paths::log(&vault, on + 1).unwrap(), Bytes::from(file.bytes())).await.unwrap();
            head = Some(file);
        }
    }
}

/// A locked container that lists captures which nobody will read; everything else is in a directory.
struct Container(Directory, Shape);

fn protection(created: DateTime<Utc>) -> Protection {
    Protection { mode: Mode::Locked, until: Some(created + TimeDelta::days(365)), legal_hold: false }
}

fn listed(vault: &VaultUri, of: u64, on: u64) -> Listed {
    let (_, reference) = capture(vault, of, on);
    Listed {
        path: Ok(reference.path),
        version: reference.version,
        current: true,
        size: reference.size,
        md5: reference.sha256.0.first_chunk().copied(),
        created: night(on),
        protection: protection(night(on)),
    }
}

impl Container {
    fn kept<'a>(&'a self, prefix: String) -> BoxStream<'a, Result<Listed, Error>> {
        let items = stream::once(async move {
            let items: Vec<_> = self.0.list(&prefix).collect().await;
            stream::iter(items)
        });
        let locked = |listed: Listed| Listed { protection: protection(night(NIGHTS)), ..listed };
        items.flatten().map(move |item| item.map(locked)).boxed()
    }
}

#[async_trait::async_trait]
impl Read for Container {
    fn describe(&self) -> String {
        "a container".to_owned()
    }

    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, Error> {
        self.0.get(path, version, limit).await
    }

    fn list<'a>(&'a self, _: &'a str) -> BoxStream<'a, Result<Listed, Error>> {
        let vaults = stream::iter(0..VAULTS).flat_map(|number| {
            let owner = vault(number);
            let (log, manifests) = (paths::log_prefix(&owner), paths::manifests_prefix(&owner));
            let objects = self.1.objects;
            let captures = (0..objects).flat_map(move |of| {
                let owner = owner.clone();
                (0..NIGHTS).map(move |on| Ok(listed(&owner, of, on)))
            });
            stream::iter(captures).chain(self.kept(log)).chain(self.kept(manifests))
        });
        self.kept("archive.json".to_owned()).chain(vaults).boxed()
    }

    async fn guard(&self) -> Result<Guard, Error> {
        Ok(Guard { worm: Worm::VersionLevel, lock: Some(Mode::Locked), days: Some(365), legal_hold: false })
    }
}

/// Verifies, and prints what that took of this process.
async fn measure(folder: &Path, shape: Shape) {
    let started = std::fs::metadata(folder).map(|_| cpu()).unwrap();
    let standard = Standard {
        verifiers: vec![signer().verifier()],
        vaults: Vec::new(),
        worm: true,
        protection_min: TimeDelta::days(90),
        protection_min_of: std::collections::BTreeMap::new(),
        max_age: Some(TimeDelta::hours(26)),
        now: night(NIGHTS - 1) + TimeDelta::hours(1),
    };
    let report = verify(&Container(Directory::new(folder, false), shape), &standard).await.unwrap();
    assert_eq!((report.findings.as_slice(), report.checked.captures), (&[][..], shape.captures()));
    println!(
        "verify: {} captures in {} snapshots of {} vaults: {:.1} s of CPU, {} MiB at most",
        report.checked.captures,
        report.checked.snapshots,
        report.checked.vaults,
        cpu() - started,
        peak() / 1024
    );
}

/// Seconds of user and system time of this process so far, to the hundredth.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    // utime and stime are fields 14 and 15 of all (proc_pid_stat(5)); the name, which may hold spaces, is the second.
    let ticks = text.rsplit(')').next().unwrap().split(' ').skip(12).take(2).map(|field| field.parse::<u32>().unwrap());
    f64::from(ticks.sum::<u32>()) / 100.0
}

/// The largest resident set of this process, in KiB.
fn peak() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (bench, arguments): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|it| it == "--bench");
    match arguments.as_slice() {
        [word, folder, captures] if word == "measure" => {
            runtime.block_on(measure(Path::new(folder), Shape::of(captures.parse().unwrap())));
        }
        rest => {
            let captures: u64 = match rest {
                [text, ..] => text.parse().expect("a number of captures"),
                [] if bench.is_empty() => 1_000,
                [] => 1_000_000,
            };
            let folder = tempfile::tempdir().unwrap();
            runtime.block_on(make(folder.path(), Shape::of(captures)));
            // In a process of its own, so that making the archive counts for nothing.
            let own = std::env::current_exe().unwrap();
            let status =
                Command::new(own).arg("measure").arg(folder.path()).arg(captures.to_string()).status().unwrap();
            assert!(status.success());
        }
    }
}
