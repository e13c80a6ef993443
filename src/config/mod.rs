//! Settings: `akv-archiver.toml` and the environment, read once into types that cannot be wrong. Knows names, paths and
//! addresses; opens no store, no vault and no key. docs/SETTINGS.md describes every field for users.
//!
//! The environment comes in as a map and files are read in one place, so that everything here can be tested. No secret
//! stands in settings: they name an environment variable or a file ([`Secret`]).

mod address;
mod check;
mod environment;
mod file;
mod secret;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

pub use address::{ContainerUrl, Endpoint, ProxyUrl};
pub use environment::PREFIX;
pub use secret::Secret;
pub use template::template;

use crate::error::{Error, Result};
use crate::located::Source;
use crate::model::{Geography, VaultChoice, VaultUri};
use crate::policy::Choice;

/// The file that is looked for in the working directory.
pub const FILE_NAME: &str = "akv-archiver.toml";

/// All settings, checked. Paths are absolute if the working directory was.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How to reach Azure.
    pub network: Network,
    /// Where archives are, and whose they are.
    pub archive: Archive,
    /// The vaults, in the order of the file; none where archives are only read.
    pub vaults: Vec<Vault>,
    /// Which further vaults to look for.
    pub discover: Vec<Discover>,
    /// How snapshots are taken.
    pub capture: Capture,
    /// Geographies of regions, by plain name, that go before what Azure and the built-in table say.
    pub geography: BTreeMap<String, Geography>,
    /// How objects are brought back.
    pub restore: Restore,
    /// Who signs reports of what was verified, and who is believed.
    pub verify: Verify,
}

/// How to reach Azure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// A proxy for all requests.
    pub proxy: Option<ProxyUrl>,
    /// Further certificate authorities to trust, PEM.
    pub ca_file: Option<PathBuf>,
    /// Which cloud.
    pub cloud: Cloud,
}

/// A cloud: its endpoints for login and management. Vaults and containers bring their own addresses.
#[derive(Clone, Debug, PartialEq)]
pub enum Cloud {
    /// One of Microsoft's.
    Known(CloudName),
    /// Another, by its endpoints.
    Custom {
        /// Where tokens are issued.
        authority: Endpoint,
        /// Azure Resource Manager.
        management: Endpoint,
    },
}

impl Default for Cloud {
    fn default() -> Self {
        Cloud::Known(CloudName::Public)
    }
}

impl Cloud {
    /// Where tokens are issued, such as `https://login.microsoftonline.com`.
    pub fn authority(&self) -> &str {
        match self {
            Cloud::Known(CloudName::Public) => "https://login.microsoftonline.com",
            Cloud::Known(CloudName::UsGovernment) => "https://login.microsoftonline.us",
            Cloud::Known(CloudName::China) => "https://login.chinacloudapi.cn",
            Cloud::Custom { authority, .. } => authority.as_str(),
        }
    }

    /// Azure Resource Manager, such as `https://management.azure.com`; also the audience of its tokens.
    pub fn management(&self) -> &str {
        match self {
            Cloud::Known(CloudName::Public) => "https://management.azure.com",
            Cloud::Known(CloudName::UsGovernment) => "https://management.usgovcloudapi.net",
            Cloud::Known(CloudName::China) => "https://management.chinacloudapi.cn",
            Cloud::Custom { management, .. } => management.as_str(),
        }
    }
}

/// Microsoft's clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloudName {
    /// Azure.
    Public,
    /// Azure Government.
    UsGovernment,
    /// Azure operated by 21Vianet.
    China,
}

impl CloudName {
    /// The name in settings.
    pub fn name(self) -> &'static str {
        match self {
            CloudName::Public => "public",
            CloudName::UsGovernment => "us-government",
            CloudName::China => "china",
        }
    }
}

/// Who signs reports of what was verified, and who is believed. Not the log's signer: whoever writes an archive does not
/// say of it that it holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verify {
    /// The report signer's key file; needed to write reports.
    pub signer: Option<PathBuf>,
    /// C2SP verifier keys, pinned; needed to start from reports.
    pub verifiers: Vec<String>,
}

/// Where archives are, and whose they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Archive {
    /// The store.
    pub store: Store,
    /// age recipients as written; at least one to take snapshots.
    pub recipients: Vec<String>,
    /// The log signer's key file; needed to write.
    pub signer: Option<PathBuf>,
    /// C2SP verifier keys, pinned.
    pub verifiers: Vec<String>,
    /// age identity files, where archives are opened.
    pub identities: Vec<PathBuf>,
    /// The passphrase of identity files, where nobody can be asked.
    pub identity_passphrase: Option<Secret>,
}

