//! Plans of restores, and what became of them, for people who have to decide at night. However long a plan is, its screen
//! is not: what is alike stands together, what is refused stands last, and the sum of it below.

use std::collections::BTreeMap;
use std::path::Path;

use super::{SHOWN, plural};
use crate::cli::table::table;
use crate::restore::AppliedStep;
use crate::restore::{Action, Allowed, Applied, Plan, Step};

/// The groups of a plan in their order, each with its heading and with its place in the sum.
const GROUPS: [(Action, &str, &str); 6] = [
    (Action::Nothing, "There already", THERE),
    (Action::Recover, "Recover", "to recover"),
    (Action::Restore, "Restore", "to restore"),
    (Action::PurgeAndRestore, "PURGE, then restore", "to PURGE and restore"),
    (Action::Wait, "Wait", "to wait for"),
    (Action::Refused, "REFUSED", "refused"),
];

/// Objects of a group that has nothing to decide; the others show up to [`SHOWN`].
const SETTLED: usize = 3;

/// A plan that a tired person understands. `file` is where all of it stands.
pub(crate) fn plan(plan: &Plan, file: &Path) -> String {
    let mut text = format!("Into {}, from captures of {}.\n", plan.target.host(), plan.source.host());
    text.push_str(&allowed(&plan.allowed));
    for note in plan.notes.iter().take(SHOWN) {
        text.push_str(&format!("Note: {note}\n"));
    }
    for (action, heading, _) in GROUPS {
        for steps in alike(plan, action) {
            text.push_str(&group(heading, &steps, file));
        }
    }
    if !plan.missing.is_empty() {
        text.push_str(&format!("\nNO CAPTURE of {}\n", plural(plan.missing.len() as u64, "object", "objects")));
        for object in plan.missing.iter().take(SHOWN) {
            text.push_str(&format!("  {object}\n"));
        }
        text.push_str(&more(plan.missing.len(), SHOWN, file));
    }
    text.push_str(&gone(plan, file));
    text.push_str(&format!("\n{}\n", sum(plan)));
    text
}

/// What the snapshot no longer names. The archive may be all that is left of it, so it is told loudly.
fn gone(plan: &Plan, file: &Path) -> String {
    if plan.gone.is_empty() {
        return String::new();
    }
    let count = plural(plan.gone.len() as u64, "object", "objects");
    let mut text = format!("\nGONE FROM THE SNAPSHOT, and NOT in this plan: {count}\n");
    plan.gone.iter().take(SHOWN).for_each(|object| text.push_str(&format!("  {object}\n")));
    text.push_str(&more(plan.gone.len(), SHOWN, file));
    text.push_str("  They were purged, or their time ran out; the archive has captures of them.\n  Instead:\n");
    for instead in [
        "name them, to bring them back",
        "take everything as it was before they went: --at TIME, or --snapshot NUMBER",
        "say that they are not wanted: --live-only",
    ] {
        text.push_str(&format!("  - {instead}\n"));
    }
    text
}

fn allowed(allowed: &Allowed) -> String {
    let mut said = Vec::new();
    if allowed.purge {
        said.push("to purge what holds a name".to_owned());
    }
    if allowed.recover_other {
        said.push("to recover what is older or another object".to_owned());
    }
    if let Some(why) = &allowed.single_restore_override {
        said.push(format!("to restore HSM keys a second time ({why})"));
    }
    if said.is_empty() { String::new() } else { format!("Allowed: {}.\n", said.join("; ")) }
}

/// The steps of an action, those together that are refused for the same reason and have the same alternatives.
fn alike(plan: &Plan, action: Action) -> Vec<Vec<&Step>> {
    let mut groups: BTreeMap<_, Vec<&Step>> = BTreeMap::new();
    for step in plan.steps.iter().filter(|step| step.action == action) {
        groups.entry((step.refusal, step.alternatives.as_slice())).or_default().push(step);
    }
    groups.into_values().collect()
}

fn group(heading: &str, steps: &[&Step], file: &Path) -> String {
    let Some(first) = steps.first() else { return String::new() };
    let code = first.refusal.map_or_else(String::new, |refusal| format!(" ({})", refusal.name()));
    let mut text = format!("\n{heading}{code}: {}\n", plural(steps.len() as u64, "object", "objects"));
    let shown = if first.action == Action::Nothing { SETTLED } else { SHOWN };
    let one_cost = steps.iter().all(|step| step.cost == first.cost);
    let mut rows = Vec::new();
    for step in steps.iter().take(shown) {
        rows.push([format!("  {}", step.object), step.reason.clone()]);
        if !one_cost && !step.cost.is_empty() {
            rows.push([String::new(), format!("cost: {}", step.cost)]);
        }
    }
    text.push_str(&table(["  object", "why"], &rows));
    text.push_str(&more(steps.len(), shown, file));
    if one_cost && !first.cost.is_empty() {
        text.push_str(&format!("  Cost: {}\n", first.cost));
    }
    if !first.alternatives.is_empty() {
        text.push_str("  Instead:\n");
    }
    for alternative in &first.alternatives {
        text.push_str(&format!("  - {alternative}\n"));
    }
    text
}

