//! The parts of a WebRunner worker that can be built and tested apart from the process they run in.
//!
//! The program (`main.rs`) owns processes, the lock and every system call; what is here makes none.

pub mod measure;
