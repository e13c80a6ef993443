//! A Bicep file that makes a vault like the captured one. Foreign text gets into it as string literals and into comments,
//! and nowhere else; what names things in the file is made up here.

use std::fmt::Write as _;

use serde_json::Value;

use super::{assignments, document, items, list, plain, text};
use crate::format::settings::{Document, Settings};
use crate::model::VaultUri;

/// Api-versions: of vaults the one that they are read with; of the others those that Microsoft's reference has.
const VAULTS: &str = "Microsoft.KeyVault/vaults@2026-02-01";
const ASSIGNMENTS: &str = "Microsoft.Authorization/roleAssignments@2022-04-01";
const DIAGNOSTICS: &str = "Microsoft.Insights/diagnosticSettings@2021-05-01-preview";

/// What every Bicep file begins with.
pub(super) const BEGINNING: &str = "// A Key Vault like the one that was captured, without what is in it.\n";

/// A Bicep file for `target`, made like the vault of `settings`. The same settings give the same text.
pub fn bicep(settings: &Settings, target: &VaultUri) -> String {
    let vault = document(settings, Document::Vault);
    let mut out = Out(BEGINNING.to_owned());
    out.line(
        0,
        &format!("// Captured of {} at {}.", settings.vault, settings.captured_at.format("%Y-%m-%dT%H:%M:%SZ")),
    );
    out.line(0, "// It holds no secret, and it grants access: read it before you deploy it. `az deployment group what-if` shows");
    out.line(
        0,
        "// what it would change. Where the vault is there already, days of soft delete cannot be changed any more.",
    );
    match &vault {
        Some(vault) => {
            parameters(&mut out, vault, target);
            resource(&mut out, vault);
            endpoints(&mut out, vault);
        }
        None => out.line(
            0,
            "\n// The vault's resource could not be read when the snapshot was taken: nothing is known of it.",
        ),
    }
    // What hangs on the vault cannot be written without it.
    if let Some(vault) = &vault {
        roles(&mut out, settings, text(vault, "/id"));
        diagnostics(&mut out, settings);
    }
    out.0
}

/// A text that grows line by line.
struct Out(String);

impl Out {
    fn line(&mut self, depth: usize, text: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "{:1$}{text}", "", 2 * depth);
    }

    /// `name: 'text'`, if there is a text.
    fn text(&mut self, depth: usize, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.line(depth, &format!("{name}: {}", string(value)));
        }
    }

    /// A list of texts, one a line.
    fn texts<'a>(&mut self, depth: usize, name: &str, values: impl Iterator<Item = &'a str>) {
        self.line(depth, &format!("{name}: ["));
        values.for_each(|value| self.line(depth + 1, &string(value)));
        self.line(depth, "]");
    }
}

/// A string literal that means exactly this text. Whatever is not a plain character is escaped: a line break would end the
/// string, `${` would open an expression, and characters that turn the reading order would show another text. Slashes and
/// number signs are escaped where simple readers would see a comment begin.
pub(super) fn string(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    let mut fresh = true;
    for c in text.chars() {
        let before = literal.len();
        match c {
            '\'' => literal.push_str("\\'"),
            '\\' => literal.push_str("\\\\"),
            '$' => literal.push_str("\\$"),
            '/' | '#' if !fresh => literal.push(c),
            '/' if literal.len() == 1 && !text.starts_with("//") && !text.starts_with("/*") => literal.push(c),
            ' ' if !fresh => literal.push(c),
            c if c != '/' && c != '#' && (c.is_ascii_graphic() || (c.is_alphanumeric() && !c.is_ascii())) => {
                literal.push(c)
            }
            c => {
                let _ = write!(literal, "\\u{{{:x}}}", u32::from(c));
            }
        }
        fresh = literal.get(before..).is_some_and(|added| added.starts_with('\\'));
    }
    literal.push('\'');
    literal
}

