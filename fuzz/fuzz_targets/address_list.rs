//! Searches for octets that break what the target `address_list` promises.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    assert!(fuzzing::run("address_list", input));
});
