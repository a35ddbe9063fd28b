//! `webrunner_properties::frame` on any bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = webrunner_properties::frame::check(bytes);
});
