//! The filter: its table, its program run by hand, and the whole of it on this kernel.

mod alone;
mod bpf;
mod conditions;
mod kernel;
mod keys;
mod model;
mod table;
mod verdicts;
