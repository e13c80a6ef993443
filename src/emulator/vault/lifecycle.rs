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

/// An object stands and falls with its certificate (REC for delete, GUESS for recover and purge).
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
        // As for recover; not recorded, GUESS.
        Phase::Live => return Err(Fault::exists_already(C::KIND, name)),
        Phase::Free => return Err(Fault::deleted_not_found(C::KIND, name)),
    }
    let gone = call.visible_at(C::KIND, Change::Purge);
    set_life(call, C::KIND, name, Life::Purging { gone });
    Ok(Response::new(StatusCode::NO_CONTENT))
}
