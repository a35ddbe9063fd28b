//! Quick measuring: a few readings of a microsecond each, or of one call, taken as they come.
//!
//! Too short for clocks of their own, they share one: dependent multiplications for the core's cycle and the short chain for
//! what calling costs, read between them. Quick jobs may share a core. So a reading during which the core was taken away is
//! made again, and a call too long for that is taken by the time that the process had itself.
#![forbid(unsafe_code)]

use webrunner_protocol::reply::{CounterReading, CycleSamples, Gate};

use super::builtin::{IMUL_CLOCK_CYCLES, SHORT_CHAIN};
use super::caller::{Caller, OwnTime};
use super::counters::{Counters, Tally};
use super::cpu;
use super::host::Host;
use super::inputs::Inputs;
use super::schedule::Schedule;
use super::sizing::Sizer;
use super::stats::mean_about_median;
use super::trampoline::Target;

/// Lengths of the batches before the first round, as parts of a full one; the rounds themselves correct what they miss.
const PARTS: [f64; 2] = [0.1, 0.4];

/// Fewest readings of a short function, whatever the budget: of one or two, the median is no better than each.
const FEWEST: usize = 3;

/// How far a call may lie from the one before it, as a part of that, to be believed without more.
const AGREES: f64 = 0.05;

/// Calls shorter than this, in microseconds, are made again if they were interrupted: what the kernel does to change from one
/// process to another is not nothing beside them.
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

/// Readings in the making.
struct Quick<'run, 'session> {
    caller: &'run mut Caller<'session>,
    schedule: &'run Schedule,
    /// Ticks in a batch.
    batch: f64,
    /// Ticks in a batch of the empty function.
    empty_batch: f64,
    /// Readings during which the core was somebody else's.
    interrupted: u32,
    /// Those of them that were made again.
    dropped: u32,
}

/// What was read of a function.
struct Function {
    /// Ticks per call.
    readings: Vec<f64>,
    /// Calls in the last reading.
    calls: u64,
    first_call: f64,
}

/// What is known of a function that fills a batch, before it is read.
struct Warm {
    /// Ticks of a call, as the last one had it.
    ticks_per_call: f64,
    /// Ticks of a call that counts as short.
    short: f64,
}

/// Makes a few readings after the first call, which took `first_call` ticks.
pub(super) fn sample(
    caller: &mut Caller<'_>,
    schedule: &Schedule,
    host: &Host,
    counters: &mut impl Counters,
    inputs: &mut impl Inputs,
    first_call: f64,
) -> (CycleSamples, Vec<CounterReading>) {
    let quick = Quick::new(caller, schedule, host);
    let mut tally = Tally::new(counters);
    let mut sizer = Sizer::new(Target::Function(0), first_call);
    sizer.learn(quick.caller, quick.batch, &PARTS);
    let room = Vec::with_capacity(schedule.wanted_rounds.clamp(1, schedule.room()));
    let function = Function { readings: room, calls: sizer.calls(quick.batch), first_call };
    let budget = host.ticks(schedule.budget_us) as u64;
    let cycles = if function.calls == 1 {
        let known = Warm { ticks_per_call: sizer.ticks_per_call(), short: host.ticks(REPEATED_US) };
        quick.one_by_one(function, &known, budget, counters, &mut tally, inputs)
    } else {
        quick.rounds(function, sizer, budget, counters, &mut tally, inputs)
    };
    (cycles, tally.readings(false))
}

/// The answer for a function so long that its first call is the measurement.
pub(super) fn first_call_alone(
    caller: &mut Caller<'_>,
    schedule: &Schedule,
    host: &Host,
    first_call: OwnTime,
) -> CycleSamples {
    let mut quick = Quick::new(caller, schedule, host);
    quick.interrupted = u32::from(first_call.interrupted);
    let (clock, empty) = quick.clock();
    let ticks = first_call.ticks;
    quick.answer(clock, empty, &Function { readings: vec![ticks], calls: 1, first_call: ticks })
}

impl<'run, 'session> Quick<'run, 'session> {
    fn new(caller: &'run mut Caller<'session>, schedule: &'run Schedule, host: &Host) -> Self {
        let (batch, empty_batch) = (host.ticks(schedule.batch_us), host.ticks(schedule.empty_batch_us));
        Self { caller, schedule, batch, empty_batch, interrupted: 0, dropped: 0 }
    }

