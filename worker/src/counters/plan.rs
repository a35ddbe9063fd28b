//! Which events share a pass, found out by opening them: the kernel knows what fits, tables only guess.
//!
//! A real PMU refuses for reasons no table holds: a hypervisor that shows fewer counters, a watchdog that keeps one, an
//! event that only one counter takes. So nothing here counts counters. Each event is tried in the passes there are, those
//! that fit in fewest places first; what fits nowhere opens another pass, and what does not fit beside cycles and
//! instructions alone is refused, with the reason. When it opens an event the kernel asks only whether the group fits an
//! empty PMU, so each group is also started for a moment: one that somebody else leaves no room for gives no reading.
#![forbid(unsafe_code)]

use webrunner_protocol::events::{EncodedEvent, EventSet, OpenRefusal, PassPlan, RefusedEvent};
use webrunner_protocol::limits::{MAX_EVENTS, MAX_GROUP, MAX_PASSES};
use webrunner_protocol::passes::LEADING;

use super::pmu::{Pmu, Role};
use crate::sys::Errno;

/// One pass, open and not started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenPass {
    /// Descriptors: cycles, which leads, instructions, then the events.
    pub descriptors: Vec<i32>,
    /// The events, by number.
    pub events: Vec<u16>,
}

impl OpenPass {
    /// Opens cycles and instructions.
    fn begin(pmu: &mut impl Pmu, set: &EventSet) -> Result<Self, Errno> {
        let leader = pmu.open(&set.cycles, Role::Leader)?;
        match pmu.open(&set.instructions, Role::Member(leader)) {
            Ok(second) => Ok(Self { descriptors: vec![leader, second], events: Vec::new() }),
            Err(errno) => {
                pmu.close(leader);
                Err(errno)
            }
        }
    }

    /// The descriptor that stands for the group.
    #[must_use]
    pub fn leader(&self) -> Option<i32> {
        self.descriptors.first().copied()
    }

    fn add(&mut self, pmu: &mut impl Pmu, number: u16, event: &EncodedEvent) -> Result<(), Errno> {
        const FULL: Errno = Errno(libc::ENOSPC);
        let leader = self.leader().filter(|_| self.descriptors.len() < MAX_GROUP).ok_or(FULL)?;
        let descriptor = pmu.open(event, Role::Member(leader))?;
        self.descriptors.push(descriptor);
        if !self.runs(pmu, leader) {
            self.descriptors.pop();
            pmu.close(descriptor);
            return Err(FULL);
        }
        self.events.push(number);
        Ok(())
    }

    /// Whether the group gets onto the hardware now.
    fn runs(&self, pmu: &mut impl Pmu, leader: i32) -> bool {
        pmu.start(leader);
        let reading = pmu.read(leader, self.descriptors.len());
        pmu.stop(leader);
        reading.is_some()
    }

    /// Closes all of it.
    pub fn close(&self, pmu: &mut impl Pmu) {
        for &descriptor in self.descriptors.iter().rev() {
            pmu.close(descriptor);
        }
    }
}

/// Opens a set, spread over as few passes as it takes. There is at least one pass, for cycles and instructions, unless
/// those cannot be counted.
pub fn open(pmu: &mut impl Pmu, set: &EventSet) -> (Vec<OpenPass>, Vec<RefusedEvent>) {
    let numbers = most_constrained_first(&set.events);
    let mut passes = match OpenPass::begin(pmu, set) {
        Ok(first) => vec![first],
        Err(Errno(errno)) => {
            let reason = OpenRefusal::from_errno(errno);
            return (Vec::new(), numbers.iter().map(|&event| RefusedEvent { event, reason }).collect());
        }
    };
    let mut refused = Vec::new();
    for event in numbers {
        if let Err(reason) = place(pmu, set, &mut passes, event) {
            refused.push(RefusedEvent { event, reason });
        }
    }
    // The last may have been opened for an event that did not fit there either.
    if passes.len() > 1
        && let Some(unused) = passes.pop_if(|last| last.events.is_empty())
    {
        unused.close(pmu);
    }
    (passes, refused)
}

/// Opens a set as it was planned. A pass that cannot be opened whole is left out.
pub fn reopen(pmu: &mut impl Pmu, set: &EventSet, plan: &PassPlan) -> Vec<OpenPass> {
    let mut passes = Vec::with_capacity(plan.passes.len());
    for events in &plan.passes {
        let Ok(mut pass) = OpenPass::begin(pmu, set) else { continue };
        let whole = events.iter().all(|&number| {
            let event = set.events.get(usize::from(number));
            event.is_some_and(|event| pass.add(pmu, number, event).is_ok())
        });
        if whole {
            passes.push(pass);
        } else {
            pass.close(pmu);
        }
    }
    passes
}

/// Puts an event into the first pass that takes it, opening another if none does.
fn place(
    pmu: &mut impl Pmu,
    set: &EventSet,
    passes: &mut Vec<OpenPass>,
    number: u16,
) -> Result<(), OpenRefusal> {
    let event = &set.events[usize::from(number)];
    for pass in passes.iter_mut() {
        match pass.add(pmu, number, event) {
            Ok(()) => return Ok(()),
            // Not even beside cycles and instructions alone.
            Err(Errno(errno)) if pass.descriptors.len() == LEADING || !OpenRefusal::is_full(errno) => {
                return Err(OpenRefusal::from_errno(errno));
            }
            Err(_) => {}
        }
    }
    if passes.len() == MAX_PASSES {
        return Err(OpenRefusal::NoRoom);
    }
    let mut fresh = OpenPass::begin(pmu, set).map_err(|Errno(errno)| OpenRefusal::from_errno(errno))?;
    let added = fresh.add(pmu, number, event);
    passes.push(fresh);
    added.map_err(|Errno(errno)| OpenRefusal::from_errno(errno))
}

/// The numbers of the events, those with the fewest places they fit in first; the order is kept among equals.
fn most_constrained_first(events: &[EncodedEvent]) -> Vec<u16> {
    let mut numbers: Vec<u16> = (0..events.len().min(MAX_EVENTS) as u16).collect();
    let places = |number: &u16| {
        let event = &events[usize::from(*number)];
        let counters = if event.counters == 0 { u16::BITS } else { event.counters.count_ones() };
        counters / u32::from(event.weight.max(1))
    };
    numbers.sort_by_key(places);
    numbers
}
