//! The pool: slots, zygotes, the queue and every deadline.
//!
//! A job waits in one bounded queue until a slot has a worker for it, is handed over, and ends with a reply, with the
//! worker's death, or at its deadline. All of this runs on one thread, the one that also serves HTTP, so that a job
//! costs no hand-over between threads; a [`Pool`] is therefore a counted pointer and not `Send`.
//!
//! # Layout
//!
//! - `zygote`: the process that forks, and the messages with it.
//! - `launcher`: the thread that starts zygotes.
//! - `slot`: one core: its waiting workers and those that run. `worker`: one of them, and how many there may be.
//! - `keeper`: the task that keeps one slot's zygote alive and its workers in supply.
//! - `backoff`: when to try again what keeps failing. `blame`: whether a zygote is to be replaced for it.
//! - `queue`: who gets a worker next.
//! - `readable`: a socket that is waited on for reading only.
//! - `exchange`: the conversation with a worker. `examine`: the longer one where its outputs are checked.
//! - `outcome`: what is said about a job that has ended. `facts`: what is said about the pool.

mod backoff;
mod blame;
mod examine;
mod exchange;
mod facts;
mod keeper;
mod launcher;
mod outcome;
mod queue;
mod readable;
mod slot;
mod worker;
mod zygote;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::Bytes;
use tokio::task;
use tokio::time::timeout;
use webrunner_protocol::codec;
use webrunner_protocol::control::{ExitStatus, Lane, Usage};
use webrunner_protocol::events::EventSet;
use webrunner_protocol::ids::{CoreId, JobId};
use webrunner_protocol::job::{Effort, Job, KernelWork, Work};
use webrunner_protocol::limits::MAX_JOB_BYTES;

use self::exchange::Sent;
pub use self::exchange::parse_reply;
pub use self::facts::{Facts, Gauges, SlotView, ZygoteFacts};
use self::launcher::Launcher;
pub use self::outcome::{End, Finished, RunError};
use self::queue::{Lease, Need, Queue};
use self::slot::Slot;
use self::worker::{Ready, Worker};
pub use self::zygote::{LaunchError, Zygote, ZygoteSettings, find_executable, random_bytes};
use crate::check::{Examination, Examined};
use crate::metrics::PoolMetrics;

/// What a pool is to be.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Cores that every job may run on; one slot each.
    pub cores: Vec<CoreId>,
    /// Cores that quick jobs may run on besides: the supervisor's own.
    pub quick_cores: Vec<CoreId>,
    /// Most jobs that may wait.
    pub queue_capacity: usize,
    /// Wall-clock time a job may take from the moment a worker takes it.
    pub deadline: Duration,
    /// Jobs a zygote serves before it is renewed.
    pub jobs_per_zygote: u64,
    /// What zygotes are started with.
    pub zygote: ZygoteSettings,
}

impl PoolConfig {
    /// Every core with what it takes, those that take everything first.
    fn lanes(&self) -> impl Iterator<Item = (CoreId, Lane)> {
        let measuring = self.cores.iter().map(|&core| (core, Lane::Measuring));
        measuring.chain(self.quick_cores.iter().map(|&core| (core, Lane::Quick)))
    }
}

/// Zygotes that are up and ready to be given to a [`Pool`]; made before anything is promised to a client.
#[derive(Debug)]
pub struct Launched {
    config: PoolConfig,
    zygotes: Vec<Zygote>,
    launcher: Launcher,
    facts: Facts,
}

impl Launched {
    /// Starts one zygote for each core and waits for all of them. Blocks.
    ///
    /// # Errors
    /// The first that could not be started; the others are ended.
    pub fn launch(config: PoolConfig) -> Result<Self, LaunchError> {
        let launcher = Launcher::start(config.zygote.clone())?;
        let zygotes =
            config.lanes().map(|(core, lane)| launcher.launch(core, lane)).collect::<Result<Vec<_>, _>>()?;
        let (layers, events) = match zygotes.first() {
            Some(zygote) => (zygote.status().layers.clone(), zygote.status().events.clone()),
            None => (Vec::new(), Vec::new()),
        };
        let plans = zygotes.iter().map(|zygote| zygote.status().plan.clone());
        // The weakest is what can be relied on.
        let fences = zygotes.iter().map(|zygote| zygote.status().fenced_chains_cycles).min();
        let facts = Facts {
            cores: config.cores.clone(),
            quick_cores: config.quick_cores.clone(),
            ticks_per_ms: zygotes.first().map_or(0, |zygote| zygote.status().ticks_per_ms),
            layers,
            events,
            hardware: Arc::clone(&config.zygote.events),
            plans: config.lanes().map(|(core, _)| core).zip(plans).collect(),
            fenced_chains_cycles: fences.unwrap_or_default(),
        };
        Ok(Self { config, zygotes, launcher, facts })
    }

