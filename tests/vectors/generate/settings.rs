//! Settings before sealing: mutated in the tar and in the text, and compressed anew.

use akv_archiver::format::settings::{Document, FORMAT, Settings, pack};
use serde_json::value::RawValue;

use super::captures::{Member, join, members};
use super::{Subject, Vector, replace, time, vault};

fn settings(documents: &[(Document, &str)]) -> Settings {
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    Settings {
        format: FORMAT.to_owned(),
        vault: vault(),
        captured_at: time(0),
        tool: "akv-archiver 0.1.0".to_owned(),
        documents: documents.iter().map(|(document, text)| (*document, raw(text))).collect(),
    }
}

fn full() -> Settings {
    const ID: &str = "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/prod/providers/Microsoft.KeyVault/vaults/prod";
    settings(&[
        (Document::Vault, &format!(r#"{{ "id":"{ID}","properties":{{"sku":{{"family":"A","name":"premium"}}}}}}"#)),
        (
            Document::RoleAssignments,
            &format!(r#"[{{"id":"{ID}/providers/Microsoft.Authorization/roleAssignments/1"}}]"#),
        ),
        (Document::DiagnosticSettings, "[]"),
        (
            Document::Issuers,
            r#"[{"id":"https://prod.vault.azure.net/certificates/issuers/digicert","provider":"DigiCert"}]"#,
        ),
        (Document::Contacts, "null"),
    ])
}

fn tar_of(settings: &Settings) -> Vec<u8> {
    zstd::bulk::decompress(&pack(settings).unwrap(), 1 << 20).unwrap()
}

fn make(name: &str, expect: &str, comment: &str, tar: &[u8]) -> Vector {
    super::vector(Subject::Settings, name, expect, comment, zstd::bulk::compress(tar, 3).unwrap())
}

pub(super) fn all() -> Vec<Vector> {
    let [text, readme]: [Member; 2] = members(&tar_of(&full())).try_into().unwrap_or_else(|_| panic!("two members"));
    let changed = |name: &str, expect: &str, comment: &str, from: &str, to: &str| {
        let json = replace(std::str::from_utf8(&text.content).unwrap(), from, to);
        make(name, expect, comment, &join(&[text.clone().holding(json.into_bytes()), readme.clone()]))
    };
    let tar = |name: &str, comment: &str, members: &[Member]| make(name, "bad-tar", comment, &join(members));
    vec![
        make("full", "ok", "every document", &tar_of(&full())),
        make("empty", "ok", "a vault of which nothing could be read", &tar_of(&settings(&[]))),
        changed("next-format", "unknown-format", "from a later program", "settings/1", "settings/2"),
        changed("unknown-document", "bad-member", "a document of another name", "\"contacts\"", "\"events\""),
        changed("unknown-member", "bad-member", "format 1 never grows", "\"tool\"", "\"more\":1,\"tool\""),
        changed("twice", "duplicate-member", "a document with a member twice", "\"family\":\"A\"", "\"name\":\"A\""),
        changed("no-object", "bad-member", "a list of something else", "[]", "[1]"),
        changed("no-newline", "not-json", "the newline at the end is missing", "}\n", "}"),
        changed("other-time", "bad-tar", "files of another time than settings.json gives", "01:30:00Z", "01:30:01Z"),
        tar("other-order", "the files change places", &[readme.clone(), text.clone()]),
        tar("no-readme", "a file is missing", std::slice::from_ref(&text)),
        tar("three-files", "a file too many", &[text.clone(), readme.clone(), readme.clone()]),
        tar("other-name", "another file in the first place", &[text.clone().named("settings.jso"), readme.clone()]),
        tar("mode", "readable by others", &[text.clone().with(|header| header.set_mode(0o644)), readme.clone()]),
    ]
}
