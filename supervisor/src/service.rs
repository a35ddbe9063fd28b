//! What every handler needs, in one place; lives on the one worker thread and is never shared with another.

use std::cell::{OnceCell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use serde_json::{Value, json};
use webrunner_kernels::Catalogue;
use webrunner_protocol::job::Work;

use crate::catalogue;
use crate::check::Examination;
use crate::machine::Machine;
use crate::metrics::{Metrics, Now};
use crate::pool::{Facts, Finished, Gauges, Launched, Pool};
use crate::problem::Problem;
use crate::rate_limit::RateLimit;
use crate::request::Call;
use crate::self_check::Verdict;
use crate::telemetry::AccessLog;

/// The service behind the routes.
#[derive(Debug)]
pub struct Service {
    /// Kernels there are.
    pub catalogue: Catalogue,
    /// This machine, as found at the start.
    pub machine: Machine,
    /// Figures for operators.
    pub metrics: Metrics,
    /// One line for each request, if wanted.
    pub access_log: Option<AccessLog>,
    /// How often one address may post a job, if that is limited.
    pub rate_limit: Option<RateLimit>,
    /// What the last self-check found.
    verdict: RefCell<Verdict>,
    /// The catalogue as `GET /kernels` sends it; made at the first request for it.
    listing: OnceCell<Bytes>,
    /// Empty until the pool has started.
    pool: OnceCell<Pool>,
}

impl Service {
    /// A service whose pool has yet to start; until then it is not ready.
    #[must_use]
    pub fn new(catalogue: Catalogue, machine: Machine, access_log: Option<AccessLog>) -> Self {
        let metrics = Metrics::new(&machine, &catalogue);
        Self {
            catalogue,
            machine,
            metrics,
            access_log,
            rate_limit: None,
            verdict: RefCell::default(),
            listing: OnceCell::new(),
            pool: OnceCell::new(),
        }
    }

    /// Starts the pool; a second one is dropped.
    pub fn open(&self, launched: Launched) {
        let pool = Pool::start(launched, Rc::clone(&self.metrics.pool));
        if self.pool.set(pool).is_err() {
            tracing::error!("a second pool was started and is dropped");
        }
    }

    /// All kernels, described as JSON.
    #[must_use]
    pub fn listing(&self) -> Bytes {
        let make = || {
            let kernels: Vec<Value> = self.catalogue.iter().map(catalogue::describe).collect();
            Bytes::from(json!({ "kernels": kernels }).to_string())
        };
        self.listing.get_or_init(make).clone()
    }

    /// Whether clients should send jobs here: they could run, and the last self-check did not fail.
    ///
    /// # Errors
    /// [`Problem::NotReady`] with every reason.
    pub fn ready(&self) -> Result<(), Problem> {
        let pool = self.pool.get().ok_or_else(not_started)?;
        let mut reasons: Vec<_> = pool.ready().err().into_iter().collect();
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
        let pool = self.pool.get().ok_or_else(not_started)?;
        if pool.is_full() { Err(pool.full().into()) } else { Ok(()) }
    }

    /// Holds a client to its rate.
    ///
    /// # Errors
    /// [`Problem::RateLimited`].
    pub fn admit_from(&self, peer: Option<IpAddr>) -> Result<(), Problem> {
        let limited = self.rate_limit.as_ref().map_or(Ok(()), |limit| limit.admit(peer));
        limited.map_err(|retry_after| Problem::RateLimited { retry_after })
    }

    /// Runs one job; dropping the future cancels it.
    ///
    /// # Errors
    /// [`Problem::QueueFull`], [`Problem::Draining`] or [`Problem::NoWorker`].
    pub async fn run(&self, call: &Call<'_>, object: Bytes) -> Result<Finished, Problem> {
        self.run_job(call.work(), object, call.examination.clone().ok()).await
    }

    /// The same for a job that no client asked for; what it computes is checked only with an `examination`.
    ///
    /// # Errors
    /// As [`Service::run`].
    pub async fn run_job(
        &self,
        work: Work,
        object: Bytes,
        examination: Option<Arc<Examination>>,
    ) -> Result<Finished, Problem> {
        let pool = self.pool.get().ok_or_else(not_started)?;
        Ok(pool.run(work, object, examination).await?)
    }

    /// What the pool is; nothing until it has started.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        static NOTHING: Facts = Facts {
            cores: Vec::new(),
            quick_cores: Vec::new(),
            ticks_per_ms: 0,
            layers: Vec::new(),
            events: Vec::new(),
        };
        self.pool.get().map_or(&NOTHING, Pool::facts)
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

fn not_started() -> Problem {
    Problem::NotReady { reasons: vec!["the service is starting".into()] }
}
