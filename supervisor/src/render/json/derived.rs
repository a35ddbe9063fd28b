//! Figures made of others.

use serde_json::{Map, Value};

use crate::check::Correctness;
use crate::render::{Report, Row, counted};

/// Figures of the work that the kernel declares: its name, and whether that is operations.
const OF_WORK: [(&str, bool); 4] = [
    ("flop_percent_of_work", true),
    ("bytes_percent_of_work", false),
    ("flop_per_cycle", true),
    ("bytes_per_cycle", false),
];

/// Ratios of figures that are there; nothing is derived from what was not measured, nor from work that was not done: null
/// then, with the reason in [`absent`].
pub(super) fn derived(
    report: &Report<'_>,
    rows: &[Row<'_>],
    correctness: &Correctness,
) -> Map<String, Value> {
    let mut derived = Map::new();
    let counts = report.measurement.counts.whole();
    let (flops, bytes) = (counts.map(counted::flops), counts.map(counted::bytes));
    let value = |name: &str| rows.iter().find(|row| row.name == name).map(|row| row.value);
    let mut put = |name: &str, value: Option<f64>| {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            derived.insert(name.to_owned(), value.into());
        }
    };
    // What was executed, as a part of what the kernel's specification says a call is worth.
    let percent =
        |executed: Option<u64>, declared: Option<u64>| Some(100.0 * executed? as f64 / declared? as f64);
    put("flop_percent_of_work", percent(flops, report.call.flop));
    put("bytes_percent_of_work", percent(bytes, report.call.bytes));
    if let Some(cycles) = value("Cycles").filter(|cycles| *cycles > 0.0) {
        put("ipc", value(counted::INSTRUCTIONS).map(|instructions| instructions / cycles));
        put("flop_per_cycle", report.call.flop.or(flops).map(|flops| flops as f64 / cycles));
        put("bytes_per_cycle", report.call.bytes.or(bytes).map(|bytes| bytes as f64 / cycles));
    }
    for (name, _) in absent(report, correctness) {
        derived.insert(name.to_owned(), Value::Null);
    }
    derived
}

/// Figures that are not given because the declared work was not done, with the reason.
pub(super) fn absent<'a>(
    report: &Report<'_>,
    correctness: &Correctness,
) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let (flop, bytes) = (report.call.flop.is_some(), report.call.bytes.is_some());
    let is_wrong = correctness.is_wrong();
    let names =
        OF_WORK.into_iter().filter(move |(_, is_flop)| is_wrong && if *is_flop { flop } else { bytes });
    names.map(|(name, _)| (name, "the output is wrong, so the work that the kernel declares was not done"))
}
