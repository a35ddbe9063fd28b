//! WebRunner's zygote and workers: everything that runs next to untrusted code, or is it.
//!
//! One executable, `webrunner-worker`, started by the supervisor with an empty environment and one socket. It reads as
//! the life of a worker:
//!
//! # Layout
//!
//! - [`zygote`]: takes its configuration, locks itself, forks workers and reports their ends. [`job_sockets`]: what it
//!   gives them.
//! - [`lockdown`] and [`policy`]: the layers of isolation, in order, and the system calls that are left.
//! - [`worker`]: set-up, one job, one reply, exit.
//! - [`kernel_job`]: the job there is today; uses [`load`] (objects), [`arena`] and [`way_tags`] (addresses), [`buffers`]
//!   (what lies there), [`measure`] (calls and cycles) and [`count`] (instructions).
//! - [`check`]: showing what the function computes.
//! - [`counters`] and [`clock`]: events this host can count, and its clock.
//! - [`fault`]: what is reported when the function does not return.
//! - [`heap`]: the allocator, since a locked worker can map nothing; [`space`]: the memory it hands out, and the job's
//!   frame.
//! - [`sys`]: system calls and raw memory, fenced.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod arena;
pub mod buffers;
pub mod check;
pub mod clock;
pub mod count;
pub mod counters;
pub mod fault;
pub mod heap;
pub mod job_sockets;
pub mod kernel_job;
pub mod load;
pub mod lockdown;
pub mod measure;
pub mod policy;
pub mod space;
pub mod sys;
pub mod way_tags;
pub mod worker;
pub mod zygote;
