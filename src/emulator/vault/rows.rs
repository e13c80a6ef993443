//! Lists as Key Vault makes them: a scan over an ordered store of rows, filtered afterwards. Pages are therefore short, or
//! empty with a next link, whenever the rows that were scanned are not the ones that were asked for. Knows no content.
//!
//! An object has a base row, one row a version, and some have a policy row; deleted and live objects share the store. The
//! order is that of upper-cased names, then of version ids (`azure.md` §1.2, REC: decoded skip tokens).

use super::encoding;
use super::errors::Fault;
use super::object::{Content, Object, Phase, Shelf};
use super::state::{Answer, Call, ok};
use super::view::Deleted;
use serde::{Deserialize, Serialize};

/// What the service returns at most in a page, and by default (DOC).
const MAX_PAGE: usize = 25;

/// Rows that a page scans when more than a page is left, chosen by the page's first row: deterministic, and often enough a
/// single row that the filter drops. More than half of all recorded pages were empty; the exact rule is Azure's own.
const WINDOWS: [usize; 6] = [25, 1, 18, 25, 1, 9];

/// Which rows a list is made of.
#[derive(Clone, Copy)]
enum Select<'a> {
    Live,
    Deleted,
    Versions(&'a str),
}

/// A row: the object's upper-cased name, and nothing, a version id in upper case, or `POLICY`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    object: String,
    sub: String,
}

/// A row that was scanned, with what it adds to the page.
struct Scanned {
    row: Row,
    item: Option<(String, Option<String>)>,
}

#[derive(Serialize)]
struct Page<T> {
    value: Vec<T>,
    #[serde(rename = "nextLink")]
    next_link: Option<String>,
}

/// `GET /TYPE`.
pub(super) fn list<C: Content>(call: &mut Call<'_>) -> Answer {
    let (names, next_link) = page::<C>(call, Select::Live, C::KIND.plural())?;
    let value = names.iter().map(|(name, _)| C::item(call, name, None, false)).collect::<Result<Vec<_>, _>>()?;
    ok(&Page { value, next_link })
}

/// `GET /TYPE/NAME/versions`. A name that is not there has no versions: 200 and an empty page
/// (MEM[versions-of-nothing]).
pub(super) fn versions<C: Content>(call: &mut Call<'_>, name: &str) -> Answer {
    let path = format!("{}/{name}/versions", C::KIND.plural());
    let (rows, next_link) = page::<C>(call, Select::Versions(name), &path)?;
    let value = rows
        .iter()
        .map(|(name, version)| C::item(call, name, version.as_deref(), false))
        .collect::<Result<Vec<_>, _>>()?;
    ok(&Page { value, next_link })
}

/// `GET /deletedTYPE`: what has been deleted, once the delete has propagated (REC).
pub(super) fn list_deleted<C: Content>(call: &mut Call<'_>) -> Answer {
    let (names, next_link) = page::<C>(call, Select::Deleted, &format!("deleted{}", C::KIND.plural()))?;
    let mut value = Vec::with_capacity(names.len());
    for (name, _) in &names {
        let item = C::item(call, name, None, true)?;
        let life = call.shelf::<C>().any(name)?.life;
        value.push(Deleted::new(call.vault, C::KIND.plural(), name, life, item));
    }
    ok(&Page { value, next_link })
}

type Found = (Vec<(String, Option<String>)>, Option<String>);

/// The objects or versions of one page, and the link to the next.
fn page<C: Content>(call: &Call<'_>, select: Select<'_>, path: &str) -> Result<Found, Fault> {
    let max = match call.request.query("maxresults") {
        None => MAX_PAGE,
        Some(text) => text
            .parse()
            .ok()
            .filter(|max| (1..=MAX_PAGE).contains(max))
            .ok_or_else(|| Fault::bad_parameter("maxresults must be between 1 and 25"))?,
    };
    let start = match call.request.query("$skiptoken") {
        None => Row::default(),
        Some(token) => Row::from_token(token, C::KIND.noun())
            .ok_or_else(|| Fault::bad_parameter("The specified $skiptoken is not valid"))?,
    };
    let mut rows = scan::<C>(call, select, max, &start);
    let next = if rows.len() > max {
        let window = if max < MAX_PAGE { max } else { window(rows.first()) };
        rows.split_off(window).into_iter().next().map(|scanned| scanned.row)
    } else {
        None
    };
    let next_link = next.map(|row| {
        // Absolute, with the port, the token before `maxresults` (REC).
        let token = row.token(C::KIND.noun());
        let echo = call.request.query("maxresults").map(|max| format!("&maxresults={max}")).unwrap_or_default();
        let api = call.api.name();
        format!("{}:443/{path}?api-version={api}&$skiptoken={token}{echo}", call.vault.url())
    });
    Ok((rows.into_iter().filter_map(|scanned| scanned.item).collect(), next_link))
}

