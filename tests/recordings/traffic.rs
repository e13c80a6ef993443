//! The recordings: what clients and Azure said to each other, one interaction a line. Reads them and evens out how the
//! various recorders wrote them down; judges nothing. The file is not part of the repository, see [`read`].

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A request and its answer.
#[derive(Clone, Debug)]
pub(crate) struct Interaction {
    /// The conversation that it belongs to: the recording's file.
    pub(crate) file: String,
    /// Its place there.
    pub(crate) index: usize,
    pub(crate) method: String,
    /// Lower case, without a port.
    pub(crate) host: String,
    /// The path as sent.
    pub(crate) path: String,
    /// Query parameters, percent-decoded. Recordings of the JavaScript SDK have none.
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    pub(crate) status: u16,
    pub(crate) answer_headers: BTreeMap<String, String>,
    pub(crate) answer: String,
}

#[derive(Deserialize)]
struct Line {
    f: String,
    i: usize,
    m: String,
    u: String,
    qh: BTreeMap<String, String>,
    qb: Option<String>,
    c: u16,
    h: BTreeMap<String, String>,
    b: Option<String>,
}

impl Interaction {
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether it went to a vault.
    pub(crate) fn to_vault(&self) -> bool {
        self.host.ends_with(".vault.azure.net")
    }

    /// Whether it went to a Managed HSM.
    pub(crate) fn to_hsm(&self) -> bool {
        self.host.ends_with(".managedhsm.azure.net")
    }

    /// Whether it went to Blob Storage.
    pub(crate) fn to_blob(&self) -> bool {
        self.host.ends_with(".blob.core.windows.net")
    }

    /// `test_keyvault_key.yaml #31`, for people.
    pub(crate) fn place(&self) -> String {
        let name = self.file.rsplit("__").next().unwrap_or(&self.file);
        format!("{name} #{}", self.index)
    }
}

/// All interactions, or `None` where there are no recordings. Says so on the terminal, past the test's captured output.
///
/// # Panics
/// In CI, where absence is a failure; and if the file does not hold.
pub(crate) fn read() -> Option<Vec<Interaction>> {
    let named = std::env::var_os("AKV_RECORDINGS").map(PathBuf::from);
    let path = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/recordings"));
    let path = if path.is_dir() { path.join("interactions.jsonl") } else { path };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            let why = format!("recorded Azure traffic: {error}; AKV_RECORDINGS names the file");
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
            writeln!(std::io::stderr(), "SKIPPED {why}").ok();
            return None;
        }
    };
    let interactions: Vec<Interaction> = text.lines().map(interaction).collect();
    assert!(interactions.len() > 2000, "the recordings are incomplete");
    Some(interactions)
}

/// The conversations: the interactions of each file, in order.
pub(crate) fn conversations(interactions: Vec<Interaction>) -> BTreeMap<String, Vec<Interaction>> {
    let mut conversations: BTreeMap<String, Vec<Interaction>> = BTreeMap::new();
    for interaction in interactions {
        conversations.entry(interaction.file.clone()).or_default().push(interaction);
    }
    for conversation in conversations.values_mut() {
        conversation.sort_by_key(|interaction| interaction.index);
    }
    conversations
}

fn interaction(line: &str) -> Interaction {
    let line: Line = serde_json::from_str(line).unwrap();
    // Recorders replaced hosts by names that are none.
    let hosts = [
        ("fakevault.local", "fakevault.vault.azure.net"),
        ("fakemhsm.local", "fakemhsm.managedhsm.azure.net"),
        ("https://local\"", "https://vault.azure.net\""),
        ("keyvault_name.vault", "keyvault-name.vault"),
        ("//managedhsm/", "//fakemhsm.managedhsm.azure.net/"),
    ];
    let real = |text: &str| hosts.iter().fold(text.to_owned(), |text, (fake, real)| text.replace(fake, real));
    let url = url::Url::parse(&real(&line.u)).unwrap();
    Interaction {
        file: line.f,
        index: line.i,
        method: line.m,
        host: url.host_str().unwrap().to_owned(),
        path: url.path().to_owned(),
        query: url.query_pairs().into_owned().collect(),
        headers: line.qh,
        body: real(&plain(line.qb)),
        status: line.c,
        answer_headers: line.h.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), real(&value))).collect(),
        answer: real(&plain(line.b)),
    }
}

/// A body. Some recorders wrote a text as a JSON string, or as a list of its lines.
fn plain(body: Option<String>) -> String {
    let body = body.unwrap_or_default();
    if body.starts_with('"') {
        return serde_json::from_str(&body).unwrap_or(body);
    }
    if body.starts_with("[\"") {
        return serde_json::from_str::<Vec<String>>(&body).map_or(body, |lines| lines.concat());
    }
    body
}
