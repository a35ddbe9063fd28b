//! Event counters: how the harness reads them, and how it adds up what they count over the function's calls.
//!
//! The harness knows no event by name and opens none. It reads the kernel's events just before and just after each measured
//! batch of the function, and adds up the differences. Hardware events come in passes, which `passes` sees to.
#![forbid(unsafe_code)]

use webrunner_protocol::limits::MAX_COUNTERS;
use webrunner_protocol::reply::CounterReading;

pub use crate::sys::perf::GroupReading;

/// One counter at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Events since the counter was opened.
    pub value: u64,
    /// Nanoseconds its group has been enabled.
    pub time_enabled: u64,
    /// Nanoseconds its group has been on the hardware.
    pub time_running: u64,
}

/// The open counters of a worker. They count all the time; the harness takes differences.
pub trait Counters {
    /// How many there are; past 16 the rest is not read.
    fn len(&self) -> usize;

    /// Whether there are none, as on a host without hardware counters.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads all into `readings`, which is `len` long. Gives false where that failed: the batch then counts for none.
    fn read(&mut self, readings: &mut [Reading]) -> bool;

    /// How many groups of hardware events there are, of which one at a time can count.
    fn passes(&self) -> usize {
        0
    }

    /// The events of a pass; cycles and instructions come before them in every reading.
    fn pass_events(&self, _pass: usize) -> &[u16] {
        &[]
    }

    /// Lets a pass count, and no other.
    fn start_pass(&mut self, _pass: usize) {}

    /// Reads a pass that was started; `None` where it lost its place.
    fn read_pass(&mut self, _pass: usize) -> Option<GroupReading> {
        None
    }
}

/// The counters of a host that has none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCounters;

impl Counters for NoCounters {
    fn len(&self) -> usize {
        0
    }

    fn read(&mut self, _readings: &mut [Reading]) -> bool {
        false
    }
}

/// Most counters read at once. The tally lives on the stack of a process whose every page is new to it.
const MOST: usize = 16;
const _: () = assert!(MOST <= MAX_COUNTERS);

/// All counters at one instant.
type Instant = [Reading; MOST];

/// Counts of one batch, and sums over the rounds that count.
#[derive(Debug)]
pub(super) struct Tally {
    count: usize,
    before: Instant,
    after: Instant,
    /// Whether both instants of the last batch were read.
    read: bool,
    all: Sums,
    clean: Sums,
}

#[derive(Debug)]
struct Sums {
    calls: u64,
    totals: Instant,
}

impl Sums {
    const NONE: Self = Self { calls: 0, totals: NOTHING };
}

const NOTHING: Instant = [Reading { value: 0, time_enabled: 0, time_running: 0 }; MOST];

impl Tally {
    pub(super) fn new(counters: &impl Counters) -> Self {
        let count = counters.len().min(MOST);
        Self { count, before: NOTHING, after: NOTHING, read: false, all: Sums::NONE, clean: Sums::NONE }
    }

    /// Runs `batch` between two readings.
    pub(super) fn around<C: Counters, T>(&mut self, counters: &mut C, batch: impl FnOnce(&mut C) -> T) -> T {
        if self.count == 0 {
            return batch(counters);
        }
        let before = counters.read(&mut self.before[..self.count]);
        let result = batch(counters);
        let after = counters.read(&mut self.after[..self.count]);
        self.read = before && after;
        result
    }

    /// Adds the last batch, of `calls` calls, to the sums.
    pub(super) fn add(&mut self, calls: u64, clean: bool) {
        if !self.read {
            return;
        }
        self.read = false;
        let batch = self.before.iter().zip(&self.after).take(self.count);
        for (index, (before, after)) in batch.enumerate() {
            self.all.totals[index].add(before, after);
            if clean {
                self.clean.totals[index].add(before, after);
            }
        }
        self.all.calls += calls;
        self.clean.calls += if clean { calls } else { 0 };
    }

    /// The sums over clean rounds, or over all. A reading's `event` is its place in [`Counters::read`].
    ///
    /// Counts hardly depend on how steady the clock was, so where the gate found too few clean rounds all are summed.
    pub(super) fn readings(&self, only_clean: bool) -> Vec<CounterReading> {
        let sums = if only_clean { &self.clean } else { &self.all };
        if sums.calls == 0 {
            return Vec::new();
        }
        let totals = sums.totals[..self.count].iter();
        totals
            .enumerate()
            .map(|(index, total)| CounterReading {
                event: index as u16,
                count: total.value,
                calls: sums.calls,
                time_enabled: total.time_enabled,
                time_running: total.time_running,
            })
            .collect()
    }
}

impl Reading {
    fn add(&mut self, before: &Self, after: &Self) {
        self.value = self.value.wrapping_add(after.value.wrapping_sub(before.value));
        let enabled = after.time_enabled.saturating_sub(before.time_enabled);
        let running = after.time_running.saturating_sub(before.time_running);
        self.time_enabled = self.time_enabled.saturating_add(enabled);
        self.time_running = self.time_running.saturating_add(running);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts 107 more at each reading; from the `broken` reading on it fails.
    struct Steps {
        reads: u64,
        broken: u64,
    }

    impl Counters for Steps {
        fn len(&self) -> usize {
            1
        }

        fn read(&mut self, readings: &mut [Reading]) -> bool {
            self.reads += 1;
            readings[0] = Reading {
                value: self.reads * 107,
                time_enabled: self.reads * 5,
                time_running: self.reads * 4,
            };
            self.reads < self.broken
        }
    }

    #[test]
    fn sums_are_differences_over_the_batches_that_count() {
        let mut steps = Steps { reads: 0, broken: u64::MAX };
        let mut tally = Tally::new(&steps);
        for clean in [true, false, true] {
            tally.around(&mut steps, |_| ());
            tally.add(10, clean);
        }
        let reading = |batches: u64| CounterReading {
            event: 0,
            count: 107 * batches,
            calls: 10 * batches,
            time_enabled: 5 * batches,
            time_running: 4 * batches,
        };
        assert_eq!(tally.readings(true), [reading(2)]);
        assert_eq!(tally.readings(false), [reading(3)]);
    }

    #[test]
    fn a_batch_whose_reading_failed_counts_for_nothing() {
        let mut steps = Steps { reads: 0, broken: 4 };
        let mut tally = Tally::new(&steps);
        for _ in 0..2 {
            tally.around(&mut steps, |_| ());
            tally.add(10, true);
        }
        assert_eq!(tally.readings(true).first().map(|reading| reading.calls), Some(10));
    }

    #[test]
    fn a_host_without_counters_gives_no_readings() {
        let mut tally = Tally::new(&NoCounters);
        tally.around(&mut NoCounters, |_| ());
        tally.add(10, true);
        assert_eq!(tally.readings(false), []);
    }
}
