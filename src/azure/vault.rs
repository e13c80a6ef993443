//! A vault in Azure: `vault::Read` and `vault::Write` on the SDK's clients. Lists page by page to the true end, hands on
//! raw JSON, and never reads a secret's value: it has no call for that.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::TimeDelta;
use futures::stream::{self, BoxStream, StreamExt as _};
use serde_json::Value;
use url::Url;

use super::bodies;
use super::classify::{Asked, Deed, vault_error};
use super::failure::{Failure, Refusal};
use super::objects::Objects;
use super::retry::{Caller, Repeat};
use super::trail::Trail;
use super::wire;
use crate::model::{Kind, Object, VaultUri, unix_time};
use crate::vault::{
    Answer, Backup, Condition, Error, Exchange, Gate, Item, Listing, Load, Page, Read, Setting, Traffic, Write,
};

/// A vault, reached with one identity.
pub struct Vault {
    uri: VaultUri,
    origin: Url,
    objects: Objects,
    caller: Caller,
    api_version: String,
}

impl Vault {
    /// A vault whose requests go through `objects` and are counted and repeated by `caller`.
    pub(super) fn new(uri: VaultUri, origin: Url, objects: Objects, caller: Caller, api_version: String) -> Self {
        Vault { uri, origin, objects, caller, api_version }
    }

    /// Lets every request, retries included, pass `gate`. Without one, nothing is held up.
    #[must_use]
    pub fn gated(self, gate: Arc<dyn Gate>) -> Self {
        Vault { caller: self.caller.gated(gate), ..self }
    }

    /// The vault's clock minus ours, by its last answer; `None` before the first.
    pub fn clock_skew(&self) -> Option<TimeDelta> {
        self.caller.meter().skew()
    }

    fn asked<'a>(&'a self, deed: Deed, kind: Kind, name: Option<&'a str>) -> Asked<'a> {
        Asked { vault: &self.uri, deed, kind, name }
    }

    fn exchange(&self, answer: &wire::Answer) -> Exchange {
        let text = |name| answer.header(name).map(super::failure::one_line);
        Exchange {
            date: answer.date(),
            took_ms: u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX),
            region: text("x-ms-keyvault-region"),
            service_version: text("x-ms-keyvault-service-version"),
            request_id: text("x-ms-request-id"),
            api_version: self.api_version.clone(),
        }
    }

    fn asked_for<'a>(&'a self, what: &'a Listing) -> Asked<'a> {
        match what {
            Listing::Live(kind) => self.asked(Deed::List, *kind, None),
            Listing::Deleted(kind) => self.asked(Deed::ListDeleted, *kind, None),
            Listing::Versions(object) => self.asked(Deed::ListVersions, object.kind, Some(object.name.as_str())),
            Listing::Issuers => self.asked(Deed::ListIssuers, Kind::Certificate, None),
        }
    }

    /// The next page of a list, or its end.
    async fn turn(&self, what: &Listing, walk: &mut Walk) -> Result<Option<Page>, Error> {
        let asked = self.asked_for(what);
        let link = match &walk.next {
            Next::First => None,
            Next::Link(link) => Some(link.clone()),
            Next::Nowhere(why) => return Err(vault_error(&Failure::malformed(why.clone()), &asked)),
            Next::End => return Ok(None),
        };
        let first = link.is_none();
        let operation = |context| self.objects.page(what, link.clone(), context);
        let load = match what {
            Listing::Live(_) | Listing::Deleted(_) | Listing::Issuers => Load::List,
            Listing::Versions(object) => Load::of(object),
        };
        let (page, answer) = match self.caller.read(load, operation, |answer| bodies::list_page(&answer.body)).await {
            Ok(read) => read,
            Err(failure) => {
                let error = vault_error(&failure, &asked);
                // An object that does not exist has no versions; one that vanishes half-way is another matter.
                let none = first && matches!(what, Listing::Versions(_));
                return if none && error.condition == Condition::NotFound { Ok(None) } else { Err(error) };
            }
        };
        walk.next = match page.next.map(|link| walk.trail.follow(&link)) {
            Some(Ok(link)) => Next::Link(link),
            // What this page holds is good all the same.
            Some(Err(why)) => Next::Nowhere(why),
            None => Next::End,
        };
        if let (Listing::Live(Kind::Key), Some(gate)) = (what, self.caller.gate()) {
            gate.learn(&page.items);
        }
        Ok(Some(Page { items: page.items, exchange: self.exchange(&answer) }))
    }
}

/// Beside letters and digits, what a name of an issuer may have.
const ISSUERS: &[u8] = b"-_";

/// Whether a text may stand in an address: the SDK writes versions and issuers' names there as they are.
fn stands(text: &str, more: &[u8]) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || more.contains(&b);
    !text.is_empty() && text.len() <= 255 && text.bytes().all(known)
}

fn no_address(asked: &Asked<'_>) -> Error {
    let failure = Failure::malformed("what is asked for cannot stand in an address");
    Error { condition: Condition::Rejected, ..vault_error(&failure, asked) }
}

/// A walk through a list.
struct Walk {
    trail: Trail,
    next: Next,
}

