//! The commented `akv-archiver.toml` that `init` writes. What it says is read back as the same settings.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use super::{
    Archive, Capture, Cloud, CloudName, Credential, Discover, Limits, Network, Restore, Secret, Settings, Store, Vault,
    Verify, Worm,
};
use crate::model::{Geography, duration};
use crate::policy::Choice;

/// Settings as a file. Paths are written as they are: relative ones will be relative to the file.
pub fn template(settings: &Settings) -> String {
    let mut text = String::from(
        "# Settings of akv-archiver. docs/SETTINGS.md describes every field. Each can be overridden by an environment\n\
         # variable: `container` in [archive] is AKV_ARCHIVER__ARCHIVE__CONTAINER. No secret belongs in this file.\n",
    );
    network(&mut text, &settings.network);
    archive(&mut text, &settings.archive);
    for each in &settings.vaults {
        vault(&mut text, each);
    }
    for rule in &settings.discover {
        discover(&mut text, rule);
    }
    if settings.vaults.is_empty() {
        text.push_str(
            "\n# One table for each vault to take snapshots of.\n\
             # [[vault]]\n\
             # uri = \"https://NAME.vault.azure.net\"\n\
             # credential = { kind = \"managed-identity\" }\n\
             # Or let it look for them: docs/FLEET.md.\n\
             # [[discover]]\n\
             # tags = { env = \"prod\" }\n\
             # credential = { kind = \"managed-identity\" }\n",
        );
    }
    capture(&mut text, &settings.capture);
    geography(&mut text, &settings.geography);
    // Nobody needs to be told of it who is content with it.
    if settings.restore != Restore::default() {
        line(&mut text, &format!("\n[restore]\nwait = {}", quoted(duration::render(settings.restore.wait))));
    }
    // Nobody needs to be told of it who does not have it.
    if settings.verify != Verify::default() {
        verify(&mut text, &settings.verify);
    }
    text
}

fn verify(text: &mut String, verify: &Verify) {
    text.push_str("\n[verify]\n");
    if let Some(path) = &verify.signer {
        line(text, &format!("signer = {}", path_of(path)));
    }
    list(text, "verifiers", &verify.verifiers);
}

fn network(text: &mut String, network: &Network) {
    text.push_str("\n[network]\n");
    match &network.proxy {
        Some(proxy) => line(text, &format!("proxy = {}", quoted(proxy))),
        None => text.push_str("# proxy = \"http://proxy.example:8080\"\n"),
    }
    match &network.ca_file {
        Some(path) => line(text, &format!("ca_file = {}", path_of(path))),
        None => text.push_str("# ca_file = \"ca.pem\"               # for a proxy that inspects TLS\n"),
    }
    match &network.cloud {
        Cloud::Known(CloudName::Public) => {
            text.push_str("# cloud = \"us-government\"          # or \"china\"\n");
        }
        Cloud::Known(name) => line(text, &format!("cloud = \"{}\"", name.name())),
        Cloud::Custom { authority, management } => {
            line(
                text,
                &format!("endpoints = {{ authority = {}, management = {} }}", quoted(authority), quoted(management)),
            );
        }
    }
}

