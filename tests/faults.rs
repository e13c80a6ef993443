//! Bad input: what Azure may answer, and what a snapshot does then. Each row of the tables below is a fault, injected by
//! the emulator into one run of the real thing (official SDK, proxy, TLS, production host names; only time is ours), and
//! what is expected. Of every run: nothing is lost silently, `verify` accepts what was committed, and the next run,
//! without the fault, is complete. `docs/FAULTS.md` is these tables as text, and compared with them.

mod access;
mod lists;
mod objects;
mod stage;
mod stores;
mod table;

use table::Row;

/// All tables, in the order of the document.
fn tables() -> Vec<(&'static str, Vec<Row>)> {
    [lists::tables(), objects::tables(), access::tables(), stores::tables()].concat()
}

#[test]
fn the_document_shows_every_row_and_nothing_else() {
    let mut expected =
        "## Any answer of a vault\n\n| what Azure does | once | for ever |\n| --- | --- | --- |\n".to_owned();
    for plague in table::plagues() {
        let once = if plague.passing { "asks again; complete" } else { "as for ever" };
        expected.push_str(&format!("| {} | {once} | gap `{}` |\n", plague.what, plague.condition));
    }
    expected.push('\n');
    for (title, rows) in tables() {
        expected.push_str(&format!("## {title}\n\n| what Azure does | what the run does |\n| --- | --- |\n"));
        for row in rows.iter().filter(|row| !row.common) {
            expected.push_str(&format!("| {} | {} |\n", row.what, row.expect));
        }
        expected.push('\n');
    }
    let document = crate::documents::read("docs/FAULTS.md");
    let shown = format!("## {}\n", document.split_once("\n## ").unwrap().1);
    assert!(shown == expected, "docs/FAULTS.md must end with:\n\n{expected}");
}
