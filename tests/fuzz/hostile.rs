//! Archives that are made to hurt whoever unpacks them, one for each trick. None may be unpacked; none may cost more than
//! what an honest file may.

use akv_archiver::format::Fault;
use akv_archiver::format::capture::{self, BLOB_MAX, METADATA_MAX};
use akv_archiver::format::manifest::{Limits, Manifest};
use akv_archiver::format::settings;
use tar::{EntryType, Header};

fn header(path: &str, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    // Written into the field itself: the library refuses paths that lead elsewhere.
    let name = &mut header.as_old_mut().name;
    name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(1_795_224_600);
    header.set_cksum();
    header
}

fn member(header: &Header, content: &[u8]) -> Vec<u8> {
    let mut bytes = [header.as_bytes().as_slice(), content].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn plain(path: &str, content: &[u8]) -> Vec<u8> {
    member(&header(path, EntryType::Regular, content.len() as u64), content)
}

fn link(path: &str, kind: EntryType, target: &str) -> Vec<u8> {
    let mut header = header(path, kind, 0);
    header.set_link_name(target).unwrap();
    header.set_cksum();
    member(&header, b"")
}

fn frame(content: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(content, 3).unwrap()
}

/// Refused by all that unpacks; the capture's reason.
fn refused(name: &str, tar: &[u8]) -> Fault {
    let whole = [tar, &[0; 1024]].concat();
    assert!(settings::unpack(&frame(&whole)).is_err(), "{name}");
    assert!(!settings::recognise(&frame(&whole)), "{name}");
    capture::unpack(&frame(&whole)).map(drop).expect_err(name).fault
}

#[test]
fn no_trick_of_a_tar_gets_through() {
    let rest = [plain("metadata.json", b"{}\n"), plain("README.txt", b"x")].concat();
    let mut sizeless = header("backup.blob", EntryType::Regular, 0);
    sizeless.as_old_mut().size.copy_from_slice(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    sizeless.set_cksum();
    let mut negative = header("backup.blob", EntryType::Regular, 0);
    negative.as_old_mut().mtime.copy_from_slice(&[0xff; 12]);
    negative.set_cksum();
    let mut prefixed = header("backup.blob", EntryType::Regular, 0);
    prefixed.as_ustar_mut().unwrap().prefix[..3].copy_from_slice(b"../");
    prefixed.set_cksum();
    let long = plain("././@LongLink", b"../../etc/passwd\0");
    let pax = |text: &[u8]| member(&header("backup.blob", EntryType::XHeader, text.len() as u64), text);
    let mut gnu_long = header("././@LongLink", EntryType::GNULongName, 17);
    gnu_long.set_cksum();
    let mut tricks: Vec<(&str, Vec<u8>)> = vec![
        ("a symbolic link", link("backup.blob", EntryType::Symlink, "/etc/passwd")),
        ("a hard link", link("backup.blob", EntryType::Link, "/etc/passwd")),
        ("a directory", member(&header("backup.blob", EntryType::Directory, 0), b"")),
        ("a device", member(&header("backup.blob", EntryType::Char, 0), b"")),
        ("a block device", member(&header("backup.blob", EntryType::Block, 0), b"")),
        ("a pipe", member(&header("backup.blob", EntryType::Fifo, 0), b"")),
        ("a contiguous file", member(&header("backup.blob", EntryType::Continuous, 0), b"")),
        ("a sparse file", member(&header("backup.blob", EntryType::GNUSparse, 0), b"")),
        ("a sparse file by extension", pax(b"22 GNU.sparse.major=1\n")),
        ("another name by extension", pax(b"25 path=../../etc/passwd\n")),
        ("another size by extension", pax(b"22 size=99999999999999\n")),
        ("extensions for all", member(&header("g", EntryType::XGlobalHeader, 11), b"11 path=a\n\n")),
        ("a long name", member(&gnu_long, b"../../etc/passwd\0")),
        ("a long link", long),
        ("a path upwards", plain("../backup.blob", b"x")),
        ("a path from the root", plain("/backup.blob", b"x")),
        ("a path with a dot", plain("./backup.blob", b"x")),
        ("a path in a prefix", member(&prefixed, b"")),
        ("more than there are bytes", member(&sizeless, b"")),
        ("a time before time", member(&negative, b"")),
        ("the same file twice", [plain("backup.blob", b"x"), plain("backup.blob", b"y")].concat()),
        ("another file first", plain("evil.sh", b"rm -rf /")),
    ];
    for (_, tar) in &mut tricks {
        tar.extend_from_slice(&rest);
    }
    tricks.push(("another file last", [plain("backup.blob", b"x"), rest.clone(), plain("evil.sh", b"x")].concat()));
    tricks.push(("metadata twice", [plain("backup.blob", b"x"), plain("metadata.json", b"{}\n"), rest].concat()));
    for (name, tar) in &tricks {
        let fault = refused(name, tar);
        // Not for what its metadata says: no file of it was believed.
        assert!(matches!(fault, Fault::BadTar | Fault::TooLarge), "{name}: {fault:?}");
    }
    eprintln!("hostile tars: {} tricks, 0 unpacked", tricks.len());
}

#[test]
fn no_bomb_goes_off() {
    let zeros = vec![0; BLOB_MAX + METADATA_MAX + (1 << 20)];
    let bomb = frame(&zeros);
    assert!(bomb.len() < 64 << 10);
    // The same again as a bomb within a bomb: what unpacks is a tar, never another frame.
    let nested = frame(&[plain("backup.blob", &bomb), vec![0; 1024]].concat());
    let large = frame(
        &[header("backup.blob", EntryType::Regular, BLOB_MAX as u64 + 1).as_bytes().as_slice(), &zeros[..2048]]
            .concat(),
    );
    let two = [frame(&zeros[..1 << 20]), bomb.clone()].concat();
    // Single segment, and a content of 2^40 bytes that is not there.
    let lie = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &(1u64 << 40).to_le_bytes(), &[1, 0, 0]].concat();
    // One block of 128 KiB that repeats a byte, in a frame that declares sixteen.
    let short = [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, 16][..], &[0x03, 0x00, 0x10, 0x61]].concat();
    for (name, bytes) in
        [("zeros", bomb), ("nested", nested), ("large", large), ("two", two), ("lie", lie), ("short", short)]
    {
        let fault = capture::unpack(&bytes).map(drop).expect_err(name).fault;
        assert!(matches!(fault, Fault::TooLarge | Fault::BadZstd | Fault::BadTar), "{name}: {fault:?}");
        assert!(settings::unpack(&bytes).is_err() && Manifest::decode(&bytes, &Limits::default()).is_err(), "{name}");
    }
}

