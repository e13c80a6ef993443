//! Recorded answers of Azure Resource Manager through its door: vaults, policies, storage accounts, regions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use url::Url;

use super::traffic::{self, Interaction};
use super::{say, step};
use crate::azure::Container;
use crate::azure::fake::{Stage, Step, answer};
use crate::model::{HoldTag, Mode, VaultUri, geography_of};
use crate::store::{self, Period, Protect as _, Read as _, Whole};
use crate::vault::{Condition, Facts as _};

/// A vault's resource, a container's policy, the regions: what the management plane tells us.
#[tokio::test]
async fn every_recorded_answer_of_the_management_plane_passes_its_door() {
    let Some(recorded) = traffic::read() else { return };
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for it in recorded.iter().filter(|it| it.host == "management.azure.com") {
        let segments: Vec<&str> = it.path.split('/').collect();
        let body: Value = serde_json::from_str(&it.answer).unwrap_or_default();
        let what = match (it.method.as_str(), segments.as_slice()) {
            ("GET" | "PUT" | "PATCH", [.., "Microsoft.KeyVault", "vaults", _]) => resource(it, &body).await,
            ("GET" | "PUT", [.., "immutabilityPolicies", "default"]) if it.status == 200 => policy(it, &body).await,
            ("POST", [.., "immutabilityPolicies", "default", "lock" | "extend"]) => change(it, &body).await,
            ("POST", [.., "setLegalHold" | "clearLegalHold"]) => hold(it, &body).await,
            ("DELETE", [.., "immutabilityPolicies", "default"]) if it.status == 409 => refusal(it).await,
            ("GET", [.., "Microsoft.Storage", "storageAccounts"]) => account(it, &body).await,
            ("GET", ["", "subscriptions", _, "locations"]) => regions(&body),
            _ => continue,
        };
        *counts.entry(what).or_default() += 1;
    }
    for what in ["account", "hold", "missing vault", "policy", "policy change", "policy refusal", "regions", "vault"] {
        assert!(counts.contains_key(what), "no recorded {what} was judged");
    }
    say(&format!("recorded answers through the door of the management plane: {counts:?}"));
}

async fn resource(it: &Interaction, body: &Value) -> &'static str {
    let denied = answer(403, r#"{"error":{"code":"AuthorizationFailed","message":"no"}}"#);
    let stage = Stage::new([step(it), denied]);
    let name = it.path.rsplit('/').next().unwrap();
    let uri = VaultUri::parse(&format!("https://{name}.vault.azure.net")).unwrap();
    let arm = stage.connection.arm().unwrap().knowing(&it.path);
    let found = arm.facts(&uri).await;
    if it.status == 404 {
        assert_eq!(found.expect_err(&it.place()).condition, Condition::NotFound, "{}", it.place());
        return "missing vault";
    }
    let place = it.place();
    let facts = found.expect(&place);
    let properties = &body["properties"];
    assert_eq!(facts.sku, properties["sku"]["name"].as_str().unwrap().to_lowercase());
    assert!(facts.place.geography.is_some(), "{}: {}", it.place(), facts.place.location);
    assert_eq!(facts.rbac, properties["enableRbacAuthorization"] == true);
    assert_eq!(facts.soft_delete.purge_protection, properties["enablePurgeProtection"] == true);
    assert_eq!(facts.soft_delete.enabled, properties["enableSoftDelete"] != false);
    "vault"
}

const SUBSCRIPTIONS: &str = r#"{"value":[{"subscriptionId":"s1"}]}"#;
const POLICY: &str = r#"{"properties":{"state":"Locked","immutabilityPeriodSinceCreationInDays":3}}"#;

/// What the guard of a container makes of an account and a policy.
async fn guard(host: &str, account: Step, policy: Step) -> (Option<Mode>, Option<u32>) {
    let stage = Stage::new([answer(200, ""), answer(200, SUBSCRIPTIONS), account, policy]);
    let arm = Arc::new(stage.connection.arm().unwrap());
    let address = Url::parse(&format!("https://{host}/vaults")).unwrap();
    let guard = stage.connection.container(&address, Some(arm)).unwrap().guard().await.unwrap();
    assert!(stage.done(), "{host}");
    (guard.lock, guard.days)
}

async fn policy(it: &Interaction, body: &Value) -> &'static str {
    let account = r#"{"value":[{"id":"/subscriptions/s1/a","properties":{"primaryEndpoints":{"blob":"https://archive.blob.core.windows.net/"}}}]}"#;
    let found = guard("archive.blob.core.windows.net", answer(200, account), step(it)).await;
    let days = body["properties"]["immutabilityPeriodSinceCreationInDays"].as_u64().filter(|days| *days > 0);
    let mode = match (body["properties"]["state"].as_str().unwrap(), days) {
        (_, None) => Mode::None,
        ("Locked", _) => Mode::Locked,
        ("Unlocked", _) => Mode::Unlocked,
        (other, _) => panic!("{}: {other}", it.place()),
    };
    assert_eq!(found, (Some(mode), days.map(|days| u32::try_from(days).unwrap())), "{}", it.place());
    "policy"
}

const ACCOUNT: &str = "/subscriptions/s1/providers/Microsoft.Storage/storageAccounts/archive";

