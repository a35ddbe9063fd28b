//! What the whole-program tests share: real executables, real HTTP over loopback, real workers.
//!
//! The tests see the program only as its users do: flags, files, HTTP, signals and `/proc`. Nothing here depends on the
//! crates under test, so a mistake shared by both sides of an interface shows. Two programs do: `counting_workers`
//! drives the pool with events that no host's users can ask for, and the corpus forges frames of the protocol.
//! Everything panics with what was expected and what came: a harness that goes on after a surprise tests nothing.
//!
//! # Layout
//!
//! - [`executables`]: the programs, built once in the profile of the test.
//! - [`service`]: a running service, and commands that run to their end.
//! - [`exposition`], [`prometheus`]: what the service tells Prometheus, and Prometheus itself.
//! - [`http`]: a client that can also be slow, rude and wrong.
//! - [`jobs`]: posting objects, and whether a good one is still measured right.
//! - [`objects`]: the committed objects, and the table that describes them.
//! - [`openapi`]: what the service says of its answers, held against them.
//! - [`processes`]: what `/proc` tells of the service's processes.
//! - [`soak`]: a mixed run of them all, and what is left of it.
//! - [`systemd`]: the manager's side of its protocols.
//! - [`wait`]: waiting for what must come about, without guessing how long it takes.
#![forbid(unsafe_code)]

pub mod executables;
pub mod exposition;
pub mod http;
pub mod jobs;
pub mod objects;
pub mod openapi;
pub mod processes;
pub mod prometheus;
pub mod service;
pub mod soak;
pub mod systemd;
pub mod wait;
