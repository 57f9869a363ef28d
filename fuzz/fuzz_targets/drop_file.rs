//! Searches for octets that break what the target `drop_file` promises.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    assert!(fuzzing::run("drop_file", input));
});
