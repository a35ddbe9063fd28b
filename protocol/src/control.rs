//! Supervisor to zygote and back, over one `SOCK_SEQPACKET` socket: each message is one packet.
//!
//! The zygote is trusted until it forks: it never runs a byte of a job. It has one core, and its workers inherit it.

use serde::{Deserialize, Serialize};

use crate::events::{EventSet, PassPlan};
use crate::ids::{CoreId, WorkerId};

/// What the zygote receives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ZygoteRequest {
    /// First message: become what it says, then answer [`ZygoteReport::Ready`] or [`ZygoteReport::Unable`].
    Configure(ZygoteConfig),
    /// Fork one worker, then answer [`ZygoteReport::Forked`] or [`ZygoteReport::ForkFailed`].
    Fork {
        /// The worker's number.
        worker: WorkerId,
        /// What it is to be ready for.
        profile: WorkerProfile,
        /// A worker to end first, as by [`End`](Self::End): most often the one that the new one replaces.
        end: Option<WorkerId>,
    },
    /// End a worker, if it has not ended: its job is over, whatever it is doing. There is no answer but the usual
    /// report of its end.
    End {
        /// The worker's number.
        worker: WorkerId,
    },
    /// Answer [`ZygoteReport::Pong`].
    Ping,
}

/// What a worker is made ready for before it knows its job. A worker can only be given up, never changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WorkerProfile {
    /// Nothing beyond its memory: for jobs of quick effort, whose cost is mostly the worker's own birth and death.
    Plain,
    /// The kernel's events, and the zygote's own set of hardware events, open.
    Counting,
    /// The kernel's events, and these hardware events in place of the zygote's, as far as they can be opened.
    Events(Box<EventSet>),
}

/// What a zygote is to become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZygoteConfig {
    /// [`PROTOCOL_VERSION`](crate::PROTOCOL_VERSION) of the supervisor.
    pub protocol: u16,
    /// Version of the supervisor's executable; the zygote's must be the same.
    pub version: String,
    /// Core that it and its workers run on.
    pub core: CoreId,
    /// What jobs run there.
    pub lane: Lane,
    /// Whether a missing layer of isolation stops the start.
    pub require: Isolation,
    /// CPU seconds a worker may use.
    pub cpu_seconds: u32,
    /// Hardware events that counting workers are to count; `None` on a host without counters.
    pub events: Option<EventSet>,
}

/// What jobs a core takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Every job; the core is kept free of all else.
    Measuring,
    /// Jobs of quick effort only; the core is the supervisor's, which goes first.
    Quick,
}

/// How much isolation is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Every layer must be in force.
    Full,
    /// Every layer the host allows; seccomp and no_new_privs always.
    Best,
    /// No lock at all: for the tests that show what it stops. Only a worker built for them takes it, and that worker takes
    /// nothing else.
    Unlocked,
}

/// What the zygote sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ZygoteReport {
    /// Configured, locked and able to fork.
    Ready(ZygoteStatus),
    /// Not configured, or of no use any more; the zygote exits after this.
    Unable {
        /// One line: what failed and what to do.
        reason: String,
    },
    /// A worker is waiting for its job. Its job socket comes with this packet, as the first of
    /// [`SOCKETS_PER_PACKET`](crate::limits::SOCKETS_PER_PACKET), unless it came with an earlier one: workers take them
    /// in order.
    Forked {
        /// The worker's number.
        worker: WorkerId,
        /// Workers that ended since the last report: most often the one this one replaces.
        ended: Ends,
    },
    /// A worker could not be forked.
    ForkFailed {
        /// The worker's number.
        worker: WorkerId,
        /// Why.
        errno: i32,
    },
    /// Workers have ended and are reaped.
    Ended(Ends),
    /// The zygote lives and does as it is told.
    Pong,
}

/// Ends of workers that are reported together, the earliest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ends([Option<Ended>; Self::MOST]);

impl Ends {
    /// Most that are.
    const MOST: usize = 4;

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }

    /// Whether there is room for no other.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0[Self::MOST - 1].is_some()
    }

    /// Adds one, if there is room.
    pub fn add(&mut self, ended: Ended) {
        if let Some(free) = self.0.iter_mut().find(|end| end.is_none()) {
            *free = Some(ended);
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Ended> {
        self.0.iter().flatten()
    }
}

/// The end of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// The worker's number.
    pub worker: WorkerId,
    /// How it ended.
    pub status: ExitStatus,
    /// What it used.
    pub usage: Usage,
}

/// What a zygote found and put in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZygoteStatus {
    /// The zygote's own process id as its own namespace has it.
    pub pid: i32,
    /// Speed of the core's time stamp counter, measured before any job.
    pub ticks_per_ms: u64,
    /// Every layer of isolation, in force or not.
    pub layers: Vec<Layer>,
    /// Core cycles that two independent chains of 64 additions take with an `lfence` after each: 128 and a little more
    /// where `lfence` holds back what comes after it, half of that where it does not.
    pub fenced_chains_cycles: u32,
    /// Every event of the kernel's own that was tried, in the order
    /// [`CounterReading::event`](crate::reply::CounterReading::event) counts them.
    pub events: Vec<Event>,
    /// How [`ZygoteConfig::events`] are counted.
    pub plan: PassPlan,
}

/// One layer of isolation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Short name, as answers list it: `seccomp`, `landlock`, …
    pub name: String,
    /// Why it is not in force; `None` when it is.
    pub missing: Option<String>,
}

/// One event that the kernel itself counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Name, as answers give it.
    pub name: String,
    /// Unit of the count.
    pub unit: String,
    /// Why it cannot be counted; `None` when it can.
    pub missing: Option<String>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It called `exit_group` with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

/// What a process used, from `wait4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in user mode, microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, microseconds.
    pub system_us: u64,
    /// Largest resident set, KiB.
    pub max_rss_kib: u64,
    /// Page faults served without I/O.
    pub minor_faults: u64,
    /// Times it gave the core up.
    pub voluntary_switches: u64,
    /// Times the core was taken from it.
    pub involuntary_switches: u64,
}
