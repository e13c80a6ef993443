//! What is left in memory of a capture that was opened and dropped. A process of its own reads all of its own memory: the
//! needle is kept in another spelling there, so that only what was opened can be found.
#![cfg(target_os = "linux")]

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use akv_archiver::format::capture::{self, BackupFacts, Capture, FORMAT, Metadata, ServiceFacts};
use akv_archiver::model::{Object, VaultUri};
use akv_archiver::seal::{Identities, NoPrompt, Recipients, generate};

/// The folder that the process of its own finds its files in.
const FOLDER: &str = "AKV_ARCHIVER_TEST_MEMORY";

/// Two words, each with every bit turned round, so that neither is anywhere as it is.
const BLOB: [u8; 24] = turned(*b"canary-in-a-backup-blob!");
const TAG: [u8; 24] = turned(*b"canary-in-the-value-tag!");

const fn turned(mut word: [u8; 24]) -> [u8; 24] {
    let mut at = 0;
    while at < word.len() {
        word[at] = !word[at];
        at += 1;
    }
    word
}

/// How often a word is in this process's writable memory, this function's own buffer left out.
fn left(word: &[u8; 24]) -> usize {
    const PIECE: u64 = 1 << 20;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    let mut piece = vec![0; PIECE as usize + word.len() - 1];
    let own = piece.as_ptr() as u64..piece.as_ptr() as u64 + piece.len() as u64;
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw") && !line.contains("[v")) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (mut from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        while from < to {
            let next = if from < own.start { to.min(own.start) } else { to };
            if own.contains(&from) {
                from = own.end;
                continue;
            }
            let length = piece.len().min((next - from) as usize);
            let read = memory.read_at(&mut piece[..length], from).unwrap_or(0);
            piece.iter_mut().for_each(|byte| *byte = !*byte);
            found += piece[..read].windows(word.len()).filter(|window| window == word).count();
            from = (from + PIECE).min(next);
        }
    }
    found
}

/// A sealed capture with both words in it, and the identity that opens it.
fn prepare(folder: &Path) {
    let plain = |word: [u8; 24]| turned(word);
    let mut blob: Vec<u8> = (0..4096u32).flat_map(|n| akv_archiver::model::Digest::of(&n.to_be_bytes()).0).collect();
    // In the middle, where it is neither compressed nor what a digest was computed over last.
    let middle = blob.len() / 2;
    blob.splice(middle..middle, plain(BLOB));
    let listed = format!(r#"{{"tags":{{"a":"{}"}}}}"#, String::from_utf8(plain(TAG).to_vec()).unwrap());
    let metadata = Metadata {
        format: FORMAT.to_owned(),
        vault: VaultUri::parse("https://prod.vault.azure.net").unwrap(),
        object: Object::parse("secret/app").unwrap(),
        captured_at: chrono::DateTime::from_timestamp(1_795_224_600, 0).unwrap(),
        tool: "akv-archiver 0.1.0".to_owned(),
        backup: BackupFacts::of(&blob),
        listed: serde_json::value::RawValue::from_string(listed).unwrap(),
        versions: Vec::new(),
        bundles: Vec::new(),
        rotation_policy: None,
        service: ServiceFacts::default(),
    };
    let identity = generate(chrono::DateTime::UNIX_EPOCH);
    let packed = capture::pack(&Capture { blob: blob.into(), metadata }).unwrap();
    std::fs::write(folder.join("sealed"), Recipients::parse(&[&identity.recipient]).unwrap().close(&packed).unwrap())
        .unwrap();
    std::fs::write(folder.join("identity"), identity.file.as_bytes()).unwrap();
}

/// The process of its own: does nothing where nobody asked for it.
#[test]
fn what_one_process_keeps() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let count = |when: &str| println!("{when}: blob {} tag {}", left(&BLOB), left(&TAG));
    let identities = Identities::from_files(&[folder.join("identity")], Arc::new(NoPrompt)).unwrap();
    let sealed = std::fs::read(folder.join("sealed")).unwrap();
    count("before");
    let packed = identities.open(&sealed).unwrap();
    drop(identities.open(&sealed).unwrap());
    count("unsealed");
    let opened = capture::unpack(&packed).unwrap();
    count("open");
    drop((packed, opened));
    count("after");
}

#[test]
fn an_opened_capture_is_wiped_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::what_one_process_keeps", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let of = |when: &str| {
        let line = told.lines().find_map(|line| line.split_once(&format!("{when}: ")));
        let numbers = line.unwrap_or_else(|| panic!("{told}")).1.split(' ').filter_map(|word| word.parse().ok());
        <[usize; 2]>::try_from(numbers.collect::<Vec<usize>>()).unwrap()
    };
    eprintln!("copies of a blob and a tag in memory: open {:?}, after {:?}", of("open"), of("after"));
    assert_eq!(of("before"), [0, 0]);
    // The plaintext that is held, and nothing that age keeps. The tag is compressed in it.
    assert_eq!(of("unsealed")[0], 1, "{told}");
    assert!(of("open").iter().all(|copies| *copies > 0), "the search finds what is there: {told}");
    assert_eq!(of("after"), [0, 0], "{told}");
}
