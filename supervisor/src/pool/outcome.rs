//! What the pool says about a job: the worker's claim, or what was seen from outside when there was none.

use std::time::Duration;

use webrunner_protocol::control::{ExitStatus, Usage};
use webrunner_protocol::fault::Fault;
use webrunner_protocol::ids::{CoreId, JobId, WorkerId};
use webrunner_protocol::refusal::Refusal;
use webrunner_protocol::reply::{Measurement, WorkerFailure};

use crate::check::Examined;

/// A job that was given to a worker and came to an end.
#[derive(Debug)]
pub struct Finished {
    /// The job.
    pub job: JobId,
    /// The worker that ran it.
    pub worker: WorkerId,
    /// The core it ran on.
    pub core: CoreId,
    /// How it ended.
    pub end: End,
    /// Time from submission to the moment a worker took it.
    pub queued: Duration,
    /// Time from then to the reply.
    pub ran: Duration,
    /// How the worker's process ended and what it used, where that was known in time.
    pub exit: Option<(ExitStatus, Usage)>,
    /// What came of the check, if the job had one and was measured.
    pub examined: Option<Examined>,
}

/// How a job ended.
#[derive(Debug)]
pub enum End {
    /// Measured.
    Measured(Box<Measurement>),
    /// The object or plan was not taken.
    Refused(Refusal),
    /// The function raised a signal, exceeded its CPU time, or made a system call.
    Faulted(Fault),
    /// The function ended the process with this code, and no reply came.
    Exited {
        /// Exit code.
        code: i32,
    },
    /// A signal ended the process, and no reply came.
    Killed {
        /// Signal number.
        signal: i32,
    },
    /// The process was killed for a system call through a gate of another architecture (`int 0x80` and the like).
    ForeignSystemCall,
    /// The wall-clock deadline passed.
    TimeLimit {
        /// The limit.
        limit: Duration,
    },
    /// What came from the worker is no reply: too long, malformed, for another job, absurd, or more than one.
    Violation {
        /// What was wrong, without any byte the worker chose.
        reason: String,
    },
    /// The worker failed on its own account.
    Failed(WorkerFailure),
}

/// Why a job was not given to a worker, or lost on the way through no fault of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The queue is full.
    #[error("the queue of {capacity} jobs is full")]
    QueueFull {
        /// Its capacity.
        capacity: usize,
        /// Estimate of when there will be room.
        retry_after: Duration,
    },
    /// The service is stopping.
    #[error("the service is stopping and takes no more jobs")]
    Draining,
    /// The zygote died while the job was in flight, or no worker can be had.
    #[error("no worker is available: {reason}")]
    NoWorker {
        /// Why.
        reason: String,
    },
}
