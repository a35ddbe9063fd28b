//! Hardware events as the kernel takes them: encoded by the supervisor, opened by zygotes and workers.
//!
//! Names, families and what a client may ask for are the supervisor's; here an event is a handful of numbers, so that a
//! worker holds no table and no policy. How many there may be is bounded by [`limits`](crate::limits).

use serde::{Deserialize, Serialize};

/// One event, as `perf_event_open` takes it, with what is known of where it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EncodedEvent {
    /// `perf_event_attr.type`.
    pub kind: u32,
    /// `perf_event_attr.config`.
    pub config: u64,
    /// Bit mask of the counters that can count it; 0 for any. A hint for packing: the kernel decides.
    pub counters: u16,
    /// Counters it takes. A hint too.
    pub weight: u8,
}

impl EncodedEvent {
    /// An event that any one counter can count.
    #[must_use]
    pub const fn anywhere(kind: u32, config: u64) -> Self {
        Self { kind, config, counters: 0, weight: 1 }
    }
}

/// What is to be counted together: two events in every pass, and the others spread over as many passes as it takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EventSet {
    /// Core cycles: leads the group of every pass.
    pub cycles: EncodedEvent,
    /// Instructions: by these passes are held against each other.
    pub instructions: EncodedEvent,
    /// The rest, at most [`MAX_EVENTS`](crate::limits::MAX_EVENTS); readings number them from 0 in this order.
    pub events: Vec<EncodedEvent>,
}

/// How a set was spread over passes, and what was left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PassPlan {
    /// The events of each pass, by number; at most [`MAX_PASSES`](crate::limits::MAX_PASSES). None at all where not even
    /// cycles and instructions can be counted.
    pub passes: Vec<Vec<u16>>,
    /// Events in no pass.
    pub refused: Vec<RefusedEvent>,
}

/// An event that the kernel did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedEvent {
    /// Its number.
    pub event: u16,
    /// Why.
    pub reason: OpenRefusal,
}

/// Why an event cannot be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum OpenRefusal {
    /// There is no such counter.
    #[error("this host has no hardware counters, or its hypervisor hides them")]
    NoCounters,
    /// The kernel does not allow it.
    #[error(
        "perf_event_open is not permitted; set kernel.perf_event_paranoid to 2 or less, and where it is, let the security \
         module allow it"
    )]
    NotPermitted,
    /// It never comes to the kernel, which has another error number for what it does not allow.
    #[error(
        "a filter of system calls forbids perf_event_open; allow it in the container's seccomp profile (Docker: \
         --cap-add PERFMON) or the unit's SystemCallFilter="
    )]
    Filtered,
    /// Not even alone beside cycles and instructions.
    #[error(
        "the kernel does not count it on this CPU, or has no counter left for it beside cycles and instructions"
    )]
    DoesNotFit,
    /// All passes are full.
    #[error("there was no room left for it in any pass")]
    NoRoom,
    /// Anything else.
    #[error("perf_event_open failed with error number {0}")]
    Other(i32),
}

impl OpenRefusal {
    /// What an error number of `perf_event_open` means here.
    #[must_use]
    pub fn from_errno(errno: i32) -> Self {
        const EPERM: i32 = 1;
        const ENOENT: i32 = 2;
        const EACCES: i32 = 13;
        const ENODEV: i32 = 19;
        const EOPNOTSUPP: i32 = 95;
        match errno {
            ENOENT | ENODEV | EOPNOTSUPP => Self::NoCounters,
            EACCES => Self::NotPermitted,
            EPERM => Self::Filtered,
            errno if Self::is_full(errno) => Self::DoesNotFit,
            errno => Self::Other(errno),
        }
    }

    /// Whether an error number means that the event does not fit into the group it was to join.
    #[must_use]
    pub fn is_full(errno: i32) -> bool {
        const EINVAL: i32 = 22;
        const ENOSPC: i32 = 28;
        matches!(errno, EINVAL | ENOSPC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do_or_what_is_missing() {
        let words = |errno| OpenRefusal::from_errno(errno).to_string();
        assert!(words(2).contains("no hardware counters"));
        assert!(words(13).contains("perf_event_paranoid"));
        assert!(words(1).contains("seccomp profile") && !words(1).contains("perf_event_paranoid"));
        assert!(words(22).contains("does not count it"));
        assert!(words(5).contains("error number 5"));
    }
}
