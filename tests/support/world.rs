//! What scenarios stand on: an emulated Azure in this process, a working folder, and the program as users run it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use akv_archiver::emulator::seed::Seed;
use akv_archiver::emulator::{Emulator, Options};
use serde_json::Value;
use tokio::runtime::Runtime;

/// The seed that most scenarios start from: the issue's two subscriptions, in small.
pub(crate) const SEED: &str = r#"
[[vault]]
name = "prod"
subscription = "11111111-1111-1111-1111-111111111111"
location = "westeurope"
sku = "premium"
purge_protection = true
retention_days = 90
objects = [
  { kind = "key", type = "RSA-HSM", name = "tde-protector", versions = 3 },
  { kind = "key", type = "EC", name = "signing", curve = "P-256" },
  { kind = "secret", name = "app", count = 3, tags = { team = "payments" } },
  { kind = "secret", name = "disabled", enabled = false },
  { kind = "certificate", name = "tls" },
]

[[vault]]
name = "spare"
subscription = "11111111-1111-1111-1111-111111111111"
location = "northeurope"
sku = "premium"
retention_days = 7

[[vault]]
name = "faraway"
subscription = "11111111-1111-1111-1111-111111111111"
location = "eastus"
sku = "premium"

[[storage]]
account = "archive"
subscription = "22222222-2222-2222-2222-222222222222"
location = "northeurope"
containers = [
  { name = "vaults", worm = "version-level", days = 365, locked = true },
  { name = "rigid", worm = "container-level", days = 365, locked = true },
  { name = "unlocked", worm = "version-level", days = 365 },
  { name = "plain" },
]
"#;

/// A principal with what these roles in policies/roles grant, and more.
pub(crate) fn principal(roles: &[&str], more: &[&str]) -> String {
    let powers = |role: &&str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("policies/roles/{role}.json"));
        let role: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let of = |field: &str| role[field].as_array().unwrap().clone();
        [of("Actions"), of("DataActions")].concat()
    };
    let actions: Vec<String> = roles.iter().flat_map(powers).map(|it| it.as_str().unwrap().to_owned()).collect();
    let more = more.iter().map(|action| (*action).to_owned());
    format!("[[principal]]\nname = \"job\"\nactions = {:?}\n", actions.into_iter().chain(more).collect::<Vec<_>>())
}

/// An emulated Azure and a folder to work in.
pub(crate) struct World {
    pub(crate) azure: Emulator,
    pub(crate) folder: tempfile::TempDir,
    runtime: Arc<Runtime>,
}

