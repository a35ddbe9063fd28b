//! The pool: slots, zygotes, the queue and every deadline.

mod outcome;

use std::time::Duration;

use actix_web::web::Bytes;
use webrunner_protocol::control::{Event, Layer};
use webrunner_protocol::ids::CoreId;
use webrunner_protocol::job::Work;

pub use self::outcome::{End, Finished, RunError};

/// What the pool is and can do, known once it has started.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Cores that jobs are measured on.
    pub cores: Vec<CoreId>,
    /// Every layer of isolation, in force or not.
    pub layers: Vec<Layer>,
    /// Every event tried, in the order that counter readings number them.
    pub events: Vec<Event>,
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
    /// Zygotes that answer.
    pub zygotes: usize,
}

/// A handle to the pool; cheap to clone, bound to the thread that started it.
#[derive(Debug, Clone)]
pub struct Pool {}

impl Pool {
    /// Runs one job: waits for a slot, hands it over, and returns how it ended. Dropping the future cancels the job.
    ///
    /// # Errors
    /// [`RunError`] if no worker took it or the zygote died under it.
    #[expect(clippy::unused_async, reason = "interface, filled in by the pool")]
    pub async fn run(&self, _work: Work, _object: Bytes) -> Result<Finished, RunError> {
        Err(RunError::Draining)
    }

    /// Whether a job given now could run, and if not, why not.
    ///
    /// # Errors
    /// The reason, as a sentence.
    pub fn ready(&self) -> Result<(), String> {
        Err("not started".into())
    }

    /// What the pool is.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts { cores: Vec::new(), layers: Vec::new(), events: Vec::new() }
    }

    /// How the pool is doing.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        Gauges::default()
    }

    /// Takes no more jobs, and returns once those in flight have ended or `limit` has passed.
    #[expect(clippy::unused_async, reason = "interface, filled in by the pool")]
    pub async fn drain(&self, _limit: Duration) {}
}
