//! `store::Protect` for a container: policies and legal holds of single blob versions. What is a container's as a whole
//! goes through Resource Manager, in `whole`.

use async_trait::async_trait;
use azure_core::http::ClientMethodOptions;
use azure_core::time::OffsetDateTime;
use azure_storage_blob::models::{
    BlobClientGetPropertiesOptions, BlobClientSetImmutabilityPolicyOptions, BlobClientSetLegalHoldOptions,
    ImmutabilityPolicyMode,
};
use chrono::{DateTime, Utc};

use super::{Container, worm};
use crate::azure::arm::Change;
use crate::azure::classify::Aim;
use crate::azure::failure::Failure;
use crate::azure::listing::{mode, yes};
use crate::azure::retry::Repeat;
use crate::azure::wire::{Answer, http_date};
use crate::model::{HoldTag, Mode, StorePath};
use crate::store::{Condition, Error, Protect, Protection, Reach, Whole, Worm};

impl Container {
    /// How a version is protected now: what a listing showed may be an hour old, and an unlocked policy takes a shorter
    /// one without a word.
    async fn version_standing(&self, path: &StorePath, version: Option<&str>) -> Result<Protection, Error> {
        let blob = self.client.blob_client(path.as_str());
        let blob = &blob;
        let operation = |context| {
            let method_options = ClientMethodOptions { context };
            let version_id = version.map(str::to_owned);
            let options = BlobClientGetPropertiesOptions { method_options, version_id, ..Default::default() };
            async move { blob.get_properties(Some(options)).await.map(drop) }
        };
        let answer = self.caller.call(Repeat::Freely, operation).await;
        let answer = answer.map_err(|failure| self.error(&failure, &Aim::Read(path)))?;
        if let Some(asked) = version.filter(|asked| answer.header("x-ms-version-id") != Some(asked)) {
            let text = format!("couldn't protect {path} in container {}: no version {asked}", self.address);
            return Err(Error::new(Condition::NotFound, text));
        }
        Ok(protection(&answer))
    }

    /// Sets a version's policy, any number of times.
    async fn set_policy(
        &self,
        path: &StorePath,
        version: Option<&str>,
        until: DateTime<Utc>,
        locked: bool,
    ) -> Result<Answer, Failure> {
        let until = OffsetDateTime::from_unix_timestamp(until.timestamp())
            .map_err(|error| Failure::malformed(format!("{until} cannot be sent: {error}")))?;
        let mode = if locked { ImmutabilityPolicyMode::Locked } else { ImmutabilityPolicyMode::Unlocked };
        let blob = self.client.blob_client(path.as_str());
        let (blob, until) = (&blob, &until);
        let operation = |context| {
            let options = BlobClientSetImmutabilityPolicyOptions {
                immutability_policy_mode: Some(mode),
                method_options: ClientMethodOptions { context },
                version_id: version.map(str::to_owned),
                ..Default::default()
            };
            async move { blob.set_immutability_policy(until, Some(options)).await.map(drop) }
        };
        self.caller.call(Repeat::Freely, operation).await
    }
}

#[async_trait]
impl Protect for Container {
    async fn reach(&self) -> Result<Reach, Error> {
        match worm(&self.properties().await?) {
            Worm::VersionLevel => Ok(Reach::Versions),
            // Without a policy there may be a hold, or one may be put on.
            Worm::ContainerLevel | Worm::None => Ok(Reach::Whole(self.standing().await?.whole)),
        }
    }

