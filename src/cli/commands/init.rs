//! `init`: the archive, its keys and the settings file. Keys are made where none are named; nothing that exists is
//! written over, but for the settings that lack what was just made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use super::{environment, working_directory};
use crate::ambient::Ambient;
use crate::assemble::{Assembly, new_signer, read_signer};
use crate::cli::args::{Credential as CredentialKind, Init};
use crate::cli::console::Console;
use crate::cli::files;
use crate::config::{
    Archive, Capture, ContainerUrl, Credential, FILE_NAME, Network, ProxyUrl, Restore, Secret, Settings, Store, Vault,
    Verify, Worm, template,
};
use crate::error::{Context, Error, Result};
use crate::format::archive::key_name;
use crate::jobs::init::create_archive;
use crate::model::VaultUri;
use crate::seal::{Recipients, generate};

const IDENTITY: &str = "identity.txt";
const SIGNER: &str = "signer.key";

/// What was made, and what is there now.
struct Made {
    recipients: Vec<String>,
    verifier: String,
    identity: Option<PathBuf>,
    signer: Option<PathBuf>,
}

/// Initialises.
pub(crate) async fn run(config: Option<&Path>, console: &Console, arguments: Init) -> Result<ExitCode> {
    let folder = working_directory()?;
    let file = folder.join(config.unwrap_or(Path::new(FILE_NAME)));
    let fresh = !file.exists();
    let settings = match fresh {
        true => asked_for(&arguments)?,
        false => {
            not_with_a_file(&arguments, &file)?;
            Settings::load(Some(&file), &folder, &environment())?
        }
    };
    let base = file.parent().unwrap_or(&folder);
    if !base.is_dir() {
        return Err(Error::usage(format!("the settings belong into {}, which is no folder", base.display()))
            .hint("create it, or name another file with --config"));
    }
    let keys = Keys::look(&settings, base, fresh)?;
    if let Store::Directory { path, .. } = &settings.archive.store {
        std::fs::create_dir_all(path)
            .map_err(|error| Error::usage(format!("couldn't create {}: {error}", path.display())))?;
    }
    let assembly = Assembly::new(settings, Ambient::system());
    let (archive, created) = create_archive(assembly.archive()?.store(), assembly.demand(), &assembly.ambient).await?;
    let made = keys.make(&assembly, &key_name(archive.archive_id))?;
    match fresh {
        true => files::create_public(&file, template(&complete(&assembly.settings, &made)).as_bytes())?,
        false => amend(&file, &assembly.settings, &made)?,
    }
    let document = json!({
        "archive_id": archive.archive_id,
        "created": created,
        "settings": file,
        "recipients": made.recipients,
        "verifier": made.verifier,
        "identity": made.identity,
        "signer": made.signer,
    });
    console.result(&document, || told(&assembly, &file, &archive.archive_id.to_string(), created, &made));
    if !created && made.signer.is_some() {
        console.complain(
            "warning: the archive was there already and the signer is new: whoever pins another verifier will not believe it",
        );
    }
    for warning in complete(&assembly.settings, &made).warnings() {
        console.complain(&format!("warning: {warning}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Settings from the command line.
fn asked_for(arguments: &Init) -> Result<Settings> {
    if !arguments.recipients.is_empty() {
        // Before anything is created: a recipient that cannot be encrypted to would be found out by the first job.
        Recipients::parse(&arguments.recipients).context("--recipient")?;
    }
    let credential = credential(arguments)?;
    let store = match (&arguments.container, &arguments.directory) {
        (Some(container), None) => Store::Container {
            url: ContainerUrl::parse(container).map_err(Error::usage).context("--container")?,
            credential: credential.clone(),
            worm: if arguments.allow_unprotected { Worm::Optional } else { Worm::Required },
            resource_id: None,
        },
        (None, Some(path)) => Store::Directory { path: absolute(path)?, shared: false },
        _ => {
            return Err(Error::usage("there are no settings yet, and where the archive shall be was not said")
                .hint("give --container https://ACCOUNT.blob.core.windows.net/CONTAINER, or --directory DIR"));
        }
    };
    let proxy = arguments.proxy.as_deref().map(ProxyUrl::parse).transpose().map_err(Error::usage).context("--proxy")?;
    Ok(Settings {
        network: Network {
            proxy,
            ca_file: arguments.ca_file.as_deref().map(absolute).transpose()?,
            ..Network::default()
        },
        archive: Archive {
            store,
            recipients: arguments.recipients.clone(),
            signer: None,
            verifiers: Vec::new(),
            identities: Vec::new(),
            identity_passphrase: None,
        },
        vaults: vaults(&arguments.vaults, &credential)?,
        discover: Vec::new(),
        capture: Capture::default(),
        geography: BTreeMap::new(),
        restore: Restore::default(),
        verify: Verify::default(),
    })
}

fn not_with_a_file(arguments: &Init, file: &Path) -> Result<()> {
    let given = !arguments.vaults.is_empty()
        || arguments.container.is_some()
        || arguments.directory.is_some()
        || arguments.proxy.is_some()
        || arguments.ca_file.is_some()
        || !arguments.recipients.is_empty();
    match given {
        false => Ok(()),
        true => Err(Error::usage(format!("{} is there already, so what it says cannot be given here", file.display()))
            .hint("edit that file and run `akv-archiver init` without options, or name another with --config")),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::usage(format!("{}: {error}", path.display())))
}

/// The vaults that were named, each once.
fn vaults(texts: &[String], credential: &Credential) -> Result<Vec<Vault>> {
    let mut vaults: Vec<Vault> = Vec::new();
    for text in texts {
        let vault = vault(text, credential)?;
        match vaults.iter().find(|known| known.name == vault.name) {
            Some(known) if known.uri == vault.uri => {}
            Some(known) => {
                let message =
                    format!("--vault: {} and {} would have the same name in the settings", known.uri, vault.uri);
                return Err(Error::usage(message)
                    .hint("name one of them, and add the other to the settings with a `name` of its own"));
            }
            None => vaults.push(vault),
        }
    }
    Ok(vaults)
}

fn vault(text: &str, credential: &Credential) -> Result<Vault> {
    let named =
        || VaultUri::parse(&format!("https://{text}.vault.azure.net")).filter(|_| !text.contains(['.', '/', ':']));
    let uri = VaultUri::parse(text).or_else(named).ok_or_else(|| {
        Error::usage(format!(
            "--vault: {text:?} is neither a vault's name nor an address such as https://NAME.vault.azure.net"
        ))
    })?;
    Ok(Vault { name: uri.name().to_owned(), uri, credential: credential.clone(), resource_id: None, policy: None })
}

fn credential(arguments: &Init) -> Result<Credential> {
    let (tenant_id, client_id) = (arguments.tenant_id.clone(), arguments.client_id.clone());
    Ok(match arguments.credential {
        CredentialKind::ManagedIdentity => Credential::ManagedIdentity { client_id },
        CredentialKind::WorkloadIdentity => Credential::WorkloadIdentity { tenant_id, client_id, token_file: None },
        CredentialKind::AzureCli => Credential::AzureCli { tenant_id },
        CredentialKind::ClientSecret => {
            let name = arguments.client_secret_env.clone();
            let value = std::env::var(&name).ok().map(zeroize::Zeroizing::new);
            let needed = |field: &str| Error::usage(format!("--credential client-secret needs --{field}"));
            Credential::ClientSecret {
                tenant_id: tenant_id.ok_or_else(|| needed("tenant-id"))?,
                client_id: client_id.ok_or_else(|| needed("client-id"))?,
                secret: Secret::Env { name, value },
            }
        }
    })
}

/// The keys that the settings name, and those that are there.
struct Keys {
    identity: PathBuf,
    makes_identity: bool,
    signer: PathBuf,
}

impl Keys {
    /// Looks before anything is made, so that a name that is taken leaves nothing half done. `fresh` is whether there is no
    /// settings file yet.
    fn look(settings: &Settings, base: &Path, fresh: bool) -> Result<Keys> {
        let archive = &settings.archive;
        let signer = archive.signer.clone().unwrap_or_else(|| base.join(SIGNER));
        let identity = archive.identities.first().cloned().unwrap_or_else(|| base.join(IDENTITY));
        let makes_identity = !identity.exists() && (archive.recipients.is_empty() || archive.identities.is_empty());
        if archive.recipients.is_empty() && !makes_identity {
            let (missing, where_to) = match fresh {
                true => ("no --recipient is given", "give its public key as --recipient"),
                false => ("archive.recipients names nobody", "put its public key into archive.recipients"),
            };
            return Err(Error::usage(format!("{} is there already, and {missing}", identity.display()))
                .hint(format!("{where_to} (`age-keygen -y FILE` prints it), or move the file away")));
        }
        if signer.exists() {
            read_signer(&signer)?;
        }
        Ok(Keys { identity, makes_identity, signer })
    }

    /// Makes what is missing.
    fn make(self, assembly: &Assembly, name: &str) -> Result<Made> {
        let mut recipients = assembly.settings.archive.recipients.clone();
        let (signer, signer_file) = match self.signer.exists() {
            true => (read_signer(&self.signer)?, None),
            false => {
                let signer = new_signer(name, &assembly.ambient)?;
                files::create_private(&self.signer, format!("{}\n", signer.encode().as_str()).as_bytes())?;
                (signer, Some(self.signer))
            }
        };
        let mut identity = None;
        if self.makes_identity {
            let new = generate(assembly.ambient.now());
            files::create_private(&self.identity, new.file.as_bytes())?;
            recipients.insert(0, new.recipient);
            identity = Some(self.identity);
        }
        Ok(Made { recipients, verifier: signer.verifier().to_string(), identity, signer: signer_file })
    }
}

/// The settings with what was made. Key files are named relative to the settings file.
fn complete(settings: &Settings, made: &Made) -> Settings {
    let mut settings = settings.clone();
    let short = |path: &PathBuf| path.file_name().map_or_else(|| path.clone(), PathBuf::from);
    settings.archive.recipients = made.recipients.clone();
    if !settings.archive.verifiers.contains(&made.verifier) {
        settings.archive.verifiers.push(made.verifier.clone());
    }
    if settings.archive.signer.is_none() {
        settings.archive.signer = made.signer.as_ref().map(short).or(Some(SIGNER.into()));
    }
    if settings.archive.identities.is_empty() {
        settings.archive.identities = made.identity.iter().map(short).collect();
    }
    settings
}

/// Adds what was made to a settings file that lacks it, and leaves the rest of it, comments included, as it is.
fn amend(file: &Path, settings: &Settings, made: &Made) -> Result<()> {
    let complete = complete(settings, made);
    if complete == *settings {
        return Ok(());
    }
    let text = files::read(file, 1 << 20)?;
    let unreadable =
        |error: &dyn std::fmt::Display| Error::usage(format!("couldn't amend {}: {error}", file.display()));
    let text = String::from_utf8(text).map_err(|error| unreadable(&error))?;
    let mut document: toml_edit::DocumentMut =
        text.parse().map_err(|error: toml_edit::TomlError| unreadable(&error))?;
    let table = document
        .entry("archive")
        .or_insert(toml_edit::table())
        .as_table_like_mut()
        .ok_or_else(|| unreadable(&"[archive] is no table"))?;
    let list = |items: &[String]| toml_edit::value(items.iter().collect::<toml_edit::Array>());
    let text = |path: &Path| toml_edit::value(path.to_string_lossy().into_owned());
    if complete.archive.recipients != settings.archive.recipients {
        table.insert("recipients", list(&complete.archive.recipients));
    }
    if complete.archive.verifiers != settings.archive.verifiers {
        table.insert("verifiers", list(&complete.archive.verifiers));
    }
    if let (Some(signer), None) = (&complete.archive.signer, &settings.archive.signer) {
        table.insert("signer", text(signer));
    }
    if let ([identity], []) = (complete.archive.identities.as_slice(), settings.archive.identities.as_slice()) {
        table.insert("identity", text(identity));
    }
    files::replace(file, document.to_string().as_bytes())
}

fn told(assembly: &Assembly, file: &Path, id: &str, created: bool, made: &Made) -> String {
    let place = match &assembly.settings.archive.store {
        Store::Container { url, .. } => url.to_string(),
        Store::Directory { path, .. } => path.display().to_string(),
        Store::Nowhere => String::new(),
    };
    let verb = if created { "Created" } else { "Found" };
    let mut text = format!("{verb} archive {id} in {place}.\n");
    text.push_str(&format!("Settings:  {}\n", file.display()));
    if let Some(path) = &made.signer {
        text.push_str(&format!(
            "Signer:    {} signs the log; the nightly job needs it. Its verifier is pinned in the settings.\n",
            path.display()
        ));
    }
    if let Some(path) = &made.identity {
        text.push_str(&format!(
            "Identity:  {} opens captures. The nightly job does not need it: move it to where only a restore is done.\n",
            path.display()
        ));
    }
    text.push_str(match assembly.settings.check_vaults() {
        Ok(()) => "Next:      akv-archiver doctor, then akv-archiver snapshot\n",
        Err(_) => {
            "Next:      add a [[vault]] or a [[discover]] to the settings, which name no vault yet; then akv-archiver doctor\n"
        }
    });
    text
}