#[test]
fn no_reason_repeats_what_metadata_says() {
    use akv_archiver::format::capture::{BackupFacts, Capture, FORMAT, Metadata, ServiceFacts};
    const CANARY: &str = "canary-of-a-secret";
    let raw = |text: &str| serde_json::value::RawValue::from_string(text.to_owned()).unwrap();
    let metadata = Metadata {
        format: FORMAT.to_owned(),
        vault: akv_archiver::model::VaultUri::parse("https://prod.vault.azure.net").unwrap(),
        object: akv_archiver::model::Object::parse("secret/app").unwrap(),
        captured_at: chrono::DateTime::from_timestamp(1_795_224_600, 0).unwrap(),
        tool: "akv-archiver 0.1.0".to_owned(),
        backup: BackupFacts::of(b"blob"),
        listed: raw(r#"{"tags":{"a":"b"}}"#),
        versions: vec![raw("{}")],
        bundles: Vec::new(),
        rotation_policy: None,
        service: ServiceFacts::default(),
    };
    let good = capture::pack(&Capture { blob: b"blob".to_vec().into(), metadata }).unwrap();
    let content = zstd::bulk::decompress(&good, 1 << 20).unwrap();
    let size = usize::from_str_radix(std::str::from_utf8(&content[1024 + 124..1024 + 135]).unwrap(), 8).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&content[1536..1536 + size]).unwrap();
    let readme = content[1536 + size.next_multiple_of(512) + 512..].split(|byte| *byte == 0).next().unwrap();
    let repacked = |document: &serde_json::Value| {
        let text = serde_json::to_string(document).unwrap() + "\n";
        let files =
            [plain("backup.blob", b"blob"), plain("metadata.json", text.as_bytes()), plain("README.txt", readme)];
        capture::unpack(&frame(&[files.concat(), vec![0; 1024]].concat())).map(drop)
    };
    repacked(&document).expect("the test builds what is unpacked");
    let mut tried = 0;
    for member in document.as_object().unwrap().keys() {
        for value in [serde_json::json!(CANARY), serde_json::json!([CANARY]), serde_json::json!({ "value": CANARY })] {
            let mut changed = document.clone();
            changed[member] = value;
            if let Err(error) = repacked(&changed) {
                assert!(!error.detail.contains(CANARY) || member == "format", "{member}: {error}");
                tried += 1;
            }
        }
    }
    assert!(tried > 15, "{tried}");
}
