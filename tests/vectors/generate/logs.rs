//! Log files. A mutated entry is signed anew, with the root of the tree that it makes, so that only the entry is wrong.

use akv_archiver::format::archive;
use akv_archiver::format::entry::{
    Became, Change, Class, Container, Entry, Event, IntentStep, LogFile, Outcome, Protect, ProtectAction,
    RestoreIntent, RestoreResult, SnapshotRef, list,
};
use akv_archiver::format::paths;
use akv_archiver::model::{Digest, HoldTag, Object};
use akv_archiver::tlog::{Checkpoint, Frontier, Signer, tree};
use uuid::Uuid;

use super::{Subject, Vector, manifests, replace, signer, time, vault};

pub(super) fn all() -> Vec<Vector> {
    [good(), json(), protection(), layout(), chain(), signatures()].concat()
}

/// The first log file, and the event of an extension, as the specification shows them.
pub(super) fn examples() -> Vec<String> {
    let line = text(fourth().line());
    let event = line.split_once("\"event\":").unwrap().1.split_once(",\"format\"").unwrap().0;
    vec![text(&first().bytes()), event.to_owned()]
}

fn first() -> LogFile {
    LogFile::build(Entry::first(super::archive().archive_id, &vault(), time(5), snapshot(1)), &signer()).unwrap()
}

fn second() -> LogFile {
    let intent = Event::RestoreIntent(RestoreIntent {
        plan: Uuid::from_u128(0x0d4f_6a8e_2b1c_4d3e_9f5a_7b6c_8d9e_0f1a),
        target: vault(),
        steps: vec![IntentStep {
            object: Object::parse("key/tde-protector").unwrap(),
            action: Change::Restore,
            snapshot: Some(1),
            capture: Some(manifests::capture_path()),
            hsm: true,
        }],
        operator: "ada".to_owned(),
        single_restore_override: None,
    });
    LogFile::build(first().successor(time(100), intent).unwrap(), &signer()).unwrap()
}

fn third() -> LogFile {
    let outcome = Outcome {
        object: Object::parse("key/tde-protector").unwrap(),
        result: Became::Done,
        detail: "restored; nothing differs".to_owned(),
    };
    let result = Event::RestoreResult(RestoreResult { intent: 2, outcomes: vec![outcome] });
    LogFile::build(second().successor(time(130), result).unwrap(), &signer()).unwrap()
}

fn fourth() -> LogFile {
    let logs: Vec<_> = (1..4).map(|sequence| paths::log(&vault(), sequence).unwrap()).collect();
    let archive = paths::archive().unwrap();
    let version = Some("2026-11-21T01:30:05.1234567Z");
    let listed = list(logs.iter().chain([&archive]).map(|path| (path, version)));
    let protect = Event::Protect(Protect {
        action: ProtectAction::Extend,
        until: Some("2028-01-01T00:00:00Z".parse().unwrap()),
        lock: false,
        classes: vec![Class::Archive, Class::Log],
        container: None,
        paths: Vec::new(),
        reason: None,
        operator: "ada".to_owned(),
        versions: 4,
        sha256: Digest::of(listed.as_bytes()),
    });
    LogFile::build(third().successor(time(200), protect).unwrap(), &signer()).unwrap()
}

/// A legal hold on one object's captures, in the place of the extension.
fn held() -> LogFile {
    let capture = manifests::capture_path();
    let folder = capture.as_str().rsplit_once('/').unwrap().0;
    let protect = Event::Protect(Protect {
        action: ProtectAction::Hold,
        until: None,
        lock: false,
        classes: vec![Class::Captures],
        container: None,
        paths: vec![format!("{folder}/")],
        reason: Some("case 7".to_owned()),
        operator: "ada".to_owned(),
        versions: 1,
        sha256: Digest::of(list([(&capture, None)]).as_bytes()),
    });
    LogFile::build(third().successor(time(200), protect).unwrap(), &signer()).unwrap()
}

