//! Searches for octets that break what the target `replies` promises.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    assert!(fuzzing::run("replies", input));
});
