//! The whole suite, one binary.

mod emulator;
