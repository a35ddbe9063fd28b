//! The proptest twins of the fuzz targets: the same checks on the same seeds, bent at random, in every test run.
//!
//! A fuzzer finds its way by coverage and is run for minutes; these take a few seconds and go a few steps from each
//! seed. What a fuzzer finds is put among the seeds, so that it is tried here from then on.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod elf;
mod frame;
mod mutation;
mod object;
mod query;
mod seeds;
mod specification;
