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
mod truth;

#[cfg(test)]
pub(crate) mod samples;

use std::time::Duration;

use serde_json::{Value, json};
use webrunner_protocol::control::{ExitStatus, Usage};
use webrunner_protocol::ids::CoreId;
use webrunner_protocol::plan::Direction;
use webrunner_protocol::reply::{Measurement, Placement};

pub use self::csv::csv;
pub use self::json::json;
pub use self::table::table;
pub use self::text::text;
use crate::check::{Correctness, Examined};
use crate::fault::CallNames;
use crate::integrity::{self, Case, Declared, Finding, Integrity, Rule};
use crate::machine::Machine;
use crate::pool;
use crate::request::Call;
use crate::summary::{Quality, Summary};

/// Source of figures by the clock-chain method.
const TSC_CHAIN: &str = "tsc-chain";

/// Source of figures by hardware counters.
const PMU: &str = "pmu";

/// Source of figures from single calls, timed by the counter alone.
const TSC_SINGLE: &str = "tsc-single";

/// Name of the cycles of a call among many without fences.
const THROUGHPUT: &str = "ThroughputCycles";

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
#[derive(Debug, Clone)]
pub struct Run {
    /// Core it ran on.
    pub core: CoreId,
    /// Time it waited for a worker.
    pub queued: Duration,
    /// Time the worker had it.
    pub ran: Duration,
    /// How the worker ended and what it used, if already known.
    pub exit: Option<(ExitStatus, Usage)>,
    /// What came of the check, if there was one.
    pub examined: Option<Examined>,
    /// Whether the job was run twice, and this is the better of both.
    pub repeated: bool,
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

/// How far the function's places lie apart, in cycles; `None` if it was measured at fewer than two.
fn placement_spread(placements: &[Placement]) -> Option<f64> {
    let judged = || placements.iter().filter_map(|placement| placement.cycles);
    let (least, most) = (judged().reduce(f64::min)?, judged().reduce(f64::max)?);
    (judged().count() > 1).then_some(most - least)
}

/// What is known of a result's truth.
#[derive(Debug)]
pub struct Truth {
    /// Whether the function computes what it should.
    pub correctness: Correctness,
    /// Whether what the worker says can be true.
    pub integrity: Integrity,
    findings: Vec<(&'static Rule, Finding)>,
}

impl<'a> Report<'a> {
    /// Arguments the function reads whose buffers no longer held what they did, and which way data flows through
    /// them; `None` where nobody looked.
    fn inputs_mutated(&self) -> Option<Vec<(Direction, String)>> {
        let mutated = self.measurement.findings.mutated?;
        let prototype = self.call.kernel.prototype();
        let names = CallNames::new(&prototype, &self.call.plan);
        let buffers = (0_u16..).zip(&self.call.plan.buffers);
        let changed = buffers
            .filter(|(index, _)| mutated.checked_shr((*index).into()).is_some_and(|bits| bits & 1 != 0));
        Some(changed.map(|(index, buffer)| (buffer.direction, names.buffer(index))).collect())
    }

    /// Holds the measurement against what was seen from outside.
    #[must_use]
    pub fn truth(&self) -> Truth {
        let examined = self.run.examined.as_ref();
        let correctness = self.call.correctness(examined);
        let findings = integrity::findings(&Case {
            measurement: self.measurement,
            effort: self.call.effort,
            buffer_bytes: self.call.plan.buffer_bytes(),
            declared: Declared::of(&self.call.plan, self.call.flop, self.call.bytes),
            wall: self.run.ran,
            exit: self.run.exit,
            examined,
            ticks_per_ms: self.pool.ticks_per_ms,
        });
        let integrity = integrity::conclude(&findings, &correctness);
        Truth { correctness, integrity, findings }
    }

    /// Everything measured, cycles first.
    fn rows(&self) -> Vec<Row<'a>> {
        let cycles = &self.measurement.cycles;
        let by_clock =
            series(if self.counts_cycles() { "TscCycles" } else { "Cycles" }, TSC_CHAIN, &cycles.isolated);
        let by_counter = series("Cycles", PMU, &cycles.counted).filter(|_| self.counts_cycles());
        let throughput = series(THROUGHPUT, TSC_CHAIN, &cycles.throughput);
        let cold = cycles.cold.map(|cold| Row {
            name: "ColdCycles",
            unit: "cycles",
            source: TSC_SINGLE,
            value: cold.cycles,
            n: cold.calls.into(),
            spread: None,
            samples: None,
        });
        let counters = counters::counted(self.measurement, &self.pool.events).map(|counter| Row {
            name: &counter.event.name,
            unit: &counter.event.unit,
            source: "kernel",
            value: counter.per_call(),
            n: counter.reading.calls,
            spread: None,
            samples: None,
        });
        let cycles = by_counter.into_iter().chain(by_clock).chain(throughput).chain(cold);
        let kernel = cycles.chain(counters).chain(counted::rows(self));
        kernel.chain(hardware::rows(self)).collect()
    }

    /// Whether a hardware counter gave the cycles of most rounds that count: they are the headline then.
    fn counts_cycles(&self) -> bool {
        let cycles = &self.measurement.cycles;
        !cycles.counted.is_empty() && 2 * cycles.counted.len() >= cycles.isolated.len()
    }

    /// How far the headline can be trusted. A measurement without samples, which is refused long before, cannot.
    #[must_use]
    pub fn quality(&self) -> Quality {
        let gate = self.measurement.cycles.gate;
        Summary::of(self.headline()).map_or(Quality::Unstable, |cycles| Quality::of(gate, &cycles))
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

/// A number; NaN and infinities, which JSON lacks, as text.
fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { json!(value.to_string()) }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
