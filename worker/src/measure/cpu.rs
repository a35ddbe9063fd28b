//! The few instructions the harness uses outside the trampoline: the time stamp, the core's number, what the CPU has.
//!
//! Each unsafe block is one instruction or one short row of them; everything that decides is safe code elsewhere.

use std::arch::asm;
use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{__cpuid, __cpuid_count, __rdtscp, _rdtsc};

/// Bytes of a cache line, on every x86-64 CPU.
const LINE: usize = 64;

/// Bit of `xgetbv` that stands for the upper halves of ymm registers.
pub(super) const XINUSE_YMM_UPPER: u32 = 1 << 2;

/// Bit of `xgetbv` that stands for the upper halves of zmm0 to zmm15.
pub(super) const XINUSE_ZMM_UPPER: u32 = 1 << 6;

/// The time stamp counter. Not ordered with the code around it: for deadlines, not for measuring.
pub(super) fn ticks() -> u64 {
    // SAFETY: rdtsc reads a counter and touches no memory; a process forbidden to use it could not measure at all.
    unsafe { _rdtsc() }
}

/// What the kernel calls the core this ran on (the `TSC_AUX` register).
///
/// # Safety
/// The CPU must have `rdtscp`.
pub(super) unsafe fn core_tag() -> u32 {
    let mut tag = 0;
    // SAFETY: the caller vouches for the instruction; it writes to `tag` alone.
    unsafe { __rdtscp(&raw mut tag) };
    tag
}

/// Whether the CPU has `rdtscp`.
pub(super) fn has_core_tag() -> bool {
    const EXTENDED_FEATURES: u32 = 0x8000_0001;
    // Every x86-64 CPU has leaf 0x80000001: it is where long mode itself is announced.
    __cpuid(EXTENDED_FEATURES).edx & (1 << 27) != 0
}

/// Whether the CPU has `clflushopt`; `clflush`, which is ordered and slower, is there in any case.
pub(super) fn has_clflushopt() -> bool {
    const STRUCTURED_FEATURES: u32 = 7;
    __cpuid(0).eax >= STRUCTURED_FEATURES && __cpuid_count(STRUCTURED_FEATURES, 0).ebx & (1 << 23) != 0
}

/// Puts the cache lines from `start` to `end` out of every cache, and waits until they are.
///
/// # Safety
/// The memory must be readable; `optimised` only where there is `clflushopt`.
pub(super) unsafe fn flush(start: usize, end: usize, optimised: bool) {
    for line in (start & !(LINE - 1)..end).step_by(LINE) {
        // SAFETY: the caller vouches for the memory and the instruction; nothing is written.
        unsafe {
            if optimised {
                asm!("clflushopt [{}]", in(reg) line, options(nostack, preserves_flags));
            } else {
                asm!("clflush [{}]", in(reg) line, options(nostack, preserves_flags));
            }
        }
    }
    // SAFETY: fences touch nothing; every x86-64 CPU has them.
    unsafe { asm!("sfence", "mfence", options(nostack, preserves_flags)) };
}

/// Whether AVX can be used: the CPU has it and the kernel saves its registers.
pub(super) fn has_avx() -> bool {
    is_x86_feature_detected!("avx")
}

/// Whether `xgetbv` with ecx = 1 tells dirty upper halves from clean ones.
///
/// The feature bit alone is not believed: a CPU may report the state as in use for good once it has been touched.
pub(super) fn tracks_upper_halves() -> bool {
    const STATE_COMPONENTS: u32 = 0xD;
    const XGETBV_OF_ONE: u32 = 1 << 2;
    if !has_avx() || __cpuid(0).eax < STATE_COMPONENTS {
        return false;
    }
    if __cpuid_count(STATE_COMPONENTS, 1).eax & XGETBV_OF_ONE == 0 {
        return false;
    }
    let clean: u32;
    let dirty: u32;
    // SAFETY: AVX and xgetbv of 1 were found above; no memory is touched, and the registers written are declared.
    // Code compiled for plain x86-64 keeps nothing in the upper half of ymm0, which ends as zero.
    unsafe {
        asm!(
            "vzeroupper",
            "xgetbv",
            "mov {clean:e}, eax",
            "vxorps ymm0, ymm0, ymm0",
            "vcmptrueps ymm0, ymm0, ymm0",
            "xgetbv",
            "mov {dirty:e}, eax",
            "vzeroupper",
            clean = out(reg) clean,
            dirty = out(reg) dirty,
            in("ecx") 1,
            out("eax") _,
            out("edx") _,
            out("xmm0") _,
            options(nomem, nostack),
        );
    }
    clean & XINUSE_YMM_UPPER == 0 && dirty & XINUSE_YMM_UPPER != 0
}
