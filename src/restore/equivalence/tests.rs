//! Objects as Azure shows them, disturbed in ways that mean nothing, and changed in ways that mean something.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::*;
use crate::format::capture::{self, BackupFacts, Metadata, ServiceFacts};
use crate::model::{Kind, Name, Object, VaultUri};

/// An object, as a capture or a vault has it.
#[derive(Clone, Debug)]
struct Shown {
    object: Object,
    versions: Vec<Value>,
    bundles: Vec<Value>,
    rotation_policy: Option<Value>,
}

fn raw(values: &[Value]) -> Vec<Box<RawValue>> {
    values.iter().map(|value| to_raw_value(value).unwrap()).collect()
}

impl Shown {
    /// An object of `count` versions. Nothing in it is a default.
    fn new(kind: Kind, count: usize) -> Shown {
        let object = Object::new(kind, Name::parse("thing").unwrap());
        let id = |collection: &str, n: usize| format!("https://prod.vault.azure.net/{collection}/thing/{n:032x}");
        let attributes = |n: usize| {
            json!({"enabled": true, "nbf": 1_600_000_000, "exp": 1_900_000_000, "created": 1_700_000_000 + n,
                "updated": 1_700_000_100 + n, "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90,
                "exportable": false})
        };
        let tags = json!({"team": "payments", "stage": "prod"});
        let item = |n: usize| match kind {
            Kind::Key => json!({"kid": id("keys", n), "attributes": attributes(n), "tags": tags}),
            Kind::Secret => {
                json!({"id": id("secrets", n), "attributes": attributes(n), "tags": tags, "contentType": "text/plain"})
            }
            Kind::Certificate => {
                json!({"id": id("certificates", n), "attributes": attributes(n), "tags": tags, "x5t": format!("t{n}")})
            }
        };
        let bundle = |n: usize| match kind {
            Kind::Key => json!({
                "key": {"kid": id("keys", n), "kty": "RSA-HSM", "e": "AQAB", "n": format!("AAA{n}"),
                    "key_ops": ["sign", "verify", "wrapKey"]},
                "attributes": attributes(n), "tags": tags,
                // {"a":1}
                "release_policy": {"contentType": "application/json; charset=utf-8", "data": "eyJhIjoxfQ", "immutable": false},
            }),
            _ => json!({
                "id": id("certificates", n), "kid": id("keys", n), "sid": id("secrets", n), "x5t": format!("t{n}"),
                "policy": {
                    "id": "https://prod.vault.azure.net/certificates/thing/policy",
                    "key_props": {"exportable": false, "kty": "RSA", "key_size": 2048, "reuse_key": false},
                    "secret_props": {"contentType": "application/x-pkcs12"},
                    "x509_props": {"subject": "CN=a", "sans": {"dns_names": ["a.example", "b.example"]},
                        "ekus": ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"], "key_usage": [], "validity_months": 12},
                    "lifetime_actions": [
                        {"trigger": {"lifetime_percentage": 80}, "action": {"action_type": "AutoRenew"}},
                        {"trigger": {"days_before_expiry": 10}, "action": {"action_type": "EmailContacts"}},
                    ],
                    "issuer": {"name": "Self"},
                    "attributes": {"enabled": true, "created": 1_700_000_000, "updated": 1_700_000_000},
                },
            }),
        };
        let bundles = if kind == Kind::Secret { Vec::new() } else { (0..count).map(bundle).collect() };
        let rotation_policy = (kind == Kind::Key).then(|| {
            json!({
                "id": "https://prod.vault.azure.net/keys/thing/rotationpolicy",
                "lifetimeActions": [
                    {"trigger": {"timeAfterCreate": "P90D"}, "action": {"type": "Rotate"}},
                    {"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}},
                ],
                "attributes": {"expiryTime": "P120D", "created": 1_700_000_000, "updated": 1_700_000_000},
            })
        });
        Shown { object, versions: (0..count).map(item).collect(), bundles, rotation_policy }
    }

    fn capture(&self) -> Capture {
        let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let metadata = Metadata {
            format: capture::FORMAT.into(),
            vault: VaultUri::parse("https://prod.vault.azure.net").unwrap(),
            object: self.object.clone(),
            captured_at: at,
            tool: "tool".into(),
            backup: BackupFacts::of(b"blob"),
            listed: RawValue::NULL.to_owned(),
            versions: raw(&self.versions),
            bundles: raw(&self.bundles),
            rotation_policy: self.rotation_policy.as_ref().map(|policy| to_raw_value(policy).unwrap()),
            service: ServiceFacts::default(),
        };
        Capture { blob: b"blob".to_vec().into(), metadata }
    }

    /// As a vault shows it: of a certificate's bundles only the newest.
    fn live(&self) -> Live {
        let bundles = match self.object.kind {
            Kind::Certificate => self.newest_bundle(),
            _ => self.bundles.clone(),
        };
        Live {
            versions: raw(&self.versions),
            bundles: raw(&bundles),
            rotation_policy: self.rotation_policy.as_ref().map(|policy| to_raw_value(policy).unwrap()),
        }
    }

    fn newest_bundle(&self) -> Vec<Value> {
        self.bundles
            .iter()
            .max_by_key(|bundle| bundle["id"].as_str().unwrap().to_owned())
            .cloned()
            .into_iter()
            .collect()
    }

    fn item(&mut self, of: usize) -> &mut Value {
        &mut self.versions[of]
    }

    fn key(&mut self, of: usize) -> &mut Value {
        &mut self.bundles[of]["key"]
    }

    /// The policy of the newest certificate.
    fn policy(&mut self) -> &mut Value {
        &mut self.bundles.last_mut().unwrap()["policy"]
    }
}

fn codes(found: &[Difference]) -> Vec<Code> {
    found.iter().map(|difference| difference.code).collect()
}

fn differ(captured: &Shown, live: &Shown, action: Action) -> Vec<Code> {
    codes(&compare(&captured.capture(), &live.live(), action))
}

/// What differs from one vault to the next, and from one api-version to the next. Each bit is one sort.
fn disturb(mut shown: Shown, bits: u16) -> Shown {
    let on = |bit: u16| bits & (1 << bit) != 0;
    if on(0) {
        shown.versions.reverse();
    }
    if on(1) {
        shown.bundles.reverse();
    }
    let other_vault = |value: &mut Value| {
        let text = value.to_string().replace("https://prod.vault.azure.net", "https://spare.vault.azure.net:443");
        *value = serde_json::from_str(&text).unwrap();
    };
    for value in shown.versions.iter_mut().chain(&mut shown.bundles).chain(&mut shown.rotation_policy) {
        if on(2) {
            other_vault(value);
        }
        if on(3) && value.get("attributes").is_some_and(|it| it.get("recoveryLevel").is_some()) {
            value["attributes"]["recoveryLevel"] = "CustomizedRecoverable".into();
            value["attributes"]["recoverableDays"] = 7.into();
        }
        if on(4) {
            value["attributes"]["exportable"] = true.into();
        }
        if on(5) {
            value["attributes"]["hsmPlatform"] = "2".into();
            value["attributes"]["key_size"] = 2048.into();
            value["attributes"]["attestation"] = json!({});
        }
        if on(6) {
            value["something_new"] = json!({"a": [1]});
        }
        if let Some(ops) = value.pointer_mut("/key/key_ops").and_then(Value::as_array_mut)
            && on(7)
        {
            ops.reverse();
        }
        // The same JSON, spelled otherwise: { "a": 1 }
        if on(8) && value.pointer("/release_policy/data").is_some_and(|data| data == "eyJhIjoxfQ") {
            value["release_policy"]["data"] = "eyAiYSI6IDEgfQ==".into();
            value["release_policy"]["contentType"] = "application/json".into();
        }
        if let Some(actions) = value.get_mut("lifetimeActions").and_then(Value::as_array_mut)
            && on(9)
        {
            actions.reverse();
            actions.iter_mut().for_each(|it| {
                it["action"]["type"] = it["action"]["type"].as_str().unwrap().to_lowercase().into();
            });
        }
        if let Some(policy) = value.get_mut("policy").filter(|policy| policy.is_object())
            && on(10)
        {
            policy["key_props"]["exportable"] = true.into();
            policy["x509_props"]["basic_constraints"] = json!({"ca": false});
            policy["x509_props"]["sans"]["dns_names"].as_array_mut().unwrap().reverse();
            policy["x509_props"].as_object_mut().unwrap().remove("key_usage");
            policy["x509_props"]["sans"]["emails"] = json!([]);
            policy["lifetime_actions"].as_array_mut().unwrap().reverse();
        }
    }
    shown
}

/// A change to the version `of` an object of this kind, and the code that tells of it.
type Mutation = (Kind, Code, fn(&mut Shown, usize));

const MUTATIONS: &[Mutation] = &[
    (Kind::Secret, Code::VersionMissing, |it, of| drop(it.versions.remove(of))),
    (Kind::Key, Code::OtherKey, |it, of| it.key(of)["n"] = "BBBB".into()),
    (Kind::Key, Code::OtherKey, |it, of| drop(it.bundles.remove(of))),
    (Kind::Certificate, Code::OtherCertificate, |it, of| it.item(of)["x5t"] = "other".into()),
    (Kind::Certificate, Code::OtherCertificate, |it, of| it.item(of)["x5t"] = Value::Null),
    (Kind::Key, Code::KeyType, |it, of| it.key(of)["kty"] = "RSA".into()),
    (Kind::Certificate, Code::Parts, |it, _| {
        let kid = "https://prod.vault.azure.net/keys/thing/ffffffffffffffffffffffffffffffff";
        it.bundles.last_mut().unwrap()["kid"] = kid.into();
    }),
    (Kind::Certificate, Code::Parts, |it, _| {
        let sid = "https://prod.vault.azure.net/secrets/other/00000000000000000000000000000000";
        it.bundles.last_mut().unwrap()["sid"] = sid.into();
    }),
    // {"a":2}
    (Kind::Key, Code::ReleasePolicy, |it, of| it.bundles[of]["release_policy"]["data"] = "eyJhIjoyfQ".into()),
    (Kind::Key, Code::ReleasePolicy, |it, of| it.bundles[of]["release_policy"]["immutable"] = true.into()),
    (Kind::Key, Code::ReleasePolicy, |it, of| it.bundles[of]["release_policy"] = Value::Null),
    (Kind::Secret, Code::ExtraVersion, |it, of| {
        let mut more = it.versions[of].clone();
        more["id"] = "https://prod.vault.azure.net/secrets/thing/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee".into();
        it.versions.push(more);
    }),
    (Kind::Key, Code::Attributes, |it, of| it.item(of)["attributes"]["enabled"] = false.into()),
    (Kind::Secret, Code::Attributes, |it, of| it.item(of)["attributes"]["nbf"] = 5.into()),
    (Kind::Secret, Code::Attributes, |it, of| it.item(of)["attributes"]["exp"] = Value::Null),
    (Kind::Secret, Code::Attributes, |it, of| it.item(of)["attributes"]["created"] = 1_600_000_001.into()),
    (Kind::Key, Code::Tags, |it, of| it.item(of)["tags"]["team"] = "other".into()),
    (Kind::Key, Code::Tags, |it, of| it.item(of)["tags"] = Value::Null),
    (Kind::Key, Code::Tags, |it, of| it.item(of)["tags"]["more"] = "".into()),
    (Kind::Secret, Code::ContentType, |it, of| it.item(of)["contentType"] = "x".into()),
    (Kind::Secret, Code::ContentType, |it, of| it.item(of)["contentType"] = Value::Null),
    (Kind::Key, Code::KeyOps, |it, of| it.key(of)["key_ops"] = json!(["sign", "verify"])),
    (Kind::Key, Code::KeyOps, |it, of| it.key(of)["key_ops"] = json!(["sign", "verify", "wrapKey", "unwrapKey"])),
    (Kind::Certificate, Code::CertificatePolicy, |it, _| it.policy()["x509_props"]["subject"] = "CN=b".into()),
    (Kind::Certificate, Code::CertificatePolicy, |it, _| it.policy()["lifetime_actions"] = json!([])),
    (Kind::Certificate, Code::CertificatePolicy, |it, _| it.policy()["issuer"]["name"] = "Unknown".into()),
    (Kind::Certificate, Code::CertificatePolicy, |it, _| *it.policy() = Value::Null),
    (Kind::Key, Code::RotationPolicy, |it, _| {
        it.rotation_policy.as_mut().unwrap()["lifetimeActions"][0]["trigger"]["timeAfterCreate"] = "P91D".into();
    }),
    (Kind::Key, Code::RotationPolicy, |it, _| {
        it.rotation_policy.as_mut().unwrap()["attributes"]["expiryTime"] = Value::Null;
    }),
    (Kind::Key, Code::RotationPolicy, |it, _| it.rotation_policy = None),
];

/// Those that are of what an object is, and not of how it was left.
const LASTING: &[Code] = &[Code::VersionMissing, Code::OtherKey, Code::OtherCertificate, Code::KeyType, Code::Parts];

#[test]
fn each_single_change_is_found_under_its_code_and_no_other() {
    let mut seen = BTreeSet::from([Code::NotCompared]);
    for (number, (kind, code, change)) in MUTATIONS.iter().enumerate() {
        let captured = Shown::new(*kind, 3);
        let mut live = captured.clone();
        change(&mut live, 2);
        let found = differ(&captured, &live, Action::Restore);
        assert_eq!(found, [*code], "mutation {number}");
        seen.insert(*code);
    }
    assert_eq!(seen, BTreeSet::from_iter(Code::ALL.iter().copied()), "every code has a change that shows it");
}

#[test]
fn of_what_was_recovered_only_what_it_lacks_counts() {
    for (number, (kind, code, change)) in MUTATIONS.iter().enumerate() {
        let captured = Shown::new(*kind, 2);
        let mut live = captured.clone();
        change(&mut live, 1);
        let expected: &[Code] = if LASTING.contains(code) { &[*code] } else { &[] };
        assert_eq!(differ(&captured, &live, Action::Recover), expected, "mutation {number}");
    }
}

#[test]
fn grave_is_what_makes_it_another_object() {
    let captured = Shown::new(Kind::Key, 1);
    let mut live = captured.clone();
    live.item(0)["tags"] = json!({});
    let found = compare(&captured.capture(), &live.live(), Action::Restore);
    assert!(!grave(&found) && found[0].severity == Severity::Minor, "{found:?}");
    live.key(0)["n"] = "BBBB".into();
    assert!(grave(&compare(&captured.capture(), &live.live(), Action::PurgeAndRestore)));
    assert!(!grave(&[Difference::not_compared("it does not open")]));
}

#[test]
fn sentences_name_versions_and_fields_and_no_values() {
    let captured = Shown::new(Kind::Secret, 1);
    let mut live = captured.clone();
    live.item(0)["tags"]["team"] = "swordfish".into();
    live.item(0)["attributes"]["enabled"] = false.into();
    let found = compare(&captured.capture(), &live.live(), Action::Restore);
    let id = "00000000000000000000000000000000";
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            format!("version {id} came back with other attributes: enabled"),
            format!("version {id} came back with other tags: 1 of its own are not there, 1 are new"),
        ]
    );
    assert!(found.iter().all(|difference| difference.version.as_deref() == Some(id)));
}

