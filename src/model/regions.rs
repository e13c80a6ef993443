//! Azure's regions and the geographies that they are in, as data. Knows no place and no vault.
//!
//! Source: Azure Resource Manager, `GET /subscriptions/{id}/locations?api-version=2022-12-01`, `metadata.geography`, as
//! recorded from the public cloud. Regions that are younger than the recording, and those of the other clouds, are from
//! Microsoft's list of regions, <https://learn.microsoft.com/azure/reliability/regions-list>, as of August 2026; of these
//! the spelling of the geography is not confirmed by Resource Manager. Collected in `azure.md` §2.
//!
//! Data like this grows old: what Resource Manager says today, and what the operator says, go before it
//! ([`Atlas`](super::Atlas)).

/// One of Microsoft's clouds. Nothing of one opens in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cloud {
    Public,
    UsGovernment,
    China,
}

/// Regions of one geography.
pub(super) struct Row {
    pub(super) cloud: Cloud,
    pub(super) geography: &'static str,
    pub(super) regions: &'static [&'static str],
    /// Whether these regions are a security world of their own although the service names no geography that says so.
    pub(super) apart: bool,
}

const fn public(geography: &'static str, regions: &'static [&'static str]) -> Row {
    Row { cloud: Cloud::Public, geography, regions, apart: false }
}

const fn other(cloud: Cloud, geography: &'static str, regions: &'static [&'static str], apart: bool) -> Row {
    Row { cloud, geography, regions, apart }
}

/// Every geography, by cloud and name. Paired regions mean nothing here: that of Brazil South is in the United States.
///
/// DoD East and DoD Central are one geography by name, and two security worlds by Microsoft's own statement ("Key Vault
/// security worlds and geographic boundaries").
#[rustfmt::skip]
pub(super) const GEOGRAPHIES: &[Row] = &[
    public("Asia Pacific", &["eastasia", "southeastasia"]),
    public("Australia", &["australiacentral", "australiacentral2", "australiaeast", "australiasoutheast"]),
    public("Austria", &["austriaeast"]),
    public("Belgium", &["belgiumcentral"]),
    public("Brazil", &["brazilsouth", "brazilsoutheast", "brazilus"]),
    public("Canada", &["canadacentral", "canadaeast"]),
    public("Canary (US)", &["centraluseuap", "eastus2euap"]),
    public("Chile", &["chilecentral"]),
    public("Denmark", &["denmarkeast"]),
    public("Europe", &["northeurope", "westeurope"]),
    public("France", &["francecentral", "francesouth"]),
    public("Germany", &["germanywestcentral", "germanynorth"]),
    public("India", &["centralindia", "southindia", "westindia", "jioindiawest", "jioindiacentral", "indiasouthcentral"]),
    public("Indonesia", &["indonesiacentral"]),
    public("Israel", &["israelcentral"]),
    public("Italy", &["italynorth"]),
    public("Japan", &["japaneast", "japanwest"]),
    public("Korea", &["koreacentral", "koreasouth"]),
    public("Malaysia", &["malaysiawest"]),
    public("Mexico", &["mexicocentral"]),
    public("New Zealand", &["newzealandnorth"]),
    public("Norway", &["norwayeast", "norwaywest"]),
    public("Poland", &["polandcentral"]),
    public("Qatar", &["qatarcentral"]),
    public("South Africa", &["southafricanorth", "southafricawest"]),
    public("Spain", &["spaincentral"]),
    public("Stage (US)", &["eastusstg", "southcentralusstg"]),
    public("Sweden", &["swedencentral", "swedensouth"]),
    public("Switzerland", &["switzerlandnorth", "switzerlandwest"]),
    public("UAE", &["uaenorth", "uaecentral"]),
    public("United Kingdom", &["uksouth", "ukwest"]),
    public("United States", &[
        "centralus", "eastus", "eastus2", "northcentralus", "southcentralus", "westcentralus", "westus", "westus2", "westus3",
    ]),
    other(Cloud::UsGovernment, "Azure Government", &["usgovvirginia", "usgovtexas", "usgovarizona"], false),
    other(Cloud::UsGovernment, "Azure Government DoD Central", &["usdodcentral"], true),
    other(Cloud::UsGovernment, "Azure Government DoD East", &["usdodeast"], true),
    other(Cloud::China, "China", &["chinanorth", "chinaeast", "chinanorth2", "chinaeast2", "chinanorth3", "chinaeast3"], false),
];

/// The row of a region, by its plain name.
pub(super) fn row(region: &str) -> Option<&'static Row> {
    GEOGRAPHIES.iter().find(|row| row.regions.contains(&region))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_region_stands_once_and_is_spelt_as_the_service_spells_it() {
        let all: Vec<&str> = GEOGRAPHIES.iter().flat_map(|row| row.regions).copied().collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|region| super::super::place::region_name(region).as_deref() == Some(*region)));
        let names: BTreeSet<&str> = GEOGRAPHIES.iter().map(|row| row.geography).collect();
        assert_eq!(names.len(), GEOGRAPHIES.len(), "two clouds have no geography of one name");
    }
}