fn archive(text: &mut String, archive: &Archive) {
    text.push_str("\n[archive]\n");
    match &archive.store {
        Store::Container { url, credential, worm, resource_id } => {
            line(text, &format!("container = {}", quoted(url)));
            line(text, &format!("credential = {}", credential_of(credential)));
            if let Some(id) = resource_id {
                line(text, &format!("resource_id = {}", quoted(id)));
            }
            let worm = if *worm == Worm::Required { "required" } else { "optional" };
            line(
                text,
                &format!(
                    "worm = \"{worm}\"                  # a container without WORM protection is an error, or a note"
                ),
            );
        }
        Store::Directory { path, shared } => {
            line(text, &format!("directory = {}", path_of(path)));
            line(
                text,
                &format!("shared = {shared}                      # whether other users of this machine may read it"),
            );
        }
        Store::Nowhere => {}
    }
    text.push_str("# Who can open archives: public keys. Two, whose identities are kept in different places, are better than one.\n");
    list(text, "recipients", &archive.recipients);
    text.push_str("# Signs the log; only where snapshots run.\n");
    match &archive.signer {
        Some(path) => line(text, &format!("signer = {}", path_of(path))),
        None => text.push_str("# signer = \"signer.key\"\n"),
    }
    text.push_str("# Whose signatures are believed. Keep this list where the job that writes cannot change it.\n");
    list(text, "verifiers", &archive.verifiers);
    text.push_str("# Opens archives. Keep it offline; the job that runs every night does not need it.\n");
    match &archive.identities[..] {
        [] => text.push_str("# identity = \"identity.txt\"\n"),
        [one] => line(text, &format!("identity = {}", path_of(one))),
        many => {
            let paths: Vec<String> = many.iter().map(|path| path_of(path)).collect();
            line(text, &format!("identity = [{}]", paths.join(", ")));
        }
    }
    match &archive.identity_passphrase {
        Some(Secret::Env { name, .. }) => line(text, &format!("identity_passphrase_env = {}", quoted(name))),
        Some(Secret::File(path)) => line(text, &format!("identity_passphrase_file = {}", path_of(path))),
        None => {}
    }
}

fn vault(text: &mut String, vault: &Vault) {
    text.push_str("\n[[vault]]\n");
    line(text, &format!("name = {}", quoted(&vault.name)));
    line(text, &format!("uri = {}", quoted(&vault.uri)));
    line(text, &format!("credential = {}", credential_of(&vault.credential)));
    if let Some(id) = &vault.resource_id {
        line(text, &format!("resource_id = {}", quoted(id)));
    }
    if let Some(choice) = &vault.policy {
        line(text, &format!("policy = {}", policy_of(choice)));
    }
}

/// A file in the settings' own folder needs a slash to be told from a name.
fn policy_of(choice: &Choice) -> String {
    match choice {
        Choice::File(path) if Choice::parse(&path.to_string_lossy()).is_err() => path_of(&Path::new(".").join(path)),
        Choice::File(path) => path_of(path),
        Choice::BuiltIn(name) => quoted(name),
    }
}

fn discover(text: &mut String, rule: &Discover) {
    text.push_str("\n[[discover]]\n");
    let choice = &rule.choice;
    let quoted_list = |items: Vec<String>| format!("[{}]", items.join(", "));
    if !choice.subscriptions.is_empty() {
        let ids = choice.subscriptions.iter().map(quoted).collect();
        line(text, &format!("subscriptions = {}", quoted_list(ids)));
    }
    if !choice.tags.is_empty() {
        let tags: Vec<String> =
            choice.tags.iter().map(|tag| format!("{} = {}", quoted(tag.name()), quoted(tag.value()))).collect();
        line(text, &format!("tags = {{ {} }}", tags.join(", ")));
    }
    for (name, patterns) in [("include", &choice.include), ("exclude", &choice.exclude)] {
        if !patterns.is_empty() {
            line(text, &format!("{name} = {}", quoted_list(patterns.iter().map(quoted).collect())));
        }
    }
    line(text, &format!("credential = {}", credential_of(&rule.credential)));
}

fn geography(text: &mut String, regions: &BTreeMap<String, Geography>) {
    if regions.is_empty() {
        return;
    }
    text.push_str("\n[geography]\n");
    for (region, geography) in regions {
        line(text, &format!("{region} = {}", quoted(geography)));
    }
}

