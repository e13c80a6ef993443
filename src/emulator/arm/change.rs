//! What Resource Manager changes here: the policy and the legal holds of a container, and the container itself. How that is
//! asked for, who may, and how it is answered (azure.md §7.3); the rules are those of `blob::govern`.

use chrono::{DateTime, Utc};
use hyper::StatusCode;
use serde_json::Value;

use super::{Reader, Refusal, missing, no_container, refuse, shapes, unchangeable};
use crate::emulator::blob::{AccountFacts, Blobs, ContainerFacts, Governed, Ungoverned};
use crate::emulator::wire::Response;

const CONTAINERS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers";

impl Reader<'_> {
    /// Answers a request that is no read.
    pub(super) fn change(&self, path: &[&str], blobs: &mut Blobs, now: DateTime<Utc>) -> Result<Response, Refusal> {
        self.versioned()?;
        let [
            "subscriptions",
            subscription,
            "resourcegroups",
            group,
            "providers",
            "microsoft.storage",
            "storageaccounts",
            name,
            "blobservices",
            "default",
            "containers",
            container,
            rest @ ..,
        ] = path
        else {
            return unchangeable();
        };
        let (action, what) = match (self.request.method.as_str(), rest) {
            ("DELETE", []) => ("delete", What::Container),
            ("POST", ["setlegalhold"]) => ("setLegalHold/action", What::Hold),
            ("POST", ["clearlegalhold"]) => ("clearLegalHold/action", What::Release),
            ("PUT", ["immutabilitypolicies", "default"]) => ("immutabilityPolicies/write", What::Put),
            ("DELETE", ["immutabilitypolicies", "default"]) => ("immutabilityPolicies/delete", What::Remove),
            ("POST", ["immutabilitypolicies", "default", "lock"]) => ("immutabilityPolicies/lock/action", What::Lock),
            ("POST", ["immutabilitypolicies", "default", "extend"]) => {
                ("immutabilityPolicies/extend/action", What::Extend)
            }
            _ => return unchangeable(),
        };
        let scope = format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Storage/storageAccounts/{name}"
        );
        self.may(&format!("{CONTAINERS}/{action}"), &scope)?;
        let here = |account: &&AccountFacts| {
            account.subscription.eq_ignore_ascii_case(subscription)
                && account.name == *name
                && shapes::group_of(name) == *group
        };
        let Some(account) = self.world.accounts.iter().find(here) else {
            return missing("Microsoft.Storage/storageAccounts", name, group);
        };
        let change = what.read(&self.request.body)?;
        let etag = self.request.header("if-match");
        let by = &self.caller.object_id;
        let changed = blobs.govern(now, &account.name, container, etag, by, &change).map_err(told)?;
        Ok(answer(what, account, &changed))
    }
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Put,
    Lock,
    Extend,
    Remove,
    Hold,
    Release,
    Container,
}

impl What {
    /// Reads what is said in the body.
    fn read(self, body: &[u8]) -> Result<Governed, Refusal> {
        if matches!(self, What::Lock | What::Remove | What::Container) {
            return Ok(match self {
                What::Lock => Governed::Lock,
                What::Remove => Governed::Remove,
                _ => Governed::Delete,
            });
        }
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            let message = "The request content was invalid and could not be deserialized.";
            return refuse(StatusCode::BAD_REQUEST, "InvalidRequestContent", message);
        };
        let days = || {
            let days = body.pointer("/properties/immutabilityPeriodSinceCreationInDays").and_then(Value::as_u64);
            days.map(|days| u32::try_from(days).unwrap_or(u32::MAX))
        };
        let flag = |path: &str| body.pointer(path).and_then(Value::as_bool);
        let tags = || -> Vec<String> {
            let tags = body.get("tags").and_then(Value::as_array).into_iter().flatten();
            tags.map(|tag| tag.as_str().unwrap_or_default().to_owned()).collect()
        };
        Ok(match self {
            What::Extend => Governed::Extend(days()),
            What::Hold => Governed::Hold { tags: tags(), appends_all: flag("/allowProtectedAppendWritesAll") },
            What::Release => Governed::Release(tags()),
            _ => Governed::Put {
                days: days(),
                appends: flag("/properties/allowProtectedAppendWrites"),
                appends_all: flag("/properties/allowProtectedAppendWritesAll"),
            },
        })
    }
}

fn answer(what: What, account: &AccountFacts, container: &ContainerFacts) -> Response {
    let body = match what {
        What::Container => return limited(Response::new(StatusCode::OK)),
        What::Hold | What::Release => shapes::legal_hold(container),
        What::Put | What::Lock | What::Extend | What::Remove => shapes::policy(account, container),
    };
    let etag = body.get("etag").and_then(Value::as_str).map(str::to_owned);
    let response = limited(Response::json(StatusCode::OK, &body));
    match etag {
        Some(etag) => response.header("etag", etag),
        None => response,
    }
}

fn limited(response: Response) -> Response {
    response.header("x-ms-ratelimit-remaining-subscription-writes", "199")
}

/// A refusal in Resource Manager's words. Recorded is that of a locked policy's removal (cli/test_immutability_policy #13),
/// reported that of a wrong ETag (ISSUE[policy-etag]).
///
/// GUESS[policy-refusals]: status, code and text of the others.
fn told(why: Ungoverned) -> Refusal {
    let failure = |status, message: &str| Refusal {
        status,
        code: "ContainerImmutabilityPolicyFailure",
        message: message.to_owned(),
    };
    match why {
        Ungoverned::Missing => no_container(),
        Ungoverned::Etag => failure(
            StatusCode::PRECONDITION_FAILED,
            "Operation not allowed on immutability policy with incorrect etag.",
        ),
        Ungoverned::State => {
            failure(StatusCode::CONFLICT, "Operation not allowed on immutability policy with current state.")
        }
        Ungoverned::Extensions => {
            failure(StatusCode::CONFLICT, "The immutability policy has been extended the maximum number of times.")
        }
        Ungoverned::Period => failure(
            StatusCode::BAD_REQUEST,
            "The immutability period must be between 1 and 146000 days, and longer than that of a locked policy.",
        ),
        Ungoverned::Tags => Refusal {
            status: StatusCode::BAD_REQUEST,
            code: "ContainerLegalHoldFailure",
            message: "A legal hold has 1 to 10 tags of 3 to 23 alphanumeric characters.".to_owned(),
        },
        Ungoverned::Versions => Refusal {
            status: StatusCode::CONFLICT,
            code: "ContainerOperationFailure",
            message: "The emulator changes no default policy and sets no hold where versions have their own."
                .to_owned(),
        },
        Ungoverned::Protected => Refusal {
            status: StatusCode::CONFLICT,
            code: "ContainerOperationFailure",
            message: "The container holds blobs that are protected.".to_owned(),
        },
    }
}
