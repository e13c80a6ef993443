//! A container that is protected as a whole, for `store::Protect`: its policy made longer and locked, its legal holds put
//! on and lifted. Each change is asked for once and then looked at: an answer may be lost, and a yes may be worth nothing.

use super::seat::{managed, unmanaged};
use super::{Container, ROUNDS};
use crate::azure::arm::{Arm, Change, Standing};
use crate::store::{Condition, Error, MOST_EXTENSIONS, MOST_TAGS, Whole};
use crate::vault;

impl Container {
    fn management(&self) -> Result<&Arm, Error> {
        self.arm.as_deref().ok_or_else(unmanaged)
    }

    /// How the container is protected as a whole, as Resource Manager tells it now.
    pub(super) async fn standing(&self) -> Result<Standing, Error> {
        let arm = self.management()?;
        let id = self.id.get_or_try_init(|| arm.container_id(&self.address)).await.map_err(managed)?;
        arm.standing(id).await.map_err(managed)
    }

    /// Changes the container until it is as `wanted`, or is found to be neither that nor as it was `seen`.
    pub(super) async fn change(
        &self,
        seen: Option<&Whole>,
        change: Change<'_>,
        wanted: impl Fn(&Whole) -> bool + Send + Sync,
    ) -> Result<Whole, Error> {
        let arm = self.management()?;
        let (mut round, mut granted) = (0, false);
        loop {
            round += 1;
            let standing = self.standing().await?;
            if wanted(&standing.whole) {
                return Ok(standing.whole);
            }
            if granted {
                let text =
                    format!("couldn't protect container {}: the answer was yes, and nothing changed", self.address);
                return Err(Error::new(Condition::Malformed, text));
            }
            if seen.is_some_and(|seen| seen.stamp != standing.whole.stamp) {
                let text =
                    format!("the immutability policy of container {} is not the one that was seen", self.address);
                return Err(Error::new(Condition::Changed, text).hint("somebody changed it meanwhile: run again"));
            }
            match arm.change(&standing, change).await {
                Ok(()) => granted = true,
                // Either it took effect and nobody heard of it, or somebody was faster: a look tells.
                Err((failure, error)) if failure.unclear || error.status == Some(412) => {
                    if round >= ROUNDS {
                        return Err(refusal(error, change, failure.unclear));
                    }
                    self.caller.pause(round).await;
                }
                Err((_, error)) => return Err(refusal(error, change, false)),
            }
        }
    }
}

