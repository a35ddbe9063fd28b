//! How many calls make a batch of a given length.
//!
//! Any single reading may be absurd: too slow when the core was taken away meanwhile, too fast when a short batch fell
//! between two steps of the time stamp counter. A batch sized on one would spoil every round that follows.
#![forbid(unsafe_code)]

use super::caller::Caller;
use super::trampoline::Target;

/// Most calls in a batch.
const MOST_CALLS: u64 = 1_000_000;

/// How much longer than any before a batch may be: bounds what one reading that was too fast can do.
const GROWTH: u64 = 16;

/// What is known of one target's speed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizer {
    target: Target,
    ticks_per_call: f64,
    /// Calls in the batch that showed it.
    calls: u64,
}

impl Sizer {
    /// Begins with a guess, or with one call measured.
    pub(super) fn new(target: Target, ticks_per_call: f64) -> Self {
        Self { target, ticks_per_call, calls: 1 }
    }

    /// What a call is known to take.
    pub(super) fn ticks_per_call(&self) -> f64 {
        self.ticks_per_call
    }

    /// Calls that take about `ticks`; at least one.
    pub(super) fn calls(&self, ticks: f64) -> u64 {
        let wanted = (ticks / self.ticks_per_call.max(1.0)) as u64;
        wanted.clamp(1, self.calls.saturating_mul(GROWTH).min(MOST_CALLS))
    }

    /// Makes a batch of about `ticks`, learns from it, and gives ticks per call and the number of calls.
    pub(super) fn batch(&mut self, caller: &mut Caller<'_>, ticks: f64) -> (f64, u64) {
        let calls = self.calls(ticks);
        let ticks_per_call = caller.batch(self.target, calls) / calls as f64;
        self.note(ticks_per_call, calls);
        (ticks_per_call, calls)
    }

    /// Makes a batch of each of these parts of `ticks`, and learns from them.
    ///
    /// Stops at a function of which one call fills a batch: every further one would only take time.
    pub(super) fn learn(&mut self, caller: &mut Caller<'_>, ticks: f64, parts: &[f64]) {
        for part in parts {
            let before = self.ticks_per_call;
            let (now, _) = self.batch(caller, ticks * part);
            // Two calls in a row that long are no accident.
            if before.min(now) >= ticks && before <= 2.0 * now {
                return;
            }
        }
    }

    /// Believes the longest batch, and any that was faster: nothing makes code faster by accident, but for the counter's
    /// step, which a longer batch then shows.
    fn note(&mut self, ticks_per_call: f64, calls: u64) {
        if calls > self.calls || ticks_per_call < self.ticks_per_call {
            self.ticks_per_call = ticks_per_call;
            self.calls = calls;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_takes_at_least_one_call_and_grows_step_by_step() {
        let mut sizer = Sizer::new(Target::Function(0), 1e9);
        assert_eq!(sizer.calls(1e3), 1);
        sizer.note(0.0, 1);
        assert_eq!(sizer.calls(1e12), GROWTH);
        sizer.note(10.0, GROWTH);
        assert_eq!(sizer.calls(1000.0), 100);
        sizer.note(0.0, u64::MAX);
        assert_eq!(sizer.calls(f64::INFINITY), MOST_CALLS);
    }

    #[test]
    fn one_reading_that_was_disturbed_is_forgotten() {
        let mut sizer = Sizer::new(Target::Function(0), 100.0);
        for (ticks_per_call, calls) in [(100.0, 16), (9000.0, 100), (101.0, 1), (100.5, 50)] {
            sizer.note(ticks_per_call, calls);
        }
        assert_eq!(sizer.calls(10_050.0), 100);
    }
}
