//! One round of readings, what follows from it, and which rounds count.
//!
//! The duration of a chain of N additions called through the trampoline is T(N) = a + b·N, where b is the length of a
//! core cycle and a the cost of calling. Two chains and a clock give both, and a function that took T ticks a call
//! took (T − a)/b cycles. An empty call is not subtracted instead: an empty function lasts some ten cycles itself,
//! which a real one hides behind its work.
#![forbid(unsafe_code)]

use webrunner_protocol::limits::MAX_ROUNDS;
use webrunner_protocol::reply::Gate;

use super::builtin::{LONG_CHAIN, SHORT_CHAIN};
use super::caller::Happened;
use super::calling::{Calling, LOWEST, Look, Looks};
use super::schedule::Schedule;
use super::stats::median_of;

/// How far the four clocks of a clean round may lie apart, as a part of the fastest.
const CLEAN: f64 = 0.01;

/// The same where most rounds are not clean: those that pass are disturbed too, by as much as the gate lets through.
const CLEAN_AMONG_DISTURBED: f64 = 0.005;

/// Fewest clean rounds that make an answer when time has run out on a function too long for more.
const FEWEST_CLEAN: usize = LOWEST;

/// Functions shorter than this, in cycles, are hidden behind calling in good part: they wait longest for quiet rounds.
const SHORT: f64 = SHORT_CHAIN as f64;

/// Of functions longer than this, in cycles, a batch is few calls, and what calling costs was not looked at while they ran.
const LONG: f64 = 5e4;

/// Fewer rounds than this show nothing about each other.
const FEWEST_GATED: usize = 3;

/// Readings that belong together, all taken within some 100 µs so that a drift of the clock speed touches all alike.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Round {
    /// Ticks per core cycle: dependent additions, then multiplications before and after the other readings.
    pub(super) clocks: [f64; 3],
    /// Ticks per call of the short chain, right before the function's batch and right behind it.
    pub(super) short_chains: [f64; 2],
    /// Ticks per call of the long chain.
    pub(super) long_chain: f64,
    /// Ticks per call of the empty function.
    pub(super) empty: f64,
    /// Ticks per fenced call of the function.
    pub(super) function: f64,
    /// Ticks per call of the function, back to back; `None` where that was not measured.
    pub(super) back_to_back: Option<f64>,
    /// Core cycles of a fenced call of the function as a hardware counter has them; `None` without one.
    pub(super) counted: Option<f64>,
    /// Number of the place at which the function was called.
    pub(super) place: u8,
    /// What became of the core meanwhile.
    pub(super) happened: Happened,
}

impl Round {
    /// Length of a core cycle in ticks, by the steadier clock: a cycle lost is one of three to it.
    pub(super) fn ticks_per_cycle(&self) -> f64 {
        f64::midpoint(self.clocks[1], self.clocks[2])
    }

    /// Cost of calling, in cycles.
    pub(super) fn overhead(&self) -> f64 {
        self.calling(self.short_chain())
    }

    /// Ticks per call of the short chain: as if at the moment of the function's batch.
    fn short_chain(&self) -> f64 {
        f64::midpoint(self.short_chains[0], self.short_chains[1])
    }

    /// Cycles that calling costs, by the ticks of a call of the short chain.
    fn calling(&self, short_chain: f64) -> f64 {
        short_chain / self.ticks_per_cycle() - SHORT_CHAIN as f64
    }

    /// Cycles of a fenced call of the function.
    pub(super) fn isolated(&self) -> f64 {
        self.function / self.ticks_per_cycle() - self.overhead()
    }

    /// Cycles of a fenced call of the empty function.
    pub(super) fn empty(&self) -> f64 {
        self.empty / self.ticks_per_cycle() - self.overhead()
    }

    /// Cycles of a call among others. Calling overlaps with the work, so nothing is taken out.
    pub(super) fn throughput(&self) -> Option<f64> {
        self.back_to_back.map(|ticks| ticks / self.ticks_per_cycle())
    }

    /// How far the round's four measures of a core cycle lie apart, as a part of the shortest.
    pub(super) fn disagreement(&self) -> f64 {
        if self.happened != Happened::default() {
            return f64::INFINITY;
        }
        let slope = (self.long_chain - self.short_chain()) / (LONG_CHAIN - SHORT_CHAIN) as f64;
        let [add, before, after] = self.clocks;
        let clocks = [add, before, after, slope];
        let shortest = clocks.into_iter().fold(f64::INFINITY, f64::min);
        let longest = clocks.into_iter().fold(0.0, f64::max);
        if shortest > 0.0 { longest / shortest - 1.0 } else { f64::INFINITY }
    }

