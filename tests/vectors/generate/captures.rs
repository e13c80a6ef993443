//! Captures before sealing: mutated in the tar, checksums made right again, and compressed anew.

use akv_archiver::format::capture::{BackupFacts, Capture, FORMAT, Metadata, ServiceFacts, pack};
use akv_archiver::model::Object;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;
use tar::{EntryType, Header};
use zeroize::Zeroizing;

use super::{Subject, Vector, replace, time, vault};

const BLOCK: usize = 512;

pub(super) fn all() -> Vec<Vector> {
    [good(), headers(), ends(), metadata()].concat()
}

/// The sizes that the specification's listing shows.
pub(super) fn examples() -> Vec<String> {
    let tar = tar_of(&capture("key/tde-protector", blob()));
    let rows = members(&tar)
        .into_iter()
        .map(|member| format!("-rw------- 0/0 {:>15} 2026-11-21 01:30 {}\n", member.content.len(), member.name));
    vec![rows.collect()]
}

/// A blob of the shape that recordings show.
fn blob() -> Vec<u8> {
    let header = r#"{"kid":"57117840-50cb-4f22-8b2e-c5b7e5d088be","alg":"RSA-OAEP-256","enc":"A256CBC-HS512"}"#;
    let jwe =
        [URL_SAFE_NO_PAD.encode(header).as_str(), &"A".repeat(342), &"B".repeat(22), &"C".repeat(700), &"D".repeat(43)]
            .join(".");
    let magic = "AzureKeyVaultKeyBackupV1.microsoft.com";
    [&[magic.len() as u8], magic.as_bytes(), jwe.as_bytes()].concat()
}