    /// What the pool will be.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// A job, and what goes with it.
#[derive(Debug)]
pub struct Order {
    /// What to do.
    pub work: Work,
    /// The object to do it with.
    pub object: Bytes,
    /// Events to count in place of the usual ones; a worker is made for them.
    pub events: Option<EventSet>,
    /// The check of what the function computes.
    pub examination: Option<Arc<Examination>>,
}

/// What is sent to a worker.
#[derive(Debug, Clone, Copy)]
struct Parcel<'a> {
    id: JobId,
    encoded: &'a [u8],
    object: &'a Bytes,
    examination: Option<&'a Arc<Examination>>,
}

/// What was heard of a job that began.
#[derive(Debug)]
struct Heard {
    end: End,
    examined: Option<Examined>,
}

/// A handle to the pool; cheap to clone, bound to the thread that started it.
#[derive(Debug, Clone)]
pub struct Pool {
    queue: Rc<RefCell<Queue>>,
    facts: Rc<Facts>,
    deadline: Duration,
}

/// Workers that a job is given to, should they end before they take it.
const ATTEMPTS: usize = 3;

/// How long to wait for the zygote's word about a worker that ended without a reply.
const EXIT_REPORT_LIMIT: Duration = Duration::from_secs(2);

/// How long to wait for the zygote's word about a worker that has replied and is ending: it takes half a millisecond, and
/// longer for much memory.
const EVIDENCE_LIMIT: Duration = Duration::from_millis(50);

impl Pool {
    /// Takes over the zygotes and has workers forked. To be called on a thread with a `LocalSet` or actix runtime.
    #[must_use]
    pub fn start(launched: Launched, metrics: Rc<PoolMetrics>) -> Self {
        let Launched { config, zygotes, launcher, facts } = launched;
        let lanes: Vec<_> = config.lanes().collect();
        let chosen_cores = config.zygote.events.cores_for_chosen();
        let queue = Rc::new(RefCell::new(Queue::new(&lanes, chosen_cores, config.queue_capacity, metrics)));
        for (index, zygote) in zygotes.into_iter().enumerate() {
            keeper::start(&queue, index, launcher.clone(), config.jobs_per_zygote, zygote);
        }
        Self { queue, facts: Rc::new(facts), deadline: config.deadline }
    }

    /// Runs one job: waits for a slot, hands it over, and returns how it ended. Dropping the future cancels the job and
    /// ends its worker.
    ///
    /// # Errors
    /// [`RunError`] if no worker took it or the zygote died under it.
    pub async fn run(&self, order: Order) -> Result<Finished, RunError> {
        let submitted = Instant::now();
        let Order { work, object, events, examination } = order;
        let job = new_job(checked(work, examination.as_deref()))?;
        let need = need(&job, events.is_some());
        let encoded = codec::encode(&job, MAX_JOB_BYTES)
            .map_err(|error| RunError::NoWorker { reason: format!("the job cannot be sent: {error}") })?;
        let parcel =
            Parcel { id: job.id, encoded: &encoded, object: &object, examination: examination.as_ref() };
        let (mut lease, taken, heard) = self.give(need, events, &parcel).await?;
        let ran = taken.elapsed();
        let waits = match &heard {
            Ok(Heard { end: End::Measured(_), examined }) => need.quiet || examined.is_some(),
            _ => false,
        };
        let exit = if waits {
            // The next worker may be forked meanwhile.
            lease.refill();
            timeout(EVIDENCE_LIMIT, &mut lease.worker().exit).await.ok().and_then(Result::ok)
        } else {
            lease.worker().exit.try_recv().ok()
        };
        let (core, worker) = (lease.worker().core, lease.worker().id);
        self.queue.borrow_mut().record_run(ran);
        // Ending the worker and asking for the next can wait until the answer is on its way.
        task::spawn_local(async move { drop(lease) });
        let Heard { end, examined } = heard?;
        Ok(Finished { job: job.id, worker, core, end, queued: taken - submitted, ran, exit, examined })
    }

    /// Gives the job to a worker, or to another where that has ended before it took the job, and hears how it ended.
    async fn give(
        &self,
        need: Need,
        events: Option<EventSet>,
        parcel: &Parcel<'_>,
    ) -> Result<(Lease, Instant, Result<Heard, RunError>), RunError> {
        for _ in 0..ATTEMPTS {
            let mut lease = Queue::lease(&self.queue, need, events.clone()).await?;
            let taken = Instant::now();
            if let Some(heard) = self.converse(lease.worker(), parcel).await.transpose() {
                return Ok((lease, taken, heard));
            }
        }
        Err(RunError::NoWorker { reason: format!("{ATTEMPTS} workers ended before they took the job") })
    }

