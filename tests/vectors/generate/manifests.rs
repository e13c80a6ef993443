//! Manifests: mutated as text, line by line, and compressed anew.

use akv_archiver::format::json;
use akv_archiver::format::manifest::{CaptureRef, Counts, FORMAT, Gap, Header, Line, Manifest, State, Status};
use akv_archiver::format::paths;
use akv_archiver::model::{
    Digest, Kind, Mode, Name, Object, Place, SoftDelete, StorePath, VaultFacts, geography_of, hex,
};

use super::{Subject, Vector, replace, time, vault};

pub(super) fn all() -> Vec<Vector> {
    [accepted(), frames(), layout(), header(), order(), lines()].concat()
}

/// The header and a line as the specification shows them.
pub(super) fn examples() -> Vec<String> {
    let good = good();
    let texts = [json::write(&good.header).unwrap(), json::write(&good.lines[1]).unwrap()];
    texts.into_iter().map(|text| format!("{}\n", String::from_utf8(text).unwrap())).collect()
}

pub(super) fn capture_path() -> StorePath {
    path(Kind::Key, "tde-protector")
}

fn path(kind: Kind, name: &str) -> StorePath {
    let object = Object::new(kind, Name::parse(name).unwrap());
    paths::capture(&vault(), &object, time(1), &fingerprint(&object)).unwrap()
}

fn fingerprint(object: &Object) -> Digest {
    Digest::of(object.to_string().as_bytes())
}

/// A line with a fresh capture.
fn live(kind: Kind, name: &str) -> Line {
    let object = Object::new(kind, Name::parse(name).unwrap());
    let sealed = Digest::of(name.as_bytes());
    Line {
        salt: hex(&fingerprint(&object).0[..16]),
        kind,
        name: object.name.clone(),
        state: State::Live,
        fingerprint: fingerprint(&object),
        current: Some("585696e25b1742c28337ed0ff1e85ee1".to_owned()),
        versions_fingerprint: Some(sealed),
        versions: Some(3),
        compared_at: None,
        enabled: Some(true),
        expires: None,
        key_type: (kind == Kind::Key).then(|| "RSA-HSM".to_owned()),
        thumbprint: (kind == Kind::Key).then(|| "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".to_owned()),
        purge_at: None,
        capture: Some(CaptureRef {
            path: path(kind, name),
            version: Some("2026-11-21T01:30:02.1234567Z".to_owned()),
            sha256: sealed,
            md5: hex(&sealed.0[..16]),
            size: 16_384,
            captured_at: time(1),
            mode: Mode::Locked,
            protected_until: Some(time(365 * 86_400)),
            kid: Some("57117840-50cb-4f22-8b2e-c5b7e5d088be".to_owned()),
            reused: false,
        }),
        gap: None,
    }
}

fn reused(mut line: Line) -> Line {
    if let Some(capture) = &mut line.capture {
        capture.reused = true;
    }
    line
}

fn denied() -> Option<Gap> {
    Some(Gap { code: "denied".to_owned(), detail: "secrets/backup/action is missing".to_owned() })
}

fn gap(line: Line) -> Line {
    Line { capture: None, gap: denied(), versions: None, versions_fingerprint: None, ..line }
}

/// The line of an earlier snapshot, and a gap.
fn gap_after(line: Line) -> Line {
    Line { gap: denied(), ..reused(line) }
}

fn state(line: Line, state: State) -> Line {
    let purge_at = (state == State::Deleted).then(|| time(90 * 86_400));
    Line { capture: None, versions: None, state, purge_at, ..line }
}

fn manifest(lines: Vec<Line>) -> Manifest {
    let counts = Counts::of(&lines);
    let header = Header {
        format: FORMAT.to_owned(),
        archive_id: super::archive().archive_id,
        sequence: 1,
        vault: vault(),
        facts: Some(VaultFacts {
            resource_id: "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/prod/providers/Microsoft.KeyVault/vaults/prod".to_owned(),
            place: Place {
                subscription: "11111111-1111-1111-1111-111111111111".to_owned(),
                location: "westeurope".to_owned(),
                geography: geography_of("westeurope"),
            },
            sku: "premium".to_owned(),
            soft_delete: SoftDelete { enabled: true, retention_days: 90, purge_protection: true },
            rbac: true,
        }),
        started: time(0),
        finished: time(4),
        tool: "akv-archiver 0.1.0".to_owned(),
        status: if counts.gaps == 0 { Status::Complete } else { Status::Partial },
        policy_sha256: Digest::of(b"{}"),
        counts,
        gaps: Vec::new(),
        settings: None,
        settings_fingerprint: None,
    };
    Manifest { header, lines }
}

