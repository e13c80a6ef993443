//! See `akv_archiver::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| akv_archiver::fuzzing::check("vault-settings", bytes).map(drop).unwrap());
