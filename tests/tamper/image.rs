//! A store as a value: cheap to copy, to damage, and to show to the verifier. It can lie: what it lists need not be what it
//! gives. Knows nothing of what files mean.

use std::collections::BTreeMap;

use akv_archiver::model::StorePath;
use akv_archiver::store::{Condition, Error, Guard, Listed, Protection, Read};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use futures::stream::{self, BoxStream, StreamExt as _};
use md5::{Digest as _, Md5};

/// One version of a file: what is listed of it, and its bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Version {
    pub(super) id: Option<String>,
    pub(super) current: bool,
    pub(super) bytes: Bytes,
    pub(super) size: u64,
    pub(super) md5: Option<[u8; 16]>,
    pub(super) created: DateTime<Utc>,
    pub(super) protection: Protection,
}

/// Every file of a store.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Image {
    pub(super) guard: Guard,
    /// Versions by name, the oldest first.
    pub(super) files: BTreeMap<String, Vec<Version>>,
}

impl Image {
    /// A copy of a store.
    pub(super) async fn of(store: &dyn Read) -> Image {
        let mut files: BTreeMap<String, Vec<Version>> = BTreeMap::new();
        let all: Vec<Listed> = store.list("").try_collect().await.unwrap();
        for Listed { path, version: id, current, size, md5, created, protection } in all {
            let path = path.unwrap();
            let bytes = store.get(&path, id.as_deref(), u64::MAX).await.unwrap();
            let version = Version { id, current, bytes, size, md5, created, protection };
            files.entry(path.to_string()).or_default().push(version);
        }
        Image { guard: store.guard().await.unwrap(), files }
    }

    pub(super) fn bytes(&self, name: &str) -> Bytes {
        self.files[name][0].bytes.clone()
    }

    pub(super) fn oldest(&mut self, name: &str) -> &mut Version {
        &mut self.files.get_mut(name).unwrap()[0]
    }

    /// Replaces the bytes of a file where they lie. The listing shows it.
    pub(super) fn put(&mut self, name: &str, bytes: impl Into<Bytes>) {
        self.oldest(name).put(bytes.into());
    }

    /// The same, and the listing goes on showing what it showed.
    pub(super) fn put_unseen(&mut self, name: &str, bytes: impl Into<Bytes>) {
        self.oldest(name).bytes = bytes.into();
    }

    /// Adds a file that is stored and protected as `like` is.
    pub(super) fn add(&mut self, name: &str, bytes: impl Into<Bytes>, like: &str) {
        let mut version = self.files[like][0].clone();
        version.id = version.id.map(|id| id + "7");
        version.put(bytes.into());
        self.files.insert(name.to_owned(), vec![version]);
    }

    /// Writes over a file: a new version, where there are versions.
    pub(super) fn write_over(&mut self, name: &str, bytes: impl Into<Bytes>) {
        let versions = self.files.get_mut(name).unwrap();
        let mut version = versions[0].clone();
        version.id = version.id.map(|id| format!("{id}{}", versions.len()));
        version.put(bytes.into());
        versions.iter_mut().for_each(|version| version.current = false);
        versions.push(version);
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let versions = self.files.remove(from).unwrap();
        self.files.insert(to.to_owned(), versions);
    }
}

impl Version {
    fn put(&mut self, bytes: Bytes) {
        self.size = bytes.len() as u64;
        self.md5 = self.md5.map(|_| Md5::digest(&bytes).into());
        self.bytes = bytes;
    }
}

#[async_trait]
impl Read for Image {
    fn describe(&self) -> String {
        "an image".to_owned()
    }

    async fn get(&self, path: &StorePath, version: Option<&str>, limit: u64) -> Result<Bytes, Error> {
        let mut versions = self.files.get(path.as_str()).into_iter().flatten();
        let found = match version {
            None => versions.find(|found| found.current),
            Some(id) => versions.find(|found| found.id.as_deref() == Some(id)),
        };
        let found = found.ok_or_else(|| Error::new(Condition::NotFound, format!("there is no {path}")))?;
        match found.bytes.len() as u64 > limit {
            true => Err(Error::new(Condition::TooLarge, format!("{path} is larger than {limit} bytes"))),
            false => Ok(found.bytes.clone()),
        }
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxStream<'a, Result<Listed, Error>> {
        let files = self.files.iter().filter(move |(name, _)| name.starts_with(prefix));
        let items = files.flat_map(|(name, versions)| {
            versions.iter().map(move |version| {
                Ok(Listed {
                    path: StorePath::parse(name).ok_or_else(|| name.clone()),
                    version: version.id.clone(),
                    current: version.current,
                    size: version.size,
                    md5: version.md5,
                    created: version.created,
                    protection: version.protection,
                })
            })
        });
        stream::iter(items).boxed()
    }

    async fn guard(&self) -> Result<Guard, Error> {
        Ok(self.guard.clone())
    }
}
