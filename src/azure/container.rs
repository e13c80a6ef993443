//! A blob container in Azure: `store::Read` and `store::Append`. One conditional Put Blob per file, with everything in
//! it, is all that a role with `blobs/add` allows and all that a WORM container lets pass (`azure.md` §7.2).

mod protect;
mod seat;
mod whole;

use std::num::NonZero;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::http::pager::PagerOptions;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{ClientMethodOptions, Context, Etag, Request, RequestContent};
use azure_storage_blob::BlobContainerClient;
use azure_storage_blob::models::{
    BlobClientDownloadOptions, BlobClientGetPropertiesOptions, BlobClientUploadOptions,
    BlobContainerClientGetPropertiesOptions, BlobContainerClientListBlobsOptions, ListBlobsIncludeItem,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt as _};
use md5::{Digest as _, Md5};
use tokio::sync::OnceCell;
use url::Url;

use super::arm::{Arm, Retention};
use super::classify::{Aim, blob_error, gone, taken};
use super::failure::Failure;
use super::listing::{BlobPage, blob_page, md5, yes};
use super::retry::{Caller, Repeat};
use super::trail::Trail;
use super::wire::Answer;
use crate::model::{Mode, StorePath};
use crate::store::{Append, Condition, Created, Error, Guard, Listed, Read, Worm};
use crate::vault::Load;

/// Blobs in a page of a listing. Azure gives up to 5,000; a page is held whole, in several forms, and this many take
/// 1.5 MB of text, and as much again in each form.
const PAGE: i32 = 1_000;

/// The most that one Put Blob takes: 5,000 MiB. Never more in several blocks, which needs a permission to overwrite.
const PUT_LIMIT: u64 = 5_000 << 20;

/// Bytes asked for at once when a blob is read.
const PART: u64 = 4 << 20;

/// How often a create whose outcome is open is looked at and tried again.
const ROUNDS: u32 = 5;

/// A container, reached with one identity.
pub struct Container {
    address: Url,
    client: BlobContainerClient,
    caller: Caller,
    arm: Option<Arc<Arm>>,
    /// The container's resource id, once it was looked for.
    id: OnceCell<String>,
}

impl Container {
    /// A container whose requests go through `client` and are counted and repeated by `caller`.
    pub(super) fn new(address: Url, client: BlobContainerClient, caller: Caller, arm: Option<Arc<Arm>>) -> Self {
        Container { address, client, caller, arm, id: OnceCell::new() }
    }

    /// What has been asked so far.
    pub fn traffic(&self) -> crate::vault::Traffic {
        self.caller.meter().traffic()
    }

    fn error(&self, failure: &Failure, aim: &Aim<'_>) -> Error {
        blob_error(failure, &self.address, aim)
    }

    fn malformed(&self, why: String, aim: &Aim<'_>) -> Error {
        self.error(&Failure::malformed(why), aim)
    }

    /// The container's own properties, which show of a policy only whether there is one.
    async fn properties(&self) -> Result<Answer, Error> {
        let operation = |context| {
            let method_options = ClientMethodOptions { context };
            let options = BlobContainerClientGetPropertiesOptions { method_options, ..Default::default() };
            async move { self.client.get_properties(Some(options)).await.map(drop) }
        };
        let answer = self.caller.call(Repeat::Freely, operation).await;
        answer.map_err(|failure| self.error(&failure, &Aim::Inspect))
    }

    /// One range of a blob; of the version with that tag, if one is given.
    async fn part(
        &self,
        path: &StorePath,
        version: Option<&str>,
        range: std::ops::Range<u64>,
        etag: Option<&str>,
    ) -> Result<Answer, Failure> {
        let blob = self.client.blob_client(path.as_str());
        let blob = &blob;
        let operation = |context| {
            let options = BlobClientDownloadOptions {
                if_match: etag.map(Etag::from),
                method_options: ClientMethodOptions { context },
                parallel: Some(NonZero::<usize>::MIN),
                // The range is one partition: further ones the SDK fetches in tasks of its own, without our retries.
                partition_size: NonZero::new(PART as usize),
                range: Some(range.clone().into()),
                version_id: version.map(str::to_owned),
                ..BlobClientDownloadOptions::default()
            };
            async move { blob.download(Some(options)).await.map(drop) }
        };
        self.caller.call(Repeat::Freely, operation).await
    }

