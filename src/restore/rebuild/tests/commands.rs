//! The script, run by a shell that is not ours, with an `az` that only notes what it is called with.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

/// A folder with an `az` that notes how it was called, and with nothing else that could be run.
fn stage() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let az = "#!/bin/sh\nprintf 'az\\0' >> calls\nfor word; do\n  printf '%s\\0' \"$word\" >> calls\n  \
        if [ \"$word\" = --password=@- ]; then read -r line; printf 'stdin %s\\0' \"$line\" >> calls; fi\ndone\n";
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    let path = folder.path().join("bin/az");
    std::fs::write(&path, az).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

struct Ran {
    code: i32,
    stderr: String,
    calls: Vec<Vec<String>>,
}

/// Runs a script where there is nothing but the noting `az`.
fn run(script: &str, folder: &Path, variables: &[(&str, &str)]) -> Ran {
    let file = folder.join("PLAN.sh");
    std::fs::write(&file, script).unwrap();
    let shell = |arguments: &[&str]| {
        let mut command = Command::new("/bin/sh");
        command.args(arguments).arg(&file).current_dir(folder).stdin(Stdio::null());
        command.env_clear().env("PATH", folder.join("bin")).envs(variables.iter().copied()).output().unwrap()
    };
    let parsed = shell(&["-n"]);
    assert!(parsed.status.success() && parsed.stderr.is_empty(), "{parsed:?} of\n{script}");
    let ran = shell(&[]);
    let calls = std::fs::read_to_string(folder.join("calls")).unwrap_or_default();
    let mut words: Vec<&str> = calls.split('\0').collect();
    words.pop();
    let mut calls: Vec<Vec<String>> = Vec::new();
    for word in words {
        match word {
            "az" => calls.push(Vec::new()),
            word => calls.last_mut().unwrap().push(word.to_owned()),
        }
    }
    assert_eq!(
        std::fs::read_dir(folder).unwrap().count(),
        2 + usize::from(!calls.is_empty()),
        "something else was written"
    );
    Ran { code: ran.status.code().unwrap(), stderr: String::from_utf8_lossy(&ran.stderr).into_owned(), calls }
}

#[test]
fn the_script_gives_back_issuers_contacts_and_rotation_policies() {
    let script = script(&settings(&documents()), &target(), &policies());
    insta::assert_snapshot!(script);
    let ran = run(&script, stage().path(), &[("ISSUER_PASSWORD_1", "pass'word")]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let calls: Vec<Vec<&str>> = ran.calls.iter().map(|call| call.iter().map(String::as_str).collect()).collect();
    let expected: [&[&str]; 5] = [
        &[
            "keyvault",
            "certificate",
            "issuer",
            "create",
            "--vault-name=spare",
            "--issuer-name=digicert",
            "--provider-name=DigiCert",
            "--account-id=acme",
            "--organization-id=42",
            "--disabled=true",
            "--password=@-",
            "stdin pass'word",
            "--output",
            "none",
        ],
        &[
            "keyvault",
            "certificate",
            "issuer",
            "admin",
            "add",
            "--vault-name=spare",
            "--issuer-name=digicert",
            "--email=a@b.example",
            "--first-name=Ada",
            "--phone=1",
            "--output",
            "none",
        ],
        &[
            "keyvault",
            "certificate",
            "issuer",
            "create",
            "--vault-name=spare",
            "--issuer-name=own",
            "--provider-name=Test",
            "--output",
            "none",
        ],
        &[
            "keyvault",
            "certificate",
            "contact",
            "add",
            "--vault-name=spare",
            "--email=ops@b.example",
            "--name=O'Brien",
            "--phone=+1 2",
            "--output",
            "none",
        ],
        &[
            "keyvault",
            "key",
            "rotation-policy",
            "update",
            "--vault-name=spare",
            "--name=tde",
            r#"--value={"attributes":{"expiryTime":"P120D"},"lifetimeActions":[{"action":{"type":"Rotate"},"trigger":{"timeAfterCreate":"P90D"}}]}"#,
            "--output",
            "none",
        ],
    ];
    assert_eq!(calls, expected);
}

#[test]
fn without_a_password_its_issuer_is_left_out_and_the_others_are_made() {
    let script = script(&settings(&documents()), &target(), &policies());
    let ran = run(&script, stage().path(), &[]);
    assert_eq!((ran.code, ran.calls.len()), (1, 4));
    assert_eq!(ran.stderr, "ISSUER_PASSWORD_1 is not set: see the comment above its command\n");
}

#[test]
fn a_value_that_az_would_read_from_a_file_is_left_out() {
    let mut documents = documents();
    documents[4].1["contacts"][0]["email"] = "@/etc/passwd".into();
    let script = script(&settings(&documents), &target(), &[]);
    let ran = run(&script, stage().path(), &[("ISSUER_PASSWORD_1", "x")]);
    assert_eq!((ran.code, ran.calls.len()), (1, 3), "{script}");
    assert!(
        script
            .contains("# Left out, for a value that az would not take as it is: certificate contact add @/etc/passwd")
    );
}

proptest! {
    // Each case starts a shell and what it calls.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn hostile_names_never_leave_their_quotes(pool in prop::collection::vec(hostile(), 1..9)) {
        let documents = spoilt(&pool);
        let mut policy = policies();
        spoil(&mut policy[0].1, &mut pool.iter().cycle().cloned());
        let script = script(&settings(&documents), &target(), &policy);
        let folder = stage();
        let ran = run(&script, folder.path(), &[("ISSUER_PASSWORD_1", "x"), ("ISSUER_PASSWORD_2", "x")]);
        prop_assert_eq!(&ran.stderr, "", "{}", script);
        let known: BTreeSet<&str> = [
            "issuer-name", "provider-name", "account-id", "organization-id", "disabled", "password", "email", "first-name",
            "last-name", "phone", "name", "value",
        ].into();
        let first = |call: &[String]| call.iter().position(|word| word == "--vault-name=spare").unwrap();
        for call in &ran.calls {
            let (commands, options) = call.split_at(first(call));
            prop_assert!(commands.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')), "{:?}", call);
            prop_assert_eq!(&options[options.len() - 2..], ["--output", "none"]);
            for option in options[1..options.len() - 2].iter().filter(|option| *option != "stdin x") {
                let (name, value) = option.strip_prefix("--").and_then(|rest| rest.split_once('=')).unwrap();
                prop_assert!(known.contains(name), "{}", option);
                let given = pool.iter().any(|text| text == value);
                let ours = match name {
                    "disabled" => value == "true",
                    "password" => value == "@-",
                    "name" => given || value == "tde",
                    "value" => serde_json::from_str::<Value>(value).is_ok(),
                    _ => given,
                };
                prop_assert!(ours, "{}", option);
                prop_assert!(!value.starts_with('@') || name == "password", "{}", option);
            }
        }
    }
}
