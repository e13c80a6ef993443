//! What is written from a vault's settings: as it should be of honest ones, and of the same form whatever stands in them.
//! Judged by a Bicep grammar and a shell that are not ours.

mod commands;

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tree_sitter::{Node, Parser};

use super::bicep::string;
use super::*;
use crate::format::settings::FORMAT;
use crate::model::{Name, VaultUri};

const VAULT: &str =
    "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/prod";

fn documents() -> Vec<(Document, Value)> {
    let assignment = |scope: &str, principal: &str| {
        json!({
            "id": format!("{scope}/providers/Microsoft.Authorization/roleAssignments/1"),
            "properties": {
                "roleDefinitionId": "/subscriptions/1/providers/Microsoft.Authorization/roleDefinitions/21090545",
                "principalId": principal, "principalType": "ServicePrincipal", "scope": scope,
            },
        })
    };
    let vault = json!({
        "id": VAULT, "location": "westeurope", "tags": {"team": "it's ${ours}", "a b": "c"},
        "properties": {
            "sku": {"family": "A", "name": "premium"}, "tenantId": "22222222-2222-2222-2222-222222222222",
            "accessPolicies": [{"tenantId": "22222222", "objectId": "33333333",
                "permissions": {"keys": ["get", "list"], "secrets": [], "certificates": ["get"]}}],
            "enabledForDeployment": false, "enableSoftDelete": true, "softDeleteRetentionInDays": 30,
            "enableRbacAuthorization": true, "enablePurgeProtection": true, "publicNetworkAccess": "Enabled",
            "networkAcls": {"bypass": "AzureServices", "defaultAction": "Deny", "ipRules": [{"value": "203.0.113.0/24"}],
                "virtualNetworkRules": [{"id": "/subscriptions/1/subnets/a"}]},
            "privateEndpointConnections": [{"id": "/pec/1", "properties": {"privateEndpoint": {"id": "/pe/1"}}}],
        },
    });
    let diagnostics = json!([{"name": "to-logs", "properties": {"workspaceId": "/workspaces/w",
        "logs": [{"category": "AuditEvent", "enabled": true}], "metrics": [{"category": "AllMetrics", "enabled": false}]}}]);
    let issuers = json!([
        {"id": "https://prod.vault.azure.net/certificates/issuers/digicert", "provider": "DigiCert",
            "credentials": {"account_id": "acme"}, "attributes": {"enabled": false},
            "org_details": {"id": "42", "admin_details": [{"email": "a@b.example", "first_name": "Ada", "phone": "1"}]}},
        {"id": "https://prod.vault.azure.net/certificates/issuers/own", "provider": "Test", "attributes": {"enabled": true}},
    ]);
    let contacts = json!({"contacts": [{"email": "ops@b.example", "name": "O'Brien", "phone": "+1 2"}]});
    vec![
        (Document::Vault, vault),
        (
            Document::RoleAssignments,
            json!([assignment("/subscriptions/1", "p3"), assignment(VAULT, "p2"), assignment(VAULT, "p1")]),
        ),
        (Document::DiagnosticSettings, diagnostics),
        (Document::Issuers, issuers),
        (Document::Contacts, contacts),
    ]
}

fn settings(documents: &[(Document, Value)]) -> Settings {
    Settings {
        format: FORMAT.to_owned(),
        vault: VaultUri::parse("https://prod.vault.azure.net").unwrap(),
        captured_at: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        tool: "akv-archiver 0.1.0".to_owned(),
        documents: documents.iter().map(|(name, value)| (*name, to_raw_value(value).unwrap())).collect(),
    }
}

fn target() -> VaultUri {
    VaultUri::parse("https://spare.vault.azure.net").unwrap()
}

fn policies() -> Vec<(Name, Value)> {
    let policy = json!({
        "id": "x", "attributes": {"expiryTime": "P120D", "created": 1, "updated": 2},
        "lifetimeActions": [{"trigger": {"timeAfterCreate": "P90D", "timeBeforeExpiry": null}, "action": {"type": "Rotate"}}],
    });
    vec![(Name::parse("tde").unwrap(), policy)]
}

