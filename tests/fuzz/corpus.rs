//! What the corpora are made of: the vectors of format 1, examples of the documents, and edge cases written by hand. No
//! traffic of anybody's vault.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use akv_archiver::seal::Recipients;
use akv_archiver::tlog::Signer;
use akv_archiver::verify::Record;
use serde_json::Value;

type Seeds = BTreeMap<String, Vec<u8>>;

/// Longer vectors are there for their length; a mutator has no use for it.
const SEED_MAX: usize = 8 << 10;

/// All corpora by target.
pub(super) fn all() -> BTreeMap<&'static str, Seeds> {
    let mut all = by_hand();
    let mut add = |target: &'static str, name: String, bytes: Vec<u8>| {
        if bytes.len() <= SEED_MAX {
            all.entry(target).or_default().insert(name, bytes);
        }
    };
    for (folder, name, bytes) in crate::vectors::payloads() {
        let target = match folder {
            "settings" => "vault-settings",
            "archive" => "archive",
            "capture" => "capture",
            "log" => "log",
            "manifest" => "manifest",
            "note" => "note",
            other => panic!("{other}: no target reads it"),
        };
        // Without its frame, damage gets as far as what is inside.
        if let Ok(content) = zstd::bulk::decompress(&bytes, SEED_MAX) {
            add(target, format!("{name}.content"), content);
        }
        if target == "log" {
            event_of(&bytes).into_iter().for_each(|event| add("event", name.clone(), event));
            let end = bytes.windows(2).position(|pair| pair == b"\n\n");
            end.into_iter().for_each(|end| add("note", format!("log-{name}"), bytes[end + 2..].to_vec()));
        }
        if target == "archive" || target == "log" && bytes.starts_with(b"{") {
            add("json", format!("{folder}-{name}"), bytes.split(|byte| *byte == b'\n').next().unwrap().to_vec());
        }
        add(target, name, bytes);
    }
    all.insert("sealed", sealed());
    all
}

/// An entry's event.
fn event_of(log: &[u8]) -> Option<Vec<u8>> {
    let entry: Value = serde_json::from_slice(log.split(|byte| *byte == b'\n').next()?).ok()?;
    akv_archiver::format::json::write(entry.get("event")?).ok()
}

