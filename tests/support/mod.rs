//! What several suites need: doors that misbehave on demand.

pub(crate) mod faulty;
pub(crate) mod world;
