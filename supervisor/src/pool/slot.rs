//! A slot: one core, its zygote, the workers that wait on it, and the one that runs.
//!
//! A slot runs one job at a time. It keeps a few workers waiting, so that a job never waits for a fork, and asks for
//! another when one was used up. Nothing here does I/O but the request to fork.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::process::{Signal, pidfd_send_signal};
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use webrunner_protocol::control::{ExitStatus, Usage};
use webrunner_protocol::ids::{CoreId, WorkerId};

use super::zygote;

/// How a worker's process ended, as the zygote saw it.
pub(super) type Exit = (ExitStatus, Usage);

/// A worker that waits for a job or runs one.
#[derive(Debug)]
pub(super) struct Worker {
    /// Its number.
    pub(super) id: WorkerId,
    /// The core it is pinned to.
    pub(super) core: CoreId,
    /// Its job socket.
    pub(super) socket: UnixStream,
    pidfd: OwnedFd,
    /// Gives its end once the zygote has reported it.
    pub(super) exit: oneshot::Receiver<Exit>,
}

impl Worker {
    /// Ends the process. One that has already ended is not harmed.
    pub(super) fn kill(&self) {
        // ESRCH: it is gone, which is what was wanted.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}

/// One core's place in the pool.
#[derive(Debug)]
pub(super) struct Slot {
    /// The core.
    pub(super) core: CoreId,
    /// The zygote's control socket while there is a zygote.
    pub(super) control: Option<OwnedFd>,
    /// Workers that wait for a job.
    standby: VecDeque<Worker>,
    /// Who is to hear of the end of each living process of this zygote.
    living: HashMap<WorkerId, oneshot::Sender<Exit>>,
    /// Forks asked for and not yet answered, with the time the oldest was asked for.
    forking: usize,
    forking_since: Option<Instant>,
    /// Whether a job runs here.
    pub(super) busy: bool,
    /// When the last job here ended.
    pub(super) idle_since: Instant,
}

/// A number that no worker had before.
#[derive(Debug, Default)]
pub(super) struct WorkerNumbers(u64);

impl WorkerNumbers {
    fn next(&mut self) -> WorkerId {
        self.0 += 1;
        WorkerId(self.0)
    }
}

impl Slot {
    /// A slot without a zygote.
    #[must_use]
    pub(super) fn new(core: CoreId) -> Self {
        Self {
            core,
            control: None,
            standby: VecDeque::new(),
            living: HashMap::new(),
            forking: 0,
            forking_since: None,
            busy: false,
            idle_since: Instant::now(),
        }
    }

    /// Whether a job could start here now.
    #[must_use]
    pub(super) fn can_start(&self) -> bool {
        !self.busy && !self.standby.is_empty()
    }

    /// Whether nothing of the pool's own disturbs the core: no fork under way, no process being torn down.
    #[must_use]
    pub(super) fn is_quiet(&self) -> bool {
        self.forking == 0 && self.living.len() == self.standby.len()
    }

    /// Workers that wait.
    #[must_use]
    pub(super) fn standby(&self) -> usize {
        self.standby.len()
    }

    /// How long the zygote has owed a worker.
    #[must_use]
    pub(super) fn owes_since(&self) -> Option<Instant> {
        self.forking_since
    }

    /// Asks for workers until `wanted` wait or are on their way.
    ///
    /// # Errors
    /// If the zygote is gone or too far behind.
    pub(super) fn refill(&mut self, wanted: usize, numbers: &mut WorkerNumbers) -> std::io::Result<()> {
        let Some(control) = &self.control else { return Ok(()) };
        while self.standby.len() + self.forking < wanted {
            zygote::request_fork(control, numbers.next())?;
            self.forking += 1;
            self.forking_since.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// A worker has come.
    pub(super) fn add(&mut self, id: WorkerId, socket: UnixStream, pidfd: OwnedFd) {
        let (sender, exit) = oneshot::channel();
        self.living.insert(id, sender);
        self.standby.push_back(Worker { id, core: self.core, socket, pidfd, exit });
        self.answered();
    }

    /// A fork was asked for and failed.
    pub(super) fn fork_failed(&mut self) {
        self.answered();
    }

    fn answered(&mut self) {
        self.forking = self.forking.saturating_sub(1);
        self.forking_since = (self.forking > 0).then(Instant::now);
    }

    /// A worker has ended. Gives whether it was one that waited, which none should.
    pub(super) fn ended(&mut self, id: WorkerId, exit: Exit) -> bool {
        if let Some(sender) = self.living.remove(&id) {
            // Nobody may be listening: its job is over.
            let _ = sender.send(exit);
        }
        let before = self.standby.len();
        self.standby.retain(|worker| worker.id != id);
        self.standby.len() != before
    }

    /// Takes the worker that has waited longest and marks the slot busy.
    pub(super) fn take(&mut self) -> Option<Worker> {
        if self.busy {
            return None;
        }
        let worker = self.standby.pop_front()?;
        self.busy = true;
        Some(worker)
    }

    /// The job that ran here has ended.
    pub(super) fn release(&mut self) {
        self.busy = false;
        self.idle_since = Instant::now();
    }

    /// The zygote is gone, and with it every worker. Whoever waits for an exit learns that there will be none.
    pub(super) fn lose_zygote(&mut self) {
        self.control = None;
        self.standby.clear();
        self.living.clear();
        self.forking = 0;
        self.forking_since = None;
    }
}