#[test]
fn what_was_not_captured_is_not_compared() {
    let mut captured = Shown::new(Kind::Key, 1);
    let live = captured.clone();
    captured.rotation_policy = None;
    assert!(differ(&captured, &live, Action::Restore).is_empty(), "it could not be read then");
    let mut bare = Shown::new(Kind::Certificate, 2);
    let live = bare.clone();
    bare.bundles.clear();
    assert!(differ(&bare, &live, Action::Restore).is_empty());
}

#[test]
fn a_default_rotation_policy_that_cannot_be_read_now_is_told_and_an_empty_one_is_not() {
    let mut captured = Shown::new(Kind::Key, 1);
    captured.rotation_policy = Some(json!({"lifetimeActions": [], "attributes": {}}));
    let mut live = captured.clone();
    live.rotation_policy = None;
    assert!(differ(&captured, &live, Action::Restore).is_empty());
    captured.rotation_policy = Shown::new(Kind::Key, 1).rotation_policy;
    assert_eq!(differ(&captured, &live, Action::Restore), [Code::RotationPolicy]);
}

#[test]
fn codes_are_those_of_the_document() {
    let document = include_str!("../../../docs/FINDINGS.md");
    let section = document.split("\n## After a restore\n").nth(1).unwrap();
    let listed: BTreeSet<(&str, &str)> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter_map(|(code, rest)| Some((code, rest.split(" |").next()?)))
        .collect();
    let severity = |code: &Code| match code.severity() {
        Severity::Minor => "minor",
        Severity::Grave => "grave",
    };
    assert_eq!(listed, Code::ALL.iter().map(|code| (code.name(), severity(code))).collect());
    for code in Code::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), code.name(), "one name, in JSON too");
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(Kind::ALL.to_vec())
}

