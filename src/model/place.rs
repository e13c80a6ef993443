//! Where a vault is: subscription, region, geography. A backup blob restores only into the same subscription and
//! geography, so the [`Atlas`] decides what a restore may try. Asks nobody: what the service says is handed in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::regions::row;

/// Subscription and region of a vault, as Azure Resource Manager spells them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The subscription's id.
    pub subscription: String,
    /// The region, such as `westeurope`.
    pub location: String,
    /// The geography, such as `Europe`; absent for a region that nobody has told us about.
    pub geography: Option<Geography>,
}

/// A geography: the regions that share one Key Vault security world.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Geography(pub String);

impl Geography {
    /// A geography's name: 1 to 64 printable characters.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let plain = (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        plain.then(|| Geography(text.to_owned()))
    }
}

impl fmt::Display for Geography {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Geography {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The plain name of a region: `westeurope` for `westeurope` and `West Europe`.
pub fn region_name(text: &str) -> Option<String> {
    let plain = plain(text);
    let fits = (1..=64).contains(&plain.len()) && plain.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then_some(plain)
}

fn plain(location: &str) -> String {
    location.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

/// The geography of a region by the built-in table alone. Accepts `westeurope` and the display form `West Europe`.
pub fn geography_of(location: &str) -> Option<Geography> {
    row(&plain(location)).map(|row| Geography(row.geography.to_owned()))
}

/// Which regions share a security world, by whoever knows it best: the operator, Resource Manager, the built-in table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Atlas {
    told: BTreeMap<String, Geography>,
    live: BTreeMap<String, Geography>,
    /// Which region a region is replicated to, as far as regions that were shown tell.
    pairs: BTreeMap<String, String>,
}

/// Whether a backup made in one place opens in another, as far as the regions decide it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SameWorld {
    /// It does.
    Yes,
    /// It does not.
    No {
        /// The geography in which it was made.
        from: Geography,
        /// The geography of the other place.
        to: Geography,
    },
    /// Nobody knows the geography of these regions.
    Unknown {
        /// Their names.
        regions: Vec<String>,
    },
}

impl Atlas {
    /// An atlas with what the operator says of single regions, which goes before everything else.
    pub fn new(overrides: impl IntoIterator<Item = (String, Geography)>) -> Self {
        Atlas { told: by_name(overrides), ..Atlas::default() }
    }

    /// The same, with what Resource Manager says today.
    #[must_use]
    pub fn with_live(self, regions: impl IntoIterator<Item = (String, Geography)>) -> Self {
        Atlas { live: by_name(regions), ..self }
    }

    /// The same, with the pairs of regions that Resource Manager shows today: a region, and the one it is replicated to.
    #[must_use]
    pub fn with_pairs(self, pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Atlas { pairs: pairs.into_iter().map(|(region, pair)| (plain(&region), plain(&pair))).collect(), ..self }
    }

    /// The region to which a region's vaults are replicated. `None` where it is not known, or there is none: look whether
    /// the region [is shown](Atlas::shows).
    ///
    /// Brazil South, Brazil Southeast and West US 3 have a pair, and their vaults are not replicated to it (`azure.md` §2).
    pub fn pair(&self, location: &str) -> Option<&str> {
        let region = plain(location);
        let apart = ["brazilsouth", "brazilsoutheast", "westus3"].contains(&region.as_str());
        self.pairs.get(&region).filter(|_| !apart).map(String::as_str)
    }

    /// Whether Resource Manager shows a region today.
    pub fn shows(&self, location: &str) -> bool {
        self.live.contains_key(&plain(location))
    }

    /// The geography of a region.
    pub fn geography(&self, location: &str) -> Option<Geography> {
        let region = plain(location);
        self.told.get(&region).cloned().or_else(|| self.shown(&region)).or_else(|| geography_of(&region))
    }

    /// Whether two places share a security world.
    ///
    /// Names are compared only where one source gives both, whichever knows both best: an old manifest may call a
    /// geography by a name that it has no longer, and the operator need not spell it as the service does. Where no source
    /// knows both, one name in common is enough, those that the places carry included.
    pub fn same_world(&self, from: &Place, to: &Place) -> SameWorld {
        let (a, b) = (plain(&from.location), plain(&to.location));
        if a == b && !a.is_empty() {
            return SameWorld::Yes;
        }
        let (ours, theirs) = (self.names(&a, from), self.names(&b, to));
        let (Some(first), Some(second)) = (ours.first(), theirs.first()) else {
            let unknown = [(&ours, &from.location), (&theirs, &to.location)];
            let regions = unknown.into_iter().filter(|(names, _)| names.is_empty()).map(|(_, region)| region.clone());
            return SameWorld::Unknown { regions: regions.collect() };
        };
        let clouds = [row(&a), row(&b)].map(|row| row.map(|row| row.cloud));
        let same = match clouds {
            [Some(a), Some(b)] if a != b => false,
            _ => match self.one_source(&a, &b) {
                Some((a, b)) => a == b,
                None => ours.iter().any(|name| theirs.contains(name)),
            },
        };
        if same { SameWorld::Yes } else { SameWorld::No { from: first.clone(), to: second.clone() } }
    }

