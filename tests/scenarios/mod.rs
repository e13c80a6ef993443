//! Stories that a user would tell, played with the real program against the emulated Azure.

mod bad_input;
mod break_glass;
mod choose;
mod completeness;
mod doctor;
mod fleet;
mod kill;
mod pace;
mod policy;
mod protect;
mod protect_whole;
mod rebuild;
mod restore;
mod resume;
mod secrets;
mod status;
mod story;
mod verify;
mod worm;
