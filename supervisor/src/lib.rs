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
//! - [`check`]: whether what a function computed is right. [`integrity`]: whether what a worker says can be true.
//! - [`machine`]: what this host is.
//! - [`metrics`], [`telemetry`], [`operators`], [`connections`]: what operators see and what keeps peers honest.
//! - [`self_check`], [`http_client`]: whether answers are right, asked from inside and from outside.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod catalogue;
pub mod check;
pub mod cli;
pub mod commands;
pub mod config;
pub mod connections;
pub mod cores;
pub mod envelope;
pub mod fault;
pub mod http_client;
pub mod integrity;
pub mod machine;
pub mod metrics;
pub mod negotiate;
pub mod operators;
pub mod pool;
pub mod problem;
pub mod rate_limit;
pub mod render;
pub mod request;
pub mod request_id;
pub mod routes;
pub mod self_check;
pub mod service;
pub mod startup;
pub mod summary;
pub mod telemetry;
