//! What Azure would not allow, found before the emulator starts. Pure; knows only the seed's types and the regions.

use std::collections::BTreeSet;

use super::{
    Account, Contact, Container, Issuer, Object, ObjectKind, Principal, RoleAssignment, Seed, Sku, Vault, Worm,
};
use crate::emulator::regions;
use crate::error::{Error, Result};

/// The principal that may do everything; the seed cannot have another of that name.
const OWNER: &str = "default";

/// Refuses a seed that describes what Azure could not hold.
pub(super) fn check(seed: &Seed) -> Result<()> {
    unique("vault", seed.vaults.iter().map(|vault| vault.name.as_str()))?;
    unique("storage account", seed.accounts.iter().map(|account| account.account.as_str()))?;
    unique("principal", seed.principals.iter().map(|principal| principal.name.as_str()))?;
    seed.vaults.iter().try_for_each(|it| vault(it).map_err(|e| e.context(format!("seed: vault {:?}", it.name))))?;
    seed.accounts
        .iter()
        .try_for_each(|it| account(it).map_err(|e| e.context(format!("seed: storage account {:?}", it.account))))?;
    seed.principals
        .iter()
        .try_for_each(|it| principal(it).map_err(|e| e.context(format!("seed: principal {:?}", it.name))))
}

fn require(holds: bool, otherwise: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::usage(otherwise)) }
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.to_ascii_lowercase()) {
            return Err(Error::usage(format!("seed: there are two of {what} {name:?}")));
        }
    }
    Ok(())
}

fn place(subscription: &str, location: &str) -> Result<()> {
    require(uuid::Uuid::try_parse(subscription).is_ok(), "the subscription is no UUID")?;
    match regions::find(location) {
        Some(region) if region.name == location => Ok(()),
        Some(region) => Err(Error::usage(format!("write the location as {:?}", region.name))),
        None => Err(Error::usage(format!("there is no location {location:?}"))
            .hint("use a name as `az account list-locations` prints it, such as \"westeurope\"")),
    }
}

/// Whether a name has `range` characters, all of them letters, digits or hyphens.
fn hyphenated(name: &str, range: std::ops::RangeInclusive<usize>) -> bool {
    range.contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn vault(vault: &Vault) -> Result<()> {
    let name = &vault.name;
    require(
        hyphenated(name, 3..=24)
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && !name.ends_with('-')
            && !name.contains("--"),
        "a vault's name has 3 to 24 letters, digits and single hyphens, begins with a letter and does not end with a \
         hyphen",
    )?;
    place(&vault.subscription, &vault.location)?;
    require((7..=90).contains(&vault.retention_days), "retention_days must be 7 to 90")?;
    // Of resources, other than of objects in vaults.
    require(
        vault.tags.len() <= 50 && vault.tags.iter().all(|(key, value)| key.len() <= 512 && value.len() <= 256),
        "a vault has at most 50 tags, with names of at most 512 characters and values of at most 256",
    )?;
    settings(vault)?;
    for it in &vault.objects {
        object(it, vault.sku).map_err(|e| e.context(format!("object {:?}", it.name)))?;
    }
    let names = |kinds: &'static [ObjectKind]| {
        vault.objects.iter().filter(|object| kinds.contains(&object.kind)).flat_map(Object::names).collect::<Vec<_>>()
    };
    // A certificate occupies the key and the secret of its name too.
    let (keys, secrets) =
        (names(&[ObjectKind::Key, ObjectKind::Certificate]), names(&[ObjectKind::Secret, ObjectKind::Certificate]));
    unique("key", keys.iter().map(String::as_str))?;
    unique("secret", secrets.iter().map(String::as_str))
}

fn settings(vault: &Vault) -> Result<()> {
    let uuid = |text: &str| uuid::Uuid::try_parse(text).is_ok();
    let named = |issuer: &Issuer| hyphenated(&issuer.name, 1..=127);
    let assigned = |it: &RoleAssignment| uuid(&it.role) && uuid(&it.principal);
    let reached = |contact: &Contact| contact.email.contains('@');
    unique("issuer", vault.issuers.iter().map(|issuer| issuer.name.as_str()))?;
    unique("diagnostic setting", vault.diagnostic_settings.iter().map(|it| it.name.as_str()))?;
    require(vault.issuers.iter().all(named), "an issuer's name has 1 to 127 letters, digits and hyphens")?;
    require(vault.contacts.iter().all(reached), "a contact's email is no e-mail address")?;
    require(vault.role_assignments.iter().all(assigned), "role and principal of a role assignment must be UUIDs")?;
    require(vault.access_policies.iter().all(|it| uuid(&it.object_id)), "object_id of an access policy must be a UUID")
}