    /// Rounds of a short function between the short chain and the clock, at least [`FEWEST`].
    fn rounds(
        mut self,
        mut function: Function,
        mut sizer: Sizer,
        budget: u64,
        counters: &mut impl Counters,
        tally: &mut Tally,
        inputs: &mut impl Inputs,
    ) -> CycleSamples {
        let mut known = Known::warm(self.caller, self.batch);
        let wanted = function.readings.capacity();
        let restores = self.schedule.restore;
        let [mut short_chains, mut cycles] = [(); 2].map(|()| Vec::with_capacity(wanted));
        // Counted from here: in a process just forked, cold code and page faults would eat up the budget of every round.
        let deadline = cpu::ticks().saturating_add(budget);
        loop {
            short_chains.push(self.reading(|caller, batch| known.short_chain.batch(caller, batch).0));
            // Reading counters takes as long as a batch: once will do here.
            let counts = function.readings.is_empty();
            let ticks = self.reading(|caller, batch| {
                if restores {
                    inputs.restore();
                }
                let mut batch = || sizer.batch(caller, batch);
                let (ticks, calls) = if counts { tally.around(counters, |_| batch()) } else { batch() };
                function.calls = calls;
                ticks
            });
            function.readings.push(ticks);
            tally.add(function.calls, false);
            cycles.push(self.reading(|caller, _| known.cycle(caller)));
            let rounds = function.readings.len();
            if rounds >= wanted || rounds >= FEWEST && cpu::ticks() >= deadline {
                break;
            }
        }
        let empty = known.empty.batch(self.caller, self.empty_batch).0;
        self.answer(Clock::of(&mut cycles, &mut short_chains), empty, &function)
    }

    /// Readings of one call each, of a function that fills a batch, by the time that the process had itself. Its clock comes
    /// after them, when its code is warm again.
    ///
    /// A short call is made again if the process did not have the core all along, and read as often as wanted if the
    /// first reading disagrees with the call before it, whatever the budget.
    fn one_by_one(
        mut self,
        mut function: Function,
        warm: &Warm,
        budget: u64,
        counters: &mut impl Counters,
        tally: &mut Tally,
        inputs: &mut impl Inputs,
    ) -> CycleSamples {
        let deadline = cpu::ticks().saturating_add(budget);
        let wanted = function.readings.capacity();
        let mut fewest = 1;
        loop {
            if self.schedule.restore {
                inputs.restore();
            }
            let caller = &mut *self.caller;
            let mut call = || caller.own_time(Target::Function(0), 1);
            let first = function.readings.is_empty();
            let time = if first { tally.around(counters, |_| call()) } else { call() };
            let is_short = time.ticks < warm.short;
            self.interrupted += u32::from(time.interrupted);
            if time.interrupted && is_short && self.dropped < MOST_REPEATS {
                self.dropped += 1;
                continue;
            }
            tally.add(1, false);
            function.readings.push(time.ticks);
            if first && is_short && (time.ticks / warm.ticks_per_call - 1.0).abs() > AGREES {
                fewest = wanted;
            }
            let readings = function.readings.len();
            if readings >= wanted || readings >= fewest && cpu::ticks() >= deadline {
                break;
            }
        }
        let (clock, empty) = self.clock();
        self.answer(clock, empty, &function)
    }

    /// A clock, and ticks per call of the empty function, from readings of their own.
    fn clock(&mut self) -> (Clock, f64) {
        const READINGS: usize = 5;
        let mut known = Known::warm(self.caller, self.batch);
        let [mut short_chains, mut cycles] = [[0.0; READINGS]; 2];
        for (short_chain, cycle) in short_chains.iter_mut().zip(&mut cycles) {
            *short_chain = self.reading(|caller, batch| known.short_chain.batch(caller, batch).0);
            *cycle = self.reading(|caller, _| known.cycle(caller));
        }
        let empty = known.empty.batch(self.caller, self.empty_batch).0;
        (Clock::of(&mut cycles, &mut short_chains), empty)
    }

    /// Reads a batch, and again if the core was somebody else's meanwhile, which is seldom twice.
    fn reading(&mut self, mut read: impl FnMut(&mut Caller<'session>, f64) -> f64) -> f64 {
        loop {
            let watch = self.caller.watch();
            let ticks = read(self.caller, self.batch);
            if !self.caller.happened_since(&watch).preempted {
                return ticks;
            }
            self.interrupted += 1;
            if self.dropped == MOST_REPEATS {
                return ticks;
            }
            self.dropped += 1;
        }
    }

    /// The answer, in cycles.
    fn answer(self, clock: Clock, empty: f64, function: &Function) -> CycleSamples {
        CycleSamples {
            isolated: function.readings.iter().map(|&ticks| clock.cycles(ticks)).collect(),
            gate: Gate::Ungated,
            preempted: self.caller.tells_preemption().then_some(self.interrupted),
            dropped: self.dropped,
            calls_per_round: function.calls as u32,
            overhead_cycles: clock.calling,
            empty_call_cycles: clock.cycles(empty),
            ticks_per_cycle: clock.cycle,
            first_call_ticks: function.first_call as u64,
            ..CycleSamples::default()
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