/// Where the archive's files are.
#[derive(Clone, Debug, PartialEq)]
pub enum Store {
    /// A blob container.
    Container {
        /// Its address.
        url: ContainerUrl,
        /// Whoever the archiver is there.
        credential: Credential,
        /// Whether a container without WORM is an error.
        worm: Worm,
        /// The storage account's resource id, which spares a search when the lock is read.
        resource_id: Option<String>,
    },
    /// A local directory.
    Directory {
        /// Its path.
        path: PathBuf,
        /// Whether other users may read it.
        shared: bool,
    },
    /// The settings name none, and whoever read them can do without.
    Nowhere,
}

/// What a missing WORM protection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Worm {
    /// An error.
    Required,
    /// A note.
    Optional,
}

/// A vault to take snapshots of.
#[derive(Clone, Debug, PartialEq)]
pub struct Vault {
    /// Its name on the command line; by default its name in Azure.
    pub name: String,
    /// Its address.
    pub uri: VaultUri,
    /// Whoever the archiver is there.
    pub credential: Credential,
    /// Its resource id, which spares a search.
    pub resource_id: Option<String>,
    /// A policy of its own, instead of [`Capture::policy`].
    pub policy: Option<Choice>,
}

/// Vaults that are looked for at each run, beside those that are named.
#[derive(Clone, Debug, PartialEq)]
pub struct Discover {
    /// Which ones, of those that the identity sees.
    pub choice: VaultChoice,
    /// Whoever the archiver is there: for the search, and for the vaults found.
    pub credential: Credential,
}

/// How the archiver proves to Entra ID who it is. Chosen by settings alone: nothing is tried one after the other.
#[derive(Clone, Debug, PartialEq)]
pub enum Credential {
    /// The managed identity of the machine, the container or the function.
    ManagedIdentity {
        /// Which of several user-assigned ones; the system-assigned one otherwise.
        client_id: Option<String>,
    },
    /// An application and its secret.
    ClientSecret {
        /// The tenant.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// Its secret.
        secret: Secret,
    },
    /// An application and a token of another issuer that it trusts, as in a pipeline.
    ClientAssertion {
        /// The tenant.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// A file with the other issuer's token, read anew for each request.
        assertion_file: PathBuf,
    },
    /// Workload identity of Azure Kubernetes Service; what is absent comes from the variables that the service sets.
    WorkloadIdentity {
        /// The tenant.
        tenant_id: Option<String>,
        /// The application.
        client_id: Option<String>,
        /// The service account's token.
        token_file: Option<PathBuf>,
    },
    /// Whoever is logged in to the Azure CLI.
    AzureCli {
        /// The tenant.
        tenant_id: Option<String>,
    },
}

/// How snapshots are taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Capture {
    /// What is taken, how often, and what the archive must promise.
    pub policy: Choice,
    /// Requests to one vault at the same time, 1 to 256.
    pub max_in_flight: u16,
    /// The share of the documented request limits, of a vault and of its subscription, that is used at most, above 0 and
    /// at most 1.
    pub share: f64,
    /// Whether the documented limits are heeded at all.
    pub limits: Limits,
    /// Vaults at the same time, 1 to 64. No part of the policy: it changes nothing in any archive.
    pub vaults_in_flight: u16,
}

/// Which request limits are heeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limits {
    /// Azure's.
    #[default]
    Documented,
    /// None, as on an emulator of one's own: every request goes out at once.
    None,
}

impl Default for Capture {
    fn default() -> Self {
        Capture {
            policy: Choice::default(),
            max_in_flight: 16,
            share: 0.25,
            limits: Limits::Documented,
            vaults_in_flight: 4,
        }
    }
}

/// How objects are brought back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// How long one object that is being deleted, purged or recovered is waited for.
    pub wait: Duration,
}

impl Default for Restore {
    fn default() -> Self {
        // Recorded on Azure: up to 204 s (`azure.md` §1.6).
        Restore { wait: Duration::from_secs(600) }
    }
}

impl Settings {
    /// Reads settings from `path`, or from [`FILE_NAME`] in `cwd`, or from the environment alone.
    ///
    /// Relative paths are relative to the file that names them; in the environment, to `cwd`, which should be absolute.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`], with file, line and column, or with the variable's name.
    pub fn load(path: Option<&Path>, cwd: &Path, env: &BTreeMap<String, String>) -> Result<Self> {
        Settings::read(path, cwd, env, true)
    }

    /// The same for what can do without an archive, such as opening a capture, or restoring one that somebody brought in a
    /// file: [`Store::Nowhere`] where none is named.
    pub fn load_perhaps_without_archive(
        path: Option<&Path>,
        cwd: &Path,
        env: &BTreeMap<String, String>,
    ) -> Result<Self> {
        Settings::read(path, cwd, env, false)
    }

