//! Delete, recover, purge, and reading what is deleted: one rule for all kinds, three names at once for certificates. Knows
//! no content.

use super::certificates::CertificateContent;
use super::errors::Fault;
use super::keys::KeyContent;
use super::object::{Content, Kind, Life, Object, Phase};
use super::secrets::SecretContent;
use super::state::{Answer, Call, Change, ok};
use super::view::Deleted;
use crate::emulator::wire::Response;
use hyper::StatusCode;

/// Sets the life of an object; with a certificate go the key and the secret behind it.
fn set_life(call: &mut Call<'_>, kind: Kind, name: &str, life: Life) {
    match kind {
        Kind::Key => call.shelf_mut::<KeyContent>().set_life(name, life),
        Kind::Secret => call.shelf_mut::<SecretContent>().set_life(name, life),
        Kind::Certificate => {
            call.shelf_mut::<CertificateContent>().set_life(name, life);
            call.shelf_mut::<KeyContent>().set_life(name, life);
            call.shelf_mut::<SecretContent>().set_life(name, life);
        }
    }
}

/// An object stands and falls with its certificate (REC for delete, GUESS[managed-recover-purge] for the others).
fn refuse_managed<C: Content>(object: &Object<C>, operation: &str) -> Result<(), Fault> {
    if object.managed() { Err(Fault::managed(C::KIND, operation)) } else { Ok(()) }
}

fn deleted_answer<C: Content>(call: &mut Call<'_>, name: &str) -> Answer {
    let bundle = C::bundle(call, name)?;
    let object = call.shelf::<C>().any(name)?;
    ok(&Deleted::new(call.vault, C::KIND.plural(), &object.name, object.life, bundle))
}

/// `DELETE /TYPE/NAME`.
pub(super) fn delete<C: Content>(call: &mut Call<'_>, name: &str) -> Answer {
    refuse_managed(call.shelf::<C>().live(name, call.moment())?, "delete")?;
    let life = Life::Deleted { at: call.now, visible: call.visible_at(C::KIND, Change::Delete) };
    set_life(call, C::KIND, name, life);
    deleted_answer::<C>(call, name)
}

/// `GET /deletedTYPE/NAME`: 404 while the delete propagates (REC).
pub(super) fn get_deleted<C: Content>(call: &mut Call<'_>, name: &str) -> Answer {
    match call.shelf::<C>().phase(name, call.moment()) {
        Phase::Deleted => deleted_answer::<C>(call, name),
        _ => Err(Fault::deleted_not_found(C::KIND, name)),
    }
}

/// `POST /deletedTYPE/NAME/recover`: answers like a get, takes effect later (REC).
pub(super) fn recover<C: Content>(call: &mut Call<'_>, name: &str) -> Answer {
    let shelf = call.shelf::<C>();
    match shelf.phase(name, call.moment()) {
        Phase::Deleted => refuse_managed(shelf.any(name)?, "recover")?,
        Phase::Deleting | Phase::Purging => return Err(Fault::being_deleted(C::KIND, name)),
        Phase::Recovering => return Err(Fault::being_recovered(C::KIND, name)),
        Phase::Live => return Err(Fault::exists_already(C::KIND, name)),
        Phase::Free => return Err(Fault::deleted_not_found(C::KIND, name)),
    }
    let ready = call.visible_at(C::KIND, Change::Recover);
    set_life(call, C::KIND, name, Life::Recovering { ready });
    ok(&C::bundle(call, name)?)
}

