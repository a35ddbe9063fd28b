//! A function measured with a PMU that refuses: what is counted, what is lost, and that neither is mixed up.

use webrunner_protocol::events::EventSet;
use webrunner_protocol::job::Effort;
use webrunner_protocol::limits::MAX_GROUP;
use webrunner_protocol::passes::{CYCLES, INSTRUCTIONS, LEADING, PassCounts};
use webrunner_worker::counters::EventTable;
use webrunner_worker::counters::pmu::Pmu;
use webrunner_worker::measure::{Host, Measured, NoInputs, PreparedCall, Schedule, Session, measure};
use webrunner_worker::sys::keyed;

use crate::fake::{Fake, raw, set};

/// The function to measure.
#[unsafe(naked)]
extern "sysv64" fn seventeen() {
    std::arch::naked_asm!("push 17", "pop rax", "ret")
}

/// Measures it for some hundred rounds, whatever the machine does meanwhile: a pass needs three that nothing disturbed.
pub(crate) fn measured(pmu: impl Pmu, events: &EventSet) -> Measured {
    let mut session = loop {
        match Session::open() {
            Some(session) => break session,
            None => std::thread::yield_now(),
        }
    };
    // The table tries the kernel's own events on the real kernel.
    keyed::create().expect("keys can be made");
    let mut counters = EventTable::probe(None).open_others(pmu, events);
    let host = Host::probe(&mut session, 2500.0);
    let mut stack = vec![0u128; 256];
    let top = stack.as_mut_ptr_range().end as u64;
    let call =
        PreparedCall::new(&[], &[], seventeen as *const () as u64, top).expect("a call without arguments");
    let schedule = Schedule {
        wanted_rounds: 1000,
        most_rounds: 100,
        budget_us: 1e9,
        warm_up_us: 10.0,
        ..Schedule::of(Effort::Standard)
    };
    // SAFETY: the function uses 16 bytes of a stack that is this test's own.
    unsafe { measure(&mut session, &call, &schedule, &host, &mut counters, &mut NoInputs) }
}

fn events_of(passes: &[PassCounts]) -> Vec<&[u16]> {
    passes.iter().map(|pass| &pass.events[..]).collect()
}

#[test]
fn every_event_is_counted_in_its_pass_beside_cycles_and_instructions() {
    let events: Vec<_> = (1..=10).map(|number| raw(number, 0)).collect();
    let fake = Fake::new(4);
    let measured = measured(fake.clone(), &set(&events));
    assert_eq!(events_of(&measured.passes), [&[0, 1, 2, 3][..], &[4, 5, 6, 7], &[8, 9]]);
    for pass in &measured.passes {
        assert!(pass.rounds >= 3 && pass.lost == 0, "{pass:?}");
        assert_eq!(pass.counts.len(), LEADING + pass.events.len());
        // The stand-in counts up by the same at each reading: a batch is one reading long.
        assert_eq!((pass.counts[CYCLES].function, pass.counts[INSTRUCTIONS].nothing), (1000, 1000));
        for (event, counts) in pass.events.iter().zip(&pass.counts[LEADING..]) {
            assert_eq!(counts.function, u64::from(*event) + 1);
        }
    }
    assert_eq!(fake.running(), 1, "one group at a time is on the hardware");
}

#[test]
fn a_single_pass_is_started_once_to_try_it_and_once_to_measure() {
    let fake = Fake::new(4);
    let measured = measured(fake.clone(), &set(&[raw(1, 0)]));
    assert_eq!((measured.passes.len(), fake.0.borrow().starts.len()), (1, 2));
}

#[test]
fn a_counter_stolen_in_mid_run_loses_rounds_and_makes_no_number() {
    let fake = Fake::new(4);
    fake.0.borrow_mut().stolen_from = Some(100);
    let measured = measured(fake, &set(&[raw(7, 0)]));
    let [pass] = &measured.passes[..] else { panic!("{:?}", measured.passes) };
    assert!(pass.lost > 0 && pass.rounds > 0, "{pass:?}");
    assert_eq!(pass.counts[LEADING].function, 7, "rounds before the theft count as they were");
    assert!(measured.cycles.counted.len() <= pass.rounds as usize, "no cycles from lost rounds");
}

#[test]
fn a_pinned_group_without_a_place_gives_no_counts_at_all() {
    let fake = Fake::new(4);
    // Gone as soon as the plan was made.
    fake.0.borrow_mut().stolen_from = Some(2);
    let measured = measured(fake, &set(&[raw(7, 0)]));
    let [pass] = &measured.passes[..] else { panic!("{:?}", measured.passes) };
    assert_eq!((pass.rounds, &pass.counts[..], &measured.cycles.counted[..]), (0, &[][..], &[][..]));
    assert!(pass.lost >= 30);
    assert!(!measured.cycles.isolated.is_empty(), "the clock needs no counters");
}

#[test]
fn a_group_that_shared_the_hardware_gives_no_counts_either() {
    let fake = Fake::new(4);
    fake.0.borrow_mut().shared = true;
    let measured = measured(fake, &set(&[raw(7, 0)]));
    assert!(measured.passes.iter().all(|pass| pass.counts.is_empty() && pass.lost > 0));
}

#[test]
fn a_host_without_counters_makes_no_pass() {
    let fake = Fake::new(4);
    fake.0.borrow_mut().broken = Some(libc::ENOENT);
    let measured = measured(fake, &set(&[raw(7, 0)]));
    assert_eq!((measured.passes.len(), measured.cycles.counted.len()), (0, 0));
}

#[test]
fn the_longest_group_is_read_whole() {
    let events: Vec<_> = (1..=(MAX_GROUP - LEADING) as u64).map(|number| raw(number, 0)).collect();
    let measured = measured(Fake::new(32), &set(&events));
    let [pass] = &measured.passes[..] else { panic!("{:?}", measured.passes) };
    assert_eq!(pass.counts.len(), MAX_GROUP);
    assert_eq!(pass.counts.last().map(|counts| counts.long_chain), Some((MAX_GROUP - LEADING) as u64));
}
