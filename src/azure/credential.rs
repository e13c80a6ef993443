//! Who is asking: explicit settings become the SDK's credentials. There is no guessing chain: a job that finds another
//! identity than the one it was given is worse than one that fails. No secret ever shows in `Debug` or an error.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{AsyncRawResponse, ClientMethodOptions, ClientOptions, Context, Request};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertion, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions, Executor,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use super::failure::one_line;
use crate::ambient::within;
use crate::error::{Error, Result};

/// How to sign in.
#[derive(Clone, PartialEq, Eq)]
pub enum CredentialConfig {
    /// An application with a secret.
    ClientSecret {
        /// The tenant.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// Its secret.
        secret: Zeroizing<String>,
    },
    /// An application with a federated token in a file, which is read anew for each sign-in.
    ClientAssertion {
        /// The tenant.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// The file that holds the token.
        token_file: PathBuf,
    },
    /// Entra Workload Identity on Kubernetes. What is absent comes from the pod's environment.
    WorkloadIdentity {
        /// The tenant.
        tenant_id: Option<String>,
        /// The application.
        client_id: Option<String>,
        /// The file that holds the pod's token.
        token_file: Option<PathBuf>,
    },
    /// The identity of the machine, function or container that this runs in.
    ManagedIdentity {
        /// The client id of a user-assigned identity; without one, the system-assigned identity.
        client_id: Option<String>,
    },
    /// Whoever is signed in with `az login`.
    AzureCli {
        /// The tenant, if not the signed-in account's own.
        tenant_id: Option<String>,
        /// The subscription whose account to use.
        subscription: Option<String>,
    },
}

impl CredentialConfig {
    /// The kind's name in settings.
    pub fn name(&self) -> &'static str {
        match self {
            CredentialConfig::ClientSecret { .. } => "client-secret",
            CredentialConfig::ClientAssertion { .. } => "client-assertion",
            CredentialConfig::WorkloadIdentity { .. } => "workload-identity",
            CredentialConfig::ManagedIdentity { .. } => "managed-identity",
            CredentialConfig::AzureCli { .. } => "azure-cli",
        }
    }

    /// The SDK's credential, sending through the pipeline of `client_options`.
    pub(super) fn credential(&self, mut client_options: ClientOptions) -> Result<Arc<Tokens>> {
        client_options.per_call_policies.push(Arc::new(Lifetimes));
        let first = self.build(client_options.clone()).map_err(|error| {
            Error::usage(format!("the {} credential cannot be used: {}", self.name(), one_line(&error.to_string())))
        })?;
        Ok(Arc::new(Tokens { config: self.clone(), client_options, current: RwLock::new((0, first)) }))
    }

    fn build(&self, client_options: ClientOptions) -> azure_core::Result<Arc<dyn TokenCredential>> {
        Ok(match self.clone() {
            CredentialConfig::ClientSecret { tenant_id, client_id, secret } => ClientSecretCredential::new(
                &tenant_id,
                client_id,
                Secret::new(secret.as_str().to_owned()),
                Some(ClientSecretCredentialOptions { client_options }),
            )?,
            CredentialConfig::ClientAssertion { tenant_id, client_id, token_file } => ClientAssertionCredential::new(
                tenant_id,
                client_id,
                TokenFile(token_file),
                Some(ClientAssertionCredentialOptions { client_options }),
            )?,
            CredentialConfig::WorkloadIdentity { tenant_id, client_id, token_file } => {
                WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions { client_options },
                    tenant_id,
                    client_id,
                    token_file_path: token_file,
                }))?
            }
            CredentialConfig::ManagedIdentity { client_id } => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id: client_id.map(UserAssignedId::ClientId),
                    client_options,
                }))?
            }
            CredentialConfig::AzureCli { tenant_id, subscription } => {
                let executor: Option<Arc<dyn Executor>> = Some(Arc::new(Hurried(AZ)));
                AzureCliCredential::new(Some(AzureCliCredentialOptions { subscription, tenant_id, executor }))?
            }
        })
    }
}

impl fmt::Debug for CredentialConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialConfig({})", self.name())
    }
}

/// The SDK's credential, made anew when a service does not take its token. The SDK keeps a token for as long as this
/// machine's clock says that it holds; one that was revoked, or has expired by the service's clock, it would show again
/// and again.
pub(super) struct Tokens {
    config: CredentialConfig,
    client_options: ClientOptions,
    current: RwLock<(u64, Arc<dyn TokenCredential>)>,
}

