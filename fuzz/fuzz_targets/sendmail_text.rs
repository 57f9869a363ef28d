//! Searches for octets that break what the target `sendmail_text` promises.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    assert!(fuzzing::run("sendmail_text", input));
});
