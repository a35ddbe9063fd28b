//! Event counters of a worker: which events this host can count, and the groups opened for each worker.
//!
//! The kernel's own events form one group that counts all the time. Hardware events are spread over passes: one pinned
//! group each, of which one at a time is on the hardware, as a whole or not at all, so ratios within it are true. Cycles
//! and instructions are in every pass. An event that cannot be counted is reported with the reason, never as 0.
//!
//! # Layout
//!
//! - [`pmu`]: the one trait behind which the kernel stands, so that all else can be tested against a PMU that refuses.
//! - [`plan`]: which events share a pass, found out by opening them.
//! - [`kernel_events`]: the group of the kernel's own events.
//! - [`groups`]: what is open in a worker, read by the harness.
#![forbid(unsafe_code)]

pub mod groups;
pub mod kernel_events;
pub mod plan;
pub mod pmu;

use webrunner_protocol::control::Event;
use webrunner_protocol::events::{EventSet, OpenRefusal, PassPlan};

pub use groups::OpenCounters;
use kernel_events::KernelEvents;
use pmu::{KernelPmu, Pmu};

/// What the zygote found out about this host's counters; workers open the same.
pub struct EventTable {
    kernel: KernelEvents,
    set: Option<EventSet>,
    plan: PassPlan,
}

impl EventTable {
    /// Tries every event. To be called before the filter, and once the keys are made.
    ///
    /// The first pass and the kernel's group stay open here and are never started. While an event of a kind is open the
    /// kernel keeps what it needs for that kind; without this each worker would have it set up and taken down again,
    /// interrupting every core (`docs/performance.md`).
    #[must_use]
    pub fn probe(set: Option<EventSet>) -> Self {
        let mut pmu = KernelPmu;
        let plan = set.as_ref().map_or_else(PassPlan::default, |set| {
            let (open, refused) = plan::open(&mut pmu, set);
            let passes = open.iter().map(|pass| pass.events.clone()).collect();
            for pass in open.iter().skip(1) {
                pass.close(&mut pmu);
            }
            PassPlan { passes, refused }
        });
        Self { kernel: KernelEvents::probe(&mut pmu), set, plan }
    }

    /// The kernel's events, in the order readings number them.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.kernel.events()
    }

    /// How the zygote's set is counted.
    #[must_use]
    pub fn plan(&self) -> &PassPlan {
        &self.plan
    }

    /// Opens the kernel's events and the zygote's set on this process. What opened in the zygote but not now is left
    /// out: its absence from the reply says so.
    #[must_use]
    pub fn open<P: Pmu>(&self, mut pmu: P) -> OpenCounters<P> {
        let kernel = self.kernel.open(&mut pmu);
        let passes = match &self.set {
            Some(set) => plan::reopen(&mut pmu, set, &self.plan),
            None => Vec::new(),
        };
        OpenCounters::new(pmu, kernel, passes, Vec::new())
    }

    /// Opens the kernel's events and another set on this process.
    #[must_use]
    pub fn open_others<P: Pmu>(&self, mut pmu: P, set: &EventSet) -> OpenCounters<P> {
        let kernel = self.kernel.open(&mut pmu);
        let (passes, refused) = plan::open(&mut pmu, set);
        OpenCounters::new(pmu, kernel, passes, refused)
    }
}

/// Why an event of the kernel's own is missing, in words.
fn words(refusal: OpenRefusal) -> String {
    match refusal {
        OpenRefusal::NotPermitted | OpenRefusal::Filtered => refusal.to_string(),
        _ => format!("the kernel does not count it: {refusal}"),
    }
}