    async fn extend(
        &self,
        path: &StorePath,
        version: Option<&str>,
        until: DateTime<Utc>,
        lock: bool,
    ) -> Result<Protection, Error> {
        if until.timestamp_subsec_nanos() != 0 {
            let text = format!("couldn't protect {path} until {until}: policies end at a whole second");
            return Err(Error::new(Condition::Refused, text));
        }
        let before = self.version_standing(path, version).await?;
        let wanted = before.extended(until, lock);
        if wanted == before {
            return Ok(before);
        }
        let (until, locked) = (wanted.until.unwrap_or(until), wanted.mode == Mode::Locked);
        let answer = self.set_policy(path, version, until, locked).await;
        let answer = answer.map_err(|failure| self.error(&failure, &Aim::Protect(path)))?;
        let told = protection(&answer);
        let after = match told.until {
            Some(_) => Protection { legal_hold: before.legal_hold, ..told },
            None => self.version_standing(path, version).await?,
        };
        // A service that knows nothing of policies may say yes to everything.
        match after.extended(until, locked) == after {
            true => Ok(after),
            false => Err(self.malformed("the policy is not the one that was set".to_owned(), &Aim::Protect(path))),
        }
    }

    async fn hold(&self, path: &StorePath, version: Option<&str>, held: bool) -> Result<(), Error> {
        let blob = self.client.blob_client(path.as_str());
        let blob = &blob;
        let operation = |context| {
            let method_options = ClientMethodOptions { context };
            let version_id = version.map(str::to_owned);
            let options = BlobClientSetLegalHoldOptions { method_options, version_id, ..Default::default() };
            async move { blob.set_legal_hold(held, Some(options)).await.map(drop) }
        };
        let answer = self.caller.call(Repeat::Freely, operation).await;
        let answer = answer.map_err(|failure| self.error(&failure, &Aim::Protect(path)))?;
        let told = match answer.header(HOLD) {
            Some(text) => yes(text),
            None => self.version_standing(path, version).await?.legal_hold,
        };
        match told == held {
            true => Ok(()),
            false => Err(self.malformed("the legal hold is not as it was set".to_owned(), &Aim::Protect(path))),
        }
    }

    async fn extend_whole(&self, seen: &Whole, days: u32) -> Result<Whole, Error> {
        let long_enough = |whole: &Whole| whole.period.is_some_and(|period| period.days >= days);
        self.change(Some(seen), Change::Period(days), long_enough).await
    }

    async fn lock_whole(&self, seen: &Whole) -> Result<Whole, Error> {
        let locked = |whole: &Whole| whole.period.is_some_and(|period| period.locked);
        self.change(Some(seen), Change::Lock, locked).await
    }

    async fn hold_whole(&self, tag: &HoldTag, held: bool) -> Result<Whole, Error> {
        let change = if held { Change::Hold(tag) } else { Change::Release(tag) };
        self.change(None, change, |whole| whole.tags.contains(tag.as_str()) == held).await
    }
}

const HOLD: &str = "x-ms-legal-hold";

