//! What somebody can do who holds the signer: commit a snapshot, valid in all that the log and the listing tell, that names a
//! capture which is none. Only who opens it can tell.

use akv_archiver::format::entry::{Event, LogFile, SnapshotRef};
use akv_archiver::format::manifest::{Limits, Manifest};
use akv_archiver::format::paths;
use akv_archiver::model::{Digest, VaultUri, hex};
use akv_archiver::verify::Code;
use bytes::Bytes;
use chrono::TimeDelta;
use md5::{Digest as _, Md5};

use super::archives::{Archive, Sort};
use super::image::Image;
use super::mutant::{Level, Mutant, later};
use super::regions::regions;

const HOST: &str = "dev.vault.azure.net";

/// A capture with each of its regions flipped, cut off at each border, and that of another object, in a new snapshot.
pub(super) async fn captures(archive: &Archive) -> Vec<Mutant> {
    let name = newest(archive).lines[0].capture.as_ref().unwrap().path.to_string();
    let sealed = archive.image.bytes(&name);
    let broken = [Code::CaptureMalformed, Code::CaptureUnreadable];
    let mut mutants = Vec::new();
    for region in regions(Sort::Capture, &sealed) {
        for at in [region.bytes.start, region.bytes.end - 1] {
            let mut forged = sealed.to_vec();
            forged[at] ^= 1 << (at % 8);
            mutants.push(planted(archive, forged.into(), format!("flipped at {at}"), &broken));
        }
        let cut = if region.bytes.start == 0 { Bytes::from_static(b"x") } else { sealed.slice(..region.bytes.start) };
        mutants.push(planted(archive, cut, format!("cut at {}", region.bytes.start), &broken));
    }
    for other in archive.names(Sort::Capture).into_iter().chain(archive.names(Sort::Settings)) {
        let codes = [Code::CaptureMislabelled, Code::CaptureMalformed];
        mutants.push(planted(archive, archive.image.bytes(&other), format!("holding {other}"), &codes));
    }
    mutants
}

fn newest(archive: &Archive) -> Manifest {
    let name = archive.names(Sort::Manifest).into_iter().rfind(|name| name.contains(HOST)).unwrap();
    Manifest::decode(&archive.image.bytes(&name), &Limits::default()).unwrap().manifest
}

/// A new snapshot, whose first object's capture is these bytes.
fn planted(archive: &Archive, sealed: Bytes, what: String, codes: &[Code]) -> Mutant {
    let vault = VaultUri::parse(&format!("https://{HOST}")).unwrap();
    let Manifest { header, mut lines } = newest(archive);
    let line = &mut lines[0];
    let object = line.object();
    let capture = line.capture.as_mut().unwrap();
    capture.captured_at += TimeDelta::seconds(1);
    capture.path = paths::capture(&vault, &object, capture.captured_at, &line.fingerprint).unwrap();
    (capture.size, capture.sha256) = (sealed.len() as u64, Digest::of(&sealed));
    capture.md5 = hex(&Md5::digest(&sealed));
    let name = archive.log(HOST).pop().unwrap();
    let mut added = Image { guard: archive.image.guard.clone(), files: Default::default() };
    added.files.insert("like".to_owned(), archive.image.files[&name].clone());
    let path = capture.path.to_string();
    added.add(&path, sealed, "like");
    capture.version = added.files[&path][0].id.clone();
    let manifest = Manifest { header, lines };
    let encoded = manifest.encode().unwrap();
    let head = LogFile::parse(&archive.image.bytes(&name)).unwrap();
    let sequence = head.entry().sequence + 1;
    let to = paths::manifest(&vault, sequence, encoded.sha256).unwrap();
    let snapshot = SnapshotRef::of(&manifest.header, &encoded, to.clone());
    added.add(to.as_str(), encoded.bytes, "like");
    let version = added.files[to.as_str()][0].id.clone();
    let event = Event::Snapshot(SnapshotRef { sequence, version, ..snapshot });
    let entry = head.successor(archive.house.standard().now, event).unwrap();
    let file = LogFile::build(entry, &archive.house.signer).unwrap();
    added.add(&later(&name, 1), file.bytes(), "like");
    added.files.remove("like");
    let change = move |image: &mut Image| image.files.extend(added.files);
    let mutant = Mutant::whole("committed with the signer", what, codes, change).seen_by(Level::Open);
    Mutant { sort: Some(Sort::Capture), path: Some(path), ..mutant }
}
