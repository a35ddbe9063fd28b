//! Standard and thorough measuring: rounds with clocks in them, until enough are clean or time is up.
#![forbid(unsafe_code)]

use webrunner_protocol::passes::{BatchCalls, PassCounts};
use webrunner_protocol::reply::{CounterReading, CycleSamples, Gate};

use super::builtin::{ADD_CLOCK_CYCLES, IMUL_CLOCK_CYCLES, LONG_CHAIN, SHORT_CHAIN};
use super::caller::Caller;
use super::calling::{Calling, Looks};
use super::counters::{Counters, Tally};
use super::host::Host;
use super::inputs::Inputs;
use super::passes::{Part, PassTally};
use super::placement::agreeing;
use super::round::{Round, choose};
use super::schedule::Schedule;
use super::sizing::Sizer;
use super::stats::median_of;
use super::trampoline::Target;
use super::{Bench, cpu};

/// A guess at the cost of calling, in cycles, with which sizing begins.
const CALLING: f64 = 40.0;

/// Lengths of the batches that find out the size of the rounds', as parts of a full one. A reading at full length is
/// repeated, so that no single one decides.
const PARTS: [f64; 6] = [0.05, 0.25, 0.5, 1.0, 1.0, 1.0];

/// How long quiet rounds are waited for once enough are clean, as a part of the budget. Only of a short function each
/// cycle is in doubt, so those wait for as long as there is.
const PATIENCE: f64 = 0.25;

/// Rounds in the making.
struct Rounds<'bench, 'run, C, I> {
    bench: &'bench mut Bench<'run, C, I>,
    tally: Tally,
    passes: PassTally,
    sizes: Sizes,
}

/// How many turns or calls each reading of a round takes.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    add_turns: u64,
    imul_turns: u64,
    short_chain: u64,
    long_chain: u64,
    empty: u64,
    function: u64,
    /// `None` for a function so long that overlap between calls is nothing beside it.
    back_to_back: Option<u64>,
}

/// Cycles, and what the kernel's and the hardware's counters counted.
type Answer = (CycleSamples, Vec<CounterReading>, Vec<PassCounts>);

/// Measures after the first call, which took `first_call` ticks.
pub(super) fn sample<C: Counters, I: Inputs>(bench: &mut Bench<'_, C, I>, first_call: f64) -> Answer {
    let start = cpu::ticks();
    let sizes = warm_up(&mut bench.caller, bench.schedule, bench.host, first_call);
    let (tally, passes) = (Tally::new(bench.counters), PassTally::new(bench.counters));
    let mut making = Rounds { bench, tally, passes, sizes };
    let rounds = making.rounds(start);
    making.answer(&rounds, first_call)
}

/// Lets the clock speed settle, finds how many calls make a batch, and runs the function until it is warm.
fn warm_up(caller: &mut Caller<'_>, schedule: &Schedule, host: &Host, first_call: f64) -> Sizes {
    let batch = host.ticks(schedule.batch_us);
    if schedule.wide_vectors {
        // The core powers up for them, and may lower its clock: before that clock is looked at.
        run_for(caller, host.ticks(schedule.warm_up_us), 1);
    }
    let cycle = settle(caller, host.ticks(schedule.warm_up_us));
    let mut size = |target, guess, ticks| {
        let mut sizer = Sizer::new(target, guess);
        sizer.learn(caller, ticks, &PARTS);
        sizer.calls(ticks)
    };
    let chain = |length: u64| (length as f64 + CALLING) * cycle;
    let function = size(Target::Function(0), first_call, batch);
    let sizes = Sizes {
        add_turns: (batch / (ADD_CLOCK_CYCLES * cycle)) as u64,
        imul_turns: (batch / (IMUL_CLOCK_CYCLES * cycle)) as u64,
        short_chain: size(Target::ShortChain, chain(SHORT_CHAIN), batch),
        long_chain: size(Target::LongChain, chain(LONG_CHAIN), batch),
        empty: size(Target::Empty, chain(0), host.ticks(schedule.empty_batch_us)),
        function,
        back_to_back: (function > 1).then(|| {
            size(Target::BackToBack(0), batch / function as f64, host.ticks(schedule.back_to_back_us))
        }),
    };
    if function > 1 {
        run_for(caller, host.ticks(schedule.warm_up_us), function);
    }
    sizes
}

/// Runs the function for `ticks`, in batches of so many calls at one place after the other.
fn run_for(caller: &mut Caller<'_>, ticks: f64, calls: u64) {
    let until = cpu::ticks().saturating_add(ticks as u64);
    for place in (0..caller.functions().len() as u8).cycle() {
        caller.batch(Target::Function(place), calls);
        if cpu::ticks() >= until {
            return;
        }
    }
}

/// Spins for `ticks` and gives the length of a core cycle, as the fastest of many short readings has it.
fn settle(caller: &Caller<'_>, ticks: f64) -> f64 {
    const TURNS: u64 = 64;
    let mut spent = 0.0;
    let mut fastest = f64::INFINITY;
    while spent <= ticks {
        let turns = caller.imul_clock(TURNS);
        spent += turns;
        fastest = fastest.min(turns);
    }
    fastest / (TURNS as f64 * IMUL_CLOCK_CYCLES)
}

