//! A POSIX shell script that gives a vault its issuers, contacts and rotation policies back, with `az`. Foreign text gets
//! into it between single quotes as the value of an option, and into comments, and nowhere else. Passwords are read from
//! the environment and go to `az` through a pipe: never an argument, which others on the machine can see.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{document, items, list, plain, text};
use crate::format::settings::{Document, Settings};
use crate::model::{Name, VaultUri};

/// What every script begins with.
pub(super) const BEGINNING: &str = "#!/bin/sh\n# Issuers, contacts and rotation policies, as they were captured of ";

/// Bytes of a value in a command.
const VALUE_MAX: usize = 8192;

/// The script, for `target`. `rotation_policies` are those that keys were captured with. The same input gives the same text.
pub fn script(settings: &Settings, target: &VaultUri, rotation_policies: &[(Name, Value)]) -> String {
    let mut out = format!(
        "{BEGINNING}{} at {}.\n\
         # Needs the Azure CLI, logged in. Run it when the objects are restored: a rotation policy needs its key.\n\
         # What is there already is an error of az, and the script goes on; it ends with 1 if anything was.\n\
         set -u\n\
         vault=${{1:-{}}}\n\
         failed=0\n",
        settings.vault,
        settings.captured_at.format("%Y-%m-%dT%H:%M:%SZ"),
        quoted(target.name()),
    );
    issuers(&mut out, settings);
    contacts(&mut out, settings);
    for (name, policy) in rotation_policies {
        let policy = writable(policy).to_string();
        command(
            &mut out,
            "key rotation-policy update",
            &[("name", Some(name.as_str())), ("value", Some(&policy))],
            None,
        );
    }
    out.push_str("\nexit \"$failed\"\n");
    out
}

/// Between single quotes everything is itself, but for the quote.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Whether `az` takes a value as it is. It reads a file in place of a value that begins with @; and what holds control
/// characters was never entered by a person.
fn fits(value: &str) -> bool {
    !value.starts_with('@') && value.len() <= VALUE_MAX && !value.chars().any(char::is_control)
}

/// One `az keyvault` command. Options are written `--name='value'`: so no value is taken for an option. `password` is the
/// number of the variable that has it.
fn command(out: &mut String, what: &str, options: &[(&str, Option<&str>)], password: Option<usize>) {
    let mut line = format!("az keyvault {what} --vault-name=\"$vault\"");
    let mut odd = false;
    for (name, value) in options.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
        odd |= !fits(value);
        // Writing to a string does not fail.
        let _ = write!(line, " \\\n  --{name}={}", quoted(value));
    }
    if odd {
        let values: Vec<String> = options.iter().filter_map(|(_, value)| value.map(plain)).collect();
        let _ = write!(
            out,
            "\n# Left out, for a value that az would not take as it is: {what} {}\nfailed=1\n",
            values.join(" ")
        );
        return;
    }
    let _ = match password {
        Some(number) => write!(
            out,
            "\nif [ -n \"${{ISSUER_PASSWORD_{number}:-}}\" ]; then\n\
             printf '%s' \"$ISSUER_PASSWORD_{number}\" | {line} \\\n  --password=@- --output none || failed=1\n\
             else\n\
             echo 'ISSUER_PASSWORD_{number} is not set: see the comment above its command' >&2\n\
             failed=1\n\
             fi\n"
        ),
        None => write!(out, "\n{line} \\\n  --output none || failed=1\n"),
    };
}

fn issuers(out: &mut String, settings: &Settings) {
    let Some(mut all) = items(settings, Document::Issuers) else {
        out.push_str("\n# The certificate issuers could not be read when the snapshot was taken.\n");
        return;
    };
    all.sort_by_cached_key(|issuer| text(issuer, "/id").map(str::to_owned));
    for (number, issuer) in all.iter().enumerate() {
        let at = |pointer| text(issuer, pointer);
        let name = at("/id").and_then(|id| id.rsplit_once("/issuers/")).map(|(_, name)| name);
        let Some((name, provider)) = name.zip(at("/provider")) else { continue };
        let account = at("/credentials/account_id");
        let enabled = issuer.pointer("/attributes/enabled").and_then(Value::as_bool).unwrap_or(true);
        let number = number + 1;
        let _ = match account {
            Some(_) => write!(
                out,
                "\n# The issuer {}: its password was never shown to the archive; set ISSUER_PASSWORD_{number} to it.",
                plain(name)
            ),
            None => write!(out, "\n# The issuer {}.", plain(name)),
        };
        let options = [
            ("issuer-name", Some(name)),
            ("provider-name", Some(provider)),
            ("account-id", account),
            ("organization-id", at("/org_details/id")),
            ("disabled", (!enabled).then_some("true")),
        ];
        command(out, "certificate issuer create", &options, account.map(|_| number));
        for admin in list(issuer, "/org_details/admin_details") {
            let at = |pointer| text(admin, pointer);
            let Some(email) = at("/email") else { continue };
            let options = [
                ("issuer-name", Some(name)),
                ("email", Some(email)),
                ("first-name", at("/first_name")),
                ("last-name", at("/last_name")),
                ("phone", at("/phone")),
            ];
            command(out, "certificate issuer admin add", &options, None);
        }
    }
}

fn contacts(out: &mut String, settings: &Settings) {
    let Some(contacts) = document(settings, Document::Contacts) else {
        out.push_str("\n# The certificate contacts could not be read when the snapshot was taken.\n");
        return;
    };
    for contact in list(&contacts, "/contacts") {
        let at = |pointer| text(contact, pointer);
        let Some(email) = at("/email") else { continue };
        let options = [("email", Some(email)), ("name", at("/name")), ("phone", at("/phone"))];
        command(out, "certificate contact add", &options, None);
    }
}

/// What of a rotation policy can be written: the rest is the service's own.
fn writable(policy: &Value) -> Value {
    let member = |value: &Value, name: &str| value.get(name).filter(|value| value.is_string()).cloned();
    let actions = list(policy, "/lifetimeActions").filter_map(|action| {
        let (trigger, kind) = (action.get("trigger")?, member(action.get("action")?, "type")?);
        let when = ["timeAfterCreate", "timeBeforeExpiry"];
        let when: Map<_, _> =
            when.into_iter().filter_map(|name| Some((name.to_owned(), member(trigger, name)?))).collect();
        Some(json!({"trigger": when, "action": {"type": kind}}))
    });
    let actions: Vec<Value> = actions.collect();
    let expiry = policy.get("attributes").and_then(|attributes| member(attributes, "expiryTime"));
    let attributes: Map<_, _> = expiry.map(|period| ("expiryTime".to_owned(), period)).into_iter().collect();
    json!({"lifetimeActions": actions, "attributes": attributes})
}
