//! Figures for operators, in Prometheus's text format.
//!
//! Labels are bounded: routes are patterns, kernels come from the catalogue, outcomes are problem slugs. Results of
//! measurements are data, not metrics.

use std::fmt;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::machine::Machine;
use crate::pool::Gauges;

/// Media type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    runs: IntCounterVec,
    queue_length: IntGauge,
    queue_capacity: IntGauge,
    workers: IntGaugeVec,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// A run that is going on; counted as cancelled if it is dropped unfinished.
#[derive(Debug)]
pub struct RunTally<'a> {
    metrics: &'a Metrics,
    kernel: &'a str,
    finished: bool,
}

impl Metrics {
    /// Registers every series.
    ///
    /// # Panics
    /// If two series had one name; they are all named here.
    #[must_use]
    pub fn new(machine: &Machine) -> Self {
        let opts = |name: &str, help: &str| Opts::new(format!("webrunner_{name}"), help);
        let requests = IntCounterVec::new(
            opts("http_requests_total", "HTTP requests answered."),
            &["route", "method", "code"],
        );
        let runs = IntCounterVec::new(opts("runs_total", "Jobs, by how they ended."), &["kernel", "outcome"]);
        let workers = IntGaugeVec::new(opts("workers", "Worker processes, by what they do."), &["state"]);
        let build = IntGaugeVec::new(
            opts("build_info", "Always 1; labels describe the program and the machine."),
            &["version", "microarchitecture"],
        );
        let queue_length = IntGauge::with_opts(opts("queue_length", "Jobs waiting for a worker."));
        let queue_capacity = IntGauge::with_opts(opts("queue_capacity", "Jobs that may wait for a worker."));
        let metrics = (|| {
            let (build, metrics) = (
                build?,
                Self {
                    registry: Registry::new(),
                    requests: requests?,
                    runs: runs?,
                    queue_length: queue_length?,
                    queue_capacity: queue_capacity?,
                    workers: workers?,
                },
            );
            let microarchitecture = machine.microarchitecture.unwrap_or("unknown");
            build.with_label_values(&[env!("CARGO_PKG_VERSION"), microarchitecture]).set(1);
            let registry = &metrics.registry;
            registry.register(Box::new(build))?;
            registry.register(Box::new(metrics.requests.clone()))?;
            registry.register(Box::new(metrics.runs.clone()))?;
            registry.register(Box::new(metrics.queue_length.clone()))?;
            registry.register(Box::new(metrics.queue_capacity.clone()))?;
            registry.register(Box::new(metrics.workers.clone()))?;
            registry.register(Box::new(ProcessCollector::for_self()))?;
            prometheus::Result::Ok(metrics)
        })();
        metrics.expect("names of series are distinct and valid")
    }

    /// Counts an answered request; `route` must be a pattern, never a path.
    pub fn request(&self, route: &str, method: &str, code: &str) {
        self.requests.with_label_values(&[route, method, code]).inc();
    }

    /// Begins to account for a run of a kernel of the catalogue.
    #[must_use]
    pub fn run<'a>(&'a self, kernel: &'a str) -> RunTally<'a> {
        RunTally { metrics: self, kernel, finished: false }
    }

    /// Everything, as text.
    #[must_use]
    pub fn render(&self, gauges: &Gauges) -> Vec<u8> {
        let signed = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.queue_length.set(signed(gauges.queued));
        self.queue_capacity.set(signed(gauges.queue_capacity));
        self.workers.with_label_values(&["busy"]).set(signed(gauges.running));
        self.workers.with_label_values(&["standby"]).set(signed(gauges.standby));
        let mut text = Vec::with_capacity(4096);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "cannot render metrics");
        }
        text
    }
}

impl RunTally<'_> {
    /// The run ended like this: `ok` or the slug of a problem.
    pub fn finish(mut self, outcome: &str) {
        self.finished = true;
        self.metrics.runs.with_label_values(&[self.kernel, outcome]).inc();
    }
}

impl Drop for RunTally<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.metrics.runs.with_label_values(&[self.kernel, "cancelled"]).inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_counted_by_kernel_and_outcome() {
        let metrics = Metrics::new(&Machine::gather(0));
        metrics.run("blis.sdot").finish("ok");
        drop(metrics.run("blis.sdot"));
        let text = String::from_utf8(metrics.render(&Gauges { queued: 3, ..Gauges::default() })).unwrap();
        for line in [
            "webrunner_runs_total{kernel=\"blis.sdot\",outcome=\"ok\"} 1",
            "webrunner_runs_total{kernel=\"blis.sdot\",outcome=\"cancelled\"} 1",
            "webrunner_queue_length 3",
            "process_open_fds ",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
