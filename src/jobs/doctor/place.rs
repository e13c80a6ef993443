//! Where the archive is, compared with where a vault is: what takes both away at once; and what an outage of the vault's
//! region takes. Pure.

use super::Check;
use crate::model::{Atlas, Place, geography_of};
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

/// Where a vault's content is replicated to. Nothing is said of regions that Resource Manager does not show.
pub(super) fn check_pair(subject: &str, vault: &Place, atlas: &Atlas) -> Option<Check> {
    let region = &vault.location;
    match atlas.pair(region) {
        Some(pair) => {
            let detail = format!("{region} is replicated to {pair}: what is deleted here is deleted there, too");
            Some(Check::ok(subject, "region pair", detail))
        }
        None if atlas.shows(region) => Some(Check::warn(
            subject,
            "region pair",
            format!("vaults of {region} are replicated nowhere: an outage of the region takes the vault until it ends"),
            "rehearse a restore into a vault in a second region (docs/RUNBOOK.md)",
        )),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::doctor::Verdict;
    use crate::model::Geography;

    #[test]
    fn a_region_without_replication_is_a_warning_and_one_that_nobody_shows_is_not_spoken_of() {
        let europe = || Geography::parse("European Union").unwrap();
        let live = ["westeurope", "westus3", "polandcentral"].map(|region| (region.to_owned(), europe()));
        let pairs = [("westeurope", "northeurope"), ("westus3", "eastus")];
        let pairs = pairs.map(|(region, pair)| (region.to_owned(), pair.to_owned()));
        let atlas = Atlas::default().with_live(live).with_pairs(pairs);
        let found = |location: &str| {
            let place = Place { subscription: "s".into(), location: location.into(), geography: None };
            check_pair("prod", &place, &atlas)
        };
        let paired = found("westeurope").unwrap();
        assert!(paired.verdict == Verdict::Ok && paired.detail.contains("northeurope"), "{paired:?}");
        assert_eq!(
            found("westus3").unwrap().verdict,
            Verdict::Warn,
            "it has a pair, and vaults are not replicated to it"
        );
        assert_eq!(found("polandcentral").unwrap().verdict, Verdict::Warn);
        assert!(found("uksouth").is_none());
    }

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