/// No objects, but the settings of the vault, changed.
fn settings(change: fn(&mut Header, &mut CaptureRef)) -> Vec<u8> {
    let content = Digest::of(b"settings");
    let mut manifest = manifest(Vec::new());
    let mut reference = live(Kind::Key, "a").capture.unwrap();
    reference.path = paths::settings(&vault(), time(1), &content).unwrap();
    reference.kid = None;
    manifest.header.settings_fingerprint = Some(content);
    manifest.header.settings = Some(reference.clone());
    change(&mut manifest.header, &mut reference);
    manifest.header.settings = manifest.header.settings.map(|_| reference);
    frame(&text(&manifest))
}

/// A certificate with its key and secret, a key, and a deleted secret.
pub(super) fn good() -> Manifest {
    manifest(vec![
        reused(live(Kind::Certificate, "tls")),
        live(Kind::Key, "tde-protector"),
        state(live(Kind::Key, "tls"), State::Managed),
        state(live(Kind::Secret, "old"), State::Deleted),
        state(live(Kind::Secret, "tls"), State::Managed),
    ])
}

fn text(manifest: &Manifest) -> String {
    let lines = std::iter::once(json::write(&manifest.header)).chain(manifest.lines.iter().map(json::write));
    lines.map(|line| String::from_utf8(line.unwrap()).unwrap() + "\n").collect()
}

fn frame(text: &str) -> Vec<u8> {
    zstd::bulk::compress(text.as_bytes(), 3).unwrap()
}

fn make(name: &str, expect: &str, comment: &str, bytes: Vec<u8>) -> Vector {
    super::vector(Subject::Manifest, name, expect, comment, bytes)
}

fn from(name: &str, expect: &str, comment: &str, lines: Vec<Line>) -> Vector {
    make(name, expect, comment, frame(&text(&manifest(lines))))
}

fn accepted() -> Vec<Vector> {
    let last = state(live(Kind::Key, "a"), State::Deleted);
    let mut cut_short = manifest(vec![live(Kind::Key, "a")]);
    cut_short.header.status = Status::Partial;
    let mut no_facts = good();
    no_facts.header.facts = None;
    no_facts.header.gaps =
        vec![Gap { code: "denied".to_owned(), detail: "Microsoft.KeyVault/vaults/read is missing".to_owned() }];
    vec![
        make("complete", "ok", "a certificate with its key and secret, a key, a deleted secret", frame(&text(&good()))),
        make("cut-short", "ok", "partial without a gap: a run that was stopped", frame(&text(&cut_short))),
        make("no-facts", "ok", "the management plane would not tell of the vault", frame(&text(&no_facts))),
        from("no-objects", "ok", "an empty vault", Vec::new()),
        make("settings", "ok", "the settings of the vault were taken", settings(|_, _| {})),
        make("settings-reused", "ok", "the settings are those of an earlier run", settings(|_, it| it.reused = true)),
        make("more-gaps", "ok", "more gaps of the vault than the header has room for", frame(&text(&many_gaps()))),
        make("largest-window", "ok", "a frame that needs a window of 8 MiB", windowed(23)),
        from(
            "gap-after-capture",
            "ok",
            "partial: one object could not be taken, and an earlier capture is left",
            vec![live(Kind::Key, "a"), gap_after(live(Kind::Secret, "b"))],
        ),
        from(
            "excluded",
            "ok",
            "complete, though the policy leaves a certificate and its parts out",
            vec![
                state(live(Kind::Certificate, "a"), State::Excluded),
                state(live(Kind::Key, "a"), State::Excluded),
                live(Kind::Key, "b"),
                state(live(Kind::Secret, "a"), State::Excluded),
            ],
        ),
        from(
            "excluded-and-deleted",
            "ok",
            "left out while it lived, and seen as deleted",
            vec![state(live(Kind::Key, "a"), State::Excluded), last.clone()],
        ),
        from(
            "gap",
            "ok",
            "partial: one object could not be taken",
            vec![live(Kind::Key, "a"), gap(live(Kind::Secret, "b"))],
        ),
        from(
            "live-and-deleted",
            "ok",
            "an object deleted during the sweep is seen twice",
            vec![live(Kind::Key, "a"), last.clone()],
        ),
        from(
            "deleted-with-capture",
            "ok",
            "a deleted object may name its last capture",
            vec![Line { capture: reused(live(Kind::Key, "a")).capture, ..last }],
        ),
    ]
}

