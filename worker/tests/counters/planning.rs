//! Which events share a pass, on PMUs of every kind.

use webrunner_protocol::events::{EncodedEvent, OpenRefusal, PassPlan, RefusedEvent};
use webrunner_protocol::limits::{MAX_EVENTS, MAX_GROUP, MAX_PASSES};
use webrunner_protocol::passes::LEADING;
use webrunner_worker::counters::plan;

use crate::fake::{Fake, UNKNOWN, raw, set};

fn many(count: usize) -> Vec<EncodedEvent> {
    (1..=count as u64).map(|number| raw(number, 0)).collect()
}

fn events_of(passes: &[plan::OpenPass]) -> Vec<Vec<u16>> {
    passes.iter().map(|pass| pass.events.clone()).collect()
}

#[test]
fn events_are_packed_into_as_few_passes_as_the_counters_allow() {
    for (counters, passes) in [(4, 7), (8, 4), (6, 5), (1, 27)] {
        let mut fake = Fake::new(counters);
        let (open, refused) = plan::open(&mut fake, &set(&many(27)));
        assert_eq!(open.len(), passes.min(MAX_PASSES), "{counters} counters");
        assert_eq!(refused.len(), 27_usize.saturating_sub(MAX_PASSES * counters as usize));
        assert!(refused.iter().all(|refused| refused.reason == OpenRefusal::NoRoom));
        assert_eq!(fake.open_descriptors(), LEADING * open.len() + 27 - refused.len());
        assert_eq!(fake.running(), 0, "nothing is on the hardware before it is started");
    }
}

#[test]
fn events_that_fit_on_one_counter_only_get_it_before_others_take_it() {
    // Opened in the order given, the free ones would take all places of the first pass but the wrong one.
    let events = [raw(1, 0), raw(2, 0), raw(3, 0), raw(4, 0b0100), raw(5, 0b1111), raw(6, 0b0100)];
    let (open, refused) = plan::open(&mut Fake::new(4), &set(&events));
    assert_eq!(refused, []);
    assert_eq!(events_of(&open), [vec![3, 4, 0, 1], vec![5, 2]]);
}

#[test]
fn a_counter_that_somebody_else_has_is_not_planned_with() {
    // The kernel opens four to a group all the same, as it does when its watchdog has one.
    let mut fake = Fake::new(4);
    fake.0.borrow_mut().stolen = 1;
    let (open, refused) = plan::open(&mut fake, &set(&many(7)));
    assert_eq!((events_of(&open), refused), (vec![vec![0, 1, 2], vec![3, 4, 5], vec![6]], Vec::new()));
    assert_eq!(fake.open_descriptors(), LEADING * 3 + 7);
    assert_eq!(fake.running(), 0);
}

#[test]
fn an_event_that_takes_two_counters_leaves_room_for_fewer_others() {
    let pair = EncodedEvent { weight: 2, ..raw(3, 0) };
    let (open, refused) = plan::open(&mut Fake::new(4), &set(&[raw(1, 0), raw(2, 0), pair, raw(4, 0)]));
    assert_eq!((events_of(&open), refused), (vec![vec![2, 0, 1], vec![3]], Vec::new()));
}

#[test]
fn an_event_that_no_counter_takes_is_refused_and_costs_no_pass() {
    let events = [raw(UNKNOWN, 0), raw(1, 0), raw(UNKNOWN, 0), raw(2, 0b1_0000)];
    let mut fake = Fake::new(4);
    let (open, refused) = plan::open(&mut fake, &set(&events));
    assert_eq!(events_of(&open), [[1]]);
    let reason = OpenRefusal::DoesNotFit;
    assert_eq!(refused, [3, 0, 2].map(|event| RefusedEvent { event, reason }));
    assert_eq!(fake.open_descriptors(), LEADING + 1);
}

#[test]
fn cycles_and_instructions_are_counted_even_where_nothing_else_can_be() {
    for events in [Vec::new(), vec![raw(UNKNOWN, 0)]] {
        let (open, _) = plan::open(&mut Fake::new(4), &set(&events));
        assert_eq!(events_of(&open), [Vec::<u16>::new()]);
    }
    // As on a virtual machine that was given two counters, and they are taken.
    let (open, refused) = plan::open(&mut Fake::new(0), &set(&many(2)));
    assert_eq!((open.len(), refused.len()), (1, 2));
}

#[test]
fn a_host_that_permits_nothing_refuses_every_event_with_the_reason() {
    for (errno, reason) in
        [(libc::ENOENT, OpenRefusal::NoCounters), (libc::EACCES, OpenRefusal::NotPermitted)]
    {
        let mut fake = Fake::new(4);
        fake.0.borrow_mut().broken = Some(errno);
        let (open, refused) = plan::open(&mut fake, &set(&many(2)));
        assert_eq!(open, []);
        assert_eq!(refused, [0, 1].map(|event| RefusedEvent { event, reason }));
    }
}

#[test]
fn a_group_is_never_longer_than_a_reading() {
    let (open, refused) = plan::open(&mut Fake::new(32), &set(&many(MAX_EVENTS)));
    assert_eq!(refused, []);
    assert!(open.iter().all(|pass| pass.descriptors.len() <= MAX_GROUP));
    assert_eq!(open.iter().map(|pass| pass.events.len()).sum::<usize>(), MAX_EVENTS);
}

#[test]
fn more_events_than_a_job_may_ask_for_are_not_opened() {
    let mut fake = Fake::new(8);
    plan::open(&mut fake, &set(&many(MAX_EVENTS + 10)));
    assert_eq!(fake.open_descriptors(), MAX_EVENTS + LEADING * MAX_EVENTS / 8);
}

#[test]
fn a_worker_opens_what_the_zygote_planned() {
    let set = set(&many(10));
    let (open, refused) = plan::open(&mut Fake::new(4), &set);
    let planned = PassPlan { passes: events_of(&open), refused };
    let again = plan::reopen(&mut Fake::new(4), &set, &planned);
    assert_eq!(events_of(&again), planned.passes);
}

#[test]
fn a_pass_that_can_no_longer_be_opened_whole_is_left_out_and_closed() {
    let set = set(&many(10));
    let planned = PassPlan { passes: vec![vec![0, 1, 2, 3], vec![4, 5], vec![6, 99]], refused: Vec::new() };
    let mut fake = Fake::new(3);
    let open = plan::reopen(&mut fake, &set, &planned);
    assert_eq!(events_of(&open), [[4, 5]]);
    assert_eq!(fake.open_descriptors(), LEADING + 2);
}
