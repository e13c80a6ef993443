//! How a container is protected as a whole, and the requests that change it (`azure.md` §7.3): its policy, which only
//! grows here, and its legal holds. The only place where anything is written through Resource Manager. Sends a change once;
//! what became of one that got no answer is for the caller to look up.

use std::collections::BTreeSet;

use azure_core::http::{Method, Request};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use url::Url;

use super::{Arm, READ_POLICIES, STORAGE_API, retention};
use crate::azure::classify::management_error;
use crate::azure::failure::Failure;
use crate::azure::retry::Repeat;
use crate::model::{HoldTag, Mode};
use crate::store::{Period, Whole};
use crate::vault::{Condition, Error};

const READ_CONTAINERS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers/read";

/// What lets blobs be appended to that exist: a change of the period must leave it as it is.
const APPENDS: [&str; 2] = ["allowProtectedAppendWrites", "allowProtectedAppendWritesAll"];

/// A container as it is protected now.
pub(in crate::azure) struct Standing {
    /// Its resource id.
    id: String,
    /// What of it callers work with. The stamp is the policy's ETag.
    pub(in crate::azure) whole: Whole,
    /// Those of [`APPENDS`] that the policy has.
    appends: Map<String, Value>,
    /// Whether what is held may be appended to, where that was said.
    held_appends: Option<bool>,
}

/// A change.
#[derive(Clone, Copy, Debug)]
pub(in crate::azure) enum Change<'a> {
    /// Another period, in days.
    Period(u32),
    /// The lock.
    Lock,
    /// A legal hold.
    Hold(&'a HoldTag),
    /// Its end.
    Release(&'a HoldTag),
}

impl Change<'_> {
    /// What is done, for messages.
    fn phrase(&self) -> String {
        match self {
            Change::Period(days) => format!("set the immutability policy to {days} days"),
            Change::Lock => "lock the immutability policy".to_owned(),
            Change::Hold(tag) => format!("put on the legal hold {tag}"),
            Change::Release(tag) => format!("lift the legal hold {tag}"),
        }
    }

    /// The action that it takes.
    fn action(&self, locked: bool) -> &'static str {
        match self {
            Change::Period(_) if locked => {
                "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/extend/action"
            }
            Change::Period(_) => "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/write",
            Change::Lock => {
                "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/lock/action"
            }
            Change::Hold(_) => "Microsoft.Storage/storageAccounts/blobServices/containers/setLegalHold/action",
            Change::Release(_) => "Microsoft.Storage/storageAccounts/blobServices/containers/clearLegalHold/action",
        }
    }
}

impl Standing {
    fn locked(&self) -> bool {
        self.whole.period.is_some_and(|period| period.locked)
    }

    /// Method, path below the container, whether it depends on the policy's ETag, and body of a change.
    fn request(&self, change: &Change<'_>) -> (Method, &'static str, bool, Option<Value>) {
        const POLICY: &str = "/immutabilityPolicies/default";
        let tags = |tag: &HoldTag| Map::from_iter([("tags".to_owned(), json!([tag.as_str()]))]);
        match change {
            // What is left out of a new policy may be switched off; an extension cannot change it.
            Change::Period(days) => {
                let locked = self.locked();
                let mut properties = if locked { Map::new() } else { self.appends.clone() };
                properties.insert("immutabilityPeriodSinceCreationInDays".to_owned(), json!(days));
                let body = Some(json!({"properties": properties}));
                match locked {
                    true => (Method::Post, "/immutabilityPolicies/default/extend", true, body),
                    false => (Method::Put, POLICY, true, body),
                }
            }
            Change::Lock => (Method::Post, "/immutabilityPolicies/default/lock", true, None),
            Change::Hold(tag) => {
                let mut body = tags(tag);
                body.extend(self.held_appends.map(|held| ("allowProtectedAppendWritesAll".to_owned(), held.into())));
                (Method::Post, "/setLegalHold", false, Some(Value::Object(body)))
            }
            Change::Release(tag) => (Method::Post, "/clearLegalHold", false, Some(Value::Object(tags(tag)))),
        }
    }
}