fn parameters(out: &mut Out, vault: &Value, target: &VaultUri) {
    let at = |pointer| text(vault, pointer);
    let flag = |pointer: &str| vault.pointer(pointer).and_then(Value::as_bool).unwrap_or(false);
    let premium = at("/properties/sku/name").is_some_and(|sku| sku.eq_ignore_ascii_case("premium"));
    let days = vault.pointer("/properties/softDeleteRetentionInDays").and_then(Value::as_u64);
    let days = days.filter(|days| (7..=90).contains(days)).unwrap_or(90);
    let sku = if premium { "premium" } else { "standard" };
    let parameters = [
        ("Name of the vault", "name string", string(target.name())),
        ("Where it is", "location string", string(at("/location").unwrap_or_default())),
        (
            "The tenant that its identities are in",
            "tenantId string",
            string(at("/properties/tenantId").unwrap_or_default()),
        ),
        ("standard, or premium for keys in an HSM", "sku string", string(sku)),
        (
            "Days that deleted objects are kept; fixed once the vault is there",
            "softDeleteRetentionInDays int",
            days.to_string(),
        ),
        (
            "Whether nobody can purge before that; cannot be taken back",
            "enablePurgeProtection bool",
            flag("/properties/enablePurgeProtection").to_string(),
        ),
    ];
    for (description, declaration, default) in parameters {
        out.line(0, "");
        out.line(0, &format!("@description({})", string(description)));
        out.line(0, &format!("param {declaration} = {default}"));
    }
}

fn resource(out: &mut Out, vault: &Value) {
    out.line(0, &format!("\nresource vault '{VAULTS}' = {{"));
    out.line(1, "name: name");
    out.line(1, "location: location");
    let tags: Vec<(&String, &str)> = vault
        .pointer("/tags")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name, value.as_str()?)))
        .collect();
    if !tags.is_empty() {
        out.line(1, "tags: {");
        tags.iter().for_each(|(name, value)| out.line(2, &format!("{}: {}", string(name), string(value))));
        out.line(1, "}");
    }
    out.line(1, "properties: {");
    out.line(2, "tenantId: tenantId");
    out.line(2, "sku: {");
    out.line(3, "family: 'A'");
    out.line(3, "name: sku");
    out.line(2, "}");
    out.line(2, "enableSoftDelete: true");
    out.line(2, "softDeleteRetentionInDays: softDeleteRetentionInDays");
    // Azure refuses false: what is not protected says nothing.
    out.line(2, "enablePurgeProtection: enablePurgeProtection ? true : null");
    let flags =
        ["enableRbacAuthorization", "enabledForDeployment", "enabledForDiskEncryption", "enabledForTemplateDeployment"];
    for name in flags {
        let set = vault.pointer(&format!("/properties/{name}")).and_then(Value::as_bool);
        // Api-versions differ in what they take for granted (`azure.md` §5).
        let set = set.or((name == "enableRbacAuthorization").then_some(false));
        if let Some(set) = set {
            out.line(2, &format!("{name}: {set}"));
        }
    }
    out.text(2, "publicNetworkAccess", text(vault, "/properties/publicNetworkAccess"));
    network(out, vault);
    policies(out, vault);
    out.line(1, "}");
    out.line(0, "}");
}

fn network(out: &mut Out, vault: &Value) {
    let Some(rules) = vault.pointer("/properties/networkAcls").filter(|rules| rules.is_object()) else { return };
    out.line(2, "networkAcls: {");
    out.text(3, "bypass", text(rules, "/bypass"));
    out.text(3, "defaultAction", text(rules, "/defaultAction"));
    for (name, member) in [("ipRules", "value"), ("virtualNetworkRules", "id")] {
        let rules = list(rules, &format!("/{name}")).filter_map(|rule| text(rule, &format!("/{member}")));
        out.line(3, &format!("{name}: ["));
        rules.for_each(|rule| out.line(4, &format!("{{ {member}: {} }}", string(rule))));
        out.line(3, "]");
    }
    out.line(2, "}");
}

/// Always written, though it be empty: a vault without roles must name its policies.
fn policies(out: &mut Out, vault: &Value) {
    out.line(2, "accessPolicies: [");
    for policy in list(vault, "/properties/accessPolicies") {
        out.line(3, "{");
        out.text(4, "tenantId", text(policy, "/tenantId"));
        out.text(4, "objectId", text(policy, "/objectId"));
        out.text(4, "applicationId", text(policy, "/applicationId"));
        out.line(4, "permissions: {");
        for kind in ["keys", "secrets", "certificates", "storage"] {
            let names: Vec<&str> = list(policy, &format!("/permissions/{kind}")).filter_map(Value::as_str).collect();
            if !names.is_empty() {
                out.texts(5, kind, names.into_iter());
            }
        }
        out.line(4, "}");
        out.line(3, "}");
    }
    out.line(2, "]");
}

