//! Stories that a user would tell, played with the real program against the emulated Azure.

mod bad_input;
mod break_glass;
mod completeness;
mod fleet;
mod kill;
mod pace;
mod policy;
mod restore;
mod story;
mod verify;
mod worm;