/// What a change's failure means. A refusal here is a rule of the service, and no trouble with a request.
fn refusal(error: vault::Error, change: Change<'_>, unclear: bool) -> Error {
    let condition = match error.status {
        Some(400 | 409) => Some(Condition::Refused),
        Some(412) => Some(Condition::Changed),
        _ => None,
    };
    let mut told = managed(error);
    told.condition = condition.unwrap_or(told.condition);
    if unclear {
        told.message = format!("{}; whether it took effect is not known", told.message);
    }
    match (told.condition, change) {
        (Condition::Refused, Change::Period(_)) => told.hint(format!(
            "a locked policy never gets shorter, and longer {MOST_EXTENSIONS} times in all its life; after that, archive into a \
             new container"
        )),
        (Condition::Refused, Change::Lock) => told.hint("somebody changed it meanwhile: run again"),
        (Condition::Refused, Change::Hold(_) | Change::Release(_)) => {
            told.hint(format!("a container takes {MOST_TAGS} legal holds, and none where versions are held one by one"))
        }
        (Condition::Changed, _) => told.hint("somebody changed it meanwhile: run again"),
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use url::Url;

    use super::*;
    use crate::azure::fake::{Sent, Stage, Step, answer, with};
    use crate::model::HoldTag;
    use crate::store::{Period, Protect as _, Reach};

    const ACCOUNT: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/archive";

    fn account() -> Step {
        let endpoint = "https://archive.blob.core.windows.net/";
        answer(200, format!(r#"{{"id":"{ACCOUNT}","properties":{{"primaryEndpoints":{{"blob":"{endpoint}"}}}}}}"#))
    }

    /// The two answers of a look at the container: its holds and history, and its policy.
    fn look(tags: &[&str], extended: usize, policy: (u32, &str, &str)) -> [Step; 2] {
        let tags: Vec<String> = tags.iter().map(|tag| format!(r#"{{"tag":"{tag}"}}"#)).collect();
        let history = [r#"{"update":"put"}"#, r#"{"update":"lock"}"#].into_iter();
        let history: Vec<&str> = history.chain(std::iter::repeat_n(r#"{"update":"extend"}"#, extended)).collect();
        let (days, state, etag) = policy;
        [
            answer(
                200,
                format!(
                    r#"{{"properties":{{"legalHold":{{"hasLegalHold":true,"tags":[{}]}},"immutabilityPolicy":{{"updateHistory":[{}]}}}}}}"#,
                    tags.join(","),
                    history.join(",")
                ),
            ),
            answer(
                200,
                format!(
                    r#"{{"etag":"\"{etag}\"","properties":{{"allowProtectedAppendWrites":true,"immutabilityPeriodSinceCreationInDays":{days},"state":"{state}"}}}}"#
                ),
            ),
        ]
    }

    fn refused(status: u16) -> Step {
        let code = if status == 403 { "AuthorizationFailed" } else { "ContainerImmutabilityPolicyFailure" };
        answer(status, format!(r#"{{"error":{{"code":"{code}","message":"Operation not allowed."}}}}"#))
    }

    fn stage(steps: impl IntoIterator<Item = Step>) -> (Stage, Container) {
        let stage = Stage::new([account()].into_iter().chain(steps));
        let arm = Arc::new(stage.connection.arm().unwrap().knowing(ACCOUNT));
        let address = Url::parse("https://archive.blob.core.windows.net/vaults").unwrap();
        let container = stage.connection.container(&address, Some(arm)).unwrap();
        (stage, container)
    }

    fn seen(etag: &str) -> Whole {
        Whole { period: None, tags: Default::default(), stamp: format!("\"{etag}\"") }
    }

    fn writes(stage: &Stage) -> Vec<Sent> {
        stage.fake.log().into_iter().filter(|sent| sent.method != "GET").collect()
    }

    fn case7() -> HoldTag {
        HoldTag::parse("Case7").unwrap()
    }

    #[tokio::test]
    async fn what_a_whole_is_is_read_in_three_requests_and_the_account_looked_for_once() {
        let head = || with(200, &[("x-ms-has-immutability-policy", "true")], "");
        let looks = || look(&["Audit"], 2, (365, "Locked", "a"));
        let stage = Stage::new([head(), account()].into_iter().chain(looks()).chain([head()]).chain(looks()));
        let arm = Arc::new(stage.connection.arm().unwrap().knowing(ACCOUNT));
        let address = Url::parse("https://archive.blob.core.windows.net/vaults").unwrap();
        let container = stage.connection.container(&address, Some(arm)).unwrap();
        let period = Some(Period { days: 365, locked: true, extensions: Some(2) });
        let whole = Whole { period, tags: ["audit".to_owned()].into(), stamp: "\"a\"".to_owned() };
        for _ in 0..2 {
            assert_eq!(container.reach().await.unwrap(), Reach::Whole(whole.clone()));
        }
        assert!(stage.done());
        let unmanaged = Stage::new([head()]);
        let container = unmanaged.connection.container(&address, None).unwrap();
        assert_eq!(container.reach().await.unwrap_err().condition, Condition::Denied);
    }

    #[tokio::test]
    async fn an_unlocked_policy_is_put_with_what_it_had_and_a_locked_one_is_extended() {
        for (state, method, path, body) in [
            (
                "Unlocked",
                "PUT",
                "/immutabilityPolicies/default?",
                r#"{"properties":{"allowProtectedAppendWrites":true,"immutabilityPeriodSinceCreationInDays":400}}"#,
            ),
            (
                "Locked",
                "POST",
                "/immutabilityPolicies/default/extend?",
                r#"{"properties":{"immutabilityPeriodSinceCreationInDays":400}}"#,
            ),
        ] {
            let steps = look(&[], 0, (365, state, "a")).into_iter().chain([answer(200, "{}")]);
            let (stage, container) = stage(steps.chain(look(&[], 1, (400, state, "b"))));
            let whole = container.extend_whole(&seen("a"), 400).await.unwrap();
            assert_eq!((whole.period.unwrap().days, whole.stamp.as_str()), (400, "\"b\""));
            let sent = &writes(&stage)[0];
            assert_eq!((sent.method.as_str(), sent.header("if-match")), (method, Some("\"a\"")));
            assert!(
                sent.url.contains(&format!("{ACCOUNT}/blobServices/default/containers/vaults{path}")),
                "{}",
                sent.url
            );
            assert_eq!(std::str::from_utf8(&sent.body).unwrap(), body);
        }
        let steps = look(&[], 0, (365, "Unlocked", "a")).into_iter().chain([answer(200, "{}")]);
        let (stage, container) = stage(steps.chain(look(&[], 0, (365, "Locked", "b"))));
        assert!(container.lock_whole(&seen("a")).await.unwrap().period.unwrap().locked);
        assert!(writes(&stage)[0].url.contains("/immutabilityPolicies/default/lock?"));
    }

    #[tokio::test]
    async fn trap_a_lost_answer_is_looked_up_and_nothing_is_extended_twice() {
        let before = || look(&[], 0, (365, "Locked", "a"));
        let after = || look(&[], 1, (400, "Locked", "b"));
        // It landed: one extension is used up, and not two. 503 and half an answer are no answers either.
        for lost in [Step::Lost, answer(503, ""), Step::Cut(200, "{")] {
            let (stage, container) = stage(before().into_iter().chain([lost]).chain(after()));
            assert_eq!(container.extend_whole(&seen("a"), 400).await.unwrap().period.unwrap().extensions, Some(1));
            assert_eq!(writes(&stage).len(), 1);
        }
        // It was lost before: the policy is the same, and the change is asked for again.
        let steps = before().into_iter().chain([Step::Lost]).chain(before()).chain([answer(200, "{}")]);
        let (stage, container) = stage(steps.chain(after()));
        container.extend_whole(&seen("a"), 400).await.unwrap();
        assert_eq!(writes(&stage).len(), 2);
        // It is not known, however often it is asked for.
        let many = (0..ROUNDS).flat_map(|_| before().into_iter().chain([Step::Lost]));
        let (_, container) = self::stage(many);
        let error = container.extend_whole(&seen("a"), 400).await.unwrap_err();
        assert!(error.condition == Condition::Unavailable && error.message.contains("not known"), "{error}");
    }

    #[tokio::test]
    async fn a_policy_that_somebody_changed_is_not_changed_again() {
        let (stage, container) = stage(look(&[], 1, (370, "Locked", "b")));
        let error = container.extend_whole(&seen("a"), 400).await.unwrap_err();
        assert_eq!((error.condition, writes(&stage).len()), (Condition::Changed, 0), "{error}");
        // Between the look and the change.
        let steps = look(&[], 0, (365, "Locked", "a")).into_iter().chain([refused(412)]);
        let (stage, container) = self::stage(steps.chain(look(&[], 1, (370, "Locked", "b"))));
        let error = container.extend_whole(&seen("a"), 400).await.unwrap_err();
        assert_eq!((error.condition, writes(&stage).len()), (Condition::Changed, 1), "{error}");
        assert!(error.hint.unwrap().contains("run again"));
        // Into what was wanted.
        let (_, container) = self::stage(look(&[], 1, (500, "Locked", "b")));
        assert_eq!(container.extend_whole(&seen("a"), 400).await.unwrap().period.unwrap().days, 500);
    }

    #[tokio::test]
    async fn a_yes_that_changed_nothing_is_no_yes() {
        let same = || look(&[], 0, (365, "Locked", "a"));
        let (_, container) = stage(same().into_iter().chain([answer(200, "{}")]).chain(same()));
        assert_eq!(container.extend_whole(&seen("a"), 400).await.unwrap_err().condition, Condition::Malformed);
        let (_, container) = stage(same().into_iter().chain([answer(200, "{}")]).chain(same()));
        assert_eq!(container.hold_whole(&case7(), true).await.unwrap_err().condition, Condition::Malformed);
    }

    #[tokio::test]
    async fn refusals_name_the_role_and_tell_of_five_extensions() {
        let step = |status, state| look(&["case7"], 5, (365, state, "a")).into_iter().chain([refused(status)]);
        for (state, action) in
            [("Locked", "immutabilityPolicies/extend/action"), ("Unlocked", "immutabilityPolicies/write")]
        {
            let (_, container) = stage(step(403, state));
            let error = container.extend_whole(&seen("a"), 400).await.unwrap_err();
            assert_eq!(error.condition, Condition::Denied);
            let hint = error.hint.unwrap();
            assert!(hint.contains(action) && hint.contains("policies/roles/retention-admin.json"), "{hint}");
        }
        let (_, container) = stage(step(409, "Locked"));
        let error = container.extend_whole(&seen("a"), 400).await.unwrap_err();
        assert!(error.condition == Condition::Refused && error.hint.unwrap().contains("5 times"));
        let (_, container) = stage(step(400, "Locked"));
        let error = container.hold_whole(&HoldTag::parse("case8").unwrap(), true).await.unwrap_err();
        assert!(error.condition == Condition::Refused && error.hint.unwrap().contains("10 legal holds"));
    }

    #[tokio::test]
    async fn a_hold_has_a_tag_and_leaves_the_others() {
        for (held, path) in [(true, "/setLegalHold?"), (false, "/clearLegalHold?")] {
            let (with, without) = (&["audit", "case7"][..], &["audit"][..]);
            let (before, after) = if held { (without, with) } else { (with, without) };
            let of = |tags| look(tags, 0, (365, "Locked", "a"));
            let (stage, container) = stage(of(before).into_iter().chain([Step::Lost]).chain(of(after)));
            let whole = container.hold_whole(&case7(), held).await.unwrap();
            assert!(whole.tags.iter().eq(after), "{:?}", whole.tags);
            let sent = &writes(&stage)[0];
            assert!(sent.method == "POST" && sent.url.contains(path) && sent.header("if-match").is_none());
            assert_eq!(std::str::from_utf8(&sent.body).unwrap(), r#"{"tags":["case7"]}"#);
        }
    }
}
