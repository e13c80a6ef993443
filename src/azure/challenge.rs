//! A vault's challenge, asked for once. Each of the SDK's clients learns for whom its token is by sending its first
//! requests without one (`sdk.md` §2): three clients and several lists at the same time are as many requests that cannot
//! succeed. Here the first of them is sent, the others wait for it, and then are told the same on the spot. Knows neither
//! tokens nor what a challenge means: the SDK takes every one of them up, and checks it, as if the vault had just sent it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{AUTHORIZATION, Headers, WWW_AUTHENTICATE};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{AsyncRawResponse, Context, Request, StatusCode};
use bytes::Bytes;
use tokio::sync::Mutex;

use super::wire::{Answer, Trial};

/// The policy that remembers the challenge of one vault. It stands below authentication, in every client's pipeline.
#[derive(Debug, Default)]
pub(super) struct Challenges(Mutex<Option<String>>);

#[async_trait]
impl Policy for Challenges {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let Some((next, rest)) = next.split_first() else {
            return Err(azure_core::Error::with_message(ErrorKind::Other, "no transport"));
        };
        if request.headers().iter().any(|(name, _)| *name == AUTHORIZATION) {
            return next.send(ctx, request, rest).await;
        }
        // Held while the vault is asked: whoever comes second has the answer of the first.
        let mut known = self.0.lock().await;
        if let Some(challenge) = known.as_ref() {
            let mut headers = Headers::new();
            headers.insert(WWW_AUTHENTICATE, challenge.clone());
            if let Some(trial) = ctx.value::<Arc<Trial>>() {
                trial.told(Answer { status: 401, headers: headers.clone(), body: Bytes::new(), took: Duration::ZERO });
            }
            return Ok(AsyncRawResponse::from_bytes(StatusCode::Unauthorized, headers, Bytes::new()));
        }
        let answer = next.send(ctx, request, rest).await?;
        if answer.status() == StatusCode::Unauthorized {
            let challenge = answer.headers().iter().find(|(name, _)| **name == WWW_AUTHENTICATE);
            *known = challenge.map(|(_, value)| value.as_str().to_owned());
        }
        Ok(answer)
    }
}