fn many_gaps() -> Manifest {
    let gap = |n| Gap { code: "malformed-item".to_owned(), detail: format!("item {n} of the live keys has no id") };
    let mut manifest = manifest(Vec::new());
    manifest.header.status = Status::Partial;
    manifest.header.gaps = Header::cap_gaps((0..120).map(gap).collect());
    manifest
}

/// A good manifest in a frame that needs a window of 2^`log` bytes: instead of a single segment, whose window is the
/// content, a window descriptor (RFC 8878 section 3.1.1.1).
fn windowed(log: u8) -> Vec<u8> {
    const SINGLE_SEGMENT: u8 = 0x20;
    let whole = frame(&text(&good()));
    assert_eq!(whole[4], 1 << 6 | SINGLE_SEGMENT, "its length has two bytes in either form");
    [&whole[..4], &[whole[4] & !SINGLE_SEGMENT, (log - 10) << 3], &whole[5..]].concat()
}

fn frames() -> Vec<Vector> {
    let good = text(&good());
    let whole = frame(&good);
    // A single-segment frame that declares 2^40 bytes (RFC 8878 section 3.1.1.1), and a block that never comes.
    let bomb = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &(1_u64 << 40).to_le_bytes(), &[0, 0, 0]].concat();
    vec![
        make("not-zstd", "bad-zstd", "the lines as they are", good.clone().into_bytes()),
        make("empty-file", "bad-zstd", "no bytes at all", Vec::new()),
        make("truncated-frame", "bad-zstd", "the last byte is missing", whole[..whole.len() - 1].to_vec()),
        make("trailing-bytes", "bad-zstd", "something follows the frame", [whole.as_slice(), b"x"].concat()),
        make(
            "two-frames",
            "bad-zstd",
            "the content in two frames",
            [frame(&good[..100]), frame(&good[100..])].concat(),
        ),
        make(
            "undeclared-size",
            "bad-zstd",
            "a frame of unknown length, as from a pipe",
            zstd::stream::encode_all(good.as_bytes(), 3).unwrap(),
        ),
        make("wide-window", "bad-zstd", "a frame that needs a window of 16 MiB", windowed(24)),
        make(
            "skippable-frame",
            "bad-zstd",
            "a frame that says to skip it",
            [&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0][..], b"x"].concat(),
        ),
        make("declares-too-much", "too-large", "a frame that promises a tebibyte", bomb),
    ]
}

