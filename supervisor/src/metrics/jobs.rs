//! Jobs that clients post: how each ended, and where its time went.
//!
//! What a worker says of its own phases is a claim: it is cut to the time the job was seen to take, so that no claim can
//! spoil a sum. The service's own self-checks are no client's jobs and do not come here.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};
use webrunner_protocol::fault::FaultCause;
use webrunner_protocol::reply::{Measurement, Phases};

use super::families::{Doubling, Families};
use super::http::LATENCY;
use crate::fault::system_call_name;
use crate::pool::{End, Finished};
use crate::render::Truth;

/// Kernel of runs that name none, or one that there is not.
const NO_KERNEL: &str = "other";

/// Outcome of a run whose client left.
pub const CANCELLED: &str = "cancelled";

/// System call of a run that made one through a gate of another architecture, of which nothing more is known.
const FOREIGN_CALL: &str = "foreign";

/// 10 us to 10 s: loading an object takes tens of microseconds.
const PHASE: Doubling = Doubling { from: 10e-6, count: 21 };

/// 256 bytes to the 1 MiB an object may have.
const OBJECT_BYTES: Doubling = Doubling { from: 256.0, count: 13 };

/// Figures about jobs.
#[derive(Debug)]
pub struct JobMetrics {
    runs: IntCounterVec,
    durations: HistogramVec,
    kernels: RefCell<HashMap<String, KernelMetrics>>,
    no_kernel: KernelMetrics,
    phases: PhaseMetrics,
    object_bytes: Histogram,
    results: IntCounterVec,
    known_results: Known<[&'static str; 2]>,
    violations: IntCounterVec,
    multiplexed: IntCounter,
}

/// Handles of one kernel, found when it is first asked for.
#[derive(Debug, Default)]
struct KernelMetrics {
    outcomes: Known<&'static str>,
    duration: OnceCell<Histogram>,
}

/// Counters found once, of a family so small that looking through them is quick.
#[derive(Debug)]
struct Known<K>(RefCell<Vec<(K, IntCounter)>>);

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<K: PartialEq> Known<K> {
    /// Adds one to the counter of `key`, which `find` finds the first time.
    fn count(&self, key: K, find: impl FnOnce(&K) -> IntCounter) {
        let mut known = self.0.borrow_mut();
        if let Some((_, counter)) = known.iter().find(|(other, _)| *other == key) {
            return counter.inc();
        }
        let counter = find(&key);
        counter.inc();
        known.push((key, counter));
    }
}

#[derive(Debug)]
struct PhaseMetrics {
    queue: Histogram,
    load: Histogram,
    fill: Histogram,
    measure: Histogram,
    count: Histogram,
    exchange: Histogram,
    render: Histogram,
}

/// A run that is going on; counted as cancelled if it is dropped unfinished.
#[derive(Debug)]
#[must_use]
pub struct RunTally<'a> {
    jobs: &'a JobMetrics,
    kernel: &'a str,
    finished: bool,
}

impl JobMetrics {
    pub(super) fn new(families: &Families<'_>, kernels: impl Iterator<Item = String>) -> Self {
        Self {
            runs: families.counters(
                "runs_total",
                "Jobs posted, by how they ended: ok, the slug of a problem, or cancelled.",
                &["kernel", "outcome"],
            ),
            durations: families.histograms(
                "run_duration_seconds",
                "Time from a job's submission to its worker's reply or end.",
                LATENCY,
                &["kernel"],
            ),
            kernels: RefCell::new(kernels.map(|name| (name, KernelMetrics::default())).collect()),
            no_kernel: KernelMetrics::default(),
            phases: PhaseMetrics::new(families),
            object_bytes: families.histogram("object_size_bytes", "Size of objects posted.", OBJECT_BYTES),
            results: families.counters(
                "results_total",
                "Measurements answered, by what can be said of them.",
                &["integrity", "correctness"],
            ),
            known_results: Known::default(),
            violations: families.counters(
                "sandbox_violations_total",
                "Jobs ended by a system call that the sandbox refused.",
                &["syscall"],
            ),
            multiplexed: families.counter(
                "perf_multiplexed_runs_total",
                "Jobs whose counters something else took for a while, so that counts had to be left out.",
            ),
        }
    }

