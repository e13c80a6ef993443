//! `demo`: the main job end to end on an embedded Azure. Every step runs this very program, with the command that is
//! shown, so that nothing is played that a user could not do.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::args::{Demo, Output};
use crate::cli::console::Console;
use crate::emulator::outsider::Outsider;
use crate::emulator::seed::Seed;
use crate::emulator::{Credential, Emulator, Options, Ready};
use crate::error::{Context, Error, Kind, Result};

const SEED: &str = include_str!("seed.toml");
const VAULT: &str = "https://vault.azure.net";
const STORAGE: &str = "https://storage.azure.com";
const CONTAINER: &str = "https://archive.blob.core.windows.net/vaults";

/// What a demo leaves in its folder, and would write over.
const WRITTEN: [&str; 6] = ["ca.pem", "akv-archiver.toml", "operator.toml", "signer.key", "identity.txt", "ready.json"];

/// Plays the demo.
pub(crate) async fn run(console: &Console, arguments: Demo) -> Result<ExitCode> {
    let folder = folder(arguments.dir.as_deref())?;
    if let Some(found) = WRITTEN.iter().find(|name| folder.join(name).exists()) {
        return Err(Error::usage(format!("{} holds {found}: a demo or an archive of yours", folder.display()))
            .hint("name another folder with --dir, or none: then a new one is made"));
    }
    let seed = Seed::parse(SEED).context("the demo's seed")?;
    let options = Options { ca_directory: Some(folder.clone()), ..Options::default() };
    let azure = tokio::task::spawn_blocking(move || Emulator::start(seed, options))
        .await
        .map_err(|error| Error::internal(format!("couldn't start the emulator: {error}")))??;
    let play = Play { console, ready: azure.ready(), folder: &folder };
    play.prologue();
    play.archive().await?;
    play.accident().await?;
    play.attack().await?;
    play.rescue().await?;
    play.epilogue();
    if console.output() == Output::Json {
        console.document(&serde_json::json!({"status": "done", "folder": folder}));
    }
    if arguments.keep {
        play.invitation()?;
        azure.stopped().await;
    }
    Ok(ExitCode::SUCCESS)
}

fn folder(asked: Option<&Path>) -> Result<PathBuf> {
    let folder = match asked {
        Some(folder) => folder.to_owned(),
        None => std::env::temp_dir().join(format!("akv-archiver-demo-{}", std::process::id())),
    };
    std::fs::create_dir_all(&folder)
        .map_err(|error| Error::usage(format!("couldn't create {}: {error}", folder.display())))?;
    std::path::absolute(&folder).map_err(|error| Error::usage(format!("{}: {error}", folder.display())))
}

struct Play<'a> {
    console: &'a Console,
    ready: &'a Ready,
    folder: &'a Path,
}

