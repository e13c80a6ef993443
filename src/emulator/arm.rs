//! Azure Resource Manager at `management.azure.com`: the read side that a look at vaults, storage accounts and their
//! write-once policies needs, and (`change`) what changes the protection of a container. Pure: what exists is handed in
//! with every request. Nothing else can be written here.
//!
//! Shapes and texts are those of recorded traffic (`azure.md` §5, §7.3).

mod change;
mod shapes;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::blob::{AccountFacts, Blobs, ContainerFacts};
use super::regions;
use super::vault::VaultFacts;
use super::wire::{Caller, Request, Response};

/// What there is to read.
pub struct World {
    /// The tenant that owns every subscription.
    pub tenant_id: String,
    /// Every vault.
    pub vaults: Vec<VaultFacts>,
    /// Every storage account.
    pub accounts: Vec<AccountFacts>,
}

/// Entries on a page when the client names no `$top`. Fewer than Azure's, so that clients meet a `nextLink`.
const PAGE: usize = 20;

const PERMISSIONS: &str = "Microsoft.Authorization/permissions/read";

const AUDIENCES: [&str; 2] = ["https://management.azure.com", "https://management.core.windows.net"];

/// Why a request gets no answer of its own.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

type Answer = Result<Value, Refusal>;

fn refuse<T>(status: StatusCode, code: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { status, code, message: message.into() })
}

/// Answers a request to `management.azure.com`; one that changes something changes `blobs`.
pub fn handle(
    world: &World,
    blobs: &mut Blobs,
    now: DateTime<Utc>,
    caller: Option<&Caller>,
    request: &Request,
) -> Response {
    let segments: Vec<String> = request.segments().iter().map(|segment| segment.to_ascii_lowercase()).collect();
    let path: Vec<&str> = segments.iter().map(String::as_str).collect();
    let answer = match path.as_slice() {
        ["metadata", "endpoints"] => Ok(shapes::endpoints(request.query("api-version"))),
        path => match authenticate(caller, request) {
            Ok(caller) => {
                let reader = Reader { world, caller, request };
                match request.method.is_safe() {
                    true => reader.answer(path),
                    false => return decorated(reader.change(path, blobs, now)),
                }
            }
            Err(response) => return response,
        },
    };
    decorated(answer.map(|body| {
        Response::json(StatusCode::OK, &body).header("x-ms-ratelimit-remaining-subscription-reads", "11999")
    }))
}

/// An answer as Resource Manager sends it.
fn decorated(answer: Result<Response, Refusal>) -> Response {
    match answer {
        Ok(response) => response,
        Err(Refusal { status, code, message }) => error(status, code, &message),
    }
    .header("cache-control", "no-cache")
    .header("pragma", "no-cache")
    .header("expires", "-1")
    .header("strict-transport-security", "max-age=31536000; includeSubDomains")
    .header("x-content-type-options", "nosniff")
}

/// Resource Manager's error body.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    Response::json(status, &json!({"error": {"code": code, "message": message}}))
}

/// The caller, or 401 with the challenge.
fn authenticate<'a>(caller: Option<&'a Caller>, request: &Request) -> Result<&'a Caller, Response> {
    let (code, message) = match caller {
        Some(caller) if AUDIENCES.contains(&caller.audience.as_str()) => return Ok(caller),
        Some(caller) => (
            "InvalidAuthenticationTokenAudience",
            format!(
                "The access token has been obtained for wrong audience or resource '{}'. It should exactly match with \
                 one of the allowed audiences 'https://management.core.windows.net/',\
                 'https://management.core.windows.net','https://management.azure.com/','https://management.azure.com'.",
                caller.audience
            ),
        ),
        None if request.header("authorization").is_some() => {
            ("InvalidAuthenticationToken", "The access token is invalid or has expired.".to_owned())
        }
        None => ("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.".to_owned()),
    };
    let challenge = format!(
        "Bearer authorization_uri=\"https://login.microsoftonline.com/\", error=\"invalid_token\", \
         error_description=\"{message}\""
    );
    Err(error(StatusCode::UNAUTHORIZED, code, &message).header("www-authenticate", challenge))
}

struct Reader<'a> {
    world: &'a World,
    caller: &'a Caller,
    request: &'a Request,
}

