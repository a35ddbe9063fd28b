//! How many calls make a batch of a given length.
#![forbid(unsafe_code)]

use super::caller::Caller;
use super::trampoline::Target;

/// Most calls in a batch; keeps a counter that was tampered with from asking for years.
const MOST_CALLS: f64 = 1e6;

/// What is known of one target's speed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizer {
    target: Target,
    ticks_per_call: f64,
}

impl Sizer {
    /// Begins with a guess.
    pub(super) fn new(target: Target, ticks_per_call: f64) -> Self {
        Self { target, ticks_per_call }
    }

    /// Calls that take about `ticks`; at least one.
    pub(super) fn calls(&self, ticks: f64) -> u64 {
        (ticks / self.ticks_per_call.max(1.0)).clamp(1.0, MOST_CALLS) as u64
    }

    /// Makes a batch of about `ticks`, learns from it, and gives ticks per call and the number of calls.
    pub(super) fn batch(&mut self, caller: &mut Caller<'_>, ticks: f64) -> (f64, u64) {
        let calls = self.calls(ticks);
        self.ticks_per_call = caller.batch(self.target, calls) / calls as f64;
        (self.ticks_per_call, calls)
    }

    /// Makes batches of growing length until the speed is known to within what `ticks` of it can show.
    ///
    /// A single call reads too slow, by the misses of a cold loop, so each step trusts the last only so far.
    pub(super) fn learn(&mut self, caller: &mut Caller<'_>, ticks: f64) {
        for part in [0.05, 0.25, 0.5] {
            if self.ticks_per_call >= ticks {
                return;
            }
            self.batch(caller, ticks * part);
        }
    }
}