impl Play<'_> {
    /// Tells the story: on standard output, or beside it where that is for one JSON document.
    fn say(&self, text: &str) {
        match self.console.output() {
            Output::Text => self.console.say(text),
            Output::Json => self.console.complain(text),
        }
    }

    fn step(&self, title: &str) {
        self.say(&format!("\n== {title}"));
    }

    fn principal(&self, name: &str) -> Result<&Credential> {
        self.ready.principals.get(name).ok_or_else(|| Error::internal(format!("the seed has no principal {name}")))
    }

    /// Whoever may do everything.
    fn administrator(&self) -> Credential {
        Credential { client_id: self.ready.client_id.clone(), client_secret: self.ready.client_secret.clone() }
    }

    fn prologue(&self) {
        self.say("Azure is on localhost: a premium vault `prod` with purge protection in one subscription, a blob container in");
        self.say("another whose immutability policy is locked for seven years. Host names and commands are those of production.");
        self.say(&format!("Working in {}.", self.folder.display()));
    }

    async fn archive(&self) -> Result<()> {
        self.step("1. Create the archive. The job's identity can list and back up, and add blobs; no more");
        let ca_file = self.ready.ca_file.to_string_lossy();
        let job = self.principal("nightly-job")?;
        // The security team's key, which is kept elsewhere: whoever loses the only identity loses the archive.
        let team = crate::seal::generate(chrono::DateTime::UNIX_EPOCH).recipient;
        self.run(&[
            "init",
            "--vault",
            "prod",
            "--container",
            CONTAINER,
            "--proxy",
            &self.ready.proxy,
            "--ca-file",
            &ca_file,
            "--credential",
            "client-secret",
            "--tenant-id",
            &self.ready.tenant_id,
            "--client-id",
            &job.client_id,
            "--recipient",
            &team,
        ])
        .await?;
        self.operators_settings()?;
        self.step("2. Would tonight's job get through?");
        self.run(&["doctor"]).await?;
        self.step("3. Take a snapshot, as the nightly job does; then another: nothing changed, so nothing is taken");
        self.run(&["snapshot"]).await?;
        self.run(&["snapshot"]).await?;
        self.step("4. Prove that the archive is whole, signed and locked");
        self.run(&["verify"]).await?;
        self.run(&["history", "key/tde-protector"]).await
    }

    async fn accident(&self) -> Result<()> {
        self.step("5. The accident: somebody deletes the TDE protector. In ten minutes the databases are inaccessible");
        let outsider = Outsider::new(self.ready)?;
        let url = "https://prod.vault.azure.net/keys/tde-protector?api-version=7.6";
        let (status, _) = outsider.send(&self.administrator(), VAULT, "DELETE", url, "").await?;
        self.say(&format!("DELETE https://prod.vault.azure.net/keys/tde-protector: {status}"));
        demand(status == 200, "the key could not be deleted")
    }

    async fn attack(&self) -> Result<()> {
        self.step("6. The attack: a thief has the job's secret, another is the storage administrator");
        let outsider = Outsider::new(self.ready)?;
        let blob = format!("{CONTAINER}/vaults/prod.vault.azure.net/log/0000000001");
        let (thief, administrator) = (self.principal("nightly-job")?, self.administrator());
        let attempts = [
            ("the thief overwrites the log", thief, "PUT", "forged"),
            ("the thief deletes it", thief, "DELETE", ""),
            ("the administrator deletes it", &administrator, "DELETE", ""),
        ];
        for (what, who, method, body) in attempts {
            let (status, code) = outsider.send(who, STORAGE, method, &blob, body).await?;
            self.say(&format!("{what}: {status} {code}"));
            demand(status == 403 || status == 409, "the attack was not refused")?;
        }
        Ok(())
    }

    async fn rescue(&self) -> Result<()> {
        self.step("7. The operator asks what can be done. The plan changes nothing");
        self.run(&["-c", "operator.toml", "restore", "plan", "key/tde-protector"]).await?;
        self.step("8. And does it");
        self.run(&["-c", "operator.toml", "restore", "apply", "--yes"]).await?;
        self.step("9. What if the vault itself were lost? Everything into an empty vault of the same subscription and geography");
        self.run(&["-c", "operator.toml", "restore", "plan", "--all", "--to", "https://prod-spare.vault.azure.net"])
            .await?;
        self.run(&["-c", "operator.toml", "restore", "apply", "--yes"]).await?;
        self.step("10. Verify again: the log now tells of both restores");
        self.run(&["verify"]).await
    }

    fn epilogue(&self) {
        self.say(&format!(
            "\nDone. Settings and keys are in {}; the archive was in the embedded Azure.",
            self.folder.display()
        ));
    }

    /// The operator works with another identity, and with the key that opens captures.
    fn operators_settings(&self) -> Result<()> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|error| Error::internal(format!("{}: {error}", path.display())))
        };
        let settings = read(&self.folder.join("akv-archiver.toml"))?;
        let (job, operator) = (self.principal("nightly-job")?, self.principal("operator")?);
        let settings =
            settings.replace(&job.client_id, &operator.client_id).replace("AZURE_CLIENT_SECRET", "OPERATOR_SECRET");
        let path = self.folder.join("operator.toml");
        std::fs::write(&path, settings).map_err(|error| Error::internal(format!("{}: {error}", path.display())))
    }

    fn secrets(&self) -> Result<BTreeMap<&'static str, &str>> {
        Ok(BTreeMap::from([
            ("AZURE_CLIENT_SECRET", self.principal("nightly-job")?.client_secret.as_str()),
            ("OPERATOR_SECRET", self.principal("operator")?.client_secret.as_str()),
        ]))
    }

    /// Shows a command and runs it.
    async fn run(&self, arguments: &[&str]) -> Result<()> {
        self.say(&format!(
            "$ akv-archiver {}",
            arguments.iter().map(|argument| shown(argument)).collect::<Vec<_>>().join(" ")
        ));
        let mut command = tokio::process::Command::new(program()?);
        command.args(arguments).current_dir(self.folder).envs(self.secrets()?);
        if self.console.output() == Output::Json {
            let stderr = std::io::stderr().as_fd().try_clone_to_owned();
            command.stdout(stderr.map_err(|error| Error::internal(format!("standard error is gone: {error}")))?);
        }
        let status =
            command.status().await.map_err(|error| Error::internal(format!("couldn't run this program: {error}")))?;
        demand(status.success(), &format!("the command ended with {status}"))
    }

    /// What to do with an emulator that goes on running.
    fn invitation(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(self.ready).map_err(|error| Error::internal(error.to_string()))?;
        let ready = self.folder.join("ready.json");
        crate::cli::files::replace(&ready, &text)?;
        let folder = self.folder.display();
        self.say(&format!(
            "\nThe emulator goes on until ctrl-c or `kill {}`; its addresses and secrets are in {}. The settings:\n",
            std::process::id(),
            ready.display()
        ));
        let settings = std::fs::read_to_string(self.folder.join("akv-archiver.toml"))
            .map_err(|error| Error::internal(format!("the settings are gone: {error}")))?;
        for line in settings.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            self.say(&format!("  {line}"));
        }
        self.say("\nIn another terminal:\n");
        self.say(&format!("  cd {folder}"));
        self.say(&format!("  alias akv-archiver={}", program()?.display()));
        for (name, value) in self.secrets()? {
            self.say(&format!("  export {name}={value}"));
        }
        self.say("");
        self.say("Three commands to try:");
        self.say("  akv-archiver list");
        self.say("  akv-archiver snapshot --full --output json");
        self.say(
            "  akv-archiver -c operator.toml restore plan secret/app-0003 --to https://prod-spare.vault.azure.net",
        );
        Ok(())
    }
}

/// This very program.
fn program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|error| Error::internal(format!("couldn't find this program: {error}")))
}

/// An argument as a shell would take it.
fn shown(argument: &str) -> String {
    match argument.chars().all(|c| c.is_alphanumeric() || "-_./:=".contains(c)) {
        true => argument.to_owned(),
        false => format!("'{argument}'"),
    }
}

fn demand(holds: bool, otherwise: &str) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(Error::new(Kind::Internal, format!("the demo did not go as it must: {otherwise}"))),
    }
}
