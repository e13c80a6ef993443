//! Rotation policies of keys: a resource of its own beside the key, not part of its bundle and, as far as is known, not of
//! its backup. Knows no clock: nothing here rotates by itself.

use super::errors::Fault;
use super::keys::KeyContent;
use super::object::DAY;
use super::state::{Answer, Call, ok};
use chrono::{DateTime, Months};
use serde::{Deserialize, Serialize};

/// A policy as it is stored.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct RotationPolicy {
    actions: Vec<LifetimeAction>,
    expiry_time: Option<String>,
    created: i64,
    updated: i64,
}

#[derive(Clone, Serialize, Deserialize)]
struct LifetimeAction {
    trigger: Trigger,
    action: Action,
}

#[derive(Clone, Serialize, Deserialize)]
struct Trigger {
    #[serde(rename = "timeAfterCreate", skip_serializing_if = "Option::is_none")]
    after_create: Option<String>,
    #[serde(rename = "timeBeforeExpiry", skip_serializing_if = "Option::is_none")]
    before_expiry: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Action {
    #[serde(rename = "type")]
    kind: String,
}

impl RotationPolicy {
    /// When a version made now expires (REC: `P30D`).
    pub(super) fn expiry(&self, now: i64) -> Option<i64> {
        add_period(now, self.expiry_time.as_deref()?)
    }
}

/// `now` plus an ISO 8601 period: `P30D`, `P6M`, `P1Y10D`, `PT48H`.
fn add_period(now: i64, period: &str) -> Option<i64> {
    let body = period.strip_prefix('P')?;
    let (date, time) = body.split_once('T').map_or((body, None), |(date, time)| (date, Some(time)));
    if (date.is_empty() && time.is_none()) || time.is_some_and(str::is_empty) {
        return None;
    }
    let then = add_parts(now, date, "YMWD", |now, count, unit| {
        let months = |months: u32| {
            let start = DateTime::from_timestamp(now, 0)?;
            start.checked_add_months(Months::new(months)).map(|end| end.timestamp())
        };
        match unit {
            'Y' => months(count.checked_mul(12)?),
            'M' => months(count),
            'W' => now.checked_add(i64::from(count) * 7 * DAY),
            _ => now.checked_add(i64::from(count) * DAY),
        }
    })?;
    add_parts(then, time.unwrap_or_default(), "HMS", |now, count, unit| {
        let seconds = match unit {
            'H' => 3600,
            'M' => 60,
            _ => 1,
        };
        now.checked_add(i64::from(count) * seconds)
    })
}

/// Adds numbers with `units`, each at most once and in this order.
fn add_parts(now: i64, text: &str, units: &str, add: impl Fn(i64, u32, char) -> Option<i64>) -> Option<i64> {
    let (mut now, mut text, mut units) = (now, text, units);
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit())?;
        let (count, rest) = text.split_at_checked(end)?;
        let unit = rest.chars().next()?;
        let (_, later) = units.split_once(unit)?;
        now = add(now, count.parse().ok()?, unit)?;
        (units, text) = (later, rest.get(unit.len_utf8()..)?);
    }
    Some(now)
}

