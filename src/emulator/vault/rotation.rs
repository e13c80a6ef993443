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

/// `now` plus an ISO 8601 period of one number: `P30D`, `P6M`, `P2Y`.
fn add_period(now: i64, period: &str) -> Option<i64> {
    let body = period.strip_prefix('P')?;
    let (count, unit) = body.split_at_checked(body.len().checked_sub(1)?)?;
    let count: u32 = count.parse().ok()?;
    let months = |months: u32| {
        let start = DateTime::from_timestamp(now, 0)?;
        start.checked_add_months(Months::new(months)).map(|end| end.timestamp())
    };
    match unit {
        "D" => now.checked_add(i64::from(count) * DAY),
        "M" => months(count),
        "Y" => months(count.checked_mul(12)?),
        _ => None,
    }
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
    if expiry_time.as_deref().is_some_and(|period| add_period(call.now, period).is_none()) {
        return Err(Fault::bad_parameter("Property \"expiryTime\" is not a period such as P90D"));
    }
    let (now, moment) = (call.now, call.moment());
    let key = call.shelf_mut::<KeyContent>().live_mut(name, moment)?;
    let created = key.extra.as_ref().map_or(now, |policy| policy.created);
    key.extra = Some(RotationPolicy { actions: body.actions, expiry_time, created, updated: now });
    get(call, name)
}

#[cfg(test)]
mod tests {
    use super::add_period;

    #[test]
    fn periods_add_days_and_calendar_months() {
        assert_eq!(add_period(1_699_275_450, "P30D"), Some(1_701_867_450));
        assert_eq!(add_period(0, "P1M"), Some(31 * 86_400));
        assert_eq!(add_period(0, "P1Y"), Some(365 * 86_400));
        for wrong in ["", "P", "PD", "30D", "P30H", "P99999999999D"] {
            assert_eq!(add_period(0, wrong), None, "{wrong}");
        }
    }
}
