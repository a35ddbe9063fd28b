//! The pool: slots, zygotes, the queue and every deadline.
//!
//! A job waits in one bounded queue until a slot has a worker for it, is handed over, and ends with a reply, with the
//! worker's death, or at its deadline. All of this runs on one thread, the one that also serves HTTP, so that a job
//! costs no hand-over between threads; a [`Pool`] is therefore a counted pointer and not `Send`.
//!
//! # Layout
//!
//! - `zygote`: the process that forks, and the messages with it.
//! - `slot`: one core: its waiting workers and the one that runs.
//! - `keeper`: the task that keeps one slot's zygote alive and its workers in supply.
//! - `queue`: who gets a worker next.
//! - `readable`: a socket that is waited on for reading only.
//! - `exchange`: the conversation with a worker. `examine`: the longer one where its outputs are checked.
//! - `outcome`: what is said about a job that has ended.

mod examine;
mod exchange;
mod keeper;
mod outcome;
mod queue;
mod readable;
mod slot;
mod zygote;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::Bytes;
use tokio::task;
use tokio::time::timeout;
use webrunner_protocol::codec;
use webrunner_protocol::control::{Event, ExitStatus, Lane, Layer, Usage, WorkerProfile};
use webrunner_protocol::ids::{CoreId, JobId};
use webrunner_protocol::job::{Effort, Job, Work};
use webrunner_protocol::limits::MAX_JOB_BYTES;
use webrunner_protocol::reply::{Outcome, Reply};

use self::exchange::Sent;
pub use self::outcome::{End, Finished, RunError};
use self::queue::{Need, Queue};
use self::slot::Worker;
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
    facts: Facts,
}

impl Launched {
    /// Starts one zygote for each core and waits for all of them. Blocks.
    ///
    /// # Errors
    /// The first that could not be started; the others are ended.
    pub fn launch(config: PoolConfig) -> Result<Self, LaunchError> {
        let zygotes = config
            .lanes()
            .map(|(core, lane)| Zygote::launch(&config.zygote, core, lane))
            .collect::<Result<Vec<_>, _>>()?;
        let (layers, events) = match zygotes.first() {
            Some(zygote) => (zygote.status().layers.clone(), zygote.status().events.clone()),
            None => (Vec::new(), Vec::new()),
        };
        let facts = Facts {
            cores: config.cores.clone(),
            quick_cores: config.quick_cores.clone(),
            ticks_per_ms: zygotes.first().map_or(0, |zygote| zygote.status().ticks_per_ms),
            layers,
            events,
        };
        Ok(Self { config, zygotes, facts })
    }

    /// What the pool will be.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// What the pool is and can do, known once its zygotes are up.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Cores that jobs are measured on.
    pub cores: Vec<CoreId>,
    /// Cores that quick jobs may run on besides.
    pub quick_cores: Vec<CoreId>,
    /// Speed of the time stamp counter, as the first core's zygote measured it; 0 if there is none.
    pub ticks_per_ms: u64,
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
    /// Workers being forked.
    pub starting: usize,
    /// Zygotes that answer.
    pub zygotes: usize,
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

/// A handle to the pool; cheap to clone, bound to the thread that started it.
#[derive(Debug, Clone)]
pub struct Pool {
    queue: Rc<RefCell<Queue>>,
    facts: Rc<Facts>,
    deadline: Duration,
}

/// How long to wait for the zygote's word about a worker that ended without a reply.
const EXIT_REPORT_LIMIT: Duration = Duration::from_secs(2);

/// How long to wait for the zygote's word about a worker that has replied and is ending: it takes half a millisecond, and
/// longer for much memory.
const EVIDENCE_LIMIT: Duration = Duration::from_millis(50);

impl Pool {
    /// Takes over the zygotes and has workers forked. To be called on a thread with a `LocalSet` or actix runtime.
    #[must_use]
    pub fn start(launched: Launched, metrics: Rc<PoolMetrics>) -> Self {
        let Launched { config, zygotes, facts } = launched;
        let lanes: Vec<_> = config.lanes().collect();
        let queue = Rc::new(RefCell::new(Queue::new(&lanes, config.queue_capacity, metrics)));
        for (index, zygote) in zygotes.into_iter().enumerate() {
            keeper::start(&queue, index, config.zygote.clone(), zygote);
        }
        Self { queue, facts: Rc::new(facts), deadline: config.deadline }
    }

    /// Runs one job: waits for a slot, hands it over, and returns how it ended. Dropping the future cancels the job
    /// and ends its worker.
    ///
    /// # Errors
    /// [`RunError`] if no worker took it or the zygote died under it.
    pub async fn run(
        &self,
        work: Work,
        object: Bytes,
        examination: Option<Arc<Examination>>,
    ) -> Result<Finished, RunError> {
        let submitted = Instant::now();
        let job = new_job(work)?;
        let encoded = codec::encode(&job, MAX_JOB_BYTES)
            .map_err(|error| RunError::NoWorker { reason: format!("the job cannot be sent: {error}") })?;
        let mut lease = Queue::lease(&self.queue, need(&job.work)).await?;
        let taken = Instant::now();
        let mut examined = None;
        let end = self
            .converse(lease.worker(), job.id, &encoded, &object, examination.as_ref(), &mut examined)
            .await;
        let ran = taken.elapsed();
        let exit = if matches!(end, Ok(End::Measured(_))) && (is_patient(&job.work) || examined.is_some()) {
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
        Ok(Finished { job: job.id, worker, core, end: end?, queued: taken - submitted, ran, exit, examined })
    }

    /// Talks to the worker until the job has ended one way or another.
    async fn converse(
        &self,
        worker: &mut Worker,
        id: JobId,
        job: &[u8],
        object: &Bytes,
        examination: Option<&Arc<Examination>>,
        examined: &mut Option<Examined>,
    ) -> Result<End, RunError> {
        let exchange = exchange::exchange(&worker.socket, id, job, object, examination);
        match timeout(self.deadline, exchange).await {
            Err(_) => Ok(End::TimeLimit { limit: self.deadline }),
            Ok(Ok(Sent::Reply(reply, came))) => {
                *examined = came;
                Ok(end_of(*reply))
            }
            Ok(Ok(Sent::Garbage { reason })) => Ok(End::Violation { reason }),
            Ok(Ok(Sent::Nothing)) => death(worker, self.deadline).await,
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

    /// How the pool is doing.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        self.queue.borrow().gauges()
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

/// What a job asks of its worker. A quick job's figures are coarse anyway, and its rate matters more: it counts no events
/// and starts beside a fork if need be.
fn need(work: &Work) -> Need {
    match work {
        Work::Kernel(kernel) if kernel.effort == Effort::Quick => {
            Need { profile: WorkerProfile::Plain, quiet: false }
        }
        Work::Kernel(_) => Need { profile: WorkerProfile::Counting, quiet: true },
    }
}

/// Whether a job's answer waits for what is known of its worker's end.
fn is_patient(work: &Work) -> bool {
    need(work).quiet
}

fn end_of(reply: Reply) -> End {
    match reply.outcome {
        Outcome::Measured(measurement) => End::Measured(measurement),
        Outcome::Refused(refusal) => End::Refused(refusal),
        Outcome::Faulted(fault) => End::Faulted(fault),
        Outcome::Failed(failure) => End::Failed(failure),
    }
}

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
        ExitStatus::Signal(libc_sigsys) if libc_sigsys == rustix::process::Signal::SYS.as_raw() => {
            End::ForeignSystemCall
        }
        ExitStatus::Signal(signal) => End::Killed { signal },
    })
}
