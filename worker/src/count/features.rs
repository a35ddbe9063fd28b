//! Which instruction set extensions code needs, and which this CPU lacks.
//!
//! Only extensions whose instructions raise SIGILL where they are missing are asked about, and `lzcnt`, which computes
//! something else there: hints (`endbr64`, prefetches) run everywhere. So does `tzcnt`, as `bsf`, and compilers write
//! it for that; it is named among what code needs, and nothing is refused for it.
#![forbid(unsafe_code)]

use std::arch::is_x86_feature_detected;

use iced_x86::{CpuidFeature, Instruction, Mnemonic};
use webrunner_protocol::limits::MAX_FEATURES;
use webrunner_protocol::refusal::Name;

use super::cpuid;

/// A set of extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features([u64; 4]);

impl Features {
    fn insert(&mut self, feature: CpuidFeature) {
        if let Some(word) = self.0.get_mut(feature as usize / 64) {
            *word |= 1 << (feature as usize % 64);
        }
    }

    fn contains(self, feature: CpuidFeature) -> bool {
        self.0.get(feature as usize / 64).is_some_and(|word| word >> (feature as usize % 64) & 1 != 0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == [0; 4]
    }

    /// What is in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|index| self.0[index] & other.0[index]))
    }

    /// Adds what an instruction needs.
    pub(super) fn add(&mut self, instruction: &Instruction) {
        instruction.cpuid_features().iter().for_each(|&feature| self.insert(feature));
    }

    /// Adds what an instruction must not be run without.
    pub(super) fn add_required(&mut self, instruction: &Instruction) {
        // Without BMI1 it runs as `bsf`.
        if instruction.mnemonic() != Mnemonic::Tzcnt {
            self.add(instruction);
        }
    }

    /// Names of the extensions that are asked about, as `/proc/cpuinfo` writes them.
    #[must_use]
    pub fn names(self) -> Vec<Name> {
        let detected = detected().into_iter().map(|(feature, name, _)| (feature, name));
        let known = detected.chain(cpuid::ROWS.iter().map(|row| (row.feature, row.name)));
        let mut names: Vec<_> =
            known.filter(|(feature, _)| self.contains(*feature)).map(|(_, name)| name).collect();
        // Two may go by one name.
        names.dedup();
        names.into_iter().take(MAX_FEATURES).map(|name| Name::new(name.as_bytes())).collect()
    }
}

/// The extensions this CPU, or its kernel, lacks. Asks `cpuid`, which is slow in a virtual machine: once, in the zygote.
#[must_use]
pub fn missing() -> Features {
    let mut missing = Features::default();
    let detected = detected().into_iter().filter(|(_, _, present)| !present).map(|(feature, ..)| feature);
    detected.chain(cpuid::missing()).for_each(|feature| missing.insert(feature));
    missing
}

/// Extensions that the standard library can detect, which asks whether the kernel saves their registers too: each with its
/// name, and whether it is there.
fn detected() -> [(CpuidFeature, &'static str, bool); 44] {
    use CpuidFeature as F;
    macro_rules! detected {
        ($($feature:ident, $name:literal, $detect:tt;)+) => {
            [$((F::$feature, $name, is_x86_feature_detected!($detect))),+]
        };
    }
    detected! {
        SSE3, "pni", "sse3";
        SSSE3, "ssse3", "ssse3";
        SSE4_1, "sse4_1", "sse4.1";
        SSE4_2, "sse4_2", "sse4.2";
        SSE4A, "sse4a", "sse4a";
        POPCNT, "popcnt", "popcnt";
        MOVBE, "movbe", "movbe";
        AES, "aes", "aes";
        PCLMULQDQ, "pclmulqdq", "pclmulqdq";
        SHA, "sha_ni", "sha";
        SHA512, "sha512", "sha512";
        SM3, "sm3", "sm3";
        SM4, "sm4", "sm4";
        GFNI, "gfni", "gfni";
        RDRAND, "rdrand", "rdrand";
        RDSEED, "rdseed", "rdseed";
        ADX, "adx", "adx";
        BMI1, "bmi1", "bmi1";
        BMI2, "bmi2", "bmi2";
        TBM, "tbm", "tbm";
        AVX, "avx", "avx";
        F16C, "f16c", "f16c";
        FMA, "fma", "fma";
        AVX2, "avx2", "avx2";
        VAES, "vaes", "vaes";
        VPCLMULQDQ, "vpclmulqdq", "vpclmulqdq";
        AVX_VNNI, "avx_vnni", "avxvnni";
        AVX_IFMA, "avx_ifma", "avxifma";
        AVX_NE_CONVERT, "avx_ne_convert", "avxneconvert";
        AVX_VNNI_INT8, "avx_vnni_int8", "avxvnniint8";
        AVX_VNNI_INT16, "avx_vnni_int16", "avxvnniint16";
        AVX512F, "avx512f", "avx512f";
        AVX512CD, "avx512cd", "avx512cd";
        AVX512DQ, "avx512dq", "avx512dq";
        AVX512BW, "avx512bw", "avx512bw";
        AVX512VL, "avx512vl", "avx512vl";
        AVX512_IFMA, "avx512ifma", "avx512ifma";
        AVX512_VBMI, "avx512vbmi", "avx512vbmi";
        AVX512_VBMI2, "avx512_vbmi2", "avx512vbmi2";
        AVX512_VNNI, "avx512_vnni", "avx512vnni";
        AVX512_BITALG, "avx512_bitalg", "avx512bitalg";
        AVX512_VPOPCNTDQ, "avx512_vpopcntdq", "avx512vpopcntdq";
        AVX512_BF16, "avx512_bf16", "avx512bf16";
        AVX512_FP16, "avx512_fp16", "avx512fp16";
    }
}