/// Where a walk goes on.
enum Next {
    First,
    Link(Url),
    Nowhere(String),
    End,
}

#[async_trait]
impl Read for Vault {
    fn uri(&self) -> &VaultUri {
        &self.uri
    }

    fn list(&self, what: Listing) -> BoxStream<'_, Result<Page, Error>> {
        let walk = Walk { trail: Trail::new(self.origin.clone()), next: Next::First };
        stream::try_unfold((what, walk), move |(what, mut walk)| async move {
            let page = self.turn(&what, &mut walk).await?;
            Ok(page.map(|page| (page, (what, walk))))
        })
        .boxed()
    }

    async fn get(&self, what: Item) -> Result<Answer, Error> {
        let version_fits = |version: &Option<String>| version.as_deref().is_none_or(|version| stands(version, b""));
        let certificates = |deed, name| self.asked(deed, Kind::Certificate, name);
        let (asked, fits) = match &what {
            Item::Key(name, version) => (self.asked(Deed::Get, Kind::Key, Some(name.as_str())), version_fits(version)),
            Item::Certificate(name, version) => (certificates(Deed::Get, Some(name.as_str())), version_fits(version)),
            Item::RotationPolicy(name) => (self.asked(Deed::GetRotationPolicy, Kind::Key, Some(name.as_str())), true),
            Item::Deleted(object) => (self.asked(Deed::GetDeleted, object.kind, Some(object.name.as_str())), true),
            Item::Issuer(name) => (certificates(Deed::GetIssuer, Some(name)), stands(name, ISSUERS)),
            Item::Contacts => (certificates(Deed::GetContacts, None), true),
        };
        if !fits {
            return Err(no_address(&asked));
        }
        let load = match &what {
            Item::Key(name, _) | Item::RotationPolicy(name) => Load::Key(name),
            Item::Certificate(..) | Item::Issuer(_) | Item::Contacts => Load::Transaction,
            Item::Deleted(object) => Load::of(object),
        };
        let operation = |context| self.objects.get(&what, context);
        let read = self.caller.read(load, operation, |answer| bodies::object(&answer.body)).await;
        let (body, answer) = read.map_err(|failure| vault_error(&failure, &asked))?;
        if let (Item::Key(..), Some(gate)) = (&what, self.caller.gate()) {
            gate.learn(std::slice::from_ref(&body));
        }
        Ok(Answer { body, exchange: self.exchange(&answer) })
    }

    async fn backup(&self, object: &Object) -> Result<Backup, Error> {
        let asked = self.asked(Deed::BackUp, object.kind, Some(object.name.as_str()));
        let operation = |context| self.objects.back_up(object, context);
        let read = self.caller.read(Load::of(object), operation, |answer| bodies::backup(&answer.body)).await;
        let (blob, answer) = read.map_err(|failure| vault_error(&failure, &asked))?;
        Ok(Backup { blob, exchange: self.exchange(&answer) })
    }

    fn traffic(&self) -> Traffic {
        self.caller.meter().traffic()
    }
}

#[async_trait]
impl Write for Vault {
    async fn restore(&self, kind: Kind, blob: &[u8]) -> Result<Answer, Error> {
        let asked = self.asked(Deed::Restore, kind, None);
        let body = Bytes::copy_from_slice(bodies::restore(blob).as_bytes());
        let operation = |context| self.objects.restore(kind, body.clone(), context);
        // What a key costs is not known before it is there: the blob does not tell, and Azure names no limit of its own.
        let answer = self.caller.call(Repeat::UntilUnclear, operation).await;
        let answer = answer.map_err(|failure| vault_error(&failure, &asked))?;
        let body = bodies::object(&answer.body).map_err(|why| {
            // A success that cannot be read: the object may stand, but is not confirmed.
            vault_error(&Failure { unclear: true, ..Failure::malformed(why) }, &asked)
        })?;
        if let (Kind::Key, Some(gate)) = (kind, self.caller.gate()) {
            gate.learn(std::slice::from_ref(&body));
        }
        Ok(Answer { body, exchange: self.exchange(&answer) })
    }

    async fn recover(&self, object: &Object) -> Result<(), Error> {
        let asked = self.asked(Deed::Recover, object.kind, Some(object.name.as_str()));
        let operation = |context| self.objects.recover(object, context);
        match self.caller.read(Load::of(object), operation, |answer| bodies::object(&answer.body)).await {
            Ok(_) => Ok(()),
            // Our own earlier try, whose answer was lost, is what makes it live or on its way.
            Err(failure)
                if already(&failure, |refusal| {
                    refusal.is("RequestNotAllowedOnNonDeletedObject") || refusal.is("ObjectIsBeingRecovered")
                }) =>
            {
                Ok(())
            }
            Err(failure) => Err(vault_error(&failure, &asked)),
        }
    }