/// One row more than a page may scan, from `start` on.
fn scan<C: Content>(call: &Call<'_>, select: Select<'_>, max: usize, start: &Row) -> Vec<Scanned> {
    let moment = call.moment();
    // Lists of live keys and secrets with a small `maxresults` step over versions (REC).
    let base_only = matches!(select, Select::Live) && max < MAX_PAGE && C::KIND != super::object::Kind::Certificate;
    let first = match select {
        Select::Versions(name) => Shelf::<C>::key(name),
        _ => start.object.clone(),
    };
    let mut rows = Vec::new();
    for (key, object) in call.shelf::<C>().from(&first) {
        if matches!(select, Select::Versions(_)) && *key != first {
            break;
        }
        let phase = object.life.phase(moment.now, moment.retention);
        if phase == Phase::Free {
            continue;
        }
        for scanned in rows_of(key, object, phase, select, base_only) {
            if (&scanned.row.object, &scanned.row.sub) >= (&start.object, &start.sub) {
                rows.push(scanned);
            }
        }
        if rows.len() > max {
            rows.truncate(max + 1);
            break;
        }
    }
    rows
}

fn rows_of<C: Content>(
    key: &str,
    object: &Object<C>,
    phase: Phase,
    select: Select<'_>,
    base_only: bool,
) -> Vec<Scanned> {
    let row = |sub: String, item| Scanned { row: Row { object: key.to_owned(), sub }, item };
    let mut versions: Vec<&str> = object.versions.iter().map(|version| version.id.as_str()).collect();
    versions.sort_unstable();
    if let Select::Versions(_) = select {
        let found = |id: &&str| row(id.to_ascii_uppercase(), Some((object.name.clone(), Some((*id).to_owned()))));
        return if phase == Phase::Live { versions.iter().map(found).collect() } else { Vec::new() };
    }
    let wanted = match select {
        Select::Live => phase == Phase::Live,
        _ => phase == Phase::Deleted,
    };
    let base = row(String::new(), wanted.then(|| (object.name.clone(), None)));
    let mut rows = vec![base];
    if !base_only {
        rows.extend(versions.iter().map(|id| row(id.to_ascii_uppercase(), None)));
        if C::has_policy_row(&object.extra) {
            rows.push(row("POLICY".into(), None));
        }
    }
    rows
}

fn window(first: Option<&Scanned>) -> usize {
    // FNV-1a: spreads names over the windows, the same in every run.
    let hash = first.map_or(0, |scanned| {
        let Row { object, sub } = &scanned.row;
        object
            .bytes()
            .chain(sub.bytes())
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    });
    let at = (hash >> 32) as usize % WINDOWS.len();
    WINDOWS.get(at).copied().unwrap_or(MAX_PAGE)
}

#[derive(Serialize, Deserialize)]
struct Token {
    #[serde(rename = "NextMarker")]
    next_marker: String,
    #[serde(rename = "TargetLocation")]
    target_location: u8,
}

/// What follows a row in a marker (REC).
const MARKER_END: &str = "!000028!9999-12-31T23:59:59.9999999Z!";

impl Row {
    /// The opaque token of the recordings: base64 of JSON with a storage marker, itself base64 of the row.
    fn token(&self, noun: &str) -> String {
        let Row { object, sub } = self;
        let path = if sub.is_empty() { format!("{noun}/{object}") } else { format!("{noun}/{object}/{sub}") };
        let marker = format!("{:06}!{path}{MARKER_END}", path.len());
        let marker = encoding::standard(marker.as_bytes()).replace('=', "-");
        let token = Token { next_marker: format!("2!{}!{marker}", marker.len()), target_location: 0 };
        encoding::url(&serde_json::to_vec(&token).unwrap_or_default())
    }

