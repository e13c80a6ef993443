//! From fields as written to settings that cannot be wrong: what must be there, what excludes what.

use std::collections::BTreeMap;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::file::{LIMIT, OneOrMany, Raw, RawArchive, RawCapture, RawCredential, RawDiscover, RawNetwork, RawVault};
use super::{
    Archive, Capture, Cloud, CloudName, Credential, Discover, Network, Restore, Secret, Settings, Store, Vault, Verify,
    Worm,
};
use crate::located::read_text;
use crate::model::VaultChoice;

/// What is wrong, and with what: keys, and numbers in arrays.
pub(super) struct Complaint {
    pub(super) at: Vec<String>,
    pub(super) message: String,
    pub(super) hint: String,
}

type Checked<T> = Result<T, Complaint>;
type Env = BTreeMap<String, String>;

pub(super) const DOCS: &str = "docs/SETTINGS.md describes every field";

fn complaint<T>(at: &[&str], message: impl Into<String>, hint: impl Into<String>) -> Checked<T> {
    let at = at.iter().map(|&key| key.to_owned()).collect();
    Err(Complaint { at, message: message.into(), hint: hint.into() })
}

/// `needed`: whether there must be an archive.
pub(super) fn settings(raw: Raw, env: &Env, needed: bool) -> Checked<Settings> {
    Ok(Settings {
        network: network(raw.network)?,
        archive: archive(raw.archive, env, needed)?,
        vaults: vaults(raw.vault, env)?,
        discover: discover(raw.discover, env)?,
        capture: capture(raw.capture),
        geography: raw.geography.0,
        restore: raw.restore.wait.map_or_else(Restore::default, |wait| Restore { wait: wait.0 }),
        verify: Verify { signer: raw.verify.signer, verifiers: raw.verify.verifiers.unwrap_or_default() },
    })
}

fn network(raw: RawNetwork) -> Checked<Network> {
    let cloud = match (raw.cloud, raw.endpoints) {
        (name, None) => Cloud::Known(name.unwrap_or(CloudName::Public)),
        (Some(_), Some(_)) => {
            return complaint(&["network", "endpoints"], "`cloud` and `endpoints` exclude each other", DOCS);
        }
        (None, Some(endpoints)) => match (endpoints.authority, endpoints.management) {
            (Some(authority), Some(management)) => Cloud::Custom { authority, management },
            _ => {
                let message = "`endpoints` needs both `authority` and `management`";
                return complaint(&["network", "endpoints"], message, DOCS);
            }
        },
    };
    Ok(Network { proxy: raw.proxy, ca_file: raw.ca_file, cloud })
}

fn archive(raw: RawArchive, env: &Env, needed: bool) -> Checked<Archive> {
    let excluded = |field: &str, given: bool| match given {
        true => complaint(&["archive", field], format!("`{field}` has no meaning for a directory"), DOCS),
        false => Ok(()),
    };
    let store = match (raw.container, raw.directory) {
        (Some(url), None) => {
            if raw.shared.is_some() {
                return complaint(&["archive", "shared"], "`shared` has no meaning for a container", DOCS);
            }
            Store::Container {
                url,
                credential: credential(raw.credential, &["archive"], "[archive]", env)?,
                worm: raw.worm.unwrap_or(Worm::Required),
                resource_id: raw.resource_id.map(|id| id.0),
            }
        }
        (None, Some(path)) => {
            excluded("credential", raw.credential.is_some())?;
            excluded("resource_id", raw.resource_id.is_some())?;
            if raw.worm == Some(Worm::Required) {
                let message = "a directory has no WORM protection, and `worm` is \"required\"";
                return complaint(&["archive", "worm"], message, "use a container, or leave `worm` out");
            }
            Store::Directory { path, shared: raw.shared.unwrap_or(false) }
        }
        (None, None) if !needed && raw.credential.is_none() => Store::Nowhere,
        (container, _) => {
            let message = match container {
                Some(_) => "`container` and `directory` exclude each other",
                None => "[archive] needs `container` or `directory`",
            };
            return complaint(&["archive"], message, "an archive is in exactly one place");
        }
    };
    let mut recipients = raw.recipients.unwrap_or_default();
    if let Some(path) = raw.recipients_file {
        match read_text(&path, LIMIT) {
            Ok(text) => {
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
                recipients.extend(lines.map(str::to_owned));
            }
            Err(error) => return complaint(&["archive", "recipients_file"], error.message(), DOCS),
        }
    }
    let passphrase =
        secret(raw.identity_passphrase_env, raw.identity_passphrase_file, env).map_err(|()| Complaint {
            at: vec!["archive".into(), "identity_passphrase_file".into()],
            message: "`identity_passphrase_env` and `identity_passphrase_file` exclude each other".into(),
            hint: DOCS.into(),
        })?;
    Ok(Archive {
        store,
        recipients,
        signer: raw.signer,
        verifiers: raw.verifiers.unwrap_or_default(),
        identities: raw.identity.map(OneOrMany::into_paths).unwrap_or_default(),
        identity_passphrase: passphrase,
    })
}

fn vaults(raw: Vec<RawVault>, env: &Env) -> Checked<Vec<Vault>> {
    let mut vaults: Vec<Vault> = Vec::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let index = index.to_string();
        let at = ["vault", index.as_str()];
        let Some(uri) = raw.uri else {
            return complaint(&at, "a [[vault]] needs `uri`", "such as uri = \"https://NAME.vault.azure.net\"");
        };
        let name = raw.name.map_or_else(|| uri.name().to_owned(), |name| name.0);
        if vaults.iter().any(|other| other.name == name) {
            let message = format!("there are two vaults named {name:?}");
            return complaint(&at, message, "give one of them another `name`");
        }
        if vaults.iter().any(|other| other.uri == uri) {
            return complaint(&at, format!("the vault {uri} is given twice"), "remove one of them");
        }
        let credential = credential(raw.credential, &at, &format!("vault {name:?}"), env)?;
        vaults.push(Vault { name, uri, credential, resource_id: raw.resource_id.map(|id| id.0), policy: raw.policy });
    }
    Ok(vaults)
}

