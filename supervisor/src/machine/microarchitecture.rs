//! Microarchitectures by vendor, family and model.
//!
//! Families and models are displayed values (extended fields added in). Sources: Linux
//! `arch/x86/include/asm/intel-family.h`, `arch/x86/kernel/cpu/amd.c`, and the names LLVM gives its targets. What is
//! not listed is not guessed.

/// The microarchitecture, by the name LLVM and the old service use; `None` if it is not known.
pub(super) fn name(vendor: &str, family: u8, model: u8, stepping: u8) -> Option<&'static str> {
    match (vendor, family) {
        ("GenuineIntel", 6) => intel_family_6(model, stepping),
        ("AuthenticAMD", _) => amd(family, model),
        ("HygonGenuine", 0x18) => Some("zen"),
        _ => None,
    }
}

fn intel_family_6(model: u8, stepping: u8) -> Option<&'static str> {
    Some(match model {
        0x0f | 0x16 => "core2",
        0x17 | 0x1d => "penryn",
        0x1a | 0x1e | 0x1f | 0x2e => "nehalem",
        0x25 | 0x2c | 0x2f => "westmere",
        0x2a | 0x2d => "sandybridge",
        0x3a | 0x3e => "ivybridge",
        0x3c | 0x3f | 0x45 | 0x46 => "haswell",
        0x3d | 0x47 | 0x4f | 0x56 => "broadwell",
        // Kaby, Coffee, Whiskey and Comet Lake have the same core.
        0x4e | 0x5e | 0x8e | 0x9e | 0xa5 | 0xa6 => "skylake",
        0x55 if stepping <= 4 => "skylake-avx512",
        0x55 if stepping <= 7 => "cascadelake",
        0x55 => "cooperlake",
        0x66 => "cannonlake",
        0x7d | 0x7e => "icelake-client",
        0x6a | 0x6c => "icelake-server",
        0x8c | 0x8d => "tigerlake",
        0xa7 => "rocketlake",
        0x97 | 0x9a => "alderlake",
        0xb7 | 0xba | 0xbf => "raptorlake",
        0xaa | 0xac => "meteorlake",
        0xbd => "lunarlake",
        0xb5 | 0xc5 | 0xc6 => "arrowlake",
        0x8f => "sapphirerapids",
        0xcf => "emeraldrapids",
        0xad | 0xae => "graniterapids",
        0xaf => "sierraforest",
        0xbe => "gracemont",
        0x1c | 0x26 => "bonnell",
        0x27 | 0x35 | 0x36 => "saltwell",
        0x37 | 0x4a | 0x4d | 0x5a | 0x5d => "silvermont",
        0x4c | 0x75 => "airmont",
        0x5c | 0x5f => "goldmont",
        0x7a => "goldmont-plus",
        0x86 | 0x96 | 0x9c => "tremont",
        0x57 => "knl",
        0x85 => "knm",
        _ => return None,
    })
}

fn amd(family: u8, model: u8) -> Option<&'static str> {
    Some(match (family, model) {
        (0x0f, _) => "k8",
        (0x10 | 0x12, _) => "k10",
        (0x14, _) => "bobcat",
        (0x15, 0x00..=0x01) => "bulldozer",
        (0x15, 0x02 | 0x10..=0x1f) => "piledriver",
        (0x15, 0x30..=0x3f) => "steamroller",
        (0x15, 0x60..=0x7f) => "excavator",
        (0x16, _) => "jaguar",
        (0x17, 0x08 | 0x18) => "zen+",
        (0x17, 0x00..=0x2f | 0x50..=0x5f) => "zen",
        (0x17, 0x30..=0x4f | 0x60..=0x7f | 0x90..=0x91 | 0xa0..=0xaf) => "zen2",
        (0x19, 0x00..=0x0f | 0x20..=0x5f) => "zen3",
        (0x19, 0x10..=0x1f | 0x60..=0xaf) => "zen4",
        (0x1a, 0x00..=0x2f | 0x40..=0x4f | 0x60..=0x7f) => "zen5",
        (0x1a, 0x50..=0x5f | 0x80..=0xaf | 0xc0..=0xcf) => "zen6",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_models_have_names_and_others_have_none() {
        assert_eq!(name("AuthenticAMD", 0x1a, 0x02, 1), Some("zen5"));
        assert_eq!(name("AuthenticAMD", 0x19, 0x01, 1), Some("zen3"));
        assert_eq!(name("AuthenticAMD", 0x19, 0x61, 2), Some("zen4"));
        assert_eq!(name("GenuineIntel", 6, 0x55, 4), Some("skylake-avx512"));
        assert_eq!(name("GenuineIntel", 6, 0x55, 7), Some("cascadelake"));
        assert_eq!(name("GenuineIntel", 6, 0x00, 0), None);
        assert_eq!(name("GenuineIntel", 15, 0x55, 4), None);
        assert_eq!(name("AMDisbetter!", 0x19, 0x01, 1), None);
    }
}