fn object(object: &Object, sku: Sku) -> Result<()> {
    let stem = if object.count.is_some() { 122 } else { 127 };
    require(hyphenated(&object.name, 1..=stem), "an object's name has 1 to 127 letters, digits and hyphens")?;
    require((1..=1_000).contains(&object.versions), "versions must be 1 to 1000")?;
    require(object.count.is_none_or(|count| (1..=100_000).contains(&count)), "count must be 1 to 100000")?;
    require(
        [object.expires_in_days, object.valid_in_days]
            .into_iter()
            .flatten()
            .all(|days| (-36_500..=36_500).contains(&days)),
        "expires_in_days and valid_in_days must be -36500 to 36500",
    )?;
    require(
        object.expires_in_days.is_none_or(|expires| object.valid_in_days.is_none_or(|valid| valid < expires)),
        "an object must not expire before it is valid",
    )?;
    require(
        object.tags.len() <= 15 && object.tags.iter().all(|(key, value)| key.len() <= 512 && value.len() <= 256),
        "an object has at most 15 tags, with names of at most 512 characters and values of at most 256",
    )?;
    if object.kind == ObjectKind::Secret {
        require(
            object.key_type.is_none() && object.bits.is_none() && object.curve.is_none(),
            "a secret has no type, bits or curve",
        )?;
        return require(
            object.value.as_ref().is_none_or(|value| value.len() <= 25_600),
            "a secret's value has at most 25600 bytes",
        );
    }
    require(object.value.is_none(), "only a secret has a value")?;
    key(object, sku)
}

fn key(object: &Object, sku: Sku) -> Result<()> {
    let key_type = object.key_type.as_deref().unwrap_or("RSA");
    let (rsa, ec) = (matches!(key_type, "RSA" | "RSA-HSM"), matches!(key_type, "EC" | "EC-HSM"));
    require(rsa || ec, "type must be RSA, RSA-HSM, EC or EC-HSM")?;
    require(sku == Sku::Premium || !key_type.ends_with("-HSM"), "an HSM key needs a vault with sku = \"premium\"")?;
    require(object.bits.is_none() || rsa, "only an RSA key has bits")?;
    require(object.bits.is_none_or(|bits| matches!(bits, 2048 | 3072 | 4096)), "bits must be 2048, 3072 or 4096")?;
    require(object.curve.is_none() || ec, "only an EC key has a curve")?;
    require(
        object.curve.as_deref().is_none_or(|curve| matches!(curve, "P-256" | "P-384" | "P-521" | "P-256K")),
        "curve must be P-256, P-384, P-521 or P-256K",
    )
}

fn account(account: &Account) -> Result<()> {
    let name = &account.account;
    require(
        (3..=24).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()),
        "a storage account's name has 3 to 24 lower case letters and digits",
    )?;
    place(&account.subscription, &account.location)?;
    unique("container", account.containers.iter().map(|container| container.name.as_str()))?;
    account
        .containers
        .iter()
        .try_for_each(|it| container(it).map_err(|e| e.context(format!("container {:?}", it.name))))
}

fn container(container: &Container) -> Result<()> {
    let name = &container.name;
    require(
        hyphenated(name, 3..=63)
            && !name.bytes().any(|byte| byte.is_ascii_uppercase())
            && !name.starts_with('-')
            && !name.ends_with('-')
            && !name.contains("--"),
        "a container's name has 3 to 63 lower case letters, digits and single hyphens between them",
    )?;
    match (container.worm, container.days) {
        (Worm::None, Some(_)) => Err(Error::usage("days needs a worm mechanism")),
        (Worm::ContainerLevel, None) => Err(Error::usage("container-level needs days")),
        // Version-level without a default policy is legitimate: versions may have policies of their own.
        (Worm::None | Worm::VersionLevel, None) => require(!container.locked, "locked needs days"),
        (_, Some(days)) => require((1..=146_000).contains(&days), "days must be 1 to 146000"),
    }
}