fn discover(raw: Vec<RawDiscover>, env: &Env) -> Checked<Vec<Discover>> {
    let rule = |(index, raw): (usize, RawDiscover)| {
        let index = index.to_string();
        let credential = credential(raw.credential, &["discover", &index], "[[discover]]", env)?;
        let choice = VaultChoice {
            subscriptions: raw.subscriptions.unwrap_or_default(),
            tags: raw.tags.map(|tags| tags.0).unwrap_or_default(),
            include: raw.include.unwrap_or_default(),
            exclude: raw.exclude.unwrap_or_default(),
        };
        Ok(Discover { choice, credential })
    };
    raw.into_iter().enumerate().map(rule).collect()
}

fn capture(raw: RawCapture) -> Capture {
    let default = Capture::default();
    Capture {
        policy: raw.policy.unwrap_or(default.policy),
        max_in_flight: raw.max_in_flight.map_or(default.max_in_flight, |number| number.0),
        share: raw.share.map_or(default.share, |share| share.0),
        limits: raw.limits.unwrap_or(default.limits),
        vaults_in_flight: raw.vaults_in_flight.map_or(default.vaults_in_flight, |number| number.0),
    }
}

/// A credential's fields, handed out by name. What nobody asked for is an error.
struct Fields<'a> {
    at: &'a [&'a str],
    owner: &'a str,
    kind: String,
    fields: RawCredential,
}

impl Fields<'_> {
    fn complaint<T>(&self, field: &str, message: String, hint: &str) -> Checked<T> {
        let mut at = self.at.to_vec();
        at.push("credential");
        if self.fields.contains_key(field) {
            at.push(field);
        }
        complaint(&at, format!("credential of {}: {message}", self.owner), hint)
    }

    fn optional(&mut self, field: &str) -> Checked<Option<String>> {
        if self.fields.get(field).is_some_and(|value| value.trim().is_empty()) {
            return self.complaint(field, format!("`{field}` is empty"), DOCS);
        }
        Ok(self.fields.remove(field))
    }

    fn required(&mut self, field: &str) -> Checked<String> {
        match self.optional(field)? {
            Some(value) => Ok(value),
            None => self.complaint(field, format!("kind {:?} needs `{field}`", self.kind), DOCS),
        }
    }
}

const KINDS: &str = "managed-identity, client-secret, client-assertion, workload-identity, azure-cli";

fn credential(raw: Option<RawCredential>, at: &[&str], owner: &str, env: &Env) -> Checked<Credential> {
    let Some(fields) = raw else {
        let hint = format!("such as credential = {{ kind = \"managed-identity\" }}; kinds are {KINDS}");
        return complaint(at, format!("{owner} needs `credential`"), hint);
    };
    let kind = fields.get("kind").cloned().unwrap_or_default();
    let mut fields = Fields { at, owner, kind, fields };
    if fields.fields.contains_key("client_secret") {
        let hint = "put it into an environment variable, and name that with `client_secret_env`; or into a file, with \
                    `client_secret_file`";
        return fields.complaint("client_secret", "a secret must not stand in settings".into(), hint);
    }
    let credential = match fields.kind.as_str() {
        "managed-identity" => Credential::ManagedIdentity { client_id: fields.optional("client_id")? },
        "client-secret" => {
            let (tenant_id, client_id) = (fields.required("tenant_id")?, fields.required("client_id")?);
            let (name, path) = (fields.optional("client_secret_env")?, fields.optional("client_secret_file")?);
            let Ok(Some(secret)) = secret(name, path.map(PathBuf::from), env) else {
                let message = "it needs exactly one of `client_secret_env` and `client_secret_file`";
                return fields.complaint("", message.into(), DOCS);
            };
            Credential::ClientSecret { tenant_id, client_id, secret }
        }
        "client-assertion" => Credential::ClientAssertion {
            tenant_id: fields.required("tenant_id")?,
            client_id: fields.required("client_id")?,
            assertion_file: fields.required("assertion_file")?.into(),
        },
        "workload-identity" => Credential::WorkloadIdentity {
            tenant_id: fields.optional("tenant_id")?,
            client_id: fields.optional("client_id")?,
            token_file: fields.optional("token_file")?.map(PathBuf::from),
        },
        "azure-cli" => Credential::AzureCli { tenant_id: fields.optional("tenant_id")? },
        "" => return fields.complaint("", "it needs `kind`".into(), &format!("kinds are {KINDS}")),
        other => return fields.complaint("kind", format!("there is no kind {other:?}"), &format!("kinds are {KINDS}")),
    };
    match fields.fields.keys().find(|field| *field != "kind") {
        Some(field) => fields.complaint(field, format!("kind {:?} has no `{field}`", fields.kind), DOCS),
        None => Ok(credential),
    }
}

/// A secret's place, of at most one kind.
fn secret(name: Option<String>, path: Option<PathBuf>, env: &Env) -> Result<Option<Secret>, ()> {
    match (name, path) {
        (None, None) => Ok(None),
        (None, Some(path)) => Ok(Some(Secret::File(path))),
        (Some(name), None) => {
            let value = env.get(&name).cloned().map(Zeroizing::new);
            Ok(Some(Secret::Env { name, value }))
        }
        (Some(_), Some(_)) => Err(()),
    }
}
