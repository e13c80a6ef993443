//! `policy check`, `policy show` and `policy explain`. They read files and ask nobody.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{assembly, object};
use crate::assemble::{Assembly, read_policy};
use crate::cli::args::{Explain, Policy as Command};
use crate::cli::console::Console;
use crate::cli::table::table;
use crate::error::{Context, Error, Kind, Result};
use crate::model::{Object, VaultUri, duration};
use crate::policy::{Choice, Explanation, Facts, Finding, Lock, Outcome, Policy, Severity};

/// Runs a `policy` command.
pub(crate) fn run(config: Option<&Path>, console: &Console, command: Command) -> Result<ExitCode> {
    match command {
        Command::Check { policies } => check(config, console, &policies),
        Command::Show { policy } => show(config, console, policy.as_deref()),
        Command::Explain(arguments) => explain(config, console, &arguments),
    }
}

/// A policy as named on the command line.
fn choice(text: &str) -> Result<Choice> {
    Choice::parse(text).map_err(|message| Error::usage(message).hint("a file in this folder is `./NAME`"))
}

fn check(config: Option<&Path>, console: &Console, named: &[String]) -> Result<ExitCode> {
    let choices: Vec<Choice> = match named {
        [] => assembly(config)?.settings.policies().into_iter().cloned().collect(),
        named => named.iter().map(|text| choice(text)).collect::<Result<_>>()?,
    };
    let read: Vec<(String, Result<Policy>)> =
        choices.iter().map(|choice| (choice.to_string(), read_policy(choice))).collect();
    let document = json!({"policies": read.iter().map(|(source, policy)| checked(source, policy)).collect::<Value>()});
    console.result(&document, || read.iter().map(|(source, policy)| told_of_check(source, policy)).collect());
    let bad = read.iter().any(|(_, policy)| policy.is_err());
    Ok(ExitCode::from(if bad { Kind::Usage.exit_code() } else { 0 }))
}

fn checked(source: &str, policy: &Result<Policy>) -> Value {
    match policy {
        Ok(policy) => json!({
            "source": source,
            "name": policy.name,
            "sha256": policy.sha256(),
            "rules": policy.rules.len(),
            "findings": policy.findings(),
        }),
        Err(error) => json!({
            "source": source,
            "error": {"kind": error.kind().name(), "message": error.message(), "hint": error.hint_text()},
        }),
    }
}

fn told_of_check(source: &str, policy: &Result<Policy>) -> String {
    let policy = match policy {
        Ok(policy) => policy,
        Err(error) => {
            let hint = error.hint_text().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
            return format!("{source}: WRONG: {error}\n{hint}");
        }
    };
    let findings = policy.findings();
    let rules = match policy.rules.len() {
        1 => "1 rule".to_owned(),
        many => format!("{many} rules"),
    };
    let mut text = format!("{source}: policy {}, {rules}, sha256 {}\n", policy.name, policy.sha256());
    if !findings.is_empty() {
        let rows: Vec<[String; 4]> = findings.iter().map(row).collect();
        text.push_str(&table(["severity", "code", "rule", "what"], &rows));
    }
    text
}

