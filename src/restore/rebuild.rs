//! The vault around the objects, from the settings that a snapshot captured: as a Bicep file, as a shell script, and as
//! lines for a terminal. Pure. What was captured is other people's text: nothing in it may become code, and nothing that
//! is written here is secret.

mod bicep;
mod script;

use serde_json::Value;

pub use bicep::bicep;
pub use script::script;

use crate::format::settings::{Document, Settings};

/// What every Bicep file begins with, and what every script begins with: by that the files of an earlier plan are known.
pub const BEGINNINGS: [&str; 2] = [bicep::BEGINNING, script::BEGINNING];

/// Characters of foreign text in a comment.
const COMMENT_MAX: usize = 300;

/// A document, as JSON; `None` where it could not be read when the snapshot was taken.
fn document(settings: &Settings, document: Document) -> Option<Value> {
    serde_json::from_str(settings.documents.get(&document)?.get()).ok()
}

/// The items of a document that is a list.
fn items(settings: &Settings, document: Document) -> Option<Vec<Value>> {
    match self::document(settings, document)? {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// The text at a place in a document.
fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// The list at a place in a document; empty where there is none.
fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// Foreign text for a comment: on its line, of plain characters, and not too long. A backslash would join the next line
/// to it in some languages.
fn plain(text: &str) -> String {
    let kept = |c: char| c == ' ' || (c.is_ascii_graphic() && c != '\\' && c != '*') || c.is_alphanumeric();
    let line: String = text.chars().take(COMMENT_MAX).map(|c| if kept(c) { c } else { '?' }).collect();
    if text.chars().nth(COMMENT_MAX).is_some() { format!("{line}…") } else { line }
}

/// Role assignments: those of the vault itself, and those that it inherits or that hold for something in it.
fn assignments(settings: &Settings, vault_id: Option<&str>) -> Option<(Vec<Value>, Vec<Value>)> {
    let all = items(settings, Document::RoleAssignments)?;
    let own = |item: &Value| match (text(item, "/properties/scope"), vault_id) {
        (Some(scope), Some(id)) => scope.trim_end_matches('/').eq_ignore_ascii_case(id.trim_end_matches('/')),
        _ => false,
    };
    let key = |item: &Value| item.to_string();
    let (mut own, mut others): (Vec<Value>, Vec<Value>) = all.into_iter().partition(own);
    own.sort_by_cached_key(key);
    others.sort_by_cached_key(key);
    Some((own, others))
}

/// What no blob brings back, in lines for a terminal: what there was of it, and where it went.
pub fn facts(settings: &Settings) -> Vec<String> {
    let vault = document(settings, Document::Vault);
    let unread = |what: &str| format!("{what}: could not be read when the snapshot was taken");
    let mut lines = Vec::new();
    match &vault {
        Some(vault) => {
            let count = |pointer| list(vault, pointer).count();
            let default = text(vault, "/properties/networkAcls/defaultAction").map_or("Allow".to_owned(), plain);
            lines.push(format!(
                "network rules: {default} by default, {}, {}",
                counted(count("/properties/networkAcls/ipRules"), "address range"),
                counted(count("/properties/networkAcls/virtualNetworkRules"), "subnet")
            ));
            lines.push(format!("access policies: {}", count("/properties/accessPolicies")));
            let endpoints = count("/properties/privateEndpointConnections");
            lines.push(format!("private endpoints: {endpoints}; each is made anew from its network's side"));
        }
        None => lines.push(unread("network rules, access policies and private endpoints")),
    }
    let id = vault.as_ref().and_then(|vault| text(vault, "/id"));
    lines.push(match assignments(settings, id) {
        Some((own, others)) => format!("role assignments: {} of the vault, {} inherited", own.len(), others.len()),
        None => unread("role assignments"),
    });
    lines.push(match items(settings, Document::DiagnosticSettings) {
        Some(items) => format!("diagnostic settings: {}", items.len()),
        None => unread("diagnostic settings"),
    });
    lines.push(match items(settings, Document::Issuers) {
        Some(items) if items.is_empty() => "certificate issuers: none".to_owned(),
        Some(items) => format!("certificate issuers: {}; no vault ever shows their passwords", items.len()),
        None => unread("certificate issuers"),
    });
    lines.push(match document(settings, Document::Contacts) {
        Some(contacts) => format!("certificate contacts: {}", list(&contacts, "/contacts").count()),
        None => unread("certificate contacts"),
    });
    lines.push("Event Grid subscriptions: not captured; look for them in what deployed the old vault".to_owned());
    lines
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
