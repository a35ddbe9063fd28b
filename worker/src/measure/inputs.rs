//! The memory a function's pointers point to, as far as the harness touches it between batches.
#![forbid(unsafe_code)]

use super::host::Host;

/// What the harness may ask for between batches; never while a batch runs.
pub trait Inputs {
    /// Makes it hold again what it held before the first call.
    fn restore(&mut self);

    /// Puts all of it out of every cache, with [`flush`](super::flush).
    fn flush(&mut self, host: &Host);
}

/// The inputs of a function without pointers.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoInputs;

impl Inputs for NoInputs {
    fn restore(&mut self) {}

    fn flush(&mut self, _host: &Host) {}
}
