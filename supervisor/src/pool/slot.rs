//! A slot: one core, its zygote, the workers that wait on it, and the one that runs.
//!
//! A slot runs one measured job at a time, or two quick ones. It keeps a few workers waiting, so that a job never waits for a fork, and asks for
//! another when one was used up. Nothing here does I/O but the request to fork.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{Signal, pidfd_send_signal};
use tokio::sync::oneshot;
use webrunner_protocol::control::{ExitStatus, Lane, Usage, WorkerProfile};
use webrunner_protocol::ids::{CoreId, WorkerId};

use super::SlotView;
use super::readable::Readable;
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
    /// What it is ready for.
    profile: WorkerProfile,
    /// Its job socket.
    pub(super) socket: Readable,
    pidfd: OwnedFd,
    /// Gives its end once the zygote has reported it.
    pub(super) exit: oneshot::Receiver<Exit>,
}

/// Workers of a profile that wait on each core. One more than can run covers the fork of the next; a job that counts
/// takes milliseconds, in which the next is long forked.
fn standby_wanted(lane: Lane, profile: WorkerProfile) -> usize {
    match (lane, profile) {
        (Lane::Measuring | Lane::Quick, WorkerProfile::Plain) => QUICK_AT_ONCE + 1,
        (Lane::Measuring, WorkerProfile::Counting) => 1,
        (Lane::Quick, WorkerProfile::Counting) => 0,
    }
}

impl Worker {
    /// Whether it can do a job that asks for `profile`: one that counts can do anything.
    fn serves(&self, profile: WorkerProfile) -> bool {
        self.profile == profile || self.profile == WorkerProfile::Counting
    }

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
    /// What jobs it takes.
    pub(super) lane: Lane,
    /// The zygote's control socket while there is a zygote.
    pub(super) control: Option<OwnedFd>,
    /// Workers that wait for a job, the one that has waited longest first.
    standby: VecDeque<Worker>,
    /// Who is to hear of the end of each living process of this zygote.
    living: HashMap<WorkerId, oneshot::Sender<Exit>>,
    /// Forks asked for and not yet answered.
    forking: HashMap<WorkerId, (WorkerProfile, Instant)>,
    /// When the zygote was last heard of, or first asked again.
    forking_since: Option<Instant>,
    /// Jobs that run here.
    running: Running,
    /// When the last job here ended.
    pub(super) idle_since: Instant,
    /// When the core last went from no job to one; `None` while it has none.
    busy_since: Option<Instant>,
    /// Time it had jobs before that.
    busy_before: Duration,
}

/// Quick jobs that run on a core at a time: while the reply of one is on its way the next already runs. Their figures are
/// coarse, and a job that is measured with care always runs alone.
const QUICK_AT_ONCE: usize = 2;

/// Jobs that run on a core, by what they asked for.
#[derive(Debug, Default)]
struct Running {
    plain: usize,
    counting: usize,
}

impl Running {
    fn admits(&self, profile: WorkerProfile) -> bool {
        match profile {
            WorkerProfile::Plain => self.counting == 0 && self.plain < QUICK_AT_ONCE,
            WorkerProfile::Counting => self.counting == 0 && self.plain == 0,
        }
    }

    fn count(&mut self, profile: WorkerProfile) -> &mut usize {
        match profile {
            WorkerProfile::Plain => &mut self.plain,
            WorkerProfile::Counting => &mut self.counting,
        }
    }
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
    pub(super) fn new(core: CoreId, lane: Lane) -> Self {
        Self {
            core,
            lane,
            control: None,
            standby: VecDeque::new(),
            living: HashMap::new(),
            forking: HashMap::new(),
            forking_since: None,
            running: Running::default(),
            idle_since: Instant::now(),
            busy_since: None,
            busy_before: Duration::ZERO,
        }
    }

    /// Whether a job that needs a worker of `profile` could start here now.
    #[must_use]
    pub(super) fn can_start(&self, profile: WorkerProfile) -> bool {
        self.running.admits(profile) && self.standby.iter().any(|worker| worker.serves(profile))
    }