    async fn purge(&self, object: &Object) -> Result<(), Error> {
        let asked = self.asked(Deed::Purge, object.kind, Some(object.name.as_str()));
        let operation = |context| self.objects.purge(object, context);
        match self.caller.call_for(Load::of(object), Repeat::Freely, operation).await {
            Ok(_) => Ok(()),
            // Our own earlier try, whose answer was lost, is what made it go, or what it is still going by.
            Err(failure)
                if already(&failure, |refusal| refusal.status == 404 || refusal.is("ObjectIsBeingDeleted")) =>
            {
                Ok(())
            }
            Err(failure) => {
                let error = vault_error(&failure, &asked);
                let owned = error.code.as_deref().is_some_and(|code| code.ends_with("ManagedByKeyVault"));
                match error.condition {
                    Condition::Forbidden if !owned => Err(self.until_when(object, error).await),
                    _ => Err(error),
                }
            }
        }
    }

    async fn write(&self, setting: Setting<'_>) -> Result<(), Error> {
        let (asked, load, fits) = match setting {
            Setting::RotationPolicy(name, _) => {
                (self.asked(Deed::SetRotationPolicy, Kind::Key, Some(name.as_str())), Load::Key(name), true)
            }
            Setting::Issuer(name, _) => {
                let asked = self.asked(Deed::SetIssuer, Kind::Certificate, Some(name));
                (asked, Load::Transaction, stands(name, ISSUERS))
            }
            Setting::Contacts(_) => (self.asked(Deed::SetContacts, Kind::Certificate, None), Load::Transaction, true),
        };
        if !fits {
            return Err(no_address(&asked));
        }
        let body = Bytes::copy_from_slice(setting.body()?.get().as_bytes());
        let operation = |context| self.objects.write(setting, body.clone(), context);
        // The same again leaves the same behind.
        let written = self.caller.read(load, operation, |answer| bodies::object(&answer.body)).await;
        written.map(drop).map_err(|failure| vault_error(&failure, &asked))
    }
}

/// Whether a refusal says no more than that an earlier try of the same was heard.
fn already(failure: &Failure, says: impl FnOnce(&Refusal) -> bool) -> bool {
    failure.unclear && failure.refusal().is_some_and(says)
}