    /// Whether something else used the core while the function ran: by what calling cost before the function's batch or
    /// behind it, whichever is more.
    ///
    /// The clocks do not tell, see [`calling`](super::calling). One look would not do: what begins between it and the batch
    /// slows only the function.
    pub(super) fn look(&self, calling: &Calling) -> Look {
        calling.look(self.calling(self.short_chains[0].max(self.short_chains[1])))
    }

    /// Whether the function is so short that only quiet rounds tell its length to a cycle.
    pub(super) fn is_short(&self) -> bool {
        self.isolated() < SHORT
    }

    /// Whether nothing disturbed the round that a clock would show.
    pub(super) fn is_clean(&self) -> bool {
        self.disagreement() <= CLEAN
    }
}

/// The rounds that count, in the order they were made, and the rule that chose them.
///
/// Clean ones if there are enough: as many as were wanted, or nine where time ran out before. They have to be at least
/// half of those that kept the core; where they are fewer, only those count that pass a gate half as wide, nine at
/// least. If nine of them are quiet, and few nearly so, the others are left out; if not, the answer is marked, unless
/// the function is long. Else the best-agreeing eighth: an answer that is marked, but never none.
pub(super) fn choose(rounds: &[Round], schedule: &Schedule, calling: f64) -> (Vec<Round>, Gate) {
    if !schedule.gated || rounds.len() < FEWEST_GATED {
        return (keep(rounds, rounds.len(), |_| true), Gate::Ungated);
    }
    let within = |gate: f64| rounds.iter().filter(|round| round.disagreement() <= gate).count();
    let kept_core = rounds.iter().filter(|round| round.happened == Happened::default()).count();
    let gate = if 2 * within(CLEAN) >= kept_core { CLEAN } else { CLEAN_AMONG_DISTURBED };
    let (clean, fewest) = (within(gate), schedule.wanted_rounds.min(FEWEST_CLEAN));
    if clean >= fewest {
        let passes = |round: &Round| round.disagreement() <= gate;
        let passing = || rounds.iter().filter(|round| passes(round));
        let mut floor = Calling::new(calling);
        passing().for_each(|round| floor.note(round.overhead()));
        // Looked at anew: while rounds were made, the floor of them all was not known yet.
        let looks: Looks = passing().map(|round| round.look(&floor)).collect();
        if looks.quiet >= fewest && looks.show_floor() {
            let is_quiet = |round: &Round| passes(round) && round.look(&floor) == Look::Quiet;
            return (keep(rounds, looks.quiet, is_quiet), Gate::Clean);
        }
        let kept = keep(rounds, clean, passes);
        let is_long = median_of(kept.iter(), Round::isolated) > LONG;
        return (kept, if is_long { Gate::Clean } else { Gate::Shared });
    }
    let mut order: Vec<usize> = (0..rounds.len()).collect();
    order
        .sort_unstable_by(|&one, &other| rounds[one].disagreement().total_cmp(&rounds[other].disagreement()));
    order.truncate((rounds.len() / 8).clamp(FEWEST_GATED, MAX_ROUNDS));
    order.sort_unstable();
    (order.into_iter().map(|index| rounds[index]).collect(), Gate::BestAgreeing)
}