/// The form of a Bicep file: the kinds of its parts, without what stands in strings and comments. Nothing in it is wrong,
/// and no string opens an expression.
fn form(text: &str) -> Vec<String> {
    fn walk(node: Node<'_>, text: &str, form: &mut Vec<String>) {
        assert!(!node.is_error() && !node.is_missing(), "{} in\n{text}", node.to_sexp());
        if matches!(node.kind(), "string" | "comment") {
            let mut cursor = node.walk();
            let parts: Vec<&str> = node.children(&mut cursor).map(|part| part.kind()).collect();
            assert!(!parts.contains(&"interpolation"), "an expression in a string of\n{text}");
            return form.push(node.kind().to_owned());
        }
        let named = matches!(node.kind(), "identifier" | "property_identifier");
        form.push(if named { text[node.byte_range()].to_owned() } else { node.kind().to_owned() });
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            walk(child, text, form);
        }
    }
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_bicep::LANGUAGE.into()).unwrap();
    let tree = parser.parse(text, None).unwrap();
    let mut found = Vec::new();
    walk(tree.root_node(), text, &mut found);
    found
}

#[test]
fn a_vault_is_written_as_it_was() {
    let text = bicep(&settings(&documents()), &target());
    insta::assert_snapshot!(text);
    let form = form(&text);
    let count = |kind: &str| form.iter().filter(|part| *part == kind).count();
    assert_eq!((count("resource_declaration"), count("parameter_declaration")), (4, 6), "{form:?}");
}

#[test]
fn the_order_in_which_the_service_lists_things_does_not_show() {
    let mut turned = documents();
    for (_, value) in &mut turned {
        if let Some(items) = value.as_array_mut() {
            items.reverse();
        }
    }
    let (one, other) = (settings(&documents()), settings(&turned));
    assert_eq!(bicep(&one, &target()), bicep(&other, &target()));
    assert_eq!(script(&one, &target(), &policies()), script(&other, &target(), &policies()));
}

#[test]
fn what_could_not_be_read_is_told_and_nothing_is_made_up() {
    let nothing = settings(&[]);
    let text = bicep(&nothing, &target());
    assert!(form(&text).iter().all(|part| part != "resource_declaration"), "{text}");
    assert!(text.contains("nothing is known of it"));
    let facts = facts(&nothing);
    assert_eq!(
        facts.iter().filter(|line| line.ends_with("could not be read when the snapshot was taken")).count(),
        5,
        "{facts:#?}"
    );
    let only_vault: Vec<_> = documents().into_iter().filter(|(name, _)| *name == Document::Vault).collect();
    assert!(bicep(&settings(&only_vault), &target()).contains("// Role assignments could not be read"));
    let script = script(&nothing, &target(), &[]);
    assert!(script.contains("issuers could not be read") && !script.contains("az "), "{script}");
}

#[test]
fn facts_count_what_no_blob_brings_back() {
    let facts = facts(&settings(&documents()));
    assert_eq!(facts[0], "network rules: Deny by default, 1 address range, 1 subnet");
    assert!(facts.contains(&"role assignments: 2 of the vault, 1 inherited".to_owned()), "{facts:#?}");
    assert!(facts.iter().any(|line| line.starts_with("Event Grid")));
}

#[test]
fn nothing_that_protects_less_is_the_default() {
    let mut documents = documents();
    documents[0].1["properties"]["enablePurgeProtection"] = Value::Null;
    documents[0].1["properties"]["softDeleteRetentionInDays"] = 3.into();
    let text = bicep(&settings(&documents), &target());
    assert!(text.contains("param enablePurgeProtection bool = false"), "as it was");
    assert!(text.contains("param softDeleteRetentionInDays int = 90"), "what no vault can have had");
    assert!(text.contains("enablePurgeProtection ? true : null"), "Azure refuses false");
}