fn more(all: usize, shown: usize, file: &Path) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!("  … and {more} more, in {}\n", file.display()),
    }
}

/// One line with what there is, the worst last.
fn sum(plan: &Plan) -> String {
    let count = |action| plan.steps.iter().filter(|step| step.action == action).count();
    let counts = GROUPS.map(|(action, _, what)| (count(action), what));
    let lacks = [(plan.missing.len(), "without a capture"), (plan.gone.len(), "gone and left out")];
    let counts = counts.into_iter().chain(lacks);
    let told: Vec<String> =
        counts.filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    match told.is_empty() {
        true => "In all: nothing.".into(),
        false => format!("In all: {}.", told.join(", ")),
    }
}

/// What the plan calls [`Action::Nothing`], in a sentence.
const THERE: &str = "there already";

/// What became of a step, in the plan's words: of what was there already nobody would say that it was skipped.
fn became(step: &AppliedStep) -> &'static str {
    match step.action {
        Action::Nothing => THERE,
        _ => step.result.name(),
    }
}

/// What became of a plan: what was done, then what was not or not quite, then the sum.
pub(crate) fn applied(applied: &Applied) -> String {
    let mut text = String::new();
    for word in [THERE, "done", "skipped", "unclear", "failed", "different"] {
        let steps: Vec<&AppliedStep> = applied.steps.iter().filter(|step| became(step) == word).collect();
        // What differs is told of every object: it is why somebody has to look.
        let (plain, differing): (Vec<&AppliedStep>, Vec<&AppliedStep>) =
            steps.into_iter().partition(|step| step.differences.is_empty());
        for step in plain.iter().take(SHOWN).chain(&differing) {
            text.push_str(&format!("{}: {word}: {}\n", step.object, step.detail));
            for difference in &step.differences {
                text.push_str(&format!("  difference: {difference}\n"));
            }
        }
        if plain.len() > SHOWN {
            text.push_str(&format!("… and {} more {word}; --output json shows all\n", plain.len() - SHOWN));
        }
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    applied.steps.iter().for_each(|step| *counts.entry(became(step)).or_default() += 1);
    let counts: Vec<String> = counts.into_iter().map(|(result, count)| format!("{count} {result}")).collect();
    if !counts.is_empty() {
        text.push_str(&format!("In all: {}.\n", counts.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::plan::Refusal;
    use serde_json::json;

    fn step(
        object: &str,
        action: Action,
        refusal: Option<Refusal>,
        reason: &str,
        cost: &str,
        instead: &[&str],
    ) -> Step {
        serde_json::from_value(json!({
            "object": object, "action": action.name(), "refusal": refusal.map(Refusal::name), "reason": reason,
            "cost": cost, "alternatives": instead, "hsm": false,
            "from": {"file": {"path": "x.age", "sha256": "0".repeat(64)}},
            "slot": {"state": "free", "digest": "0".repeat(64)},
        }))
        .unwrap()
    }

    fn plan_of(steps: Vec<Step>) -> Plan {
        Plan {
            format: Plan::FORMAT.into(),
            plan: uuid::Uuid::from_u128(1),
            created: chrono::DateTime::UNIX_EPOCH,
            archive_id: None,
            source: crate::model::VaultUri::parse("https://prod.vault.azure.net").unwrap(),
            target: crate::model::VaultUri::parse("https://spare.vault.azure.net").unwrap(),
            whole: false,
            allowed: Allowed::default(),
            steps,
            missing: Vec::new(),
            gone: Vec::new(),
            notes: Vec::new(),
            settings: None,
        }
    }

    #[test]
    fn a_plan_tells_what_why_at_what_cost_and_what_else_could_be_done_refusals_last() {
        let held = "deleting it again would hold the name for 90 days";
        let mut plan = plan_of(vec![
            step("certificate/tls", Action::Refused, Some(Refusal::LiveOther), "another is live", "", &["keep it"]),
            step("key/a", Action::Restore, None, "the name is free: 1 version, newest v1", held, &[]),
            step("key/bb", Action::Restore, None, "the name is free: 2 versions, newest v2", held, &[]),
            step("key/c", Action::PurgeAndRestore, None, "held by v8", "v8 is lost for good", &[]),
            step("key/d", Action::PurgeAndRestore, None, "held by v9", "v9 is lost for good", &[]),
            step("secret/s", Action::Nothing, None, "it is live, with the same versions", "", &[]),
        ]);
        plan.allowed.purge = true;
        plan.missing = vec!["secret/never".into()];
        plan.gone = vec!["key/old".into()];
        plan.notes = vec!["log entry 4 is damaged".into()];
        assert_eq!(
            super::plan(&plan, Path::new("p.json")),
            "Into spare.vault.azure.net, from captures of prod.vault.azure.net.
Allowed: to purge what holds a name.
Note: log entry 4 is damaged

There already: 1 object
  OBJECT    WHY
  secret/s  it is live, with the same versions

Restore: 2 objects
  OBJECT  WHY
  key/a   the name is free: 1 version, newest v1
  key/bb  the name is free: 2 versions, newest v2
  Cost: deleting it again would hold the name for 90 days

PURGE, then restore: 2 objects
  OBJECT  WHY
  key/c   held by v8
          cost: v8 is lost for good
  key/d   held by v9
          cost: v9 is lost for good

REFUSED (live-other): 1 object
  OBJECT           WHY
  certificate/tls  another is live
  Instead:
  - keep it

NO CAPTURE of 1 object
  secret/never

GONE FROM THE SNAPSHOT, and NOT in this plan: 1 object
  key/old
  They were purged, or their time ran out; the archive has captures of them.
  Instead:
  - name them, to bring them back
  - take everything as it was before they went: --at TIME, or --snapshot NUMBER
  - say that they are not wanted: --live-only

In all: 1 there already, 2 to restore, 2 to PURGE and restore, 1 refused, 1 without a capture, 1 gone and left out.
"
        );
    }

    #[test]
    fn what_was_there_already_is_called_the_same_before_and_after() {
        let mut steps = Vec::new();
        for (object, action, result) in
            [("secret/s", "nothing", "skipped"), ("key/k", "recover", "done"), ("key/l", "recover", "skipped")]
        {
            steps.push(AppliedStep {
                object: object.into(),
                action: serde_json::from_value(json!(action)).unwrap(),
                result: serde_json::from_value(json!(result)).unwrap(),
                detail: "why".into(),
                differences: Vec::new(),
            });
        }
        let applied = Applied {
            plan: uuid::Uuid::from_u128(1),
            target: "https://spare.vault.azure.net".into(),
            status: "partial".into(),
            interrupted: false,
            intents: vec![2],
            steps,
            vault_settings: Vec::new(),
        };
        let text = super::applied(&applied);
        let expected = "secret/s: there already: why\nkey/k: done: why\nkey/l: skipped: why\n\
                        In all: 1 done, 1 skipped, 1 there already.\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_thousand_lines_are_one_screen_and_what_is_refused_is_on_it() {
        let mut steps: Vec<Step> = (0..1000)
            .map(|n| step(&format!("key/k{n:04}"), Action::Restore, None, "the name is free", "held", &[]))
            .collect();
        steps.extend((0..500).map(|n| step(&format!("secret/a{n:04}"), Action::Nothing, None, "live", "", &[])));
        steps.extend((0..900).map(|n| {
            let object = format!("secret/s{n:04}");
            step(&object, Action::Refused, Some(Refusal::OtherGeography), "far away", "", &["go near"])
        }));
        steps.push(step("secret/t", Action::Refused, Some(Refusal::IntentOpen), "begun by ann", "", &["ask ann"]));
        let text = plan(&plan_of(steps), Path::new("p.json"));
        assert!(text.lines().count() < 70, "{text}");
        for line in [
            "Restore: 1000 objects",
            "  … and 980 more, in p.json",
            "  … and 497 more, in p.json",
            "REFUSED (other-geography): 900 objects",
            "  … and 880 more, in p.json",
            "REFUSED (intent-open): 1 object",
            "  - ask ann",
        ] {
            assert!(text.lines().any(|other| other == line), "{line:?} is not in\n{text}");
        }
        assert_eq!(text.matches("go near").count(), 1, "told once for all that it is true of");
        assert!(text.ends_with("\nIn all: 500 there already, 1000 to restore, 901 refused.\n"), "{text}");
        assert!(plan(&plan_of(Vec::new()), Path::new("p.json")).ends_with("\nIn all: nothing.\n"));
    }
}