fn row(finding: &Finding) -> [String; 4] {
    let severity = match finding.severity {
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let rule = finding.rule.clone().unwrap_or_else(|| "-".into());
    [severity.into(), finding.code.name().into(), rule, finding.detail.clone()]
}

fn show(config: Option<&Path>, console: &Console, named: Option<&str>) -> Result<ExitCode> {
    let policy = match named {
        Some(text) => Arc::new(read_policy(&choice(text)?)?),
        None => {
            let assembly = assembly(config)?;
            assembly.chosen(&assembly.settings.capture.policy)?
        }
    };
    let (canonical, digest) = (policy.canonical(), policy.sha256());
    let value: Value = serde_json::from_str(&canonical).map_err(|error| Error::internal(error.to_string()))?;
    let document = json!({"name": policy.name, "sha256": digest, "policy": value});
    console.result(&document, || format!("{canonical}\nsha256 {digest}\n"));
    Ok(ExitCode::SUCCESS)
}

fn explain(config: Option<&Path>, console: &Console, arguments: &Explain) -> Result<ExitCode> {
    let object = object(&arguments.object)?;
    let (policy, vault) = match &arguments.policy {
        Some(named) => {
            (Arc::new(read_policy(&choice(named)?)?), arguments.vault.as_deref().map(vault_anywhere).transpose()?)
        }
        None => of_settings(&assembly(config)?, arguments.vault.as_deref())?,
    };
    let tags: BTreeMap<String, String> = arguments.tags.iter().cloned().collect();
    let facts = Facts {
        vault: vault.as_ref(),
        object: &object,
        enabled: Some(!arguments.disabled),
        tags: Some(&tags).filter(|_| !arguments.tags.is_empty()),
    };
    let explanation = policy.explain(&facts);
    let document = explained(&policy, &object, vault.as_ref(), &explanation);
    console.result(&document, || told_of_explanation(&policy, &object, vault.as_ref(), &explanation));
    Ok(ExitCode::SUCCESS)
}

/// The vault that is meant, and its policy. Where none is named, the only one there is; else what all have in common.
fn of_settings(assembly: &Assembly, named: Option<&str>) -> Result<(Arc<Policy>, Option<VaultUri>)> {
    let vault = match (named, assembly.settings.vaults.as_slice()) {
        (Some(text), _) => Some(assembly.vault_uri(text).or_else(|error| vault_anywhere(text).map_err(|_| error))?),
        (None, [only]) => Some(only.uri.clone()),
        (None, _) => None,
    };
    let choices = assembly.settings.policies();
    let policy = match (&vault, choices.first()) {
        (Some(vault), _) => assembly.policy(vault)?,
        (None, Some(only)) if choices.len() == 1 => assembly.chosen(only)?,
        _ => {
            return Err(
                Error::usage("the vaults have different policies").hint("say which is meant with --vault or --policy")
            );
        }
    };
    Ok((policy, vault))
}

/// A vault that no settings need to know: an address, a host, or a name in the public cloud.
fn vault_anywhere(text: &str) -> Result<VaultUri> {
    let host = if text.contains('.') { text.to_owned() } else { format!("{text}.vault.azure.net") };
    VaultUri::parse(text)
        .or_else(|| VaultUri::parse(&format!("https://{host}")))
        .ok_or_else(|| Error::usage(format!("{text:?} is neither a vault's name nor its address")))
        .context("--vault")
}

fn explained(policy: &Policy, object: &Object, vault: Option<&VaultUri>, explanation: &Explanation<'_>) -> Value {
    let decision = &explanation.decision;
    let rules = explanation.rules.iter().map(|considered| {
        json!({"rule": considered.rule.name, "outcome": considered.outcome, "because": considered.because})
    });
    json!({
        "object": object.to_string(),
        "vault": vault,
        "policy": policy.name,
        "sha256": policy.sha256(),
        "rules": rules.collect::<Value>(),
        "certain": explanation.certain,
        "take": decision.take,
        "rule": decision.rule.map(|rule| &rule.name),
        "why": decision.rule.and_then(|rule| rule.why.as_ref()),
        "recapture_every": decision.take.then_some(decision.recapture_every.num_seconds()),
        "class": policy.retention.class,
        "protection_min": policy.retention.protection_min.num_seconds(),
        "lock": policy.retention.lock,
    })
}

fn told_of_explanation(
    policy: &Policy,
    object: &Object,
    vault: Option<&VaultUri>,
    explanation: &Explanation<'_>,
) -> String {
    let place = vault.map_or_else(|| "any vault".to_owned(), |vault| vault.host().to_owned());
    let mut text = format!("{object} in {place}, by policy {}:\n", policy.name);
    let rows: Vec<[String; 3]> = explanation
        .rules
        .iter()
        .map(|considered| {
            let (outcome, because) = match considered.outcome {
                Outcome::Decides => ("DECIDES", "every condition holds".to_owned()),
                Outcome::Passed => ("passed", considered.because.join("; ")),
                Outcome::Open => ("open", considered.because.join("; ")),
                Outcome::NotReached => ("-", "an earlier rule decided".to_owned()),
            };
            [considered.rule.name.clone(), outcome.to_owned(), because]
        })
        .collect();
    if !rows.is_empty() {
        text.push_str(&table(["rule", "outcome", "because"], &rows));
    }
    let decision = &explanation.decision;
    let by = match decision.rule {
        Some(rule) => format!("by rule {:?}", rule.name),
        None => "since no rule selects it".to_owned(),
    };
    let why = decision.rule.and_then(|rule| rule.why.as_ref()).map(|why| format!(": {why}")).unwrap_or_default();
    if decision.take {
        let lock = if policy.retention.lock == Lock::Required { "locked" } else { "locked or not" };
        text.push_str(&format!(
            "Taken {by}{why}. Captured anew after {} even if it does not change, or when less than {} of protection are left; \
             retention class {}, {lock}.\n",
            span(decision.recapture_every),
            span(policy.retention.protection_min),
            policy.retention.class,
        ));
    } else {
        text.push_str(&format!("Left out {by}{why}. Snapshots record its name and no capture.\n"));
    }
    if !explanation.certain {
        text.push_str(
            "Not certain: a rule that is open may come first. Give what it asks for with --vault or --tag.\n",
        );
    }
    text
}

fn span(span: TimeDelta) -> String {
    duration::render(span.to_std().unwrap_or_default())
}