/// What an answer's headers tell of a version's protection.
fn protection(answer: &Answer) -> Protection {
    let until = answer.header("x-ms-immutability-policy-until-date").and_then(http_date);
    Protection {
        mode: answer.header("x-ms-immutability-policy-mode").filter(|_| until.is_some()).map_or(Mode::None, mode),
        until,
        legal_hold: answer.header(HOLD).is_some_and(yes),
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::azure::fake::{Stage, Step, answer, with};

    const VERSION: &str = "2025-11-21T18:20:00.0000001Z";
    const EARLY: &str = "Sat, 21 Nov 2026 18:20:00 GMT";
    const LATE: &str = "Sun, 21 Nov 2027 18:20:00 GMT";

    fn container(stage: &Stage) -> Container {
        let address = Url::parse("https://archive.blob.core.windows.net/vaults").unwrap();
        stage.connection.container(&address, None).unwrap()
    }

    fn path() -> StorePath {
        StorePath::parse("archive.json").unwrap()
    }

    fn head(mode: &str, until: &str) -> Step {
        let headers = [
            ("x-ms-version-id", VERSION),
            ("x-ms-immutability-policy-mode", mode),
            ("x-ms-immutability-policy-until-date", until),
        ];
        with(200, &headers, "")
    }

    async fn extend(stage: &Stage, lock: bool) -> Result<Protection, Error> {
        container(stage).extend(&path(), Some(VERSION), http_date(LATE).unwrap(), lock).await
    }

    #[tokio::test]
    async fn a_version_is_extended_in_the_mode_that_it_has() {
        for (mode, lock, sent) in
            [("locked", false, "locked"), ("unlocked", false, "unlocked"), ("unlocked", true, "locked")]
        {
            let stage = Stage::new([head(mode, EARLY), answer(503, ""), head(sent, LATE)]);
            let after = extend(&stage, lock).await.unwrap();
            assert_eq!(after.until, http_date(LATE));
            let log = stage.fake.log();
            assert_eq!(
                (log[0].method.as_str(), log[2].method.as_str(), log.len()),
                ("HEAD", "PUT", 3),
                "repeated freely"
            );
            assert!(
                log[2].url.contains("comp=immutabilityPolicies") && log[2].url.contains("versionid=2025-11-21"),
                "{}",
                log[2].url
            );
            assert_eq!(log[2].header("x-ms-immutability-policy-mode"), Some(sent));
            assert_eq!(log[2].header("x-ms-immutability-policy-until-date"), Some(LATE));
        }
    }

    #[tokio::test]
    async fn trap_an_unlocked_policy_that_somebody_made_longer_meanwhile_is_not_shortened() {
        let later = "Tue, 21 Nov 2028 18:20:00 GMT";
        let stage = Stage::new([head("unlocked", later)]);
        assert_eq!(extend(&stage, false).await.unwrap().until, http_date(later));
        assert!(stage.done());
        let stage = Stage::new([head("unlocked", later), head("locked", later)]);
        assert_eq!(extend(&stage, true).await.unwrap().mode, Mode::Locked);
        assert_eq!(stage.fake.log()[1].header("x-ms-immutability-policy-until-date"), Some(later));
    }

    #[tokio::test]
    async fn a_yes_that_changed_nothing_is_no_yes() {
        let none = with(200, &[("x-ms-version-id", VERSION)], "");
        let stage = Stage::new([none.clone(), answer(200, ""), none]);
        assert_eq!(extend(&stage, false).await.unwrap_err().condition, Condition::Malformed);
        let stage = Stage::new([with(200, &[("x-ms-version-id", "other")], "")]);
        assert_eq!(extend(&stage, false).await.unwrap_err().condition, Condition::NotFound);
        let stage = Stage::new([answer(200, ""), with(200, &[("x-ms-version-id", VERSION)], "")]);
        let error = container(&stage).hold(&path(), Some(VERSION), true).await.unwrap_err();
        assert_eq!(error.condition, Condition::Malformed);
    }

    #[tokio::test]
    async fn refusals_name_the_right_and_the_role() {
        let denied = || with(403, &[("x-ms-error-code", "AuthorizationPermissionMismatch")], "");
        let stage = Stage::new([head("locked", EARLY), denied(), denied()]);
        for error in [
            extend(&stage, false).await.unwrap_err(),
            container(&stage).hold(&path(), Some(VERSION), true).await.unwrap_err(),
        ] {
            assert_eq!(error.condition, Condition::Denied);
            assert!(error.hint.unwrap().contains("runAsSuperUser"));
        }
        let refused = with(409, &[("x-ms-error-code", "BlobImmutableDueToPolicy")], "");
        let stage = Stage::new([head("locked", EARLY), refused]);
        assert_eq!(extend(&stage, false).await.unwrap_err().condition, Condition::Refused);
    }

    #[tokio::test]
    async fn a_hold_is_put_on_a_version_and_lifted() {
        for held in [true, false] {
            let stage = Stage::new([Step::Lost, with(200, &[(HOLD, if held { "true" } else { "false" })], "")]);
            container(&stage).hold(&path(), Some(VERSION), held).await.unwrap();
            let sent = &stage.fake.log()[1];
            assert!(sent.url.contains("comp=legalhold") && sent.url.contains("versionid="), "{}", sent.url);
            assert_eq!(sent.header(HOLD), Some(held.to_string().as_str()));
        }
    }
}
