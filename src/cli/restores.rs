//! The history of restores, and what became of open ones, as people read them.

use super::render::{plural, time};
use super::table::table;
use crate::jobs::restore::Resumed;
use crate::jobs::restore::log::{Restore, Restores};
use crate::restore::Record;

/// The history, the oldest first: a line for each object.
pub(crate) fn log(found: &Restores) -> String {
    let mut rows: Vec<[String; 7]> = Vec::new();
    for restore in &found.restores {
        for step in &restore.steps {
            rows.push([
                time(restore.time),
                restore.intent.to_string(),
                restore.operator.clone(),
                restore.target.host().to_owned(),
                step.object.clone(),
                step.action.name().to_owned(),
                match (&step.result, &step.detail) {
                    (Some(result), Some(detail)) if !detail.is_empty() => format!("{}: {detail}", result.name()),
                    (Some(result), _) => result.name().to_owned(),
                    (None, _) => "OPEN".to_owned(),
                },
            ]);
        }
    }
    let mut text = match rows.is_empty() {
        true => "The log tells of no restore.\n".to_owned(),
        false => table(["when (UTC)", "intent", "who", "into", "object", "action", "result"], &rows),
    };
    for restore in &found.restores {
        if let Some(reason) = &restore.single_restore_override {
            text.push_str(&format!(
                "Intent {} of {} overrode the single restore of HSM keys: {reason}\n",
                restore.intent, restore.log
            ));
        }
    }
    let open = |restore: &&Restore| restore.closed.is_none();
    if found.restores.iter().any(|restore| open(&restore)) {
        text.push_str("`akv-archiver restore resume` finishes what is open.\n");
    }
    for entry in &found.unreadable {
        text.push_str(&format!(
            "Entry {} in the log of {} cannot be read; `akv-archiver verify` tells why.\n",
            entry.sequence, entry.log
        ));
    }
    text
}

/// An open intent, before somebody is asked whether to go on with it.
pub(crate) fn intent(record: &Record) -> String {
    let intent = &record.intent;
    let mut text = format!(
        "{} began to change {} and recorded no result. See that nobody is still at it.\n",
        record.who(),
        intent.target.host()
    );
    for step in &intent.steps {
        text.push_str(&format!("  {} ({})\n", step.object, crate::restore::aftermath::action_of(step.action).name()));
    }
    text
}

/// What became of open intents.
pub(crate) fn resumed(resumed: &[Resumed]) -> String {
    if resumed.is_empty() {
        return "No intent is open.\n".to_owned();
    }
    let mut text = String::new();
    for one in resumed {
        let state = if one.closed { "closed" } else { "still open" };
        text.push_str(&format!(
            "Intent {} of {}, begun by {} at {} UTC, {}: {state}\n",
            one.intent,
            one.log,
            one.operator,
            time(one.time),
            plural(one.steps.len() as u64, "step", "steps"),
        ));
        for step in &one.steps {
            let result = step.result.map_or("open", |result| result.name());
            text.push_str(&format!("  {}: {result}: {}\n", step.object, step.detail));
            for difference in &step.differences {
                text.push_str(&format!("    difference: {difference}\n"));
            }
        }
        // The log tells of objects only, so nobody knows here whether that was asked for.
        if one.target.strip_prefix("https://") != Some(one.log.as_str()) {
            text.push_str(&format!(
                "Issuers and contacts, if the plan was made --with-vault-settings, were written before the first object. \
                 `akv-archiver restore plan --all --vault {} --to {} --with-vault-settings` shows whether all are there.\n",
                one.log, one.target
            ));
        }
    }
    text
}
