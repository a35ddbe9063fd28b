//! `webrunner_properties::object` on any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = webrunner_properties::object::check(bytes);
});
