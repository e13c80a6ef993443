//! Recorded Azure traffic judges the emulator: recorded conversations are replayed, and the answers compared. The other
//! direction, recorded answers judging the client, is `src/azure/recordings.rs`, beside what it judges.

mod blob;
mod compare;
mod differences;
mod traffic;
mod vault;

use std::io::Write as _;

/// The whole replay is one test, since the allow-list is judged as a whole.
#[test]
fn recorded_conversations_run_the_same_against_the_emulator() {
    let Some(interactions) = traffic::read() else { return };
    let conversations = traffic::conversations(interactions);
    let mut found = Vec::new();
    let mut report = String::new();
    for (judge, run) in [
        ("vault", vault::replay as fn(&[traffic::Interaction]) -> Judged),
        ("blob", blob::replay as fn(&[traffic::Interaction]) -> Judged),
    ] {
        let mut total = Judged::default();
        for conversation in conversations.values() {
            let judged = run(conversation);
            total.conversations += usize::from(judged.answers > 0);
            total.answers += judged.answers;
            total.left_out += judged.left_out;
            total.found.extend(judged.found);
        }
        let Judged { conversations, answers, left_out, .. } = total;
        report += &format!("recorded {judge} traffic: {answers} answers judged in {conversations} conversations, {left_out} left out\n");
        found.append(&mut total.found);
    }
    write!(std::io::stderr(), "{report}").ok();
    differences::judge(&found);
}

/// What came of a conversation.
#[derive(Default)]
struct Judged {
    conversations: usize,
    answers: usize,
    left_out: usize,
    found: Vec<differences::Found>,
}
