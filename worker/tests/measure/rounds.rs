//! Measuring ends with figures whatever the function does, and calls it as often and as prepared as was asked.

use webrunner_protocol::ids::JobId;
use webrunner_protocol::passes::EventCounts;
use webrunner_protocol::reply::{Gate, Measurement, Outcome, Reply};
use webrunner_worker::measure::{Counters, Inputs, Reading, flush, rehearse};

use super::*;

#[test]
fn every_schedule_gives_a_reply_that_passes_its_check() {
    for schedule in [quick(), short(), Schedule { most_rounds: 0, budget_us: 0.0, ..short() }] {
        for function in [empty(), observer(), destroys_everything()] {
            let measured = Bench::new().run(function, &[], &schedule);
            assert!(measured.cycles.calls_per_round >= 1);
            assert_eq!(as_reply(measured).check(JobId(7)), Ok(()), "{schedule:?}");
        }
    }
}

#[test]
fn gated_rounds_are_reported_or_counted_as_dropped() {
    let schedule = Schedule { most_rounds: 20, wanted_rounds: 1000, budget_us: 1e9, ..short() };
    let cycles = Bench::new().run(observer(), &[], &schedule).cycles;
    assert_eq!(cycles.isolated.len() + cycles.dropped as usize, 20);
    assert_eq!(cycles.throughput.len(), cycles.isolated.len());
    assert_ne!(cycles.gate, Gate::Ungated);
}

#[test]
fn a_budget_of_nothing_still_gives_one_round() {
    let cycles = Bench::new().run(empty(), &[], &Schedule { budget_us: 0.0, ..short() }).cycles;
    assert_eq!((cycles.isolated.len(), cycles.gate, cycles.dropped), (1, Gate::Ungated, 0));
}

#[test]
fn a_function_that_is_long_enough_is_called_once() {
    let mut bench = Bench::new();
    let schedule = Schedule { first_call_alone_us: 0.0, ..short() };
    let cycles = bench.run(counting(), &[], &schedule).cycles;
    assert_eq!((cycles.isolated.len(), cycles.gate, cycles.calls_per_round), (1, Gate::Ungated, 1));
    assert_eq!(bench.seen()[0], 1);
}

/// Counts its own readings, twice: as they are, and ten times over.
struct Readings(u64);

impl Counters for Readings {
    fn len(&self) -> usize {
        2
    }

    fn read(&mut self, readings: &mut [Reading]) -> bool {
        self.0 += 1;
        readings[0].value = self.0;
        readings[1].value = self.0 * 10;
        true
    }
}

#[test]
fn counters_are_read_around_the_functions_batches_and_summed_over_their_calls() {
    for schedule in [quick(), Schedule { most_rounds: 12, wanted_rounds: 1000, budget_us: 1e9, ..short() }] {
        let mut bench = Bench::new();
        let call = PreparedCall::new(&[], &[], empty(), bench.stack_top()).expect("a call without arguments");
        let mut counters = Readings(0);
        // SAFETY: the function only returns.
        let measured = unsafe {
            measure(&mut bench.session, &call, &schedule, &bench.host, &mut counters, &mut NoInputs)
        };
        let [one, ten] = measured.counters[..] else { panic!("{:?}", measured.counters) };
        assert_eq!((one.event, ten.event), (0, 1));
        assert!(one.count >= 1 && one.count <= counters.0 / 2);
        assert_eq!(ten.count, 10 * one.count);
        assert!(one.calls >= one.count && one.calls == ten.calls);
    }
}

/// A word that the function under test changes, and what it was asked for.
struct Word {
    restored: u32,
    flushed: u32,
}

impl Inputs for Word {
    fn restore(&mut self) {
        self.restored += 1;
        // SAFETY: the session is held and no batch is running.
        unsafe { (*SEEN.0.get())[0] = 0 };
    }

    fn flush(&mut self, host: &Host) {
        self.flushed += 1;
        // SAFETY: as above.
        let seen = unsafe { &*SEEN.0.get() };
        flush(&seen[0].to_ne_bytes(), host);
    }
}

