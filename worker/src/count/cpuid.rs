//! Instruction set extensions that the standard library has no name for, by their bits of `cpuid`.
//!
//! Where the kernel has to switch an extension on and `cpuid` tells whether it did (`OSXSAVE`, `OSPKE`), that bit is
//! the one. Left out are hints, which run everywhere (`endbr64`, prefetches, `cldemote`, bounds), and what only the
//! kernel may execute.
#![forbid(unsafe_code)]

use std::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};

use iced_x86::CpuidFeature as F;

/// A register that `cpuid` answers in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Register {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

use Register::{Eax, Ebx, Ecx, Edx};

/// An extension, the name that Linux gives it, and where its bit is.
pub(super) struct Row {
    pub(super) feature: F,
    pub(super) name: &'static str,
    leaf: u32,
    subleaf: u32,
    register: Register,
    bit: u32,
}

/// Leaves of AMD's, and of VIA's and Zhaoxin's.
const EXTENDED: u32 = 0x8000_0000;
const CENTAUR: u32 = 0xc000_0000;

/// The rows; those of one leaf together, so that each is asked once.
#[rustfmt::skip]
pub(super) const ROWS: [Row; 50] = [
    row(F::CMPXCHG16B, "cx16", 1, 0, Ecx, 13),
    row(F::XSAVE, "xsave", 1, 0, Ecx, 27),
    row(F::FSGSBASE, "fsgsbase", 7, 0, Ebx, 0),
    row(F::RTM, "rtm", 7, 0, Ebx, 11),
    row(F::HLE_or_RTM, "rtm", 7, 0, Ebx, 11),
    row(F::PCOMMIT, "pcommit", 7, 0, Ebx, 22),
    row(F::CLFLUSHOPT, "clflushopt", 7, 0, Ebx, 23),
    row(F::CLWB, "clwb", 7, 0, Ebx, 24),
    row(F::AVX512PF, "avx512pf", 7, 0, Ebx, 26),
    row(F::AVX512ER, "avx512er", 7, 0, Ebx, 27),
    row(F::PKU, "pku", 7, 0, Ecx, 4),
    row(F::WAITPKG, "waitpkg", 7, 0, Ecx, 5),
    row(F::RDPID, "rdpid", 7, 0, Ecx, 22),
    row(F::KL, "kl", 7, 0, Ecx, 23),
    row(F::MOVDIRI, "movdiri", 7, 0, Ecx, 27),
    row(F::MOVDIR64B, "movdir64b", 7, 0, Ecx, 28),
    row(F::ENQCMD, "enqcmd", 7, 0, Ecx, 29),
    row(F::AVX512_4VNNIW, "avx512_4vnniw", 7, 0, Edx, 2),
    row(F::AVX512_4FMAPS, "avx512_4fmaps", 7, 0, Edx, 3),
    row(F::UINTR, "uintr", 7, 0, Edx, 5),
    row(F::AVX512_VP2INTERSECT, "avx512_vp2intersect", 7, 0, Edx, 8),
    row(F::SERIALIZE, "serialize", 7, 0, Edx, 14),
    row(F::TSXLDTRK, "tsxldtrk", 7, 0, Edx, 16),
    row(F::AMX_BF16, "amx_bf16", 7, 0, Edx, 22),
    row(F::AMX_TILE, "amx_tile", 7, 0, Edx, 24),
    row(F::AMX_INT8, "amx_int8", 7, 0, Edx, 25),
    row(F::RAO_INT, "rao_int", 7, 1, Eax, 3),
    row(F::CMPCCXADD, "cmpccxadd", 7, 1, Eax, 7),
    row(F::AMX_FP16, "amx_fp16", 7, 1, Eax, 21),
    row(F::AMX_COMPLEX, "amx_complex", 7, 1, Edx, 8),
    row(F::XSAVEOPT, "xsaveopt", 0xd, 1, Eax, 0),
    row(F::XSAVEC, "xsavec", 0xd, 1, Eax, 1),
    row(F::SGX1, "sgx", 0x12, 0, Eax, 0),
    row(F::PTWRITE, "ptwrite", 0x14, 0, Ebx, 4),
    row(F::AESKLE, "aeskle", 0x19, 0, Ebx, 0),
    row(F::WIDE_KL, "wide_kl", 0x19, 0, Ebx, 2),
    row(F::LZCNT, "abm", EXTENDED + 1, 0, Ecx, 5),
    row(F::XOP, "xop", EXTENDED + 1, 0, Ecx, 11),
    row(F::LWP, "lwp", EXTENDED + 1, 0, Ecx, 15),
    row(F::FMA4, "fma4", EXTENDED + 1, 0, Ecx, 16),
    row(F::MONITORX, "mwaitx", EXTENDED + 1, 0, Ecx, 29),
    row(F::RDTSCP, "rdtscp", EXTENDED + 1, 0, Edx, 27),
    row(F::D3NOWEXT, "3dnowext", EXTENDED + 1, 0, Edx, 30),
    row(F::D3NOW, "3dnow", EXTENDED + 1, 0, Edx, 31),
    row(F::CLZERO, "clzero", EXTENDED + 8, 0, Ebx, 0),
    row(F::RDPRU, "rdpru", EXTENDED + 8, 0, Ebx, 4),
    row(F::PADLOCK_RNG, "rng_en", CENTAUR + 1, 0, Edx, 3),
    row(F::PADLOCK_ACE, "ace_en", CENTAUR + 1, 0, Edx, 7),
    row(F::PADLOCK_PHE, "phe_en", CENTAUR + 1, 0, Edx, 11),
    row(F::PADLOCK_PMM, "pmm_en", CENTAUR + 1, 0, Edx, 13),
];