fn layout() -> Vec<Vector> {
    let good = text(&good());
    let changed = |from: &str, to: &str| frame(&replace(&good, from, to));
    vec![
        make("empty-content", "manifest-layout", "not even a header", frame("")),
        make("no-final-newline", "manifest-layout", "the last line does not end", frame(good.trim_end())),
        make("empty-line", "manifest-layout", "an empty line after the header", frame(&good.replacen('\n', "\n\n", 1))),
        make("trailing-empty-line", "manifest-layout", "an empty line at the end", frame(&format!("{good}\n"))),
        make(
            "long-line",
            "too-large",
            "a line of more than 64 KiB",
            changed("akv-archiver 0.1.0", &"x".repeat(70_000)),
        ),
        make("next-format", "unknown-format", "from a later program", changed("manifest/1", "manifest/2")),
        make("white-space", "not-canonical", "a space in a line", changed("\"purge_at\":", "\"purge_at\": ")),
        make(
            "unknown-member",
            "bad-member",
            "format 1 never grows members",
            changed("\"name\":\"tde-protector\",", "\"name\":\"tde-protector\",\"namely\":1,"),
        ),
        make(
            "unknown-state",
            "bad-member",
            "a state that nobody knows",
            changed("\"state\":\"deleted\"", "\"state\":\"dormant\""),
        ),
        make(
            "duplicate-member",
            "duplicate-member",
            "a name twice",
            changed("\"name\":\"tde-protector\",", "\"name\":\"tde-protector\",\"name\":\"tde-protector\","),
        ),
        make(
            "wrong-counts",
            "bad-counts",
            "the header counts a capture too many",
            changed("\"captured\":1", "\"captured\":2"),
        ),
        make("wrong-sum", "bad-counts", "seen is not the sum", changed("\"seen\":2", "\"seen\":3")),
        make(
            "missing-line",
            "bad-counts",
            "a counted line is not there",
            frame(
                &good
                    .lines()
                    .filter(|line| !line.contains("tde-protector"))
                    .map(|line| format!("{line}\n"))
                    .collect::<String>(),
            ),
        ),
        make(
            "complete-with-gap",
            "bad-counts",
            "called complete, with a gap",
            frame(&replace(
                &text(&manifest(vec![gap(live(Kind::Key, "a"))])),
                "\"status\":\"partial\"",
                "\"status\":\"complete\"",
            )),
        ),
    ]
}

fn order() -> Vec<Vector> {
    let (a, b) = (|| live(Kind::Key, "a"), || live(Kind::Key, "b"));
    let deleted = state(a(), State::Deleted);
    vec![
        from("names-unordered", "unordered", "b before a", vec![b(), a()]),
        from("kinds-unordered", "unordered", "a key before a certificate", vec![a(), live(Kind::Certificate, "a")]),
        from("case-unordered", "unordered", "upper case does not sort first", vec![live(Kind::Key, "B"), a()]),
        from("deleted-first", "unordered", "deleted before live", vec![deleted, a()]),
        from("twice", "duplicate-object", "one object in two lines", vec![a(), a()]),
        from("twice-by-case", "duplicate-object", "names do not differ by case", vec![a(), live(Kind::Key, "A")]),
        from(
            "live-and-managed",
            "duplicate-object",
            "an object is live or managed",
            vec![live(Kind::Certificate, "a"), a(), state(a(), State::Managed)],
        ),
        from(
            "live-and-excluded",
            "duplicate-object",
            "an object is taken or left out",
            vec![a(), state(a(), State::Excluded)],
        ),
    ]
}

fn header() -> Vec<Vector> {
    vec![
        make(
            "settings-without-fingerprint",
            "bad-line",
            "a capture of settings that nothing can be compared with",
            settings(|header, _| header.settings_fingerprint = None),
        ),
        make(
            "fingerprint-without-settings",
            "bad-line",
            "settings that are nowhere",
            settings(|header, _| header.settings = None),
        ),
        make(
            "settings-with-kid",
            "bad-line",
            "Azure wraps no settings",
            settings(|_, it| it.kid = Some("57117840-50cb-4f22-8b2e-c5b7e5d088be".to_owned())),
        ),
        make("settings-md5-short", "bad-line", "15 bytes", settings(|_, it| it.md5 = "0".repeat(30))),
        make(
            "settings-of-other-content",
            "bad-path",
            "a path that names another fingerprint",
            settings(|header, _| header.settings_fingerprint = Some(Digest::of(b"others"))),
        ),
        make(
            "settings-of-other-time",
            "bad-path",
            "a path that names another time",
            settings(|_, it| it.captured_at = time(2)),
        ),
        make(
            "settings-of-other-vault",
            "bad-path",
            "settings below another vault",
            settings(|_, it| it.path = StorePath::parse(&it.path.as_str().replace("prod", "other")).unwrap()),
        ),
        make(
            "settings-of-an-object",
            "bad-path",
            "the capture of a key",
            settings(|_, it| it.path = path(Kind::Key, "a")),
        ),
    ]
}