impl Arm {
    /// The resource id of the container at `address`.
    pub(in crate::azure) async fn container_id(&self, address: &Url) -> Result<String, Error> {
        let account = self.account(address).await?;
        let id = account.get("id").and_then(Value::as_str).unwrap_or_default();
        Ok(format!("{id}/blobServices/default/containers/{}", address.path().trim_matches('/')))
    }

    /// How the container with that resource id is protected.
    pub(in crate::azure) async fn standing(&self, id: &str) -> Result<Standing, Error> {
        let name = id.rsplit('/').next().unwrap_or_default();
        let doing = format!("read the legal holds of container {name}");
        let container = self.get(self.url(id, STORAGE_API)?, &doing, READ_CONTAINERS).await?;
        let doing = format!("read the immutability policy of container {name}");
        let url = self.url(&format!("{id}/immutabilityPolicies/default"), STORAGE_API)?;
        let policy = match self.get(url, &doing, READ_POLICIES).await {
            Ok(policy) => policy,
            Err(error) if error.condition == Condition::NotFound => Value::Null,
            Err(error) => return Err(error),
        };
        standing(id, &container, &policy).ok_or_else(|| {
            let failure = Failure::malformed("the policy has no ETag".to_owned());
            management_error(&failure, self.endpoint.host_str().unwrap_or_default(), &doing, READ_POLICIES)
        })
    }

    /// Asks for a change of what was read, and sends nothing twice that may have taken effect. A policy that is no longer
    /// the one that was read is not changed.
    pub(in crate::azure) async fn change(&self, of: &Standing, change: Change<'_>) -> Result<(), (Failure, Error)> {
        let (method, path, guarded, body) = of.request(&change);
        let doing = format!("{} of container {}", change.phrase(), of.id.rsplit('/').next().unwrap_or_default());
        let action = format!("{} (role policies/roles/retention-admin.json)", change.action(of.locked()));
        let told = |failure: Failure| {
            let error = management_error(&failure, self.endpoint.host_str().unwrap_or_default(), &doing, &action);
            (failure, error)
        };
        let url = self.url(&format!("{}{path}", of.id), STORAGE_API);
        let url = url.map_err(|error| (Failure::malformed("the container's id is none"), error))?;
        let body = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let (pipeline, stamp) = (&self.pipeline, &of.whole.stamp);
        let operation = |context: azure_core::http::Context<'static>| {
            let mut request = Request::new(url.clone(), method);
            request.insert_header("accept", "application/json");
            if !body.is_empty() {
                request.insert_header("content-type", "application/json");
            }
            if guarded {
                request.insert_header("if-match", stamp.clone());
            }
            request.set_body(body.clone());
            async move { pipeline.send(&context, &mut request, None).await.map(drop) }
        };
        self.caller.call(Repeat::UntilUnclear, operation).await.map(drop).map_err(told)
    }
}

/// Whether a document, read as either of the two, tells anything.
#[cfg(feature = "fuzzing")]
pub(super) fn tells(found: &Value) -> bool {
    standing("", found, found).is_some_and(|it| it.whole.period.is_some() || !it.whole.tags.is_empty())
}