fn capture(text: &mut String, capture: &Capture) {
    let default = Capture::default();
    let rows = [
        (
            "policy",
            policy_of(&capture.policy),
            capture.policy == default.policy,
            "or \"regulated\", or a file: docs/POLICIES.md",
        ),
        (
            "max_in_flight",
            capture.max_in_flight.to_string(),
            capture.max_in_flight == default.max_in_flight,
            "requests to one vault at the same time",
        ),
        (
            "share",
            capture.share.to_string(),
            capture.share == default.share,
            "the share of a vault's request limit that is used at most",
        ),
        (
            "vaults_in_flight",
            capture.vaults_in_flight.to_string(),
            capture.vaults_in_flight == default.vaults_in_flight,
            "vaults at the same time",
        ),
    ];
    text.push_str("\n[capture]\n");
    for (name, value, is_default, what) in rows {
        let field = format!("{}{name} = {value}", if is_default { "# " } else { "" });
        line(text, &format!("{field:<34} # {what}"));
    }
    // Nobody needs to be told of it who does not have it.
    if capture.limits == Limits::None {
        line(text, "limits = \"none\"");
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn list(text: &mut String, name: &str, items: &[String]) {
    if items.is_empty() {
        return line(text, &format!("{name} = []"));
    }
    line(text, &format!("{name} = ["));
    for item in items {
        line(text, &format!("  {},", quoted(item)));
    }
    text.push_str("]\n");
}

fn credential_of(credential: &Credential) -> String {
    let (kind, fields): (&str, Vec<(&str, Option<String>)>) = match credential {
        Credential::ManagedIdentity { client_id } => {
            ("managed-identity", vec![("client_id", client_id.as_ref().map(quoted))])
        }
        Credential::ClientSecret { tenant_id, client_id, secret } => {
            let secret = match secret {
                Secret::Env { name, .. } => ("client_secret_env", Some(quoted(name))),
                Secret::File(path) => ("client_secret_file", Some(path_of(path))),
            };
            (
                "client-secret",
                vec![("tenant_id", Some(quoted(tenant_id))), ("client_id", Some(quoted(client_id))), secret],
            )
        }
        Credential::ClientAssertion { tenant_id, client_id, assertion_file } => (
            "client-assertion",
            vec![
                ("tenant_id", Some(quoted(tenant_id))),
                ("client_id", Some(quoted(client_id))),
                ("assertion_file", Some(path_of(assertion_file))),
            ],
        ),
        Credential::WorkloadIdentity { tenant_id, client_id, token_file } => (
            "workload-identity",
            vec![
                ("tenant_id", tenant_id.as_ref().map(quoted)),
                ("client_id", client_id.as_ref().map(quoted)),
                ("token_file", token_file.as_deref().map(path_of)),
            ],
        ),
        Credential::AzureCli { tenant_id } => ("azure-cli", vec![("tenant_id", tenant_id.as_ref().map(quoted))]),
    };
    let fields = fields.into_iter().filter_map(|(name, value)| Some(format!(", {name} = {}", value?)));
    format!("{{ kind = \"{kind}\"{} }}", fields.collect::<String>())
}

fn path_of(path: &Path) -> String {
    quoted(path.display())
}

/// A TOML string.
fn quoted(value: impl Display) -> String {
    toml::Value::String(value.to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::{ContainerUrl, Endpoint, ProxyUrl};
    use super::*;
    use crate::model::{Glob, SubscriptionId, Tag, VaultChoice, VaultUri};

    fn read_back(settings: &Settings) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, template(settings)).unwrap();
        Settings::load(Some(&path), folder.path(), &BTreeMap::new()).unwrap()
    }

    fn vault(name: &str, credential: Credential) -> Vault {
        let uri = VaultUri::parse(&format!("https://{name}.vault.azure.net")).unwrap();
        Vault { name: name.to_owned(), uri, credential, resource_id: None, policy: None }
    }

    fn smallest() -> Settings {
        Settings {
            network: Network::default(),
            archive: Archive {
                store: Store::Directory { path: "/mnt/archive".into(), shared: true },
                recipients: Vec::new(),
                signer: None,
                verifiers: Vec::new(),
                identities: Vec::new(),
                identity_passphrase: None,
            },
            vaults: Vec::new(),
            discover: Vec::new(),
            capture: Capture::default(),
            geography: BTreeMap::new(),
            restore: Restore::default(),
            verify: Verify::default(),
        }
    }

    #[test]
    fn the_smallest_settings_read_back() {
        assert_eq!(read_back(&smallest()), smallest());
    }

    #[test]
    fn every_field_reads_back() {
        let secret = Secret::Env { name: "SECRET".into(), value: None };
        let file = || PathBuf::from("/a \"quoted\" path\\x");
        let id = || Some("id".to_owned());
        let settings = Settings {
            network: Network {
                proxy: Some(ProxyUrl::parse("http://proxy:8080").unwrap()),
                ca_file: Some(file()),
                cloud: Cloud::Custom {
                    authority: Endpoint::parse("https://login.example").unwrap(),
                    management: Endpoint::parse("https://management.example").unwrap(),
                },
            },
            archive: Archive {
                store: Store::Container {
                    url: ContainerUrl::parse("https://a.blob.core.windows.net/vaults").unwrap(),
                    credential: Credential::ClientSecret { tenant_id: "t".into(), client_id: "c".into(), secret },
                    worm: Worm::Optional,
                    resource_id: Some("/subscriptions/s/resourceGroups/r".into()),
                },
                recipients: vec!["age1a".into(), "ssh-ed25519 AAAA me@home".into()],
                signer: Some(file()),
                verifiers: vec!["a+b+c".into(), "d+e+f".into()],
                identities: vec![file(), "/b".into()],
                identity_passphrase: Some(Secret::File(file())),
            },
            vaults: vec![
                vault("a", Credential::ManagedIdentity { client_id: id() }),
                vault(
                    "b",
                    Credential::ClientAssertion {
                        tenant_id: "t".into(),
                        client_id: "c".into(),
                        assertion_file: file(),
                    },
                ),
                vault("c", Credential::WorkloadIdentity { tenant_id: id(), client_id: id(), token_file: Some(file()) }),
                Vault {
                    policy: Some(Choice::File("/policies/own".into())),
                    ..vault("d", Credential::AzureCli { tenant_id: None })
                },
                vault(
                    "e",
                    Credential::ClientSecret {
                        tenant_id: "t".into(),
                        client_id: "c".into(),
                        secret: Secret::File(file()),
                    },
                ),
            ],
            discover: vec![
                Discover {
                    choice: VaultChoice {
                        subscriptions: vec![SubscriptionId::parse("11111111-1111-1111-1111-111111111111").unwrap()],
                        tags: vec![Tag::new("cost \"center\"", "a = b").unwrap(), Tag::new("env", "prod").unwrap()],
                        include: vec![Glob::parse("prod-*").unwrap(), Glob::parse("core").unwrap()],
                        exclude: vec![Glob::parse("*-scratch").unwrap()],
                    },
                    credential: Credential::AzureCli { tenant_id: id() },
                },
                Discover {
                    choice: VaultChoice::default(),
                    credential: Credential::ManagedIdentity { client_id: None },
                },
            ],
            capture: Capture {
                policy: Choice::BuiltIn("regulated"),
                max_in_flight: 3,
                share: 0.5,
                vaults_in_flight: 9,
                limits: Limits::None,
            },
            geography: BTreeMap::from([("atlantis".to_owned(), Geography("The \"Ocean\"".into()))]),
            restore: Restore { wait: std::time::Duration::from_secs(1200) },
            verify: Verify { signer: Some(file()), verifiers: vec!["g+h+i".into()] },
        };
        assert_eq!(read_back(&settings), settings);

        let settings =
            Settings { network: Network { cloud: Cloud::Known(CloudName::China), ..Network::default() }, ..smallest() };
        assert_eq!(read_back(&settings), settings);
    }
}
