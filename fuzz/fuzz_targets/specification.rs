//! `webrunner_properties::specification` on any text.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = webrunner_properties::specification::check(text);
});