/// What two documents tell of a container. None of a policy without an ETag: it could not be changed safely.
fn standing(id: &str, container: &Value, policy: &Value) -> Option<Standing> {
    let of = |value: &Value, path: &str| value.pointer(path).cloned();
    let found = retention(policy.get("properties"));
    let history = container.pointer("/properties/immutabilityPolicy/updateHistory").and_then(Value::as_array);
    let extended = |update: &&Value| {
        update.get("update").and_then(Value::as_str).is_some_and(|word| word.eq_ignore_ascii_case("extend"))
    };
    let extensions = history.and_then(|history| u32::try_from(history.iter().filter(extended).count()).ok());
    let locked = found.mode == Mode::Locked;
    // Only what is locked uses up extensions.
    let extensions = if locked { extensions } else { Some(0) };
    let period = found.days.filter(|_| found.mode != Mode::None).map(|days| Period { days, locked, extensions });
    let stamp = policy.get("etag").and_then(Value::as_str).unwrap_or_default();
    if period.is_some() && stamp.is_empty() {
        return None;
    }
    let tags = container.pointer("/properties/legalHold/tags").and_then(Value::as_array).into_iter().flatten();
    let tags: BTreeSet<String> = tags.filter_map(|tag| Some(tag.get("tag")?.as_str()?.to_ascii_lowercase())).collect();
    let appends =
        APPENDS.into_iter().filter_map(|name| Some((name.to_owned(), policy.get("properties")?.get(name)?.clone())));
    let held_appends =
        of(container, "/properties/legalHold/protectedAppendWritesHistory/allowProtectedAppendWritesAll")
            .and_then(|value| value.as_bool());
    Some(Standing {
        id: id.to_owned(),
        whole: Whole { period, tags, stamp: stamp.to_owned() },
        appends: appends.filter(|(_, value)| value.is_boolean()).collect(),
        held_appends,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(container: &str, policy: &str) -> Option<Standing> {
        let json = |text: &str| serde_json::from_str(text).unwrap();
        standing("/c", &json(container), &json(policy))
    }

    const LOCKED: &str =
        r#"{"etag":"\"a\"","properties":{"immutabilityPeriodSinceCreationInDays":3,"state":"Locked"}}"#;

    #[test]
    fn extensions_are_counted_in_the_history_and_unknown_without_one() {
        let history =
            |words: &str| format!(r#"{{"properties":{{"immutabilityPolicy":{{"updateHistory":[{words}]}}}}}}"#);
        let updates = r#"{"update":"put"},{"update":"lock"},{"update":"Extend"},{"update":"extend"},{"unheard":1}"#;
        let used = |container: &str, policy: &str| read(container, policy).unwrap().whole.period.unwrap().extensions;
        assert_eq!(used(&history(updates), LOCKED), Some(2));
        assert_eq!(used(&history(""), LOCKED), Some(0));
        assert_eq!(used(r#"{"properties":{}}"#, LOCKED), None);
        assert_eq!(
            used(&history(updates), &LOCKED.replace("Locked", "Unlocked")),
            Some(0),
            "only what is locked uses them up"
        );
    }

    #[test]
    fn a_policy_that_is_gone_is_none_and_one_without_an_etag_cannot_be_changed() {
        let gone = r#"{"etag":"","properties":{"immutabilityPeriodSinceCreationInDays":0,"state":"Deleted"}}"#;
        for policy in [gone, "null"] {
            assert_eq!(read("{}", policy).unwrap().whole.period, None);
        }
        assert!(read("{}", &LOCKED.replace(r#"\"a\""#, "")).is_none());
    }

    #[test]
    fn what_lets_a_blob_be_appended_to_stays_as_it_is() {
        let policy =
            LOCKED.replace("Locked", "Unlocked").replace("{\"imm", "{\"allowProtectedAppendWritesAll\":true,\"imm");
        let held = r#"{"properties":{"legalHold":{"tags":[],"protectedAppendWritesHistory":{"allowProtectedAppendWritesAll":true}}}}"#;
        let standing = read(held, &policy).unwrap();
        let (.., body) = standing.request(&Change::Period(9));
        let properties = json!({"allowProtectedAppendWritesAll": true, "immutabilityPeriodSinceCreationInDays": 9});
        assert_eq!(body.unwrap(), json!({"properties": properties}));
        let tag = HoldTag::parse("case7").unwrap();
        let (.., body) = standing.request(&Change::Hold(&tag));
        assert_eq!(body.unwrap(), json!({"tags": ["case7"], "allowProtectedAppendWritesAll": true}));
        let (.., body) = standing.request(&Change::Release(&tag));
        assert_eq!(body.unwrap(), json!({"tags": ["case7"]}));
    }
}
