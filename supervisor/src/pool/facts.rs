//! What is said about a pool: what it is, known once its zygotes are up, and numbers that change while it runs.

use std::sync::Arc;
use std::time::Duration;

use webrunner_protocol::control::{Event, Lane, Layer};
use webrunner_protocol::events::PassPlan;
use webrunner_protocol::ids::CoreId;

use crate::events::host::HostEvents;

/// What the pool is and can do, known once its zygotes are up.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Cores that jobs are measured on.
    pub cores: Vec<CoreId>,
    /// Cores that quick jobs may run on besides.
    pub quick_cores: Vec<CoreId>,
    /// Speed of the time stamp counter, as the first core's zygote measured it; 0 if there is none.
    pub ticks_per_ms: u64,
    /// Every layer of isolation, in force or not.
    pub layers: Vec<Layer>,
    /// Every event of the kernel's own, in the order that counter readings number them.
    pub events: Vec<Event>,
    /// Hardware events, by core.
    pub hardware: Arc<HostEvents>,
    /// How each core's zygote counts its usual set.
    pub plans: Vec<(CoreId, PassPlan)>,
    /// Core cycles of two independent chains of 64 additions with a fence behind each; 0 if nobody looked.
    pub fenced_chains_cycles: u32,
}

impl Facts {
    /// How a core counts its usual set.
    #[must_use]
    pub fn plan(&self, core: CoreId) -> Option<&PassPlan> {
        self.plans.iter().find_map(|(known, plan)| (*known == core).then_some(plan))
    }

    /// Whether `lfence` lets what comes after it begin early, so that calls that should be isolated overlap.
    #[must_use]
    pub fn fence_is_weak(&self) -> bool {
        /// Half way between chains that follow each other and chains that overlap.
        const LEAST: u32 = 96;
        self.fenced_chains_cycles < LEAST
    }
}

/// Numbers that change while the pool runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gauges {
    /// Jobs waiting for a slot.
    pub queued: usize,
    /// Most jobs that may wait.
    pub queue_capacity: usize,
    /// Jobs being run.
    pub running: usize,
    /// Workers waiting for a job.
    pub standby: usize,
    /// Workers being forked.
    pub starting: usize,
    /// Zygotes that answer.
    pub zygotes: usize,
}

/// A core's zygote.
#[derive(Debug, Clone, Copy)]
pub struct ZygoteFacts {
    /// The core.
    pub core: CoreId,
    /// How many there have been on this core, this one included.
    pub generation: u64,
    /// Jobs its workers were given.
    pub jobs: u64,
    /// Whether it is there, or gone and yet to be replaced.
    pub up: bool,
}

/// How one slot is.
#[derive(Debug, Clone, Copy)]
pub struct SlotView {
    /// Its core.
    pub core: CoreId,
    /// What jobs it takes.
    pub lane: Lane,
    /// Whether its zygote answers.
    pub up: bool,
    /// Whether it has a job.
    pub busy: bool,
    /// Time it has had jobs, all together.
    pub busy_time: Duration,
}
