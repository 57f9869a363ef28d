//! Searches for octets that break what the target `relay_login` promises.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    assert!(fuzzing::run("relay_login", input));
});