    /// One page of a listing.
    async fn page(&self, prefix: &str, marker: Option<String>) -> Result<BlobPage, Error> {
        let operation = |context| {
            let options = BlobContainerClientListBlobsOptions {
                include: Some(vec![
                    ListBlobsIncludeItem::Versions,
                    ListBlobsIncludeItem::ImmutabilityPolicy,
                    ListBlobsIncludeItem::LegalHold,
                ]),
                marker: marker.clone(),
                maxresults: Some(PAGE),
                prefix: Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()),
                method_options: PagerOptions { context, ..PagerOptions::default() },
                ..BlobContainerClientListBlobsOptions::default()
            };
            async move {
                let mut pages = self.client.list_blobs(Some(options))?.into_pages();
                pages.next().await.map_or(Ok(()), |page| page.map(drop))
            }
        };
        let read = self.caller.read(Load::Transaction, operation, |answer| blob_page(&answer.body)).await;
        Ok(read.map_err(|failure| self.error(&failure, &Aim::List))?.0)
    }

    /// Sends the one Put Blob, again only while nothing can have happened.
    async fn put(&self, path: &StorePath, bytes: &Bytes, digest: [u8; 16]) -> Result<Answer, Failure> {
        let blob = self.client.blob_client(path.as_str());
        let blob = &blob;
        let operation = |context: Context<'static>| {
            let context = context.with_value(TransactionalMd5(STANDARD.encode(digest)));
            let options = BlobClientUploadOptions {
                blob_content_md5: Some(digest.to_vec()),
                method_options: ClientMethodOptions { context },
                // One request needs no more; without it the SDK asks the system, each time, how many processors there are.
                parallel: Some(NonZero::<usize>::MIN),
                partition_size: NonZero::new(PUT_LIMIT),
                ..BlobClientUploadOptions::default()
            };
            let content: RequestContent<_, _> = bytes.clone().into();
            async move { blob.upload(content, Some(options.if_not_exists())).await.map(drop) }
        };
        self.caller.call(Repeat::UntilUnclear, operation).await
    }

    /// What a name holds now, compared with what was to be put there.
    async fn look(&self, path: &StorePath, bytes: &Bytes, digest: [u8; 16]) -> Result<Found, Error> {
        let aim = Aim::Create(path);
        let blob = self.client.blob_client(path.as_str());
        let blob = &blob;
        let operation = |context| {
            let method_options = ClientMethodOptions { context };
            let options = BlobClientGetPropertiesOptions { method_options, ..Default::default() };
            async move { blob.get_properties(Some(options)).await.map(drop) }
        };
        let answer = match self.caller.call(Repeat::Freely, operation).await {
            Ok(answer) => answer,
            Err(failure) if failure.refusal().is_some_and(gone) => return Ok(Found::Nothing),
            Err(mut failure) => {
                failure.unclear = true;
                return Err(self.error(&failure, &aim));
            }
        };
        let version = answer.header("x-ms-version-id").map(str::to_owned);
        let same = match answer.header("content-md5").and_then(md5) {
            Some(found) => {
                let size = answer.header("content-length").and_then(|text| text.parse::<usize>().ok());
                found == digest && size.is_none_or(|size| size == bytes.len())
            }
            None => match self.get(path, version.as_deref(), bytes.len() as u64).await {
                Ok(found) => found == *bytes,
                Err(error) if error.condition == Condition::TooLarge => false,
                Err(error) => return Err(error),
            },
        };
        Ok(if same { Found::Same(version) } else { Found::Other })
    }
}

