//! What must hold for any bytes a stranger can send: one check for each parser of hostile input.
//!
//! A check takes raw input, gives it to the parser, and panics if something that must always hold does not: a limit on
//! memory, an invariant of what was accepted, agreement with a second reader. A refusal is as good an end as any. The
//! same checks are called by the fuzz targets (`fuzz/`, which need nightly Rust) and by the proptest twins (`tests/`
//! here, which run with all other tests), so that the two cannot come to test different things.
//!
//! # Layout
//!
//! - [`object`]: an ELF object through the loader, held against the `object` crate.
//! - [`frame`]: what a worker, a supervisor or a zygote sends, through decoder and answers.
//! - [`query`]: a query string, up to the job it makes.
//! - [`specification`]: kernel XML, up to the calls it allows.
//! - [`memory`]: how much a check may allocate.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod frame;
pub mod memory;
pub mod object;
pub mod query;
pub mod specification;
