//! Hardware counters, one group a round: which pass a round belongs to, what it read, and which passes are made anew.
//!
//! Every round belongs to one pass, in turn, so that a disturbance of a few rounds meets all passes alike. The group is
//! read around a batch of nothing, the short chain, the function and the long chain: with those, what reading and calling
//! cost can be taken out of every counter. A round counts for its pass only if the group was on the hardware throughout.
//! When each pass has enough rounds they are held against each other, and one that does not agree is made anew.
#![forbid(unsafe_code)]

use webrunner_protocol::limits::MAX_GROUP;
use webrunner_protocol::passes::{BatchCalls, BatchCounts, CYCLES, LEADING, PassCounts, disagreeing, median};

use super::counters::{Counters, GroupReading};

/// Clean rounds that a pass must have.
const ENOUGH: usize = 3;

/// Rounds of a pass that are remembered; its counts are medians over them.
const MOST_ROUNDS: usize = 64;

/// Lost rounds after which a pass without any other is given up.
const HOPELESS: u32 = 8;

/// Times a pass that does not agree with the others is made anew.
const MOST_REPEATS: u32 = 2;

/// What a batch was of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Nothing,
    ShortChain,
    Function,
    LongChain,
}

/// Counts of one round, of as many members as its pass has.
type RoundCounts = [BatchCounts; MAX_GROUP];

/// One pass, as far as it has been made.
#[derive(Debug)]
struct Pass {
    events: Vec<u16>,
    /// Of each round that was counted, whether it was clean, and its counts.
    rounds: Vec<(bool, RoundCounts)>,
    clean: usize,
    lost: u32,
    repeats: u32,
    calls: BatchCalls,
}

impl Pass {
    fn new(events: &[u16]) -> Self {
        Self {
            events: events.iter().take(MAX_GROUP - LEADING).copied().collect(),
            rounds: Vec::with_capacity(MOST_ROUNDS),
            clean: 0,
            lost: 0,
            repeats: 0,
            calls: BatchCalls::default(),
        }
    }

    fn members(&self) -> usize {
        LEADING + self.events.len()
    }

    fn tried(&self) -> usize {
        self.rounds.len() + self.lost as usize
    }

    fn is_made(&self) -> bool {
        self.clean >= ENOUGH || (self.rounds.is_empty() && self.lost >= HOPELESS)
    }

    /// Remembers a round; one that was not clean makes room for one that is.
    fn add(&mut self, counts: RoundCounts, clean: bool) {
        if self.rounds.len() < MOST_ROUNDS {
            self.rounds.push((clean, counts));
        } else if let Some(other) = self.rounds.iter_mut().find(|(kept_clean, _)| clean && !kept_clean) {
            *other = (clean, counts);
        } else {
            return;
        }
        self.clean += usize::from(clean);
    }

    fn forget(&mut self) {
        self.rounds.clear();
        self.clean = 0;
        self.repeats += 1;
    }

    fn counts(&self, only_clean: bool) -> PassCounts {
        let chosen =
            || self.rounds.iter().filter(|(clean, _)| *clean || !only_clean).map(|(_, counts)| counts);
        let rounds = chosen().count();
        let over_rounds = |place: usize| {
            let of = |part: fn(&BatchCounts) -> u64| median(chosen().map(|counts| part(&counts[place])));
            Some(BatchCounts {
                nothing: of(|counts| counts.nothing)?,
                short_chain: of(|counts| counts.short_chain)?,
                function: of(|counts| counts.function)?,
                long_chain: of(|counts| counts.long_chain)?,
            })
        };
        PassCounts {
            events: self.events.clone(),
            rounds: rounds as u32,
            lost: self.lost,
            repeats: self.repeats,
            calls: self.calls,
            counts: (0..self.members()).map_while(over_rounds).collect(),
        }
    }
}

/// All passes of a measurement.
#[derive(Debug)]
pub(super) struct PassTally {
    passes: Vec<Pass>,
    /// The pass of the round that is being made.
    current: usize,
    counts: RoundCounts,
    /// Whether every reading of this round was good so far.
    whole: bool,
}

impl PassTally {
    pub(super) fn new(counters: &impl Counters) -> Self {
        let passes = (0..counters.passes()).map(|pass| Pass::new(counters.pass_events(pass))).collect();
        Self { passes, current: 0, counts: [BatchCounts::default(); MAX_GROUP], whole: false }
    }

