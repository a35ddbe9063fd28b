//! Instruction sets: which this CPU offers, which an instruction needs, and instructions as text.
//!
//! "Offers" is what Linux lists in `/proc/cpuinfo`: what the CPU has and the kernel has enabled. Code to disassemble
//! comes from objects and is only ever decoded; an instruction unknown to the decoder is nobody's fault.

use std::collections::HashSet;

use iced_x86::{CpuidFeature, Decoder, DecoderOptions, Formatter, Instruction, NasmFormatter};
use webrunner_protocol::fault::CodeMode;

/// Pairs of a feature as the decoder names it and as Linux does. Features every x86-64 CPU has are left out, as are
/// those no user code can use.
const FEATURES: [(CpuidFeature, &str); 91] = [
    (CpuidFeature::ADX, "adx"),
    (CpuidFeature::AES, "aes"),
    (CpuidFeature::AESKLE, "aeskle"),
    (CpuidFeature::AMX_BF16, "amx_bf16"),
    (CpuidFeature::AMX_COMPLEX, "amx_complex"),
    (CpuidFeature::AMX_FP16, "amx_fp16"),
    (CpuidFeature::AMX_INT8, "amx_int8"),
    (CpuidFeature::AMX_TILE, "amx_tile"),
    (CpuidFeature::AVX, "avx"),
    (CpuidFeature::AVX2, "avx2"),
    (CpuidFeature::AVX512BW, "avx512bw"),
    (CpuidFeature::AVX512CD, "avx512cd"),
    (CpuidFeature::AVX512DQ, "avx512dq"),
    (CpuidFeature::AVX512ER, "avx512er"),
    (CpuidFeature::AVX512F, "avx512f"),
    (CpuidFeature::AVX512PF, "avx512pf"),
    (CpuidFeature::AVX512VL, "avx512vl"),
    (CpuidFeature::AVX512_4FMAPS, "avx512_4fmaps"),
    (CpuidFeature::AVX512_4VNNIW, "avx512_4vnniw"),
    (CpuidFeature::AVX512_BF16, "avx512_bf16"),
    (CpuidFeature::AVX512_BITALG, "avx512_bitalg"),
    (CpuidFeature::AVX512_FP16, "avx512_fp16"),
    (CpuidFeature::AVX512_IFMA, "avx512ifma"),
    (CpuidFeature::AVX512_VBMI, "avx512vbmi"),
    (CpuidFeature::AVX512_VBMI2, "avx512_vbmi2"),
    (CpuidFeature::AVX512_VNNI, "avx512_vnni"),
    (CpuidFeature::AVX512_VP2INTERSECT, "avx512_vp2intersect"),
    (CpuidFeature::AVX512_VPOPCNTDQ, "avx512_vpopcntdq"),
    (CpuidFeature::AVX_IFMA, "avx_ifma"),
    (CpuidFeature::AVX_NE_CONVERT, "avx_ne_convert"),
    (CpuidFeature::AVX_VNNI, "avx_vnni"),
    (CpuidFeature::AVX_VNNI_INT16, "avx_vnni_int16"),
    (CpuidFeature::AVX_VNNI_INT8, "avx_vnni_int8"),
    (CpuidFeature::BMI1, "bmi1"),
    (CpuidFeature::BMI2, "bmi2"),
    (CpuidFeature::CLDEMOTE, "cldemote"),
    (CpuidFeature::CLFLUSHOPT, "clflushopt"),
    (CpuidFeature::CLWB, "clwb"),
    (CpuidFeature::CLZERO, "clzero"),
    (CpuidFeature::CMPCCXADD, "cmpccxadd"),
    (CpuidFeature::CMPXCHG16B, "cx16"),
    (CpuidFeature::D3NOW, "3dnow"),
    (CpuidFeature::D3NOWEXT, "3dnowext"),
    (CpuidFeature::ENQCMD, "enqcmd"),
    (CpuidFeature::F16C, "f16c"),
    (CpuidFeature::FMA, "fma"),
    (CpuidFeature::FMA4, "fma4"),
    (CpuidFeature::FSGSBASE, "fsgsbase"),
    (CpuidFeature::GFNI, "gfni"),
    (CpuidFeature::HLE_or_RTM, "rtm"),
    (CpuidFeature::KL, "kl"),
    (CpuidFeature::LWP, "lwp"),
    (CpuidFeature::LZCNT, "abm"),
    (CpuidFeature::MONITORX, "mwaitx"),
    (CpuidFeature::MOVBE, "movbe"),
    (CpuidFeature::MOVDIR64B, "movdir64b"),
    (CpuidFeature::MOVDIRI, "movdiri"),
    (CpuidFeature::PADLOCK_ACE, "ace_en"),
    (CpuidFeature::PADLOCK_PHE, "phe_en"),
    (CpuidFeature::PADLOCK_PMM, "pmm_en"),
    (CpuidFeature::PADLOCK_RNG, "rng_en"),
    (CpuidFeature::PCLMULQDQ, "pclmulqdq"),
    (CpuidFeature::PKU, "ospke"),
    (CpuidFeature::POPCNT, "popcnt"),
    (CpuidFeature::RAO_INT, "rao_int"),
    (CpuidFeature::RDPID, "rdpid"),
    (CpuidFeature::RDPRU, "rdpru"),
    (CpuidFeature::RDRAND, "rdrand"),
    (CpuidFeature::RDSEED, "rdseed"),
    (CpuidFeature::RDTSCP, "rdtscp"),
    (CpuidFeature::RTM, "rtm"),
    (CpuidFeature::SERIALIZE, "serialize"),
    (CpuidFeature::SHA, "sha_ni"),
    (CpuidFeature::SHA512, "sha512"),
    (CpuidFeature::SM3, "sm3"),
    (CpuidFeature::SM4, "sm4"),
    (CpuidFeature::SSE3, "pni"),
    (CpuidFeature::SSE4A, "sse4a"),
    (CpuidFeature::SSE4_1, "sse4_1"),
    (CpuidFeature::SSE4_2, "sse4_2"),
    (CpuidFeature::SSSE3, "ssse3"),
    (CpuidFeature::TBM, "tbm"),
    (CpuidFeature::TSXLDTRK, "tsxldtrk"),
    (CpuidFeature::UINTR, "uintr"),
    (CpuidFeature::VAES, "vaes"),
    (CpuidFeature::WAITPKG, "waitpkg"),
    (CpuidFeature::WIDE_KL, "wide_kl"),
    (CpuidFeature::XOP, "xop"),
    (CpuidFeature::XSAVE, "xsave"),
    (CpuidFeature::XSAVEC, "xsavec"),
    (CpuidFeature::XSAVEOPT, "xsaveopt"),
];

