//! The fingerprint of a list item (docs/FORMAT.md section 7): equal means that nothing a list shows has changed.

use serde_json::value::RawValue;

use super::Error;
use super::json::{self, Members, Numbers};
use crate::model::Digest;

/// Members that hold addresses, spelt with or without a port and a name in any case (`azure.md` §1.2, §1.7).
const ADDRESSES: [&str; 4] = ["id", "kid", "sid", "recoveryId"];

/// The fingerprint of an item of a list as the service wrote it.
pub fn fingerprint(item: &RawValue) -> Result<Digest, Error> {
    let members = Members::of(item)?;
    let mut text = Vec::with_capacity(item.get().len());
    text.push(b'{');
    for (number, (name, value)) in members.0.iter().enumerate() {
        if number > 0 {
            text.push(b',');
        }
        text.extend(json::write(name)?);
        text.push(b':');
        let plain = ADDRESSES.contains(&name.as_str()).then(|| path_of(value)).flatten();
        match plain {
            Some(path) => text.extend(json::write(&path)?),
            None => text.extend(json::canonical(value, Numbers::Verbatim).map_err(|error| error.at(name))?),
        }
    }
    text.push(b'}');
    Ok(Digest::of(&text))
}

/// The lower-case path of an absolute URL.
fn path_of(value: &RawValue) -> Option<String> {
    let text: String = serde_json::from_str(value.get()).ok()?;
    let url = url::Url::parse(&text).ok().filter(url::Url::has_host)?;
    Some(url.path().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Fault;

    fn of(text: &str) -> Result<Digest, Fault> {
        fingerprint(json::parse(text.as_bytes()).unwrap()).map_err(|error| error.fault)
    }

    // An item as recorded (azure-cli, test_keyvault_secret, api-version 7.4; MIT).
    const ITEM: &str = r#"{"contentType":"test type","id":"https://v.vault.azure.net/secrets/secret1","attributes":{"enabled":true,"created":1690270837,"updated":1690270837,"recoveryLevel":"CustomizedRecoverable+Purgeable","recoverableDays":7},"tags":{"test":"foo","file-encoding":"utf-8"}}"#;

    #[test]
    fn it_is_the_digest_of_the_text_that_the_specification_gives() {
        let canonical = r#"{"attributes":{"created":1690270837,"enabled":true,"recoverableDays":7,"recoveryLevel":"CustomizedRecoverable+Purgeable","updated":1690270837},"contentType":"test type","id":"/secrets/secret1","tags":{"file-encoding":"utf-8","test":"foo"}}"#;
        assert_eq!(of(ITEM), Ok(Digest::of(canonical.as_bytes())));
    }

    #[test]
    fn spelling_does_not_matter_and_content_does() {
        for same in [
            ITEM.replace("v.vault.azure.net/secrets/secret1", "v.vault.azure.net:443/secrets/SECRET1"),
            ITEM.replace(',', " ,\n"),
            ITEM.replace("foo", "\\u0066oo"),
        ] {
            assert_eq!(of(&same), of(ITEM), "{same}");
        }
        for other in [
            ITEM.replace("secret1", "secret2"),
            ITEM.replace("true", "false"),
            ITEM.replace("foo", "FOO"),
            ITEM.replace("\"recoverableDays\":7", "\"recoverableDays\":7.0"),
            ITEM.replace("{\"contentType\"", "{\"managed\":true,\"contentType\""),
        ] {
            assert_ne!(of(&other), of(ITEM), "{other}");
        }
    }

    #[test]
    fn what_no_service_should_send_is_refused() {
        assert_eq!(of(r#"{"tags":{"a":1,"a":2}}"#), Err(Fault::DuplicateMember));
        assert_eq!(of(r#"{"id":1,"id":2}"#), Err(Fault::DuplicateMember));
        assert_eq!(of("[]"), Err(Fault::BadMember));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
        assert_eq!(of(&deep), Err(Fault::TooDeep));
        assert!(of(r#"{"id":"not an address","kid":null,"sid":7}"#).is_ok());
    }
}
