//! Filled in by the format room.