fn document(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Blocks of a document that are marked as `language`.
fn blocks(path: &str, language: &str) -> Vec<String> {
    let text = document(path);
    let begin = format!("```{language}\n");
    let blocks = text.split(&begin).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn numbered(texts: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Seeds {
    texts.into_iter().enumerate().map(|(number, text)| (format!("{number:02}"), text.into())).collect()
}

fn by_hand() -> BTreeMap<&'static str, Seeds> {
    let plans = blocks("docs/JSON.md", "json").into_iter().filter(|text| text.contains("akv-archiver/plan/1"));
    let settings =
        [blocks("docs/SETTINGS.md", "toml"), blocks("README.md", "toml"), vec![SETTINGS.to_owned()]].concat();
    let policies = ["policies/default.toml", "policies/regulated.toml"].map(document);
    let policies = policies.into_iter().chain(blocks("docs/POLICIES.md", "toml"));
    BTreeMap::from([
        ("arm", numbered(ARM.iter().copied())),
        ("backup-answer", numbered(BACKUPS.iter().copied())),
        ("backup-header", numbered(headers())),
        ("blob-list", numbered(blob_lists())),
        ("error-body", numbered(ERRORS.iter().copied())),
        ("event", Seeds::new()),
        ("identity", numbered(identities())),
        ("json", numbered(JSON.iter().copied())),
        ("key", numbered(keys())),
        ("list-page", numbered(PAGES.iter().copied())),
        ("plan", numbered(plans)),
        ("policy", numbered(policies)),
        ("recipient", numbered(RECIPIENTS.iter().copied())),
        ("report", numbered(reports())),
        ("settings", numbered(settings)),
        ("words", numbered(WORDS.iter().copied())),
    ])
}

/// Sealed to the identity in fuzz/, and what age is not.
fn sealed() -> Seeds {
    let identity = document("fuzz/identity.txt");
    let recipient = identity.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let ours = Recipients::parse(&[recipient]).unwrap();
    let both =
        Recipients::parse(&[recipient, "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"]).unwrap();
    let stranger = Recipients::parse(&["age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"]).unwrap();
    Seeds::from([
        ("empty".into(), ours.close(b"").unwrap()),
        ("short".into(), ours.close(b"what was sealed").unwrap()),
        ("two-recipients".into(), both.close(b"what was sealed").unwrap()),
        ("for-somebody-else".into(), stranger.close(b"what was sealed").unwrap()),
        ("no-stanza".into(), b"age-encryption.org/v1\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n".to_vec()),
        ("passphrase".into(), b"age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 30\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nx".to_vec()),
        ("armored".into(), b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END AGE ENCRYPTED FILE-----\n".to_vec()),
        ("later-version".into(), b"age-encryption.org/v2\n".to_vec()),
    ])
}

fn signer() -> Signer {
    let id = uuid::Uuid::from_u128(0x6f9b_1c52_9d0e_4a37_8c1e_5b2f_7a3d_4e60);
    Signer::from_seed(&akv_archiver::format::archive::key_name(id), &[7; 32]).unwrap()
}

fn keys() -> Vec<String> {
    let signer = signer();
    let (secret, public) = (signer.encode().to_string(), signer.verifier().to_string());
    vec![
        secret.clone(),
        public.clone(),
        secret[..secret.len() - 4].to_owned(),
        public.replace('+', " "),
        format!("{secret}\n"),
    ]
}

fn identities() -> Vec<String> {
    let ours = document("fuzz/identity.txt");
    let secret = ours.lines().find(|line| line.starts_with("AGE-SECRET")).unwrap().to_owned();
    vec![
        ours.clone(),
        secret.to_lowercase(),
        secret[..40].to_owned(),
        format!("{secret}\n{secret}\n"),
        "# nothing\n\n".to_owned(),
        "AGE-PLUGIN-YUBIKEY-1Q2W3E4R5T6\n".to_owned(),
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n-----END OPENSSH PRIVATE KEY-----\n".to_owned(),
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----\n".to_owned(),
        "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCA=\n-----END AGE ENCRYPTED FILE-----\n".to_owned(),
    ]
}

fn headers() -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let header = r#"{"kid":"57117840-50cb-4f22-8b2e-c5b7e5d088be","alg":"RSA-OAEP-256","enc":"A256CBC-HS512"}"#;
    let jwe = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header) + ".AAAA.BBBB.CCCC.DDDD";
    let blob = |magic: &str| [&[magic.len() as u8], magic.as_bytes(), jwe.as_bytes()].concat();
    vec![
        blob("AzureKeyVaultKeyBackupV1.microsoft.com"),
        blob("AzureKeyVaultSecretBackupV1.microsoft.com"),
        jwe.clone().into_bytes(),
        blob("SomethingElse"),
        vec![255],
    ]
}

fn blob_lists() -> Vec<String> {
    let blob = |name: &str, rest: &str| {
        format!(
            "<Blob>{name}<VersionId>2025-11-21T18:20:00.0000001Z</VersionId><IsCurrentVersion>true</IsCurrentVersion><Properties><Creation-Time>Fri, 21 Nov 2025 18:20:00 GMT</Creation-Time><Content-Length>5</Content-Length><Content-MD5>XUFAKrxLKna5cZ2REBfFkg==</Content-MD5>{rest}</Properties></Blob>"
        )
    };
    let page = |blobs: &str| {
        format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"https://a/\" ContainerName=\"c\"><Blobs>{blobs}</Blobs><NextMarker>m</NextMarker></EnumerationResults>"
        )
    };
    let locked = "<ImmutabilityPolicyUntilDate>Sat, 21 Nov 2026 18:20:00 GMT</ImmutabilityPolicyUntilDate><ImmutabilityPolicyMode>Locked</ImmutabilityPolicyMode><LegalHold>true</LegalHold>";
    vec![
        page(""),
        page(&blob("<Name>log/1</Name>", locked)),
        page(&(blob("<Name>a b</Name>", "") + &blob("<Name Encoded=\"true\">log%2F1%EF%BF%BF</Name>", locked))),
        page("<Blob><Name>x</Name><Properties><Content-Length>5</Content-Length></Properties></Blob>"),
        format!("<!DOCTYPE x [<!ENTITY a \"{}\">]>{}", "b".repeat(99), page(&blob("<Name>&a;&a;</Name>", ""))),
        "<html><body>Bad gateway</body></html>".to_owned(),
    ]
}