impl Vault {
    /// Adds to a refused purge when the service will purge by itself, where the object tells.
    async fn until_when(&self, object: &Object, error: Error) -> Error {
        let Ok(deleted) = self.get(Item::Deleted(object.clone())).await else { return error };
        let deleted: Value = serde_json::from_str(deleted.body.get()).unwrap_or_default();
        match deleted.get("scheduledPurgeDate").and_then(unix_time) {
            Some(date) => error.hint(format!(
                "it holds its name until {}: recover it, or restore into another vault",
                date.format("%Y-%m-%d %H:%M:%SZ")
            )),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{CANARY, Stage, Step, answer, with};
    use super::*;
    use crate::vault::{Governor, Heard, Outcome, Pass, Subscription};
    use futures::TryStreamExt as _;
    use serde_json::value::RawValue;

    const BUNDLE: &str = r#"{"key":{"kid":"https://prod.vault.azure.net/keys/tde/1"},"attributes":{}}"#;
    const CONFLICT: &str = r#"{"error":{"code":"Conflict","message":"There was a conflict restoring the key"}}"#;

    fn vault(stage: &Stage) -> Vault {
        stage.connection.vault(&VaultUri::parse("https://prod.vault.azure.net").unwrap()).unwrap()
    }

    fn tde() -> Object {
        Object::parse("key/tde").unwrap()
    }

    fn page(items: &str, next: &str) -> Step {
        let next = if next == "null" { next.to_owned() } else { format!("\"{next}\"") };
        answer(200, format!(r#"{{"value":[{items}],"nextLink":{next}}}"#))
    }

    async fn pages(vault: &Vault, what: Listing) -> Result<Vec<Page>, Error> {
        vault.list(what).try_collect().await
    }

    #[tokio::test]
    async fn trap_the_first_request_keeps_its_body_when_it_is_answered_503() {
        let stage = Stage::new([answer(200, BUNDLE)]);
        stage.fake.early([answer(503, ""), Step::Lost]);
        let vault = vault(&stage);
        vault.restore(Kind::Key, b"&Azure blob").await.unwrap();
        let sent = stage.fake.authorised();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].body, r#"{"value":"JkF6dXJlIGJsb2I"}"#);
        assert_eq!(vault.traffic().requests, 4, "503, lost, challenge, answer");
    }

    #[tokio::test]
    async fn trap_a_lost_answer_to_a_restore_is_not_asked_again_and_told_as_unknown() {
        for step in [Step::Lost, answer(503, ""), answer(500, "<html>"), answer(200, "<html>"), Step::Cut(200, "{")] {
            let stage = Stage::new([step.clone()]);
            let error = vault(&stage).restore(Kind::Key, b"blob").await.unwrap_err();
            assert_eq!(error.condition, Condition::Unavailable, "{step:?}");
            assert!(error.message.contains("not known"), "{error}");
            assert_eq!(stage.fake.authorised().len(), 1, "{step:?}");
        }
    }

    #[tokio::test]
    async fn a_restore_that_was_certainly_not_done_is_tried_again() {
        let stage = Stage::new([answer(429, ""), Step::NoConnection("refused"), answer(409, CONFLICT)]);
        let vault = vault(&stage);
        let error = vault.restore(Kind::Key, b"blob").await.unwrap_err();
        assert_eq!(error.condition, Condition::Conflict);
        assert!(stage.done());
        assert_eq!(vault.traffic().throttled, 1);
    }

    #[tokio::test]
    async fn trap_an_escape_in_an_error_does_not_hide_what_is_wrong() {
        let body = r#"{"error":{"code":"Forbidden","message":"Caller is not authorized.\r\nVault: \"prod\"","innererror":{"code":"ForbiddenByRbac"}}}"#;
        let stage = Stage::new([answer(403, body)]);
        let error = vault(&stage).backup(&tde()).await.unwrap_err();
        assert_eq!(error.condition, Condition::Denied);
        assert_eq!(error.code.as_deref(), Some("Forbidden/ForbiddenByRbac"));
        assert!(error.hint.unwrap().contains("keys/backup/action"));
    }

    #[tokio::test]
    async fn trap_a_retry_after_of_a_day_ends_the_call_instead_of_the_day() {
        let stage = Stage::new([with(429, &[("retry-after", "86400")], "")]);
        let error = vault(&stage).backup(&tde()).await.unwrap_err();
        assert_eq!(error.condition, Condition::Throttled);
        assert_eq!(stage.slept(), 0);

        let stage = Stage::new([with(429, &[("retry-after", "30")], ""), answer(200, r#"{"value":"AA"}"#)]);
        assert_eq!(*vault(&stage).backup(&tde()).await.unwrap().blob, [0]);
        assert_eq!(stage.slept(), 30);
    }

    #[tokio::test]
    async fn trap_empty_pages_are_not_the_end_of_a_list() {
        let link = |n: u32| format!("https://prod.vault.azure.net:443/keys?api-version=2025-07-01&$skiptoken={n}");
        let stage =
            Stage::new([page("", &link(1)), page("", &link(2)), page(r#"{"kid":"a"}"#, &link(3)), page("", "null")]);
        let pages = pages(&vault(&stage), Listing::Live(Kind::Key)).await.unwrap();
        assert_eq!(pages.iter().map(|page| page.items.len()).collect::<Vec<_>>(), [0, 0, 1, 0]);
        assert!(stage.fake.authorised()[3].url.contains("skiptoken=3"));
    }

    #[tokio::test]
    async fn trap_a_page_that_the_sdk_cannot_model_is_handed_on_as_it_is() {
        let item = r#"{"kid":"a","attributes":{"exp":99999999999999999,"created":"then","key_size":2048},"x":1.50}"#;
        let stage = Stage::new([page(item, "null")]);
        let pages = pages(&vault(&stage), Listing::Live(Kind::Key)).await.unwrap();
        assert_eq!(pages[0].items[0].get(), item);
    }

    #[tokio::test]
    async fn trap_a_link_to_another_host_gets_no_token() {
        for link in
            ["https://evil.example/keys", "http://prod.vault.azure.net/keys", "https://prod.vault.azure.net:8443/keys"]
        {
            let stage = Stage::new([page(r#"{"kid":"a"}"#, link)]);
            let error = pages(&vault(&stage), Listing::Live(Kind::Key)).await.unwrap_err();
            assert_eq!(error.condition, Condition::Malformed);
            assert!(error.message.contains("elsewhere"), "{error}");
            assert!(stage.fake.log().iter().all(|sent| sent.url.starts_with("https://prod.vault.azure.net/")));
        }
    }

    #[tokio::test]
    async fn trap_a_list_that_runs_in_a_circle_ends() {
        let link = "https://prod.vault.azure.net/secrets?$skiptoken=1";
        let stage = Stage::new([page("", link), page("", link)]);
        let error = pages(&vault(&stage), Listing::Live(Kind::Secret)).await.unwrap_err();
        assert!(error.condition == Condition::Malformed && error.message.contains("circle"), "{error}");
    }

    #[tokio::test]
    async fn a_page_that_fails_is_asked_for_again_and_not_the_whole_list() {
        let link = "https://prod.vault.azure.net/certificates?$skiptoken=1";
        let stage = Stage::new([page("{}", link), answer(503, ""), Step::Cut(200, "{\"value\""), page("{}", "null")]);
        let pages = pages(&vault(&stage), Listing::Live(Kind::Certificate)).await.unwrap();
        assert_eq!(pages.len(), 2);
        assert!(stage.fake.authorised()[1..].iter().all(|sent| sent.url.contains("skiptoken=1")));
    }

    #[tokio::test]
    async fn nonsense_is_told_as_such() {
        for (step, words, asked) in [
            (answer(200, "<html>sign in</html>"), "HTML", 3),
            (answer(200, r#"{"value":[{"kid":"#), "ends too early", 3),
            (answer(400, "<!DOCTYPE html><title>Runtime Error</title>"), "HTTP 400", 1),
            (with(302, &[("location", "https://evil.example/")], ""), "HTTP 302", 1),
        ] {
            let stage = Stage::new(vec![step; asked]);
            let error = pages(&vault(&stage), Listing::Deleted(Kind::Key)).await.unwrap_err();
            assert_eq!(error.condition, Condition::Malformed, "{error}");
            assert!(error.message.contains(words), "{error}");
            assert!(stage.done(), "{error}");
        }
    }

    #[tokio::test]
    async fn nonsense_that_passes_is_asked_again() {
        let whole = page(r#"{"kid":"a"}"#, "null");
        let stage = Stage::new([answer(200, "<html>"), answer(200, ""), whole]);
        let pages = pages(&vault(&stage), Listing::Live(Kind::Key)).await.unwrap();
        assert_eq!((pages[0].items.len(), stage.slept() >= 1), (1, true));
    }

    #[tokio::test]
    async fn a_page_whose_link_leads_astray_is_handed_on_before_the_list_fails() {
        let stage = Stage::new([page("1,null", "https://evil.example/")]);
        let vault = vault(&stage);
        let mut list = vault.list(Listing::Live(Kind::Key));
        assert_eq!(list.next().await.unwrap().unwrap().items.len(), 2, "whatever the items are");
        assert_eq!(list.next().await.unwrap().unwrap_err().condition, Condition::Malformed);
        assert!(list.next().await.is_none());
    }

    #[tokio::test]
    async fn trap_a_token_that_is_refused_is_not_shown_again() {
        let refused = || with(401, &[("www-authenticate", super::super::fake::CHALLENGE)], "{}");
        // The client shows a refused token twice: at first, and after the challenge.
        let stage = Stage::new([refused(), refused(), answer(200, BUNDLE)]);
        vault(&stage).get(Item::Deleted(tde())).await.unwrap();
        assert_eq!((stage.fake.tokens(), stage.slept()), (2, 0));
        let stage = Stage::new(vec![refused(); 5]);
        let error = vault(&stage).get(Item::Deleted(tde())).await.unwrap_err();
        assert_eq!((error.condition, stage.fake.tokens()), (Condition::Denied, 2), "once is enough");
    }

    #[tokio::test]
    async fn an_object_that_does_not_exist_has_no_versions() {
        let missing = r#"{"error":{"code":"KeyNotFound","message":"A key with (name/id) tde was not found"}}"#;
        let stage = Stage::new([answer(404, missing)]);
        assert!(pages(&vault(&stage), Listing::Versions(tde())).await.unwrap().is_empty());

        let stage = Stage::new([answer(404, "<html>not here</html>")]);
        let error = pages(&vault(&stage), Listing::Versions(tde())).await.unwrap_err();
        assert_eq!(error.condition, Condition::Malformed);

        let stage = Stage::new([page("{}", "https://prod.vault.azure.net/keys/tde/versions?x"), answer(404, missing)]);
        let error = pages(&vault(&stage), Listing::Versions(tde())).await.unwrap_err();
        assert_eq!(error.condition, Condition::NotFound);
    }

    #[tokio::test]
    async fn headers_that_manifests_record_are_kept() {
        let headers = [
            ("date", "Fri, 21 Nov 2025 18:20:05 GMT"),
            ("x-ms-keyvault-region", "westeurope"),
            ("x-ms-keyvault-service-version", "1.9.3070.2"),
            ("x-ms-request-id", "r"),
        ];
        let stage = Stage::new([with(200, &headers, BUNDLE)]);
        let vault = vault(&stage);
        let got = vault.get(Item::Key(tde().name, Some("0123abc".into()))).await.unwrap();
        assert_eq!(got.body.get(), BUNDLE);
        assert_eq!(got.exchange.region.as_deref(), Some("westeurope"));
        assert_eq!(got.exchange.service_version.as_deref(), Some("1.9.3070.2"));
        assert_eq!(vault.clock_skew(), Some(TimeDelta::seconds(5)));
        assert!(stage.fake.authorised()[0].url.ends_with("/keys/tde/0123abc?api-version=2025-07-01"));
        let wrong = vault.get(Item::Key(tde().name, Some("../../secrets/s".into()))).await.unwrap_err();
        assert_eq!(wrong.condition, Condition::Rejected);
    }

    #[tokio::test]
    async fn a_challenge_for_another_domain_gets_no_token() {
        let stage = Stage::new([]);
        let challenge =
            r#"Bearer authorization="https://login.microsoftonline.com/t", resource="https://evil.example""#;
        stage.fake.early([with(401, &[("www-authenticate", challenge)], "")]);
        let error = vault(&stage).backup(&tde()).await.unwrap_err();
        assert_eq!(error.condition, Condition::Malformed);
        assert!(error.message.contains("challenge"), "{error}");
        assert!(stage.fake.authorised().is_empty());
    }

    #[tokio::test]
    async fn trap_three_clients_and_many_lists_ask_for_one_challenge() {
        let empty = || page("", "null");
        let stage = Stage::new([empty(), empty(), empty(), empty()]);
        let vault = vault(&stage);
        let lists = Kind::ALL.map(|kind| pages(&vault, Listing::Live(kind)));
        let all = futures::join!(futures::future::join_all(lists), pages(&vault, Listing::Deleted(Kind::Key)));
        assert!(all.0.iter().chain([&all.1]).all(Result::is_ok));
        assert_eq!((stage.fake.log().len(), vault.traffic().requests), (5, 5), "four pages and one challenge");
    }

    #[tokio::test]
    async fn a_challenge_that_is_told_again_is_judged_again() {
        let stage = Stage::new([]);
        let challenge =
            r#"Bearer authorization="https://login.microsoftonline.com/t", scope="https://evil.example/.default""#;
        stage.fake.early([with(401, &[("www-authenticate", challenge)], "")]);
        let vault = vault(&stage);
        for object in ["key/tde", "secret/tde"] {
            let error = vault.backup(&Object::parse(object).unwrap()).await.unwrap_err();
            assert_eq!(error.condition, Condition::Malformed, "{error}");
            assert!(error.message.contains("challenge"), "{error}");
        }
        assert_eq!(stage.fake.log().len(), 1);
    }

    #[tokio::test]
    async fn trap_a_refused_sign_in_says_why_and_shows_no_secret() {
        let stage = Stage::new([]);
        let refusal = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1","error_codes":[7000215]}"#;
        stage.fake.login([answer(401, refusal), answer(401, refusal)]);
        let error = vault(&stage).backup(&tde()).await.unwrap_err();
        assert_eq!(error.condition, Condition::Denied);
        assert!(error.message.contains("a token: AADSTS7000215: Invalid client secret provided. Trace"), "{error}");
        assert!(!format!("{error:?}{error}{:?}", error.hint).contains(CANARY));

        let error = stage.connection.token_check("https://vault.azure.net/.default").await.unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Denied);
        assert!(error.message().contains("AADSTS7000215"), "{error}");
    }

    #[tokio::test]
    async fn an_identity_service_that_is_down_is_waited_for() {
        let stage = Stage::new([answer(200, BUNDLE)]);
        stage.fake.login([answer(503, ""), Step::Lost]);
        vault(&stage).get(Item::Deleted(tde())).await.unwrap();
        assert!(stage.slept() >= 1);
        stage.connection.token_check("https://storage.azure.com/.default").await.unwrap();
    }

    const DELETING: &str = r#"{"error":{"code":"Conflict","message":"Key is currently being deleted.","innererror":{"code":"ObjectIsBeingDeleted"}}}"#;
    const NO_DELETED: &str = r#"{"error":{"code":"KeyNotFound","message":"Deleted Key not found: tde"}}"#;
    const LIVE: &str = r#"{"error":{"code":"MethodNotAllowed","message":"Key exists already: tde","innererror":{"code":"RequestNotAllowedOnNonDeletedObject"}}}"#;

    #[tokio::test]
    async fn a_purge_asks_for_the_deleted_object_of_its_kind() {
        for (object, path) in [
            ("key/tde", "deletedkeys/tde"),
            ("secret/app", "deletedsecrets/app"),
            ("certificate/tls", "deletedcertificates/tls"),
        ] {
            let stage = Stage::new([answer(204, "")]);
            vault(&stage).purge(&Object::parse(object).unwrap()).await.unwrap();
            let sent = &stage.fake.authorised()[0];
            assert_eq!(sent.method, "DELETE");
            assert_eq!(sent.url, format!("https://prod.vault.azure.net/{path}?api-version=2025-07-01"));
        }
    }

    #[tokio::test]
    async fn trap_a_purge_or_recover_whose_answer_was_lost_is_done_when_the_next_try_says_so() {
        for lost in [Step::Lost, answer(503, ""), Step::Cut(500, "<")] {
            for next in [answer(404, NO_DELETED), answer(409, DELETING)] {
                let stage = Stage::new([lost.clone(), next]);
                vault(&stage).purge(&tde()).await.unwrap();
                assert!(stage.done());
            }
        }
        for lost in [Step::Lost, answer(200, "<html>"), Step::Cut(200, "{")] {
            let stage = Stage::new([lost, answer(400, LIVE)]);
            vault(&stage).recover(&tde()).await.unwrap();
            assert!(stage.done());
        }
    }

    #[tokio::test]
    async fn trap_what_nobody_did_before_is_not_taken_for_done() {
        for (step, condition) in [
            (answer(404, NO_DELETED), Condition::NotFound),
            (answer(409, DELETING), Condition::InTransition),
            (answer(400, LIVE), Condition::Live),
        ] {
            for early in [None, Some(answer(429, "")), Some(Step::NoConnection("refused"))] {
                let stage = || Stage::new(early.clone().into_iter().chain([step.clone()]));
                assert_eq!(vault(&stage()).purge(&tde()).await.unwrap_err().condition, condition);
                assert_eq!(vault(&stage()).recover(&tde()).await.unwrap_err().condition, condition);
            }
        }
        let error = vault(&Stage::new([answer(409, DELETING)])).purge(&tde()).await.unwrap_err();
        assert!(error.message.starts_with("couldn't purge deleted key \"tde\" of vault"), "{error}");
        assert!(error.hint.unwrap().contains("look again later"));
    }

    #[tokio::test]
    async fn purge_protection_says_until_when() {
        let protected = r#"{"error":{"code":"Forbidden","message":"Operation \"purge\" is not allowed because purge protection is enabled for this vault. Key Vault service will automatically purge it after the retention period has passed.\r\nVault: prod;location=westeurope"}}"#;
        let deleted = r#"{"recoveryId":"x","scheduledPurgeDate":1680645929}"#;
        let stage = Stage::new([answer(403, protected), answer(200, deleted)]);
        let error = vault(&stage).purge(&tde()).await.unwrap_err();
        assert_eq!(error.condition, Condition::Forbidden);
        let hint = "it holds its name until 2023-04-04 22:05:29Z: recover it, or restore into another vault";
        assert_eq!(error.hint.as_deref(), Some(hint));

        let stage = Stage::new([answer(403, protected), answer(404, NO_DELETED)]);
        assert_eq!(vault(&stage).purge(&tde()).await.unwrap_err().hint, None, "nobody knows");

        let managed = r#"{"error":{"code":"Forbidden","message":"Operation \"purge\" is not allowed as this object's lifetime is managed by Key Vault.","innererror":{"code":"KeyManagedByKeyVault"}}}"#;
        let stage = Stage::new([answer(403, managed)]);
        assert_eq!(vault(&stage).purge(&tde()).await.unwrap_err().condition, Condition::Forbidden);
    }

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[tokio::test]
    async fn settings_are_put_without_what_the_vault_alone_decides() {
        let policy =
            raw(r#"{"id":"x","lifetimeActions":[],"attributes":{"expiryTime":"P90D","created":1,"updated":2}}"#);
        let issuer = raw(r#"{"id":"x","provider":"Test","attributes":{"enabled":true,"created":1}}"#);
        let contacts = raw(r#"{"id":"x","contacts":[{"email":"a@b"}]}"#);
        let name = tde().name;
        for (setting, path, body) in [
            (
                Setting::RotationPolicy(&name, &policy),
                "keys/tde/rotationpolicy",
                r#"{"lifetimeActions":[],"attributes":{"expiryTime":"P90D"}}"#,
            ),
            (
                Setting::Issuer("own-1", &issuer),
                "certificates/issuers/own-1",
                r#"{"provider":"Test","attributes":{"enabled":true}}"#,
            ),
            (Setting::Contacts(&contacts), "certificates/contacts", r#"{"contacts":[{"email":"a@b"}]}"#),
        ] {
            // Lost, nonsense, and then it stands: the same again does no harm.
            let stage = Stage::new([Step::Lost, answer(200, "<html>"), answer(200, "{}")]);
            vault(&stage).write(setting).await.unwrap();
            for sent in stage.fake.authorised() {
                assert_eq!(sent.method, "PUT");
                assert_eq!(sent.url, format!("https://prod.vault.azure.net/{path}?api-version=2025-07-01"));
                let (sent, body): (Value, Value) =
                    (serde_json::from_slice(&sent.body).unwrap(), serde_json::from_str(body).unwrap());
                assert_eq!(sent, body);
            }
        }
    }

    #[tokio::test]
    async fn a_setting_that_cannot_be_written_says_what_and_why() {
        let issuer = raw(r#"{"provider":"Test"}"#);
        for wrong in ["", "a/b", "../contacts", "a?b", "a b", &"x".repeat(256)] {
            let stage = Stage::new([]);
            let error = vault(&stage).write(Setting::Issuer(wrong, &issuer)).await.unwrap_err();
            assert_eq!(error.condition, Condition::Rejected, "{wrong}");
        }
        let denied = r#"{"error":{"code":"Forbidden","message":"no","innererror":{"code":"ForbiddenByRbac"}}}"#;
        let (name, object) = (tde().name, raw("{}"));
        for (setting, what, action, role) in [
            (
                Setting::RotationPolicy(&name, &object),
                "couldn't write the rotation policy of key \"tde\" of vault",
                "keyrotationpolicies/write",
                "restore-operator",
            ),
            (
                Setting::Issuer("own", &issuer),
                "couldn't write the issuer \"own\" of vault",
                "certificatecas/write",
                "settings-writer",
            ),
            (
                Setting::Contacts(&object),
                "couldn't write the contacts of certificates of vault",
                "certificatecontacts/write",
                "settings-writer",
            ),
        ] {
            let error = vault(&Stage::new([answer(403, denied)])).write(setting).await.unwrap_err();
            assert_eq!(error.condition, Condition::Denied);
            assert!(error.message.starts_with(what), "{error}");
            let hint = error.hint.unwrap();
            assert!(hint.contains(&format!("grant the identity Microsoft.KeyVault/vaults/{action} on")), "{hint}");
            assert!(hint.contains(&format!("policies/roles/{role}.json")), "{hint}");
        }
        let error = vault(&Stage::new([answer(403, denied)])).purge(&tde()).await.unwrap_err();
        let hint = error.hint.unwrap();
        assert!(hint.contains("keys/purge/action on the vault (role policies/roles/purge-operator.json)"), "{hint}");
    }

    /// A gate that holds nobody up and remembers everything.
    #[derive(Debug, Default)]
    struct Recorder(std::sync::Mutex<Vec<String>>);

    impl Recorder {
        fn note(&self, text: String) {
            self.0.lock().unwrap().push(text);
        }

        fn heard(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    #[async_trait]
    impl Gate for Recorder {
        async fn enter(&self, load: Load<'_>) -> Pass {
            self.note(format!("{load:?}"));
            Pass::default()
        }

        fn heard(&self, _: Pass, heard: &Heard) {
            let outcome = match heard.outcome {
                Outcome::Served { .. } => "served".to_owned(),
                outcome => format!("{outcome:?}"),
            };
            self.note(format!("{} {outcome}", heard.requests));
        }

        fn learn(&self, keys: &[Box<RawValue>]) {
            self.note(format!("learn {}", keys.len()));
        }
    }

    #[tokio::test]
    async fn every_try_passes_the_gate_and_says_what_came_of_it() {
        let missing = r#"{"error":{"code":"KeyNotFound","message":"A key with (name/id) tde was not found"}}"#;
        let stage = Stage::new([
            with(503, &[("retry-after", "1")], ""),
            Step::Lost,
            answer(200, r#"{"value":"AA"}"#),
            page(r#"{"kid":"a"},{"kid":"b"}"#, "null"),
            page("{}", "null"),
            answer(404, missing),
            answer(200, BUNDLE),
        ]);
        let recorder = Arc::new(Recorder::default());
        let vault = vault(&stage).gated(recorder.clone());
        vault.backup(&tde()).await.unwrap();
        let strained = |retry_after: &str| format!("Strained {{ retry_after: {retry_after} }}");
        assert_eq!(
            recorder.heard(),
            [
                "Key(tde)",
                // The challenge is a request too.
                &format!("2 {}", strained("Some(1s)")),
                "Key(tde)",
                &format!("1 {}", strained("None")),
                "Key(tde)",
                "1 served"
            ]
        );
        assert_eq!(vault.traffic(), Traffic { requests: 4, throttled: 0, retried: 2 });
        pages(&vault, Listing::Live(Kind::Key)).await.unwrap();
        assert_eq!(recorder.heard(), ["List", "1 served", "learn 2"]);
        pages(&vault, Listing::Deleted(Kind::Key)).await.unwrap();
        assert_eq!(recorder.heard(), ["List", "1 served"]);
        pages(&vault, Listing::Versions(tde())).await.unwrap();
        assert_eq!(recorder.heard(), ["Key(tde)", "1 served"]);
        vault.get(Item::Key(tde().name, None)).await.unwrap();
        assert_eq!(recorder.heard(), ["Key(tde)", "1 served", "learn 1"]);
    }

    #[tokio::test]
    async fn changes_take_their_place_in_the_pace_like_everything_else() {
        let stage = Stage::new([
            answer(200, BUNDLE),
            answer(200, BUNDLE),
            answer(204, ""),
            Step::Lost,
            answer(404, NO_DELETED),
            answer(200, "{}"),
            answer(409, CONFLICT),
        ]);
        let recorder = Arc::new(Recorder::default());
        let vault = vault(&stage).gated(recorder.clone());
        vault.restore(Kind::Key, b"blob").await.unwrap();
        // The challenge is the first request's. What the key costs from now on stands in the answer.
        assert_eq!(recorder.heard(), ["Transaction", "2 served", "learn 1"]);
        vault.recover(&tde()).await.unwrap();
        assert_eq!(recorder.heard(), ["Key(tde)", "1 served"]);
        vault.purge(&Object::parse("secret/app").unwrap()).await.unwrap();
        assert_eq!(recorder.heard(), ["Transaction", "1 served"], "one challenge for all clients of a vault");
        vault.purge(&tde()).await.unwrap();
        let strained = "1 Strained { retry_after: None }";
        assert_eq!(recorder.heard(), ["Key(tde)", strained, "Key(tde)", "1 served"]);
        vault.write(Setting::RotationPolicy(&tde().name, &raw("{}"))).await.unwrap();
        assert_eq!(recorder.heard(), ["Key(tde)", "1 served"]);
        vault.restore(Kind::Secret, b"blob").await.unwrap_err();
        assert_eq!(recorder.heard(), ["Transaction", "1 served"]);
    }

    fn governed(stage: &Stage) -> Vault {
        let ambient = stage.connection.ambient.clone();
        vault(stage).gated(Governor::new(Subscription::new(1.0, ambient.clone()), ambient))
    }

    #[tokio::test]
    async fn a_wait_that_the_vault_asks_for_is_waited_once_and_by_all() {
        let stage = Stage::new([with(429, &[("retry-after", "30")], ""), answer(200, r#"{"value":"AA"}"#)]);
        governed(&stage).backup(&tde()).await.unwrap();
        assert_eq!(stage.slept(), 30);

        let stage = Stage::new([with(429, &[("retry-after", "86400")], ""), answer(200, r#"{"value":"AA"}"#)]);
        let vault = governed(&stage);
        assert_eq!(vault.backup(&tde()).await.unwrap_err().condition, Condition::Throttled);
        assert_eq!(stage.slept(), 0);
        vault.backup(&Object::parse("secret/other").unwrap()).await.unwrap();
        assert_eq!(stage.slept(), 60);
    }

    #[tokio::test]
    async fn time_at_the_gate_does_not_count_as_the_operations_own() {
        let busy = || with(429, &[("retry-after", "60")], "");
        let stage = Stage::new([busy(), busy(), busy(), busy(), answer(200, r#"{"value":"AA"}"#)]);
        governed(&stage).backup(&tde()).await.unwrap();
        assert_eq!(stage.slept(), 240, "more than an operation has for itself");
    }
}