/// What a run of the program left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// A world seeded with `seed`.
    pub(crate) fn new(seed: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        let runtime =
            Arc::new(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
        let seed = Seed::parse(seed).unwrap();
        let options = Options { ca_directory: Some(folder.path().to_owned()), ..Options::default() };
        let azure = Emulator::start(seed, options).unwrap();
        World { azure, folder, runtime }
    }

    /// A world with the usual seed, and an archive of `prod` in the container `vaults`.
    pub(crate) fn with_archive() -> World {
        let world = World::new(SEED);
        world.init("prod", "vaults").succeeded();
        world
    }

    /// A world whose archive is read and written by the principal `job`, of which `principal` is the seed.
    pub(crate) fn played_by(principal: &str) -> World {
        let world = World::new(&format!("{SEED}\n{principal}"));
        world.init("prod", "vaults").succeeded();
        world.hand_over();
        world
    }

    /// The same, with a snapshot that somebody else took before.
    pub(crate) fn taken_over_by(principal: &str) -> World {
        let world = World::new(&format!("{SEED}\n{principal}"));
        world.init("prod", "vaults").succeeded();
        world.run(&["snapshot"]).succeeded();
        world.hand_over();
        world
    }

    /// Makes the principal `job` the one that the settings speak of.
    fn hand_over(&self) {
        let ready = self.azure.ready();
        let job = &ready.principals["job"];
        std::fs::write(self.path("secret"), &job.client_secret).unwrap();
        std::fs::set_permissions(self.path("secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let (from, to) = (ready.client_id.clone(), job.client_id.clone());
        self.edit_settings(|text| {
            text.replace(&from, &to)
                .replace("client_secret_env = \"AZURE_CLIENT_SECRET\"", "client_secret_file = \"secret\"")
        });
    }

    /// `init` for a vault and a container, with production host names and the emulator as a mere proxy.
    pub(crate) fn init(&self, vault: &str, container: &str) -> Ran {
        self.init_at(vault, &["--container", &format!("https://archive.blob.core.windows.net/{container}")])
    }

    /// `init` for the vault `prod` and a local directory.
    pub(crate) fn init_directory(&self, directory: &str) -> Ran {
        self.init_at("prod", &["--directory", directory])
    }

    fn init_at(&self, vault: &str, place: &[&str]) -> Ran {
        let ready = self.azure.ready();
        let ca_file = ready.ca_file.to_string_lossy().into_owned();
        let network = ["--proxy", &ready.proxy, "--ca-file", &ca_file];
        let credential =
            ["--credential", "client-secret", "--tenant-id", &ready.tenant_id, "--client-id", &ready.client_id];
        self.run(&[&["init", "--vault", vault], place, &network, &credential].concat())
    }

    /// The program, in this world's folder, with nothing of the developer's environment but the path.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_akv-archiver"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("USER", "operator")
            .env("AZURE_CLIENT_SECRET", &self.azure.ready().client_secret)
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    /// Runs the program with `--output json` and parses what it prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let ran = self.run(&[&["--output", "json"], arguments].concat());
        let value = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e} in {ran:#?}"));
        (ran.code, value)
    }

    /// A path in the working folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Rewrites the settings file.
    pub(crate) fn edit_settings(&self, edit: impl FnOnce(String) -> String) {
        let path = self.path("akv-archiver.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, edit(text)).unwrap();
    }

    /// Somebody else's client of the emulated Azure: a plain HTTP client with a token of the default principal.
    pub(crate) fn stranger(&self) -> Stranger {
        Stranger::of(&self.azure, self.runtime.clone())
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Demands exit code 0.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Ran {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }

    /// Demands an exit code.
    #[track_caller]
    pub(crate) fn exited(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }
}

/// A client that is not ours: the same wire, none of our code.
pub(crate) struct Stranger {
    runtime: Arc<Runtime>,
    client: reqwest::Client,
    token_url: String,
    client_id: String,
    client_secret: String,
}

impl Stranger {
    /// A client of `azure` with the default principal.
    pub(crate) fn of(azure: &Emulator, runtime: Arc<Runtime>) -> Stranger {
        let ready = azure.ready();
        Stranger::new(runtime, &ready.proxy, &ready.ca_file, &ready.tenant_id, &ready.client_id, &ready.client_secret)
    }

    fn new(
        runtime: Arc<Runtime>,
        proxy: &str,
        ca: &Path,
        tenant: &str,
        client_id: &str,
        client_secret: &str,
    ) -> Stranger {
        let pem = std::fs::read(ca).unwrap();
        let client = reqwest::Client::builder()
            .proxy(reqwest::Proxy::all(proxy).unwrap())
            .tls_certs_merge([reqwest::Certificate::from_pem(&pem).unwrap()])
            .build()
            .unwrap();
        let token_url = format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token");
        Stranger { runtime, client, token_url, client_id: client_id.into(), client_secret: client_secret.into() }
    }

    /// Sends a request with a token for `scope` and returns status and body.
    pub(crate) fn send(
        &self,
        scope: &str,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (u16, Vec<u8>) {
        self.runtime.block_on(async {
            let form = format!(
                "grant_type=client_credentials&client_id={}&client_secret={}&scope={}",
                self.client_id,
                self.client_secret,
                scope.replace(':', "%3A").replace('/', "%2F")
            );
            let answer = self
                .client
                .post(&self.token_url)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form)
                .send()
                .await
                .unwrap();
            let token: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
            let token = token["access_token"].as_str().unwrap().to_owned();
            let mut request = self.client.request(method.parse().unwrap(), url).bearer_auth(token).body(body);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            (status, answer.bytes().await.unwrap().to_vec())
        })
    }

    /// A Key Vault request.
    pub(crate) fn vault(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let url = format!("https://{path}{}api-version=7.6", if path.contains('?') { "&" } else { "?" });
        let headers = [("content-type", "application/json")];
        let (status, body) =
            self.send("https://vault.azure.net/.default", method, &url, &headers, body.as_bytes().to_vec());
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// A Blob request.
    pub(crate) fn blob(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Vec<u8>) {
        let url = format!("https://archive.blob.core.windows.net/{path}");
        let headers = [&[("x-ms-version", "2026-04-06")], headers].concat();
        self.send("https://storage.azure.com/.default", method, &url, &headers, body.to_vec())
    }
}