    /// Begins to account for a posted job.
    pub fn begin(&self) -> RunTally<'_> {
        RunTally { jobs: self, kernel: NO_KERNEL, finished: false }
    }

    /// Knows these kernels from now on, and no others: the series of those that are gone go too.
    pub fn follow(&self, kernels: impl Iterator<Item = String>) {
        let mut known = self.kernels.borrow_mut();
        let mut gone = std::mem::take(&mut *known);
        known.extend(kernels.map(|name| {
            let series = gone.remove(&name).unwrap_or_default();
            (name, series)
        }));
        for (name, series) in gone {
            for (outcome, _) in series.outcomes.0.take() {
                // A series that is not there is as good as one that was removed.
                let _ = self.runs.remove_label_values(&[&name, outcome]);
            }
            let _ = self.durations.remove_label_values(&[&name]);
        }
    }

    /// Gives `count` the label and the series of a kernel.
    fn with(&self, kernel: &str, count: impl FnOnce(&str, &KernelMetrics)) {
        match self.kernels.borrow().get_key_value(kernel) {
            Some((name, series)) => count(name, series),
            None => count(NO_KERNEL, &self.no_kernel),
        }
    }

    fn ended(&self, kernel: &str, outcome: &'static str) {
        self.with(kernel, |kernel, series| {
            series.outcomes.count(outcome, |outcome| self.runs.with_label_values(&[kernel, outcome]));
        });
    }

    fn ran(&self, kernel: &str, finished: &Finished) {
        self.with(kernel, |kernel, series| {
            let duration = series.duration.get_or_init(|| self.durations.with_label_values(&[kernel]));
            duration.observe((finished.queued + finished.ran).as_secs_f64());
        });
        self.phases.queue.observe(finished.queued.as_secs_f64());
        match &finished.end {
            End::Measured(measurement) => self.measured(measurement, finished.ran),
            End::Faulted(fault) => {
                if let FaultCause::SystemCall { number } = fault.cause {
                    self.violation(system_call_name(number).unwrap_or("unknown"));
                }
            }
            End::ForeignSystemCall => self.violation(FOREIGN_CALL),
            End::Refused(_)
            | End::Exited { .. }
            | End::Killed { .. }
            | End::TimeLimit { .. }
            | End::Violation { .. }
            | End::Failed(_) => {}
        }
    }

    fn measured(&self, measurement: &Measurement, ran: Duration) {
        self.phases.observe(measurement.phases, ran);
        if shared_counters(measurement) {
            self.multiplexed.inc();
        }
    }

    fn violation(&self, call: &str) {
        self.violations.with_label_values(&[call]).inc();
    }
}

/// Whether something else had counters that the job's were to be on.
fn shared_counters(measurement: &Measurement) -> bool {
    let software = measurement.counters.iter().any(|reading| reading.time_running < reading.time_enabled);
    software || measurement.events.passes.iter().any(|pass| pass.lost > 0)
}

impl PhaseMetrics {
    fn new(families: &Families<'_>) -> Self {
        let all = families.histograms(
            "run_phase_seconds",
            "Where the time of measured jobs went; load, fill, measure and count by the worker's own clock.",
            PHASE,
            &["phase"],
        );
        let of = |phase: &str| all.with_label_values(&[phase]);
        Self {
            queue: of("queue"),
            load: of("load"),
            fill: of("fill"),
            measure: of("measure"),
            count: of("count"),
            exchange: of("exchange"),
            render: of("render"),
        }
    }