fn reports() -> Vec<Vec<u8>> {
    // docs/VERIFY.md shows one; here it is signed with the vectors' key.
    let record: Record = serde_json::from_str(RECORD).unwrap();
    let signed = record.sign(&signer()).unwrap();
    vec![signed.clone(), signed[..signed.len() - 10].to_vec(), RECORD.as_bytes().to_vec()]
}

const RECORD: &str = r#"{"format":"akv-archiver/verified/1","archive_id":"6f9b1c52-9d0e-4a37-8c1e-5b2f7a3d4e60","archive_sha256":"0000000000000000000000000000000000000000000000000000000000000001","time":"2026-11-21T01:30:00Z","tool":"akv-archiver 0.1.0","status":"ok","counts":{},"checked":{"vaults":1,"entries":3,"snapshots":1,"captures":8,"read":8,"opened":0,"skipped":0,"files":11,"bytes":4096,"protected_until":null},"heads":{"prod.vault.azure.net":{"size":3,"root":"0000000000000000000000000000000000000000000000000000000000000000"}},"covers":[{"subset":"1/7","opened":false,"since":"2026-11-21T01:30:00Z","entries":{"prod.vault.azure.net":3}}]}"#;

const SETTINGS: &str = r#"
[network]
proxy = "http://proxy.example:3128"
cloud = "public"

[archive]
container = "https://archive.blob.core.windows.net/vaults"
credential = { kind = "managed-identity" }
recipients = ["age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"]
signer = "signer.key"
verifiers = []
identity = ["identity.txt"]

[[vault]]
uri = "https://prod.vault.azure.net"
credential = { kind = "client-secret", tenant_id = "t", client_id = "c", client_secret_env = "SECRET" }

[[discover]]
credential = { kind = "managed-identity" }
include = ["prod-*"]
tags = { team = "payments" }

[capture]
max_in_flight = 8
share = 0.25

[geography]
"West Europe" = "Europe"

[restore]
wait = "10m"
"#;

const ARM: &[&str] = &[
    r#"{"id":"/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/prod","location":"West Europe","tags":{"a":"b"},"properties":{"vaultUri":"https://prod.vault.azure.net/","sku":{"name":"standard"},"softDeleteRetentionInDays":90}}"#,
    r#"{"properties":{"state":"Locked","immutabilityPeriodSinceCreationInDays":365}}"#,
    r#"{"value":[{"name":"westeurope","metadata":{"geography":"Europe"}},{"name":"global"}],"nextLink":null}"#,
    r#"{"value":[{"actions":["*"],"notActions":[],"dataActions":["Microsoft.KeyVault/vaults/keys/read"],"notDataActions":[]}]}"#,
    r#"{"value":[{"subscriptionId":"11111111-1111-1111-1111-111111111111"}],"nextLink":"https://management.azure.com/next?$skiptoken=1"}"#,
    r#"[]"#,
];

const BACKUPS: &[&str] = &[
    r#"{"value":"AAECAwQFBgc"}"#,
    r#"{"value":"AAECAwQFBgc=","other":1}"#,
    r#"{"value":"\u0041\u0041EC"}"#,
    r#"{"value":"canary-of-a-secret in the wrong alphabet!"}"#,
    r#"{"value":["canary-of-a-secret in a list"]}"#,
    r#"{"value":""}"#,
    "<html>canary-of-a-secret</html>",
];

