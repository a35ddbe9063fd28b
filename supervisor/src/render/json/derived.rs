//! Figures made of others.

use serde_json::{Map, Value};

use crate::render::{Report, Row, counted};

/// Ratios of figures that are there; nothing is derived from what was not measured.
pub(super) fn derived(report: &Report<'_>, rows: &[Row<'_>]) -> Map<String, Value> {
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
    let Some(cycles) = value("Cycles").filter(|cycles| *cycles > 0.0) else { return derived };
    put("ipc", value(counted::INSTRUCTIONS).map(|instructions| instructions / cycles));
    put("flop_per_cycle", report.call.flop.or(flops).map(|flops| flops as f64 / cycles));
    put("bytes_per_cycle", report.call.bytes.or(bytes).map(|bytes| bytes as f64 / cycles));
    derived
}
