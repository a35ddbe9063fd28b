//! WebRunner's supervisor: HTTP service, command line, pool of workers.
//!
//! It holds every secret and every deadline, never maps a worker's memory, and treats each byte from a worker as
//! hostile. It knows nothing of how a worker loads or measures: `webrunner-protocol` is all they share.
//!
//! # Layout
//!
//! - [`cli`], [`config`], [`commands`]: what the user wrote, what it means, what it does.
//! - [`startup`], [`service`], [`routes`], [`envelope`]: the HTTP service.
//! - [`request`], [`catalogue`], [`negotiate`]: from a query to a job.
//! - [`pool`]: slots, zygotes, the queue.
//! - [`render`], [`summary`]: from a measurement to an answer; [`problem`], [`fault`]: from anything else.
//! - [`machine`]: what this host is.
//! - [`doctor`]: what this host offers, and whether known functions measure right on it; [`progress`]: how far it has come.
//! - [`metrics`], [`telemetry`], [`connections`]: what operators see and what keeps peers honest.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod catalogue;
pub mod cli;
pub mod commands;
pub mod config;
pub mod connections;
pub mod cores;
pub mod doctor;
pub mod envelope;
pub mod fault;
pub mod machine;
pub mod metrics;
pub mod negotiate;
pub mod pool;
pub mod problem;
pub mod progress;
pub mod rate_limit;
pub mod render;
pub mod request;
pub mod request_id;
pub mod routes;
pub mod service;
pub mod startup;
pub mod summary;
pub mod telemetry;
