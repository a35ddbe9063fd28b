//! The parts of the worker that need no process of their own, as a library so that they can be tested and fuzzed.
//!
//! The worker itself, with everything that touches the system, is the binary beside it.

pub mod load;
