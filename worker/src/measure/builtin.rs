//! Functions whose duration in core cycles is known, and loops that tell how long a core cycle is.
//!
//! A chain of n dependent `add r64, r64` takes n cycles on every x86-64 core made so far. Adding an immediate is said
//! to be done at rename on some, so it is never used; the same goes for `lea` and `inc`. `imul r32, r32` takes 3 cycles
//! on all current cores, and a cycle lost is a third as large beside it: it is the steadier clock.
//!
//! The chains are called through the trampoline exactly as the function under test is. The clocks are not: they read
//! the time stamp themselves and are called by the harness on its own stack.

use std::arch::global_asm;

/// Dependent additions in the short chain.
pub(super) const SHORT_CHAIN: u64 = webrunner_protocol::passes::SHORT_CHAIN;

/// Dependent additions in the long chain.
pub(super) const LONG_CHAIN: u64 = webrunner_protocol::passes::LONG_CHAIN;

/// Core cycles of one turn of the add clock.
pub(super) const ADD_CLOCK_CYCLES: f64 = 32.0;

/// Core cycles of one turn of the imul clock.
pub(super) const IMUL_CLOCK_CYCLES: f64 = 96.0;

// Each begins on a line of its own, so that its speed does not depend on what the linker puts before it.
global_asm!(
    ".pushsection .text.webrunner_builtin, \"ax\", @progbits",
    ".p2align 6",
    ".globl webrunner_empty",
    ".hidden webrunner_empty",
    ".type webrunner_empty, @function",
    "webrunner_empty:",
    "ret",
    ".size webrunner_empty, . - webrunner_empty",
    ".p2align 6",
    ".globl webrunner_short_chain",
    ".hidden webrunner_short_chain",
    ".type webrunner_short_chain, @function",
    "webrunner_short_chain:",
    ".rept {short}",
    "add rax, rax",
    ".endr",
    "ret",
    ".size webrunner_short_chain, . - webrunner_short_chain",
    ".p2align 6",
    ".globl webrunner_long_chain",
    ".hidden webrunner_long_chain",
    ".type webrunner_long_chain, @function",
    "webrunner_long_chain:",
    ".rept {long}",
    "add rax, rax",
    ".endr",
    "ret",
    ".size webrunner_long_chain, . - webrunner_long_chain",
    ".popsection",
    short = const SHORT_CHAIN,
    long = const LONG_CHAIN,
);

/// A clock loop: `turns` in rdi, at least 1; gives the ticks from its first to its last turn in rax.
macro_rules! clock {
    ($name:literal, $($step:literal),+ $(,)?) => {
        global_asm!(
            ".pushsection .text.webrunner_builtin, \"ax\", @progbits",
            ".p2align 6",
            concat!(".globl ", $name),
            concat!(".hidden ", $name),
            concat!(".type ", $name, ", @function"),
            concat!($name, ":"),
            "mov eax, 1",
            "lfence",
            "rdtsc",
            "lfence",
            "shl rdx, 32",
            "lea rsi, [rdx + rax]",
            ".p2align 6",
            "2:",
            $($step),+,
            "dec rdi",
            "jnz 2b",
            "lfence",
            "rdtsc",
            "shl rdx, 32",
            "add rax, rdx",
            "sub rax, rsi",
            "ret",
            concat!(".size ", $name, ", . - ", $name),
            ".popsection",
        );
    };
}

clock!("webrunner_add_clock", ".rept 32", "add rax, rax", ".endr");
clock!("webrunner_imul_clock", ".rept 32", "imul eax, eax", ".endr");
clock!(
    "webrunner_fenced_chains",
    ".rept 64",
    "add rax, rax",
    ".endr",
    "lfence",
    ".rept 64",
    "add rcx, rcx",
    ".endr",
    "lfence",
);

unsafe extern "sysv64" {
    fn webrunner_empty();
    fn webrunner_short_chain();
    fn webrunner_long_chain();
    fn webrunner_add_clock(turns: u64) -> u64;
    fn webrunner_imul_clock(turns: u64) -> u64;
    fn webrunner_fenced_chains(turns: u64) -> u64;
}

/// Address of a function that returns at once.
pub(super) fn empty() -> u64 {
    webrunner_empty as *const () as u64
}

/// Address of the chain of [`SHORT_CHAIN`] additions.
pub(super) fn short_chain() -> u64 {
    webrunner_short_chain as *const () as u64
}

/// Address of the chain of [`LONG_CHAIN`] additions.
pub(super) fn long_chain() -> u64 {
    webrunner_long_chain as *const () as u64
}

/// Ticks that `turns` turns of dependent additions take, the reading of the stamps included.
pub(super) fn add_clock(turns: u64) -> u64 {
    // SAFETY: the loop above touches no memory and only registers a callee may change; 0 turns would never end.
    unsafe { webrunner_add_clock(turns.max(1)) }
}

/// Ticks that `turns` turns of dependent multiplications take, the reading of the stamps included.
pub(super) fn imul_clock(turns: u64) -> u64 {
    // SAFETY: as for the add clock.
    unsafe { webrunner_imul_clock(turns.max(1)) }
}

/// Ticks that `turns` turns of two independent chains of 64 additions take, with a fence behind each chain.
pub(super) fn fenced_chains(turns: u64) -> u64 {
    // SAFETY: as for the add clock.
    unsafe { webrunner_fenced_chains(turns.max(1)) }
}