    /// What the service shows, put right where it is known to show one geography for two security worlds.
    fn shown(&self, region: &str) -> Option<Geography> {
        let apart = row(region).is_some_and(|row| row.apart);
        if apart { geography_of(region) } else { self.live.get(region).cloned() }
    }

    /// The names of both regions by the best source that knows both.
    fn one_source(&self, a: &str, b: &str) -> Option<(Geography, Geography)> {
        let told = |region: &str| self.told.get(region).cloned();
        match (told(a), told(b)) {
            (Some(a), Some(b)) => Some((a, b)),
            // What the operator said of one of them must not be overruled by what others say of both.
            (Some(_), None) | (None, Some(_)) => None,
            (None, None) => {
                let shown = self.shown(a).zip(self.shown(b));
                shown.or_else(|| geography_of(a).zip(geography_of(b)))
            }
        }
    }

    /// All names that a region's geography goes by, the best first.
    fn names(&self, region: &str, place: &Place) -> Vec<Geography> {
        if let Some(told) = self.told.get(region) {
            return vec![told.clone()];
        }
        if row(region).is_some_and(|row| row.apart) {
            return geography_of(region).into_iter().collect();
        }
        let all = [self.live.get(region).cloned(), geography_of(region), place.geography.clone()];
        let mut seen = BTreeSet::new();
        all.into_iter().flatten().filter(|name| seen.insert(name.clone())).collect()
    }
}

fn by_name(regions: impl IntoIterator<Item = (String, Geography)>) -> BTreeMap<String, Geography> {
    regions.into_iter().map(|(region, geography)| (plain(&region), geography)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Geography {
        Geography::parse(name).unwrap()
    }

    fn place(location: &str) -> Place {
        Place { subscription: "s".into(), location: location.into(), geography: None }
    }

    fn recorded(location: &str, geography: &str) -> Place {
        Place { geography: Some(named(geography)), ..place(location) }
    }

    fn list(pairs: &[(&str, &str)]) -> Vec<(String, Geography)> {
        pairs.iter().map(|(region, name)| ((*region).to_owned(), named(name))).collect()
    }

    fn same(atlas: &Atlas, a: &str, b: &str) -> bool {
        let there = atlas.same_world(&place(a), &place(b));
        let back = atlas.same_world(&place(b), &place(a));
        assert_eq!(there == SameWorld::Yes, back == SameWorld::Yes, "{a}, {b}");
        there == SameWorld::Yes
    }

    #[test]
    fn regions_share_a_world_as_microsoft_says() {
        let table = Atlas::default();
        for (a, b, shared) in [
            ("westeurope", "northeurope", true),
            ("West Europe", "NorthEurope", true),
            // No region is paired back to it, and nothing is replicated: it is in the United States all the same.
            ("westus3", "eastus", true),
            ("westeurope", "francecentral", false),
            ("uksouth", "northeurope", false),
            // Its pair, in another geography.
            ("brazilsouth", "southcentralus", false),
            ("brazilsouth", "brazilsoutheast", true),
            ("germanynorth", "germanywestcentral", true),
            ("eastus", "eastus2euap", false),
            ("usgovvirginia", "usgovarizona", true),
            ("usgovvirginia", "eastus", false),
            ("usgovvirginia", "usdodeast", false),
            ("usdodeast", "usdodcentral", false),
            ("usdodeast", "usdodeast", true),
            ("chinanorth", "chinaeast3", true),
            ("chinanorth", "eastasia", false),
            ("atlantis", "atlantis", true),
        ] {
            assert_eq!(same(&table, a, b), shared, "{a}, {b}");
        }
        let lost = table.same_world(&place("atlantis"), &place("westeurope"));
        assert_eq!(lost, SameWorld::Unknown { regions: vec!["atlantis".into()] });
        let apart = table.same_world(&place("eastus"), &place("uksouth"));
        assert_eq!(apart, SameWorld::No { from: named("United States"), to: named("United Kingdom") });
        assert!(matches!(table.same_world(&place(""), &place("")), SameWorld::Unknown { .. }), "nowhere is nowhere");
    }

    #[test]
    fn what_the_service_says_today_goes_before_the_table() {
        let atlas = Atlas::default().with_live(list(&[
            ("westeurope", "European Union"),
            ("northeurope", "European Union"),
            ("italynorth", "European Union"),
            ("Atlantis North", "Ocean"),
        ]));
        assert_eq!(atlas.geography("West Europe"), Some(named("European Union")));
        assert_eq!(atlas.geography("eastus"), Some(named("United States")), "what it does not say is in the table");
        assert!(same(&atlas, "westeurope", "italynorth"), "new, and not in the table");
        assert!(!same(&atlas, "atlantisnorth", "westeurope"));
        let split = Atlas::default().with_live(list(&[("westeurope", "Netherlands"), ("northeurope", "Ireland")]));
        assert!(!same(&split, "westeurope", "northeurope"), "what the table unites is not one any more");
    }

    #[test]
    fn trap_a_geography_that_was_renamed_is_the_same_world() {
        let (old, new) = (recorded("westeurope", "Europe"), recorded("northeurope", "European Union"));
        let live =
            Atlas::default().with_live(list(&[("westeurope", "European Union"), ("northeurope", "European Union")]));
        assert_eq!(live.same_world(&old, &new), SameWorld::Yes, "both by the service");
        assert_eq!(Atlas::default().same_world(&old, &new), SameWorld::Yes, "both by the table");
        // The service hides one of the two from this subscription.
        let partly = Atlas::default().with_live(list(&[("northeurope", "European Union")]));
        assert_eq!(partly.same_world(&old, &new), SameWorld::Yes, "both by the table");
    }

    #[test]
    fn a_region_that_nobody_knows_any_more_has_the_geography_that_was_recorded() {
        let (from, to) = (recorded("atlantisnorth", "Ocean"), recorded("atlantissouth", "Ocean"));
        assert_eq!(Atlas::default().same_world(&from, &to), SameWorld::Yes);
        assert_eq!(
            Atlas::default().same_world(&from, &place("atlantissouth")),
            SameWorld::Unknown { regions: vec!["atlantissouth".into()] }
        );
        assert!(matches!(Atlas::default().same_world(&from, &place("westeurope")), SameWorld::No { .. }));
    }

    #[test]
    fn trap_the_service_has_one_name_for_both_dod_regions_and_they_are_two_worlds() {
        let name = "Azure Government DoD";
        let live =
            Atlas::default().with_live(list(&[("usdodeast", name), ("usdodcentral", name), ("usgovtexas", name)]));
        assert!(!same(&live, "usdodeast", "usdodcentral"));
        assert!(!same(&live, "usdodeast", "usgovtexas"));
        let (east, central) = (recorded("usdodeast", name), recorded("usdodcentral", name));
        assert!(matches!(live.same_world(&east, &central), SameWorld::No { .. }), "nor by what was recorded");
    }

    #[test]
    fn the_operator_has_the_last_word_but_for_the_cloud() {
        let pairs =
            list(&[("West Europe", "Mine"), ("usdodeast", "DoD"), ("usdodcentral", "DoD"), ("chinanorth", "Europe")]);
        let live = list(&[("westeurope", "European Union"), ("northeurope", "European Union")]);
        let atlas = Atlas::new(pairs).with_live(live);
        assert_eq!(atlas.geography("westeurope"), Some(named("Mine")));
        assert!(!same(&atlas, "westeurope", "northeurope"));
        assert!(same(&atlas, "usdodeast", "usdodcentral"));
        assert!(!same(&atlas, "chinanorth", "northeurope"), "a cloud is part of what a place is");
        let united = Atlas::new(list(&[("atlantis", "Europe")]));
        assert!(same(&united, "atlantis", "westeurope"), "a name in common with the table");
        let renamed = united.with_live(list(&[("westeurope", "European Union")]));
        assert!(same(&renamed, "atlantis", "westeurope"), "by its old name too");
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(region_name("West US 3").as_deref(), Some("westus3"));
        for wrong in ["", " ", "west-europe", "wést", &"x".repeat(65)] {
            assert_eq!(region_name(wrong), None, "{wrong}");
        }
        assert_eq!(Geography::parse(" Europe ").unwrap().0, "Europe");
        for wrong in ["", " ", "a\nb", &"x".repeat(65)] {
            assert_eq!(Geography::parse(wrong), None, "{wrong:?}");
        }
    }
}