impl Tokens {
    /// How often the credential was made anew.
    pub(super) fn generation(&self) -> u64 {
        self.current.read().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Forgets the tokens of a generation. Of many who meet the same refusal, the first does it for all.
    pub(super) fn renew(&self, generation: u64) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.0 == generation
            && let Ok(fresh) = self.config.build(self.client_options.clone())
        {
            *current = (generation + 1, fresh);
        }
    }
}

#[async_trait]
impl TokenCredential for Tokens {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).1.clone();
        current.get_token(scopes, options).await
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({:?})", self.config)
    }
}

/// The policy that refuses a token of absurd lifetime: the SDK adds it to the time, and panics where there is no such
/// time.
#[derive(Debug)]
struct Lifetimes;

/// No token holds for longer, in seconds: ten years.
const LIFETIME_MAX: i64 = 10 * 366 * 86_400;

#[async_trait]
impl Policy for Lifetimes {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let Some((next, rest)) = next.split_first() else {
            return Err(azure_core::Error::with_message(ErrorKind::Other, "no transport"));
        };
        let (status, headers, body) = next.send(ctx, request, rest).await?.deconstruct();
        let body = body.collect().await?;
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let seconds = told.get("expires_in").and_then(serde_json::Value::as_i64).unwrap_or_default();
        if !(0..=LIFETIME_MAX).contains(&seconds) {
            let text = "the token's lifetime makes no sense";
            return Err(azure_core::Error::with_message(ErrorKind::DataConversion, text));
        }
        Ok(AsyncRawResponse::from_bytes(status, headers, body))
    }
}

/// How long `az` may take to get a token. It starts slowly, and asks the network.
const AZ: Duration = Duration::from_secs(120);

/// Runs a program that must end by itself within a time: one that waits for an answer, or for a lock that another holds,
/// would hold every request that needs its token.
#[derive(Debug)]
struct Hurried(Duration);

#[async_trait]
impl Executor for Hurried {
    async fn run(&self, program: &OsStr, args: &[&OsStr]) -> std::io::Result<Output> {
        let mut command = tokio::process::Command::new(program);
        command.args(args).stdin(Stdio::null()).kill_on_drop(true);
        within(self.0, command.output()).await.unwrap_or_else(|| {
            let text = format!("it was ended after {} seconds without an answer", self.0.as_secs());
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, text))
        })
    }
}

/// A federated token in a file. Whoever rotates it replaces the file, so it is read each time.
#[derive(Debug)]
struct TokenFile(PathBuf);

/// No token is longer, in bytes.
const TOKEN_LIMIT: u64 = 64 << 10;

#[async_trait]
impl ClientAssertion for TokenFile {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let failed = |why: String| {
            let text = format!("couldn't read the token file {}: {why}", self.0.display());
            azure_core::Error::with_message(ErrorKind::Credential, text)
        };
        let file = tokio::fs::File::open(&self.0).await.map_err(|error| failed(error.to_string()))?;
        let mut text = String::new();
        let read = file.take(TOKEN_LIMIT).read_to_string(&mut text).await;
        read.map_err(|error| failed(error.to_string()))?;
        match text.trim() {
            "" => Err(failed("it is empty".to_owned())),
            token => Ok(token.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_neither_in_debug_nor_in_an_error() {
        let config = CredentialConfig::ClientSecret {
            tenant_id: "not a tenant!".into(),
            client_id: "c".into(),
            secret: Zeroizing::new("hunter2".into()),
        };
        assert!(!format!("{config:?}").contains("hunter2"));
        let error = config.credential(ClientOptions::default()).unwrap_err();
        assert!(error.message().starts_with("the client-secret credential cannot be used"), "{error}");
        assert!(!error.message().contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn a_token_file_is_read_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile(folder.path().join("token"));
        assert!(file.secret(None).await.unwrap_err().to_string().contains("token"));
        std::fs::write(&file.0, "one\n").unwrap();
        assert_eq!(file.secret(None).await.unwrap(), "one");
        std::fs::write(&file.0, "two").unwrap();
        assert_eq!(file.secret(None).await.unwrap(), "two");
    }

    #[tokio::test]
    async fn a_program_that_never_ends_is_ended() {
        let shell = |text: &'static str| [OsStr::new("-c"), OsStr::new(text)];
        let run = async |limit: Duration, text| Hurried(limit).run(OsStr::new("/bin/sh"), &shell(text)).await;
        let error = run(Duration::ZERO, "while :; do :; done").await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        // Nobody is there to answer: a program that asks finds the end of its input.
        assert_eq!(run(AZ, "read line || printf none").await.unwrap().stdout, b"none");
    }
}