impl Reader<'_> {
    fn answer(&self, path: &[&str]) -> Answer {
        self.versioned()?;
        if self.request.method != Method::GET {
            return unchangeable();
        }
        match path {
            ["tenants"] => self.page(vec![shapes::tenant(&self.world.tenant_id)]),
            ["subscriptions"] => self.subscriptions(),
            ["subscriptions", subscription, rest @ ..] => self.subscription(subscription, rest),
            _ => self.unknown(),
        }
    }

    fn versioned(&self) -> Result<(), Refusal> {
        match self.request.query("api-version").is_none_or(str::is_empty) {
            true => {
                let message = "The api-version query parameter (?api-version=) is required for all requests.";
                refuse(StatusCode::BAD_REQUEST, "MissingApiVersionParameter", message)
            }
            false => Ok(()),
        }
    }

    fn unknown<T>(&self) -> Result<T, Refusal> {
        let message = format!("The emulator has no resource at '{}'.", self.request.path);
        refuse(StatusCode::NOT_FOUND, "InvalidResourceType", message)
    }

    /// Refuses a caller without `action`, before anything is said about what exists.
    fn may(&self, action: &str, scope: &str) -> Result<(), Refusal> {
        if self.caller.may_on(action, scope) {
            return Ok(());
        }
        let Caller { client_id, object_id, .. } = self.caller;
        let message = format!(
            "The client '{client_id}' with object id '{object_id}' does not have authorization to perform action \
             '{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh \
             your credentials."
        );
        refuse(StatusCode::FORBIDDEN, "AuthorizationFailed", message)
    }

    /// A page of a list, with a `nextLink` if there is more.
    fn page(&self, entries: Vec<Value>) -> Answer {
        let number = |name: &str| self.request.query(name).map(str::parse::<usize>).transpose();
        let (Ok(top), Ok(start)) = (number("$top"), number("$skiptoken")) else {
            return refuse(StatusCode::BAD_REQUEST, "InvalidQueryParameter", "$top and $skiptoken must be numbers.");
        };
        let (top, start) = (top.unwrap_or(PAGE).max(1), start.unwrap_or(0));
        let end = start.saturating_add(top);
        let more = end < entries.len();
        let mut page = json!({"value": entries.into_iter().skip(start).take(top).collect::<Vec<_>>()});
        if more && let Some(page) = page.as_object_mut() {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(self.request.query.iter().filter(|(key, _)| !key.eq_ignore_ascii_case("$skiptoken")));
            query.append_pair("$skiptoken", &end.to_string());
            let link = format!("https://management.azure.com{}?{}", self.request.path, query.finish());
            page.insert("nextLink".to_owned(), link.into());
        }
        Ok(page)
    }

    /// Every subscription that something is in.
    fn known(&self) -> BTreeSet<&str> {
        let vaults = self.world.vaults.iter().map(|vault| vault.subscription.as_str());
        vaults.chain(self.world.accounts.iter().map(|account| account.subscription.as_str())).collect()
    }

    /// Like Azure's, this list is empty rather than forbidden for those who may see none. Scopes do not narrow it: who has
    /// any role in a subscription sees it, and need not be allowed to see what is in it.
    fn subscriptions(&self) -> Answer {
        let visible = self.caller.may("Microsoft.Resources/subscriptions/read");
        let known = if visible { self.known() } else { BTreeSet::new() };
        self.page(known.into_iter().map(|id| shapes::subscription(id, &self.world.tenant_id)).collect())
    }

    fn subscription(&self, id: &str, path: &[&str]) -> Answer {
        let Some(id) = self.known().into_iter().find(|known| known.eq_ignore_ascii_case(id)) else {
            let message = format!("The subscription '{id}' could not be found.");
            return refuse(StatusCode::NOT_FOUND, "SubscriptionNotFound", message);
        };
        let scope = format!("/subscriptions/{id}");
        let may = |action: &str| self.may(action, &scope);
        let vaults = || self.world.vaults.iter().filter(|vault| vault.subscription == id);
        let accounts = || self.world.accounts.iter().filter(|account| account.subscription == id);
        match path {
            [] => {
                may("Microsoft.Resources/subscriptions/read")?;
                Ok(shapes::subscription(id, &self.world.tenant_id))
            }
            ["locations"] => {
                may("Microsoft.Resources/subscriptions/locations/read")?;
                let places = regions::REGIONS.iter().map(|region| shapes::location(id, region));
                let logical = regions::LOGICAL.iter().map(|(name, display)| shapes::logical(id, name, display));
                // Azure sends all of them at once.
                Ok(json!({"value": places.chain(logical).collect::<Vec<_>>()}))
            }
            ["resourcegroups"] => {
                may("Microsoft.Resources/subscriptions/resourceGroups/read")?;
                let groups = vaults().map(|it| (&it.name, &it.location));
                let groups = groups.chain(accounts().map(|it| (&it.name, &it.location)));
                self.page(groups.map(|(name, location)| shapes::group(id, name, location)).collect())
            }
            ["resources"] => {
                let readable = |kind: &str| self.caller.may_on(&format!("{kind}/read"), &scope);
                let vaults = vaults().filter(|_| readable(shapes::VAULT)).map(shapes::vault_resource);
                let accounts = accounts().filter(|_| readable(shapes::ACCOUNT)).map(shapes::account_resource);
                self.page(self.filtered(vaults.chain(accounts).collect())?)
            }
            ["providers", "microsoft.keyvault", "vaults"] => {
                may("Microsoft.KeyVault/vaults/read")?;
                self.page(vaults().map(|vault| shapes::vault(vault, &self.world.tenant_id)).collect())
            }
            // Empty, but `az keyvault` asks for each.
            ["providers", "microsoft.keyvault", "deletedvaults"] => {
                may("Microsoft.KeyVault/deletedVaults/read")?;
                self.page(Vec::new())
            }
            ["providers", "microsoft.keyvault", "managedhsms" | "deletedmanagedhsms"] => {
                may("Microsoft.KeyVault/managedHSMs/read")?;
                self.page(Vec::new())
            }
            ["providers", "microsoft.storage", "storageaccounts"] => {
                may("Microsoft.Storage/storageAccounts/read")?;
                self.page(accounts().map(shapes::account).collect())
            }
            ["resourcegroups", group, "providers", "microsoft.keyvault", "vaults", rest @ ..] => {
                let scope = format!("{scope}/resourceGroups/{group}/providers/Microsoft.KeyVault/vaults");
                let vaults = vaults().filter(|vault| shapes::group_of(&vault.name) == *group).collect();
                self.vaults(vaults, &scope, group, rest)
            }
            ["resourcegroups", group, "providers", "microsoft.storage", "storageaccounts", name, rest @ ..] => {
                let account = accounts().find(|account| account.name == *name && shapes::group_of(name) == *group);
                let scope =
                    format!("{scope}/resourceGroups/{group}/providers/Microsoft.Storage/storageAccounts/{name}");
                self.account(account, &scope, group, name, rest)
            }
            _ => self.unknown(),
        }
    }

    fn vaults(&self, vaults: Vec<&VaultFacts>, scope: &str, group: &str, path: &[&str]) -> Answer {
        let shape = |vault: &VaultFacts| shapes::vault(vault, &self.world.tenant_id);
        let (name, rest) = match path {
            [] => {
                self.may("Microsoft.KeyVault/vaults/read", scope)?;
                return self.page(vaults.into_iter().map(shape).collect());
            }
            [name, rest @ ..] => (*name, rest),
        };
        // What extends a vault has an action of its own, which says nothing of the vault's.
        let action = match rest {
            [] => "Microsoft.KeyVault/vaults/read",
            ["providers", "microsoft.authorization", "roleassignments"] => {
                "Microsoft.Authorization/roleAssignments/read"
            }
            ["providers", "microsoft.insights", "diagnosticsettings"] => "Microsoft.Insights/diagnosticSettings/read",
            ["providers", "microsoft.authorization", "permissions"] => PERMISSIONS,
            _ => return self.unknown(),
        };
        self.may(action, &format!("{scope}/{name}"))?;
        let Some(vault) = vaults.iter().find(|vault| vault.name.eq_ignore_ascii_case(name)) else {
            return missing("Microsoft.KeyVault/vaults", name, group);
        };
        match rest {
            [] => Ok(shape(vault)),
            [.., "permissions"] => self.permissions(&format!("{scope}/{name}")),
            [_, "microsoft.authorization", _] => self.role_assignments(vault),
            _ => {
                let settings = vault.settings.diagnostic_settings.iter();
                // All at once (DOC: the list has no link to a next page).
                Ok(json!({"value": settings.map(|it| shapes::diagnostic_setting(vault, it)).collect::<Vec<_>>()}))
            }
        }
    }

    /// What the caller may do in a scope. A principal of the seed is one assignment, of a role that takes nothing away.
    ///
    /// GUESS[permissions-shape]: Microsoft's sample has empty lists, and does not say what an assignment of a role with
    /// several permissions, or none at all, looks like.
    fn permissions(&self, scope: &str) -> Answer {
        let actions = &self.caller.actions;
        let held: Vec<Value> = match self.caller.may_on(PERMISSIONS, scope) {
            true => vec![shapes::permission(actions)],
            false => Vec::new(),
        };
        Ok(json!({"value": held}))
    }

    /// Assignments for the vault and for its subscription. Nothing beneath a vault has any here, so `atScope()` filters
    /// nothing; other filters are not offered.
    fn role_assignments(&self, vault: &VaultFacts) -> Answer {
        match self.request.query("$filter") {
            None | Some("" | "atScope()") => {
                let assignments = vault.settings.role_assignments.iter();
                self.page(assignments.map(|it| shapes::role_assignment(vault, it)).collect())
            }
            Some(filter) => {
                let message = format!("The filter '{filter}' is not supported. Supported filters are 'atScope()'.");
                refuse(StatusCode::BAD_REQUEST, "UnsupportedQuery", message)
            }
        }
    }

    fn account(&self, account: Option<&AccountFacts>, scope: &str, group: &str, name: &str, path: &[&str]) -> Answer {
        const BASE: &str = "Microsoft.Storage/storageAccounts";
        let may = |rest: &str| self.may(&format!("{BASE}{rest}/read"), scope);
        match path {
            [] => may("")?,
            ["blobservices", "default"] => may("/blobServices")?,
            ["blobservices", "default", "containers"] | ["blobservices", "default", "containers", _] => {
                may("/blobServices/containers")?;
            }
            ["blobservices", "default", "containers", _, "immutabilitypolicies", "default"] => {
                may("/blobServices/containers/immutabilityPolicies")?;
            }
            [_, _, "containers", _, "providers", "microsoft.authorization", "permissions"] => {
                self.may(PERMISSIONS, scope)?;
            }
            _ => return self.unknown(),
        }
        let Some(account) = account else { return missing(BASE, name, group) };
        let container = |name: &str| -> Result<&ContainerFacts, Refusal> {
            account.containers.iter().find(|container| container.name == name).ok_or_else(no_container)
        };
        match path {
            [] => Ok(shapes::account(account)),
            ["blobservices", "default"] => Ok(shapes::blob_service(account)),
            [_, _, "containers"] => self.page(
                account.containers.iter().map(|it| shapes::container(account, it, &self.world.tenant_id)).collect(),
            ),
            [_, _, "containers", name] => Ok(shapes::container(account, container(name)?, &self.world.tenant_id)),
            [_, _, "containers", name, .., "permissions"] => {
                container(name)?;
                self.permissions(scope)
            }
            [_, _, "containers", name, ..] => Ok(shapes::policy(account, container(name)?)),
            _ => self.unknown(),
        }
    }

    /// Applies `$filter`: `resourceType eq '…'` and `name eq '…'`, joined by `and`.
    fn filtered(&self, resources: Vec<Value>) -> Result<Vec<Value>, Refusal> {
        let Some(filter) = self.request.query("$filter").filter(|filter| !filter.is_empty()) else {
            return Ok(resources);
        };
        let terms: Option<Vec<(&str, &str)>> = filter
            .split(" and ")
            .map(|term| {
                let (field, value) = term.trim().split_once(" eq ")?;
                let field = match field.trim() {
                    field if field.eq_ignore_ascii_case("resourceType") => "type",
                    field if field.eq_ignore_ascii_case("name") => "name",
                    _ => return None,
                };
                Some((field, value.trim().strip_prefix('\'')?.strip_suffix('\'')?))
            })
            .collect();
        let Some(terms) = terms else {
            let message = format!("Invalid $filter '{filter}' specified in the query string.");
            return refuse(StatusCode::BAD_REQUEST, "InvalidFilterInQueryString", message);
        };
        let fits = |resource: &Value, (field, value): &(&str, &str)| {
            resource.get(*field).and_then(Value::as_str).is_some_and(|found| found.eq_ignore_ascii_case(value))
        };
        Ok(resources.into_iter().filter(|resource| terms.iter().all(|term| fits(resource, term))).collect())
    }
}

fn unchangeable<T>() -> Result<T, Refusal> {
    let message = "The emulator's Resource Manager changes nothing but the protection of containers.";
    refuse(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
}

fn no_container() -> Refusal {
    let message = "The specified container does not exist.".to_owned();
    Refusal { status: StatusCode::NOT_FOUND, code: "ContainerNotFound", message }
}

fn missing<T>(kind: &str, name: &str, group: &str) -> Result<T, Refusal> {
    let message = format!(
        "The Resource '{kind}/{name}' under resource group '{group}' was not found. For more details please go to \
         https://aka.ms/ARMResourceNotFoundFix"
    );
    refuse(StatusCode::NOT_FOUND, "ResourceNotFound", message)
}
