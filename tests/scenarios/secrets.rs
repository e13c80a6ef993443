//! Where secrets must not be: each has a canary in it, every command runs as talkative as it can be made, and everything
//! that is left is searched, in every spelling that a program gives bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use akv_archiver::emulator::faults::{Action, Rule, Status, When};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::support::world::{Ran, SEED, World};

const SECRET: &str = "canary-7f3a9c51d2-value";
const TAG: &str = "canary-51e0b7c4aa-tag";
const PASSPHRASE: &str = "canary-c09d2e66f1-passphrase";
/// In the settings of the vault, which are sealed like captures: who it is with an authority that issues certificates.
const ACCOUNT: &str = "canary-84ab60d93f-account";
/// In answers that make no sense.
const BODY: &str = "canary-3b88d0174e-body";

/// Files in which secrets are, as they should: what unlocks, what signs, and the script that makes a vault anew.
const SECRETS: [&str; 4] = ["identity.txt", "signer.key", "reporter.key", "rebuild.sh"];

/// What must not be found: the word itself, and what it looks like in base64, at each of its three alignments, in
/// hexadecimal, and as a list of numbers.
#[derive(Default)]
struct Canaries(BTreeMap<Vec<u8>, String>);

impl Canaries {
    fn add(&mut self, name: &str, secret: &str) {
        let secret = secret.as_bytes();
        let mut add = |how: &str, text: Vec<u8>| {
            assert!(text.len() > 12, "{name}: too short to be told from chance");
            self.0.insert(text, format!("{name}, {how}"));
        };
        add("as it is", secret.to_vec());
        for engine in [&STANDARD, &URL_SAFE_NO_PAD] {
            for skipped in 0..3 {
                // What surrounds it changes the characters at the ends; those in the middle are its own.
                let text = engine.encode([&[0; 2][..skipped], secret].concat()).into_bytes();
                let own = text.len() - 4;
                add("in base64", text[(skipped * 4).div_ceil(3)..own].to_vec());
            }
        }
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        add("in capital hexadecimal", hex.to_uppercase().into_bytes());
        add("in hexadecimal", hex.into_bytes());
        let numbers: Vec<String> = secret.iter().map(u8::to_string).collect();
        add("as numbers", numbers.join(", ").into_bytes());
    }

    /// The canaries in these bytes.
    fn within(&self, bytes: &[u8]) -> BTreeSet<&str> {
        let found = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        self.0.iter().filter(|(needle, _)| found(needle)).map(|(_, name)| name.as_str()).collect()
    }
}

/// Everything that was seen: its name, its bytes.
#[derive(Default)]
struct Seen(Vec<(String, Vec<u8>)>);

impl Seen {
    fn ran(&mut self, arguments: &[&str], ran: Ran) -> Ran {
        for (stream, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
            self.0.push((format!("{stream} of {}", arguments.join(" ")), text.clone().into_bytes()));
        }
        ran
    }

    /// All files below a folder, the named ones left out.
    fn files(&mut self, folder: &Path, but: &[&str]) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name().into_string().unwrap();
            if but.contains(&name.as_str()) {
                continue;
            }
            match entry.file_type().unwrap().is_dir() {
                true => self.files(&path, but),
                false => self.0.push((path.display().to_string(), std::fs::read(&path).unwrap())),
            }
        }
    }

    fn betrayed(&self, canaries: &Canaries) -> Vec<String> {
        let found = self.0.iter().flat_map(|(place, bytes)| {
            canaries.within(bytes).into_iter().map(move |canary| format!("{canary}, is in {place}"))
        });
        found.collect()
    }
}

/// A world whose secrets have canaries, and what runs in it.
struct Watched {
    world: World,
    seen: Seen,
}