const ERRORS: &[&str] = &[
    r#"{"error":{"code":"Forbidden","message":"Caller is not authorized.\r\nCaller: appid=1","innererror":{"code":"ForbiddenByRbac"}}}"#,
    r#"{"error":{"code":"Conflict","message":"Secret is currently being deleted.","innererror":{"code":"ObjectIsBeingDeleted"}}}"#,
    r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided."}"#,
    "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>BlobAlreadyExists</Code><Message>The specified blob already exists.\nRequestId:1\nTime:2</Message></Error>",
    "<html><head><title>502 Bad Gateway</title></head></html>",
    "120",
    "Fri, 21 Nov 2025 18:20:00 GMT",
    "",
];

const PAGES: &[&str] = &[
    r#"{"value":[],"nextLink":null}"#,
    r#"{"value":[{"kid":"https://prod.vault.azure.net/keys/tde","attributes":{"enabled":true,"created":1690270837,"updated":1690270837,"recoveryLevel":"Recoverable+Purgeable","exp":9999999999},"tags":{"a":"b"}}],"nextLink":"https://prod.vault.azure.net:443/keys?api-version=7.6&$skiptoken=x"}"#,
    r#"{"value":[{"id":"https://prod.vault.azure.net:443/secrets/app/57117840","attributes":{"enabled":false,"nbf":-1},"managed":true,"contentType":"text"},{"id":5},null,[]],"nextLink":"/secrets?x"}"#,
    r#"{"value":[{"key":{"kid":"https://prod.vault.azure.net/keys/a/1","kty":"EC","crv":"P-256","x":"AAAA","y":"AQ"}},{"key":{"kty":"RSA","n":"AQAB","e":"AQAB"}}]}"#,
    r#"{"value":[{"id":"https://evil.example/secrets/a"}],"nextLink":"https://evil.example/secrets"}"#,
    r#"{"value":{"a":"canary-of-a-secret in a page of another shape"}}"#,
];

const JSON: &[&str] = &[
    "{}",
    "[]",
    "null",
    "\"\"",
    "-9007199254740991",
    "1e2",
    "[1.0,-0,0.1]",
    r#"{"a":{"b":[true,false,null]}}"#,
    r#"{"b":1,"a":2}"#,
    r#"{"a":1,"a":2}"#,
    r#""\u20ac\u000f\n\ud83d\ude00""#,
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    "{\"\u{20ac}\":\"Euro\",\"\\r\":1,\"\u{fb33}\":2}",
];

const RECIPIENTS: &[&str] = &[
    "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice@rust",
    "age1absent1w3jhxaq247r4x",
    "alice",
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBA==",
    "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN",
];

const WORDS: &[&str] = &[
    "archive.json",
    "vaults/prod.vault.azure.net/captures/key/tde/20261121T013000Z-0123456789ab.tar.zst.age",
    "vaults/prod.vault.azure.net/settings/20261121T013000Z-0123456789ab.tar.zst.age",
    "vaults/prod.vault.azure.net/manifests/0000000001-0000000000000000000000000000000000000000000000000000000000000000.jsonl.zst",
    "vaults/prod.vault.azure.net/log/0000000001",
    "../../etc/passwd",
    "a/./b",
    "/a",
    "a//b",
    "key/tde-protector",
    "certificate/*",
    "secrets/app-0000",
    "30d",
    "26h",
    "90m",
    "45s",
    "36525d",
    "1y",
    "2026-11-20",
    "2026-11-20 03:00",
    "2026-11-20T04:00:00+01:00",
    "https://prod.vault.azure.net",
    "https://PROD.vault.azure.net:443/",
    "https://pool.managedhsm.azure.net",
    "https://archive.blob.core.windows.net/vaults",
    "https://archive.blob.core.windows.net/vaults?sig=secret",
    "http://user:secret@proxy.example:3128",
    "https://login.microsoftonline.com",
    "*a*b?c*",
    "prod-*",
    "3/7",
    "1000/1000",
    "West Europe",
    "team=payments",
    "11111111-1111-1111-1111-111111111111",
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "none",
    "regulated",
    "policy.toml",
];
