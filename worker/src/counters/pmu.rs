//! The trait behind which performance counters stand, and the kernel behind it.
#![forbid(unsafe_code)]

use webrunner_protocol::events::EncodedEvent;

pub use crate::sys::perf::{GroupReading, Role};
use crate::sys::{Errno, perf, process};

/// What opens, starts, stops and reads groups of events: the kernel, or a stand-in for it in tests.
pub trait Pmu {
    /// Opens an event on this process, for user mode only; gives its descriptor.
    ///
    /// # Errors
    /// `EINVAL` or `ENOSPC` where it does not fit into its group, else why it cannot be counted at all.
    fn open(&mut self, event: &EncodedEvent, role: Role) -> Result<i32, Errno>;

    /// Closes an event.
    fn close(&mut self, descriptor: i32);

    /// Puts a group on the hardware. Where there is no place for it, it gives no readings.
    fn start(&mut self, leader: i32);

    /// Takes a group off the hardware.
    fn stop(&mut self, leader: i32);

    /// Reads a group of so many members; `None` if there is no reading, as of a pinned group that lost its place.
    fn read(&mut self, leader: i32, members: usize) -> Option<GroupReading>;
}

/// The kernel, asked with the set-up key.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelPmu;

impl Pmu for KernelPmu {
    fn open(&mut self, event: &EncodedEvent, role: Role) -> Result<i32, Errno> {
        perf::open(event.kind, event.config, role)
    }

    fn close(&mut self, descriptor: i32) {
        process::close(descriptor);
    }

    fn start(&mut self, leader: i32) {
        perf::switch(leader, true);
    }

    fn stop(&mut self, leader: i32) {
        perf::switch(leader, false);
    }

    fn read(&mut self, leader: i32, members: usize) -> Option<GroupReading> {
        perf::read_group(leader, members)
    }
}
