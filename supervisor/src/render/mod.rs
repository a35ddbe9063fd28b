//! Answers: a measured job as text, JSON, CSV or a table for a terminal.
//!
//! What a [`Measurement`] holds is the worker's claim, checked for sanity but not for truth. All words in an answer are
//! ours, the kernel's or the object's symbol names; the latter are bounded and escaped.

mod counted;
mod counters;
mod csv;
mod doubts;
mod hardware;
mod json;
mod table;
mod text;

#[cfg(test)]
mod samples;

use std::time::Duration;

use webrunner_protocol::control::Usage;
use webrunner_protocol::ids::CoreId;
use webrunner_protocol::reply::Measurement;

pub use self::csv::csv;
pub use self::json::json;
pub use self::table::table;
pub use self::text::text;
use crate::machine::Machine;
use crate::pool;
use crate::request::Call;
use crate::summary::Summary;

/// Source of figures by the clock-chain method.
const TSC_CHAIN: &str = "tsc-chain";

/// Source of figures by hardware counters.
const PMU: &str = "pmu";

/// A measured job with all that an answer may say about it.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// Id of the request.
    pub id: &'a str,
    /// The machine.
    pub machine: &'a Machine,
    /// What the pool is.
    pub pool: &'a pool::Facts,
    /// What was asked for.
    pub call: &'a Call<'a>,
    /// The object's bytes.
    pub object: &'a [u8],
    /// Where and how long it ran.
    pub run: &'a Run,
    /// What came back.
    pub measurement: &'a Measurement,
}

/// Where and how long a job ran.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Core it ran on.
    pub core: CoreId,
    /// Time it waited for a worker.
    pub queued: Duration,
    /// Time the worker had it.
    pub ran: Duration,
    /// What the worker used, if already known.
    pub usage: Option<Usage>,
}

/// One line of a result: a name, a value, where it comes from and how far it spreads.
#[derive(Debug, Clone)]
struct Row<'a> {
    name: &'a str,
    unit: &'a str,
    source: &'static str,
    value: f64,
    /// Samples the value was made from, or calls it was counted over.
    n: u64,
    spread: Option<Summary>,
    samples: Option<&'a [f64]>,
}

impl<'a> Report<'a> {
    /// Everything measured, cycles first.
    fn rows(&self) -> Vec<Row<'a>> {
        let cycles = &self.measurement.cycles;
        let by_clock =
            series(if self.counts_cycles() { "TscCycles" } else { "Cycles" }, TSC_CHAIN, &cycles.isolated);
        let by_counter = series("Cycles", PMU, &cycles.counted).filter(|_| self.counts_cycles());
        let throughput = series("ThroughputCycles", TSC_CHAIN, &cycles.throughput);
        let counters = counters::counted(self.measurement, &self.pool.events).map(|counter| Row {
            name: &counter.event.name,
            unit: &counter.event.unit,
            source: "kernel",
            value: counter.per_call(),
            n: counter.reading.calls,
            spread: None,
            samples: None,
        });
        let cycles = by_counter.into_iter().chain(by_clock).chain(throughput);
        let kernel = cycles.chain(counters).chain(counted::rows(self));
        kernel.chain(hardware::rows(self)).collect()
    }

    /// Whether a hardware counter gave the cycles of most rounds that count: they are the headline then.
    fn counts_cycles(&self) -> bool {
        let cycles = &self.measurement.cycles;
        !cycles.counted.is_empty() && 2 * cycles.counted.len() >= cycles.isolated.len()
    }

    /// Samples of the headline.
    fn headline(&self) -> &'a [f64] {
        let cycles = &self.measurement.cycles;
        if self.counts_cycles() { &cycles.counted } else { &cycles.isolated }
    }
}

/// Cycles of one kind, one sample a round; `None` where they were not measured.
fn series<'a>(name: &'a str, source: &'static str, samples: &'a [f64]) -> Option<Row<'a>> {
    let summary = Summary::of(samples)?;
    Some(Row {
        name,
        unit: "cycles",
        source,
        value: summary.median,
        n: summary.count as u64,
        spread: Some(summary),
        samples: Some(samples),
    })
}
