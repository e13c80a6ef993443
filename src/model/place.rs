//! Where a vault is: subscription, region, geography. A backup blob restores only into the same subscription and
//! geography, so the table here decides what a restore may try.

use std::fmt;

use serde::{Deserialize, Serialize};

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
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Geography(pub String);

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

/// Geographies and their regions: Azure Resource Manager's `metadata.geography` as recorded for API version 2022-12-01,
/// and the newer single-region countries from Microsoft's list of regions. The two DoD regions are one geography by
/// name, but two security worlds by Microsoft's own statement, and so stand apart here.
const GEOGRAPHIES: &[(&str, &[&str])] = &[
    ("Asia Pacific", &["eastasia", "southeastasia"]),
    ("Australia", &["australiacentral", "australiacentral2", "australiaeast", "australiasoutheast"]),
    ("Austria", &["austriaeast"]),
    ("Azure Government", &["usgovvirginia", "usgovtexas", "usgovarizona"]),
    ("Azure Government DoD Central", &["usdodcentral"]),
    ("Azure Government DoD East", &["usdodeast"]),
    ("Belgium", &["belgiumcentral"]),
    ("Brazil", &["brazilsouth", "brazilsoutheast", "brazilus"]),
    ("Canada", &["canadacentral", "canadaeast"]),
    ("Canary (US)", &["centraluseuap", "eastus2euap"]),
    ("Chile", &["chilecentral"]),
    ("China", &["chinanorth", "chinaeast", "chinanorth2", "chinaeast2", "chinanorth3", "chinaeast3"]),
    ("Denmark", &["denmarkeast"]),
    ("Europe", &["northeurope", "westeurope"]),
    ("France", &["francecentral", "francesouth"]),
    ("Germany", &["germanywestcentral", "germanynorth"]),
    ("India", &["centralindia", "southindia", "westindia", "jioindiawest", "jioindiacentral", "indiasouthcentral"]),
    ("Indonesia", &["indonesiacentral"]),
    ("Israel", &["israelcentral"]),
    ("Italy", &["italynorth"]),
    ("Japan", &["japaneast", "japanwest"]),
    ("Korea", &["koreacentral", "koreasouth"]),
    ("Malaysia", &["malaysiawest"]),
    ("Mexico", &["mexicocentral"]),
    ("New Zealand", &["newzealandnorth"]),
    ("Norway", &["norwayeast", "norwaywest"]),
    ("Poland", &["polandcentral"]),
    ("Qatar", &["qatarcentral"]),
    ("South Africa", &["southafricanorth", "southafricawest"]),
    ("Spain", &["spaincentral"]),
    ("Stage (US)", &["eastusstg", "southcentralusstg"]),
    ("Sweden", &["swedencentral", "swedensouth"]),
    ("Switzerland", &["switzerlandnorth", "switzerlandwest"]),
    ("UAE", &["uaenorth", "uaecentral"]),
    ("United Kingdom", &["uksouth", "ukwest"]),
    (
        "United States",
        &[
            "centralus",
            "eastus",
            "eastus2",
            "northcentralus",
            "southcentralus",
            "westcentralus",
            "westus",
            "westus2",
            "westus3",
        ],
    ),
];

/// The geography of a region by the table above. Accepts `westeurope` and the display form `West Europe`.
pub fn geography_of(location: &str) -> Option<Geography> {
    let plain: String = location.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
    let (name, _) = GEOGRAPHIES.iter().find(|(_, regions)| regions.contains(&plain.as_str()))?;
    Some(Geography((*name).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_region_stands_in_one_geography() {
        let all: Vec<&str> = GEOGRAPHIES.iter().flat_map(|(_, regions)| *regions).copied().collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }

    #[test]
    fn regions_map_as_recorded() {
        assert_eq!(geography_of("West Europe"), geography_of("northeurope"));
        assert_ne!(geography_of("usdodeast"), geography_of("usdodcentral"));
        assert_ne!(geography_of("brazilsouth"), geography_of("southcentralus"));
        assert_eq!(geography_of("atlantis"), None);
    }
}
