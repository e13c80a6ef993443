//! Rows for backups that open only in some places, and the vaults that would do.

use super::*;

#[test]
fn a_backup_opens_only_in_its_own_cloud_subscription_and_geography() {
    for (target, allowed) in [
        (facts("S1", "North Europe", "premium"), true),
        (facts("s2", "westeurope", "premium"), false),
        (facts("s1", "eastus", "premium"), false),
        (facts("s1", "atlantis", "premium"), false),
        (None, false),
    ] {
        let step = one(wanted("key/k"), Slot::Free, &away(target.clone()));
        assert_eq!(step.action == Action::Restore, allowed, "{target:?}: {}", step.reason);
    }
    let unknown = Route { source_facts: None, ..away(facts("s1", "westeurope", "premium")) };
    assert_eq!(one(wanted("key/k"), Slot::Free, &unknown).action, Action::Refused);
    let china = Route { target: uri("https://spare.vault.azure.cn"), ..home() };
    assert_eq!(one(wanted("key/k"), Slot::Free, &china).refusal, Some(Refusal::OtherCloud));
    let blind = Route { source_facts: None, target_facts: None, ..home() };
    assert_eq!(one(wanted("key/k"), Slot::Free, &blind).action, Action::Restore, "its own vault needs no facts");
    let new = facts("s1", "atlantis", "premium");
    let region = Route { source_facts: new.clone(), ..away(new) };
    assert_eq!(one(wanted("key/k"), Slot::Free, &region).action, Action::Restore, "one region is one geography");
}

#[test]
fn an_hsm_key_fits_into_a_premium_vault_only() {
    let hsm = || {
        let mut wanted = wanted("key/k");
        wanted.source.hsm = true;
        wanted
    };
    let standard = || facts("s1", "westeurope", "Standard");
    for route in [away(standard()), Route { target_facts: standard(), ..home() }] {
        assert!(one(hsm(), Slot::Free, &route).reason.contains("standard vault"));
        assert_eq!(one(wanted("key/k"), Slot::Free, &route).action, Action::Restore);
    }
    let step = one(hsm(), Slot::Free, &away(facts("s1", "westeurope", "premium")));
    assert!(step.action == Action::Restore && step.hsm);
}

#[test]
fn a_refusal_of_place_names_the_vaults_that_would_do() {
    let known = |name: &str, subscription: &str, location: &str, sku: &str| Known {
        uri: uri(&format!("https://{name}.vault.azure.net")),
        facts: facts(subscription, location, sku).unwrap(),
    };
    let route = Route {
        known: vec![
            known("prod", "s1", "westeurope", "premium"),
            known("far", "s1", "eastus", "premium"),
            known("foreign", "s2", "westeurope", "premium"),
            known("plain", "s1", "northeurope", "standard"),
            known("spare", "s1", "eastus", "premium"),
        ],
        ..away(facts("s1", "eastus", "premium"))
    };
    let alternative = |route: &Route, hsm: bool| {
        let mut wanted = wanted("key/k");
        wanted.source.hsm = hsm;
        one(wanted, Slot::Free, route).alternatives.remove(0)
    };
    let would_do = "restore into another vault that would do (--to): https://prod.vault.azure.net";
    assert_eq!(alternative(&route, false), format!("{would_do}, https://plain.vault.azure.net"));
    assert_eq!(alternative(&route, true), would_do);
    let mut many = route.clone();
    many.known.extend((0..9).map(|n| known(&format!("v{n}"), "s1", "westeurope", "premium")));
    assert!(alternative(&many, true).ends_with("https://v1.vault.azure.net or 7 more"), "{}", alternative(&many, true));
    let none = Route { known: Vec::new(), ..route };
    assert_eq!(alternative(&none, true), "restore into a premium vault of the same subscription and geography (--to)");
}
