//! Where the functions are measured: the service as clients have it, without the HTTP.
//!
//! A job goes through the same query, queue, worker and judgement of quality as one that was posted, and is repeated
//! once, as that would be, if its answer is in doubt. An answer is *accepted* if its quality is `ok`.

use std::time::{Duration, Instant};

use actix_web::web::Bytes;
use serde_json::Value;
use webrunner_kernels::Catalogue;

use crate::problem::Problem;
use crate::progress::Progress;
use crate::render;
use crate::repeat::{self, Measured};
use crate::request::RunRequest;
use crate::service::Service;
use crate::summary::{Quality, Summary};

/// Longest that one series may take; what is done by then is what counts.
const SERIES_LIMIT: Duration = Duration::from_secs(6);

/// Longest that all series may take together; after that each function is still asked once.
const LIMIT: Duration = Duration::from_secs(50);

/// Query of functions that take no arguments and are not counted.
pub(super) const CHAIN: &str = "kernel=playground&_counts=no";

/// A service to measure with, and how often to.
pub(super) struct Laboratory<'a> {
    pub(super) service: &'a Service,
    catalogue: &'a Catalogue,
    pub(super) runs: u32,
    pub(super) progress: Progress,
    until: Instant,
}

/// What the bounds need of one answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// Cycles, isolated: the median.
    pub(super) cycles: f64,
    /// Cycles back to back: the median.
    pub(super) throughput: Option<f64>,
    /// Cycles less those of an empty function.
    pub(super) minus_empty_call: f64,
    /// Instructions by block counting, if they were counted.
    pub(super) instructions: Option<u64>,
    /// Rounds left out of this answer.
    pub(super) dropped: u32,
    /// Whether the quality is `ok`.
    pub(super) accepted: bool,
}

/// The answers to one function, asked again and again.
#[derive(Debug, Default)]
pub(super) struct Series {
    /// Those that were accepted.
    pub(super) accepted: Vec<Answer>,
    /// How often it was asked for.
    pub(super) asked: u32,
    /// Rounds left out of all the answers, accepted or not.
    pub(super) dropped: u64,
}

impl Series {
    /// Isolated cycles of the accepted answers.
    pub(super) fn cycles(&self) -> Vec<f64> {
        self.accepted.iter().map(|answer| answer.cycles).collect()
    }

    /// Their median; NaN if none was accepted.
    pub(super) fn median(&self) -> f64 {
        Summary::median_of(&self.cycles()).unwrap_or(f64::NAN)
    }

    /// Median of their cycles back to back; NaN if there are none.
    pub(super) fn throughput(&self) -> f64 {
        let cycles: Vec<f64> = self.accepted.iter().filter_map(|answer| answer.throughput).collect();
        Summary::median_of(&cycles).unwrap_or(f64::NAN)
    }

    /// Whether four of five were accepted.
    pub(super) fn is_steady(&self) -> bool {
        self.asked > 0 && 5 * self.accepted.len() >= 4 * self.asked as usize
    }

    /// How many were accepted, in words.
    pub(super) fn share(&self) -> String {
        format!("{} of {} accepted", self.accepted.len(), self.asked)
    }
}

impl<'a> Laboratory<'a> {
    /// A laboratory whose time runs from now.
    pub(super) fn open(service: &'a Service, catalogue: &'a Catalogue, runs: u32) -> Self {
        Self { service, catalogue, runs, progress: Progress::start(), until: Instant::now() + LIMIT }
    }

    /// Measures a function once, with a repeat if it is in doubt.
    ///
    /// # Errors
    /// What it ended in instead.
    pub(super) async fn once(&self, query: &str, object: &Bytes) -> Result<Answer, Problem> {
        let call = RunRequest::from_query(query)?.resolve(self.catalogue)?;
        let Measured { measurement, .. } = repeat::measure(self.service, &call, object, |_| {}).await?;
        let samples = &measurement.cycles;
        let summary = Summary::of(&samples.isolated).ok_or(Problem::Internal)?;
        Ok(Answer {
            cycles: summary.median,
            throughput: Summary::median_of(&samples.throughput),
            minus_empty_call: summary.median - samples.empty_call_cycles,
            instructions: measurement.counts.whole().map(|counts| counts.instructions),
            dropped: samples.dropped,
            accepted: Quality::of(samples.gate, &summary) == Quality::Ok,
        })
    }

    /// Measures a function once, with a repeat if it is in doubt, and gives the answer in JSON that a client would have.
    ///
    /// # Errors
    /// What it ended in instead.
    pub(super) async fn answer(&self, query: &str, object: &Bytes) -> Result<Value, Problem> {
        let request = RunRequest::from_query(query)?;
        let mut call = request.resolve(self.catalogue)?;
        call.events = request.selection(&self.service.facts().hardware)?;
        let measured = repeat::measure(self.service, &call, object, |_| {}).await?;
        let report = measured.report("doctor", self.service, &call, object);
        let body = render::json(&report).map_err(|_| Problem::Internal)?;
        serde_json::from_slice(&body).map_err(|_| Problem::Internal)
    }

    /// Whether the time for all series is up.
    pub(super) fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Measures a function `runs` times, or as often as there is time for.
    ///
    /// # Errors
    /// The first job that ended in something else than a measurement.
    pub(super) async fn series(
        &mut self,
        what: &str,
        query: &str,
        object: &Bytes,
        runs: u32,
    ) -> Result<Series, Problem> {
        let until = self.until.min(Instant::now() + SERIES_LIMIT);
        let mut series = Series::default();
        while series.asked < runs && (series.asked == 0 || Instant::now() < until) {
            self.progress.say(&format!("measuring {what}: {} of {runs}", series.asked + 1));
            series.asked += 1;
            let answer = self.once(query, object).await?;
            series.dropped += u64::from(answer.dropped);
            if answer.accepted {
                series.accepted.push(answer);
            }
        }
        Ok(series)
    }
}