/// `DELETE /deletedTYPE/NAME`: 204, takes effect later; until then the name is neither readable nor free (REC).
pub(super) fn purge<C: Content>(call: &mut Call<'_>, name: &str) -> Answer {
    let shelf = call.shelf::<C>();
    let phase = shelf.phase(name, call.moment());
    if call.vault.purge_protection && matches!(phase, Phase::Deleting | Phase::Deleted) {
        return Err(Fault::purge_protected(&call.vault.name, &call.vault.location));
    }
    match phase {
        Phase::Deleted => refuse_managed(shelf.any(name)?, "purge")?,
        Phase::Deleting | Phase::Purging => return Err(Fault::being_deleted_for_purge(C::KIND)),
        Phase::Recovering => return Err(Fault::being_recovered(C::KIND, name)),
        // As for recover; not recorded, GUESS[purge-of-live].
        Phase::Live => return Err(Fault::exists_already(C::KIND, name)),
        Phase::Free => return Err(Fault::deleted_not_found(C::KIND, name)),
    }
    let gone = call.visible_at(C::KIND, Change::Purge);
    set_life(call, C::KIND, name, Life::Purging { gone });
    let moment = call.moment();
    call.vault.keys.sweep(moment);
    call.vault.secrets.sweep(moment);
    call.vault.certificates.sweep(moment);
    Ok(Response::new(StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use crate::emulator::seed::{Limbo, Wait, Waits};
    use crate::emulator::vault::fixture::{Cloud, NOW};
    use crate::emulator::vault::object::DAY;

    const SET: &str = r#"{"value":"x"}"#;

    fn fault(status: u16, code: &str, inner: &str) -> (u16, String, String) {
        (status, code.into(), inner.into())
    }

    #[test]
    fn a_deleted_secret_keeps_its_name_until_it_is_recovered_or_purged() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.good("PUT", "vvv/secrets/One", SET);
        let deleted = cloud.good("DELETE", "vvv/secrets/one", "");
        assert_eq!(deleted["recoveryId"], "https://vvv.vault.azure.net/deletedsecrets/One");
        assert_eq!(deleted["scheduledPurgeDate"], NOW + 7 * DAY);
        assert_eq!(deleted["attributes"]["recoveryLevel"], "CustomizedRecoverable+Purgeable");
        assert_eq!(cloud.good("GET", "vvv/deletedsecrets/ONE", ""), deleted);
        assert_eq!(cloud.bad("PUT", "vvv/secrets/one", SET), fault(409, "Conflict", "ObjectIsDeletedButRecoverable"));
        assert_eq!(cloud.bad("GET", "vvv/secrets/one", ""), fault(404, "SecretNotFound", ""));
        cloud.good("POST", "vvv/deletedsecrets/one/recover", "");
        assert_eq!(cloud.good("GET", "vvv/secrets/one", "")["value"], "x");
        let twice = cloud.bad("POST", "vvv/deletedsecrets/one/recover", "");
        assert_eq!(twice, fault(400, "MethodNotAllowed", "RequestNotAllowedOnNonDeletedObject"));
        cloud.good("DELETE", "vvv/secrets/one", "");
        assert_eq!(cloud.ask("DELETE", "vvv/deletedsecrets/one", "").0, 204);
        assert_eq!(cloud.bad("GET", "vvv/deletedsecrets/one", ""), fault(404, "SecretNotFound", ""));
        assert!(!String::from_utf8(cloud.vaults.save()).unwrap().contains("\"value\":\"x\""));
        cloud.good("PUT", "vvv/secrets/one", SET);
    }

    #[test]
    fn limbo_hides_what_was_deleted_recovered_or_purged_and_blocks_its_name_meanwhile() {
        let mut cloud = Cloud::four(Limbo::Real);
        cloud.good("PUT", "vvv/secrets/one", SET);
        let blob = cloud.backup("vvv/secrets/one");
        cloud.good("DELETE", "vvv/secrets/one", "");
        assert_eq!(cloud.bad("GET", "vvv/deletedsecrets/one", "").0, 404);
        assert_eq!(cloud.pages("vvv/deletedsecrets").0.len(), 0);
        assert_eq!(cloud.bad("PUT", "vvv/secrets/one", SET).2, "ObjectIsDeletedButRecoverable");
        let deleting = fault(409, "Conflict", "ObjectIsBeingDeleted");
        assert_eq!(cloud.bad("POST", "vvv/deletedsecrets/one/recover", ""), deleting);
        assert_eq!(cloud.bad("DELETE", "vvv/deletedsecrets/one", ""), deleting);

        cloud.now += 131;
        assert_eq!(cloud.pages("vvv/deletedsecrets").0.len(), 1);
        cloud.good("POST", "vvv/deletedsecrets/one/recover", "");
        assert_eq!(cloud.bad("GET", "vvv/secrets/one", "").0, 404);
        assert_eq!(cloud.bad("PUT", "vvv/secrets/one", SET).2, "ObjectIsBeingRecovered");
        cloud.now += 62;
        cloud.good("GET", "vvv/secrets/one", "");

        cloud.good("DELETE", "vvv/secrets/one", "");
        cloud.now += 131;
        assert_eq!(cloud.ask("DELETE", "vvv/deletedsecrets/one", "").0, 204);
        assert_eq!(cloud.bad("GET", "vvv/deletedsecrets/one", "").0, 404);
        assert_eq!(cloud.bad("GET", "vvv/secrets/one", "").0, 404);
        assert_eq!(cloud.bad("POST", "vvv/secrets/restore", &blob), fault(409, "Conflict", ""));
        assert_eq!(cloud.bad("PUT", "vvv/secrets/one", SET), deleting);
        cloud.now += 204;
        cloud.good("POST", "vvv/secrets/restore", &blob);
    }

    #[test]
    fn purge_protection_holds_until_the_retention_ends_and_then_the_service_purges() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.good("PUT", "ppp/secrets/one", SET);
        let deleted = cloud.good("DELETE", "ppp/secrets/one", "");
        assert_eq!(deleted["attributes"]["recoveryLevel"], "Recoverable");
        let (status, body) = cloud.ask("DELETE", "ppp/deletedsecrets/one", "");
        assert_eq!(status, 403);
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.ends_with("has passed.\r\nVault: ppp;location=northeurope"), "{message}");
        cloud.now = NOW + 90 * DAY - 1;
        cloud.good("GET", "ppp/deletedsecrets/one", "");
        cloud.now += 1;
        assert_eq!(cloud.bad("GET", "ppp/deletedsecrets/one", "").0, 404);
        cloud.good("PUT", "ppp/secrets/one", SET);
    }

    #[test]
    fn a_certificate_in_limbo_holds_its_three_names_for_as_long_as_was_set_for_certificates() {
        let mut cloud = Cloud::new(
            "[[vault]]\nname = \"vvv\"\nsubscription = \"s\"\nlocation = \"westeurope\"\nobjects = [\
             {kind = \"certificate\", name = \"tls\", type = \"EC\"}, {kind = \"secret\", name = \"s\"}]",
        );
        let wait = |certificate| Wait { key: 1, secret: 2, certificate };
        cloud.vaults.set_limbo(Limbo::Set(Waits { delete: wait(30), recover: wait(40), purge: wait(50) }));
        let three = ["keys/tls", "secrets/tls", "certificates/tls"];
        let seen = |cloud: &mut Cloud, prefix: &str| {
            three.map(|path| cloud.ask("GET", &format!("vvv/{prefix}{path}"), "").0 == 200)
        };
        let blob = cloud.backup("vvv/certificates/tls");
        let deleting = fault(409, "Conflict", "ObjectIsBeingDeleted");
        let recovering = fault(409, "Conflict", "ObjectIsBeingRecovered");

        cloud.good("DELETE", "vvv/certificates/tls", "");
        cloud.now += 29;
        assert_eq!(seen(&mut cloud, "deleted"), [false; 3]);
        assert_eq!(cloud.bad("PUT", "vvv/secrets/tls", SET).2, "ObjectIsDeletedButRecoverable");
        assert_eq!(cloud.bad("POST", "vvv/deletedcertificates/tls/recover", ""), deleting);
        cloud.now += 1;
        assert_eq!(seen(&mut cloud, "deleted"), [true; 3]);

        cloud.good("POST", "vvv/deletedcertificates/tls/recover", "");
        cloud.now += 39;
        assert_eq!((seen(&mut cloud, ""), seen(&mut cloud, "deleted")), ([false; 3], [false; 3]));
        assert_eq!(cloud.bad("POST", "vvv/deletedcertificates/tls/recover", ""), recovering);
        assert_eq!(cloud.bad("DELETE", "vvv/deletedcertificates/tls", ""), recovering);
        assert_eq!(cloud.bad("POST", "vvv/certificates/restore", &blob), fault(409, "Conflict", ""));
        cloud.now += 1;
        assert_eq!(seen(&mut cloud, ""), [true; 3]);

        cloud.good("DELETE", "vvv/certificates/tls", "");
        cloud.now += 30;
        assert_eq!(cloud.ask("DELETE", "vvv/deletedcertificates/tls", "").0, 204);
        cloud.now += 49;
        assert_eq!((seen(&mut cloud, ""), seen(&mut cloud, "deleted")), ([false; 3], [false; 3]));
        assert_eq!(cloud.bad("PUT", "vvv/secrets/tls", SET), deleting);
        assert_eq!(cloud.bad("DELETE", "vvv/deletedcertificates/tls", ""), deleting);
        assert_eq!(cloud.bad("POST", "vvv/certificates/restore", &blob), fault(409, "Conflict", ""));
        cloud.now += 1;
        cloud.good("POST", "vvv/certificates/restore", &blob);

        cloud.good("DELETE", "vvv/secrets/s", "");
        cloud.now += 2;
        cloud.good("GET", "vvv/deletedsecrets/s", "");
    }

    #[test]
    fn a_certificate_takes_its_key_and_secret_along() {
        let mut cloud = Cloud::new(
            "[[vault]]\nname = \"vvv\"\nsubscription = \"s\"\nlocation = \"westeurope\"\nobjects = [\
             {kind = \"certificate\", name = \"tls\", type = \"EC\"}]",
        );
        assert_eq!(cloud.bad("DELETE", "vvv/keys/tls", ""), fault(403, "Forbidden", "KeyManagedByKeyVault"));
        assert_eq!(cloud.bad("DELETE", "vvv/secrets/tls", ""), fault(403, "Forbidden", "SecretManagedByKeyVault"));
        cloud.good("DELETE", "vvv/certificates/tls", "");
        assert_eq!(cloud.bad("GET", "vvv/keys/tls", "").0, 404);
        assert_eq!(cloud.good("GET", "vvv/deletedkeys/tls", "")["managed"], true);
        assert_eq!(cloud.bad("DELETE", "vvv/deletedkeys/tls", "").2, "KeyManagedByKeyVault");
        assert_eq!(cloud.bad("POST", "vvv/deletedsecrets/tls/recover", "").2, "SecretManagedByKeyVault");
        cloud.good("POST", "vvv/deletedcertificates/tls/recover", "");
        cloud.good("GET", "vvv/keys/tls", "");
        cloud.good("DELETE", "vvv/certificates/tls", "");
        assert_eq!(cloud.ask("DELETE", "vvv/deletedcertificates/tls", "").0, 204);
        for path in ["keys/tls", "deletedkeys/tls", "deletedsecrets/tls", "deletedcertificates/tls"] {
            assert_eq!(cloud.bad("GET", &format!("vvv/{path}"), "").0, 404, "{path}");
        }
    }
}
