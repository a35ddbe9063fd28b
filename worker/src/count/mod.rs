//! Exact counts of what one call executes, on any CPU: instructions, loads, stores, branches, floating-point operations.
//!
//! The function's code is copied with a counter before each basic block, the copy is called once, and each block's
//! contents are taken as often as it ran. The method is that of BHive and of the first dynamic instrumentation tools, kept
//! small: no trace, no compilation at run time.
//!
//! Runs inside a locked worker on hostile bytes: no system call, no panic, bounded work, and a few hundred KiB of the
//! fixed heap for the largest function that is taken (see [`MAX_STEPS`]).
//!
//! # Layout
//!
//! - [`analyse`]: `walk` follows the code from its entry, `candidates` guesses targets of indirect branches, `step` sorts
//!   branches, `features` says which instruction set extensions are needed.
//! - [`instrument`]: `copy` writes the counting copy by way of `emit`, `data` is the memory it works with.
//! - [`totals`]: from counters to [`Counts`](webrunner_protocol::counts::Counts), with `flops`.
//! - [`pass`]: all of that for a job, in its order.
//!
//! # What is not exact
//!
//! A function that reads its own return address finds that of the copy. One that behaves differently each time it is called
//! is counted as it behaved that time.

mod candidates;
mod copy;
mod data;
mod emit;
mod features;
mod flops;
pub mod pass;
mod step;
mod totals;
mod walk;

pub use copy::{Instrumented, code_bytes, instrument};
pub use data::{Data, Ending, read, set_budget};
pub use features::{Features, missing};
pub use totals::totals;
pub use walk::{Analysis, Facts, MAX_BLOCKS, MAX_STEPS, MAX_TEXT_BYTES, Text, analyse};