    /// How many passes there are.
    pub(super) fn passes(&self) -> usize {
        self.passes.len()
    }

    /// Begins a round: it belongs to the pass that needs it most.
    pub(super) fn begin(&mut self, counters: &mut impl Counters) {
        let needy = self.passes.iter().enumerate().min_by_key(|(_, pass)| {
            let hopeless = pass.rounds.is_empty() && pass.lost >= HOPELESS;
            (hopeless, pass.clean, pass.tried())
        });
        let Some((current, _)) = needy else { return };
        self.current = current;
        self.whole = true;
        counters.start_pass(current);
        self.around(counters, Part::Nothing, || ());
    }

    /// Runs a batch between two readings of the round's pass.
    pub(super) fn around<T>(
        &mut self,
        counters: &mut impl Counters,
        part: Part,
        batch: impl FnOnce() -> T,
    ) -> T {
        if !self.whole {
            return batch();
        }
        let Some(before) = counters.read_pass(self.current) else {
            self.whole = false;
            return batch();
        };
        let result = batch();
        match counters.read_pass(self.current) {
            Some(after) if ran_throughout(&before, &after) => self.note(part, &before, &after),
            _ => self.whole = false,
        }
        result
    }

    fn note(&mut self, part: Part, before: &GroupReading, after: &GroupReading) {
        let differences =
            after.values.iter().zip(before.values).map(|(after, before)| after.wrapping_sub(before));
        for (counts, difference) in self.counts.iter_mut().zip(differences) {
            *match part {
                Part::Nothing => &mut counts.nothing,
                Part::ShortChain => &mut counts.short_chain,
                Part::Function => &mut counts.function,
                Part::LongChain => &mut counts.long_chain,
            } = difference;
        }
    }

    /// Ends the round; gives the cycles of a call as its pass counted them.
    pub(super) fn end(&mut self, calls: BatchCalls, clean: bool) -> Option<f64> {
        let pass = self.passes.get_mut(self.current)?;
        if !self.whole {
            pass.lost += 1;
            return None;
        }
        self.whole = false;
        pass.calls = calls;
        pass.add(self.counts, clean);
        Some(self.counts[CYCLES].per_call(calls).function)
    }

    /// Whether every pass is made and agrees with the others, or has been made anew often enough. Where not, the rounds
    /// that follow mend it.
    pub(super) fn settled(&mut self) -> bool {
        if !self.passes.iter().all(Pass::is_made) {
            return false;
        }
        let counts = self.counts(true);
        let mut settled = true;
        for index in disagreeing(&counts) {
            let pass = &mut self.passes[index];
            if pass.repeats < MOST_REPEATS {
                pass.forget();
                settled = false;
            }
        }
        settled
    }

    /// What each pass counted, over clean rounds or over all.
    pub(super) fn counts(&self, only_clean: bool) -> Vec<PassCounts> {
        self.passes.iter().map(|pass| pass.counts(only_clean)).collect()
    }
}

