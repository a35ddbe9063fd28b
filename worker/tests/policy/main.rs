//! The filter: its table, its program run by hand, and the whole of it on this kernel.

mod bpf;
mod model;
mod table;
mod verdicts;
