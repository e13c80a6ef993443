//! What no backup carries and a vault takes back: rotation policies, issuers, contacts. Makes of what a vault once showed
//! what a vault accepts. Knows no vault.

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::{Condition, Error};
use crate::model::Name;

/// What no backup carries and a vault takes back, as the vault once showed it.
#[derive(Clone, Copy, Debug)]
pub enum Setting<'a> {
    /// A key's rotation policy. Replaces the one there is.
    RotationPolicy(&'a Name, &'a RawValue),
    /// A certificate issuer by its name. Its password was never shown, and is not in there. Replaces the one there is, and
    /// with it the password that the vault holds: whoever writes over an issuer has to set its password again.
    Issuer(&'a str, &'a RawValue),
    /// Those who are told about certificates. Replaces the whole list.
    Contacts(&'a RawValue),
}

impl Setting<'_> {
    /// What goes to the vault: all that it showed but what it alone decides, such as ids and times. No password, also
    /// where one stands in there.
    ///
    /// # Errors
    /// `Rejected` for what is no JSON object.
    pub fn body(&self) -> Result<Box<RawValue>, Error> {
        let (what, raw) = match self {
            Setting::RotationPolicy(name, raw) => (format!("the rotation policy of key {name}"), raw),
            Setting::Issuer(name, raw) => (format!("the issuer {name:?}"), raw),
            Setting::Contacts(raw) => ("the certificate contacts".to_owned(), raw),
        };
        let rejected = |why: &str| Error::new(Condition::Rejected, format!("couldn't write {what}: {why}"));
        let mut body: Map<String, Value> =
            serde_json::from_str(raw.get()).map_err(|_| rejected("what is to be written is no JSON object"))?;
        body.remove("id");
        match self {
            Setting::RotationPolicy(..) => drop_from(&mut body, "attributes", &["created", "updated"]),
            Setting::Issuer(..) => {
                drop_from(&mut body, "attributes", &["created", "updated"]);
                drop_from(&mut body, "credentials", &["pwd"]);
                // Shown with each organisation, and in no request (`azure.md` recordings of `keyvault certificate issuer`).
                drop_from(&mut body, "org_details", &["zip"]);
            }
            Setting::Contacts(_) => {}
        }
        to_raw_value(&body).map_err(|error| rejected(&error.to_string()))
    }
}

fn drop_from(body: &mut Map<String, Value>, member: &str, fields: &[&str]) {
    if let Some(Value::Object(inner)) = body.get_mut(member) {
        for field in fields {
            inner.remove(*field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn body(setting: &Setting<'_>) -> Value {
        serde_json::from_str(setting.body().unwrap().get()).unwrap()
    }

    /// Answers of the real service, and the requests that led to them.
    #[test]
    fn what_a_vault_showed_becomes_what_it_was_sent() {
        let name = Name::parse("k").unwrap();
        let policy = r#"{"lifetimeActions":[{"trigger":{"timeAfterCreate":"P15D"},"action":{"type":"Rotate"}},{"trigger":{"timeBeforeExpiry":"P7D"},"action":{"type":"Notify"}}],"attributes":{"expiryTime":"P30D"}}"#;
        let mut shown: Value = serde_json::from_str(policy).unwrap();
        shown["id"] = "https://v.vault.azure.net/keys/k/rotationpolicy".into();
        shown["attributes"]["created"] = 1_699_275_446.into();
        shown["attributes"]["updated"] = 1_699_275_446.into();
        let sent = body(&Setting::RotationPolicy(&name, &raw(&shown.to_string())));
        assert_eq!(sent, serde_json::from_str::<Value>(policy).unwrap());

        let issuer = r#"{"id":"https://v.vault.azure.net/certificates/issuers/i","provider":"Test","credentials":{"account_id":"a","pwd":"p"},"org_details":{"id":"O","zip":0,"admin_details":[{"email":"x@y"}]},"attributes":{"enabled":true,"created":1,"updated":2},"new":7}"#;
        let sent = body(&Setting::Issuer("i", &raw(issuer)));
        let expected = r#"{"provider":"Test","credentials":{"account_id":"a"},"org_details":{"id":"O","admin_details":[{"email":"x@y"}]},"attributes":{"enabled":true},"new":7}"#;
        assert_eq!(sent, serde_json::from_str::<Value>(expected).unwrap(), "what we do not know is kept");

        let contacts = r#"{"id":"https://v.vault.azure.net/certificates/contacts","contacts":[{"email":"x@y"}]}"#;
        assert_eq!(body(&Setting::Contacts(&raw(contacts))), serde_json::json!({"contacts": [{"email": "x@y"}]}));
    }

    #[test]
    fn what_is_no_object_is_written_nowhere() {
        for wrong in ["[]", "null", "\"secret\""] {
            let error = Setting::Contacts(&raw(wrong)).body().unwrap_err();
            assert_eq!(error.condition, Condition::Rejected);
            assert_eq!(
                error.message,
                "couldn't write the certificate contacts: what is to be written is no JSON object"
            );
        }
    }
}
