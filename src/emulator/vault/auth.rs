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
/// 403 in Azure's words, line breaks and all (ISSUE[forbidden-text]): clients have failed to parse exactly this text.
pub(super) fn authorize(caller: &Caller, action: &str, vault: &Vault, tenant: &str) -> Result<(), Fault> {
    let action = format!("Microsoft.KeyVault/vaults/{action}");
    let Vault { name, subscription, location, .. } = vault;
    // Its id in Resource Manager, where role assignments are.
    let id =
        format!("/subscriptions/{subscription}/resourceGroups/rg-{name}/providers/Microsoft.KeyVault/vaults/{name}");
    if caller.may_on(&action, &id) {
        return Ok(());
    }
    let Caller { client_id, object_id, .. } = caller;
    Err(Fault::forbidden_by_rbac(format!(
        "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role \
         definitions were changed recently, please observe propagation time.\r\nCaller: \
         appid={client_id};oid={object_id};iss=https://sts.windows.net/{tenant}/\r\nAction: '{action}'\r\nResource: \
         '/subscriptions/{subscription}/resourcegroups/{RESOURCE_GROUP}/providers/microsoft.keyvault/vaults/{name}'\
         \r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\nVault: \
         {name};location={location}\r\n"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulator::seed::Limbo;
    use crate::emulator::vault::fixture::{Cloud, TENANT, caller};

    #[test]
    fn a_stranger_is_told_where_to_get_a_token_before_anything_else_is_looked_at() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.caller = None;
        let response = cloud.send("GET", "vvv/nonsense?api-version=", "");
        assert_eq!(response.status, 401);
        let challenge = format!(
            "Bearer authorization=\"https://login.microsoftonline.com/{TENANT}\", resource=\"https://vault.azure.net\""
        );
        assert!(response.headers.contains(&("www-authenticate".into(), challenge)));
        assert_eq!(
            response.body,
            "{\"error\":{\"code\":\"Unauthorized\",\"message\":\"AKV10000: Request is missing a Bearer, PoP, or MTLS_POP \
             token.\"}}"
        );
        cloud.caller = Some(Caller { audience: "https://management.azure.com".into(), ..caller(&["*"]) });
        assert_eq!(cloud.bad("GET", "vvv/keys", "").0, 401);
    }

    #[test]
    fn a_caller_does_what_its_data_actions_allow_and_nothing_else() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.good("PUT", "vvv/secrets/s", r#"{"value":"x"}"#);
        cloud.caller = Some(caller(&[
            "Microsoft.KeyVault/vaults/secrets/readMetadata/action",
            "Microsoft.KeyVault/vaults/secrets/backup/action",
        ]));
        cloud.good("GET", "vvv/secrets", "");
        cloud.good("GET", "vvv/deletedsecrets", "");
        cloud.backup("vvv/secrets/s");
        for (method, path) in
            [("GET", "secrets/s"), ("DELETE", "secrets/s"), ("GET", "keys"), ("POST", "secrets/restore")]
        {
            assert_eq!(cloud.bad(method, &format!("vvv/{path}"), "{}").2, "ForbiddenByRbac", "{method} {path}");
        }
        let (_, refused) = cloud.ask("GET", "vvv/secrets/s", "");
        assert_eq!(
            refused["error"]["message"].as_str().unwrap(),
            format!(
                "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role \
                 definitions were changed recently, please observe propagation time.\r\nCaller: \
                 appid=c1;oid=o1;iss=https://sts.windows.net/{TENANT}/\r\nAction: \
                 'Microsoft.KeyVault/vaults/secrets/getSecret/action'\r\nResource: '/subscriptions/s1/resourcegroups/\
                 emulator/providers/microsoft.keyvault/vaults/vvv'\r\nAssignment: (not found)\r\nDenyAssignmentId: \
                 null\r\nDecisionReason: null \r\nVault: vvv;location=westeurope\r\n"
            )
        );
    }
}