    /// Whether a job that needs a worker of `profile` could start here as soon as there is one.
    #[must_use]
    pub(super) fn is_free_for(&self, profile: WorkerProfile) -> bool {
        let takes = self.lane == Lane::Measuring || profile == WorkerProfile::Plain;
        takes && self.control.is_some() && self.running.admits(profile)
    }

    /// Whether nothing of the pool's own disturbs the core: no fork under way, no process being torn down.
    #[must_use]
    pub(super) fn is_quiet(&self) -> bool {
        self.forking.is_empty() && self.living.len() == self.standby.len()
    }

    /// Jobs that run here.
    #[must_use]
    pub(super) fn running(&self) -> usize {
        self.running.plain + self.running.counting
    }

    /// Workers that wait.
    #[must_use]
    pub(super) fn standby(&self) -> usize {
        self.standby.len()
    }

    /// Workers asked for and not yet here.
    #[must_use]
    pub(super) fn starting(&self) -> usize {
        self.forking.len()
    }

    /// How it is, for operators.
    #[must_use]
    pub(super) fn view(&self) -> SlotView {
        SlotView {
            core: self.core,
            lane: self.lane,
            up: self.control.is_some(),
            busy: self.busy_since.is_some(),
            busy_time: self.busy_before + self.busy_since.map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }

    /// How long the zygote has owed a worker.
    #[must_use]
    pub(super) fn owes_since(&self) -> Option<Instant> {
        self.forking_since
    }

    /// Asks for workers until enough of each profile wait or are on their way.
    ///
    /// # Errors
    /// If the zygote is gone or too far behind.
    pub(super) fn refill(&mut self, numbers: &mut WorkerNumbers) -> std::io::Result<()> {
        let Some(control) = &self.control else { return Ok(()) };
        for profile in WorkerProfile::ALL {
            let waiting = self.standby.iter().filter(|worker| worker.profile == profile).count();
            let coming = self.forking.values().filter(|(coming, _)| *coming == profile).count();
            for _ in waiting + coming..standby_wanted(self.lane, profile) {
                let worker = numbers.next();
                zygote::request_fork(control, worker, profile)?;
                let now = Instant::now();
                self.forking.insert(worker, (profile, now));
                self.forking_since.get_or_insert(now);
            }
        }
        Ok(())
    }

    /// A worker has come; gives how long ago it was asked for. One that was not asked for is let go again.
    pub(super) fn add(&mut self, id: WorkerId, socket: Readable, pidfd: OwnedFd) -> Option<Duration> {
        let (profile, asked) = self.answered(id)?;
        let (sender, exit) = oneshot::channel();
        self.living.insert(id, sender);
        self.standby.push_back(Worker { id, core: self.core, profile, socket, pidfd, exit });
        Some(asked.elapsed())
    }

    /// A fork was asked for and failed.
    pub(super) fn fork_failed(&mut self, id: WorkerId) {
        self.answered(id);
    }

    fn answered(&mut self, id: WorkerId) -> Option<(WorkerProfile, Instant)> {
        let fork = self.forking.remove(&id);
        self.forking_since = (!self.forking.is_empty()).then(Instant::now);
        fork
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

    /// Takes the best worker for a job that asks for `profile`, of two alike the one that has waited longest.
    pub(super) fn take(&mut self, profile: WorkerProfile) -> Option<Worker> {
        if !self.running.admits(profile) {
            return None;
        }
        let exact = self.standby.iter().position(|worker| worker.profile == profile);
        let index = exact.or_else(|| self.standby.iter().position(|worker| worker.serves(profile)))?;
        let worker = self.standby.remove(index)?;
        *self.running.count(profile) += 1;
        self.busy_since.get_or_insert_with(Instant::now);
        Some(worker)
    }

    /// A job that asked for `profile` has ended.
    pub(super) fn release(&mut self, profile: WorkerProfile) {
        let count = self.running.count(profile);
        *count = count.saturating_sub(1);
        self.idle_since = Instant::now();
        if self.running() == 0
            && let Some(since) = self.busy_since.take()
        {
            self.busy_before += self.idle_since - since;
        }
    }

    /// The zygote is gone, and with it every worker. Whoever waits for an exit learns that there will be none.
    pub(super) fn lose_zygote(&mut self) {
        self.control = None;
        self.standby.clear();
        self.living.clear();
        self.forking.clear();
        self.forking_since = None;
    }
}