/// A container whose look finds `before`, whose change is answered as recorded, and whose next look finds `after`: each
/// the container's own document and its policy.
fn changed(it: &Interaction, before: [Step; 2], after: [Step; 2]) -> (Stage, Container) {
    let endpoint = "https://archive.blob.core.windows.net/";
    let account = format!(r#"{{"id":"{ACCOUNT}","properties":{{"primaryEndpoints":{{"blob":"{endpoint}"}}}}}}"#);
    let stage = Stage::new([answer(200, account)].into_iter().chain(before).chain([step(it)]).chain(after));
    let arm = Arc::new(stage.connection.arm().unwrap().knowing(ACCOUNT));
    let address = Url::parse("https://archive.blob.core.windows.net/vaults").unwrap();
    let container = stage.connection.container(&address, Some(arm)).unwrap();
    (stage, container)
}

fn policy_of(days: u64, state: &str) -> Step {
    let properties = format!(r#"{{"immutabilityPeriodSinceCreationInDays":{days},"state":"{state}"}}"#);
    answer(200, format!(r#"{{"etag":"\"before\"","properties":{properties}}}"#))
}

fn seen() -> Whole {
    Whole { period: None, tags: Default::default(), stamp: "\"before\"".to_owned() }
}

/// A lock and an extension: what the answer tells is what a look finds then.
async fn change(it: &Interaction, body: &Value) -> &'static str {
    let days = body["properties"]["immutabilityPeriodSinceCreationInDays"].as_u64().unwrap();
    let extends = it.path.ends_with("/extend");
    let before = if extends { policy_of(days - 1, "Locked") } else { policy_of(days, "Unlocked") };
    let none = || answer(200, r#"{"properties":{}}"#);
    let (stage, container) = changed(it, [none(), before], [none(), step(it)]);
    let days = u32::try_from(days).unwrap();
    let whole = match extends {
        true => container.extend_whole(&seen(), days).await,
        false => container.lock_whole(&seen()).await,
    };
    let place = it.place();
    let whole = whole.expect(&place);
    assert_eq!(whole.period, Some(Period { days, locked: true, extensions: None }), "{}", it.place());
    assert_eq!(Some(whole.stamp.as_str()), body["etag"].as_str());
    let sent = stage.fake.log().into_iter().find(|sent| sent.method == "POST").unwrap();
    assert!(sent.url.split('?').next().unwrap().ends_with(it.path.split("/containers/container1").nth(1).unwrap()));
    // What is sent is what was sent then.
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    assert_eq!(json(&sent.body), json(it.body.as_bytes()), "{}", it.place());
    "policy change"
}

async fn hold(it: &Interaction, body: &Value) -> &'static str {
    let holds = |tags: &Value| {
        let tags: Vec<String> = tags.as_array().unwrap().iter().map(|tag| format!(r#"{{"tag":{tag}}}"#)).collect();
        answer(200, format!(r#"{{"properties":{{"legalHold":{{"tags":[{}]}}}}}}"#, tags.join(",")))
    };
    let asked: Value = serde_json::from_str(&it.body).unwrap();
    let held = body["hasLegalHold"] == true;
    let before = if held { Value::Array(Vec::new()) } else { asked["tags"].clone() };
    let policy = || policy_of(3, "Locked");
    let (_, container) = changed(it, [holds(&before), policy()], [holds(&body["tags"]), policy()]);
    let tag = HoldTag::parse(asked["tags"][0].as_str().unwrap()).unwrap();
    let place = it.place();
    let whole = container.hold_whole(&tag, held).await.expect(&place);
    assert_eq!(whole.tags.len(), body["tags"].as_array().unwrap().len(), "{}", it.place());
    "hold"
}

/// The one refusal of a policy that is recorded: of a removal, which we never ask for; a lock may meet it.
async fn refusal(it: &Interaction) -> &'static str {
    let look = || [answer(200, r#"{"properties":{}}"#), policy_of(1, "Unlocked")];
    let (_, container) = changed(it, look(), look());
    let error = container.lock_whole(&seen()).await.unwrap_err();
    assert_eq!(error.condition, store::Condition::Refused, "{}: {error}", it.place());
    assert!(error.message.contains("ContainerImmutabilityPolicyFailure"), "{error}");
    "policy refusal"
}

async fn account(it: &Interaction, body: &Value) -> &'static str {
    let accounts = body["value"].as_array().unwrap();
    let blob = accounts.iter().find_map(|account| account["properties"]["primaryEndpoints"]["blob"].as_str());
    let Some(blob) = blob else { return "list of no account" };
    let host = Url::parse(blob).unwrap().host_str().unwrap().to_owned();
    assert_eq!(guard(&host, step(it), answer(200, POLICY)).await, (Some(Mode::Locked), Some(3)), "{}", it.place());
    "account"
}

/// Our table of geographies, which is there for whoever may not ask, agrees with the service.
fn regions(body: &Value) -> &'static str {
    let mut differ = Vec::new();
    for region in body["value"].as_array().unwrap() {
        let name = region["name"].as_str().unwrap();
        let theirs = region["metadata"]["geography"].as_str();
        if let (Some(ours), Some(theirs)) = (geography_of(name), theirs)
            && ours.0 != theirs
        {
            differ.push(format!("{name}: {} here, {theirs} there", ours.0));
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
    "regions"
}
