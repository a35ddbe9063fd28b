//! Quick measuring: a few rounds of a microsecond a batch, taken as they come.
//!
//! Too short for clocks of their own, the rounds share one fit, made from the medians of the two chains over all of them.
#![forbid(unsafe_code)]

use webrunner_protocol::reply::{CounterReading, CycleSamples, Gate};

use super::builtin::{LONG_CHAIN, SHORT_CHAIN};
use super::caller::{Caller, Target};
use super::counters::{Counters, Tally};
use super::cpu;
use super::host::Host;
use super::schedule::Schedule;
use super::sizing::Sizer;
use super::stats::median;
use super::trampoline::Pace;

/// T(N) = cost + cycle·N, in ticks, for a chain of N additions.
#[derive(Debug, Clone, Copy)]
struct Fit {
    calling: f64,
    cycle: f64,
}

impl Fit {
    /// The line through the two chains; readings so disturbed that they give no slope are taken at face value.
    fn through(short_chain: f64, long_chain: f64) -> Self {
        let slope = (long_chain - short_chain) / (LONG_CHAIN - SHORT_CHAIN) as f64;
        let cycle = if slope > 0.0 { slope } else { short_chain / SHORT_CHAIN as f64 };
        Self { calling: short_chain - cycle * SHORT_CHAIN as f64, cycle }
    }

    fn cycles(self, ticks: f64) -> f64 {
        (ticks - self.calling) / self.cycle
    }
}

/// Measures after the first call, which took `first_call` ticks.
///
/// A first call longer than [`Schedule::first_call_alone_us`] is the only sample, whatever the effort.
pub(super) fn sample(
    caller: &mut Caller<'_>,
    schedule: &Schedule,
    host: &Host,
    counters: &mut impl Counters,
    first_call: f64,
) -> (CycleSamples, Vec<CounterReading>) {
    let deadline = cpu::ticks().saturating_add(host.ticks(schedule.budget_us) as u64);
    let ticks = host.ticks(schedule.batch_us);
    let alone = first_call > host.ticks(schedule.first_call_alone_us);
    let wanted = schedule.wanted_rounds.clamp(1, schedule.room());
    let [mut short, mut long, mut empty] =
        [(Target::ShortChain, SHORT_CHAIN), (Target::LongChain, LONG_CHAIN), (Target::Empty, 0)]
            .map(|(target, length)| Sizer::new(target, Pace::Isolated, 40.0 + length as f64));
    let mut function = Sizer::new(Target::Function, Pace::Isolated, first_call);
    // The first batch of each pays for cold code; it only tells how many calls the next should have.
    for sizer in [&mut short, &mut long, &mut empty, &mut function] {
        if !alone {
            sizer.learn(caller, ticks);
        }
    }
    let mut tally = Tally::new(counters);
    let [mut shorts, mut longs, mut functions] = [(); 3].map(|()| Vec::with_capacity(wanted));
    let mut calls = 1;
    loop {
        shorts.push(short.batch(caller, ticks).0);
        if alone {
            functions.push(first_call);
        } else {
            let (per_call, made) = tally.around(counters, || function.batch(caller, ticks));
            functions.push(per_call);
            tally.add(made, false);
            calls = made;
        }
        longs.push(long.batch(caller, ticks).0);
        if alone || functions.len() >= wanted || cpu::ticks() >= deadline {
            break;
        }
    }
    let fit = Fit::through(median(&mut shorts), median(&mut longs));
    let empty_call = empty.batch(caller, host.ticks(schedule.empty_batch_us)).0;
    let cycles = CycleSamples {
        isolated: functions.iter().map(|&per_call| fit.cycles(per_call)).collect(),
        throughput: Vec::new(),
        gate: Gate::Ungated,
        dropped: 0,
        calls_per_round: calls as u32,
        overhead_cycles: fit.calling / fit.cycle,
        empty_call_cycles: fit.cycles(empty_call),
        ticks_per_cycle: fit.cycle,
        first_call_ticks: first_call as u64,
    };
    (cycles, tally.readings(false))
}