#[test]
fn inputs_are_restored_before_each_batch_of_a_round_and_flushed_before_each_cold_call() {
    let mut bench = Bench::new();
    let call = PreparedCall::new(&[], &[], counting(), bench.stack_top()).expect("a call without arguments");
    let schedule = Schedule {
        restore: true,
        cold_calls: 7,
        cold_budget_us: 1e9,
        most_rounds: 5,
        budget_us: 1e9,
        wanted_rounds: 1000,
        ..short()
    };
    let mut word = Word { restored: 0, flushed: 0 };
    // SAFETY: the function only counts in SEEN.
    let measured =
        unsafe { measure(&mut bench.session, &call, &schedule, &bench.host, &mut NoCounters, &mut word) };
    assert_eq!(measured.cycles.cold.map(|cold| cold.calls), Some(7));
    assert_eq!((word.restored, word.flushed), (2 * 5 + 7, 7), "two batches a round");
    assert_eq!(bench.seen()[0], 1, "one call since the last time");
}

/// Notes how often the function was called before its inputs were first restored, which is before its first round.
struct CallsBefore(Option<u64>);

impl Inputs for CallsBefore {
    fn restore(&mut self) {
        // SAFETY: the session is held and no batch is running.
        let calls = unsafe { (*SEEN.0.get())[0] };
        self.0.get_or_insert(calls);
    }

    fn flush(&mut self, _: &Host) {}
}

#[test]
fn a_function_of_wide_vectors_runs_before_its_batches_are_sized() {
    // The first call and one for each of six sizes: batches of no length are of one call.
    const FEW: u64 = 7;
    let calls_before = |wide_vectors| {
        let mut bench = Bench::new();
        let call =
            PreparedCall::new(&[], &[], counting(), bench.stack_top()).expect("a call without arguments");
        let schedule = Schedule {
            wide_vectors,
            warm_up_us: 20e3,
            batch_us: 0.0,
            most_rounds: 1,
            restore: true,
            ..short()
        };
        let mut inputs = CallsBefore(None);
        // SAFETY: the function only counts in SEEN.
        unsafe { measure(&mut bench.session, &call, &schedule, &bench.host, &mut NoCounters, &mut inputs) };
        inputs.0.expect("a round")
    };
    assert!(calls_before(false) <= FEW);
    assert!(calls_before(true) > FEW);
}

#[test]
fn a_function_is_measured_at_each_of_its_places_in_turn() {
    let mut bench = Bench::new();
    let places = [empty(), counting(), observer()];
    let call = PreparedCall::new(&[], &[], places[0], bench.stack_top()).expect("a call without arguments");
    let call = call.also_at(&places[1..]);
    let schedule = Schedule { most_rounds: 12, budget_us: 1e9, wanted_rounds: 1000, ..short() };
    // SAFETY: the functions write to SEEN at most.
    let measured =
        unsafe { measure(&mut bench.session, &call, &schedule, &bench.host, &mut NoCounters, &mut NoInputs) };
    let offsets: Vec<_> = measured.cycles.placements.iter().map(|place| u64::from(place.offset)).collect();
    assert_eq!(offsets, places.map(|address| address % 64));
    let seen = bench.seen();
    assert!(seen[15] != 0, "the third place was never called");
}

#[test]
fn a_rehearsal_leaves_no_trace_in_the_measurement_that_follows() {
    let mut bench = Bench::new();
    let stack_top = bench.stack_top();
    // SAFETY: the stack is this test's own.
    unsafe { rehearse(&mut bench.session, stack_top, &bench.host) };
    let measured = bench.run(counting(), &[], &quick());
    assert_eq!((measured.returned.integer, measured.findings.clobbered), (1, 0));
}

#[test]
fn there_is_one_session_at_a_time() {
    let bench = Bench::new();
    assert!(Session::open().is_none());
    drop(bench);
}

fn as_reply(measured: Measured) -> Reply {
    Reply {
        job: JobId(7),
        outcome: Outcome::Measured(Box::new(Measurement {
            returned: measured.returned,
            cycles: measured.cycles,
            counters: measured.counters,
            events: EventCounts { passes: measured.passes, refused: Vec::new() },
            findings: measured.findings,
            ..Measurement::default()
        })),
    }
}
