//! Quick measuring: a few readings of a microsecond each, or of one call, taken as they come.
//!
//! Too short for clocks of their own, they share one: dependent multiplications for the core's cycle and the short
//! chain for what calling costs, read between them. Quick jobs may share a core. So a reading during which the core was
//! taken away is made again, and a call too long for that is taken by the time that the process had itself.
#![forbid(unsafe_code)]

use webrunner_protocol::reply::{CounterReading, CycleSamples, Gate};

use super::builtin::{IMUL_CLOCK_CYCLES, SHORT_CHAIN};
use super::caller::{Caller, OwnTime};
use super::counters::{Counters, Tally};
use super::inputs::Inputs;
use super::sizing::Sizer;
use super::stats::mean_about_median;
use super::trampoline::Target;
use super::{Bench, cpu};

/// Lengths of the batches before the first round, as parts of a full one; the rounds themselves correct what they miss.
const PARTS: [f64; 2] = [0.1, 0.4];

/// Fewest readings of a short function, whatever the budget: of one or two, the median is no better than each.
const FEWEST: usize = 3;

/// How far a call may lie from the one before it, as a part of that, to be believed without more.
const AGREES: f64 = 0.05;

/// Calls shorter than this, in microseconds, are made again if they were interrupted: what the kernel does to change
/// from one process to another is not nothing beside them.
const REPEATED_US: f64 = 1000.0;

/// Readings of an answer that may be made again.
const MOST_REPEATS: u32 = 16;

/// What turns ticks into cycles: a call of n cycles takes cycle·(calling + n) ticks.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Clock {
    /// Ticks in a core cycle.
    cycle: f64,
    /// What calling costs, in cycles.
    calling: f64,
}

impl Clock {
    /// From readings of a core cycle and of the short chain, both in ticks.
    fn of(cycles: &mut [f64], short_chains: &mut [f64]) -> Self {
        // No counter goes so slowly; a reading of nothing must not become an infinite number.
        let cycle = mean_about_median(cycles).max(1e-3);
        Self { cycle, calling: mean_about_median(short_chains) / cycle - SHORT_CHAIN as f64 }
    }

    fn cycles(self, ticks: f64) -> f64 {
        ticks / self.cycle - self.calling
    }
}

/// What quick readings need besides the function, with what is known of its speed.
#[derive(Debug)]
struct Known {
    imul_turns: u64,
    short_chain: Sizer,
    empty: Sizer,
}

impl Known {
    /// Calls each a few times: the first batches pay for cold code, and tell how many calls the later ones should have.
    fn warm(caller: &mut Caller<'_>, batch: f64) -> Self {
        // A tick is about a cycle on any machine; near enough to begin with.
        let imul_turns = (batch / IMUL_CLOCK_CYCLES).max(1.0) as u64;
        caller.imul_clock(imul_turns);
        let [short_chain, empty] =
            [(Target::ShortChain, SHORT_CHAIN), (Target::Empty, 0)].map(|(target, length)| {
                let mut sizer = Sizer::new(target, 40.0 + length as f64);
                sizer.learn(caller, batch, &PARTS);
                sizer
            });
        Self { imul_turns, short_chain, empty }
    }

    /// Ticks in a core cycle.
    fn cycle(&self, caller: &Caller<'_>) -> f64 {
        caller.imul_clock(self.imul_turns) / (self.imul_turns as f64 * IMUL_CLOCK_CYCLES)
    }
}

/// What was read of a function.
struct Function {
    /// Ticks per call.
    readings: Vec<f64>,
    /// Calls in the last reading.
    calls: u64,
    first_call: f64,
    /// Readings during which the core was somebody else's, the clock's among them.
    interrupted: u32,
    /// Those of them that were made again.
    dropped: u32,
}

impl Function {
    /// The answer, in cycles, by a clock and the ticks of an empty call.
    fn answer(&self, (clock, empty): (Clock, f64), tells_preemption: bool) -> CycleSamples {
        CycleSamples {
            isolated: self.readings.iter().map(|&ticks| clock.cycles(ticks)).collect(),
            gate: Gate::Ungated,
            preempted: tells_preemption.then_some(self.interrupted),
            dropped: self.dropped,
            calls_per_round: self.calls as u32,
            overhead_cycles: clock.calling,
            empty_call_cycles: clock.cycles(empty),
            ticks_per_cycle: clock.cycle,
            first_call_ticks: self.first_call as u64,
            ..CycleSamples::default()
        }
    }
}

