//! How the suite takes snapshots where nothing depends on it: the default policy, one object at a time.

use std::sync::Arc;

use akv_archiver::capture::Renewal;
use akv_archiver::jobs::protection::Demand;
use akv_archiver::jobs::snapshot::{AHEAD, Effort, Order, Rhythm};
use akv_archiver::policy::Policy;
use chrono::TimeDelta;

pub(crate) fn order() -> Order {
    Order {
        policy: Arc::new(Policy::built_in("default").unwrap()),
        renewal: Renewal {
            recapture_every: TimeDelta::days(30),
            protection_min: TimeDelta::days(90),
            protected: true,
            full_every: TimeDelta::days(7),
        },
        effort: Effort::Usual,
        in_flight: 1,
        ahead: AHEAD,
        worm: Demand::Required,
        rhythm: Rhythm::default(),
    }
}
