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
use webrunner_protocol::events::EventSet;
use webrunner_protocol::ids::{CoreId, WorkerId};

use super::SlotView;
use super::backoff::Backoff;
use super::readable::Readable;
use super::zygote;

/// How a worker's process ended, as the zygote saw it.
pub(super) type Exit = (ExitStatus, Usage);

/// Which of a slot's zygotes something comes from; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Generation(pub(super) u64);

/// What a worker is ready for, and what a job asks of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Ready {
    /// A job that counts no events.
    Plain,
    /// A job that counts the usual events.
    Counting,
    /// The one job with this number, which counts events of its own.
    Chosen(u64),
}

/// A worker that waits for a job or runs one.
#[derive(Debug)]
pub(super) struct Worker {
    /// Its number.
    pub(super) id: WorkerId,
    /// The core it is pinned to.
    pub(super) core: CoreId,
    /// What it is ready for.
    ready: Ready,
    generation: Generation,
    /// Its job socket.
    pub(super) socket: Readable,
    pidfd: OwnedFd,
    /// Gives its end once the zygote has reported it.
    pub(super) exit: oneshot::Receiver<Exit>,
}

/// Workers of a kind that wait on each core. One more than can run covers the fork of the next; a job that counts
/// takes milliseconds, in which the next is long forked.
fn standby_wanted(lane: Lane) -> [(Ready, WorkerProfile, usize); 2] {
    let counting = match lane {
        Lane::Measuring => 1,
        Lane::Quick => 0,
    };
    [
        (Ready::Plain, WorkerProfile::Plain, QUICK_AT_ONCE + 1),
        (Ready::Counting, WorkerProfile::Counting, counting),
    ]
}

