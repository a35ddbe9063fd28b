//! Figures for operators, in Prometheus's text format; `docs/metrics.md` describes each.
//!
//! Labels are bounded: routes are patterns, kernels come from the catalogue, outcomes are problem slugs, cores are those
//! of the pool. Nothing a client writes becomes a label. Results of measurements are data, not metrics.
//!
//! A quick job costs some 100 us of this thread, so what is counted on its way is counted through handles that were
//! found before: an atomic addition each, no look-up by label and no text.
//!
//! # Layout
//!
//! - `families`: making and registering series.
//! - `http`: requests; `jobs`: what clients post; `pool`: slots, zygotes, workers and the queue.

mod families;
mod http;
mod jobs;
mod pool;

use std::fmt;
use std::rc::Rc;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, IntCounter, IntGauge, Registry, TextEncoder};
use webrunner_kernels::Catalogue;

use self::families::Families;
pub use self::http::{HttpMetrics, InFlight};
pub use self::jobs::{CANCELLED, JobMetrics, RunTally};
pub use self::pool::PoolMetrics;
use crate::machine::Machine;
use crate::pool::{Gauges, SlotView};

/// Media type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// The revision that was built, as the packager's `WEBRUNNER_REVISION` names it.
const REVISION: &str = match option_env!("WEBRUNNER_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Everything that is counted.
pub struct Metrics {
    /// Requests.
    pub http: HttpMetrics,
    /// Jobs that clients post.
    pub jobs: JobMetrics,
    /// The pool, which counts its own events.
    pub pool: Rc<PoolMetrics>,
    /// Self-checks.
    pub self_checks: SelfCheckMetrics,
    ready: IntGauge,
    registry: Registry,
}

/// Self-checks, by how they ended.
#[derive(Debug)]
pub struct SelfCheckMetrics {
    /// The answer was right.
    pub passed: IntCounter,
    /// It was wrong, or there was none.
    pub failed: IntCounter,
    /// There was no quiet moment.
    pub skipped: IntCounter,
}

/// What is true at the moment of a scrape.
#[derive(Debug, Default)]
pub struct Now {
    /// Whether the service calls itself ready.
    pub ready: bool,
    /// How busy the pool is.
    pub gauges: Gauges,
    /// Each of its slots.
    pub slots: Vec<SlotView>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Registers every series.
    ///
    /// # Panics
    /// If two series had one name; they are all named in this module.
    #[must_use]
    pub fn new(machine: &Machine, catalogue: &Catalogue) -> Self {
        let registry = Registry::new();
        let families = Families(&registry);
        let (http, jobs) = (HttpMetrics::new(&families), JobMetrics::new(&families, names(catalogue)));
        let pool = Rc::new(PoolMetrics::new(&families));
        let self_checks = SelfCheckMetrics::new(&families);
        let ready = families.gauge("ready", "1 while the service calls itself ready.");
        describe_build(&families, machine);
        registry.register(Box::new(ProcessCollector::for_self())).expect("the names are not taken");
        Self { http, jobs, pool, self_checks, ready, registry }
    }

    /// Labels runs by the kernels of this catalogue from now on.
    pub fn follow(&self, catalogue: &Catalogue) {
        self.jobs.follow(names(catalogue));
    }

    /// Everything, as text.
    #[must_use]
    pub fn render(&self, now: &Now) -> Vec<u8> {
        self.ready.set(now.ready.into());
        self.pool.refresh(&now.gauges, &now.slots);
        let mut text = Vec::with_capacity(32 << 10);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "cannot render metrics");
        }
        text
    }
}

fn names(catalogue: &Catalogue) -> impl Iterator<Item = String> {
    catalogue.iter().map(|kernel| kernel.full_name().to_owned())
}

impl SelfCheckMetrics {
    fn new(families: &Families<'_>) -> Self {
        let help = "Self-checks of the service, by how they ended.";
        let all = families.counters("self_checks_total", help, &["outcome"]);
        let of = |outcome: &str| all.with_label_values(&[outcome]);
        Self { passed: of("passed"), failed: of("failed"), skipped: of("skipped") }
    }
}

/// A series whose labels are what matters.
fn describe_build(families: &Families<'_>, machine: &Machine) {
    let build = families.gauges(
        "build_info",
        "Always 1; labels describe the program and the machine.",
        &["version", "revision", "microarchitecture"],
    );
    let microarchitecture = machine.microarchitecture.unwrap_or("unknown");
    build.with_label_values(&[env!("CARGO_PKG_VERSION"), REVISION, microarchitecture]).set(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_true_at_a_scrape_is_in_its_text() {
        let metrics = Metrics::new(&Machine::gather(0), &Catalogue::builtin().unwrap());
        let gauges = Gauges { queued: 3, ..Gauges::default() };
        let text = metrics.render(&Now { ready: true, gauges, slots: Vec::new() });
        let text = String::from_utf8(text).unwrap();
        for line in ["webrunner_ready 1", "webrunner_queue_length 3", "process_open_fds "] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
