//! The captures of one vault as a listing shows them, and what manifests say of them: exact, and a million in little
//! memory. Knows nothing of protection periods and reads no file.

use super::finding::{Code, Findings};
use crate::format::manifest::CaptureRef;
use crate::format::paths;
use crate::model::{Digest, Mode, StorePath, VaultUri, unhex};
use crate::store::{Listed, Protection};

/// How every sealed file's name ends, which need not be kept a million times.
const SUFFIX: &str = ".tar.zst.age";

/// Stands for "no time", which is a time before all others.
const NEVER: i64 = i64::MIN;

/// Captures and sealed settings, ordered by path.
pub(super) struct Captures {
    prefix: String,
    /// Paths without prefix and suffix, each followed by its version.
    text: String,
    files: Vec<File>,
    ordered: bool,
    kids: Vec<String>,
}

/// One file: the oldest version of its path.
struct File {
    at: usize,
    path: u16,
    version: u16,
    size: u64,
    md5: Option<[u8; 16]>,
    until: i64,
    mode: Mode,
    legal_hold: bool,
    /// What the first manifest that refers to it says of it.
    sha256: Option<Digest>,
    kid: Option<u16>,
    covered: bool,
    doubted: bool,
}

/// A capture that is to be read.
pub(super) struct Wanted {
    pub(super) path: String,
    pub(super) version: Option<String>,
    pub(super) size: u64,
    pub(super) sha256: Digest,
    pub(super) kid: Option<String>,
    /// Whether it is to be opened, if somebody can.
    pub(super) open: bool,
}

impl Captures {
    /// None yet, of this vault.
    pub(super) fn new(vault: &VaultUri) -> Self {
        let prefix = paths::vault_prefix(vault);
        Captures { prefix, text: String::new(), files: Vec::new(), ordered: true, kids: Vec::new() }
    }

    fn key(&self, file: &File) -> &str {
        self.text.get(file.at..file.at + usize::from(file.path)).unwrap_or_default()
    }

    fn version(&self, file: &File) -> Option<&str> {
        let at = file.at + usize::from(file.path);
        self.text.get(at..at + usize::from(file.version)).filter(|version| !version.is_empty())
    }

    fn path(&self, file: &File) -> String {
        format!("{}{}{SUFFIX}", self.prefix, self.key(file))
    }

