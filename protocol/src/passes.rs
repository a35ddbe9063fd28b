//! What hardware counters read, pass by pass, and what follows from it.
//!
//! A pass is one group of events that was on the hardware for whole rounds. Each pass counts cycles and instructions too,
//! so passes can be held against each other. Counts are over batches of calls and still hold what reading and calling
//! cost; [`PassCounts::per_call`] takes that out. Worker and supervisor judge by the same two functions here: the one to
//! repeat a pass, the other to state a doubt.

use serde::{Deserialize, Serialize};

use crate::events::RefusedEvent;
use crate::limits::{MAX_EVENTS, MAX_GROUP, MAX_PASSES};
use crate::reply::{ReplyError, check_count};

/// Dependent additions in the shorter chain whose counts a pass reads.
pub const SHORT_CHAIN: u64 = 64;

/// Dependent additions in the longer one.
pub const LONG_CHAIN: u64 = 256;

/// Place of cycles in every pass.
pub const CYCLES: usize = 0;

/// Place of instructions in every pass.
pub const INSTRUCTIONS: usize = 1;

/// Places before those of a pass's own events.
pub const LEADING: usize = 2;

/// How far the cycles of two passes may lie apart.
const CYCLES_AGREE: f64 = 0.01;

/// All that hardware counters gave for one job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventCounts {
    /// Passes made or tried, at most [`MAX_PASSES`].
    pub passes: Vec<PassCounts>,
    /// Events of a job's own set that could not be opened; those of the usual set were reported by the zygote.
    pub refused: Vec<RefusedEvent>,
}

/// One pass.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PassCounts {
    /// Its events by number, cycles and instructions left out.
    pub events: Vec<u16>,
    /// Rounds that count.
    pub rounds: u32,
    /// Rounds in which the group gave no reading, or was not on the hardware all the time; they do not count.
    pub lost: u32,
    /// Times it was made anew because it did not agree with the others.
    pub repeats: u32,
    /// Calls in each batch.
    pub calls: BatchCalls,
    /// Median counts of a batch: cycles, instructions, then the events in order. Empty where no round counts.
    pub counts: Vec<BatchCounts>,
}

/// Calls in the batches of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BatchCalls {
    /// Of the chain of [`SHORT_CHAIN`].
    pub short_chain: u64,
    /// Of the function.
    pub function: u64,
    /// Of the chain of [`LONG_CHAIN`].
    pub long_chain: u64,
}

/// What one counter counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BatchCounts {
    /// Over a batch of no calls: what reading costs.
    pub nothing: u64,
    /// Over the batch of the short chain.
    pub short_chain: u64,
    /// Over the batch of the function.
    pub function: u64,
    /// Over the batch of the long chain.
    pub long_chain: u64,
}

/// A count for one call of the function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PerCall {
    /// The function's own.
    pub function: f64,
    /// What calling it costs: in every call, taken out of the above.
    pub calling: f64,
}

impl BatchCounts {
    /// A line through the two chains gives what calling costs, as for cycles: a = T(64) − 64·b.
    #[must_use]
    pub fn per_call(&self, calls: BatchCalls) -> PerCall {
        let each = |count: u64, calls: u64| (count as f64 - self.nothing as f64) / calls.max(1) as f64;
        let short_chain = each(self.short_chain, calls.short_chain);
        let slope =
            (each(self.long_chain, calls.long_chain) - short_chain) / (LONG_CHAIN - SHORT_CHAIN) as f64;
        let calling = short_chain - SHORT_CHAIN as f64 * slope;
        PerCall { function: each(self.function, calls.function) - calling, calling }
    }
}

impl PassCounts {
    /// The count at a place of the pass for one call; `None` where the pass has none.
    #[must_use]
    pub fn per_call(&self, place: usize) -> Option<PerCall> {
        Some(self.counts.get(place)?.per_call(self.calls))
    }

    /// Whether calling costs a whole number of instructions, as it must if nothing else was counted.
    #[must_use]
    pub fn calls_in_whole_instructions(&self) -> bool {
        self.per_call(INSTRUCTIONS).is_none_or(|instructions| {
            // A batch has thousands of calls: one instruction too many shows as less than a thousandth.
            (instructions.calling - instructions.calling.round()).abs() < 1e-6
        })
    }

    pub(crate) fn check(&self) -> Result<(), ReplyError> {
        check_count("events of a pass", self.events.len(), 0, MAX_GROUP - LEADING)?;
        let counts = self.counts.len();
        if counts != 0 && counts != self.events.len() + LEADING {
            return Err(ReplyError::Figure { what: "number of counts in a pass" });
        }
        let calls = [self.calls.short_chain, self.calls.function, self.calls.long_chain];
        if counts != 0 && (self.rounds == 0 || calls.contains(&0)) {
            return Err(ReplyError::Figure { what: "calls of a pass" });
        }
        Ok(())
    }
}

impl EventCounts {
    pub(crate) fn check(&self) -> Result<(), ReplyError> {
        check_count("passes", self.passes.len(), 0, MAX_PASSES)?;
        check_count("refused events", self.refused.len(), 0, MAX_EVENTS)?;
        self.passes.iter().try_for_each(PassCounts::check)
    }

    /// Every event that was counted: its pass, and its place there.
    pub fn counted(&self) -> impl Iterator<Item = (u16, &PassCounts, usize)> {
        let made = self.passes.iter().filter(|pass| !pass.counts.is_empty());
        made.flat_map(|pass| {
            pass.events.iter().enumerate().map(move |(index, &event)| (event, pass, LEADING + index))
        })
    }
}

