//! WebRunner's supervisor: HTTP service, command line, pool of workers.
//!
//! It holds every secret and every deadline, never maps a worker's memory, and treats each byte from a worker as
//! hostile. It knows nothing of how a worker loads or measures: `webrunner-protocol` is all they share.
//!
//! # Layout
//!
//! - [`cli`], [`settings`], [`config`], [`commands`]: what the user wrote, what it means, what it does.
//! - [`startup`], [`listener`], [`http`], [`service`], [`routes`], [`envelope`], [`record`]: the HTTP service.
//! - [`signals`], [`drain`], [`upkeep`], [`systemd`]: its life.
//! - [`request`], [`options`], [`catalogue`], [`negotiate`]: from a query to a job. [`request_id`]: what it is called.
//! - [`events`]: hardware events by name, and how the kernel is asked for them.
//! - [`pool`]: slots, zygotes, the queue. [`repeat`]: a job that is run twice.
//! - [`render`], [`summary`]: from a measurement to an answer; [`problem`], [`fault`]: from anything else.
//! - [`check`]: whether what a function computed is right. [`integrity`]: whether what a worker says can be true.
//! - [`machine`]: what this host is. [`cores`]: which of its cores are measured on.
//! - [`doctor`]: what this host offers, and whether known functions measure right on it; [`progress`]: how far a command
//!   has come.
//! - [`metrics`], [`telemetry`], [`trace_context`], [`operators`]: what operators see; [`reload`]: what they may change
//!   while it runs.
//! - [`tokens`], [`rate_limit`], [`connections`], [`paced`], [`descriptors`]: what keeps peers honest.
//! - [`self_check`], [`http_client`], [`token_file`]: whether answers are right, asked from inside and from outside.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod catalogue;
pub mod check;
pub mod cli;
pub mod commands;
pub mod config;
pub mod connections;
pub mod cores;
pub mod descriptors;
pub mod doctor;
pub mod drain;
pub mod envelope;
pub mod events;
pub mod fault;
pub mod http;
pub mod http_client;
pub mod integrity;
pub mod listener;
pub mod machine;
pub mod metrics;
pub mod negotiate;
pub mod operators;
pub mod options;
pub mod paced;
pub mod pool;
pub mod problem;
pub mod progress;
pub mod rate_limit;
pub mod record;
pub mod reload;
pub mod render;
pub mod repeat;
pub mod request;
pub mod request_id;
pub mod routes;
pub mod self_check;
pub mod service;
pub mod settings;
pub mod signals;
pub mod startup;
pub mod summary;
pub mod systemd;
pub mod telemetry;
pub mod token_file;
pub mod tokens;
pub mod trace_context;
pub mod upkeep;