/// Names by which people know features that Linux names otherwise.
const COMMON_NAMES: [(&str, &str); 4] =
    [("pni", "sse3"), ("abm", "lzcnt"), ("sha_ni", "sha"), ("ospke", "pku")];

/// The features of this CPU, by Linux's names.
#[derive(Debug, Clone, Default)]
pub struct Isa {
    flags: HashSet<String>,
}

impl Isa {
    /// Features from the words of a `flags` line.
    #[must_use]
    pub fn of_flags<'a>(flags: impl IntoIterator<Item = &'a str>) -> Self {
        Self { flags: flags.into_iter().map(str::to_owned).collect() }
    }

    /// Whether Linux lists this flag.
    #[must_use]
    pub fn has(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }

    /// The instruction sets offered, by their common names, in alphabetical order.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let always = ["mmx", "sse", "sse2", "vpclmulqdq"];
        let listed = FEATURES.iter().map(|(_, flag)| *flag).chain(always);
        let mut names: Vec<_> = listed.filter(|flag| self.has(flag)).map(common_name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What the first instruction of `code` needs and this CPU lacks, by common names; empty if nothing, if the code is
    /// no instruction, or if the CPU's features are not known.
    #[must_use]
    pub fn lacking(&self, code: &[u8], mode: CodeMode) -> Vec<&'static str> {
        let Some(instruction) = decode(code, mode, 0).filter(|_| !self.flags.is_empty()) else {
            return Vec::new();
        };
        let needed = instruction.cpuid_features();
        let rows = FEATURES.iter().filter(|(feature, flag)| needed.contains(feature) && !self.has(flag));
        rows.map(|(_, flag)| common_name(flag)).collect()
    }
}

