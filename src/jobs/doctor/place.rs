//! Where the archive is, compared with where a vault is: what takes both away at once. Pure.

use super::Check;
use crate::model::{Place, geography_of};
use crate::store::Site;

/// Compares the places of a vault and of the archive's storage account.
pub(super) fn check_place(subject: &str, vault: &Place, archive: &Site) -> Vec<Check> {
    let apart = match vault.subscription.eq_ignore_ascii_case(&archive.subscription) {
        true => Check::warn(
            subject,
            "archive's subscription",
            "the same as the vault's: whoever owns the subscription owns both",
            "keep the archive in a subscription that the vault's administrators do not administer",
        ),
        false => Check::ok(subject, "archive's subscription", "another than the vault's"),
    };
    let region = match (vault.location == archive.location, geography_of(&archive.location)) {
        (true, _) => Check::warn(
            subject,
            "archive's region",
            format!("{}, the same as the vault's: an outage of the region takes both", archive.location),
            "keep the archive in another region, such as the pair of the vault's",
        ),
        (false, Some(geography)) if vault.geography.as_ref().is_some_and(|of_vault| *of_vault != geography) => {
            let detail = format!("{} ({geography}), outside of the vault's geography", archive.location);
            Check::ok(subject, "archive's region", detail)
        }
        (false, _) => Check::ok(subject, "archive's region", format!("{}, another than the vault's", archive.location)),
    };
    vec![apart, region]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::doctor::Verdict;

    #[test]
    fn what_takes_both_away_is_a_warning() {
        let vault =
            Place { subscription: "ONE".into(), location: "westeurope".into(), geography: geography_of("westeurope") };
        for (subscription, location, verdicts) in [
            ("two", "northeurope", [Verdict::Ok, Verdict::Ok]),
            ("one", "northeurope", [Verdict::Warn, Verdict::Ok]),
            ("two", "westeurope", [Verdict::Ok, Verdict::Warn]),
            ("two", "eastus", [Verdict::Ok, Verdict::Ok]),
        ] {
            let archive = Site { subscription: subscription.into(), location: location.into() };
            let checks = check_place("prod", &vault, &archive);
            assert_eq!([checks[0].verdict, checks[1].verdict], verdicts, "{archive:?}");
            assert_eq!(checks[1].detail.contains("outside"), location == "eastus");
        }
    }
}
