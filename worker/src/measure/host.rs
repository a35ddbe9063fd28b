//! What the harness must know about the machine before it measures; found out once, before workers are forked.
//!
//! `cpuid` traps in every virtual machine and costs microseconds, so nothing of this is asked again for a job.
#![forbid(unsafe_code)]

use super::call::PreparedCall;
use super::caller::Stamp;
use super::cpu;
use super::trampoline::Session;

/// The machine as the harness sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Host {
    pub(super) ticks_per_us: f64,
    pub(super) stamp: Stamp,
    pub(super) avx: bool,
    pub(super) tracks_upper: bool,
    pub(super) core_tag: bool,
}

impl Host {
    /// Looks at the CPU. `ticks_per_us` is the speed of the time stamp counter, which only budgets depend on.
    ///
    /// Takes some 100 µs and makes no system call.
    #[must_use]
    pub fn probe(session: &mut Session, ticks_per_us: f64) -> Self {
        let avx = cpu::has_avx();
        session.load(&PreparedCall::without_arguments(0, 0), avx, false);
        Self {
            // A speed nobody could have meant would make budgets endless or empty.
            ticks_per_us: if ticks_per_us.is_finite() { ticks_per_us.clamp(1.0, 1e6) } else { 1e3 },
            stamp: Stamp::calibrate(session),
            avx,
            tracks_upper: cpu::tracks_upper_halves(),
            core_tag: cpu::has_core_tag(),
        }
    }

    pub(super) fn ticks(&self, microseconds: f64) -> f64 {
        microseconds * self.ticks_per_us
    }
}