proptest! {
    #[test]
    fn an_object_equals_itself_in_any_order_and_under_any_api_version(
        kind in kinds(), count in 1..5_usize, ours: u16, theirs: u16,
    ) {
        let shown = Shown::new(kind, count);
        let (captured, live) = (disturb(shown.clone(), ours), disturb(shown, theirs));
        for action in [Action::Restore, Action::PurgeAndRestore, Action::Recover] {
            prop_assert_eq!(differ(&captured, &live, action), []);
        }
    }

    #[test]
    fn a_change_is_found_whatever_else_is_disturbed(
        mutation in 0..MUTATIONS.len(), count in 2..5_usize, of in 0..2_usize, ours: u16, theirs: u16,
    ) {
        let (kind, code, change) = MUTATIONS[mutation];
        let captured = Shown::new(kind, count);
        let mut live = captured.clone();
        change(&mut live, of);
        prop_assert_eq!(differ(&disturb(captured, ours), &disturb(live, theirs), Action::Restore), [code]);
    }

    #[test]
    fn nonsense_is_read_without_harm(text in r#"[{}\[\]":,a-z0-9]{0,30}"#) {
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let mut shown = Shown::new(Kind::Key, 1);
            shown.versions.push(value.clone());
            shown.bundles.push(value.clone());
            shown.rotation_policy = Some(value);
            let _ = differ(&shown, &Shown::new(Kind::Key, 1), Action::Restore);
        }
    }
}
