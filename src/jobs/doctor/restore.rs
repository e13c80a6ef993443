//! A restore: whether its operator could open a capture, and would be let at the target vault. Permissions are read from
//! what Azure says of the operator, never tried: an attempt that succeeds has changed the vault.

use super::privilege::unknown_rights;
use super::vault::{Doors, check_lists};
use super::{Check, check_clock};
use crate::ambient::Ambient;
use crate::archive::{Reader, latest_snapshot};
use crate::error::{Error, Kind, Result};
use crate::format::manifest::CaptureRef;
use crate::model::{Permissions, VaultUri};
use crate::seal::Identities;

/// What a restore does to the target vault: the line's name, the data actions that it takes, and whether every restore
/// needs them. Actions of Microsoft's list for Microsoft.KeyVault.
const DEEDS: [(&str, [&str; 3]); 3] = [
    ("restore", ["keys/restore/action", "secrets/restore/action", "certificates/restore/action"]),
    ("recover", ["keys/recover/action", "secrets/recover/action", "certificates/recover/action"]),
    ("purge", ["keys/purge/action", "secrets/purge/action", "certificates/purge/action"]),
];

/// Puts back what no backup of a key carries.
const ROTATION: &str = "keyrotationpolicies/write";

/// Checks the vault that is restored into: the lists, in which a restore looks at names, and what the operator may do.
pub async fn check_target(doors: &Doors<'_>, ambient: &Ambient) -> Vec<Check> {
    let Doors { name, vault, .. } = *doors;
    let mut checks = Vec::new();
    let Some(date) = check_lists(name, vault, &mut checks).await else { return checks };
    checks.extend(date.map(|date| check_clock(name, date, ambient.now())));
    let rbac = match doors.facts {
        Some(door) => match door.facts(vault.uri()).await {
            Ok(facts) => {
                let place = format!("{}, subscription {}", facts.place.location, facts.place.subscription);
                checks.push(Check::ok(name, "vault facts", place));
                Some(facts.rbac)
            }
            Err(error) => {
                let detail = format!("could not be read, so a plan cannot tell what fits the vault: {error}");
                let fix = "grant Microsoft.KeyVault/vaults/read (policies/roles/restore-operator.json)";
                checks.push(Check::warn(name, "vault facts", detail, fix));
                None
            }
        },
        None => None,
    };
    if let Some(door) = doors.rights {
        match door.rights(vault.uri()).await {
            Ok(_) if rbac == Some(false) => checks.push(Check::warn(
                name,
                "access policies",
                "they decide what may be done with objects, and are not judged here",
                "compare them with policies/README.md",
            )),
            Ok(held) => checks.extend(powers(name, &held)),
            Err(error) => checks.push(unknown_rights(
                name,
                &error,
                "grant Microsoft.Authorization/permissions/read (policies/roles/restore-operator.json)",
            )),
        }
    }
    checks
}

/// Judges whether role assignments let the operator do what a restore does. Only some restores purge.
fn powers(subject: &str, held: &Permissions) -> Vec<Check> {
    let whole = |action: &str| format!("Microsoft.KeyVault/vaults/{action}");
    let mut checks = Vec::new();
    for (deed, actions) in DEEDS {
        let missing: Vec<String> = actions.into_iter().map(whole).filter(|action| !held.allow_data(action)).collect();
        checks.push(match (missing.is_empty(), deed) {
            (true, _) => Check::ok(subject, deed, "allowed"),
            (false, "purge") => Check::ok(subject, deed, "not allowed, and only `restore plan --allow-purge` needs it"),
            (false, _) => Check::fail(
                subject,
                deed,
                Error::new(Kind::Denied, format!("not allowed: no role assignment gives {}", missing.join(", "))).hint(
                    "assign the role policies/roles/restore-operator.json on the vault, for the time of the restore",
                ),
            ),
        });
    }
    checks.push(match held.allow_data(&whole(ROTATION)) {
        true => Check::ok(subject, "set rotation policies", "allowed"),
        false => Check::warn(
            subject,
            "set rotation policies",
            "not allowed: a restored key goes without the rotation policy that it had",
            "grant Microsoft.KeyVault/vaults/keyrotationpolicies/write (policies/roles/restore-operator.json)",
        ),
    });
    checks
}