/// A container as a whole: its policy, or a legal hold with a tag, in the place of the extension.
fn whole(action: ProtectAction) -> LogFile {
    let extends = action == ProtectAction::Extend;
    let archive = paths::archive().unwrap();
    let protect = Event::Protect(Protect {
        action,
        until: extends.then(|| "2028-01-01T00:00:00Z".parse().unwrap()),
        lock: extends,
        classes: vec![Class::Archive],
        container: Some(Container { days: extends.then_some(800), tag: HoldTag::parse("case7").filter(|_| !extends) }),
        paths: Vec::new(),
        reason: (!extends).then(|| "case 7".to_owned()),
        operator: "ada".to_owned(),
        versions: 1,
        sha256: Digest::of(list([(&archive, None)]).as_bytes()),
    });
    LogFile::build(third().successor(time(200), protect).unwrap(), &signer()).unwrap()
}

fn snapshot(sequence: u64) -> Event {
    let (manifest, encoded) = (manifests::good(), manifests::good().encode().unwrap());
    Event::Snapshot(SnapshotRef {
        sequence,
        manifest: paths::manifest(&vault(), sequence, encoded.sha256).unwrap(),
        version: Some("2026-11-21T01:30:04.1234567Z".to_owned()),
        sha256: encoded.sha256,
        size: encoded.bytes.len() as u64,
        root: encoded.root,
        lines: encoded.lines,
        status: manifest.header.status,
        counts: manifest.header.counts,
        started: manifest.header.started,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn make(name: &str, expect: &str, comment: &str, bytes: Vec<u8>) -> Vector {
    super::vector(Subject::Log, name, expect, comment, bytes)
}

/// A file around any line, whose checkpoint is right for a log that has `before` and then this line.
fn file(line: &[u8], before: &[LogFile]) -> Vec<u8> {
    let mut tree = Frontier::default();
    before.iter().for_each(|file| tree.push(file.leaf()));
    tree.push(tree::leaf(line));
    let origin = archive::origin(super::archive().archive_id, &vault());
    let checkpoint = Checkpoint { origin, size: tree.size(), root: tree.root() };
    [line, b"\n\n", checkpoint.sign(&signer()).unwrap().as_bytes()].concat()
}

fn changed(of: &LogFile, before: &[LogFile], from: &str, to: &str) -> Vec<u8> {
    file(replace(&text(of.line()), from, to).as_bytes(), before)
}

/// An event of a type that nobody knows, in the place of the intent.
fn unknown(members: &str) -> Vec<u8> {
    let line = text(second().line());
    let (head, rest) = line.split_once("\"event\":{").unwrap();
    let (_, tail) = rest.split_once("},\"format\"").unwrap();
    file(format!("{head}\"event\":{{{members}\"type\":\"drill\"}},\"format\"{tail}").as_bytes(), &[first()])
}

fn good() -> Vec<Vector> {
    let stranger = Signer::from_seed("witness.example.com", &[9; 32]).unwrap();
    let checkpoint = first().verify(&[signer().verifier()]).unwrap();
    let witness = stranger.sign(&checkpoint.text()).unwrap();
    let witnessed = [first().bytes(), witness.lines().last().unwrap().as_bytes().to_vec(), b"\n".to_vec()].concat();
    let extended = signer().sign(&format!("{}an extension\n", checkpoint.text())).unwrap();
    let extended = [first().line(), b"\n\n", extended.as_bytes()].concat();
    vec![
        make("snapshot", "ok", "the first entry of a log", first().bytes()),
        make("restore-intent", "ok", "the second entry: one subtree before it", second().bytes()),
        make("restore-result", "ok", "the third entry", third().bytes()),
        make("protect-extend", "ok", "archive.json and the log are protected for longer", fourth().bytes()),
        make("protect-hold", "ok", "a legal hold on the captures of one object", held().bytes()),
        make(
            "protect-container-extend",
            "ok",
            "a container's policy is made longer and locked",
            whole(ProtectAction::Extend).bytes(),
        ),
        make(
            "protect-container-release",
            "ok",
            "the legal hold case7 on a container is lifted",
            whole(ProtectAction::Release).bytes(),
        ),
        make(
            "unknown-event",
            "ok",
            "an event of a later program is opaque, and the chain goes on",
            unknown("\"found\":[1,{\"a\":null}],"),
        ),
        make("witnessed", "ok", "another signature beside the log's own", witnessed),
        make("extension-line", "ok", "a checkpoint with an extension line", extended),
    ]
}

fn json() -> Vec<Vector> {
    let one = |from: &str, to: &str| changed(&first(), &[], from, to);
    let line = text(first().line());
    let swapped = replace(
        &replace(&line, "\"sequence\":1,\"time\"", "\"time\""),
        "05Z\",\"vault\"",
        "05Z\",\"sequence\":1,\"vault\"",
    );
    let mut broken = first().line().to_vec();
    broken[2] = 0xff;
    vec![
        make("not-utf8", "not-utf8", "a byte 0xff in a name", file(&broken, &[])),
        make(
            "not-json",
            "not-json",
            "the entry lacks its last brace",
            file(line.trim_end_matches('}').as_bytes(), &[]),
        ),
        make(
            "duplicate-member",
            "duplicate-member",
            "a member twice, with one value",
            one("\"previous\":null", "\"previous\":null,\"previous\":null"),
        ),
        make("unsorted", "not-canonical", "two members in the wrong order", file(swapped.as_bytes(), &[])),
        make("white-space", "not-canonical", "a space after a colon", one("\"previous\":null", "\"previous\": null")),
        make(
            "needless-escape",
            "not-canonical",
            "an escape where none is needed",
            one("\"type\":\"snapshot\"", "\"type\":\"sn\\u0061pshot\""),
        ),
        make("fraction", "bad-number", "an integer with a fraction", unknown("\"found\":1.0,")),
        make("exponent", "bad-number", "an integer with an exponent", unknown("\"found\":1e3,")),
        make("minus-zero", "bad-number", "a zero with a sign", unknown("\"found\":-0,")),
        make(
            "large-number",
            "bad-number",
            "2^53, which not every reader keeps",
            unknown("\"found\":9007199254740992,"),
        ),
        make(
            "deep",
            "too-deep",
            "an unknown event nested 33 deep",
            unknown(&format!("\"found\":{}{},", "[".repeat(31), "]".repeat(31))),
        ),
        make(
            "unknown-member",
            "bad-member",
            "format 1 never grows members",
            one("\"vault\":", "\"unheard\":1,\"vault\":"),
        ),
        make("missing-member", "bad-member", "no time", one("\"time\":\"2026-11-21T01:30:05Z\",", "")),
        make("absent-null", "not-canonical", "an absent member that is written as null", one("\"previous\":null,", "")),
        make(
            "fraction-of-second",
            "bad-member",
            "times are whole seconds",
            one("05Z\",\"vault\"", "05.5Z\",\"vault\""),
        ),
        make("offset", "bad-member", "times are in UTC, written Z", one("05Z\",\"vault\"", "05+00:00\",\"vault\"")),
        make("no-event-type", "bad-member", "an event without a type", one(",\"type\":\"snapshot\"", "")),
        make(
            "unknown-event-member",
            "bad-member",
            "a known event with a member that nobody knows",
            one(",\"type\":\"snapshot\"", ",\"type\":\"snapshot\",\"unheard\":1"),
        ),
        make("next-format", "unknown-format", "from a later program", one("log/1", "log/2")),
        make(
            "vault-upper-case",
            "bad-member",
            "a vault is its host in lower case",
            one("\"vault\":\"prod.", "\"vault\":\"Prod."),
        ),
    ]
}

fn protection() -> Vec<Vector> {
    let before = [first(), second(), third()];
    let wrong = |name: &str, comment: &str, of: &LogFile, from: &str, to: &str| {
        make(name, "bad-member", comment, changed(of, &before, from, to))
    };
    let (fourth, held) = (fourth(), held());
    let (longer, lifted) = (whole(ProtectAction::Extend), whole(ProtectAction::Release));
    vec![
        wrong(
            "protect-without-time",
            "an extension to no time",
            &fourth,
            "\"type\":\"protect\",\"until\":\"2028-01-01T00:00:00Z\",",
            "\"type\":\"protect\",",
        ),
        wrong(
            "protect-hold-with-time",
            "a legal hold until a time",
            &held,
            "\"type\":\"protect\",",
            "\"type\":\"protect\",\"until\":\"2028-01-01T00:00:00Z\",",
        ),
        wrong("protect-hold-that-locks", "a legal hold that locks", &held, "\"lock\":false", "\"lock\":true"),
        wrong("protect-without-reason", "a legal hold for no reason", &held, "\"reason\":\"case 7\",", ""),
        wrong("protect-no-versions", "an extension of nothing", &fourth, "\"versions\":4", "\"versions\":0"),
        wrong(
            "protect-classes-unsorted",
            "classes in another order than theirs",
            &fourth,
            "[\"archive\",\"log\"]",
            "[\"log\",\"archive\"]",
        ),
        wrong(
            "protect-container-nothing",
            "a container that gets neither days nor a tag",
            &longer,
            "{\"days\":800}",
            "{}",
        ),
        wrong(
            "protect-container-tag-extended",
            "an extension with a tag",
            &longer,
            "{\"days\":800}",
            "{\"days\":800,\"tag\":\"case7\"}",
        ),
        wrong("protect-container-zero-days", "a policy of no days", &longer, "\"days\":800", "\"days\":0"),
        wrong(
            "protect-container-too-long",
            "a policy that is longer than any can be",
            &longer,
            "\"days\":800",
            "\"days\":146001",
        ),
        wrong(
            "protect-container-with-paths",
            "a part of a container's files",
            &lifted,
            "\"reason\":",
            "\"paths\":[\"vaults/\"],\"reason\":",
        ),
        wrong("protect-container-tag-capital", "a tag in capitals", &lifted, "\"tag\":\"case7\"", "\"tag\":\"Case7\""),
        wrong("protect-container-no-tag", "a hold without a tag", &lifted, "{\"tag\":\"case7\"}", "{\"days\":800}"),
        wrong("protect-no-class", "an extension of no class", &fourth, "[\"archive\",\"log\"]", "[]"),
        wrong(
            "protect-unknown-class",
            "a class that nobody knows",
            &fourth,
            "[\"archive\",\"log\"]",
            "[\"archive\",\"logs\"]",
        ),
    ]
}

fn layout() -> Vec<Vector> {
    let good = text(&first().bytes());
    vec![
        make(
            "no-empty-line",
            "log-layout",
            "the checkpoint follows the entry at once",
            good.replacen("\n\n", "\n", 1).into_bytes(),
        ),
        make("carriage-returns", "log-layout", "lines end in CR LF", good.replace('\n', "\r\n").into_bytes()),
        make("entry-only", "log-layout", "an entry without a checkpoint", first().line().to_vec()),
        make("empty", "log-layout", "no bytes at all", Vec::new()),
        make(
            "no-signature",
            "note-layout",
            "a checkpoint that nobody signed",
            good.split("\n— ").next().unwrap().to_owned().into_bytes(),
        ),
        make("truncated", "note-layout", "the last newline is missing", good.trim_end().to_owned().into_bytes()),
        make(
            "trailing-line",
            "signature-line",
            "something follows the signature",
            format!("{good}more\n").into_bytes(),
        ),
        make(
            "control-character",
            "note-not-text",
            "a zero byte in the note",
            good.replace("\n— ", "\0\n— ").into_bytes(),
        ),
    ]
}

fn chain() -> Vec<Vector> {
    let one = |from: &str, to: &str| changed(&first(), &[], from, to);
    let two = |from: &str, to: &str| changed(&second(), &[first()], from, to);
    let (leaf, other) = (first().leaf(), Digest::of(b"other"));
    let previous = format!("\"previous\":\"{}\"", first().digest());
    let sha256 = manifests::good().encode().unwrap().sha256;
    let snapshot_path = paths::manifest(&vault(), 1, sha256).unwrap();
    let sequence = |n: &str| {
        replace(
            &replace(&text(first().line()), "\"sequence\":1,\"sha", &format!("\"sequence\":{n},\"sha")),
            "\"sequence\":1,\"time",
            &format!("\"sequence\":{n},\"time"),
        )
    };
    vec![
        make("sequence-zero", "bad-chain", "the first entry has number 1", file(sequence("0").as_bytes(), &[])),
        make(
            "sequence-of-eleven-digits",
            "bad-chain",
            "a number that no path can hold",
            file(sequence("10000000000").as_bytes(), &[]),
        ),
        make(
            "previous-in-first",
            "bad-chain",
            "nothing is before the first entry",
            one("\"previous\":null", &format!("\"previous\":\"{other}\"")),
        ),
        make(
            "no-previous-in-second",
            "bad-chain",
            "the second entry follows the first",
            two(&previous, "\"previous\":null"),
        ),
        make(
            "previous-upper-case",
            "bad-member",
            "digests are in lower case",
            two(&previous, &previous.to_uppercase().replace("PREVIOUS", "previous")),
        ),
        make(
            "frontier-short",
            "bad-chain",
            "one leaf before it is one subtree",
            two(&format!("\"frontier\":[\"{leaf}\"]"), "\"frontier\":[]"),
        ),
        make(
            "frontier-long",
            "bad-chain",
            "no leaf before it is no subtree",
            one("\"frontier\":[]", &format!("\"frontier\":[\"{other}\"]")),
        ),
        make(
            "snapshot-elsewhere",
            "bad-chain",
            "the snapshot says it is in another entry",
            one("\"sequence\":1,\"sha", "\"sequence\":2,\"sha"),
        ),
        make(
            "latest-snapshot-not-before",
            "bad-chain",
            "the newest snapshot before an entry is not the entry",
            two("\"sequence\":1,\"sha", "\"sequence\":2,\"sha"),
        ),
        make(
            "result-before-intent",
            "bad-chain",
            "a result of an intent that is yet to come",
            changed(&third(), &[first(), second()], "\"intent\":2", "\"intent\":3"),
        ),
        make(
            "manifest-of-other-vault",
            "bad-path",
            "a manifest below another vault",
            one(snapshot_path.as_str(), &snapshot_path.as_str().replace("prod", "other")),
        ),
        make(
            "manifest-of-other-digest",
            "bad-path",
            "a manifest's path names another digest",
            one(&format!("\"sha256\":\"{sha256}\""), &format!("\"sha256\":\"{other}\"")),
        ),
    ]
}

fn signatures() -> Vec<Vector> {
    let good = first();
    let signed = |checkpoint: Checkpoint, signer: &Signer| {
        [good.line(), b"\n\n", checkpoint.sign(signer).unwrap().as_bytes()].concat()
    };
    let right = good.verify(&[signer().verifier()]).unwrap();
    let stranger = Signer::from_seed(signer().name(), &[8; 32]).unwrap();
    let zero = signer().sign(&right.text().replacen("\n1\n", "\n01\n", 1)).unwrap();
    let whole = text(&good.bytes());
    vec![
        make(
            "bad-signature",
            "bad-signature",
            "a signature of another text",
            [good.line(), b"\n\n", text(second().note()).replace("\n2\n", "\n1\n").as_bytes()].concat(),
        ),
        make(
            "no-known-signature",
            "no-known-signature",
            "signed by another key of the same name",
            signed(right.clone(), &stranger),
        ),
        make(
            "wrong-origin",
            "wrong-origin",
            "a checkpoint of another vault's log",
            signed(Checkpoint { origin: right.origin.replace("prod", "other"), ..right.clone() }, &signer()),
        ),
        make(
            "wrong-size",
            "wrong-size",
            "a checkpoint of another size",
            signed(Checkpoint { size: 2, ..right.clone() }, &signer()),
        ),
        make(
            "wrong-root",
            "wrong-root",
            "a checkpoint of another tree",
            signed(Checkpoint { root: Digest::of(b""), ..right }, &signer()),
        ),
        make(
            "other-frontier",
            "wrong-root",
            "a frontier that the checkpoint does not bear out",
            changed(
                &second(),
                &[first()],
                &format!("\"frontier\":[\"{}\"]", first().leaf()),
                &format!("\"frontier\":[\"{}\"]", Digest::of(b"other")),
            ),
        ),
        make(
            "changed-entry",
            "wrong-root",
            "an entry changed after it was signed",
            replace(&whole, "30:05Z", "30:06Z").into_bytes(),
        ),
        make(
            "not-a-checkpoint",
            "not-a-checkpoint",
            "a size with a leading zero, signed",
            [good.line(), b"\n\n", zero.as_bytes()].concat(),
        ),
    ]
}