fn principal(principal: &Principal) -> Result<()> {
    require(
        hyphenated(&principal.name, 1..=64) && !principal.name.eq_ignore_ascii_case(OWNER),
        "a principal's name has 1 to 64 letters, digits and hyphens and is not \"default\", which may do everything",
    )?;
    require(
        principal.scopes.iter().all(|scope| scope.starts_with("/subscriptions/")),
        "a scope is an id such as /subscriptions/ID or /subscriptions/ID/resourceGroups/rg-NAME",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const VAULT: &str = "[[vault]]\nname = \"prod\"\nsubscription = \"11111111-1111-1111-1111-111111111111\"\n\
                         location = \"westeurope\"\n";

    fn refusal(text: &str) -> String {
        Seed::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_documented_seed_is_accepted() {
        let document = include_str!("../../../docs/EMULATOR.md");
        let seed = document.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let seed = Seed::parse(seed).unwrap();
        assert!(seed.limits.enforce);
        assert_eq!(seed.vaults[0].objects[1].names().last().unwrap(), "app-0999");
    }

    #[test]
    fn syntax_errors_say_where() {
        assert_eq!(
            refusal("[limits]\nenforce = true\nlatency = 20\n"),
            "seed line 3, column 1: unknown field `latency`, expected one of `enforce`, `percent`, `latency_ms`, \
             `limbo`"
        );
        assert!(refusal("[[vault]\n").starts_with("seed line 1, column "));
        assert!(refusal(&format!("{VAULT}sku = \"gold\"\n")).starts_with("seed line 5, column 7: unknown variant"));
    }

    #[test]
    fn what_azure_would_not_hold_is_refused_by_name() {
        let objects = |text: &str| format!("{VAULT}objects = [{text}]\n");
        let container = |text: &str| {
            format!(
                "[[storage]]\naccount = \"archive\"\nsubscription = \"22222222-2222-2222-2222-222222222222\"\n\
                 location = \"northeurope\"\ncontainers = [{{ name = \"vaults\", {text} }}]\n"
            )
        };
        for (text, part) in [
            (format!("{VAULT}{}", VAULT.replace("prod", "PROD")), "two of vault \"PROD\""),
            (VAULT.replace("prod", "9prod"), "begins with a letter"),
            (VAULT.replace("1111-1111-1111", "x"), "the subscription is no UUID"),
            (VAULT.replace("westeurope", "moon"), "there is no location \"moon\""),
            (VAULT.replace("westeurope", "WestEurope"), "write the location as \"westeurope\""),
            (format!("{VAULT}retention_days = 6\n"), "retention_days must be 7 to 90"),
            (objects("{ kind = \"key\", name = \"k\", type = \"RSA-HSM\" }"), "object \"k\": an HSM key needs a vault"),
            (objects("{ kind = \"key\", name = \"k\", type = \"EC\", bits = 2048 }"), "only an RSA key has bits"),
            (objects("{ kind = \"secret\", name = \"a b\" }"), "letters, digits and hyphens"),
            (
                objects("{ kind = \"secret\", name = \"a\", valid_in_days = 1, expires_in_days = 1 }"),
                "must not expire before it is valid",
            ),
            (format!("{VAULT}issuers = [{{ name = \"a/b\", provider = \"Test\" }}]\n"), "an issuer's name has"),
            (format!("{VAULT}role_assignments = [{{ role = \"Owner\", principal = \"me\" }}]\n"), "must be UUIDs"),
            (
                objects("{ kind = \"certificate\", name = \"tls\" }, { kind = \"secret\", name = \"TLS\" }"),
                "two of secret \"TLS\"",
            ),
            (
                objects("{ kind = \"secret\", name = \"a\", count = 2 }, { kind = \"secret\", name = \"a-0001\" }"),
                "two of secret \"a-0001\"",
            ),
            (container("worm = \"container-level\""), "container \"vaults\": container-level needs days"),
            (container("worm = \"version-level\", locked = true"), "locked needs days"),
            (container("days = 1"), "days needs a worm mechanism"),
            (container("worm = \"container-level\", days = 146001"), "days must be 1 to 146000"),
            ("[[principal]]\nname = \"default\"\nactions = []\n".into(), "is not \"default\""),
            ("[[principal]]\nname = \"p\"\nactions = []\nscopes = [\"rg\"]\n".into(), "a scope is an id such as"),
            (format!("{VAULT}tags = {{ a = \"{}\" }}\n", "x".repeat(257)), "at most 50 tags"),
        ] {
            let refusal = refusal(&text);
            assert!(refusal.contains(part), "{refusal:?} does not say {part:?}");
        }
    }
}