fn endpoints(out: &mut Out, vault: &Value) {
    for connection in list(vault, "/properties/privateEndpointConnections") {
        let id = text(connection, "/properties/privateEndpoint/id").or_else(|| text(connection, "/id"));
        out.line(
            0,
            &format!("\n// There was a private endpoint, which is made anew on its side: {}", plain(id.unwrap_or("?"))),
        );
    }
}

fn roles(out: &mut Out, settings: &Settings, vault_id: Option<&str>) {
    let Some((own, others)) = assignments(settings, vault_id) else {
        return out.line(0, "\n// Role assignments could not be read when the snapshot was taken.");
    };
    for (number, assignment) in own.iter().enumerate() {
        let at = |pointer| text(assignment, pointer);
        let (Some(role), Some(principal)) = (at("/properties/roleDefinitionId"), at("/properties/principalId")) else {
            out.line(
                0,
                &format!("\n// An assignment that names no role or nobody: {}", plain(at("/id").unwrap_or("?"))),
            );
            continue;
        };
        // A role of the same id, where the new vault is: built-in ones are the same everywhere.
        let role = role.rsplit('/').next().unwrap_or(role);
        out.line(0, &format!("\nresource role{number} '{ASSIGNMENTS}' = {{"));
        out.line(1, &format!("name: guid(vault.id, {}, {})", string(principal), string(role)));
        out.line(1, "scope: vault");
        out.line(1, "properties: {");
        let definition = format!("subscriptionResourceId('Microsoft.Authorization/roleDefinitions', {})", string(role));
        out.line(2, &format!("roleDefinitionId: {definition}"));
        for name in ["principalId", "principalType", "description", "condition", "conditionVersion"] {
            out.text(2, name, text(assignment, &format!("/properties/{name}")));
        }
        out.line(1, "}");
        out.line(0, "}");
    }
    if !others.is_empty() {
        out.line(0, "\n// These held for the vault too, and are assigned elsewhere: for a group, a subscription, or one object.");
    }
    for assignment in &others {
        let at = |pointer| plain(text(assignment, pointer).unwrap_or("?"));
        let (role, principal) = (at("/properties/roleDefinitionId"), at("/properties/principalId"));
        out.line(0, &format!("//   {principal} has {role} on {}", at("/properties/scope")));
    }
}

fn diagnostics(out: &mut Out, settings: &Settings) {
    let Some(mut all) = items(settings, Document::DiagnosticSettings) else {
        return out.line(0, "\n// Diagnostic settings could not be read when the snapshot was taken.");
    };
    all.sort_by_cached_key(|setting| (text(setting, "/name").map(str::to_owned), setting.to_string()));
    for (number, setting) in all.iter().enumerate() {
        let Some(name) = text(setting, "/name") else { continue };
        out.line(0, &format!("\nresource diagnostics{number} '{DIAGNOSTICS}' = {{"));
        out.text(1, "name", Some(name));
        out.line(1, "scope: vault");
        out.line(1, "properties: {");
        let places = [
            "workspaceId",
            "storageAccountId",
            "eventHubAuthorizationRuleId",
            "eventHubName",
            "marketplacePartnerId",
            "logAnalyticsDestinationType",
        ];
        places.iter().for_each(|name| out.text(2, name, text(setting, &format!("/properties/{name}"))));
        for (name, members) in [("logs", &["category", "categoryGroup"][..]), ("metrics", &["category"])] {
            out.line(2, &format!("{name}: ["));
            for entry in list(setting, &format!("/properties/{name}")) {
                out.line(3, "{");
                members.iter().for_each(|member| out.text(4, member, text(entry, &format!("/{member}"))));
                let enabled = entry.pointer("/enabled").and_then(Value::as_bool).unwrap_or(false);
                out.line(4, &format!("enabled: {enabled}"));
                out.line(3, "}");
            }
            out.line(2, "]");
        }
        out.line(1, "}");
        out.line(0, "}");
    }
}
