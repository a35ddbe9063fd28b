//! What every handler needs, in one place; lives on the one worker thread and is never shared with another.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use webrunner_protocol::job::Work;

use crate::machine::Machine;
use crate::metrics::Metrics;
use crate::pool::{Facts, Finished, Gauges, Pool, ZygoteFacts};
use crate::problem::Problem;
use crate::rate_limit::{Client, RateLimit};
use crate::reload::Live;
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
    /// Empty until the pool has started.
    pool: OnceCell<Pool>,
}

impl Service {
    /// A service whose pool has yet to start; until then it is not ready.
    #[must_use]
    pub fn new(live: Arc<Live>, machine: Machine, access_log: Option<AccessLog>) -> Self {
        let metrics = Metrics::new(&machine);
        Self { live, machine, metrics, access_log, rate_limit: None, pool: OnceCell::new() }
    }

    /// Puts the pool in place; a second one is dropped.
    pub fn open(&self, pool: Pool) {
        if self.pool.set(pool).is_err() {
            tracing::error!("a second pool was started and is dropped");
        }
    }

    /// Whether a job given now could run.
    ///
    /// # Errors
    /// [`Problem::NotReady`].
    pub fn ready(&self) -> Result<(), Problem> {
        self.pool.get().ok_or_else(not_started)?.ready().map_err(|reason| Problem::NotReady { reason })
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
    pub fn admit_client(&self, client: Client) -> Result<(), Problem> {
        let limited = self.rate_limit.as_ref().map_or(Ok(()), |limit| limit.admit(client));
        limited.map_err(|retry_after| Problem::RateLimited { retry_after })
    }

    /// Runs one job; dropping the future cancels it.
    ///
    /// # Errors
    /// [`Problem::QueueFull`], [`Problem::Draining`] or [`Problem::NoWorker`].
    pub async fn run(&self, work: Work, object: Bytes) -> Result<Finished, Problem> {
        let pool = self.pool.get().ok_or_else(not_started)?;
        Ok(pool.run(work, object).await?)
    }

    /// What the pool is; nothing until it has started.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        static NOTHING: Facts =
            Facts { cores: Vec::new(), quick_cores: Vec::new(), layers: Vec::new(), events: Vec::new() };
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

fn not_started() -> Problem {
    Problem::NotReady { reason: "the service is starting".into() }
}
