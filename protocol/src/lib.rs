//! What WebRunner's processes say to each other, and how those messages are framed and bounded.
//!
//! This crate owns the types that cross a socket, the limits that hold before anything is allocated, and the one
//! module ([`codec`]) that knows which serialisation is used. It holds no system call, nothing asynchronous and no policy.
//!
//! Trust: the supervisor treats every byte a worker sends as hostile, so decoding never panics, never allocates past
//! its limit, and a value that is well-formed but absurd is refused by [`Reply::check`](reply::Reply::check).
//!
//! # Layout
//!
//! - [`job`], [`plan`] and [`options`]: supervisor to worker; what to run, with what arguments, measured how.
//! - [`reply`], [`counts`], [`stack`], [`refusal`] and [`fault`]: worker to supervisor; exactly one [`reply::Reply`]
//!   for each job.
//! - [`events`] and [`passes`]: hardware events as the kernel takes them, and what was counted of them.
//! - [`fill`]: what buffers hold before the first call. [`check`]: what they hold before the calls that are checked.
//! - [`control`]: supervisor to zygote and back. [`ids`]: numbers of cores, jobs and workers, each a type of its own.
//! - [`frame`], [`codec`] and [`limits`]: how a message becomes bytes, and how many it may be.
#![forbid(unsafe_code)]

pub mod check;
pub mod codec;
pub mod control;
pub mod counts;
pub mod events;
pub mod fault;
pub mod fill;
pub mod frame;
pub mod ids;
pub mod job;
pub mod limits;
pub mod options;
pub mod passes;
pub mod plan;
pub mod refusal;
pub mod reply;
pub mod stack;

/// Version of the messages in this crate; both ends of a socket must agree on it exactly.
pub const PROTOCOL_VERSION: u16 = 1;