    fn key_of<'p>(&self, path: &'p StorePath) -> Option<&'p str> {
        path.as_str().strip_prefix(&self.prefix)?.strip_suffix(SUFFIX)
    }

    /// One more version of a file of this vault, in the order of the listing. A second version of a path is a finding.
    pub(super) fn add(&mut self, path: &StorePath, listed: &Listed, protection: Protection, findings: &mut Findings) {
        let Some(key) = self.key_of(path) else { return };
        match self.files.last().map(|last| self.key(last).cmp(key)) {
            Some(std::cmp::Ordering::Equal) => return super::inventory::report_extra(path.as_str(), listed, findings),
            Some(std::cmp::Ordering::Greater) => self.ordered = false,
            _ => {}
        }
        let version = listed.version.as_deref().unwrap_or_default();
        let (Ok(path), Ok(length)) = (u16::try_from(key.len()), u16::try_from(version.len())) else {
            return findings.add(Code::ForeignFile, path.as_str(), "its version id is longer than any store's");
        };
        let at = self.text.len();
        self.text.push_str(key);
        self.text.push_str(version);
        self.files.push(File {
            at,
            path,
            version: length,
            size: listed.size,
            md5: listed.md5,
            until: protection.until.map_or(NEVER, |until| until.timestamp()),
            mode: protection.mode,
            legal_hold: protection.legal_hold,
            sha256: None,
            kid: None,
            covered: false,
            doubted: false,
        });
    }

    /// The listing is over. A store that did not keep its promise of an order is put in order.
    pub(super) fn complete(&mut self, findings: &mut Findings) {
        if self.ordered {
            return;
        }
        let mut files = std::mem::take(&mut self.files);
        // Stable: of one path the version that was listed first stays first.
        files.sort_by(|a, b| self.key(a).cmp(self.key(b)));
        files.dedup_by(|next, kept| {
            let same = self.key(next) == self.key(kept);
            if same {
                let version = self.version(next).unwrap_or_default();
                findings.add(Code::ExtraVersion, self.path(next), format!("version {version} was written over it"));
            }
            same
        });
        self.files = files;
        self.ordered = true;
    }

    /// Where a path is.
    pub(super) fn find(&self, path: &StorePath) -> Option<usize> {
        let key = self.key_of(path)?;
        self.files.binary_search_by(|file| self.key(file).cmp(key)).ok()
    }

    /// Notes that a manifest refers to a file. Says whether it is the first to do so, and what does not agree: with the
    /// listing, or with an earlier manifest. Of one file that is told once.
    pub(super) fn refer(
        &mut self,
        index: usize,
        reference: &CaptureRef,
        covered: bool,
    ) -> (bool, Option<&'static str>) {
        let kid = reference.kid.as_ref().and_then(|kid| self.kid(kid));
        let Some(file) = self.files.get(index) else { return (false, None) };
        let first = file.sha256.is_none();
        let told = match file.sha256.is_some_and(|sha256| sha256 != reference.sha256) {
            true => Some("two manifests give it different digests"),
            false => difference(reference, file.size, file.md5, self.version(file)),
        };
        let Some(file) = self.files.get_mut(index) else { return (false, None) };
        if first {
            (file.sha256, file.kid, file.covered) = (Some(reference.sha256), kid, covered);
        }
        let new = told.filter(|_| !file.doubted);
        file.doubted |= told.is_some();
        (first, new)
    }

    /// The number of a wrapping key's id. There are a handful, whatever the number of captures; an id beyond all
    /// reasonable numbers is not compared.
    fn kid(&mut self, kid: &str) -> Option<u16> {
        let known = self.kids.iter().rposition(|known| known == kid);
        let number = known.unwrap_or(self.kids.len());
        if known.is_none() && number < 4096 {
            self.kids.push(kid.to_owned());
        }
        u16::try_from(number).ok().filter(|number| usize::from(*number) < self.kids.len())
    }

    /// The files that are referred to and to be read: those that `asked` wants, unless they are covered, and those of which
    /// the listing shows no digest.
    pub(super) fn wanted(&self, mut asked: impl FnMut(&str, Protection, bool) -> bool) -> impl Iterator<Item = Wanted> {
        self.files.iter().filter_map(move |file| {
            let sha256 = file.sha256.filter(|_| !file.doubted)?;
            let path = self.path(file);
            // Bytes that the listing shows no digest of may be others than those that were read once.
            let open = asked(&path, file.protection(), file.covered && file.md5.is_some());
            (open || file.md5.is_none()).then(|| Wanted {
                path,
                version: self.version(file).map(str::to_owned),
                size: file.size,
                sha256,
                kid: file.kid.and_then(|kid| self.kids.get(usize::from(kid)).cloned()),
                open,
            })
        })
    }

    /// How a file is protected, and whether its listing shows a digest.
    pub(super) fn standing(&self, index: usize) -> Option<(Protection, bool)> {
        self.files.get(index).map(|file| (file.protection(), file.md5.is_some()))
    }

    /// One file's path.
    pub(super) fn path_at(&self, index: usize) -> String {
        self.files.get(index).map(|file| self.path(file)).unwrap_or_default()
    }

    /// Every file: how to tell its path, and its protection.
    pub(super) fn protections(&self) -> impl Iterator<Item = (impl Fn() -> String, Protection)> {
        self.files.iter().map(move |file| (move || self.path(file), file.protection()))
    }

    /// The paths of files that nothing refers to.
    pub(super) fn unreferenced(&self) -> impl Iterator<Item = String> {
        self.files.iter().filter(|file| file.sha256.is_none()).map(|file| self.path(file))
    }
}

impl File {
    fn protection(&self) -> Protection {
        let until = (self.until != NEVER).then(|| chrono::DateTime::from_timestamp(self.until, 0)).flatten();
        Protection { mode: self.mode, until, legal_hold: self.legal_hold }
    }
}

/// What a listing shows and a manifest tells otherwise.
pub(super) fn difference(
    reference: &CaptureRef,
    size: u64,
    md5: Option<[u8; 16]>,
    version: Option<&str>,
) -> Option<&'static str> {
    if size != reference.size {
        return Some("its size is not the one in the manifest");
    }
    if md5.is_some_and(|md5| unhex(&reference.md5).as_deref() != Some(&md5)) {
        return Some("its MD5 is not the one in the manifest");
    }
    if reference.version.is_some() && version != reference.version.as_deref() {
        return Some("its version id is not the one in the manifest");
    }
    None
}
