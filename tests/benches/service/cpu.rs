//! CPU time of everybody who takes part, taken before and after a load.
//!
//! Workers are too many and too short-lived to be looked at: their time is what their zygotes were told when they reaped
//! them, in steps of 10 ms over a whole load.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::procfs;
use crate::service::Service;

/// CPU time up to a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    at: Instant,
    supervisor: Duration,
    zygotes: Duration,
    workers: Duration,
    clients: Duration,
    machine: Duration,
}

/// CPU time between two moments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// All threads of the supervisor.
    pub(crate) supervisor: Duration,
    /// All zygotes.
    pub(crate) zygotes: Duration,
    /// All workers that have ended.
    pub(crate) workers: Duration,
    /// This process.
    pub(crate) clients: Duration,
    /// Share of the whole machine that everything else took, interrupts too; 1 is all of it.
    pub(crate) others: f64,
}

impl Clocks {
    /// Reads them.
    pub(crate) fn read(service: &Service) -> Self {
        let sum = |of: fn(procfs::Pid) -> Duration| service.zygotes.iter().map(|&zygote| of(zygote)).sum();
        Self {
            at: Instant::now(),
            supervisor: procfs::cpu_time(service.supervisor()),
            zygotes: sum(procfs::cpu_time),
            workers: sum(procfs::reaped_children),
            clients: own_time(),
            machine: procfs::machine_busy(),
        }
    }

    /// What was spent since.
    pub(crate) fn spent(&self, service: &Service) -> Spent {
        let now = Self::read(service);
        let supervisor = now.supervisor.saturating_sub(self.supervisor);
        let zygotes = now.zygotes.saturating_sub(self.zygotes);
        let workers = now.workers.saturating_sub(self.workers);
        let clients = now.clients.saturating_sub(self.clients);
        let known = supervisor + zygotes + workers + clients;
        let others = now.machine.saturating_sub(self.machine).saturating_sub(known);
        let all = now.at.duration_since(self.at) * procfs::core_count() as u32;
        Spent { supervisor, zygotes, workers, clients, others: others.as_secs_f64() / all.as_secs_f64() }
    }
}

fn own_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(microseconds).unwrap_or_default())
}