    fn read(path: Option<&Path>, cwd: &Path, env: &BTreeMap<String, String>, archive: bool) -> Result<Self> {
        let found = match path {
            Some(path) => Some(cwd.join(path)),
            None => Some(cwd.join(FILE_NAME)).filter(|path| path.exists()),
        };
        let mut source = None;
        if let Some(path) = &found {
            let file = Source::read(path, file::LIMIT)
                .map_err(|error| error.hint("`akv-archiver init` makes one; --config names another"))?;
            source = Some((file, path.parent().unwrap_or(cwd)));
        } else if !env.keys().any(|name| name.starts_with(PREFIX)) {
            return Err(Error::usage(format!("there are no settings: no {FILE_NAME} in {}", cwd.display()))
                .hint("`akv-archiver init` makes one; --config names another; the environment can replace it"));
        }
        Settings::understand(source, cwd, env, archive)
    }

    /// Settings from a text, called `origin` in messages; paths in it are relative to `base`.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn parse(origin: &str, text: &str, base: &Path, env: &BTreeMap<String, String>) -> Result<Self> {
        Settings::understand(Some((Source::new(origin, text), base)), base, env, true)
    }

    fn understand(
        source: Option<(Source, &Path)>,
        cwd: &Path,
        env: &BTreeMap<String, String>,
        archive: bool,
    ) -> Result<Self> {
        let mut raw = file::Raw::default();
        if let Some((file, base)) = &source {
            raw = file.parse().map_err(hinted)?;
            raw.resolve(base);
        }
        environment::apply(&mut raw, env, cwd)?;
        check::settings(raw, env, archive).map_err(|complaint| {
            let at: Vec<&str> = complaint.at.iter().map(String::as_str).collect();
            let place = source.as_ref().map_or_else(|| "environment: ".to_owned(), |(source, _)| source.locate(&at));
            Error::usage(format!("{place}{}", complaint.message)).hint(complaint.hint)
        })
    }

    /// The policy that is chosen for a vault.
    pub fn policy(&self, vault: &VaultUri) -> &Choice {
        let known = self.vaults.iter().find(|known| known.uri == *vault);
        known.and_then(|vault| vault.policy.as_ref()).unwrap_or(&self.capture.policy)
    }

    /// The policies that are chosen: those of the vaults, or the one that vaults would have.
    pub fn policies(&self) -> BTreeSet<&Choice> {
        let chosen = self.vaults.iter().map(|vault| vault.policy.as_ref().unwrap_or(&self.capture.policy));
        let mut chosen: BTreeSet<&Choice> = chosen.collect();
        if chosen.is_empty() {
            chosen.insert(&self.capture.policy);
        }
        chosen
    }

    /// What is allowed, and unwise.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.archive.recipients.len() == 1 {
            warnings.push(
                "there is one recipient: whoever loses its identity loses the archive; add a second, kept elsewhere"
                    .to_owned(),
            );
        }
        if let Store::Container { worm: Worm::Optional, .. } = self.archive.store {
            warnings.push("worm = \"optional\": archives may lie where they can be deleted".to_owned());
        }
        if self.archive.verifiers.is_empty() {
            warnings.push("no verifier is pinned: a forged log could not be told from a true one".to_owned());
        }
        warnings
    }

    /// Checks what only a snapshot needs: a vault or where to look for some, a recipient, the signer.
    pub fn check_snapshot(&self) -> Result<()> {
        self.check_vaults()?;
        let missing = |what: &str, hint: &str| Err(Error::usage(format!("the settings name no {what}")).hint(hint));
        if self.archive.recipients.is_empty() {
            return missing("recipient", "set `recipients` in [archive] to at least one age recipient, better two");
        }
        if self.archive.signer.is_none() {
            return missing("signer", "set `signer` in [archive] to the log signer's key file, which `init` makes");
        }
        Ok(())
    }

    /// Checks that there is a vault, or where to look for some.
    pub fn check_vaults(&self) -> Result<()> {
        match self.vaults.is_empty() && self.discover.is_empty() {
            true => Err(Error::usage("the settings name no vault").hint(
                "add a [[vault]] with `uri` and `credential`, or a [[discover]] with `credential`, which looks for vaults",
            )),
            false => Ok(()),
        }
    }
}

/// Fields that stood in `[capture]` once, and are a policy's now. A file that has one would otherwise be without effect,
/// and without a word on where to go.
const MOVED: [&str; 3] = ["recapture_every", "full_every", "protection_min"];

const MOVED_HINT: &str =
    "it is a policy's now: `policy = \"FILE.toml\"` in [capture] names one, and docs/POLICIES.md tells how to write it";