    /// Talks to the worker until the job has ended one way or another; nothing if it never began.
    async fn converse(&self, worker: &mut Worker, parcel: &Parcel<'_>) -> Result<Option<Heard>, RunError> {
        let heard = |end| Ok(Some(Heard { end, examined: None }));
        match timeout(self.deadline, exchange::exchange(&worker.socket, parcel)).await {
            Err(_) => heard(End::TimeLimit { limit: self.deadline }),
            Ok(Ok(Sent::Reply(reply, examined))) => Ok(Some(Heard { end: End::of(*reply), examined })),
            Ok(Ok(Sent::Garbage { reason })) => heard(End::Violation { reason }),
            Ok(Ok(Sent::Nothing)) => heard(death(worker, self.deadline).await?),
            Ok(Ok(Sent::NotTaken)) => Ok(None),
            Ok(Err(error)) => {
                Err(RunError::NoWorker { reason: format!("the worker's socket failed: {error}") })
            }
        }
    }

    /// Whether a job given now could run, and if not, why not.
    ///
    /// # Errors
    /// The reason, as a sentence.
    pub fn ready(&self) -> Result<(), String> {
        self.queue.borrow().ready()
    }

    /// Whether a job given now would be refused for want of room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.borrow().is_full()
    }

    /// The refusal a full queue gives.
    #[must_use]
    pub fn full(&self) -> RunError {
        self.queue.borrow().full()
    }

    /// What the pool is.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Which zygotes there are.
    #[must_use]
    pub fn zygotes(&self) -> Vec<ZygoteFacts> {
        let queue = self.queue.borrow();
        let facts = |slot: &Slot| ZygoteFacts {
            core: slot.core,
            generation: slot.generation().0,
            jobs: slot.jobs(),
            up: slot.has_zygote(),
        };
        queue.slots.iter().map(facts).collect()
    }

    /// How the pool is doing.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        self.queue.borrow().gauges()
    }

    /// Asks zygotes of cores that run no job whether they answer: a job that is being measured is not disturbed.
    pub fn ask_zygotes(&self) {
        self.queue.borrow_mut().ask_zygotes();
    }

    /// Whether jobs can be measured and every zygote that can be asked was heard of within `limit`.
    #[must_use]
    pub fn zygotes_answer(&self, limit: Duration) -> bool {
        self.queue.borrow().zygotes_answer(limit)
    }

    /// How each slot is doing.
    #[must_use]
    pub fn slots(&self) -> Vec<SlotView> {
        self.queue.borrow().slots()
    }

    /// Takes no more jobs, and returns once those accepted have ended or `limit` has passed.
    pub async fn drain(&self, limit: Duration) {
        let emptied = self.queue.borrow_mut().drain();
        // At the limit whatever is left is cut off by the caller's exit.
        let _ = timeout(limit, emptied).await;
    }
}

/// Numbers a job and draws its layout.
fn new_job(work: Work) -> Result<Job, RunError> {
    let random: [u8; 16] = random_bytes()
        .map_err(|error| RunError::NoWorker { reason: format!("no random numbers: {error}") })?;
    let random = u128::from_le_bytes(random);
    Ok(Job { id: JobId(random as u64), layout_seed: (random >> 64) as u64, work })
}

/// The work, with outputs to be shown if there is a check and not otherwise: what is sent and what is expected then agree.
fn checked(work: Work, examination: Option<&Examination>) -> Work {
    let Work::Kernel(kernel) = work;
    Work::Kernel(KernelWork { checking: examination.map(Examination::checking), ..kernel })
}

/// What a job asks of its worker. A quick job's figures are coarse anyway, and its rate matters more: it counts no events
/// and starts beside a fork if need be.
fn need(job: &Job, chosen_events: bool) -> Need {
    match &job.work {
        _ if chosen_events => Need { ready: Ready::Chosen(job.id.0), quiet: true },
        Work::Kernel(kernel) if kernel.effort == Effort::Quick => Need { ready: Ready::Plain, quiet: false },
        Work::Kernel(_) => Need { ready: Ready::Counting, quiet: true },
    }
}

/// What the kernel ends a worker with that calls by the gate of another architecture; others are told by the worker itself.
const SIGSYS: i32 = rustix::process::Signal::SYS.as_raw();

/// Explains a worker that closed its socket without a word: asks the zygote how it ended.
async fn death(worker: &mut Worker, deadline: Duration) -> Result<End, RunError> {
    let limit = EXIT_REPORT_LIMIT.min(deadline);
    let Ok(reported) = timeout(limit, &mut worker.exit).await else {
        return Ok(End::Violation { reason: "it closed its socket without a reply and did not end".into() });
    };
    let (status, _): (ExitStatus, Usage) =
        reported.map_err(|_| RunError::NoWorker { reason: "its zygote died while the job ran".into() })?;
    Ok(match status {
        ExitStatus::Code(code) => End::Exited { code },
        ExitStatus::Signal(SIGSYS) => End::ForeignSystemCall,
        ExitStatus::Signal(signal) => End::Killed { signal },
    })
}