/// Readings in the making.
struct Quick<'bench, 'run, C, I> {
    bench: &'bench mut Bench<'run, C, I>,
    tally: Tally,
    /// Ticks in a batch.
    batch: f64,
    wanted: usize,
    function: Function,
}

/// Makes a few readings after the first call, which took `first_call` ticks.
pub(super) fn sample<C: Counters, I: Inputs>(
    bench: &mut Bench<'_, C, I>,
    first_call: f64,
) -> (CycleSamples, Vec<CounterReading>) {
    let mut quick = Quick::new(bench, first_call);
    let mut sizer = Sizer::new(Target::Function(0), first_call);
    sizer.learn(&mut quick.bench.caller, quick.batch, &PARTS);
    let fills_batch = sizer.calls(quick.batch) == 1;
    let clock = if fills_batch { quick.one_by_one(sizer.ticks_per_call()) } else { quick.rounds(sizer) };
    (quick.function.answer(clock, quick.bench.caller.tells_preemption()), quick.tally.readings(false))
}

/// The answer for a function so long that its first call is the measurement.
pub(super) fn first_call_alone<C: Counters, I: Inputs>(
    bench: &mut Bench<'_, C, I>,
    first_call: OwnTime,
) -> CycleSamples {
    let mut quick = Quick::new(bench, first_call.ticks);
    quick.function.readings.push(first_call.ticks);
    quick.function.interrupted = u32::from(first_call.interrupted);
    let clock = quick.clock();
    quick.function.answer(clock, quick.bench.caller.tells_preemption())
}

impl<'bench, 'run, C: Counters, I: Inputs> Quick<'bench, 'run, C, I> {
    fn new(bench: &'bench mut Bench<'run, C, I>, first_call: f64) -> Self {
        let wanted = bench.schedule.wanted_rounds.clamp(1, bench.schedule.room());
        let readings = Vec::with_capacity(wanted);
        Self {
            tally: Tally::new(bench.counters),
            batch: bench.host.ticks(bench.schedule.batch_us),
            wanted,
            function: Function { readings, calls: 1, first_call, interrupted: 0, dropped: 0 },
            bench,
        }
    }

    /// Rounds of a short function between the short chain and the clock, at least [`FEWEST`].
    fn rounds(&mut self, mut sizer: Sizer) -> (Clock, f64) {
        let mut known = Known::warm(&mut self.bench.caller, self.batch);
        let [mut short_chains, mut cycles] = [(); 2].map(|()| Vec::with_capacity(self.wanted));
        // Counted from here: in a process just forked, cold code and page faults would eat up the budget of every round.
        let deadline = self.deadline();
        loop {
            short_chains.push(self.short_chain(&mut known));
            let ticks = self.reading(|quick| {
                let batch = quick.batch;
                let (ticks, calls) = quick.of_function(|caller| sizer.batch(caller, batch));
                quick.function.calls = calls;
                ticks
            });
            self.note(ticks);
            cycles.push(self.cycle(&known));
            if self.is_enough(FEWEST, deadline) {
                break;
            }
        }
        let empty = self.empty(&mut known);
        (Clock::of(&mut cycles, &mut short_chains), empty)
    }

    /// Readings of one call each, of a function that fills a batch, by the time that the process had itself. Its clock
    /// comes after them, when its code is warm again. The call before them took `ticks_before`.
    ///
    /// A short call is made again if the process did not have the core all along, and read as often as wanted if the
    /// first reading disagrees with the call before it, whatever the budget.
    fn one_by_one(&mut self, ticks_before: f64) -> (Clock, f64) {
        let deadline = self.deadline();
        let repeated = self.bench.host.ticks(REPEATED_US);
        let mut fewest = 1;
        loop {
            let first = self.function.readings.is_empty();
            let time = self.of_function(|caller| caller.own_time(Target::Function(0), 1));
            let is_short = time.ticks < repeated;
            self.function.interrupted += u32::from(time.interrupted);
            if time.interrupted && is_short && self.function.dropped < MOST_REPEATS {
                self.function.dropped += 1;
                continue;
            }
            self.note(time.ticks);
            if first && is_short && (time.ticks / ticks_before - 1.0).abs() > AGREES {
                fewest = self.wanted;
            }
            if self.is_enough(fewest, deadline) {
                return self.clock();
            }
        }
    }