    /// Splits the time a worker had a job; what it does not account for is the exchange with it.
    fn observe(&self, claimed: Phases, ran: Duration) {
        let mut left = ran;
        for (phase, nanoseconds) in [
            (&self.load, claimed.load_ns),
            (&self.fill, claimed.fill_ns),
            (&self.measure, claimed.measure_ns),
            (&self.count, claimed.count_ns),
        ] {
            let took = Duration::from_nanos(nanoseconds).min(left);
            left -= took;
            phase.observe(took.as_secs_f64());
        }
        self.exchange.observe(left.as_secs_f64());
    }
}

impl<'a> RunTally<'a> {
    /// The job is for this kernel.
    pub fn of_kernel(&mut self, kernel: &'a str) {
        self.kernel = kernel;
    }

    /// The whole object has come.
    pub fn took_object(&self, bytes: usize) {
        self.jobs.object_bytes.observe(bytes as f64);
    }

    /// The job was given to a worker and came to an end.
    pub fn ran(&self, finished: &Finished) {
        self.jobs.ran(self.kernel, finished);
    }

    /// This is what the answer says of its own worth.
    pub fn judged(&self, truth: &Truth) {
        let words = [truth.integrity.name(), truth.correctness.name()];
        self.jobs.known_results.count(words, |words| self.jobs.results.with_label_values(words));
    }

    /// The answer was made.
    pub fn rendered(&self, took: Duration) {
        self.jobs.phases.render.observe(took.as_secs_f64());
    }

    /// The run ended like this: `ok` or the slug of a problem.
    pub fn finish(mut self, outcome: &'static str) {
        self.finished = true;
        self.jobs.ended(self.kernel, outcome);
    }
}

impl Drop for RunTally<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.jobs.ended(self.kernel, CANCELLED);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    fn metrics() -> JobMetrics {
        JobMetrics::new(&Families(&Registry::new()), ["blis.sdot".to_owned()].into_iter())
    }

    fn runs(metrics: &JobMetrics, kernel: &str, outcome: &str) -> u64 {
        metrics.runs.with_label_values(&[kernel, outcome]).get()
    }

    #[test]
    fn runs_are_counted_by_kernel_and_outcome() {
        let metrics = metrics();
        for kernel in ["blis.sdot", "made.up"] {
            let mut tally = metrics.begin();
            tally.of_kernel(kernel);
            tally.finish("ok");
        }
        drop(metrics.begin());
        assert_eq!(runs(&metrics, "blis.sdot", "ok"), 1);
        assert_eq!(runs(&metrics, "other", "ok"), 1);
        assert_eq!(runs(&metrics, "other", "cancelled"), 1);
    }

    #[test]
    fn series_follow_the_kernels_there_are() {
        let registry = Registry::new();
        let metrics = JobMetrics::new(&Families(&registry), ["a", "b"].map(str::to_owned).into_iter());
        let ok = |kernel| {
            let mut tally = metrics.begin();
            tally.of_kernel(kernel);
            tally.finish("ok");
        };
        ["a", "b"].into_iter().for_each(ok);
        metrics.follow(["b", "c"].map(str::to_owned).into_iter());
        ["a", "b", "c"].into_iter().for_each(ok);
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == "webrunner_runs_total").unwrap();
        let mut series: Vec<_> = family
            .get_metric()
            .iter()
            .map(|series| (series.get_label()[0].value().to_owned(), series.get_counter().get_value()))
            .collect();
        series.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(series, [("b".to_owned(), 2.0), ("c".to_owned(), 1.0), ("other".to_owned(), 1.0)]);
    }

    #[test]
    fn phases_add_up_to_what_was_seen_whatever_a_worker_claims() {
        let phases = metrics().phases;
        let claimed = Phases { load_ns: 1_000_000, fill_ns: u64::MAX, measure_ns: u64::MAX, count_ns: 5 };
        phases.observe(claimed, Duration::from_millis(3));
        let sum = |phase: &Histogram| (phase.get_sample_sum() * 1e3).round();
        let sums = [&phases.load, &phases.fill, &phases.measure, &phases.count, &phases.exchange].map(sum);
        assert_eq!(sums, [1.0, 2.0, 0.0, 0.0, 0.0]);
    }
}
