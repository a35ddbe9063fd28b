//! A PMU that refuses as real ones do.
//!
//! It has a few counters. A group whose events cannot all have one at a time is refused with `EINVAL` when the event that
//! is too many is opened, as the kernel does. Somebody else may take counters away: then a pinned group that is started
//! gets no place, and reads as nothing; one that runs loses its place at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use webrunner_protocol::events::{EncodedEvent, EventSet};
use webrunner_worker::counters::pmu::{GroupReading, Pmu, Role};
use webrunner_worker::sys::Errno;

/// `PERF_TYPE_HARDWARE`: taken by fixed counters here, so that it always fits.
pub(crate) const FIXED: u32 = 0;

/// `PERF_TYPE_RAW`.
pub(crate) const RAW: u32 = 4;

/// An event no CPU has.
pub(crate) const UNKNOWN: u64 = 0xdead;

/// A set with cycles and instructions on fixed counters, and these events.
pub(crate) fn set(events: &[EncodedEvent]) -> EventSet {
    EventSet {
        cycles: EncodedEvent::anywhere(FIXED, 0),
        instructions: EncodedEvent::anywhere(FIXED, 1),
        events: events.to_vec(),
    }
}

/// An event that fits on the counters of a mask; any if 0.
pub(crate) fn raw(config: u64, counters: u16) -> EncodedEvent {
    EncodedEvent { counters, ..EncodedEvent::anywhere(RAW, config) }
}

#[derive(Debug, Default)]
struct Group {
    members: Vec<(i32, EncodedEvent)>,
    /// Of the kernel's own events, which take no counter.
    software: bool,
    started: bool,
    lost: bool,
}

#[derive(Debug)]
pub(crate) struct State {
    counters: u32,
    /// Counters that somebody else has.
    pub(crate) stolen: u32,
    groups: BTreeMap<i32, Group>,
    next: i32,
    /// Reads so far; what the counters show is made of it.
    pub(crate) reads: u64,
    /// Reads after which somebody takes all counters.
    pub(crate) stolen_from: Option<u64>,
    /// Added to the running time at each reading less than to the enabled one.
    pub(crate) shared: bool,
    /// Errors of `perf_event_open`, whatever is asked.
    pub(crate) broken: Option<i32>,
    /// All groups that were ever started, in order.
    pub(crate) starts: Vec<i32>,
}

/// A handle to it; the test keeps one.
#[derive(Debug, Clone)]
pub(crate) struct Fake(pub(crate) Rc<RefCell<State>>);

impl Fake {
    /// With so many counters for anything but cycles and instructions.
    pub(crate) fn new(counters: u32) -> Self {
        Self(Rc::new(RefCell::new(State {
            counters,
            stolen: 0,
            groups: BTreeMap::new(),
            next: 4,
            reads: 0,
            stolen_from: None,
            shared: false,
            broken: None,
            starts: Vec::new(),
        })))
    }

    /// Descriptors of hardware events that are open.
    pub(crate) fn open_descriptors(&self) -> usize {
        self.0.borrow().groups.values().filter(|group| !group.software).map(|group| group.members.len()).sum()
    }

    /// Groups on the hardware.
    pub(crate) fn running(&self) -> usize {
        self.0.borrow().groups.values().filter(|group| group.is_running()).count()
    }
}

impl Group {
    /// Whether it is on the hardware.
    fn is_running(&self) -> bool {
        self.started && !self.lost && !self.software
    }
}

/// Whether each event can have counters of its own among those that are not in `taken`.
fn fits(events: &[EncodedEvent], counters: u32, taken: u32) -> bool {
    let Some((first, rest)) = events.split_first() else { return true };
    if first.kind == FIXED {
        return fits(rest, counters, taken);
    }
    let allowed = if first.counters == 0 { u32::MAX } else { first.counters.into() };
    let free: Vec<u32> =
        (0..counters).map(|bit| 1 << bit).filter(|bit| allowed & bit != 0 && taken & bit == 0).collect();
    if first.weight == 2 {
        return free.iter().enumerate().any(|(index, one)| {
            free[index + 1..].iter().any(|other| fits(rest, counters, taken | one | other))
        });
    }
    free.iter().any(|bit| fits(rest, counters, taken | bit))
}

impl State {
    fn has_place(&self, group: &Group) -> bool {
        let events: Vec<EncodedEvent> = group.members.iter().map(|(_, event)| *event).collect();
        self.stolen < self.counters.max(1) && fits(&events, self.counters - self.stolen, 0)
    }
}

impl Pmu for Fake {
    fn open(&mut self, event: &EncodedEvent, role: Role) -> Result<i32, Errno> {
        let mut state = self.0.borrow_mut();
        if let Some(errno) = state.broken {
            return Err(Errno(errno));
        }
        if event.config == UNKNOWN {
            return Err(Errno(libc::EINVAL));
        }
        let (descriptor, counters) = (state.next, state.counters);
        match role {
            Role::Always | Role::Leader => {
                let software = role == Role::Always;
                let members = vec![(descriptor, *event)];
                let group = Group { members, software, started: software, lost: false };
                state.groups.insert(descriptor, group);
            }
            Role::Member(leader) => {
                let group = state.groups.get_mut(&leader).ok_or(Errno(libc::EBADF))?;
                let all: Vec<EncodedEvent> =
                    group.members.iter().map(|(_, event)| *event).chain([*event]).collect();
                if !fits(&all, counters, 0) {
                    return Err(Errno(libc::EINVAL));
                }
                group.members.push((descriptor, *event));
            }
        }
        state.next += 1;
        Ok(descriptor)
    }

    fn close(&mut self, descriptor: i32) {
        let mut state = self.0.borrow_mut();
        state.groups.remove(&descriptor);
        for group in state.groups.values_mut() {
            group.members.retain(|(member, _)| *member != descriptor);
        }
    }

    fn start(&mut self, leader: i32) {
        let mut state = self.0.borrow_mut();
        let place = state.groups.get(&leader).is_some_and(|group| state.has_place(group));
        let others = state.groups.values().any(Group::is_running);
        if let Some(group) = state.groups.get_mut(&leader) {
            // Two pinned groups that both want the hardware: the second gets none.
            (group.started, group.lost) = (true, !place || others);
        }
        state.starts.push(leader);
    }

    fn stop(&mut self, leader: i32) {
        if let Some(group) = self.0.borrow_mut().groups.get_mut(&leader) {
            (group.started, group.lost) = (false, false);
        }
    }

    /// Cycles and instructions go up by the same at each reading, an event by its own number.
    fn read(&mut self, leader: i32, members: usize) -> Option<GroupReading> {
        let mut state = self.0.borrow_mut();
        state.reads += 1;
        let reads = state.reads;
        if state.stolen_from.is_some_and(|from| reads >= from) {
            state.stolen = state.counters;
        }
        let place = state.groups.get(&leader).is_some_and(|group| state.has_place(group));
        let shared = state.shared;
        let group = state.groups.get_mut(&leader)?;
        assert_eq!(group.members.len(), members, "as many are read as there are");
        assert!(group.started, "a group is read only while it is started");
        group.lost |= !place && !group.software;
        if group.lost {
            return None;
        }
        let mut reading = GroupReading { time_enabled: 10 * reads, ..GroupReading::default() };
        reading.time_running = if shared { 9 * reads } else { 10 * reads };
        for (value, (_, event)) in reading.values.iter_mut().zip(&group.members) {
            *value = reads * if event.kind == FIXED { 1000 } else { event.config };
        }
        Some(reading)
    }
}