fn lines() -> Vec<Vector> {
    let key = || live(Kind::Key, "a");
    let capture = |change: fn(&mut CaptureRef)| {
        let mut line = key();
        change(line.capture.as_mut().unwrap());
        vec![line]
    };
    let captured = key().capture;
    vec![
        from("salt-short", "bad-salt", "15 bytes", vec![Line { salt: "0".repeat(30), ..key() }]),
        from(
            "salt-upper-case",
            "bad-salt",
            "hexadecimal is in lower case",
            vec![Line { salt: "A".repeat(32), ..key() }],
        ),
        from(
            "neither-capture-nor-gap",
            "bad-line",
            "silence about a live object",
            vec![Line { capture: None, gap: None, ..key() }],
        ),
        from(
            "fresh-capture-and-gap",
            "bad-line",
            "taken and not taken: beside a gap there is an earlier capture only",
            vec![Line { gap: denied(), ..key() }],
        ),
        from(
            "excluded-with-capture",
            "bad-line",
            "left out, and taken",
            vec![Line { state: State::Excluded, ..key() }],
        ),
        from(
            "excluded-with-earlier-capture",
            "bad-line",
            "what is left out keeps nothing",
            vec![Line { state: State::Excluded, ..reused(key()) }],
        ),
        from(
            "excluded-with-gap",
            "bad-line",
            "nothing was to be taken",
            vec![Line { gap: denied(), ..state(key(), State::Excluded) }],
        ),
        from(
            "excluded-with-purge-time",
            "bad-line",
            "what is left out is not purged",
            vec![Line { purge_at: Some(time(0)), ..state(key(), State::Excluded) }],
        ),
        from(
            "managed-by-excluded-certificate",
            "bad-line",
            "a certificate that is left out covers nothing",
            vec![state(live(Kind::Certificate, "a"), State::Excluded), state(key(), State::Managed)],
        ),
        from(
            "managed-with-capture",
            "bad-line",
            "a managed key is never taken alone",
            vec![live(Kind::Certificate, "a"), Line { state: State::Managed, ..key() }],
        ),
        from(
            "managed-with-gap",
            "bad-line",
            "its certificate's line has the gap",
            vec![live(Kind::Certificate, "a"), Line { gap: denied(), ..state(key(), State::Managed) }],
        ),
        from(
            "managed-certificate",
            "bad-line",
            "nobody manages a certificate",
            vec![state(live(Kind::Certificate, "a"), State::Managed)],
        ),
        from("managed-without-certificate", "bad-line", "no certificate covers it", vec![state(key(), State::Managed)]),
        from(
            "managed-by-deleted-certificate",
            "bad-line",
            "a deleted certificate covers nothing",
            vec![state(live(Kind::Certificate, "a"), State::Deleted), state(key(), State::Managed)],
        ),
        from(
            "deleted-with-gap",
            "bad-line",
            "nothing was to be taken",
            vec![Line { gap: denied(), ..state(key(), State::Deleted) }],
        ),
        from(
            "deleted-with-fresh-capture",
            "bad-line",
            "what is deleted cannot be captured",
            vec![Line { capture: captured, ..state(key(), State::Deleted) }],
        ),
        from(
            "live-with-purge-time",
            "bad-line",
            "what is live is not purged",
            vec![Line { purge_at: Some(time(0)), ..key() }],
        ),
        from("md5-short", "bad-line", "15 bytes", capture(|c| c.md5 = "0".repeat(30))),
        from(
            "path-of-other-vault",
            "bad-path",
            "a capture below another vault",
            capture(|c| c.path = StorePath::parse(&c.path.as_str().replace("prod", "other")).unwrap()),
        ),
        from(
            "path-of-other-object",
            "bad-path",
            "the capture of another object",
            capture(|c| c.path = path(Kind::Key, "b")),
        ),
        from(
            "path-of-other-kind",
            "bad-path",
            "the capture of a secret",
            capture(|c| c.path = path(Kind::Secret, "a")),
        ),
        from(
            "path-of-other-item",
            "bad-path",
            "the fingerprint of another list item",
            vec![Line { fingerprint: Digest::of(b"other"), ..key() }],
        ),
        from("path-of-other-time", "bad-path", "a path that names another time", capture(|c| c.captured_at = time(2))),
        from(
            "path-of-nothing",
            "bad-path",
            "a path that format 1 does not have",
            capture(|c| c.path = StorePath::parse("elsewhere").unwrap()),
        ),
    ]
}