    /// A clock, and ticks per call of the empty function, from readings of their own.
    fn clock(&mut self) -> (Clock, f64) {
        const READINGS: usize = 5;
        let mut known = Known::warm(&mut self.bench.caller, self.batch);
        let [mut short_chains, mut cycles] = [[0.0; READINGS]; 2];
        for (short_chain, cycle) in short_chains.iter_mut().zip(&mut cycles) {
            *short_chain = self.short_chain(&mut known);
            *cycle = self.cycle(&known);
        }
        let empty = self.empty(&mut known);
        (Clock::of(&mut cycles, &mut short_chains), empty)
    }

    /// When no further reading of the function begins.
    fn deadline(&self) -> u64 {
        cpu::ticks().saturating_add(self.bench.host.ticks(self.bench.schedule.budget_us) as u64)
    }

    /// Whether there are as many readings of the function as wanted, or at least `fewest` and no time for more.
    fn is_enough(&self, fewest: usize, deadline: u64) -> bool {
        let readings = self.function.readings.len();
        readings >= self.wanted || readings >= fewest && cpu::ticks() >= deadline
    }

    fn short_chain(&mut self, known: &mut Known) -> f64 {
        self.reading(|quick| known.short_chain.batch(&mut quick.bench.caller, quick.batch).0)
    }

    fn cycle(&mut self, known: &Known) -> f64 {
        self.reading(|quick| known.cycle(&quick.bench.caller))
    }

    fn empty(&mut self, known: &mut Known) -> f64 {
        let batch = self.bench.host.ticks(self.bench.schedule.empty_batch_us);
        known.empty.batch(&mut self.bench.caller, batch).0
    }

    /// Reads the function, and the counters around it until there is a reading: they take as long as a batch, so once
    /// will do.
    fn of_function<T>(&mut self, read: impl FnOnce(&mut Caller<'run>) -> T) -> T {
        self.bench.restore();
        let Bench { caller, counters, .. } = &mut *self.bench;
        if self.function.readings.is_empty() {
            self.tally.around(*counters, |_| read(caller))
        } else {
            read(caller)
        }
    }

    /// Keeps a reading of the function, of so many ticks a call.
    fn note(&mut self, ticks: f64) {
        self.tally.add(self.function.calls, false);
        self.function.readings.push(ticks);
    }

    /// Makes a reading, and again if the core was somebody else's meanwhile, which is seldom twice.
    fn reading(&mut self, mut read: impl FnMut(&mut Self) -> f64) -> f64 {
        loop {
            let watch = self.bench.caller.watch();
            let ticks = read(self);
            if !self.bench.caller.happened_since(&watch).preempted {
                return ticks;
            }
            self.function.interrupted += 1;
            if self.function.dropped == MOST_REPEATS {
                return ticks;
            }
            self.function.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_cycles_at_any_clock_speed() {
        for cycle in [0.5, 0.75, 1.0, 3.0] {
            let clock = Clock::of(&mut [cycle; 5], &mut [(64.0 + 37.0) * cycle; 5]);
            assert!((clock.cycles((100.0 + 37.0) * cycle) - 100.0).abs() < 1e-9, "{cycle}");
            assert!((clock.calling - 37.0).abs() < 1e-9, "{cycle}");
        }
    }

    #[test]
    fn absurd_readings_still_give_numbers() {
        for (cycle, short_chain) in [(0.0, 100.0), (1.0, 1.0), (1e9, 1.0)] {
            let clock = Clock::of(&mut [cycle; 3], &mut [short_chain; 3]);
            assert!([1.0, 1e12].into_iter().all(|ticks| clock.cycles(ticks).is_finite()), "{clock:?}");
        }
    }
}
