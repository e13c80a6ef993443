//! Vaults as a recorded conversation found them, and how objects are addressed. Knows nothing of the replay.

use std::collections::{BTreeMap, BTreeSet};

use akv_archiver::emulator::seed;
use akv_archiver::emulator::wire::percent_decode;
use serde_json::Value;

use super::traffic::Interaction;

/// An object's address.
pub(super) fn id(json: &Value) -> Option<String> {
    json["kid"].as_str().or(json["id"].as_str()).map(str::to_owned)
}

/// Type, name and version of an address.
pub(super) fn parts(address: &str) -> Option<(String, String, Option<String>)> {
    let path = address.strip_prefix("https://")?.split_once('/')?.1;
    let mut parts = path.trim_end_matches('/').split('/').map(percent_decode);
    Some((parts.next()?, parts.next()?, parts.next()))
}

/// An object, whatever its state.
pub(super) fn key(kind: &str, name: &str) -> String {
    format!("{}/{}", kind.trim_start_matches("deleted"), name.to_ascii_uppercase())
}

/// The vaults of a conversation, set up as its answers show them.
pub(super) fn seeds(conversation: &[&Interaction]) -> Vec<seed::Vault> {
    let mut vaults: BTreeMap<String, seed::Vault> = BTreeMap::new();
    let mut made = BTreeSet::new();
    for it in conversation {
        let region = it.answer_headers.get("x-ms-keyvault-region").map_or("westus", String::as_str);
        let vault = vaults.entry(it.host.clone()).or_insert_with(|| seed::Vault {
            name: it.host.trim_end_matches(".vault.azure.net").to_owned(),
            subscription: "s".into(),
            // A display name in 2018.
            location: region.to_ascii_lowercase().replace(' ', ""),
            sku: seed::Sku::Premium,
            purge_protection: false,
            retention_days: 90,
            tags: std::collections::BTreeMap::new(),
            objects: Vec::new(),
        });
        if let Some((_, rest)) = it.answer.split_once("\"recoverableDays\":") {
            let days: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
            vault.retention_days = days.parse().unwrap();
        }
        let (kind, name) = parts(&format!("https://{}{}", it.host, it.path))
            .map_or_else(Default::default, |(kind, name, _)| (kind, name));
        if it.status < 400 && matches!(it.method.as_str(), "PUT" | "POST") {
            made.insert(key(&kind, &name));
        } else if it.method == "DELETE" && (it.status == 200 || it.status == 403) && made.insert(key(&kind, &name)) {
            vault.objects.extend(found_there(&kind, &name, &it.answer));
        }
    }
    vaults.into_values().collect()
}

/// An object that a conversation deletes and did not make, as the answer shows it.
fn found_there(kind: &str, name: &str, answer: &str) -> Option<seed::Object> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    let key = &answer["key"];
    let expires = if answer["attributes"]["exp"].is_number() { "expires_in_days = 365\n" } else { "" };
    let rest = match (kind, key["crv"].as_str(), key["n"].as_str()) {
        ("keys", Some(curve), _) => format!("kind = \"key\"\ntype = {}\ncurve = \"{curve}\"\n", key["kty"]),
        ("keys", None, Some(n)) => {
            format!("kind = \"key\"\ntype = {}\nbits = {}\n", key["kty"], n.len() * 6 / 1024 * 1024)
        }
        ("secrets", ..) if answer["error"].is_null() => "kind = \"secret\"\n".to_owned(),
        // Only the secret behind a certificate cannot be deleted.
        ("secrets" | "certificates", ..) => "kind = \"certificate\"\n".to_owned(),
        _ => return None,
    };
    Some(toml::from_str(&format!("name = \"{name}\"\n{rest}{expires}")).unwrap())
}

/// Bytes that differ from each other and not from run to run. Draws of two bytes are waiting times, in
/// thousandths of all that were recorded: always the median, which is the same for secrets and certificates.
pub(super) fn dice() -> akv_archiver::emulator::vault::Random {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    Box::new(move |bytes| {
        for byte in bytes.iter_mut() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 24) as u8;
        }
        if let [high, low] = bytes {
            [*high, *low] = 500_u16.to_be_bytes();
        }
    })
}
