//! Stories that a user would tell, played with the real program against the emulated Azure.

mod bad_input;
mod break_glass;
mod kill;
mod policy;
mod restore;
mod story;
mod worm;