/// Which passes do not agree with the others: another number of instructions in a batch than most passes have, or cycles
/// further than 1 % from the median. Passes without counts are judged neither way.
#[must_use]
pub fn disagreeing(passes: &[PassCounts]) -> Vec<usize> {
    let batch = |pass: &PassCounts, place: usize| pass.counts.get(place).map(|counts| counts.function);
    let instructions = usual(passes.iter().filter_map(|pass| batch(pass, INSTRUCTIONS)));
    let cycles = median(passes.iter().filter_map(|pass| batch(pass, CYCLES)));
    let (Some(instructions), Some(cycles)) = (instructions, cycles) else { return Vec::new() };
    let differs = |pass: &PassCounts| {
        batch(pass, INSTRUCTIONS).is_some_and(|found| found != instructions)
            || batch(pass, CYCLES)
                .is_some_and(|found| found.abs_diff(cycles) as f64 > CYCLES_AGREE * cycles as f64)
    };
    (0..passes.len()).filter(|&index| differs(&passes[index])).collect()
}

/// The most frequent number; of several the least, since disturbances only add.
fn usual(numbers: impl Iterator<Item = u64>) -> Option<u64> {
    let mut sorted: Vec<u64> = numbers.collect();
    sorted.sort_unstable();
    let times = |number: &u64| sorted.iter().filter(|other| *other == number).count();
    sorted.iter().rev().copied().max_by_key(times)
}

/// The median; of an even number of numbers the lower of the two.
#[must_use]
pub fn median(numbers: impl Iterator<Item = u64>) -> Option<u64> {
    let mut sorted: Vec<u64> = numbers.collect();
    sorted.sort_unstable();
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: BatchCalls = BatchCalls { short_chain: 700, function: 1000, long_chain: 200 };

    /// What an honest counter shows: `reading` once a batch, `calling` and the work in each call.
    fn counts(reading: u64, calling: u64, per_add: u64, function: u64) -> BatchCounts {
        BatchCounts {
            nothing: reading,
            short_chain: reading + CALLS.short_chain * (calling + SHORT_CHAIN * per_add),
            function: reading + CALLS.function * (calling + function),
            long_chain: reading + CALLS.long_chain * (calling + LONG_CHAIN * per_add),
        }
    }

    fn pass(cycles: u64, instructions: u64) -> PassCounts {
        let counts = vec![counts(90, 37, 1, cycles), counts(120, 41, 1, instructions)];
        PassCounts { rounds: 5, calls: CALLS, counts, ..PassCounts::default() }
    }

    #[test]
    fn what_reading_and_calling_cost_is_taken_out_of_every_counter() {
        for (per_add, function) in [(1, 3000), (0, 7), (2, 0)] {
            let found = counts(250, 41, per_add, function).per_call(CALLS);
            assert!((found.function - function as f64).abs() < 1e-9, "{found:?}");
            assert!((found.calling - 41.0).abs() < 1e-9, "{found:?}");
        }
    }

    #[test]
    fn calling_that_costs_no_whole_number_of_instructions_is_found() {
        assert!(pass(100, 50).calls_in_whole_instructions());
        let mut disturbed = pass(100, 50);
        disturbed.counts[INSTRUCTIONS].short_chain += 3;
        assert!(!disturbed.calls_in_whole_instructions());
        assert!(PassCounts::default().calls_in_whole_instructions(), "a pass without counts is not judged");
    }

    #[test]
    fn passes_agree_on_instructions_exactly_and_on_cycles_within_one_percent() {
        let good = [pass(1000, 50), pass(1005, 50), pass(995, 50)];
        assert_eq!(disturbed(&good), []);
        let [first, second, third] = good;
        let more = pass(1000, 51);
        assert_eq!(disturbed(&[first.clone(), more, second.clone()]), [1]);
        let slow = pass(1040, 50);
        assert_eq!(disturbed(&[slow, second, third.clone(), first]), [0]);
        assert_eq!(disturbed(&[PassCounts::default(), third]), []);
    }

    fn disturbed(passes: &[PassCounts]) -> Vec<usize> {
        disagreeing(passes)
    }

    #[test]
    fn of_two_that_differ_the_one_with_more_instructions_is_doubted() {
        assert_eq!(disagreeing(&[pass(1000, 51), pass(1000, 50)]), [0]);
    }

    #[test]
    fn counts_that_belong_to_nothing_are_refused() {
        let sound = EventCounts { passes: vec![pass(1, 1)], refused: Vec::new() };
        assert!(sound.check().is_ok());
        let with = |change: fn(&mut PassCounts)| {
            let mut pass = pass(1, 1);
            change(&mut pass);
            EventCounts { passes: vec![pass], refused: Vec::new() }.check()
        };
        assert!(with(|pass| pass.counts.truncate(1)).is_err());
        assert!(with(|pass| pass.events = vec![0]).is_err());
        assert!(with(|pass| pass.events = vec![0; MAX_GROUP]).is_err());
        assert!(with(|pass| pass.calls.function = 0).is_err());
        assert!(with(|pass| pass.rounds = 0).is_err());
        let many = EventCounts { passes: vec![pass(1, 1); MAX_PASSES + 1], refused: Vec::new() };
        assert!(many.check().is_err());
    }
}
