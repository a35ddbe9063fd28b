//! What every handler needs, in one place; lives on the one worker thread and is never shared with another.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::watch;

use crate::machine::Machine;
use crate::metrics::{Metrics, Now};
use crate::pool::{Facts, Finished, Gauges, Launched, Order, Pool, ZygoteFacts};
use crate::problem::Problem;
use crate::rate_limit::{Client, RateLimit};
use crate::reload::Live;
use crate::self_check::Verdict;
use crate::telemetry::AccessLog;

/// The service behind the routes.
#[derive(Debug)]
pub struct Service {
    /// Kernels there are, and who may use them.
    pub live: Arc<Live>,
    /// This machine, as found at the start.
    pub machine: Machine,
    /// Figures for operators.
    pub metrics: Metrics,
    /// One line for each request, if wanted.
    pub access_log: Option<AccessLog>,
    /// How often one client may post a job, if that is limited.
    pub rate_limit: Option<RateLimit>,
    /// What the last self-check found.
    verdict: RefCell<Verdict>,
    /// Empty until the pool has started.
    pool: OnceCell<Pool>,
    /// Whether the service is to stop once open connections have had what they came for.
    stopping: Cell<bool>,
    /// Becomes true when jobs that are left are to be given up.
    cut_off: watch::Sender<bool>,
}

impl Service {
    /// A service whose pool has yet to start; until then it is not ready.
    #[must_use]
    pub fn new(live: Arc<Live>, machine: Machine, access_log: Option<AccessLog>) -> Self {
        let metrics = Metrics::new(&machine, &live.state().catalogue);
        Self {
            live,
            machine,
            metrics,
            access_log,
            rate_limit: None,
            verdict: RefCell::default(),
            pool: OnceCell::new(),
            stopping: Cell::new(false),
            cut_off: watch::Sender::new(false),
        }
    }

    /// Starts the pool; a second one is dropped.
    pub fn open(&self, launched: Launched) {
        let pool = Pool::start(launched, Rc::clone(&self.metrics.pool));
        if self.pool.set(pool).is_err() {
            tracing::error!("a second pool was started and is dropped");
        }
    }

    /// Whether clients should send jobs here: they could run, and the last self-check did not fail.
    ///
    /// # Errors
    /// [`Problem::NotReady`] with every reason.
    pub fn ready(&self) -> Result<(), Problem> {
        let pool = self.pool.get().ok_or_else(without_pool)?;
        let is_stopping = self.stopping.get().then(|| "the service is stopping".to_owned());
        let mut reasons: Vec<_> = is_stopping.or_else(|| pool.ready().err()).into_iter().collect();
        if let Verdict::Failed { reason } = &*self.verdict.borrow() {
            reasons.push(format!("the self-check failed: {reason}"));
        }
        if reasons.is_empty() { Ok(()) } else { Err(Problem::NotReady { reasons }) }
    }

    /// What the last self-check found.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict.borrow().clone()
    }

    /// Takes over what a self-check found.
    pub fn set_verdict(&self, verdict: Verdict) {
        *self.verdict.borrow_mut() = verdict;
    }

    /// All figures, in Prometheus's text format.
    #[must_use]
    pub fn render_metrics(&self) -> Vec<u8> {
        let slots = self.pool.get().map(Pool::slots).unwrap_or_default();
        self.metrics.render(&Now { ready: self.ready().is_ok(), gauges: self.gauges(), slots })
    }

    /// A cheap look at the queue, so that a body that cannot be used is not read.
    ///
    /// # Errors
    /// [`Problem::QueueFull`] or [`Problem::NotReady`].
    pub fn admit(&self) -> Result<(), Problem> {
        let pool = self.pool.get().ok_or_else(without_pool)?;
        if pool.is_full() { Err(pool.full().into()) } else { Ok(()) }
    }

    /// Holds a client to its rate.
    ///
    /// # Errors
    /// [`Problem::RateLimited`].
    pub fn admit_client(&self, client: Client) -> Result<(), Problem> {
        let limited = self.rate_limit.as_ref().map_or(Ok(()), |limit| limit.admit(client));
        limited.map_err(|retry_after| Problem::RateLimited { retry_after })
    }

    /// Runs one job; dropping the future cancels it.
    ///
    /// # Errors
    /// [`Problem::QueueFull`], [`Problem::Draining`] or [`Problem::NoWorker`].
    pub async fn run(&self, order: Order) -> Result<Finished, Problem> {
        let pool = self.pool.get().ok_or_else(without_pool)?;
        let mut cut_off = self.cut_off.subscribe();
        tokio::select! {
            biased;
            finished = pool.run(order) => Ok(finished?),
            _ = cut_off.wait_for(|cut_off| *cut_off) => Err(Problem::Draining),
        }
    }

    /// Asks zygotes that were not heard of lately whether they answer.
    pub fn ask_zygotes(&self) {
        if let Some(pool) = self.pool.get() {
            pool.ask_zygotes();
        }
    }

    /// Whether the zygotes there are have answered within `limit`, and jobs can be measured.
    #[must_use]
    pub fn zygotes_answer(&self, limit: Duration) -> bool {
        self.pool.get().is_some_and(|pool| pool.zygotes_answer(limit))
    }

    /// From now on not ready, and every connection is closed after the request it has.
    pub fn begin_to_stop(&self) {
        self.stopping.set(true);
    }

    /// Whether the service is to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Gives up the jobs that are left: their clients are told to come back.
    pub fn cut_off(&self) {
        self.cut_off.send_replace(true);
    }

    /// What the pool is; nothing until it has started.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        static NOTHING: LazyLock<Facts> = LazyLock::new(Facts::default);
        self.pool.get().map_or(&NOTHING, Pool::facts)
    }

    /// Which zygotes there are.
    #[must_use]
    pub fn zygotes(&self) -> Vec<ZygoteFacts> {
        self.pool.get().map(Pool::zygotes).unwrap_or_default()
    }

    /// How the pool is doing.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        self.pool.get().map(Pool::gauges).unwrap_or_default()
    }

    /// Takes no more jobs and waits for those in flight, for at most `limit`.
    pub async fn drain(&self, limit: Duration) {
        if let Some(pool) = self.pool.get() {
            pool.drain(limit).await;
        }
    }
}

/// The pool is there before the first request, unless the thread that serves is no longer the first.
fn without_pool() -> Problem {
    let reason = "the thread that serves was started anew and has no workers; restart the service";
    Problem::NotReady { reasons: vec![reason.into()] }
}