fn capture(object: &str, blob: Vec<u8>) -> Capture {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    let object = Object::parse(object).unwrap();
    let id = format!("https://prod.vault.azure.net/{}/{}", object.kind.plural(), object.name);
    let attributes = r#""attributes":{"enabled":true,"created":1795000000,"updated":1795000000,"recoveryLevel":"Recoverable","recoverableDays":90}"#;
    let metadata = Metadata {
        format: FORMAT.to_owned(),
        vault: vault(),
        object,
        captured_at: time(1),
        tool: "akv-archiver 0.1.0".to_owned(),
        backup: BackupFacts::of(&blob),
        listed: raw(&format!(r#"{{"kid":"{id}",{attributes},"tags":{{"use":"sql"}}}}"#)),
        versions: vec![raw(&format!(r#"{{"kid":"{id}/585696e25b1742c28337ed0ff1e85ee1",{attributes}}}"#))],
        bundles: Vec::new(),
        rotation_policy: None,
        service: ServiceFacts {
            api_version: "7.6".to_owned(),
            region: Some("westeurope".to_owned()),
            service_version: Some("1.9.3070.2".to_owned()),
            request_id: Some("9c2f5a0e-7d0b-4d0c-8f8a-3f2f5e1b7c11".to_owned()),
        },
    };
    Capture { blob: Zeroizing::new(blob), metadata }
}

/// A file in a tar, its header as found.
#[derive(Clone)]
pub(super) struct Member {
    name: String,
    header: Header,
    pub(super) content: Vec<u8>,
}

impl Member {
    /// Changes the header and makes its checksum right again.
    pub(super) fn with(mut self, change: impl Fn(&mut Header)) -> Self {
        change(&mut self.header);
        self.header.set_cksum();
        self
    }

    pub(super) fn named(self, name: &str) -> Self {
        self.with(|header| {
            let field = &mut header.as_old_mut().name;
            field.fill(0);
            field[..name.len()].copy_from_slice(name.as_bytes());
        })
    }

    pub(super) fn holding(self, content: Vec<u8>) -> Self {
        let size = content.len() as u64;
        Member { content, ..self.with(|header| header.set_size(size)) }
    }
}

fn tar_of(capture: &Capture) -> Vec<u8> {
    zstd::bulk::decompress(&pack(capture).unwrap(), 1 << 20).unwrap()
}

pub(super) fn members(tar: &[u8]) -> Vec<Member> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().raw(true).map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        Member { name: entry.path().unwrap().display().to_string(), header: entry.header().clone(), content }
    });
    entries.collect()
}

pub(super) fn join(members: &[Member]) -> Vec<u8> {
    let mut tar = Vec::new();
    for member in members {
        tar.extend_from_slice(member.header.as_bytes());
        tar.extend_from_slice(&member.content);
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    }
    tar.resize(tar.len() + 2 * BLOCK, 0);
    tar
}

fn make(name: &str, expect: &str, comment: &str, tar: &[u8]) -> Vector {
    super::vector(Subject::Capture, name, expect, comment, zstd::bulk::compress(tar, 3).unwrap())
}

fn sample() -> [Member; 3] {
    members(&tar_of(&capture("key/tde-protector", blob()))).try_into().unwrap_or_else(|_| panic!("three members"))
}

fn good() -> Vec<Vector> {
    let tar = |object: &str, blob: Vec<u8>| tar_of(&capture(object, blob));
    vec![
        make("key", "ok", "a key's capture", &tar("key/tde-protector", blob())),
        make("opaque-blob", "ok", "a blob of a shape that nobody has seen", &tar("secret/App", vec![0; 512])),
        make("empty-blob", "ok", "nothing says that a blob has bytes", &tar("certificate/tls", Vec::new())),
    ]
}

fn headers() -> Vec<Vector> {
    let [blob, metadata, readme] = sample();
    let first = |name: &str, comment: &str, member: Member| {
        make(name, "bad-tar", comment, &join(&[member, metadata.clone(), readme.clone()]))
    };
    let kind = |kind: EntryType| blob.clone().with(|header| header.set_entry_type(kind));
    let link = |kind: EntryType| {
        let link = blob.clone().holding(Vec::new());
        link.with(|header| {
            header.set_entry_type(kind);
            header.set_link_name("/etc/passwd").unwrap();
        })
    };
    let mut checksum = blob.clone();
    checksum.header.as_old_mut().cksum[0] ^= 1;
    let extension = Member { content: b"30 path=../../backup.blob\n\n\n\n\n".to_vec(), ..kind(EntryType::XHeader) };
    let size = extension.content.len() as u64;
    let extension = extension.with(|header| header.set_size(size));
    vec![
        first("other-name", "another file in the first place", blob.clone().named("backup.blo")),
        first("path-above", "a path that leads out of the folder", blob.clone().named("../backup.blob")),
        first("path-absolute", "a path from the root", blob.clone().named("/backup.blob")),
        first("path-dotted", "another spelling of the path", blob.clone().named("./backup.blob")),
        first(
            "prefix",
            "a path in two parts",
            blob.clone().with(|header| header.as_ustar_mut().unwrap().prefix[0] = b'a'),
        ),
        first("symbolic-link", "a link", link(EntryType::Symlink)),
        first("hard-link", "a hard link", link(EntryType::Link)),
        first("directory", "a directory", kind(EntryType::Directory)),
        first(
            "old-regular",
            "the regular file of old tars has type zero",
            blob.clone().with(|header| header.as_old_mut().linkflag[0] = 0),
        ),
        first("mode", "readable by others", blob.clone().with(|header| header.set_mode(0o644))),
        first("set-user-id", "a mode with more than permissions", blob.clone().with(|header| header.set_mode(0o4600))),
        first("owner", "a user id", blob.clone().with(|header| header.set_uid(1000))),
        first("user-name", "a user name", blob.clone().with(|header| header.as_ustar_mut().unwrap().uname[0] = b'a')),
        first("gnu", "the magic of GNU tar", blob.clone().with(gnu)),
        first("checksum", "a header whose checksum is wrong", checksum),
        make(
            "extension",
            "bad-tar",
            "a pax header before the file",
            &join(&[extension, blob.clone(), metadata.clone(), readme.clone()]),
        ),
        make(
            "times-differ",
            "bad-tar",
            "a file of another time",
            &join(&[blob.clone(), metadata.clone().with(|header| header.set_mtime(0)), readme.clone()]),
        ),
        make(
            "other-time",
            "bad-tar",
            "files of another time than metadata.json gives",
            &join(&sample().map(|member| member.with(|header| header.set_mtime(0)))),
        ),
    ]
}

fn gnu(header: &mut Header) {
    let ustar = header.as_ustar_mut().unwrap();
    (ustar.magic, ustar.version) = (*b"ustar ", *b" \0");
}

fn ends() -> Vec<Vector> {
    let [blob, metadata, readme] = sample();
    let whole = join(&[blob.clone(), metadata.clone(), readme.clone()]);
    let mut padding = whole.clone();
    let end = BLOCK + blob.content.len();
    assert_ne!(end % BLOCK, 0);
    padding[end] = 1;
    let frame = zstd::bulk::compress(&whole, 3).unwrap();
    let large = readme.clone().holding(vec![b'a'; 4097]);
    vec![
        make("empty", "bad-tar", "no bytes at all", b""),
        make("missing-file", "bad-tar", "no README.txt", &join(&[blob.clone(), metadata.clone()])),
        make(
            "extra-file",
            "bad-tar",
            "a fourth file",
            &join(&[blob.clone(), metadata.clone(), readme.clone(), readme.clone().named("more")]),
        ),
        make("reordered", "bad-tar", "metadata.json first", &join(&[metadata.clone(), blob.clone(), readme.clone()])),
        make("truncated", "bad-tar", "the tar ends within README.txt", &whole[..whole.len() - 3 * BLOCK + 100]),
        make("one-end-block", "bad-tar", "one block of zeros at the end", &whole[..whole.len() - BLOCK]),
        make(
            "three-end-blocks",
            "bad-tar",
            "three blocks of zeros at the end",
            &[whole.as_slice(), &[0; BLOCK]].concat(),
        ),
        make("trailing-bytes", "bad-tar", "something after the end", &[whole.as_slice(), b"x"].concat()),
        make("end-not-zero", "bad-tar", "an end block with a byte in it", &[&whole[..whole.len() - 1], b"x"].concat()),
        make("padding", "bad-tar", "a byte between two files", &padding),
        make("large-readme", "too-large", "README.txt beyond 4 KiB", &join(&[blob, metadata, large])),
        super::vector(Subject::Capture, "not-zstd", "bad-zstd", "a plain tar", whole),
        super::vector(
            Subject::Capture,
            "trailing-frame",
            "bad-zstd",
            "a second frame",
            [frame.as_slice(), &frame].concat(),
        ),
    ]
}

fn metadata() -> Vec<Vector> {
    let [blob, metadata, readme] = sample();
    let text = String::from_utf8(metadata.content.clone()).unwrap();
    let changed = |name: &str, expect: &str, comment: &str, from: &str, to: &str| {
        let content = replace(&text, from, to).into_bytes();
        make(name, expect, comment, &join(&[blob.clone(), metadata.clone().holding(content), readme.clone()]))
    };
    let mut other = blob.content.clone();
    *other.last_mut().unwrap() ^= 1;
    let size = format!("\"size\":{}", blob.content.len());
    vec![
        changed("next-format", "unknown-format", "from a later program", "capture/1", "capture/2"),
        changed("unknown-member", "bad-member", "format 1 never grows members", "\"tool\":", "\"unheard\":1,\"tool\":"),
        changed("missing-member", "bad-member", "no tool", "\"tool\":\"akv-archiver 0.1.0\",", ""),
        changed("duplicate-member", "duplicate-member", "a member twice", "\"tool\":", "\"tool\":\"\",\"tool\":"),
        changed("no-newline", "not-json", "the final newline is missing", "}\n", "}"),
        changed("not-json", "not-json", "a brace is missing", "}\n", "\n"),
        changed("wrong-size", "wrong-digest", "a size that is not the blob's", &size, "\"size\":1"),
        make(
            "other-blob",
            "wrong-digest",
            "a blob that metadata.json does not describe",
            &join(&[blob.clone().holding(other), metadata.clone(), readme.clone()]),
        ),
    ]
}