/// Opens one capture of the newest snapshot of a vault, and forgets it: an identity that does not fit is found out before
/// the night that it is needed.
pub async fn check_opening(reader: &Reader<'_>, vault: &VaultUri, identities: &Identities) -> Check {
    const CHECK: &str = "identity";
    let opened = async {
        let Some(capture) = some_capture(reader, vault).await? else { return Ok(None) };
        let sealed = reader.sealed(&capture).await?;
        identities.open(&sealed).map(|_| Some(capture.path))
    };
    match opened.await {
        Ok(Some(path)) => Check::ok("keys", CHECK, format!("opens {path}")),
        Ok(None) => Check::warn(
            "keys",
            CHECK,
            format!("not tried: the archive has no capture of {}", vault.host()),
            "take a snapshot first",
        ),
        Err(error) => Check::fail("keys", CHECK, error),
    }
}

async fn some_capture(reader: &Reader<'_>, vault: &VaultUri) -> Result<Option<CaptureRef>> {
    let head = reader.head(vault).await?;
    let Some(snapshot) = head.as_ref().and_then(latest_snapshot) else { return Ok(None) };
    let mut found: Option<CaptureRef> = None;
    let each = |_: &_, line: crate::format::manifest::Line| {
        found = found.take().or(line.capture);
        Ok(())
    };
    reader.manifest_lines(snapshot, each).await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::doctor::Verdict;
    use crate::jobs::fixture::House;
    use crate::model::Grant;
    use crate::seal::{NoPrompt, generate};
    use crate::vault::Read as _;

    fn held(actions: &[&str]) -> Permissions {
        let data_actions = actions.iter().map(|action| (*action).to_owned()).collect();
        Permissions(vec![Grant { data_actions, ..Grant::default() }])
    }

    fn verdicts(checks: &[Check]) -> Vec<(&str, Verdict)> {
        checks.iter().map(|check| (check.check.as_str(), check.verdict)).collect()
    }

    #[test]
    fn what_every_restore_needs_is_a_failure_and_the_rest_is_told() {
        use Verdict::{Fail, Ok, Warn};
        let all = powers("prod", &held(&["Microsoft.KeyVault/*"]));
        let expected = |one, two, three, four| {
            [("restore", one), ("recover", two), ("purge", three), ("set rotation policies", four)]
        };
        assert_eq!(verdicts(&all), expected(Ok, Ok, Ok, Ok));
        let secrets = powers("prod", &held(&["Microsoft.KeyVault/vaults/secrets/*", "*/recover/action"]));
        assert_eq!(verdicts(&secrets), expected(Fail, Ok, Ok, Warn));
        assert!(
            secrets[0].detail.ends_with("keys/restore/action, Microsoft.KeyVault/vaults/certificates/restore/action")
        );
        assert_eq!(secrets[0].kind, Some(Kind::Denied));
        assert!(secrets[2].detail.starts_with("not allowed"), "{secrets:?}");
    }

    #[tokio::test]
    async fn an_identity_is_tried_on_a_capture_of_the_newest_snapshot() {
        let house = House::new(&["key/a"]).await;
        let reader = house.reader().await;
        let check = check_opening(&reader, house.vault.uri(), &house.identities).await;
        assert_eq!(check.verdict, Verdict::Warn, "{check:?}");
        house.snapshot().await.unwrap();
        let check = check_opening(&reader, house.vault.uri(), &house.identities).await;
        assert!(check.verdict == Verdict::Ok && check.detail.contains("/captures/"), "{check:?}");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, generate(chrono::DateTime::UNIX_EPOCH).file.as_bytes()).unwrap();
        let other = Identities::from_files(&[file.path().to_owned()], std::sync::Arc::new(NoPrompt)).unwrap();
        let check = check_opening(&reader, house.vault.uri(), &other).await;
        assert_eq!((check.verdict, check.kind), (Verdict::Fail, Some(Kind::NoIdentity)), "{check:?}");
    }
}
