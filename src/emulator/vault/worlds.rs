//! Security worlds: which regions share a backup's wrapping key, and that key. Knows no objects and no vaults.
//!
//! Every geography is one security world, but the two regions of US DoD are one each (`azure.md` §2, DOC). The recordings
//! show West US 2 with a wrapping key of its own (REC); whether a restore crosses that line is unknown, so the emulator
//! keeps to the documents.

use super::crypto::{self, Material};
use super::errors::Fault;
use super::state::Chance;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A geography's wrapping key.
#[derive(Serialize, Deserialize)]
pub(super) struct World {
    /// Its identifier, in clear in every backup.
    pub(super) kid: String,
    /// RSA 2048.
    pub(super) key: Material,
}

/// The wrapping key of a region, made when it is first needed.
pub(super) fn of_region<'a>(
    worlds: &'a mut BTreeMap<String, World>,
    region: &str,
    chance: &mut Chance,
) -> Result<&'a World, Fault> {
    let name = geography(region);
    if !worlds.contains_key(name) {
        let key = crypto::generate(crypto::Spec::Rsa(2048))?;
        worlds.insert(name.to_owned(), World { kid: chance.guid(), key });
    }
    worlds.get(name).ok_or_else(|| Fault::internal("the geography has no wrapping key"))
}

/// The geography of a region (`azure.md` §2). An unknown region is a geography of its own.
pub(super) fn geography(region: &str) -> &str {
    match region {
        "eastasia" | "southeastasia" => "Asia Pacific",
        "australiacentral" | "australiacentral2" | "australiaeast" | "australiasoutheast" => "Australia",
        "brazilsouth" | "brazilsoutheast" | "brazilus" => "Brazil",
        "canadacentral" | "canadaeast" => "Canada",
        "centraluseuap" | "eastus2euap" => "Canary (US)",
        "northeurope" | "westeurope" => "Europe",
        "francecentral" | "francesouth" => "France",
        "germanywestcentral" | "germanynorth" => "Germany",
        "centralindia" | "southindia" | "westindia" | "jioindiawest" | "jioindiacentral" | "indiasouthcentral" => {
            "India"
        }
        "japaneast" | "japanwest" => "Japan",
        "koreacentral" | "koreasouth" => "Korea",
        "norwayeast" | "norwaywest" => "Norway",
        "southafricanorth" | "southafricawest" => "South Africa",
        "eastusstg" | "southcentralusstg" => "Stage (US)",
        "swedencentral" | "swedensouth" => "Sweden",
        "switzerlandnorth" | "switzerlandwest" => "Switzerland",
        "uaenorth" | "uaecentral" => "UAE",
        "uksouth" | "ukwest" => "United Kingdom",
        "centralus" | "eastus" | "eastus2" | "northcentralus" | "southcentralus" | "westcentralus" | "westus"
        | "westus2" | "westus3" => "United States",
        "usgovvirginia" | "usgovtexas" | "usgovarizona" => "Azure Government",
        "chinanorth" | "chinaeast" | "chinanorth2" | "chinaeast2" | "chinanorth3" | "chinaeast3" => "China",
        alone => alone,
    }
}

#[cfg(test)]
mod tests {
    use super::geography;

    #[test]
    fn regions_of_one_geography_share_a_world_and_dod_regions_do_not() {
        assert_eq!(geography("westeurope"), geography("northeurope"));
        assert_ne!(geography("westeurope"), geography("germanywestcentral"));
        assert_ne!(geography("usdodeast"), geography("usdodcentral"));
    }
}
