//! What the harness must know about the machine before it measures; found out once, before workers are forked.
//!
//! `cpuid` traps in every virtual machine and costs microseconds, so nothing of this is asked again for a job.
#![forbid(unsafe_code)]

use super::builtin::{self, IMUL_CLOCK_CYCLES};
use super::call::PreparedCall;
use super::caller::{Stamp, calling_cycles};
use super::cpu;
use super::trampoline::Session;
use crate::sys::rseq;

/// The machine as the harness sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Host {
    pub(super) ticks_per_us: f64,
    pub(super) stamp: Stamp,
    pub(super) avx: bool,
    pub(super) tracks_upper: bool,
    pub(super) core_tag: bool,
    pub(super) clflushopt: bool,
    /// Whether the kernel tells when the core was taken away.
    pub(super) tells_preemption: bool,
    fenced_chains_cycles: f64,
    /// What calling costs when nothing else uses the core, in cycles; infinite if no readings could be had.
    pub(super) calling_cycles: f64,
}

impl Host {
    /// Looks at the CPU. `ticks_per_us` is the speed of the time stamp counter, which only budgets depend on.
    ///
    /// Takes some seven milliseconds, up to fifty where the core is busy, and makes no system call.
    #[must_use]
    pub fn probe(session: &mut Session, ticks_per_us: f64) -> Self {
        let avx = cpu::has_avx();
        session.load(&PreparedCall::without_arguments(0, 0), avx, false);
        let stamp = Stamp::calibrate(session);
        Self {
            // A speed nobody could have meant would make budgets endless or empty.
            ticks_per_us: if ticks_per_us.is_finite() { ticks_per_us.clamp(1.0, 1e6) } else { 1e3 },
            stamp,
            calling_cycles: calling_cycles(session, stamp, avx),
            avx,
            tracks_upper: cpu::tracks_upper_halves(),
            core_tag: cpu::has_core_tag(),
            clflushopt: cpu::has_clflushopt(),
            tells_preemption: rseq::is_registered(),
            fenced_chains_cycles: fenced_chains_cycles(),
        }
    }

    /// Core cycles that two independent chains of 64 additions take with a fence behind each: at least 128 where fences
    /// serialise, 64 where they do not.
    #[must_use]
    pub fn fenced_chains_cycles(&self) -> u32 {
        self.fenced_chains_cycles.round() as u32
    }

    pub(super) fn ticks(&self, microseconds: f64) -> f64 {
        microseconds * self.ticks_per_us
    }
}

/// The fastest of some readings: what disturbs one makes it slower, and a fence that does not serialise is never slow.
fn fenced_chains_cycles() -> f64 {
    const READINGS: usize = 16;
    const TURNS: u64 = 64;
    /// Twice as many turns less as many: the stamps cancel out.
    fn ticks_per_turn(clock: fn(u64) -> u64) -> f64 {
        let fastest = |turns| (0..READINGS).map(|_| clock(turns)).min().unwrap_or_default();
        fastest(2 * TURNS).saturating_sub(fastest(TURNS)) as f64 / TURNS as f64
    }
    let cycle = (ticks_per_turn(builtin::imul_clock) / IMUL_CLOCK_CYCLES).max(f64::MIN_POSITIVE);
    (ticks_per_turn(builtin::fenced_chains) / cycle).clamp(0.0, 1e6)
}
