//! Quick measuring: a few rounds of a microsecond a batch, taken as they come.
//!
//! Too short for clocks of their own, the rounds share one fit, made from the medians of the two chains over all of them.
#![forbid(unsafe_code)]

use webrunner_protocol::reply::{CounterReading, CycleSamples, Gate};

use super::builtin::{LONG_CHAIN, SHORT_CHAIN};
use super::caller::Caller;
use super::counters::{Counters, Tally};
use super::cpu;
use super::host::Host;
use super::inputs::Inputs;
use super::schedule::Schedule;
use super::sizing::Sizer;
use super::stats::median;
use super::trampoline::Target;

/// Lengths of the batches before the first round, as parts of a full one; the rounds themselves correct what they miss.
const PARTS: [f64; 2] = [0.1, 0.4];

/// T(N) = calling + cycle·N, in ticks, for a chain of N additions.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fit {
    calling: f64,
    cycle: f64,
}

impl Fit {
    /// The line through the two chains. Readings so disturbed that they give no slope are taken as if calling were free.
    fn through(short_chain: f64, long_chain: f64) -> Self {
        let slope = (long_chain - short_chain) / (LONG_CHAIN - SHORT_CHAIN) as f64;
        let cycle = if slope > 0.0 { slope } else { short_chain / SHORT_CHAIN as f64 };
        Self { calling: short_chain - cycle * SHORT_CHAIN as f64, cycle }
    }

    fn cycles(self, ticks: f64) -> f64 {
        (ticks - self.calling) / self.cycle
    }
}

/// The chains and the empty function, each with what is known of its speed.
#[derive(Debug)]
struct Known {
    short_chain: Sizer,
    long_chain: Sizer,
    empty: Sizer,
}

impl Known {
    /// Calls each a few times: the first batches pay for cold code, and tell how many calls the later ones should have.
    fn warm(caller: &mut Caller<'_>, batch: f64) -> Self {
        let [short_chain, long_chain, empty] =
            [(Target::ShortChain, SHORT_CHAIN), (Target::LongChain, LONG_CHAIN), (Target::Empty, 0)].map(
                |(target, length)| {
                    // A tick is about a cycle on any machine; near enough to begin with.
                    let mut sizer = Sizer::new(target, 40.0 + length as f64);
                    sizer.learn(caller, batch, &PARTS);
                    sizer
                },
            );
        Self { short_chain, long_chain, empty }
    }
}

/// Makes a few rounds after the first call, which took `first_call` ticks.
pub(super) fn sample(
    caller: &mut Caller<'_>,
    schedule: &Schedule,
    host: &Host,
    counters: &mut impl Counters,
    inputs: &mut impl Inputs,
    first_call: f64,
) -> (CycleSamples, Vec<CounterReading>) {
    let batch = host.ticks(schedule.batch_us);
    let wanted = schedule.wanted_rounds.clamp(1, schedule.room());
    let mut known = Known::warm(caller, batch);
    let mut function = Sizer::new(Target::Function(0), first_call);
    function.learn(caller, batch, &PARTS);
    let mut tally = Tally::new(counters);
    let [mut shorts, mut longs, mut functions] = [(); 3].map(|()| Vec::with_capacity(wanted));
    // Counted from here: in a process just forked, cold code and page faults would eat up the budget of every round.
    let deadline = cpu::ticks().saturating_add(host.ticks(schedule.budget_us) as u64);
    let calls = loop {
        shorts.push(known.short_chain.batch(caller, batch).0);
        if schedule.restore {
            inputs.restore();
        }
        // Reading counters takes as long as a batch: once will do here.
        let (ticks, calls) = if functions.is_empty() {
            tally.around(counters, |_| function.batch(caller, batch))
        } else {
            function.batch(caller, batch)
        };
        functions.push(ticks);
        tally.add(calls, false);
        longs.push(known.long_chain.batch(caller, batch).0);
        if functions.len() >= wanted || cpu::ticks() >= deadline {
            break calls;
        }
    };
    let empty = known.empty.batch(caller, host.ticks(schedule.empty_batch_us)).0;
    let fit = Fit::through(median(&mut shorts), median(&mut longs));
    (answer(fit, &functions, calls, empty, first_call), tally.readings(false))
}

/// The answer for a function so long that its first call, of `first_call` ticks, is the measurement.
pub(super) fn first_call_alone(
    caller: &mut Caller<'_>,
    schedule: &Schedule,
    host: &Host,
    first_call: f64,
) -> CycleSamples {
    const ROUNDS: usize = 5;
    let batch = host.ticks(schedule.batch_us);
    let mut known = Known::warm(caller, batch);
    let [mut shorts, mut longs] = [[0.0; ROUNDS]; 2];
    for (short, long) in shorts.iter_mut().zip(&mut longs) {
        *short = known.short_chain.batch(caller, batch).0;
        *long = known.long_chain.batch(caller, batch).0;
    }
    let empty = known.empty.batch(caller, host.ticks(schedule.empty_batch_us)).0;
    let fit = Fit::through(median(&mut shorts), median(&mut longs));
    answer(fit, &[first_call], 1, empty, first_call)
}

/// Puts the ticks per call of the function's batches, and of the empty function, into cycles.
fn answer(fit: Fit, functions: &[f64], calls: u64, empty: f64, first_call: f64) -> CycleSamples {
    CycleSamples {
        isolated: functions.iter().map(|&ticks| fit.cycles(ticks)).collect(),
        throughput: Vec::new(),
        counted: Vec::new(),
        gate: Gate::Ungated,
        placements: Vec::new(),
        preempted: None,
        dropped: 0,
        calls_per_round: calls as u32,
        overhead_cycles: fit.calling / fit.cycle,
        empty_call_cycles: fit.cycles(empty),
        ticks_per_cycle: fit.cycle,
        first_call_ticks: first_call as u64,
        cold: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fit_turns_ticks_into_cycles_at_any_clock_speed() {
        for cycle in [0.5, 0.75, 1.0, 3.0] {
            let fit = Fit::through((64.0 + 37.0) * cycle, (256.0 + 37.0) * cycle);
            assert!((fit.cycles((100.0 + 37.0) * cycle) - 100.0).abs() < 1e-9, "{cycle}");
            assert!((fit.calling / fit.cycle - 37.0).abs() < 1e-9, "{cycle}");
        }
    }

    #[test]
    fn readings_that_give_no_slope_still_give_numbers() {
        for (short, long) in [(100.0, 100.0), (300.0, 90.0), (1.0, 1.0)] {
            let answer = answer(Fit::through(short, long), &[1.0, 1e12], 1, 1.0, 1.0);
            assert!(answer.isolated.iter().all(|cycles| cycles.is_finite()), "{answer:?}");
            assert!(answer.ticks_per_cycle > 0.0 && answer.overhead_cycles.is_finite(), "{answer:?}");
        }
    }
}