/// What a Bicep string literal means, by Microsoft's description of it.
fn meant(literal: &str) -> String {
    let inner = literal.strip_prefix('\'').unwrap().strip_suffix('\'').unwrap();
    let mut chars = inner.chars();
    let mut text = String::new();
    while let Some(c) = chars.next() {
        assert!(c != '\'' && !c.is_control(), "{literal}");
        assert!(!(c == '$' && chars.as_str().starts_with('{')), "{literal}");
        if c != '\\' {
            text.push(c);
            continue;
        }
        match chars.next().unwrap() {
            'u' => {
                let (digits, rest) = chars.as_str().strip_prefix('{').unwrap().split_once('}').unwrap();
                text.push(char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap());
                chars = rest.chars();
            }
            c @ ('\'' | '\\' | '$') => text.push(c),
            other => panic!("no escape: {other:?} in {literal}"),
        }
    }
    text
}

/// Texts that somebody might have put into a tag, a name or a description.
fn hostile() -> impl Strategy<Value = String> {
    let known = [
        "${resourceGroup().id}",
        "'''",
        "'\n}\nresource x 'y' = {\n",
        "*/",
        "//",
        "/*",
        "#disable",
        "\\",
        "\\\\'",
        "$",
        "$'",
        "\u{2028}",
        "\u{202e}abc",
        "$(reboot)",
        "`reboot`",
        "'; reboot; '",
        "-rf",
        "--vault-name=evil",
        "@/etc/passwd",
        "\"$vault\"",
        "&& reboot",
        "\nreboot\n",
        "\r\nreboot",
        "\0",
        "%s%n",
        "a\\\nb",
        "|| reboot #",
        "",
        " ",
        "é'è",
        "!!",
    ];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        any::<String>(),
        r#"['\\$ {}\n\r\t/*#@`"();&|<>!-]{0,12}"#,
    ]
}

/// Puts foreign texts in the place of every text in a document.
fn spoil(value: &mut Value, pool: &mut impl Iterator<Item = String>) {
    match value {
        Value::String(text) => *text = pool.next().unwrap(),
        Value::Array(items) => items.iter_mut().for_each(|item| spoil(item, pool)),
        Value::Object(members) => members.values_mut().for_each(|member| spoil(member, pool)),
        _ => {}
    }
}

/// The documents with foreign texts, as far as they leave it recognisable what is of the vault and what an issuer is.
fn spoilt(pool: &[String]) -> Vec<(Document, Value)> {
    let mut texts = pool.iter().cycle().cloned();
    let mut documents = documents();
    for (name, value) in &mut documents {
        let before = value.clone();
        spoil(value, &mut texts);
        match name {
            Document::Vault => {
                value["id"] = before["id"].clone();
                let tags = value["tags"].as_object().unwrap().values().enumerate();
                let named = tags.map(|(n, tag)| (format!("{}{n}", tag.as_str().unwrap()), tag.clone()));
                value["tags"] = named.collect::<serde_json::Map<_, _>>().into();
            }
            Document::RoleAssignments => {
                for (item, was) in value.as_array_mut().unwrap().iter_mut().zip(before.as_array().unwrap()) {
                    item["properties"]["scope"] = was["properties"]["scope"].clone();
                }
            }
            Document::Issuers => {
                for item in value.as_array_mut().unwrap() {
                    item["id"] = format!("https://h/certificates/issuers/{}", item["id"].as_str().unwrap()).into();
                }
            }
            _ => {}
        }
    }
    documents
}

proptest! {
    #[test]
    fn a_bicep_string_means_its_text(text in hostile()) {
        prop_assert_eq!(meant(&string(&text)), text);
    }

    #[test]
    fn a_bicep_file_has_the_same_form_whatever_stands_in_the_settings(pool in prop::collection::vec(hostile(), 1..9)) {
        let expected = form(&bicep(&settings(&documents()), &target()));
        let text = bicep(&settings(&spoilt(&pool)), &target());
        prop_assert_eq!(form(&text), expected, "{}", text);
    }

    #[test]
    fn whatever_the_documents_are_the_file_can_be_read(text in r#"[{}\[\]":,a-z0-9]{0,40}"#) {
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let all = documents().into_iter().map(|(name, _)| (name, value.clone())).collect::<Vec<_>>();
            let settings = settings(&all);
            form(&bicep(&settings, &target()));
            let _ = (script(&settings, &target(), &[]), facts(&settings));
        }
    }
}
