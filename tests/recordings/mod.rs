//! Recorded Azure traffic judges the emulator: recorded conversations are replayed, and the answers compared. The other
//! direction, recorded answers judging the client, is `src/azure/recordings.rs`, beside what it judges.

mod blob;
mod compare;
mod differences;
mod evidence;
mod management;
mod setup;
#[allow(dead_code, reason = "the client's judge uses the rest")]
mod traffic;
mod vault;

use std::collections::BTreeSet;
use std::io::Write as _;

/// The whole replay is one test, since the allow-list is judged as a whole.
#[test]
fn recorded_conversations_run_the_same_against_the_emulator() {
    let Some(interactions) = traffic::read() else { return };
    let conversations = traffic::conversations(interactions);
    let mut found = Vec::new();
    let mut seen = Seen::default();
    let mut report = String::new();
    for (judge, run) in [
        ("vault", vault::replay as fn(&[traffic::Interaction]) -> Judged),
        ("blob", blob::replay as fn(&[traffic::Interaction]) -> Judged),
        ("management", management::replay as fn(&[traffic::Interaction]) -> Judged),
    ] {
        let mut total = Judged::default();
        for conversation in conversations.values() {
            let judged = run(conversation);
            total.conversations += usize::from(judged.answers > 0);
            total.answers += judged.answers;
            total.left_out += judged.left_out;
            total.items += judged.items;
            total.foreign += judged.foreign;
            total.found.extend(judged.found);
            seen.operations.extend(judged.seen.operations);
            seen.errors.extend(judged.seen.errors);
        }
        let Judged { conversations, answers, left_out, items, foreign, .. } = total;
        report += &format!("recorded {judge} traffic: {answers} answers judged in {conversations} conversations, ");
        report += &format!("{left_out} left out");
        if items > 0 {
            report += &format!("; {items} items of lists compared, {foreign} of others' objects not");
        }
        report.push('\n');
        found.append(&mut total.found);
    }
    write!(std::io::stderr(), "{report}").ok();
    differences::judge(&found);
    evidence::judge(&seen);
}

/// What came of a conversation.
#[derive(Default)]
struct Judged {
    conversations: usize,
    answers: usize,
    left_out: usize,
    /// Items of lists that were compared.
    items: usize,
    /// Items of lists that belong to objects which the conversation neither made nor touched.
    foreign: usize,
    found: Vec<differences::Found>,
    seen: Seen,
}

impl Judged {
    /// Notes how an answer to `request` differs from the recorded one.
    fn note(&mut self, recorded: &traffic::Interaction, request: &str, found: Vec<compare::Difference>) {
        self.found.extend(found.into_iter().map(|difference| differences::Found {
            file: recorded.file.clone(),
            place: recorded.place(),
            request: request.to_owned(),
            answer: recorded.status,
            difference,
        }));
    }
}

/// What both sides answered alike in status.
#[derive(Default)]
struct Seen {
    /// Operations that were granted.
    operations: BTreeSet<String>,
    /// Status, code and inner code of refusals.
    errors: BTreeSet<(u16, String, String)>,
}

impl Seen {
    fn note(&mut self, status: u16, operation: String, code: String, inner: String) {
        if status < 400 {
            self.operations.insert(operation);
        } else if !code.is_empty() {
            self.errors.insert((status, code, inner));
        }
    }
}