impl Watched {
    fn start() -> Self {
        let objects = format!(r#"name = "app", count = 3, value = "{SECRET}""#);
        let seed = SEED.replace(r#"name = "app", count = 3"#, &objects);
        let seed = seed.replace(r#"tags = { team = "payments" }"#, &format!(r#"tags = {{ team = "{TAG}" }}"#));
        let issuers = format!(
            "retention_days = 90\nissuers = [{{ name = \"own\", provider = \"DigiCert\", account_id = \"{ACCOUNT}\" }}]"
        );
        let seed = seed.replacen("retention_days = 90", &issuers, 1);
        assert!(seed.contains(SECRET) && seed.contains(TAG) && seed.contains(ACCOUNT));
        let world = World::new(&seed);
        std::fs::create_dir(world.path("temporary")).unwrap();
        Watched { world, seen: Seen::default() }
    }

    /// Runs a command with every log that there is.
    fn run(&mut self, arguments: &[&str]) -> Ran {
        let mut command = self.world.command(arguments);
        command
            .env("AKV_ARCHIVER_LOG", "trace")
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .env("PASSPHRASE", PASSPHRASE)
            .env("TMPDIR", self.world.path("temporary"));
        let ran = Ran::of(command.output().unwrap());
        self.seen.ran(arguments, ran)
    }

    /// Runs a command that prints what is sealed, as it should: only what it says beside that is searched. Returns what
    /// it printed.
    fn run_that_shows(&mut self, arguments: &[&str]) -> String {
        let shown = self.run(arguments).succeeded().stdout;
        let place = self.seen.0.len() - 2;
        self.seen.0.remove(place);
        shown
    }

    /// Puts a capture of an object, as somebody took it out of the storage, into a file.
    fn take_out(&mut self, object: &str, file: &str) {
        let (_, history) = self.world.json(&["history", object]);
        let path = history["captures"][0]["path"].as_str().unwrap_or_else(|| panic!("{history:#}"));
        let (status, sealed) = self.world.stranger().blob("GET", &format!("vaults/{path}"), &[], b"");
        assert_eq!(status, 200);
        std::fs::write(self.world.path(file), sealed).unwrap();
    }

    /// Runs a command that meets a fault.
    fn run_into(&mut self, rule: Rule, arguments: &[&str]) -> Ran {
        self.world.azure.fault(rule).unwrap();
        let ran = self.run(arguments);
        self.world.azure.clear_faults();
        ran
    }

    /// Protects the identity with a passphrase, as people should.
    fn lock_identity(&self) -> String {
        let path = self.world.path("identity.txt");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut recipient = age::scrypt::Recipient::new(age::secrecy::SecretString::from(PASSPHRASE));
        recipient.set_work_factor(4);
        std::fs::write(&path, age::encrypt(&recipient, text.as_bytes()).unwrap()).unwrap();
        self.world
            .edit_settings(|text| text.replace("[archive]\n", "[archive]\nidentity_passphrase_env = \"PASSPHRASE\"\n"));
        text.lines().find(|line| line.starts_with("AGE-SECRET-KEY")).unwrap().to_owned()
    }

    /// Every blob of the container, read by somebody else.
    fn search_store(&mut self) -> usize {
        let stranger = self.world.stranger();
        let (status, list) = stranger.blob("GET", "vaults?restype=container&comp=list&maxresults=5000", &[], b"");
        assert_eq!(status, 200);
        let list = String::from_utf8(list).unwrap();
        let names: Vec<&str> = list.split("<Name>").skip(1).map(|rest| rest.split("</Name>").next().unwrap()).collect();
        for name in &names {
            let (status, bytes) = stranger.blob("GET", &format!("vaults/{name}"), &[], b"");
            assert_eq!(status, 200, "{name}");
            if name.ends_with(".jsonl.zst") {
                let lines = zstd::stream::decode_all(bytes.as_slice()).unwrap();
                self.seen.0.push((format!("blob {name}, decompressed"), lines));
            }
            self.seen.0.push((format!("blob {name}"), bytes));
        }
        let count = names.len();
        self.seen.0.push(("the list of blobs".into(), list.into_bytes()));
        count
    }
}

/// An answer of success that makes no sense.
fn nonsense(body: &str) -> Action {
    Action::Status(Status { code: 200, headers: BTreeMap::new(), body: Some(body.to_owned()), when: When::Before })
}

/// What an operator and a job do on good days.
fn good_days(watched: &mut Watched) {
    watched.run(&["-vv", "doctor"]);
    watched.run(&["-vv", "snapshot"]).succeeded();
    watched.run(&["-vv", "-o", "json", "snapshot"]).succeeded();
    watched.run(&["-vv", "verify", "--open", "--live", "--read-captures"]).succeeded();
    watched.run(&["-vv", "-o", "json", "verify"]).succeeded();
    watched.run(&["-vv", "status", "--metrics-file", "status.prom"]);
    watched.run(&["-vv", "list"]).succeeded();
    watched.run(&["-vv", "-o", "json", "list", "--snapshots"]).succeeded();
    watched.run(&["-vv", "history", "secret/app-0000"]).succeeded();
    watched.run(&["-vv", "policy", "show", "default"]).succeeded();
    let names = ["secret/app-0000", "key/tde-protector", "certificate/tls"];
    let target = ["--to", "https://spare.vault.azure.net"];
    watched.run(&[&["-vv", "restore", "plan"], &names[..], &target[..]].concat()).succeeded();
    let unrecorded = Status { code: 403, headers: BTreeMap::new(), body: None, when: When::Before };
    let unrecorded = Rule::new(Action::Status(unrecorded)).method("PUT").path("0000000004").window(0, 1000);
    watched.run_into(unrecorded, &["-vv", "restore", "apply", "--yes"]).exited(12);
    watched.run(&["-vv", "restore", "log"]).succeeded();
    watched.run(&["-vv", "restore", "resume", "--intent", "3", "--yes"]).succeeded();
    watched.run(&["-vv", "-o", "json", "restore", "log"]).succeeded();
}

/// What people do beside, with other vaults, other roles and other keys.
fn other_days(watched: &mut Watched) {
    let until = ["--reason", "case 7", "--yes"];
    watched.run(&["-vv", "protect", "status"]).succeeded();
    watched
        .run(&[&["-vv", "protect", "extend", "--for", "400d", "--list", "list.txt"], &until[..]].concat())
        .succeeded();
    watched.run(&[&["-vv", "protect", "hold"], &until[..]].concat()).succeeded();
    watched.run(&["-vv", "-o", "json", "protect", "status"]).succeeded();
    let refused = Status { code: 403, headers: BTreeMap::new(), body: None, when: When::Before };
    let refused = Rule::new(Action::Status(refused)).method("PUT").path("captures").window(0, 1000);
    watched.run_into(refused, &[&["-vv", "-o", "json", "protect", "release"], &until[..]].concat()).exited(3);
    watched.run(&[&["-vv", "protect", "release"], &until[..]].concat()).succeeded();

    watched.run(&["-vv", "verify", "--make-key", "reporter.key"]).succeeded();
    watched.world.edit_settings(|text| format!("{text}\n[verify]\nsigner = \"reporter.key\"\n"));
    watched.run(&["-vv", "verify", "--open", "--report", "seen.report"]).succeeded();
    watched
        .run(&["-vv", "-o", "json", "verify", "--since-report", "seen.report", "--report", "seen.report"])
        .succeeded();

    watched.take_out("secret/app-0000", "app.age");
    let shown = watched.run_that_shows(&["-vv", "open", "app.age", "--metadata"]);
    assert!(shown.contains(TAG) && !shown.contains(SECRET), "{shown}");

    watched.run(&["-vv", "policy", "check", "default", "regulated"]).succeeded();
    watched.run(&["-vv", "policy", "explain", "secret/app-0000", "--vault", "prod"]).succeeded();

    let rebuild = ["--all", "--to", "https://spare.vault.azure.net", "--with-vault-settings"];
    watched.run(&[&["-vv", "restore", "plan", "--out", "rebuild.json"], &rebuild[..]].concat()).succeeded();
    watched.run(&["-vv", "-o", "json", "restore", "apply", "rebuild.json", "--yes"]).succeeded();
    let (status, issuer) = watched.world.stranger().vault("GET", "spare.vault.azure.net/certificates/issuers/own", "");
    assert_eq!((status, &issuer["credentials"]["account_id"]), (200, &ACCOUNT.into()));

    // A fleet: all that the identity may see, one of them out of reach.
    let ready = watched.world.azure.ready();
    let credential = format!(
        "credential = {{ kind = \"client-secret\", tenant_id = \"{}\", client_id = \"{}\", client_secret_env = \"AZURE_CLIENT_SECRET\" }}",
        ready.tenant_id, ready.client_id
    );
    watched.world.edit_settings(|text| format!("{text}\n[[discover]]\n{credential}\n"));
    watched.run(&["-vv", "vaults", "--all"]).succeeded();
    let fleet = watched.run(&["-vv", "snapshot", "--all"]).succeeded();
    assert!(fleet.stdout.contains("3 of 3 complete"), "{fleet:#?}");
    let unreachable = Rule::new(nonsense(&format!("{{\"error\":\"{BODY}\"}}"))).path("/secrets").window(0, 1000);
    let ran = watched.run_into(unreachable, &["-vv", "-o", "json", "snapshot", "--all", "--full"]);
    assert_ne!(ran.code, 0, "{ran:#?}");
    watched.run(&["-vv", "status", "--metrics-file", "status.prom"]);
}

/// And on bad ones: answers that make no sense, with a canary where a parser would stop.
fn bad_days(watched: &mut Watched) {
    // Something to back up: what did not change is not asked for.
    let fresh = format!("{{\"value\":\"{SECRET}\"}}");
    assert_eq!(watched.world.stranger().vault("PUT", "prod.vault.azure.net/secrets/fresh", &fresh).0, 200);
    let mut harmless = Vec::new();
    let quoted = format!("{{\"value\":[\"{BODY}\"],\"nextLink\":{{\"{BODY}\":1}}}}");
    let xml = format!("<EnumerationResults><Blobs><Blob><Name>{BODY}</Name><Oops>{BODY}</Blobs></EnumerationResults>");
    for (path, body) in [
        ("/backup", format!("{{\"value\":\"{BODY} is no base64\"}}")),
        ("/backup", format!("{{\"value\":[\"{BODY}\"]}}")),
        ("/secrets", quoted.clone()),
        ("/keys", format!("{BODY}: no JSON")),
        ("/certificates", format!("<html>{BODY}</html>")),
        ("/oauth2", format!("{{\"access_token\":[\"{BODY}\"]}}")),
        ("/subscriptions", quoted),
        ("/vaults", xml),
    ] {
        let rule = Rule::new(nonsense(&body)).path(path).window(0, 1000);
        let before = watched.world.azure.requests().len();
        let command = if path == "/subscriptions" { &["-vv", "doctor"][..] } else { &["-vv", "snapshot", "--full"] };
        let ran = watched.run_into(rule, command);
        let struck = watched.world.azure.requests().iter().skip(before).any(|request| request.fault.is_some());
        if !struck || ran.code == 0 && path != "/subscriptions" {
            harmless.push(path);
        }
    }
    assert!(harmless.is_empty(), "no fault: {harmless:?}");
    watched.run(&["-vv", "open", "akv-archiver.toml"]).exited(20);
    watched.run(&["-vv", "restore", "plan", "secret/none"]);
    watched.run(&["-vv", "--config", "identity.txt", "list"]).exited(2);
    watched.run(&["-vv", "--config", "signer.key", "list"]).exited(2);
    watched.world.edit_settings(|text| {
        text.replace("identity_passphrase_env = \"PASSPHRASE\"", "identity_passphrase_env = \"USER\"")
    });
    watched.run(&["-vv", "verify", "--open"]);
}

#[test]
fn no_secret_leaves_a_sealed_capture() {
    let mut watched = Watched::start();
    let init = watched.world.init("prod", "vaults").succeeded();
    watched.seen.ran(&["init"], init);
    let identity = watched.lock_identity();
    let signer = std::fs::read_to_string(watched.world.path("signer.key")).unwrap();
    // PRIVATE+KEY+name+hash+base64, which may have more of them.
    let signer = signer.trim().splitn(5, '+').nth(4).unwrap();
    let client_secret = watched.world.azure.ready().client_secret.clone();
    let mut canaries = Canaries::default();
    for (name, secret) in [
        ("the value of a secret", SECRET),
        ("a tag", TAG),
        ("the passphrase", PASSPHRASE),
        ("an answer's body", BODY),
        ("an issuer's account", ACCOUNT),
        ("the identity", identity.trim()),
        ("the signer", signer),
        ("the client secret", &client_secret),
    ] {
        canaries.add(name, secret);
    }
    // What tokens of Entra and backups of Key Vault begin with. Shorter ones are in some signature by chance.
    for begins in [r#"{"typ""#, r#"{"alg""#, r#"{"kid""#] {
        canaries.0.insert(URL_SAFE_NO_PAD.encode(begins).into_bytes(), "a token or a backup".into());
    }
    good_days(&mut watched);
    other_days(&mut watched);
    let reporter = std::fs::read_to_string(watched.world.path("reporter.key")).unwrap();
    canaries.add("the key of reports", reporter.trim().splitn(5, '+').nth(4).unwrap());
    bad_days(&mut watched);
    let blobs = watched.search_store();
    watched.seen.files(watched.world.folder.path(), &SECRETS);
    let found = watched.seen.betrayed(&canaries);
    assert!(found.is_empty(), "{}", found.join("\n"));
    let left: Vec<_> = std::fs::read_dir(watched.world.path("temporary")).unwrap().collect();
    assert!(left.is_empty(), "temporary files were left: {left:?}");
    let read = |request: &str| request.starts_with("/secrets/app-") && !request.contains("/versions");
    let gets = watched.world.azure.requests().iter().filter(|r| r.method == "GET" && read(&r.path)).count();
    assert_eq!(gets, 0, "a secret was read");
    let (runs, places) =
        (watched.seen.0.iter().filter(|(name, _)| name.starts_with("stdout")).count(), watched.seen.0.len());
    let bytes: usize = watched.seen.0.iter().map(|(_, bytes)| bytes.len()).sum();
    eprintln!(
        "canaries: {} spellings of 10 secrets, {runs} runs, {blobs} blobs, {places} places, {bytes} bytes: none found",
        canaries.0.len()
    );
    finds_what_is_there(&mut watched, &canaries);
}

/// The search itself: what is where it belongs is found there, in any spelling.
fn finds_what_is_there(watched: &mut Watched, canaries: &Canaries) {
    let mut seen = Seen::default();
    seen.files(watched.world.folder.path(), &[]);
    let found = seen.betrayed(canaries);
    for (name, file) in [
        ("the signer", "signer.key"),
        ("the key of reports", "reporter.key"),
        // The commands that make a vault like the lost one name what its settings name.
        ("an issuer's account", "rebuild.sh"),
    ] {
        assert!(found.iter().any(|found| found.starts_with(name) && found.contains(file)), "{name}: {found:?}");
    }
    watched.world.edit_settings(|text| text.replace("passphrase_env = \"USER\"", "passphrase_env = \"PASSPHRASE\""));
    watched.take_out("secret/app-0000", "one.age");
    let opened = watched.run(&["open", "one.age", "--extract", "opened"]).succeeded();
    assert_eq!(canaries.within(opened.stdout.as_bytes()), BTreeSet::from(["a tag, as it is"]));
    let mut seen = Seen::default();
    seen.files(&watched.world.path("opened"), &[]);
    assert!(seen.betrayed(canaries).iter().any(|found| found.contains("a token or a backup, is in")));
    for spelling in [STANDARD.encode(format!("x{SECRET}xx")), URL_SAFE_NO_PAD.encode(format!("{{\"a\":\"{SECRET}\"}}"))]
    {
        assert!(!canaries.within(spelling.as_bytes()).is_empty(), "{spelling}");
    }
    assert!(!canaries.within(format!("{:?}", SECRET.as_bytes()).as_bytes()).is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn a_running_command_can_leave_no_core() {
    let world = World::with_archive();
    world.azure.fault(Rule::new(Action::Stall(When::Before)).path("/keys").window(0, 1000)).unwrap();
    let mut child = world.command(&["snapshot"]).spawn().unwrap();
    while !world.azure.requests().iter().any(|request| request.fault.is_some()) {
        std::thread::yield_now();
    }
    let of = |pid: u32, file: &str| std::fs::metadata(format!("/proc/{pid}/{file}"));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    // What is not dumpable belongs to root, whoever runs it.
    let owner = of(child.id(), "environ").map(|found| std::os::unix::fs::MetadataExt::uid(&found));
    child.kill().unwrap();
    child.wait().unwrap();
    let cores: Vec<&str> =
        limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().split_whitespace().collect();
    assert_eq!(cores[4..6], ["0", "0"], "{limits}");
    assert_eq!(owner.unwrap(), 0);
}
