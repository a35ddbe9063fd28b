//! A slot: one core, its zygote, the workers that wait on it, and those that run.
//!
//! A slot runs one measured job at a time, or several quick ones. It keeps a few workers waiting, so that a job never
//! waits for a fork, and asks for another when one was used up. Nothing here does I/O but the request to fork.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use webrunner_protocol::control::{Lane, WorkerProfile};
use webrunner_protocol::events::EventSet;
use webrunner_protocol::ids::{CoreId, WorkerId};

use super::SlotView;
use super::backoff::Backoff;
use super::readable::Readable;
use super::worker::{Exit, Generation, Ready, Running, Worker, standby_wanted};
use super::zygote;

/// One core's place in the pool.
#[derive(Debug)]
pub(super) struct Slot {
    /// The core.
    pub(super) core: CoreId,
    /// What jobs it takes.
    pub(super) lane: Lane,
    /// The zygote's control socket while there is a zygote.
    control: Option<Rc<OwnedFd>>,
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
    /// A worker whose job is over, which the zygote is to be told with the next request.
    over: Option<WorkerId>,
    /// Forks asked for and not yet answered.
    forking: HashMap<WorkerId, Fork>,
    /// When the zygote was last heard of, or first asked again.
    forking_since: Option<Instant>,
    /// When the zygote was asked whether it answers, if it has not yet done so.
    asked: Option<Instant>,
    /// When anything was last heard of the zygote.
    pub(super) heard: Instant,
    /// Jobs that run here.
    running: Running,
    /// When the last job here ended.
    pub(super) idle_since: Instant,
    /// When the core last went from no job to one; `None` while it has none.
    busy_since: Option<Instant>,
    /// Time it had jobs before that.
    busy_before: Duration,
}

/// Time between two attempts to renew a zygote that goes on well enough meanwhile.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

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
            over: None,
            forking: HashMap::new(),
            forking_since: None,
            asked: None,
            heard: Instant::now(),
            running: Running::default(),
            idle_since: Instant::now(),
            busy_since: None,
            busy_before: Duration::ZERO,
        }
    }

    /// Whether a job that asks for `ready` could start here now.
    #[must_use]
    pub(super) fn can_start(&self, ready: Ready) -> bool {
        self.running.admits(self.lane, ready) && self.standby.iter().any(|worker| worker.serves(ready))
    }

    /// Whether a job that asks for `ready` could start here as soon as there is a worker for it.
    #[must_use]
    pub(super) fn is_free_for(&self, ready: Ready) -> bool {
        let takes = self.lane == Lane::Measuring || ready == Ready::Plain;
        takes && self.has_zygote() && self.running.admits(self.lane, ready)
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
                worker.end();
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
        self.running.all()
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

    /// Since when the zygote has owed a worker or an answer.
    #[must_use]
    pub(super) fn owes_since(&self) -> Option<Instant> {
        self.forking_since.into_iter().chain(self.asked).min()
    }

    /// Asks the zygote whether it answers, unless it was asked already.
    ///
    /// # Errors
    /// If the zygote is gone or too far behind.
    pub(super) fn ask(&mut self) -> std::io::Result<()> {
        let Some(control) = self.control.as_ref().filter(|_| self.asked.is_none()) else { return Ok(()) };
        zygote::ask(&**control)?;
        self.asked = Some(Instant::now());
        Ok(())
    }

    /// The zygote has answered; one that retires is not asked.
    pub(super) fn answers(&mut self, zygote: Generation) {
        if self.is_current(zygote) {
            self.asked = None;
        }
    }

    /// Takes a zygote on. Workers of the one before it serve until its own have come.
    pub(super) fn adopt(&mut self, control: OwnedFd) -> Generation {
        self.control = Some(Rc::new(control));
        self.over = None;
        self.asked = None;
        self.heard = Instant::now();
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
        let begins = self.jobs >= jobs && may && !self.renewing && !self.running.any_measured();
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

    /// Asks for workers until enough of each profile wait or are on their way, and has the one ended whose job is over.
    ///
    /// # Errors
    /// If the zygote is gone or too far behind.
    pub(super) fn refill(&mut self, numbers: &mut WorkerNumbers) -> std::io::Result<()> {
        if !self.births.is_pausing() {
            self.ask_for_standby(numbers)?;
        }
        match (&self.control, self.over.take()) {
            (Some(control), Some(worker)) => zygote::request_end(&**control, worker),
            _ => Ok(()),
        }
    }

    fn ask_for_standby(&mut self, numbers: &mut WorkerNumbers) -> std::io::Result<()> {
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
        zygote::request_fork(&**control, worker, profile, self.over.take())?;
        let asked = Instant::now();
        self.forking.insert(worker, Fork { generation: self.generation, ready, asked });
        self.forking_since.get_or_insert(asked);
        Ok(())
    }

    /// A worker has come; gives how long ago it was asked for. One that was not asked for, or whose zygote was renewed
    /// meanwhile, is let go again; and so is one of an earlier zygote that waited in its stead.
    pub(super) fn add(&mut self, id: WorkerId, socket: Readable) -> Option<Duration> {
        let Fork { generation, ready, asked } = self.answered(id)?;
        if generation != self.generation {
            return None;
        }
        let zygote = Rc::clone(self.control.as_ref()?);
        let (sender, exit) = oneshot::channel();
        self.living.insert(id, (generation, sender));
        self.standby.push_back(Worker { id, core: self.core, ready, generation, zygote, socket, exit });
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
        if !self.running.admits(self.lane, ready) {
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

    /// A job that asked for `ready` has ended, and its worker is of no further use, whatever it is doing. It is ended
    /// at once, or by the [`refill`](Self::refill) that is to follow.
    pub(super) fn release(&mut self, ready: Ready, worker: &Worker) {
        if !self.is_current(worker.generation) {
            worker.end();
        } else if self.living.contains_key(&worker.id) {
            self.over = Some(worker.id);
        }
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
            self.asked = None;
            self.renewing = false;
        }
    }
}
