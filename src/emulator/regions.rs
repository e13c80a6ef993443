//! The regions of the public cloud as Resource Manager lists them. Data, and one lookup; knows no service.
//!
//! Source: a recorded `GET /subscriptions/{id}/locations` and, for regions that are younger than the recording, the
//! public list of regions (`azure.md` §2).

/// A region.
#[derive(Debug)]
pub struct Region {
    /// Its name, such as `westeurope`.
    pub name: &'static str,
    /// Its name for people.
    pub display: &'static str,
    /// Its geography: a backup restores only within one.
    pub geography: &'static str,
    /// The part of the world.
    pub group: &'static str,
    /// The paired region, if it has one. Pairs may cross geographies.
    pub paired: Option<&'static str>,
}

/// The region of that name, compared without case.
pub fn find(name: &str) -> Option<&'static Region> {
    REGIONS.iter().find(|region| region.name.eq_ignore_ascii_case(name))
}

const fn region(
    name: &'static str,
    display: &'static str,
    geography: &'static str,
    group: &'static str,
    paired: Option<&'static str>,
) -> Region {
    Region { name, display, geography, group, paired }
}

/// Every region, by name.
#[rustfmt::skip]
pub const REGIONS: &[Region] = &[
    region("australiacentral", "Australia Central", "Australia", "Asia Pacific", Some("australiacentral2")),
    region("australiacentral2", "Australia Central 2", "Australia", "Asia Pacific", Some("australiacentral")),
    region("australiaeast", "Australia East", "Australia", "Asia Pacific", Some("australiasoutheast")),
    region("australiasoutheast", "Australia Southeast", "Australia", "Asia Pacific", Some("australiaeast")),
    region("austriaeast", "Austria East", "Austria", "Europe", None),
    region("belgiumcentral", "Belgium Central", "Belgium", "Europe", None),
    region("brazilsouth", "Brazil South", "Brazil", "South America", Some("southcentralus")),
    region("brazilsoutheast", "Brazil Southeast", "Brazil", "South America", Some("brazilsouth")),
    region("brazilus", "Brazil US", "Brazil", "South America", Some("brazilsoutheast")),
    region("canadacentral", "Canada Central", "Canada", "Canada", Some("canadaeast")),
    region("canadaeast", "Canada East", "Canada", "Canada", Some("canadacentral")),
    region("centralindia", "Central India", "India", "Asia Pacific", Some("southindia")),
    region("centralus", "Central US", "United States", "US", Some("eastus2")),
    region("centraluseuap", "Central US EUAP", "Canary (US)", "US", Some("eastus2euap")),
    region("chilecentral", "Chile Central", "Chile", "South America", None),
    region("denmarkeast", "Denmark East", "Denmark", "Europe", None),
    region("eastasia", "East Asia", "Asia Pacific", "Asia Pacific", Some("southeastasia")),
    region("eastus", "East US", "United States", "US", Some("westus")),
    region("eastus2", "East US 2", "United States", "US", Some("centralus")),
    region("eastus2euap", "East US 2 EUAP", "Canary (US)", "US", Some("centraluseuap")),
    region("francecentral", "France Central", "France", "Europe", Some("francesouth")),
    region("francesouth", "France South", "France", "Europe", Some("francecentral")),
    region("germanynorth", "Germany North", "Germany", "Europe", Some("germanywestcentral")),
    region("germanywestcentral", "Germany West Central", "Germany", "Europe", Some("germanynorth")),
    region("indiasouthcentral", "India South Central", "India", "Asia Pacific", None),
    region("indonesiacentral", "Indonesia Central", "Indonesia", "Asia Pacific", None),
    region("israelcentral", "Israel Central", "Israel", "Middle East", None),
    region("italynorth", "Italy North", "Italy", "Europe", None),
    region("japaneast", "Japan East", "Japan", "Asia Pacific", Some("japanwest")),
    region("japanwest", "Japan West", "Japan", "Asia Pacific", Some("japaneast")),
    region("jioindiacentral", "Jio India Central", "India", "Asia Pacific", Some("jioindiawest")),
    region("jioindiawest", "Jio India West", "India", "Asia Pacific", Some("jioindiacentral")),
    region("koreacentral", "Korea Central", "Korea", "Asia Pacific", Some("koreasouth")),
    region("koreasouth", "Korea South", "Korea", "Asia Pacific", Some("koreacentral")),
    region("malaysiawest", "Malaysia West", "Malaysia", "Asia Pacific", None),
    region("mexicocentral", "Mexico Central", "Mexico", "Mexico", None),
    region("newzealandnorth", "New Zealand North", "New Zealand", "Asia Pacific", None),
    region("northcentralus", "North Central US", "United States", "US", Some("southcentralus")),
    region("northeurope", "North Europe", "Europe", "Europe", Some("westeurope")),
    region("norwayeast", "Norway East", "Norway", "Europe", Some("norwaywest")),
    region("norwaywest", "Norway West", "Norway", "Europe", Some("norwayeast")),
    region("polandcentral", "Poland Central", "Poland", "Europe", None),
    region("qatarcentral", "Qatar Central", "Qatar", "Middle East", None),
    region("southafricanorth", "South Africa North", "South Africa", "Africa", Some("southafricawest")),
    region("southafricawest", "South Africa West", "South Africa", "Africa", Some("southafricanorth")),
    region("southcentralus", "South Central US", "United States", "US", Some("northcentralus")),
    region("southeastasia", "Southeast Asia", "Asia Pacific", "Asia Pacific", Some("eastasia")),
    region("southindia", "South India", "India", "Asia Pacific", Some("centralindia")),
    region("spaincentral", "Spain Central", "Spain", "Europe", None),
    region("swedencentral", "Sweden Central", "Sweden", "Europe", Some("swedensouth")),
    region("swedensouth", "Sweden South", "Sweden", "Europe", Some("swedencentral")),
    region("switzerlandnorth", "Switzerland North", "Switzerland", "Europe", Some("switzerlandwest")),
    region("switzerlandwest", "Switzerland West", "Switzerland", "Europe", Some("switzerlandnorth")),
    region("uaecentral", "UAE Central", "UAE", "Middle East", Some("uaenorth")),
    region("uaenorth", "UAE North", "UAE", "Middle East", Some("uaecentral")),
    region("uksouth", "UK South", "United Kingdom", "Europe", Some("ukwest")),
    region("ukwest", "UK West", "United Kingdom", "Europe", Some("uksouth")),
    region("westcentralus", "West Central US", "United States", "US", Some("westus2")),
    region("westeurope", "West Europe", "Europe", "Europe", Some("northeurope")),
    region("westindia", "West India", "India", "Asia Pacific", Some("southindia")),
    region("westus", "West US", "United States", "US", Some("eastus")),
    region("westus2", "West US 2", "United States", "US", Some("westcentralus")),
    region("westus3", "West US 3", "United States", "US", Some("eastus")),
];

/// Names that the same list carries although they are no place: they have no geography, and a client must bear that.
pub const LOGICAL: &[(&str, &str)] =
    &[("asia", "Asia"), ("europe", "Europe"), ("global", "Global"), ("unitedstates", "United States")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_exist_and_need_not_share_a_geography() {
        for region in REGIONS {
            if let Some(paired) = region.paired {
                assert!(find(paired).is_some(), "{} is paired with {paired}", region.name);
            }
        }
        let brazil = find("BrazilSouth").unwrap();
        assert_ne!(brazil.geography, find(brazil.paired.unwrap()).unwrap().geography);
    }
}
