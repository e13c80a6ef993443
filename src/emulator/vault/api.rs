//! Data-plane api-versions and what each of them shows: fields come and go with them. Knows nothing of objects.

use super::errors::Fault;

/// Known versions, oldest first (`azure.md` §1.8; REC up to 2025-07-01, later ones SRC).
const KNOWN: [&str; 16] = [
    "2016-10-01",
    "7.0",
    "7.1",
    "7.2",
    "7.3",
    "7.4",
    "7.5-preview.1",
    "7.5",
    "7.6-preview.1",
    "7.6-preview.2",
    "7.6",
    "2025-06-01-preview",
    "2025-07-01",
    "2026-01-01-preview",
    "2026-03-01-preview",
    "2026-04-01",
];

/// A version that a request named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Api(usize);

impl Api {
    /// # Errors
    /// 400 for a missing or unknown version.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, Fault> {
        let text = text.filter(|text| !text.is_empty()).ok_or_else(Fault::missing_api_version)?;
        KNOWN.iter().position(|known| *known == text).map(Api).ok_or_else(|| Fault::unknown_api_version(text))
    }

    /// The version's name.
    pub(super) fn name(self) -> &'static str {
        KNOWN.get(self.0).copied().unwrap_or_default()
    }

    fn since(self, name: &str) -> bool {
        KNOWN.iter().position(|known| *known == name).is_some_and(|at| self.0 >= at)
    }

    /// `recoverableDays`: absent in 2016-10-01 and 7.0, present in 7.1 (REC).
    pub(super) fn recoverable_days(self) -> bool {
        self.since("7.1")
    }

    /// `exportable` of keys: absent in 7.1, present in 7.4 (REC); since 7.3 with secure key release (DOC).
    pub(super) fn exportable(self) -> bool {
        self.since("7.3")
    }

    /// `hsmPlatform` of keys (REC).
    pub(super) fn hsm_platform(self) -> bool {
        self.since("7.5-preview.1")
    }

    /// `key_size` of keys (REC for 2025-07-01).
    pub(super) fn key_size(self) -> bool {
        self.since("2025-07-01")
    }

    /// `outContentType` of a request for a secret (DOC).
    pub(super) fn out_content_type(self) -> bool {
        self.since("2025-06-01-preview")
    }

    /// `subject` in lists of certificates (REC for 7.4; where it begins is a GUESS[certificate-subject-since]).
    pub(super) fn certificate_subject(self) -> bool {
        self.since("7.4")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_with_their_version() {
        let api = |name| Api::parse(Some(name)).unwrap();
        assert!(!api("7.4").hsm_platform() && api("7.5-preview.1").hsm_platform());
        assert!(!api("7.0").recoverable_days() && api("7.1").recoverable_days());
        assert!(!api("7.6").key_size() && api("2026-03-01-preview").key_size() && api("2026-04-01").key_size());
        assert!(Api::parse(Some("2099-01-01")).is_err() && Api::parse(None).is_err());
    }
}
