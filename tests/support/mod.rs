//! What several suites need: doors that misbehave on demand, a house in memory, a world to run in, an order to take.

pub(crate) mod faulty;
pub(crate) mod house;
pub(crate) mod order;
pub(crate) mod stage;
pub(crate) mod world;