/// What a policy must be (DOC, in the comments of the REST API and in "Configure key auto-rotation"): at most one action
/// of each type, a time of 7 days at least for each, 28 days until a version expires; who is notified is before the
/// expiry. The texts are a GUESS[rotation-policy].
fn check(now: i64, actions: &[LifetimeAction], expiry_time: Option<&str>) -> Result<(), Fault> {
    let days = |period: &str, least: i64, what: &str| match add_period(now, period) {
        None => Err(Fault::bad_parameter(format!("Property \"{what}\" is not a period such as P90D"))),
        Some(end) if end - now < least * DAY => {
            Err(Fault::bad_parameter(format!("Property \"{what}\" must be at least {least} days")))
        }
        Some(_) => Ok(()),
    };
    if let Some(period) = expiry_time {
        days(period, 28, "expiryTime")?;
    }
    for (index, LifetimeAction { trigger, action }) in actions.iter().enumerate() {
        let same = |other: &LifetimeAction| other.action.kind.eq_ignore_ascii_case(&action.kind);
        if actions.iter().take(index).any(same) {
            return Err(Fault::bad_parameter("Property \"lifetimeActions\" has an action twice"));
        }
        let rotate = action.kind.eq_ignore_ascii_case("rotate");
        if !rotate && !action.kind.eq_ignore_ascii_case("notify") {
            return Err(Fault::bad_parameter("Property \"type\" must be Rotate or Notify"));
        }
        match (&trigger.after_create, &trigger.before_expiry) {
            (Some(period), None) if rotate => days(period, 7, "timeAfterCreate")?,
            (None, Some(period)) => days(period, 7, "timeBeforeExpiry")?,
            _ => {
                return Err(Fault::bad_parameter(
                    "Property \"trigger\" must have one time, to notify before the expiry",
                ));
            }
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct View {
    id: String,
    #[serde(rename = "lifetimeActions")]
    actions: Vec<LifetimeAction>,
    attributes: ViewAttributes,
}

#[derive(Serialize)]
struct ViewAttributes {
    #[serde(rename = "expiryTime", skip_serializing_if = "Option::is_none")]
    expiry_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<i64>,
}

/// `GET /keys/NAME/rotationpolicy`.
pub(super) fn get(call: &mut Call<'_>, name: &str) -> Answer {
    let key = call.shelf::<KeyContent>().live(name, call.moment())?;
    let id = format!("{}/rotationpolicy", call.vault.id(super::object::Kind::Key, &key.name, None));
    let view = match &key.extra {
        Some(policy) => View {
            id,
            actions: policy.actions.clone(),
            attributes: ViewAttributes {
                expiry_time: policy.expiry_time.clone(),
                created: Some(policy.created),
                updated: Some(policy.updated),
            },
        },
        // What a key shows before anyone set a policy (MEM[default-rotation]).
        None => View {
            id,
            actions: vec![LifetimeAction {
                trigger: Trigger { after_create: None, before_expiry: Some("P30D".into()) },
                action: Action { kind: "Notify".into() },
            }],
            attributes: ViewAttributes { expiry_time: None, created: None, updated: None },
        },
    };
    ok(&view)
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "lifetimeActions", default)]
    actions: Vec<LifetimeAction>,
    attributes: Option<BodyAttributes>,
}

#[derive(Deserialize)]
struct BodyAttributes {
    #[serde(rename = "expiryTime")]
    expiry_time: Option<String>,
}

/// `PUT /keys/NAME/rotationpolicy`.
pub(super) fn set(call: &mut Call<'_>, name: &str) -> Answer {
    let body: Body = call.body()?;
    let expiry_time = body.attributes.and_then(|attributes| attributes.expiry_time);
    check(call.now, &body.actions, expiry_time.as_deref())?;
    let (now, moment) = (call.now, call.moment());
    let key = call.shelf_mut::<KeyContent>().live_mut(name, moment)?;
    let created = key.extra.as_ref().map_or(now, |policy| policy.created);
    key.extra = Some(RotationPolicy { actions: body.actions, expiry_time, created, updated: now });
    get(call, name)
}

#[cfg(test)]
mod tests {
    use super::add_period;
    use crate::emulator::seed::Limbo;
    use crate::emulator::vault::fixture::{Cloud, NOW};
    use serde_json::json;

    #[test]
    fn periods_add_days_and_calendar_months() {
        assert_eq!(add_period(1_699_275_450, "P30D"), Some(1_701_867_450));
        assert_eq!(add_period(0, "P1M"), Some(31 * 86_400));
        assert_eq!(add_period(0, "P1Y"), Some(365 * 86_400));
        assert_eq!(add_period(0, "P1Y10D"), Some(375 * 86_400));
        assert_eq!(add_period(0, "PT48H"), Some(2 * 86_400));
        assert_eq!(add_period(0, "P1DT1M1S"), Some(86_461));
        for wrong in ["", "P", "PD", "30D", "P30H", "PT", "P1T", "P1D1Y", "P1D1D", "P99999999999D", "P-1D"] {
            assert_eq!(add_period(0, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_policy_is_put_as_recorded_and_shown_again_with_its_times() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.good("POST", "vvv/keys/k/create", r#"{"kty":"EC"}"#);
        let path = "vvv/keys/k/rotationpolicy";
        let body = json!({
            "lifetimeActions": [
                {"trigger": {"timeAfterCreate": "P15D", "timeBeforeExpiry": null}, "action": {"type": "Rotate"}},
                {"trigger": {"timeBeforeExpiry": "P7D"}, "action": {"type": "Notify"}},
            ],
            "attributes": {"expiryTime": "P30D"},
        });
        cloud.good("PUT", path, &body.to_string());
        cloud.now += 10;
        let shown = cloud.good("PUT", path, &body.to_string());
        assert_eq!(shown["attributes"], json!({"expiryTime": "P30D", "created": NOW, "updated": NOW + 10}));
        assert_eq!(shown["lifetimeActions"][0]["trigger"], json!({"timeAfterCreate": "P15D"}));
        assert_eq!(cloud.good("GET", path, ""), shown);
        assert_eq!(cloud.bad("PUT", "vvv/keys/none/rotationpolicy", &body.to_string()).1, "KeyNotFound");
        cloud.good("DELETE", "vvv/keys/k", "");
        assert_eq!(cloud.bad("PUT", path, &body.to_string()).0, 404);
    }

    #[test]
    fn a_policy_that_cannot_be_carried_out_is_refused() {
        let mut cloud = Cloud::four(Limbo::Off);
        cloud.good("POST", "vvv/keys/k/create", r#"{"kty":"EC"}"#);
        let action = |kind: &str, trigger: &str| format!(r#"{{"trigger":{{{trigger}}},"action":{{"type":"{kind}"}}}}"#);
        let (after, before) = (r#""timeAfterCreate":"P30D""#, r#""timeBeforeExpiry":"P30D""#);
        for (actions, expiry) in [
            (vec![], "P27D"),
            (vec![], "soon"),
            (vec![action("Rotate", after), action("rotate", before)], "P90D"),
            (vec![action("Delete", before)], "P90D"),
            (vec![action("Notify", after)], "P90D"),
            (vec![action("Rotate", "")], "P90D"),
            (vec![action("Rotate", &format!("{after},{before}"))], "P90D"),
            (vec![action("Rotate", r#""timeAfterCreate":"P6D""#)], "P90D"),
            (vec![action("Rotate", r#""timeAfterCreate":"1 month""#)], "P90D"),
        ] {
            let body =
                format!(r#"{{"lifetimeActions":[{}],"attributes":{{"expiryTime":"{expiry}"}}}}"#, actions.join(","));
            let (status, code, _) = cloud.bad("PUT", "vvv/keys/k/rotationpolicy", &body);
            assert_eq!((status, code.as_str()), (400, "BadParameter"), "{body}");
        }
    }
}