    fn from_token(token: &str, noun: &str) -> Option<Row> {
        let token: Token = serde_json::from_slice(&encoding::from_url(token)?).ok()?;
        let marker = token.next_marker.splitn(3, '!').nth(2)?.replace('-', "=");
        let marker = String::from_utf8(encoding::from_standard(&marker)?).ok()?;
        let path = marker.split_once('!')?.1.strip_suffix(MARKER_END)?;
        let (object, sub) = {
            let rest = path.strip_prefix(noun)?.strip_prefix('/')?;
            rest.split_once('/').unwrap_or((rest, ""))
        };
        Some(Row { object: object.to_owned(), sub: sub.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_row_and_a_foreign_one_to_none() {
        for sub in ["", "0F", "POLICY"] {
            let row = Row { object: "A-KEY".into(), sub: sub.into() };
            let token = row.token("key");
            assert_eq!(Row::from_token(&token, "key"), Some(row));
            assert_eq!(Row::from_token(&token, "secret"), None);
        }
        assert_eq!(Row::from_token("AAAA", "key"), None);
    }
}

#[cfg(test)]
mod lists {
    use crate::emulator::seed::Limbo;
    use crate::emulator::vault::fixture::Cloud;

    fn names(items: &[serde_json::Value], field: &str) -> Vec<String> {
        items.iter().map(|item| item[field].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_list_is_complete_and_in_order_through_short_and_empty_pages() {
        let mut cloud = Cloud::new(
            "[[vault]]\nname = \"vvv\"\nsubscription = \"s\"\nlocation = \"westeurope\"\nobjects = [\
             {kind = \"secret\", name = \"s\", count = 120, versions = 3}]",
        );
        let (items, sizes) = cloud.pages("vvv/secrets");
        let expected: Vec<String> = (0..120).map(|at| format!("s-{at:04}")).collect();
        assert_eq!(names(&items, "id"), expected);
        assert!(sizes.iter().filter(|size| **size == 0).count() >= 3, "{sizes:?}");
        assert!(sizes.iter().all(|size| *size < 25), "{sizes:?}");
    }

    #[test]
    fn lists_of_live_keys_step_over_versions_and_lists_of_deleted_ones_do_not() {
        let mut cloud = Cloud::four(Limbo::Off);
        for name in ["b", "A", "c"] {
            cloud.good("POST", &format!("vvv/keys/{name}/create"), r#"{"kty":"EC"}"#);
        }
        let (items, sizes) = cloud.pages("vvv/keys?maxresults=1");
        assert_eq!((names(&items, "kid"), sizes), (vec!["A".into(), "b".into(), "c".into()], vec![1, 1, 1]));
        for name in ["a", "b", "c"] {
            cloud.good("DELETE", &format!("vvv/keys/{name}"), "");
        }
        // The sequence of the recordings: every object is followed by the empty page of its version.
        assert_eq!(cloud.pages("vvv/deletedkeys?maxresults=1").1, [1, 0, 1, 0, 1, 0]);
        assert_eq!(cloud.pages("vvv/keys?maxresults=1").1, [0, 0, 0]);
    }

    #[test]
    fn versions_are_in_the_order_of_their_ids_not_of_their_creation() {
        let mut cloud = Cloud::four(Limbo::Off);
        for value in 0..9 {
            cloud.now += 60;
            cloud.good("PUT", "vvv/secrets/s", &format!(r#"{{"value":"{value}"}}"#));
        }
        let (items, sizes) = cloud.pages("vvv/secrets/s/versions?maxresults=4");
        let ids = names(&items, "id");
        assert!(ids.is_sorted());
        let created: Vec<i64> = items.iter().map(|item| item["attributes"]["created"].as_i64().unwrap()).collect();
        assert!(!created.is_sorted(), "the seed of this test happens to sort them");
        assert_eq!(sizes, [4, 4, 1]);
        assert_eq!(cloud.pages("vvv/secrets/none/versions").0.len(), 0);
    }

    #[test]
    fn the_next_link_is_absolute_with_a_port_and_echoes_maxresults() {
        let mut cloud = Cloud::four(Limbo::Off);
        for name in ["a", "b"] {
            cloud.good("PUT", &format!("vvv/secrets/{name}"), r#"{"value":"x"}"#);
        }
        let page = cloud.good("GET", "vvv/secrets?maxresults=1", "");
        let link = page["nextLink"].as_str().unwrap();
        assert!(link.starts_with("https://vvv.vault.azure.net:443/secrets?api-version=7.6&$skiptoken=ey"), "{link}");
        assert!(link.ends_with("&maxresults=1"), "{link}");
        assert_eq!(cloud.bad("GET", "vvv/secrets?$skiptoken=AAAA", "").0, 400);
        assert_eq!(cloud.bad("GET", "vvv/secrets?maxresults=26", "").0, 400);
    }
}
