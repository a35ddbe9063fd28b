//! The attack corpus: every row of the table in `docs/security.md` as a test through real HTTP.
//!
//! A test is named for what it tries and asserts what the user sees. After each attack [`target::Target::unharmed_by`]
//! asserts what must hold whatever was tried: the next job is right, nothing is left, nothing has leaked. Where the
//! lock is what stops an attack, the same bytes are given to workers without one, which shows that they would have done
//! harm; [`table`] keeps rows and tests together.
//!
//! # Layout
//!
//! - [`target`]: the services under attack. [`outcome`]: what a user sees. [`kernel_log`]: what the kernel says.
//! - [`numbers`], [`gates`], [`calls`]: rows 1 to 20, system calls.
//! - [`frames`]: rows 21, 26 to 29, 54 and 55, what is sent in the place of a reply.
//! - [`resources`]: rows 22, 25 and 30, time, memory and crashes.
//! - [`memory`]: rows 23, 24, 31 to 36, 52 and 53. [`control_flow`]: rows 37 to 41. [`instructions`]: rows 42 to 51
//!   and 56.
//! - [`object_files`]: rows E1 to E11, what is wrong with the file. [`elf`] spoils files.
//! - [`second_line`]: what stops the same attacks where the filter is not.
//! - [`clients`]: those of rows C1 to C22, what a client does, that other test programs do not have.

mod calls;
mod clients;
mod control_flow;
mod elf;
mod frames;
mod gates;
mod instructions;
mod kernel_log;
mod memory;
mod numbers;
mod object_files;
mod outcome;
mod resources;
mod second_line;
mod table;
mod target;
