//! An opened capture on a screen: what it is, its versions, its blob. Knows nothing of how it was opened.

use std::collections::BTreeMap;
use std::path::Path;

use super::{maybe, time};
use crate::cli::table::table;
use crate::format::capture::Capture;
use crate::format::settings::Settings;
use crate::restore::Source;

/// An object's capture.
pub(crate) fn opened(
    capture: &Capture,
    source: &Source,
    tags: &BTreeMap<String, String>,
    folder: Option<&Path>,
) -> String {
    let metadata = &capture.metadata;
    let at = metadata.captured_at.format("%Y-%m-%dT%H:%M:%SZ");
    let mut text = format!("{} from {}, captured {at} by {}\n", metadata.object, metadata.vault, metadata.tool);
    text.push_str(&format!("  kind: {}\n", source.label()));
    if !tags.is_empty() {
        let tags: Vec<String> = tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
        text.push_str(&format!("  tags: {}\n", tags.join(", ")));
    }
    if metadata.rotation_policy.is_some() {
        text.push_str("  rotation policy: yes\n");
    }
    text.push_str(&format!("  backup.blob: {} bytes, SHA-256 {}\n", metadata.backup.size, metadata.backup.sha256));
    text.push_str(&format!("  versions: {}\n", metadata.versions.len()));
    let rows: Vec<[String; 6]> = source
        .newest_first()
        .into_iter()
        .map(|(id, version)| {
            let attributes = &version.attributes;
            [
                id.clone(),
                maybe(attributes.enabled, |enabled| if enabled { "yes" } else { "no" }.into()),
                maybe(attributes.created, time),
                maybe(attributes.updated, time),
                maybe(attributes.expires, time),
                maybe(version.thumbprint.clone(), |thumbprint| thumbprint),
            ]
        })
        .collect();
    text.push_str(&table(
        ["version", "enabled", "created (UTC)", "changed (UTC)", "expires (UTC)", "thumbprint"],
        &rows,
    ));
    if let Some(folder) = folder {
        let folder = folder.display();
        text.push_str(&format!("Extracted into {folder}. README.txt tells how to restore with `az`.\n"));
    }
    text
}

/// A vault's settings.
pub(crate) fn opened_settings(settings: &Settings, folder: Option<&Path>) -> String {
    let Settings { vault, captured_at, .. } = settings;
    let at = captured_at.format("%Y-%m-%dT%H:%M:%SZ");
    let names: Vec<&str> = settings.documents.keys().map(|document| document.name()).collect();
    let mut text = format!("settings of {vault}, captured {at}\n  documents: {}\n", names.join(", "));
    if let Some(folder) = folder {
        text.push_str(&format!("Extracted into {}. README.txt tells how to read them.\n", folder.display()));
    }
    text
}
