//! What a failure means to a caller, said so that a person can act on it. Pure: a failure and what was asked go in, an
//! error of the door comes out. Decides from status and raw body only, never from what the SDK made of them.

mod store;
mod vault;

pub(super) use store::{Aim, blob_error, gone, taken};
pub(super) use vault::{Asked, Deed, management_error, vault_error};

use super::failure::{Cause, Refusal, Tokenless, Unreached};

/// The service's words for a refusal: status, code, sentence.
fn words(refusal: &Refusal) -> String {
    let head = match refusal.codes() {
        Some(codes) => format!("{} {codes}", refusal.status),
        None => format!("HTTP {}", refusal.status),
    };
    match &refusal.sentence {
        Some(sentence) => format!("{head}: {}", sentence.trim_end_matches('.')),
        None => head,
    }
}

/// A cause that is the same for every service, in words; `None` for a refusal.
fn common(cause: &Cause, host: &str) -> Option<String> {
    Some(match cause {
        Cause::Refused(_) => return None,
        Cause::Unreached(Unreached::Name, _) => format!("the name {host} does not resolve"),
        Cause::Unreached(Unreached::Proxy, _) => format!("the proxy does not connect to {host}"),
        Cause::Unreached(Unreached::Certificate, detail) => {
            format!("the certificate that {host} shows is not trusted: {detail}")
        }
        Cause::Unreached(Unreached::Connection, detail) => format!("couldn't connect to {host}: {detail}"),
        Cause::Lost(detail) => format!("no answer came from {host}: {detail}"),
        Cause::NoToken(detail, Tokenless::Untrusted) => {
            format!("couldn't get a token: the certificate that the identity service shows is not trusted: {detail}")
        }
        Cause::NoToken(detail, _) => format!("couldn't get a token: {}", detail.trim_end_matches('.')),
        Cause::Malformed(detail) => format!("the answer of {host} makes no sense: {}", detail.trim_end_matches('.')),
    })
}

/// The fix for a cause that is the same for every service.
pub(super) fn common_hint(cause: &Cause) -> Option<&'static str> {
    Some(match cause {
        Cause::Unreached(Unreached::Certificate, _) | Cause::NoToken(_, Tokenless::Untrusted) => {
            "if a proxy inspects TLS, give its certificate authority as network.ca_file"
        }
        Cause::NoToken(_, Tokenless::Refused) => {
            "check the credential's tenant, client id and secret, or sign in again"
        }
        Cause::NoToken(_, Tokenless::Passing) | Cause::Unreached(..) | Cause::Lost(_) => {
            "check the network and network.proxy, then run again"
        }
        Cause::Refused(_) | Cause::Malformed(_) => return None,
    })
}
