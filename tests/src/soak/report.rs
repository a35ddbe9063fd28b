//! What is left when the clients are gone.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use super::{Tally, memory_kib, processes, zygotes};
use crate::processes::bpf_programs;
use crate::service::Service;

/// Longest that what is left may take to go: connections that nobody closed are given up after seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Growth of the supervisor that is no leak: what an allocator keeps of bodies it once held.
const MEMORY_SLACK_KIB: u64 = 16 << 10;

/// How the service was at rest, after the first jobs.
#[derive(Debug, Clone, Copy)]
pub struct Before {
    descriptors: usize,
    processes: usize,
    programs: Option<usize>,
    memory_kib: u64,
    zygotes: u64,
}

impl Before {
    /// Waits until the service is at rest, and looks.
    #[must_use]
    pub(super) fn of(service: &Service) -> Self {
        service.settle();
        let descriptors = until_constant(|| service.descriptors());
        Self {
            descriptors,
            processes: processes(service),
            programs: bpf_programs(),
            memory_kib: memory_kib(service),
            zygotes: zygotes(service),
        }
    }
}

/// Counts of a whole run.
#[derive(Debug)]
pub struct Report {
    tally: Tally,
    before: Before,
    after: Before,
    /// Lines about failures in the service's log.
    complaints: Vec<String>,
}

impl Report {
    /// Looks at a service that the clients have left.
    #[must_use]
    pub(super) fn new(service: &Service, before: Before, tally: Tally) -> Self {
        service.settle();
        let begun = Instant::now();
        let mut after = Before::of(service);
        while !leaks(&before, &after).is_empty() && begun.elapsed() < PATIENCE {
            after = Before::of(service);
        }
        let log = service.log();
        let complaints = log.lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect();
        Self { tally, before, after, complaints }
    }

    /// What is wrong, a line for each; nothing after a good run.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let Tally { sent, right, lost, .. } = self.tally;
        let mut faults = leaks(&self.before, &self.after);
        if sent == 0 || right + lost + self.tally.wrong.len() as u64 != sent {
            faults.push(format!("{right} right answers do not add up with {sent} jobs sent"));
        }
        if lost > 0 {
            faults.push(format!("{lost} jobs were never answered"));
        }
        faults.extend(self.tally.wrong.iter().take(5).map(|wrong| format!("wrong answer: {wrong}")));
        faults.extend(self.complaints.iter().take(5).map(|line| format!("logged: {line}")));
        faults
    }
}

/// What there is more of than there was.
fn leaks(before: &Before, after: &Before) -> Vec<String> {
    let mut leaks = Vec::new();
    if after.descriptors > before.descriptors {
        leaks.push(format!("{} descriptors, {} before", after.descriptors, before.descriptors));
    }
    if after.processes > before.processes {
        leaks.push(format!("{} processes, {} before", after.processes, before.processes));
    }
    if after.memory_kib > before.memory_kib + MEMORY_SLACK_KIB {
        leaks.push(format!("{} KiB of memory, {} before", after.memory_kib, before.memory_kib));
    }
    // Others on this machine have programs too, which come and go. A zygote that left its own behind would show.
    let started = after.zygotes - before.zygotes;
    if let (Some(then), Some(now)) = (before.programs, after.programs)
        && now > then + started as usize / 2 + OTHERS
    {
        leaks.push(format!("{now} BPF programs, {then} before and {started} zygotes since"));
    }
    leaks
}

/// Programs that others may have made meanwhile.
const OTHERS: usize = 8;

/// Looks until the same is seen for a while, or patience ends.
fn until_constant(mut look: impl FnMut() -> usize) -> usize {
    const LOOKS: u32 = 50;
    let begun = Instant::now();
    let (mut seen, mut times) = (look(), 0);
    while times < LOOKS && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(10));
        let now = look();
        times = if now == seen { times + 1 } else { 0 };
        seen = now;
    }
    seen
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tally, before, after, .. } = self;
        writeln!(f, "jobs sent       {}", tally.sent)?;
        writeln!(f, "answered right  {}", tally.right)?;
        writeln!(f, "answered wrong  {}", tally.wrong.len())?;
        writeln!(f, "lost            {}", tally.lost)?;
        writeln!(f, "rude acts       {}", tally.rude)?;
        writeln!(f, "zygotes         {}", after.zygotes)?;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, then: u64, now: u64| {
            writeln!(f, "{name:<15} {then} -> {now}")
        };
        row(f, "descriptors", before.descriptors as u64, after.descriptors as u64)?;
        row(f, "processes", before.processes as u64, after.processes as u64)?;
        row(f, "memory, KiB", before.memory_kib, after.memory_kib)?;
        match (before.programs, after.programs) {
            (Some(then), Some(now)) => row(f, "BPF programs", then as u64, now as u64),
            _ => writeln!(f, "BPF programs    not known: only root is told"),
        }
    }
}