fn hinted(error: Error) -> Error {
    let moved = MOVED.iter().any(|field| error.message().contains(&format!("unknown field `{field}`")));
    error.hint(if moved { MOVED_HINT } else { check::DOCS })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const WHOLE: &str = r#"
[network]
proxy = "http://127.0.0.1:8443"
ca_file = "ca.pem"
[archive]
container = "https://archive.blob.core.windows.net/vaults"
recipients = ["age1one", "age1two"]
signer = "signer.key"
verifiers = ["akv-archiver/log+12345678+AAAA"]
identity = "identity.txt"
credential = { kind = "client-secret", tenant_id = "t", client_id = "c", client_secret_env = "ARCHIVE_SECRET" }
[[vault]]
name = "prod"
uri = "https://prod.vault.azure.net"
credential = { kind = "managed-identity" }
[capture]
policy = "regulated"
"#;

    /// A vault that may follow any archive.
    const DIRECTORY: &str = "[archive]\ndirectory = \"/mnt/archive\"\n";

    struct Place(tempfile::TempDir);

    impl Place {
        fn with(text: &str) -> Self {
            let place = Place(tempfile::tempdir().unwrap());
            std::fs::write(place.0.path().join(FILE_NAME), text).unwrap();
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn load(&self, env: &[(&str, &str)]) -> Result<Settings> {
            Settings::load(None, self.0.path(), &map(env))
        }

        /// The message, with the folder's path left out.
        fn error(&self, env: &[(&str, &str)]) -> String {
            let error = self.load(env).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.hint_text().is_some(), "{error}");
            error.message().replace(&format!("{}/", self.0.path().display()), "")
        }
    }

    fn map(env: &[(&str, &str)]) -> BTreeMap<String, String> {
        env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn error(text: &str) -> String {
        Place::with(text).error(&[])
    }

    #[test]
    fn a_whole_file_becomes_settings() {
        let place = Place::with(WHOLE);
        let settings = place.load(&[("ARCHIVE_SECRET", "hunter2")]).unwrap();
        assert_eq!(settings.network.proxy.as_ref().unwrap().as_str(), "http://127.0.0.1:8443");
        assert_eq!(settings.network.ca_file, Some(place.path("ca.pem")));
        assert_eq!(settings.network.cloud.authority(), "https://login.microsoftonline.com");
        assert_eq!(settings.archive.signer, Some(place.path("signer.key")));
        assert_eq!(settings.archive.identities, [place.path("identity.txt")]);
        let Store::Container { url, credential, worm, resource_id } = &settings.archive.store else { panic!() };
        assert_eq!((url.name(), *worm, resource_id), ("vaults", Worm::Required, &None));
        let Credential::ClientSecret { secret, .. } = credential else { panic!() };
        assert_eq!(*secret.read().unwrap(), "hunter2");
        assert_eq!(settings.vaults[0].uri.as_str(), "https://prod.vault.azure.net");
        assert_eq!(settings.vaults[0].credential, Credential::ManagedIdentity { client_id: None });
        assert_eq!(settings.capture.policy, Choice::BuiltIn("regulated"));
        assert_eq!(settings.warnings(), Vec::<String>::new());
        settings.check_snapshot().unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn a_job_for_one_vault_needs_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let env = map(&[
            ("AKV_ARCHIVER__ARCHIVE__CONTAINER", "https://archive.blob.core.windows.net/vaults"),
            ("AKV_ARCHIVER__ARCHIVE__CREDENTIAL__KIND", "workload-identity"),
            ("AKV_ARCHIVER__ARCHIVE__RECIPIENTS", "age1one, age1two"),
            ("AKV_ARCHIVER__ARCHIVE__SIGNER", "signer.key"),
            ("AKV_ARCHIVER__VAULT__URI", "https://prod.vault.azure.net"),
            ("AKV_ARCHIVER__VAULT__CREDENTIAL__CLIENT_ID", "c"),
            ("AKV_ARCHIVER__VAULT__CREDENTIAL__KIND", "managed-identity"),
            ("AKV_ARCHIVER_LOG", "debug"),
        ]);
        let settings = Settings::load(None, folder.path(), &env).unwrap();
        settings.check_snapshot().unwrap();
        assert_eq!(settings.archive.recipients, ["age1one", "age1two"]);
        assert_eq!(settings.archive.signer, Some(folder.path().join("signer.key")));
        assert_eq!(settings.vaults[0].name, "prod");
        assert_eq!(settings.vaults[0].credential, Credential::ManagedIdentity { client_id: Some("c".into()) });

        let error = Settings::load(None, folder.path(), &map(&[(PREFIX, "")])).unwrap_err();
        assert_eq!(error.message(), "AKV_ARCHIVER__: is set, and empty: unset it, or give it a value");
        let error = Settings::load(None, folder.path(), &BTreeMap::new()).unwrap_err();
        assert!(error.message().starts_with("there are no settings: no akv-archiver.toml in /"), "{error}");
        let error = Settings::load(Some(Path::new("no.toml")), folder.path(), &env).unwrap_err();
        assert!(error.message().starts_with("couldn't read /") && error.message().contains("/no.toml: "), "{error}");
        let error = Settings::load(None, folder.path(), &map(&[("AKV_ARCHIVER__VAULT__NAME", "a")])).unwrap_err();
        assert_eq!(error.message(), "environment: [archive] needs `container` or `directory`");
    }

    #[test]
    fn the_environment_wins_and_a_kind_replaces_a_credential_whole() {
        let place = Place::with(WHOLE);
        let settings = place
            .load(&[
                ("AKV_ARCHIVER__ARCHIVE__CREDENTIAL__KIND", "azure-cli"),
                ("AKV_ARCHIVER__ARCHIVE__IDENTITY__0", "a.txt"),
                ("AKV_ARCHIVER__ARCHIVE__IDENTITY__1", "/b.txt"),
                ("AKV_ARCHIVER__VAULT__0__NAME", "first"),
                ("AKV_ARCHIVER__VAULT__1__URI", "https://second.vault.azure.net"),
                ("AKV_ARCHIVER__VAULT__1__CREDENTIAL__KIND", "azure-cli"),
                ("AKV_ARCHIVER__CAPTURE__MAX_IN_FLIGHT", "4"),
            ])
            .unwrap();
        let Store::Container { credential, .. } = settings.archive.store else { panic!() };
        assert_eq!(credential, Credential::AzureCli { tenant_id: None });
        assert_eq!(settings.archive.identities, [place.path("a.txt"), PathBuf::from("/b.txt")]);
        let names: Vec<_> = settings.vaults.iter().map(|vault| vault.name.as_str()).collect();
        assert_eq!((names, settings.capture.max_in_flight), (vec!["first", "second"], 4));
    }

    #[test]
    fn lists_of_more_than_ten_keep_their_order() {
        let recipients: Vec<(String, String)> =
            (0..12).map(|n| (format!("{PREFIX}ARCHIVE__RECIPIENTS__{n}"), format!("age1{n}"))).collect();
        let env: Vec<(&str, &str)> = recipients.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let settings = Place::with(WHOLE).load(&env).unwrap();
        assert_eq!(settings.archive.recipients, (0..12).map(|n| format!("age1{n}")).collect::<Vec<_>>());
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let place = Place::with(WHOLE);
        let many = Place::with(&format!(
            "{WHOLE}\n[[vault]]\nuri = \"https://b.vault.azure.net\"\ncredential = {{ kind = \"azure-cli\" }}\n"
        ));
        for (env, expected) in [
            (&[("AKV_ARCHIVER__ARCHIVE__CONTANER", "x")][..], "AKV_ARCHIVER__ARCHIVE__CONTANER: is not a setting"),
            (
                &[("AKV_ARCHIVER__ARCHIVE__SHARED", "yes")],
                "AKV_ARCHIVER__ARCHIVE__SHARED: \"yes\" is neither true nor false",
            ),
            (
                &[("AKV_ARCHIVER__NETWORK__CLOUD", "mars")],
                "AKV_ARCHIVER__NETWORK__CLOUD: unknown variant `mars`, expected one of `public`, `us-government`, `china`",
            ),
            (&[("AKV_ARCHIVER__VAULT__2__NAME", "x")], "AKV_ARCHIVER__VAULT__2__NAME: there is no vault 1 before it"),
            (
                &[("AKV_ARCHIVER__ARCHIVE__RECIPIENTS__1", "x")],
                "AKV_ARCHIVER__ARCHIVE__RECIPIENTS__1: AKV_ARCHIVER__ARCHIVE__RECIPIENTS__0 is not set",
            ),
            (
                &[("AKV_ARCHIVER__ARCHIVE__RECIPIENTS", "x"), ("AKV_ARCHIVER__ARCHIVE__RECIPIENTS__0", "y")],
                "AKV_ARCHIVER__ARCHIVE__RECIPIENTS__0: AKV_ARCHIVER__ARCHIVE__RECIPIENTS is set as well: use one or the other",
            ),
            (&[("AKV_ARCHIVER__ARCHIVE__RECIPIENTS", "x,,y")], "AKV_ARCHIVER__ARCHIVE__RECIPIENTS: has an empty item"),
        ] {
            assert_eq!(place.error(env), expected);
        }
        let expected = "AKV_ARCHIVER__VAULT__NAME: there are 2 vaults: say which, as in AKV_ARCHIVER__VAULT__0__NAME";
        assert_eq!(many.error(&[("AKV_ARCHIVER__VAULT__NAME", "x")]), expected);
    }

    #[test]
    fn a_wrong_field_is_found_by_line_and_column() {
        for (text, expected) in [
            (
                "[archive]\ncontaner = \"x\"\n",
                "akv-archiver.toml:2:1: unknown field `contaner`, expected one of `container`, `directory`, `shared`, `worm`, `resource_id`, `credential`, `recipients`, `recipients_file`, `signer`, `verifiers`, `identity`, `identity_passphrase_env`, `identity_passphrase_file`",
            ),
            ("[archive]\n  shared = 1\n", "akv-archiver.toml:2:12: invalid type: integer `1`, expected a boolean"),
            (
                "[archive]\nrecipients = \"SECRET\"\n",
                "akv-archiver.toml:2:14: invalid type: a string, expected a sequence",
            ),
            ("[archive]\nidentity = 5\n", "akv-archiver.toml:2:12: expected a path or a list of paths"),
            ("[archive\n", "akv-archiver.toml:1:9: unclosed table, expected `]`"),
            (
                "[[vault]]\nuri = \"prod\"\n",
                "akv-archiver.toml:2:7: \"prod\" is not a vault address such as https://NAME.vault.azure.net",
            ),
            (
                "[[vault]]\nname = \"ä b\"\n",
                "akv-archiver.toml:2:8: \"ä b\" is not a vault's name in settings: 1 to 64 letters, digits, `.`, `_` and `-`",
            ),
            (
                "# ä\n[capture]\npolicy = \"regulatd\"\n",
                "akv-archiver.toml:3:10: there is no policy \"regulatd\": default and regulated come with the program, and a file's name has a `/` or ends in `.toml`",
            ),
            ("[capture]\nmax_in_flight = 0\n", "akv-archiver.toml:2:17: 0 is not between 1 and 256"),
            (
                "[archive]\ncontainer = \"https://a.b/vaults?sig=SECRET\"\n",
                "akv-archiver.toml:2:13: the container's address has a query: shared access signatures are not accepted, give a `credential` instead",
            ),
            (
                "[archive]\nresource_id = \"x\"\n",
                "akv-archiver.toml:2:15: \"x\" is not a resource id such as /subscriptions/…/resourceGroups/…/providers/…",
            ),
        ] {
            assert_eq!(error(text), expected);
        }
    }

    #[test]
    fn what_does_not_belong_together_is_found_too() {
        let vault = |credential: &str| {
            format!("{DIRECTORY}[[vault]]\nuri = \"https://a.vault.azure.net\"\ncredential = {credential}\n")
        };
        for (text, expected) in [
            (String::new(), "akv-archiver.toml: [archive] needs `container` or `directory`"),
            ("[archive]\nsigner = \"s\"\n".into(), "akv-archiver.toml:1:2: [archive] needs `container` or `directory`"),
            (
                format!("{DIRECTORY}container = \"https://a.b/vaults\"\n"),
                "akv-archiver.toml:1:2: `container` and `directory` exclude each other",
            ),
            (
                format!("{DIRECTORY}worm = \"required\"\n"),
                "akv-archiver.toml:3:1: a directory has no WORM protection, and `worm` is \"required\"",
            ),
            (
                format!("{DIRECTORY}credential = {{ kind = \"azure-cli\" }}\n"),
                "akv-archiver.toml:3:1: `credential` has no meaning for a directory",
            ),
            (
                "[archive]\ncontainer = \"https://a.b/vaults\"\n".into(),
                "akv-archiver.toml:1:2: [archive] needs `credential`",
            ),
            (format!("{DIRECTORY}[[vault]]\nname = \"a\"\n"), "akv-archiver.toml:3:1: a [[vault]] needs `uri`"),
            (vault("{}"), "akv-archiver.toml:5:1: credential of vault \"a\": it needs `kind`"),
            (
                vault("{ kind = \"password\" }"),
                "akv-archiver.toml:5:16: credential of vault \"a\": there is no kind \"password\"",
            ),
            (
                vault("{ kind = \"client-secret\", tenant_id = \"t\", client_secret_env = \"S\" }"),
                "akv-archiver.toml:5:1: credential of vault \"a\": kind \"client-secret\" needs `client_id`",
            ),
            (
                vault("{ kind = \"client-secret\", tenant_id = \"t\", client_id = \"c\" }"),
                "akv-archiver.toml:5:1: credential of vault \"a\": it needs exactly one of `client_secret_env` and `client_secret_file`",
            ),
            (
                vault("{ kind = \"client-secret\", client_secret = \"hunter2\" }"),
                "akv-archiver.toml:5:40: credential of vault \"a\": a secret must not stand in settings",
            ),
            (
                vault("{ kind = \"azure-cli\", clientid = \"c\" }"),
                "akv-archiver.toml:5:36: credential of vault \"a\": kind \"azure-cli\" has no `clientid`",
            ),
            (
                vault(
                    "{ kind = \"azure-cli\" }\n[[vault]]\nuri = \"https://a.vault.azure.cn\"\ncredential = { kind = \"azure-cli\" }",
                ),
                "akv-archiver.toml:6:1: there are two vaults named \"a\"",
            ),
            (
                vault(
                    "{ kind = \"azure-cli\" }\n[[vault]]\nname = \"b\"\nuri = \"https://a.vault.azure.net/\"\ncredential = { kind = \"azure-cli\" }",
                ),
                "akv-archiver.toml:6:1: the vault https://a.vault.azure.net is given twice",
            ),
            (
                format!("[network]\ncloud = \"china\"\nendpoints = {{ authority = \"https://a.b\" }}\n{DIRECTORY}"),
                "akv-archiver.toml:3:1: `cloud` and `endpoints` exclude each other",
            ),
        ] {
            assert_eq!(error(&text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let place = Place::with("");
        std::fs::write(place.path(FILE_NAME), b"# ok\n# \xff\n").unwrap();
        assert!(place.load(&[]).unwrap_err().message().ends_with("line 2, column 3 is not UTF-8"));
        std::fs::write(place.path(FILE_NAME), vec![b'#'; (1 << 20) + 1]).unwrap();
        assert!(place.load(&[]).unwrap_err().message().ends_with("it is larger than 1 MiB"));
    }

    #[test]
    fn recipients_may_stand_in_a_file_of_their_own() {
        let place = Place::with(&format!("{DIRECTORY}recipients = [\"age1a\"]\nrecipients_file = \"r.txt\"\n"));
        assert!(place.error(&[]).starts_with("akv-archiver.toml:4:1: couldn't read r.txt: "));
        std::fs::write(place.path("r.txt"), "# ours\n\nage1b\r\n  age1c\n").unwrap();
        assert_eq!(place.load(&[]).unwrap().archive.recipients, ["age1a", "age1b", "age1c"]);
    }

    #[test]
    fn what_is_unwise_is_a_warning_and_what_a_snapshot_lacks_an_error() {
        let place = Place::with(
            "[archive]\ncontainer = \"https://a.b/vaults\"\nrecipients = [\"age1a\"]\nworm = \"optional\"\ncredential = { kind = \"azure-cli\" }\n",
        );
        let mut settings = place.load(&[]).unwrap();
        assert_eq!(settings.warnings().len(), 3);
        let lacks = |settings: &Settings| settings.check_snapshot().unwrap_err().message().to_owned();
        assert_eq!(lacks(&settings), "the settings name no vault");
        settings.vaults = Place::with(WHOLE).load(&[]).unwrap().vaults;
        assert_eq!(lacks(&settings), "the settings name no signer");
        settings.archive.recipients.clear();
        assert_eq!(lacks(&settings), "the settings name no recipient");
    }

    #[test]
    fn vaults_may_be_looked_for() {
        const RULE: &str = "[archive]\ndirectory = \"/mnt/archive\"\n[[discover]]\n";
        let id = "11111111-1111-1111-1111-111111111111";
        let place = Place::with(&format!(
            "{RULE}subscriptions = [\"{id}\"]\ntags = {{ env = \"prod\" }}\ninclude = [\"prod-*\"]\nexclude = [\"*-x\"]\n\
             credential = {{ kind = \"azure-cli\" }}\n[capture]\nvaults_in_flight = 64\n"
        ));
        let settings = place.load(&[]).unwrap();
        let choice = &settings.discover[0].choice;
        assert_eq!((choice.subscriptions[0].as_str(), choice.tags[0].to_string().as_str()), (id, "env=prod"));
        assert!(choice.admits_name("prod-a") && !choice.admits_name("prod-x"));
        assert_eq!(settings.capture.vaults_in_flight, 64);
        settings.check_vaults().unwrap();

        // The environment replaces a list, and can do without the file.
        let env = [
            ("AKV_ARCHIVER__DISCOVER__0__TAGS", "team=web,tier="),
            ("AKV_ARCHIVER__DISCOVER__0__INCLUDE__0", "a*"),
            ("AKV_ARCHIVER__DISCOVER__0__INCLUDE__1", "b*"),
            ("AKV_ARCHIVER__DISCOVER__1__CREDENTIAL__KIND", "managed-identity"),
        ];
        let settings = place.load(&env).unwrap();
        assert_eq!(format!("{:?}", settings.discover[0].choice.tags), "[team=web, tier=]");
        assert_eq!(format!("{:?}", settings.discover[0].choice.include), "[a*, b*]");
        assert_eq!(settings.discover[1].choice, VaultChoice::default());

        for (field, expected) in [
            ("subscriptions = [\"Production\"]", "4:17: \"Production\" is no subscription id: 32 hexadecimal digits"),
            ("include = [\"a/b\"]", "4:11: \"a/b\" is no pattern"),
            ("tags = { \"\" = \"x\" }", "4:8: \"\" is no tag"),
            ("policy_of = \"x\"", "4:1: unknown field `policy_of`"),
            ("", "3:1: [[discover]] needs `credential`"),
        ] {
            let message = error(&format!("{RULE}{field}\n"));
            assert!(message.starts_with(&format!("akv-archiver.toml:{expected}")), "{message}");
        }
        let message = error("[archive]\ndirectory = \"/mnt/archive\"\n[capture]\nvaults_in_flight = 0\n");
        assert_eq!(message, "akv-archiver.toml:4:20: 0 is not between 1 and 64");
    }

    #[test]
    fn a_policy_is_chosen_for_all_vaults_or_for_one() {
        let second = "[[vault]]\nuri = \"https://b.vault.azure.net\"\npolicy = \"own/policy.toml\"\ncredential = { kind = \"azure-cli\" }\n";
        let place = Place::with(&WHOLE.replace("[capture]", &format!("{second}[capture]")));
        let settings = place.load(&[]).unwrap();
        let of = |host: &str| settings.policy(&VaultUri::parse(&format!("https://{host}")).unwrap()).clone();
        assert_eq!(of("prod.vault.azure.net"), Choice::BuiltIn("regulated"));
        assert_eq!(of("unknown.vault.azure.net"), Choice::BuiltIn("regulated"));
        assert_eq!(of("b.vault.azure.net"), Choice::File(place.path("own/policy.toml")));
        let settings = place
            .load(&[("AKV_ARCHIVER__CAPTURE__POLICY", "p.toml"), ("AKV_ARCHIVER__VAULT__1__POLICY", "default")])
            .unwrap();
        assert_eq!(settings.capture.policy, Choice::File(place.path("p.toml")));
        assert_eq!(settings.vaults[1].policy, Some(Choice::BuiltIn("default")));
    }

    #[test]
    fn geographies_of_regions_may_be_given() {
        let text = format!("{DIRECTORY}[geography]\n\"West Europe\" = \"Mine\"\natlantis = \"Ocean\"\n");
        let env = [("AKV_ARCHIVER__GEOGRAPHY__ATLANTIS", "Sea"), ("AKV_ARCHIVER__GEOGRAPHY__EASTUS", "America")];
        let settings = Place::with(&text).load(&env).unwrap();
        let found: Vec<(&str, &str)> =
            settings.geography.iter().map(|(region, name)| (region.as_str(), name.0.as_str())).collect();
        assert_eq!(found, [("atlantis", "Sea"), ("eastus", "America"), ("westeurope", "Mine")]);
        for (table, expected) in [
            ("west-europe = \"Europe\"", "\"west-europe\" is no region: letters and digits, such as westeurope"),
            ("atlantis = \" \"", "\" \" is no geography's name: 1 to 64 characters, such as Europe"),
            (
                "westeurope = \"a\"\n\"West Europe\" = \"a\"",
                "the region \"westeurope\" is there twice, in two spellings",
            ),
            ("atlantis = 1", "invalid type: integer `1`, expected a string"),
        ] {
            let told = error(&format!("[geography]\n{table}\n"));
            assert!(told.starts_with("akv-archiver.toml:") && told.ends_with(expected), "{told}");
        }
        let told = Place::with(DIRECTORY).error(&[("AKV_ARCHIVER__GEOGRAPHY__WEST_EUROPE", "Europe")]);
        assert!(told.starts_with("AKV_ARCHIVER__GEOGRAPHY__WEST_EUROPE: \"WEST_EUROPE\" is no region"), "{told}");
    }

    #[test]
    fn a_field_that_moved_says_where_to() {
        for field in MOVED {
            let place = Place::with(&format!("{DIRECTORY}[capture]\n{field} = \"3d\"\n"));
            let error = place.load(&[]).unwrap_err();
            assert!(error.message().contains(":4:1: unknown field"), "{error}");
            assert!(error.hint_text().unwrap().contains("POLICIES.md"), "{error}");
            let variable = format!("{PREFIX}CAPTURE__{}", field.to_uppercase());
            let error = Place::with(DIRECTORY).load(&[(&variable, "3d")]).unwrap_err();
            assert!(
                error.message().starts_with(&variable) && error.hint_text().unwrap().contains("POLICIES.md"),
                "{error}"
            );
        }
    }
}