impl Worker {
    /// Whether it can do a job that asks for `ready`: one that counts can also do without.
    fn serves(&self, ready: Ready) -> bool {
        self.ready == ready || (self.ready, ready) == (Ready::Counting, Ready::Plain)
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
    control: Option<OwnedFd>,
    /// Which zygote that is, or was the last.
    generation: Generation,
    /// Jobs it was given.
    jobs: u64,
    /// When it may be renewed, after an attempt that failed.
    renewal_at: Option<Instant>,
    /// Whether a zygote is being started beside another, or one that was renewed is not gone yet.
    renewing: bool,
    /// How zygotes fare.
    pub(super) starts: Backoff,
    /// How workers fare until they take a job.
    pub(super) births: Backoff,
    /// Workers that wait for a job, the one that has waited longest first.
    standby: VecDeque<Worker>,
    /// Who is to hear of the end of each living worker.
    living: HashMap<WorkerId, (Generation, oneshot::Sender<Exit>)>,
    /// Forks asked for and not yet answered.
    forking: HashMap<WorkerId, Fork>,
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

/// Time between two attempts to renew a zygote that goes on well enough meanwhile.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// Jobs that run on a core, by what they asked for.
#[derive(Debug, Default)]
struct Running {
    plain: usize,
    counting: usize,
}

impl Running {
    fn admits(&self, ready: Ready) -> bool {
        match ready {
            Ready::Plain => self.counting == 0 && self.plain < QUICK_AT_ONCE,
            Ready::Counting | Ready::Chosen(_) => self.counting == 0 && self.plain == 0,
        }
    }

    fn count(&mut self, ready: Ready) -> &mut usize {
        match ready {
            Ready::Plain => &mut self.plain,
            Ready::Counting | Ready::Chosen(_) => &mut self.counting,
        }
    }
}

/// A worker that was asked for.
#[derive(Debug)]
struct Fork {
    generation: Generation,
    ready: Ready,
    asked: Instant,
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
            generation: Generation::default(),
            jobs: 0,
            renewal_at: None,
            renewing: false,
            starts: Backoff::default(),
            births: Backoff::default(),
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

    /// Whether a job that asks for `ready` could start here now.
    #[must_use]
    pub(super) fn can_start(&self, ready: Ready) -> bool {
        self.running.admits(ready) && self.standby.iter().any(|worker| worker.serves(ready))
    }

    /// Whether a job that asks for `ready` could start here as soon as there is a worker for it.
    #[must_use]
    pub(super) fn is_free_for(&self, ready: Ready) -> bool {
        let takes = self.lane == Lane::Measuring || ready == Ready::Plain;
        takes && self.has_zygote() && self.running.admits(ready)
    }

    /// Whether a worker for exactly this waits here, or is on its way.
    #[must_use]
    pub(super) fn expects(&self, ready: Ready) -> bool {
        let waits = self.standby.iter().any(|worker| worker.ready == ready);
        waits || self.forking.values().any(|fork| (fork.generation, fork.ready) == (self.generation, ready))
    }

    /// Asks for a worker for one job's own events.
    ///
    /// # Errors
    /// If the zygote is gone or too far behind.
    pub(super) fn summon(
        &mut self,
        numbers: &mut WorkerNumbers,
        ready: Ready,
        events: &EventSet,
    ) -> std::io::Result<()> {
        self.request(numbers, ready, WorkerProfile::Events(Box::new(events.clone())))
    }

    /// Lets go of workers made for one job each that nobody waits for any more.
    pub(super) fn dismiss_unless(&mut self, awaited: impl Fn(Ready) -> bool) {
        self.standby.retain(|worker| {
            let keep = !matches!(worker.ready, Ready::Chosen(_)) || awaited(worker.ready);
            if !keep {
                worker.kill();
            }
            keep
        });
    }

    /// Whether nothing of the pool's own disturbs the core: no fork under way, no process being started or torn down.
    #[must_use]
    pub(super) fn is_quiet(&self) -> bool {
        !self.renewing && self.forking.is_empty() && self.living.len() == self.standby.len()
    }

    /// Jobs that run here.
    #[must_use]
    pub(super) fn running(&self) -> usize {
        self.running.plain + self.running.counting
    }

    /// Whether there is a zygote to ask for workers.
    #[must_use]
    pub(super) fn has_zygote(&self) -> bool {
        self.control.is_some()
    }

    /// Which zygote there is, or was the last.
    #[must_use]
    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    /// Jobs that its zygote was given.
    #[must_use]
    pub(super) fn jobs(&self) -> u64 {
        self.jobs
    }

    /// Why no job can start here, though it may be able to soon.
    #[must_use]
    pub(super) fn trouble(&self) -> Option<&str> {
        match (&self.control, self.standby.is_empty()) {
            (None, _) => Some(self.starts.tripped().unwrap_or("no zygote is up; one is being started")),
            (Some(_), true) => self.births.tripped(),
            (Some(_), false) => None,
        }
    }

    /// Whether it has failed so often that nobody should wait for it.
    #[must_use]
    pub(super) fn is_hopeless(&self) -> bool {
        match (&self.control, self.standby.is_empty()) {
            (None, _) => self.starts.tripped().is_some(),
            (Some(_), true) => self.births.tripped().is_some(),
            (Some(_), false) => false,
        }
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
            up: self.has_zygote(),
            busy: self.busy_since.is_some(),
            busy_time: self.busy_before + self.busy_since.map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }

    /// How long the zygote has owed a worker.
    #[must_use]
    pub(super) fn owes_since(&self) -> Option<Instant> {
        self.forking_since
    }

    /// Takes a zygote on. Workers of the one before it serve until its own have come.
    pub(super) fn adopt(&mut self, control: OwnedFd) -> Generation {
        self.control = Some(control);
        self.generation.0 += 1;
        self.jobs = 0;
        self.renewal_at = None;
        self.forking_since = None;
        self.generation
    }

    /// Whether this is the zygote that is asked for workers.
    #[must_use]
    pub(super) fn is_current(&self, generation: Generation) -> bool {
        self.control.is_some() && self.generation == generation
    }

    /// Begins to renew the zygote if it has had its jobs and no job runs that must not be disturbed.
    pub(super) fn begin_renewal(&mut self, jobs: u64) -> bool {
        let may = self.renewal_at.is_none_or(|at| Instant::now() >= at);
        let begins = self.jobs >= jobs && may && !self.renewing && self.running.counting == 0;
        self.renewing |= begins;
        begins
    }

    /// A successor could not be started; another attempt is made some time later.
    pub(super) fn put_off_renewal(&mut self) {
        self.renewal_at = Some(Instant::now() + RENEWAL_PAUSE);
        self.renewing = false;
    }

    /// The zygote that was renewed is gone.
    pub(super) fn end_renewal(&mut self) {
        self.renewing = false;
    }

    /// Whether any worker of a zygote waits for a job or has one.
    #[must_use]
    pub(super) fn needs(&self, zygote: Generation) -> bool {
        self.living.values().any(|(generation, exit)| *generation == zygote && !exit.is_closed())
    }

    /// Asks for workers until enough of each profile wait or are on their way.
    ///
    /// # Errors
    /// If the zygote is gone or too far behind.
    pub(super) fn refill(&mut self, numbers: &mut WorkerNumbers) -> std::io::Result<()> {
        if self.births.is_pausing() {
            return Ok(());
        }
        for (ready, profile, wanted) in standby_wanted(self.lane) {
            let own = (self.generation, ready);
            let waiting =
                self.standby.iter().filter(|worker| (worker.generation, worker.ready) == own).count();
            let coming = self.forking.values().filter(|fork| (fork.generation, fork.ready) == own).count();
            for _ in waiting + coming..wanted {
                self.request(numbers, ready, profile.clone())?;
            }
        }
        Ok(())
    }

    /// Asks for one worker; nothing without a zygote to ask.
    fn request(
        &mut self,
        numbers: &mut WorkerNumbers,
        ready: Ready,
        profile: WorkerProfile,
    ) -> std::io::Result<()> {
        let Some(control) = &self.control else { return Ok(()) };
        let worker = numbers.next();
        zygote::request_fork(control, worker, profile)?;
        let asked = Instant::now();
        self.forking.insert(worker, Fork { generation: self.generation, ready, asked });
        self.forking_since.get_or_insert(asked);
        Ok(())
    }

    /// A worker has come; gives how long ago it was asked for. One that was not asked for, or whose zygote was renewed
    /// meanwhile, is let go again; and so is one of an earlier zygote that waited in its stead.
    pub(super) fn add(&mut self, id: WorkerId, socket: Readable, pidfd: OwnedFd) -> Option<Duration> {
        let Fork { generation, ready, asked } = self.answered(id)?;
        if generation != self.generation {
            return None;
        }
        let (sender, exit) = oneshot::channel();
        self.living.insert(id, (generation, sender));
        self.standby.push_back(Worker { id, core: self.core, ready, generation, socket, pidfd, exit });
        let old = |worker: &Worker| worker.ready == ready && worker.generation != generation;
        if let Some(at) = self.standby.iter().position(old) {
            // It reads the end of its socket and exits.
            self.standby.remove(at);
        }
        Some(asked.elapsed())
    }

    /// A fork was asked for and failed.
    pub(super) fn fork_failed(&mut self, id: WorkerId) {
        self.answered(id);
    }

    fn answered(&mut self, id: WorkerId) -> Option<Fork> {
        let fork = self.forking.remove(&id);
        let owed = self.forking.values().any(|fork| fork.generation == self.generation);
        self.forking_since = owed.then(Instant::now);
        fork
    }

    /// A worker has ended. Gives whether it was one that waited, which none should.
    pub(super) fn ended(&mut self, id: WorkerId, exit: Exit) -> bool {
        if let Some((_, sender)) = self.living.remove(&id) {
            // Nobody may be listening: its job is over.
            let _ = sender.send(exit);
        }
        let before = self.standby.len();
        self.standby.retain(|worker| worker.id != id);
        self.standby.len() != before
    }

    /// Takes the best worker for a job that asks for `ready`, of two alike the one that has waited longest.
    pub(super) fn take(&mut self, ready: Ready) -> Option<Worker> {
        if !self.running.admits(ready) {
            return None;
        }
        let exact = self.standby.iter().position(|worker| worker.ready == ready);
        let index = exact.or_else(|| self.standby.iter().position(|worker| worker.serves(ready)))?;
        let worker = self.standby.remove(index)?;
        *self.running.count(ready) += 1;
        self.jobs += 1;
        self.births.succeed();
        self.busy_since.get_or_insert_with(Instant::now);
        Some(worker)
    }

    /// A job that asked for `ready` has ended.
    pub(super) fn release(&mut self, ready: Ready) {
        let count = self.running.count(ready);
        *count = count.saturating_sub(1);
        self.idle_since = Instant::now();
        if self.running() == 0
            && let Some(since) = self.busy_since.take()
        {
            self.busy_before += self.idle_since - since;
        }
    }

    /// A zygote is gone, and with it every worker of its own. Whoever waits for an exit learns that there will be none.
    pub(super) fn lose(&mut self, zygote: Generation) {
        self.standby.retain(|worker| worker.generation != zygote);
        self.living.retain(|_, (generation, _)| *generation != zygote);
        self.forking.retain(|_, fork| fork.generation != zygote);
        if self.is_current(zygote) {
            self.control = None;
            self.forking_since = None;
            self.renewing = false;
        }
    }
}
