//! What the rules are held against: a case, and what follows from it for several of them.

use webrunner_protocol::control::Usage;
use webrunner_protocol::job::Effort;

use super::Case;
use crate::summary::Summary;

/// Microseconds by which two clocks and two accounts of the same time may differ, beside one part in fifty.
pub(super) const SLACK_US: f64 = 1e3;

/// Longest that a core is taken away at a time, nearly always.
const PREEMPTED_US: f64 = 20e3;

/// A case with what several rules need.
pub(super) struct Facts<'a> {
    pub(super) case: &'a Case<'a>,
    pub(super) usage: Option<Usage>,
    /// Median of a call's isolated cycles.
    pub(super) cycles: f64,
    /// Cycles of all calls that are reported, their overhead included.
    pub(super) all_cycles: f64,
    /// Microseconds of a core cycle.
    pub(super) cycle_us: Option<f64>,
    /// Calls in all rounds that are reported.
    pub(super) calls: f64,
}

impl<'a> Facts<'a> {
    pub(super) fn of(case: &'a Case<'a>) -> Self {
        let samples = &case.measurement.cycles;
        let median = |samples: &[f64]| Summary::median_of(samples).unwrap_or_default().max(0.0);
        let calls = f64::from(samples.calls_per_round) * samples.isolated.len() as f64;
        let cycles = median(&samples.isolated);
        // Of the isolated batches alone. The others of a round took time too, so the core was used for no less than this.
        let isolated = calls * (cycles + samples.overhead_cycles.max(0.0));
        let cycle_us =
            (case.ticks_per_ms > 0).then(|| samples.ticks_per_cycle * 1e3 / case.ticks_per_ms as f64);
        Self {
            case,
            usage: case.exit.map(|(_, usage)| usage),
            cycles,
            all_cycles: isolated,
            cycle_us: cycle_us.filter(|us| *us > 0.0),
            calls,
        }
    }

    /// Microseconds of CPU time it used.
    pub(super) fn cpu_us(&self) -> Option<f64> {
        self.usage.map(|usage| usage.user_us.saturating_add(usage.system_us) as f64)
    }

    /// Most that a clock can have shown it while it used that CPU time.
    pub(super) fn clock_us(&self) -> Option<f64> {
        let preempted = self.usage?.involuntary_switches as f64 * PREEMPTED_US;
        Some(1.02 * self.cpu_us()? + SLACK_US + preempted)
    }

    /// Microseconds of all phases it reports.
    pub(super) fn phases_us(&self) -> f64 {
        let phases = &self.case.measurement.phases;
        let all = [phases.load_ns, phases.fill_ns, phases.measure_ns, phases.count_ns];
        all.into_iter().map(|ns| ns as f64 / 1e3).sum()
    }

    /// Instructions of one call that can each be one of the eight.
    pub(super) fn instructions(&self) -> Option<f64> {
        let counts = self.case.measurement.counts.whole()?;
        Some(counts.instructions.saturating_sub(counts.branches) as f64)
    }

    pub(super) fn is_quick(&self) -> bool {
        self.case.effort == Effort::Quick
    }
}
