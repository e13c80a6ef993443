//! Who may do what: the challenge to strangers, the audience of a token, the data action of an operation. Knows no tokens
//! (the login service checks those) and no operation's content.

use super::errors::Fault;
use super::state::Vault;
use crate::emulator::wire::Caller;

/// The resource that tokens must be for (REC).
pub(super) const AUDIENCE: &str = "https://vault.azure.net";

/// The resource group that the emulator's vaults are said to be in.
const RESOURCE_GROUP: &str = "emulator";

/// The caller, if the request has a token for Key Vault.
///
/// # Errors
/// 401 with the challenge that tells clients where to get one.
pub(super) fn authenticate<'a>(caller: Option<&'a Caller>, tenant: &str) -> Result<&'a Caller, Fault> {
    let caller = caller.ok_or_else(|| Fault::unauthenticated(tenant))?;
    if !caller.audience.trim_end_matches('/').eq_ignore_ascii_case(AUDIENCE) {
        return Err(Fault::wrong_audience(tenant, &caller.audience));
    }
    Ok(caller)
}

/// Whether the caller may do `action`, such as `keys/backup/action`.
///
/// # Errors
/// 403 in Azure's words, line breaks and all (ISSUE): clients have failed to parse exactly this text.
pub(super) fn authorize(caller: &Caller, action: &str, vault: &Vault, tenant: &str) -> Result<(), Fault> {
    let action = format!("Microsoft.KeyVault/vaults/{action}");
    if caller.may(&action) {
        return Ok(());
    }
    let Caller { client_id, object_id, .. } = caller;
    let Vault { name, subscription, location, .. } = vault;
    Err(Fault::forbidden_by_rbac(format!(
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role \
         definitions were changed recently, please observe propagation time.\r\nCaller: \
         appid={client_id};oid={object_id};iss=https://sts.windows.net/{tenant}/\r\nAction: '{action}'\r\nResource: \
         '/subscriptions/{subscription}/resourcegroups/{RESOURCE_GROUP}/providers/microsoft.keyvault/vaults/{name}'\
         \r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\nVault: \
         {name};location={location}\r\n"
    )))
}