const fn row(feature: F, name: &'static str, leaf: u32, subleaf: u32, register: Register, bit: u32) -> Row {
    Row { feature, name, leaf, subleaf, register, bit }
}

/// The rows whose bit is not set.
pub(super) fn missing() -> impl Iterator<Item = F> {
    let mut asked = (u32::MAX, 0, NOTHING);
    ROWS.iter().filter_map(move |row| {
        if (asked.0, asked.1) != (row.leaf, row.subleaf) {
            asked = (row.leaf, row.subleaf, ask(row.leaf, row.subleaf));
        }
        let CpuidResult { eax, ebx, ecx, edx } = asked.2;
        let answer = match row.register {
            Eax => eax,
            Ebx => ebx,
            Ecx => ecx,
            Edx => edx,
        };
        (answer >> row.bit & 1 == 0).then_some(row.feature)
    })
}

const NOTHING: CpuidResult = CpuidResult { eax: 0, ebx: 0, ecx: 0, edx: 0 };

/// What a leaf says; nothing if the CPU has none, for Intel's would then answer with another one.
fn ask(leaf: u32, subleaf: u32) -> CpuidResult {
    let first = leaf & 0xf000_0000;
    let highest = __cpuid(first).eax;
    let has_leaf = (leaf..first + 0x1000).contains(&highest);
    let has_subleaf = leaf != 7 || subleaf == 0 || (has_leaf && __cpuid_count(7, 0).eax >= subleaf);
    if has_leaf && has_subleaf { __cpuid_count(leaf, subleaf) } else { NOTHING }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What kernels do not list, list under another name, or list only where they use it themselves.
    const UNLISTED: [&str; 15] = [
        "pku",
        "ptwrite",
        "kl",
        "aeskle",
        "wide_kl",
        "uintr",
        "rao_int",
        "cmpccxadd",
        "sgx",
        "enqcmd",
        "pcommit",
        "amx_fp16",
        "amx_complex",
        "avx512_4vnniw",
        "avx512_4fmaps",
    ];

    #[test]
    fn linux_says_the_same() {
        let Ok(info) = fs::read_to_string("/proc/cpuinfo") else {
            eprintln!("skipped: there is no /proc/cpuinfo");
            return;
        };
        let flags: Vec<&str> =
            info.lines().find(|line| line.starts_with("flags")).unwrap().split_whitespace().collect();
        let missing: Vec<F> = missing().collect();
        for row in ROWS.iter().filter(|row| !UNLISTED.contains(&row.name)) {
            assert_eq!(missing.contains(&row.feature), !flags.contains(&row.name), "{}", row.name);
        }
    }
}