fn common_name(flag: &'static str) -> &'static str {
    COMMON_NAMES.iter().find(|(linux, _)| *linux == flag).map_or(flag, |(_, common)| common)
}

fn decode(code: &[u8], mode: CodeMode, ip: u64) -> Option<Instruction> {
    let instruction = Decoder::with_ip(mode.bits(), code, ip, DecoderOptions::NONE).decode();
    (!instruction.is_invalid()).then_some(instruction)
}

/// The first instruction of `code` in NASM's syntax; `None` if it is none.
#[must_use]
pub fn disassemble(code: &[u8], mode: CodeMode, ip: u64) -> Option<String> {
    let instruction = decode(code, mode, ip)?;
    let mut formatter = NasmFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_space_after_operand_separator(true);
    let mut text = String::new();
    formatter.format(&instruction, &mut text);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use CodeMode::{Bits32, Bits64};

    #[test]
    fn missing_features_are_named_as_people_know_them() {
        let old = Isa::of_flags(["sse2"]);
        // vaddps ymm0, ymm0, ymm0; lzcnt eax, eax; vpaddb xmm0 {k1}, xmm0, xmm0
        assert_eq!(old.lacking(&[0xc5, 0xfc, 0x58, 0xc0], Bits64), ["avx"]);
        assert_eq!(old.lacking(&[0xf3, 0x0f, 0xbd, 0xc0], Bits64), ["lzcnt"]);
        assert_eq!(old.lacking(&[0x62, 0xf1, 0x7d, 0x09, 0xfc, 0xc0], Bits64), ["avx512bw", "avx512vl"]);
    }

    #[test]
    fn what_the_cpu_offers_is_not_missing() {
        assert!(Isa::of_flags(["avx"]).lacking(&[0xc5, 0xfc, 0x58, 0xc0], Bits64).is_empty());
        assert!(Isa::of_flags(["sse2"]).lacking(&[0x0f, 0x0b], Bits64).is_empty());
        assert!(Isa::of_flags(["sse2"]).lacking(&[], Bits64).is_empty());
        assert!(Isa::default().lacking(&[0xc5, 0xfc, 0x58, 0xc0], Bits64).is_empty());
    }

    #[test]
    fn instructions_become_text() {
        assert_eq!(disassemble(&[0x0f, 0x0b], Bits64, 0).as_deref(), Some("ud2"));
        assert_eq!(
            disassemble(&[0xc5, 0xfc, 0x58, 0xc1], Bits64, 0).as_deref(),
            Some("vaddps ymm0, ymm0, ymm1")
        );
        assert_eq!(disassemble(&[0xc5, 0xfc], Bits64, 0), None);
    }

    #[test]
    fn an_instruction_is_read_in_the_mode_it_was_run_in() {
        // `inc eax` once, and a prefix without an instruction now.
        assert_eq!(disassemble(&[0x40], Bits32, 0).as_deref(), Some("inc eax"));
        assert_eq!(disassemble(&[0x40], Bits64, 0), None);
        assert_eq!(disassemble(&[0xa1, 0, 0, 0, 0], Bits32, 0).as_deref(), Some("mov eax, [0]"));
        let old = Isa::of_flags(["sse2"]);
        // vaddps ymm0, ymm0, ymm1
        assert_eq!(old.lacking(&[0xc5, 0xfc, 0x58, 0xc1], Bits32), ["avx"]);
    }
}
