//! Making families of series and registering them: every name gets the program's prefix, every mistake shows at the start.

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, exponential_buckets,
};

/// Bounds of a histogram: the first, and how many, each twice the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doubling {
    /// The least bound.
    pub(super) from: f64,
    /// How many bounds.
    pub(super) count: usize,
}

/// Makes and registers families. Every method panics if a name is invalid or taken, which a unit test would show.
#[derive(Debug)]
pub(super) struct Families<'r>(pub(super) &'r Registry);

impl Families<'_> {
    pub(super) fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::with_opts(opts(name, help)))
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(opts(name, help), labels))
    }

    /// Counters of seconds.
    pub(super) fn all_seconds(&self, name: &str, help: &str, labels: &[&str]) -> CounterVec {
        self.register(CounterVec::new(opts(name, help), labels))
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::with_opts(opts(name, help)))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(opts(name, help), labels))
    }

    pub(super) fn histogram(&self, name: &str, help: &str, bounds: Doubling) -> Histogram {
        self.register(Histogram::with_opts(histogram_opts(name, help, bounds)))
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        bounds: Doubling,
        labels: &[&str],
    ) -> HistogramVec {
        self.register(HistogramVec::new(histogram_opts(name, help, bounds), labels))
    }

    fn register<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let family = made.expect("the name is valid");
        self.0.register(Box::new(family.clone())).expect("the name is not taken");
        family
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("webrunner_{name}"), help)
}

fn histogram_opts(name: &str, help: &str, bounds: Doubling) -> HistogramOpts {
    let bounds = exponential_buckets(bounds.from, 2.0, bounds.count).expect("bounds that grow");
    HistogramOpts::from(opts(name, help)).buckets(bounds)
}
