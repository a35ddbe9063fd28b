//! Exact counts of what one call executes, on any CPU: instructions, loads, stores, branches, floating-point operations.
//!
//! The function's code is copied with a counter before each basic block, the copy is called once, and each block's
//! contents are taken as often as it ran. The method is that of BHive and of the first dynamic instrumentation tools, kept
//! small: no trace, no compilation at run time.
//!
//! Runs inside a locked worker on hostile bytes: no system call, no panic, bounded work, and under 4 MiB of the fixed
//! heap for the largest function that is taken (see [`MAX_STEPS`]); a small one takes 20 KiB.
//!
//! # Layout
//!
//! - [`analyse`]: `walk` follows the code from its entry, `candidates` guesses targets of indirect branches, `step`
//!   sorts branches, `features` says with `cpuid` which instruction set extensions are needed, `loops` tells loops from
//!   calls on the `graph` of blocks.
//! - [`instrument`]: `copy` writes the counting copy by way of `emit`, `data` is the memory it works with.
//! - `totals`: from counters to [`Counts`](webrunner_protocol::counts::Counts), with `flops`.
//! - [`stack_use`]: how deep the code takes its stack.
//! - [`pass`]: all of that for a job, in its order.
//!
//! # What is not exact
//!
//! A function that reads its own return address finds that of the copy. One that behaves differently each time it is called
//! is counted as it behaved that time.

mod candidates;
mod copy;
mod cpuid;
mod data;
mod emit;
mod features;
mod flops;
mod graph;
mod loops;
pub mod pass;
mod stack;
mod step;
mod totals;
mod walk;

pub use copy::{Instrumented, code_bytes, instrument};
pub use data::{Data, Ending, read, set_budget};
pub use features::{Features, missing};
pub use stack::stack_use;
pub use totals::totals;
pub use walk::{Analysis, Facts, MAX_BLOCKS, MAX_STEPS, MAX_TEXT_BYTES, Text, analyse};

/// Instructions of each encoding and each kind of branch: `vfmadd231ps ymm0, ymm1, [rdi]`, `vmovups [rdi], ymm0`,
/// `addsd xmm0, [rip]`, `push rax`, `jne`, `jmp rax`, `dec rcx`, `jne`, `call`, `vaddps zmm0, zmm0, zmm0`, `nop`,
/// `nop`, `ret`.
const REHEARSED: [u8; 41] = [
    0xc4, 0xe2, 0x75, 0xb8, 0x07, 0xc5, 0xfc, 0x11, 0x07, 0xf2, 0x0f, 0x58, 0x05, 0, 0, 0, 0, 0x50, 0x75,
    0x02, 0xff, 0xe0, 0x48, 0xff, 0xc9, 0x75, 0xe5, 0xe8, 0xe0, 0xff, 0xff, 0xff, 0x62, 0xf1, 0x7c, 0x48,
    0x58, 0xc0, 0x90, 0x90, 0xc3,
];

/// Counts a few instructions that never run, and forgets the answer.
///
/// The decoder builds its tables when it is first used, which takes half a millisecond. The zygote does this before it
/// forks, so that its workers find them built.
pub fn rehearse() {
    const TEXT: u64 = 0x2000_0000;
    let text = Text { bytes: &REHEARSED, address: TEXT, entry: TEXT };
    let analysis = analyse(text, &[]);
    let mut code = vec![0; code_bytes(&analysis)];
    let mut data = vec![0; Data::bytes(&analysis)];
    let _copy = instrument(&analysis, text, (&mut code, TEXT / 2), (&mut data, TEXT / 4));
    std::hint::black_box(totals(&analysis, &[1; 8]));
}