/// Whether a group was on the hardware all the time between two readings.
fn ran_throughout(before: &GroupReading, after: &GroupReading) -> bool {
    let enabled = after.time_enabled.wrapping_sub(before.time_enabled);
    let running = after.time_running.wrapping_sub(before.time_running);
    enabled > 0 && enabled == running
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts what it is told for each batch, in every pass alike unless the pass is the odd one.
    struct Scripted {
        passes: usize,
        current: usize,
        values: GroupReading,
        /// Instructions of the function's batch in a pass, by how often that pass was started.
        odd: fn(pass: usize, start: u32) -> u64,
        starts: Vec<u32>,
    }

    impl Scripted {
        fn new(passes: usize, odd: fn(usize, u32) -> u64) -> Self {
            Self { passes, current: 0, values: GroupReading::default(), odd, starts: vec![0; passes] }
        }
    }

    impl Counters for Scripted {
        fn len(&self) -> usize {
            0
        }

        fn read(&mut self, _readings: &mut [super::super::Reading]) -> bool {
            false
        }

        fn passes(&self) -> usize {
            self.passes
        }

        fn start_pass(&mut self, pass: usize) {
            self.current = pass;
            self.starts[pass] += 1;
        }

        fn read_pass(&mut self, pass: usize) -> Option<GroupReading> {
            assert_eq!(pass, self.current, "only the pass that was started is read");
            self.values.time_enabled += 1;
            self.values.time_running += 1;
            Some(self.values)
        }
    }

    const CALLS: BatchCalls = BatchCalls { short_chain: 10, function: 20, long_chain: 5 };

    /// A round of batches that last 37 cycles and 41 instructions a call; the function is 100 of each.
    fn round(tally: &mut PassTally, counters: &mut Scripted, clean: bool) -> Option<f64> {
        tally.begin(counters);
        let instructions = (counters.odd)(counters.current, counters.starts[counters.current]);
        for (part, calls, work) in [
            (Part::ShortChain, CALLS.short_chain, 64),
            (Part::Function, CALLS.function, instructions),
            (Part::LongChain, CALLS.long_chain, 256),
        ] {
            // What happens within a batch is counted before it is read again.
            let mut after = counters.values;
            after.values[0] += calls * (37 + if part == Part::Function { 100 } else { work });
            after.values[1] += calls * (41 + work);
            let current = tally.current;
            assert!(tally.whole);
            let before = counters.read_pass(current).expect("a reading");
            counters.values = GroupReading { values: after.values, ..counters.values };
            let read = counters.read_pass(current).expect("a reading");
            tally.note(part, &before, &read);
        }
        tally.end(CALLS, clean)
    }

    #[test]
    fn rounds_take_turns_until_each_pass_has_enough_clean_ones() {
        let mut counters = Scripted::new(4, |_, _| 100);
        let mut tally = PassTally::new(&counters);
        for turn in 0..4 * ENOUGH {
            assert!(!tally.settled(), "after {turn} rounds");
            assert_eq!(round(&mut tally, &mut counters, true), Some(100.0));
        }
        assert!(tally.settled());
        assert!(tally.counts(true).iter().all(|pass| (pass.rounds, pass.repeats) == (ENOUGH as u32, 0)));
    }

    #[test]
    fn rounds_that_are_not_clean_settle_nothing_and_count_only_if_all_do() {
        let mut counters = Scripted::new(1, |_, _| 100);
        let mut tally = PassTally::new(&counters);
        for _ in 0..10 {
            round(&mut tally, &mut counters, false);
        }
        assert!(!tally.settled());
        assert_eq!(tally.counts(true)[0].rounds, 0);
        assert_eq!(tally.counts(false)[0].rounds, 10);
    }

    #[test]
    fn a_pass_that_does_not_agree_is_made_anew_until_it_does() {
        // The second pass counts one more instruction a call in its first three rounds.
        let mut counters =
            Scripted::new(3, |pass, start| if pass == 1 && start <= ENOUGH as u32 { 101 } else { 100 });
        let mut tally = PassTally::new(&counters);
        let mut rounds = 0;
        while !tally.settled() {
            round(&mut tally, &mut counters, true);
            rounds += 1;
        }
        assert_eq!(rounds, 4 * ENOUGH);
        let repeats: Vec<_> = tally.counts(true).iter().map(|pass| pass.repeats).collect();
        assert_eq!(repeats, [0, 1, 0]);
        assert_eq!(disagreeing(&tally.counts(true)), []);
    }

    #[test]
    fn a_pass_that_never_agrees_is_given_up_and_shows() {
        let mut counters = Scripted::new(3, |pass, _| if pass == 2 { 101 } else { 100 });
        let mut tally = PassTally::new(&counters);
        while !tally.settled() {
            round(&mut tally, &mut counters, true);
        }
        let counts = tally.counts(true);
        assert_eq!((counts[2].repeats, disagreeing(&counts)), (MOST_REPEATS, vec![2]));
    }

    #[test]
    fn clean_rounds_take_the_place_of_others_when_there_are_many() {
        let mut counters = Scripted::new(1, |_, _| 100);
        let mut tally = PassTally::new(&counters);
        for clean in [false, true] {
            for _ in 0..MOST_ROUNDS {
                round(&mut tally, &mut counters, clean);
            }
        }
        assert_eq!(tally.counts(true)[0].rounds, MOST_ROUNDS as u32);
    }

    #[test]
    fn without_passes_there_is_nothing_to_wait_for() {
        let mut counters = Scripted::new(0, |_, _| 0);
        let mut tally = PassTally::new(&counters);
        tally.begin(&mut counters);
        assert_eq!(tally.around(&mut counters, Part::Function, || 7), 7);
        assert_eq!(tally.end(CALLS, true), None);
        assert!(tally.settled() && tally.counts(false).is_empty());
    }
}
