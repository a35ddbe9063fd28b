//! The events that the kernel counts in software: one group, on every host that permits it.
#![forbid(unsafe_code)]

use webrunner_protocol::control::Event;
use webrunner_protocol::events::{EncodedEvent, OpenRefusal};

use super::pmu::{Pmu, Role};
use crate::sys::Errno;

/// `PERF_TYPE_SOFTWARE` of linux/perf_event.h.
const SOFTWARE: u32 = 1;

/// Name, unit and encoding: `PERF_COUNT_SW_TASK_CLOCK`, `PERF_COUNT_SW_PAGE_FAULTS`.
const EVENTS: [(&str, &str, EncodedEvent); COUNT] = [
    ("task-clock", "ns", EncodedEvent::anywhere(SOFTWARE, 1)),
    ("page-faults", "faults", EncodedEvent::anywhere(SOFTWARE, 2)),
];

/// How many there are.
pub const COUNT: usize = 2;

/// Whether this host counts them: all or none.
#[derive(Debug)]
pub struct KernelEvents {
    missing: Option<OpenRefusal>,
}

impl KernelEvents {
    /// Tries them, and leaves them open, not started, where that goes well.
    pub fn probe(pmu: &mut impl Pmu) -> Self {
        Self {
            missing: open_group(pmu, Role::Leader).err().map(|Errno(errno)| OpenRefusal::from_errno(errno)),
        }
    }

    /// What they are called, and why they are missing if they are.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let missing = self.missing.map(super::words);
        let event = |(name, unit, _): &(&str, &str, _)| Event {
            name: (*name).into(),
            unit: (*unit).into(),
            missing: missing.clone(),
        };
        EVENTS.iter().map(event).collect()
    }

    /// Opens them on this process; gives the leader.
    pub fn open(&self, pmu: &mut impl Pmu) -> Option<i32> {
        if self.missing.is_some() {
            return None;
        }
        open_group(pmu, Role::Always).ok()
    }
}

fn open_group(pmu: &mut impl Pmu, role: Role) -> Result<i32, Errno> {
    let [(.., first), rest @ ..] = &EVENTS;
    let leader = pmu.open(first, role)?;
    for (.., event) in rest {
        if let Err(errno) = pmu.open(event, Role::Member(leader)) {
            pmu.close(leader);
            return Err(errno);
        }
    }
    Ok(leader)
}