impl<C: Counters, I: Inputs> Rounds<'_, '_, C, I> {
    /// Makes rounds until enough are quiet, or clean once quiet ones were waited for, or time is up; it runs from `start`.
    fn rounds(&mut self, start: u64) -> Vec<Round> {
        let (schedule, host) = (self.bench.schedule, self.bench.host);
        let after = |part: f64| start.saturating_add(host.ticks(schedule.budget_us * part) as u64);
        let (patience, deadline) = (after(PATIENCE), after(1.0));
        let places = self.bench.caller.functions().len();
        let turns = self.passes.passes().max(1);
        let mut rounds = Vec::with_capacity(schedule.room());
        let (mut calling, mut looks) = (Calling::new(host.calling_cycles), Looks::default());
        loop {
            // Every pass of counters sees every place.
            let round = self.round((rounds.len() / turns % places) as u8);
            rounds.push(round);
            if round.is_clean() {
                calling.note(round.overhead());
                looks.add(round.look(&calling));
            }
            let now = cpu::ticks();
            let impatient = now >= patience && !round.is_short();
            let good = if impatient { looks.all } else { looks.quiet };
            let enough = good >= schedule.wanted_rounds && (impatient || looks.show_floor());
            if enough && self.passes.settled() || rounds.len() >= schedule.room() || now >= deadline {
                return rounds;
            }
        }
    }

    /// The answer that these rounds give.
    fn answer(&self, rounds: &[Round], first_call: f64) -> Answer {
        let Bench { caller, schedule, host, .. } = &*self.bench;
        let preempted = rounds.iter().filter(|round| round.happened.preempted).count() as u32;
        let (chosen, gate) = choose(rounds, schedule, host.calling_cycles);
        let (placements, chosen) = agreeing(chosen, caller.functions());
        let mut throughput = Vec::with_capacity(chosen.len());
        throughput.extend(chosen.iter().filter_map(Round::throughput));
        let cycles = CycleSamples {
            isolated: chosen.iter().map(Round::isolated).collect(),
            throughput,
            counted: chosen.iter().filter_map(|round| round.counted).collect(),
            gate,
            placements,
            preempted: caller.tells_preemption().then_some(preempted),
            dropped: (rounds.len() - chosen.len()) as u32,
            calls_per_round: self.sizes.function as u32,
            overhead_cycles: median_of(chosen.iter(), Round::overhead),
            empty_call_cycles: median_of(chosen.iter(), Round::empty),
            ticks_per_cycle: median_of(chosen.iter(), Round::ticks_per_cycle),
            first_call_ticks: first_call as u64,
            cold: None,
        };
        let only_clean = gate == Gate::Clean;
        (cycles, self.tally.readings(only_clean), self.passes.counts(only_clean))
    }

    /// Makes one round, with the function at one of its places, and adds its counts.
    ///
    /// The function stands between two batches of the short chain, so that whatever begins or ends beside it shows, and
    /// all stand between the multiplications, so that a clock speed that changes evenly cancels out.
    fn round(&mut self, place: u8) -> Round {
        let sizes = self.sizes;
        let watch = self.bench.caller.watch();
        self.passes.begin(self.bench.counters);
        let add =
            self.bench.caller.add_clock(sizes.add_turns) / (sizes.add_turns.max(1) as f64 * ADD_CLOCK_CYCLES);
        let before = self.imul_clock();
        self.remind(place);
        let before_function = self.counted(Part::ShortChain, Target::ShortChain, sizes.short_chain);
        let function = self.function(place);
        let behind_function = self.per_call(Target::ShortChain, sizes.short_chain);
        let long_chain = self.counted(Part::LongChain, Target::LongChain, sizes.long_chain);
        let back_to_back = sizes.back_to_back.map(|calls| self.back_to_back(place, calls));
        let empty = self.per_call(Target::Empty, sizes.empty);
        let after = self.imul_clock();
        let happened = self.bench.caller.happened_since(&watch);
        let clocks = [add, before, after];
        let round = Round {
            clocks,
            short_chains: [before_function, behind_function],
            long_chain,
            empty,
            function,
            back_to_back,
            counted: None,
            place,
            happened,
        };
        let clean = round.is_clean();
        self.tally.add(sizes.function, clean);
        let calls = BatchCalls {
            short_chain: sizes.short_chain,
            function: sizes.function,
            long_chain: sizes.long_chain,
        };
        Round { counted: self.passes.end(calls, clean), ..round }
    }

    fn imul_clock(&self) -> f64 {
        let turns = self.sizes.imul_turns;
        self.bench.caller.imul_clock(turns) / (turns.max(1) as f64 * IMUL_CLOCK_CYCLES)
    }

    fn per_call(&mut self, target: Target, calls: u64) -> f64 {
        self.bench.caller.batch(target, calls) / calls as f64
    }

    /// The same, with the pass of this round read around it.
    fn counted(&mut self, part: Part, target: Target, calls: u64) -> f64 {
        let Bench { caller, counters, .. } = &mut *self.bench;
        self.passes.around(*counters, part, || caller.batch(target, calls)) / calls as f64
    }

    /// Makes a batch of the function, untimed: since its last turn the core's predictors have seen other code, and teaching
    /// them is not what a call costs. Not where a batch is one call, and not where each batch gets its inputs afresh: what
    /// makes them comes between.
    fn remind(&mut self, place: u8) {
        if self.sizes.function > 1 && !self.bench.schedule.restore {
            self.bench.caller.batch(Target::Function(place), self.sizes.function);
        }
    }

    fn back_to_back(&mut self, place: u8, calls: u64) -> f64 {
        self.bench.restore();
        self.per_call(Target::BackToBack(place), calls)
    }

    fn function(&mut self, place: u8) -> f64 {
        self.bench.restore();
        let calls = self.sizes.function;
        let Self { bench, tally, passes, .. } = self;
        let Bench { caller, counters, .. } = &mut **bench;
        let ticks = tally.around(*counters, |counters| {
            passes.around(counters, Part::Function, || caller.batch(Target::Function(place), calls))
        });
        ticks / calls as f64
    }
}