/// The rounds that pass, of which there are `count`; no more than may be reported.
fn keep(rounds: &[Round], count: usize, passes: impl Fn(&Round) -> bool) -> Vec<Round> {
    let count = count.min(MAX_ROUNDS);
    let mut kept = Vec::with_capacity(count);
    kept.extend(rounds.iter().filter(|round| passes(round)).take(count));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use webrunner_protocol::job::Effort;

    impl Round {
        /// A round at a place in which the function took so many cycles.
        pub(in super::super) fn made_up(place: u8, cycles: f64) -> Self {
            Self { place, function: 30.0 + cycles, ..round(1.0) }
        }
    }

    /// A round on a core whose cycle takes `b` ticks, with a calling cost of 30 cycles and a function of 100.
    fn round(b: f64) -> Round {
        Round {
            clocks: [b; 3],
            short_chains: [94.0 * b; 2],
            long_chain: 286.0 * b,
            empty: 40.0 * b,
            function: 130.0 * b,
            back_to_back: Some(100.0 * b),
            counted: None,
            place: 0,
            happened: Happened::default(),
        }
    }

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-9
    }

    #[test]
    fn figures_are_cycles_whatever_the_clock_speed() {
        for b in [0.4, 0.7, 1.0, 2.5] {
            let round = round(b);
            assert!(close(round.isolated(), 100.0), "{round:?}");
            assert!(close(round.overhead(), 30.0), "{round:?}");
            assert!(close(round.empty(), 10.0), "{round:?}");
            assert!(round.throughput().is_some_and(|cycles| close(cycles, 100.0)), "{round:?}");
            assert!(round.is_clean());
        }
    }

    #[test]
    fn a_slow_down_of_three_percent_in_any_one_clock_is_not_clean() {
        for clock in 0..3 {
            let mut slow = round(0.7);
            slow.clocks[clock] *= 1.03;
            assert!(!slow.is_clean(), "clock {clock}");
        }
        let slow_chain = Round { long_chain: 1.03 * 286.0, ..round(1.0) };
        assert!(!slow_chain.is_clean());
    }

    #[test]
    fn a_round_on_two_cores_or_with_a_pause_or_with_absurd_readings_is_not_clean() {
        for happened in
            [Happened { preempted: true, moved: false }, Happened { preempted: false, moved: true }]
        {
            assert!(!Round { happened, ..round(1.0) }.is_clean());
        }
        assert!(!Round { long_chain: 1.0, ..round(1.0) }.is_clean());
        assert!(!Round { clocks: [0.0; 3], ..round(1.0) }.is_clean());
    }

    #[test]
    fn clean_rounds_count_and_others_are_left_out() {
        let schedule = Schedule::of(Effort::Standard);
        let mut rounds = vec![round(1.0); schedule.wanted_rounds];
        rounds.insert(3, Round { clocks: [1.0, 1.0, 1.1], ..round(1.0) });
        let (chosen, gate) = choose(&rounds, &schedule, 30.0);
        assert_eq!((chosen.len(), gate), (schedule.wanted_rounds, Gate::Clean));
        assert!(chosen.iter().all(Round::is_clean));
    }

    #[test]
    fn few_rounds_of_a_long_function_are_enough_when_most_are_clean() {
        let rounds = [round(1.0); FEWEST_CLEAN];
        assert_eq!(choose(&rounds, &Schedule::of(Effort::Standard), 30.0).1, Gate::Clean);
    }

    /// Rounds whose clocks lie so far apart.
    fn uneasy(apart: f64, count: usize) -> Vec<Round> {
        vec![Round { clocks: [1.0, 1.0, 1.0 + apart], ..round(1.0) }; count]
    }

    #[test]
    fn where_most_rounds_are_disturbed_the_gate_is_half_as_wide() {
        let schedule = Schedule::of(Effort::Standard);
        let among = |others: Vec<Round>, narrow| {
            choose(&[uneasy(0.008, 41), uneasy(0.004, narrow), others].concat(), &schedule, 30.0)
        };
        let (chosen, gate) = among(uneasy(0.02, 41), 9);
        assert_eq!((chosen.len(), gate), (41 + 9, Gate::Clean));
        let (chosen, gate) = among(uneasy(0.02, 60), 9);
        assert_eq!((chosen, gate), (uneasy(0.004, 9), Gate::Clean));
        assert_eq!(among(uneasy(0.02, 60), 8).1, Gate::BestAgreeing);
        let happened = Happened { preempted: true, moved: false };
        let preempted = vec![Round { happened, ..round(1.0) }; 200];
        assert_eq!(
            among(preempted, 0).1,
            Gate::Clean,
            "a core that was taken says nothing of the other rounds"
        );
    }

    #[test]
    fn without_enough_clean_rounds_the_best_agreeing_eighth_answers() {
        let uneasy = |step: usize| Round { clocks: [1.0, 1.0, 1.02 + step as f64 / 1e3], ..round(1.0) };
        let rounds: Vec<_> = (0..80).rev().map(uneasy).collect();
        let (chosen, gate) = choose(&rounds, &Schedule::of(Effort::Standard), 30.0);
        assert_eq!(gate, Gate::BestAgreeing);
        assert_eq!(chosen, (0..10).rev().map(uneasy).collect::<Vec<_>>());
    }

    /// A round in which calling costs so much, and the function so much beyond.
    fn beside(calling: f64, cycles: f64) -> Round {
        Round {
            short_chains: [64.0 + calling; 2],
            long_chain: 256.0 + calling,
            empty: calling + 12.0,
            function: calling + cycles,
            ..round(1.0)
        }
    }

    /// What is chosen of so many quiet rounds of a function, and 41 beside a neighbour that shortens it by a cycle.
    fn among_shared(quiet: usize, cycles: f64) -> (Vec<Round>, Gate) {
        let rounds = [vec![beside(44.0, cycles - 1.0); 41], vec![beside(30.0, cycles); quiet]].concat();
        choose(&rounds, &Schedule::of(Effort::Standard), 30.0)
    }

    #[test]
    fn rounds_beside_a_busy_hardware_thread_are_clean_but_not_quiet() {
        assert!(beside(44.0, 12.0).is_clean());
        let (chosen, gate) = among_shared(9, 13.0);
        assert_eq!((chosen.len(), gate), (9, Gate::Clean));
        assert!(chosen.iter().all(|round| close(round.isolated(), 13.0)));
    }

    #[test]
    fn a_round_into_which_a_neighbour_came_is_not_quiet_whichever_look_shows_it() {
        let busy = 64.0 + 44.0;
        for looks in [[94.0, busy], [busy, 94.0]] {
            let came = Round { short_chains: looks, long_chain: 192.0 + 101.0, ..round(1.0) };
            assert!(came.is_clean());
            let (chosen, gate) = choose(
                &[vec![came; 41], vec![round(1.0); 9]].concat(),
                &Schedule::of(Effort::Standard),
                f64::INFINITY,
            );
            assert_eq!((chosen, gate), (vec![round(1.0); 9], Gate::Clean), "{looks:?}");
        }
    }

    #[test]
    fn a_neighbour_that_hardly_runs_makes_a_round_not_quiet() {
        let rounds = [vec![beside(30.5, 110.0); 4], vec![beside(30.0, 100.0); 9]].concat();
        let (chosen, gate) = choose(&rounds, &Schedule::of(Effort::Standard), f64::INFINITY);
        assert_eq!((chosen, gate), (vec![beside(30.0, 100.0); 9], Gate::Clean));
    }

    #[test]
    fn the_lower_edge_of_noise_is_not_quiet() {
        let noise = |steps: u32| (0..steps).map(|step| beside(40.0 + 0.01 * f64::from(step), 100.0));
        let gate = |steps| {
            let rounds: Vec<Round> = noise(steps).collect();
            choose(&rounds, &Schedule::of(Effort::Standard), f64::INFINITY).1
        };
        assert_eq!(gate(41), Gate::Clean, "all within a hundredth");
        assert_eq!(gate(400), Gate::Shared, "as many within the next");
    }

    #[test]
    fn a_function_without_quiet_rounds_is_marked_unless_it_is_long() {
        let (chosen, gate) = among_shared(8, 13.0);
        assert_eq!((chosen.len(), gate), (41 + 8, Gate::Shared));
        assert_eq!(among_shared(0, 13.0).1, Gate::Shared, "as the machine was when it was looked at");
        assert_eq!(among_shared(0, 1000.0).1, Gate::Shared);
        assert_eq!(among_shared(0, 1e6).1, Gate::Clean);
    }

    #[test]
    fn what_calling_costs_is_learnt_from_the_rounds_if_the_machine_was_looked_at_in_a_bad_moment() {
        let rounds = [vec![beside(44.0, 12.0); 41], vec![beside(37.0, 13.0); 9]].concat();
        let (chosen, gate) = choose(&rounds, &Schedule::of(Effort::Standard), 44.0);
        assert_eq!((chosen.len(), gate), (9, Gate::Clean));
    }

    #[test]
    fn one_or_two_rounds_are_not_gated() {
        for count in 1..FEWEST_GATED {
            let rounds = vec![round(1.0); count];
            let (chosen, gate) = choose(&rounds, &Schedule::of(Effort::Thorough), 30.0);
            assert_eq!((chosen.len(), gate), (count, Gate::Ungated));
        }
    }
}
