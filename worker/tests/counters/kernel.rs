//! The kernel's real groups, of events it counts in software: every host has those.

use webrunner_protocol::events::{EncodedEvent, EventSet};
use webrunner_protocol::passes::{CYCLES, LEADING};
use webrunner_worker::counters::plan;
use webrunner_worker::counters::pmu::{KernelPmu, Pmu};
use webrunner_worker::sys::keyed;

use crate::measuring::measured;

/// `PERF_TYPE_SOFTWARE`.
const SOFTWARE: u32 = 1;
/// `PERF_COUNT_SW_TASK_CLOCK`, `PERF_COUNT_SW_PAGE_FAULTS`.
const TASK_CLOCK: u64 = 1;
const PAGE_FAULTS: u64 = 2;

/// Nanoseconds in place of cycles, page faults in place of everything else.
fn software(events: usize) -> EventSet {
    EventSet {
        cycles: EncodedEvent::anywhere(SOFTWARE, TASK_CLOCK),
        instructions: EncodedEvent::anywhere(SOFTWARE, PAGE_FAULTS),
        events: vec![EncodedEvent::anywhere(SOFTWARE, PAGE_FAULTS); events],
    }
}

/// Whether this host lets a process count its own software events; says so if not.
fn permitted() -> bool {
    keyed::create().expect("keys can be made");
    let (open, refused) = plan::open(&mut KernelPmu, &software(1));
    for pass in &open {
        pass.close(&mut KernelPmu);
    }
    if open.is_empty() {
        println!("skipped: this host lets no process count its own events: {refused:?}");
    }
    !open.is_empty()
}

#[test]
fn a_group_counts_while_it_is_started_and_only_then() {
    if !permitted() {
        return;
    }
    let mut pmu = KernelPmu;
    let (open, _) = plan::open(&mut pmu, &software(2));
    let [pass] = &open[..] else { panic!("{open:?}") };
    let (leader, members) = (pass.leader().expect("a leader"), pass.descriptors.len());
    let mut read = || pmu.read(leader, members).expect("a reading");
    assert_eq!(read(), read(), "started for a moment to try it, and stopped again");
    pmu.start(leader);
    let mut read = || pmu.read(leader, members).expect("a reading");
    let (first, second) = (read(), read());
    assert!(second.values[CYCLES] > first.values[CYCLES], "the clock goes on");
    assert_eq!(second.time_enabled, second.time_running);
    pmu.stop(leader);
    let mut read = || pmu.read(leader, members).expect("a reading");
    assert_eq!(read(), read(), "stopped");
    pass.close(&mut pmu);
    assert_eq!(pmu.read(leader, members), None, "closed");
}

#[test]
fn an_event_the_kernel_does_not_know_is_refused_and_the_rest_is_counted() {
    if !permitted() {
        return;
    }
    let mut set = software(2);
    set.events[0].config = u64::MAX;
    let (open, refused) = plan::open(&mut KernelPmu, &set);
    assert_eq!(refused.iter().map(|refused| refused.event).collect::<Vec<_>>(), [0]);
    assert_eq!(open.iter().flat_map(|pass| pass.events.clone()).collect::<Vec<_>>(), [1]);
    for pass in open {
        pass.close(&mut KernelPmu);
    }
}

#[test]
fn a_function_is_measured_over_several_real_groups_in_turn() {
    if !permitted() {
        return;
    }
    // The kernel sets no bound to a group of these; 14 to a pass is ours.
    let attempt = |_| {
        let measured = measured(KernelPmu, &software(30));
        let events: Vec<_> = measured.passes.iter().map(|pass| pass.events.len()).collect();
        assert_eq!(events, [14, 14, 2]);
        measured
    };
    // Only clean rounds are counted, of which a busy machine may leave a pass none.
    let measured = (0..20)
        .map(attempt)
        .find(|measured| measured.passes.iter().all(|pass| pass.rounds > 0))
        .expect("a clean round of each pass in one of twenty measurements");
    for pass in &measured.passes {
        assert_eq!(pass.lost, 0, "{pass:?}");
        assert_eq!(pass.counts.len(), LEADING + pass.events.len());
        assert!(pass.counts[CYCLES].function > pass.counts[CYCLES].nothing, "a batch takes time: {pass:?}");
        assert!(pass.counts[LEADING..].iter().all(|counts| counts.function == 0), "no page faults: {pass:?}");
    }
    assert!(!measured.cycles.counted.is_empty());
}