/// Which of Azure's mechanisms a container's properties tell of.
fn worm(properties: &Answer) -> Worm {
    let says = |name| properties.header(name).is_some_and(yes);
    if says("x-ms-immutable-storage-with-versioning-enabled") {
        Worm::VersionLevel
    } else if says("x-ms-has-immutability-policy") {
        Worm::ContainerLevel
    } else {
        Worm::None
    }
}

/// What a look at a name found.
enum Found {
    Nothing,
    Same(Option<String>),
    Other,
}

#[async_trait]
impl Read for Container {
    fn describe(&self) -> String {
        format!("container {}", self.address)
    }

    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, Error> {
        let aim = Aim::Read(path);
        let too_large = |size: u64| {
            let text = format!("couldn't read {path} in container {}: {size} bytes, more than {limit}", self.address);
            Error::new(Condition::TooLarge, text)
        };
        let mut bytes = BytesMut::new();
        let mut etag: Option<String> = None;
        loop {
            let start = bytes.len() as u64;
            // One byte beyond the limit shows that there is more, without reading it.
            let end = (start + PART).min(limit.saturating_add(1));
            let answer = self.part(path, version, start..end, etag.as_deref()).await;
            let answer = answer.map_err(|failure| self.error(&failure, &aim))?;
            // A service without versions may ignore which was asked for, and answer with what is there now.
            if let Some(asked) = version.filter(|asked| answer.header("x-ms-version-id") != Some(asked)) {
                let text = format!("couldn't read {path} in container {}: no version {asked}", self.address);
                return Err(Error::new(Condition::NotFound, text));
            }
            let total = match content_range(&answer) {
                Some((first, total)) if first == start => total,
                // An empty blob has no ranges; it is answered whole.
                None if answer.status == 200 && start == 0 => answer.body.len() as u64,
                _ => return Err(self.malformed("it is not the range that was asked for".to_owned(), &aim)),
            };
            if total > limit {
                return Err(too_large(total));
            }
            let expected = total.min(end).saturating_sub(start);
            if answer.body.len() as u64 != expected {
                let why = format!("{} bytes where {expected} were due", answer.body.len());
                return Err(self.malformed(why, &aim));
            }
            // All of it at once: a buffer that grows is copied each time.
            bytes.reserve(usize::try_from(total).unwrap_or(0).saturating_sub(bytes.len()));
            bytes.extend_from_slice(&answer.body);
            if bytes.len() as u64 >= total {
                return Ok(bytes.freeze());
            }
            if etag.is_none() {
                let tag = answer.header("etag").map(str::to_owned);
                etag = Some(tag.ok_or_else(|| self.malformed("it has no ETag".to_owned(), &aim))?);
            }
        }
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, Error>> {
        let start = Scan { trail: Trail::new(self.address.clone()), marker: Some(None), held: Vec::new() };
        stream::try_unfold(start, move |mut scan| async move {
            while let Some(marker) = scan.marker.take() {
                let page = self.page(prefix, marker).await?;
                if let Some(next) = page.next {
                    scan.trail.mark(&next).map_err(|why| self.malformed(why, &Aim::List))?;
                    scan.marker = Some(Some(next));
                }
                let ready = scan.take_in(page.items);
                if !ready.is_empty() {
                    return Ok(Some((ready, scan)));
                }
            }
            let rest = scan.finish();
            Ok((!rest.is_empty()).then_some((rest, scan)))
        })
        .map(|batch: Result<Vec<Listed>, Error>| {
            let items: Vec<Result<Listed, Error>> = match batch {
                Ok(items) => items.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            stream::iter(items)
        })
        .flatten()
        .boxed()
    }

    async fn guard(&self) -> Result<Guard, Error> {
        let answer = self.properties().await?;
        let worm = worm(&answer);
        // The lock is another permission at another service: neither its absence nor an outage there stops a job here.
        let retention = match &self.arm {
            Some(arm) => match arm.retention(&self.address).await {
                Ok(retention) => Some(retention),
                Err(error) => {
                    tracing::warn!(%error, "whether the container's policy is locked is not known");
                    None
                }
            },
            None => None,
        };
        let (lock, days) = match retention {
            Some(Retention { mode: Mode::None, .. }) => (Some(Mode::None), None),
            Some(Retention { mode, days }) => (Some(mode), days),
            None => (None, None),
        };
        Ok(Guard { worm, lock, days, legal_hold: answer.header("x-ms-has-legal-hold").is_some_and(yes) })
    }
}

#[async_trait]
impl Append for Container {
    async fn create(&self, path: &StorePath, bytes: Bytes) -> Result<Created, Error> {
        let aim = Aim::Create(path);
        if bytes.len() as u64 > PUT_LIMIT {
            let text = format!("couldn't create {path} in container {}: more than {PUT_LIMIT} bytes", self.address);
            return Err(Error::new(Condition::TooLarge, text));
        }
        let digest: [u8; 16] = Md5::digest(&bytes).into();
        let exists = |failure: &Failure| {
            let mut error = self.error(failure, &aim);
            error.condition = Condition::Exists;
            error
        };
        let mut open = false;
        for round in 1.. {
            let failure = match self.put(path, &bytes, digest).await {
                Ok(answer) => {
                    return Ok(Created { version: answer.header("x-ms-version-id").map(str::to_owned) });
                }
                Err(failure) => failure,
            };
            let taken = failure.refusal().is_some_and(taken);
            open |= failure.unclear;
            if taken && !open {
                return Err(exists(&failure));
            }
            if !open {
                return Err(self.error(&failure, &aim));
            }
            // An answer was lost: the name may hold our bytes, another writer's, or nothing.
            match self.look(path, &bytes, digest).await? {
                Found::Same(version) => return Ok(Created { version }),
                Found::Other => {
                    let text = format!("couldn't create {path} in container {}: it holds other bytes", self.address);
                    return Err(Error::new(Condition::Exists, text));
                }
                Found::Nothing if round < ROUNDS => self.caller.pause(round).await,
                Found::Nothing => return Err(self.error(&failure, &aim)),
            }
        }
        Err(self.malformed("there was none".to_owned(), &aim))
    }
}

/// A listing under way. Versions of one name may be spread over pages, and are put in order once all are there.
struct Scan {
    trail: Trail,
    /// The page to get next: `Some(None)` is the first.
    marker: Option<Option<String>>,
    /// The versions so far of the last name seen.
    held: Vec<Listed>,
}

impl Scan {
    /// Takes in a page; gives back the names that are complete.
    fn take_in(&mut self, items: Vec<Listed>) -> Vec<Listed> {
        let mut ready = Vec::new();
        for item in items {
            if self.held.first().is_some_and(|held| held.path != item.path) {
                ready.append(&mut self.finish());
            }
            self.held.push(item);
        }
        ready
    }

    /// The last name's versions, the oldest first. Version ids are times of one fixed form, so text order is time order.
    fn finish(&mut self) -> Vec<Listed> {
        self.held.sort_by(|a, b| a.version.cmp(&b.version));
        std::mem::take(&mut self.held)
    }
}

/// First byte and total size from `Content-Range: bytes 0-99/1000`.
fn content_range(answer: &Answer) -> Option<(u64, u64)> {
    let (range, total) = answer.header("content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, total.parse().ok()?))
}

/// The MD5 of a request's body, in base64, on its way to [`ContentMd5`].
#[derive(Debug)]
struct TransactionalMd5(String);

/// Adds `Content-MD5` to a Put Blob, which makes the service refuse a body that was damaged on its way. The SDK's
/// one-shot upload has no option for it (`sdk.md` §0.4).
#[derive(Debug)]
pub(super) struct ContentMd5;

#[async_trait]
impl Policy for ContentMd5 {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        if let Some(TransactionalMd5(digest)) = ctx.value() {
            request.insert_header("content-md5", digest.clone());
        }
        match next.split_first() {
            Some((next, rest)) => next.send(ctx, request, rest).await,
            None => Err(azure_core::Error::with_message(azure_core::error::ErrorKind::Other, "no transport")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Stage, Step, answer, with};
    use super::*;
    use futures::TryStreamExt as _;

    const VERSION: &str = "2025-11-21T18:20:00.0000001Z";

    fn container(stage: &Stage) -> Container {
        let address = Url::parse("https://archive.blob.core.windows.net/vaults").unwrap();
        stage.connection.container(&address, None).unwrap()
    }

    fn path() -> StorePath {
        StorePath::parse("vaults/prod.vault.azure.net/log/0000000001").unwrap()
    }

    fn created() -> Step {
        with(201, &[("x-ms-version-id", VERSION)], "")
    }

    fn head(bytes: &[u8]) -> Step {
        let digest = STANDARD.encode(Md5::digest(bytes));
        let length = bytes.len().to_string();
        with(200, &[("content-md5", &digest), ("content-length", &length), ("x-ms-version-id", VERSION)], "")
    }

    fn refused(status: u16, code: &str) -> Step {
        with(status, &[("x-ms-error-code", code)], "")
    }

    #[tokio::test]
    async fn trap_a_file_is_one_conditional_put_with_both_digests() {
        let stage = Stage::new([created()]);
        let bytes = Bytes::from(vec![7; 9 << 20]);
        let made = container(&stage).create(&path(), bytes.clone()).await.unwrap();
        assert_eq!(made.version.as_deref(), Some(VERSION));
        let sent = stage.fake.log();
        assert_eq!(sent.len(), 1, "no blocks, no second request");
        let digest = STANDARD.encode(Md5::digest(&bytes));
        assert_eq!(sent[0].header("content-md5"), Some(digest.as_str()));
        assert_eq!(sent[0].header("x-ms-blob-content-md5"), Some(digest.as_str()));
        assert_eq!(sent[0].header("if-none-match"), Some("*"));
        assert_eq!(sent[0].header("x-ms-blob-type"), Some("BlockBlob"));
        assert_eq!(sent[0].body, bytes);
    }

    #[tokio::test]
    async fn trap_a_success_whose_answer_was_lost_is_found_by_looking() {
        for lost in [Step::Lost, answer(500, ""), answer(503, "")] {
            let stage = Stage::new([lost, head(b"entry")]);
            let made = container(&stage).create(&path(), Bytes::from_static(b"entry")).await.unwrap();
            assert_eq!(made.version.as_deref(), Some(VERSION));
            assert!(stage.done());
        }
    }

    #[tokio::test]
    async fn trap_a_conflict_after_a_lost_answer_may_be_our_own_file() {
        let steps = || [Step::Lost, refused(404, "BlobNotFound"), refused(409, "BlobAlreadyExists")];
        let stage = Stage::new(steps().into_iter().chain([head(b"entry")]));
        container(&stage).create(&path(), Bytes::from_static(b"entry")).await.unwrap();

        let stage = Stage::new(steps().into_iter().chain([head(b"another writer's")]));
        let error = container(&stage).create(&path(), Bytes::from_static(b"entry")).await.unwrap_err();
        assert_eq!(error.condition, Condition::Exists);
    }

    #[tokio::test]
    async fn a_lost_create_that_left_nothing_is_done_again() {
        let stage = Stage::new([Step::Lost, refused(404, "BlobNotFound"), created()]);
        container(&stage).create(&path(), Bytes::from_static(b"entry")).await.unwrap();
        let puts = stage.fake.log().iter().filter(|sent| sent.method == "PUT").count();
        assert_eq!(puts, 2);
    }

    #[tokio::test]
    async fn a_taken_name_is_told_at_once() {
        for code in ["BlobAlreadyExists", "BlobImmutableDueToPolicy"] {
            let stage = Stage::new([refused(409, code)]);
            let error = container(&stage).create(&path(), Bytes::from_static(b"entry")).await.unwrap_err();
            assert_eq!(error.condition, Condition::Exists);
            assert!(error.message.contains(code) && error.message.contains("log/0000000001"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_outcome_that_cannot_be_looked_at_is_told_as_unknown() {
        let stage = Stage::new([Step::Lost, refused(403, "AuthorizationPermissionMismatch")]);
        let error = container(&stage).create(&path(), Bytes::from_static(b"entry")).await.unwrap_err();
        assert_eq!(error.condition, Condition::Denied);
        assert!(error.message.contains("not known"), "{error}");
    }

    #[tokio::test]
    async fn a_file_without_a_stored_digest_is_compared_byte_by_byte() {
        let whole = || with(206, &[("content-range", "bytes 0-4/5"), ("etag", "e")], "entry");
        let stage = Stage::new([Step::Lost, answer(200, ""), whole()]);
        container(&stage).create(&path(), Bytes::from_static(b"entry")).await.unwrap();
        let stage = Stage::new([Step::Lost, answer(200, ""), whole()]);
        let error = container(&stage).create(&path(), Bytes::from_static(b"other")).await.unwrap_err();
        assert_eq!(error.condition, Condition::Exists);
    }

    #[tokio::test]
    async fn a_large_file_is_read_in_parts_of_one_version() {
        let total = PART as usize + 3;
        let first = format!("bytes 0-{}/{total}", PART - 1);
        let second = format!("bytes {PART}-{}/{total}", total - 1);
        fn part(range: &str) -> [(&'static str, &str); 3] {
            [("content-range", range), ("etag", "\"e1\""), ("x-ms-version-id", VERSION)]
        }
        let stage = Stage::new([
            with(206, &part(&first), vec![1; PART as usize]),
            answer(503, ""),
            with(206, &part(&second), vec![2; 3]),
        ]);
        let bytes = container(&stage).get(&path(), Some(VERSION), u64::MAX).await.unwrap();
        assert_eq!((bytes.len(), bytes[0], bytes[total - 1]), (total, 1, 2));
        let sent = stage.fake.log();
        assert!(sent.iter().all(|sent| sent.url.contains("versionid=2025-11-21T18")), "{}", sent[0].url);
        assert_eq!(sent[2].header("if-match"), Some("\"e1\""));
    }

    #[tokio::test]
    async fn trap_a_service_that_ignores_versions_has_not_that_version() {
        for version in [None, Some("2025-11-21T18:20:00.0000002Z")] {
            let range = [("content-range", "bytes 0-4/5"), ("etag", "e")];
            let headers: Vec<(&str, &str)> =
                range.into_iter().chain(version.map(|version| ("x-ms-version-id", version))).collect();
            let stage = Stage::new([with(206, &headers, "entry"), with(206, &headers, "entry")]);
            let container = container(&stage);
            let error = container.get(&path(), Some(VERSION), 10).await.unwrap_err();
            assert_eq!(error.condition, Condition::NotFound);
            assert!(error.message.contains(VERSION), "{error}");
            assert_eq!(container.get(&path(), None, 10).await.unwrap(), "entry");
        }
    }

    #[tokio::test]
    async fn a_file_beyond_the_limit_is_not_read() {
        let stage = Stage::new([with(206, &[("content-range", "bytes 0-4/99999"), ("etag", "e")], "01234")]);
        let error = container(&stage).get(&path(), None, 4).await.unwrap_err();
        assert_eq!(error.condition, Condition::TooLarge);
        let asked = &stage.fake.log()[0];
        let range = asked.header("x-ms-range").or(asked.header("range"));
        assert_eq!(range, Some("bytes=0-4"), "one byte beyond the limit at most");
    }

    #[tokio::test]
    async fn an_empty_file_and_a_cut_one_are_told_apart() {
        let stage = Stage::new([refused(416, "InvalidRange"), with(200, &[("content-length", "0")], "")]);
        assert!(container(&stage).get(&path(), None, 10).await.unwrap().is_empty());

        let stage = Stage::new([with(206, &[("content-range", "bytes 0-4/5"), ("etag", "e")], "ent")]);
        assert_eq!(container(&stage).get(&path(), None, 10).await.unwrap_err().condition, Condition::Malformed);
        let stage = Stage::new([refused(404, "BlobNotFound")]);
        assert_eq!(container(&stage).get(&path(), None, 10).await.unwrap_err().condition, Condition::NotFound);
    }

    fn blobs(items: &[(&str, &str, &str)], next: &str) -> Step {
        let items: String = items.iter().map(|(name, version, mode)| format!("<Blob><Name>{name}</Name><VersionId>{version}</VersionId><Properties><Creation-Time>Fri, 21 Nov 2025 18:20:00 GMT</Creation-Time><Content-Length>5</Content-Length><BlobType>BlockBlob</BlobType><ImmutabilityPolicyMode>{mode}</ImmutabilityPolicyMode></Properties></Blob>")).collect();
        answer(
            200,
            format!(
                "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ContainerName=\"vaults\"><Blobs>{items}</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"
            ),
        )
    }

    #[tokio::test]
    async fn trap_versions_come_oldest_first_across_pages_and_unknown_modes() {
        let stage = Stage::new([
            blobs(&[("a", "2025-02", "locked"), ("b", "2025-09", "Locked")], "m1"),
            answer(503, ""),
            blobs(&[], "m2"),
            blobs(&[("b", "2025-01", "frozen"), ("not a path", "2025-01", "unlocked")], ""),
        ]);
        let container = container(&stage);
        let all: Vec<Listed> = container.list("").try_collect().await.unwrap();
        let seen: Vec<_> =
            all.iter().map(|item| (item.path.clone().map(|p| p.to_string()), item.version.as_deref())).collect();
        assert_eq!(
            seen,
            [
                (Ok("a".to_owned()), Some("2025-02")),
                (Ok("b".to_owned()), Some("2025-01")),
                (Ok("b".to_owned()), Some("2025-09")),
                (Err("not a path".to_owned()), Some("2025-01")),
            ]
        );
        assert_eq!(all[2].protection.mode, Mode::Locked);
        assert_eq!(all[1].protection.mode, Mode::Unlocked);
        let asked = stage.fake.log();
        assert!(asked[0].url.contains("versions") && asked[0].url.contains("immutabilitypolicy"), "{}", asked[0].url);
        assert!(asked[2].url.contains("marker=m1"), "{}", asked[2].url);
    }

    #[tokio::test]
    async fn trap_a_listing_that_runs_in_a_circle_ends() {
        let stage = Stage::new([blobs(&[("a", "1", "locked")], "m"), blobs(&[("b", "1", "locked")], "m")]);
        let container = container(&stage);
        let error = container.list("").try_collect::<Vec<Listed>>().await.unwrap_err();
        assert!(error.condition == Condition::Malformed && error.message.contains("circle"), "{error}");
    }

    #[tokio::test]
    async fn the_guard_tells_the_two_mechanisms_apart() {
        for (headers, worm) in [
            (
                &[("x-ms-has-immutability-policy", "true"), ("x-ms-immutable-storage-with-versioning-enabled", "true")]
                    [..],
                Worm::VersionLevel,
            ),
            (&[("x-ms-has-immutability-policy", "true"), ("x-ms-has-legal-hold", "true")], Worm::ContainerLevel),
            (&[], Worm::None),
        ] {
            let stage = Stage::new([with(200, headers, "")]);
            let guard = container(&stage).guard().await.unwrap();
            assert_eq!((guard.worm, guard.lock), (worm, None));
            assert_eq!(guard.legal_hold, worm == Worm::ContainerLevel);
        }
    }

    #[test]
    fn an_address_with_a_signature_is_refused_and_not_repeated() {
        let stage = Stage::new([]);
        for wrong in [
            "https://a.blob.core.windows.net/c?sig=hunter2",
            "https://a.blob.core.windows.net/",
            "http://a/c",
            "https://a/c/d",
        ] {
            let error = stage.connection.container(&Url::parse(wrong).unwrap(), None).err().unwrap();
            assert_eq!(error.kind(), crate::error::Kind::Usage);
            assert!(!error.message().contains("hunter2"));
        }
    }
}
