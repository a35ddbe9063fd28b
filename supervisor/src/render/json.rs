//! The full answer: figures with units, sources and spread, samples, doubts, and everything needed to compare machines.
//!
//! `schema` is 1; members may be added without raising it. Every text that is not ours passes through `serde_json`.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use webrunner_protocol::passes::{CYCLES, INSTRUCTIONS, PassCounts};
use webrunner_protocol::plan::{ElementType, ReturnType};
use webrunner_protocol::reply::{CodeFacts, Gate, Placement, Returned};
use webrunner_protocol::stack::StackUse;

use super::{Report, Row, counted, counters, doubts, hardware, micros, number, truth};
use crate::catalogue;
use crate::options;
use crate::summary::{Quality, Summary};

#[derive(Serialize)]
struct Body<'a> {
    schema: u32,
    id: &'a str,
    machine: Value,
    kernel: &'a str,
    prototype: String,
    parameters: Map<String, Value>,
    object: Value,
    method: Value,
    results: Vec<Figure<'a>>,
    absent: Vec<Absent<'a>>,
    derived: Map<String, Value>,
    counts: Value,
    code: Value,
    returned: Value,
    quality: &'static str,
    correctness: Value,
    integrity: &'static str,
    integrity_rules: Value,
    isolation: Vec<&'a str>,
    isolation_missing: Vec<Absent<'a>>,
    timing: Value,
    usage: Option<Value>,
    /// Names of the arguments whose buffers the calls changed, of those they read; null where nobody looked.
    inputs_mutated: Option<Vec<String>>,
    /// Null where the CPU cannot tell.
    dirty_upper: Option<bool>,
    findings: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Figure<'a> {
    name: &'a str,
    unit: &'a str,
    source: &'a str,
    value: f64,
    #[serde(flatten)]
    spread: Option<Spread>,
    n: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<&'a [f64]>,
}

#[derive(Serialize)]
struct Spread {
    min: f64,
    p10: f64,
    p25: f64,
    p75: f64,
    max: f64,
    mad: f64,
}

#[derive(Serialize)]
struct Absent<'a> {
    name: &'a str,
    reason: Cow<'a, str>,
}

/// Renders the answer.
///
/// # Errors
/// None that is known: keys are text, and figures that are not finite have been refused long before.
pub fn json(report: &Report<'_>) -> serde_json::Result<Vec<u8>> {
    let measurement = report.measurement;
    // A checked measurement has samples; the summary of none at all is all zero.
    let cycles = Summary::of(report.headline()).or_else(|| Summary::of(&[0.0]));
    let rows = report.rows();
    let truth = report.truth();
    let (in_force, missing): (Vec<_>, Vec<_>) =
        report.pool.layers.iter().partition(|layer| layer.missing.is_none());
    let body = Body {
        schema: 1,
        id: report.id,
        machine: machine(report),
        kernel: report.call.kernel.full_name(),
        prototype: report.call.kernel.prototype(),
        parameters: parameters(report),
        object: object(report),
        method: method(report, cycles.as_ref()),
        absent: absent(report, &rows),
        derived: derived(report, &rows),
        counts: counted::breakdown(&measurement.counts),
        code: code(measurement.code.as_ref()),
        results: rows.into_iter().map(Figure::from).collect(),
        returned: returned(measurement.returned, report.call.plan.returns),
        quality: cycles.map_or("unstable", |cycles| Quality::of(measurement.cycles.gate, &cycles).name()),
        correctness: truth::correctness(report, &truth),
        integrity: truth.integrity.name(),
        integrity_rules: truth::rules(&truth),
        isolation: in_force.into_iter().map(|layer| layer.name.as_str()).collect(),
        isolation_missing: missing
            .into_iter()
            .map(|layer| Absent {
                name: &layer.name,
                reason: layer.missing.as_deref().unwrap_or_default().into(),
            })
            .collect(),
        timing: timing(report),
        usage: report.run.exit.map(|(_, usage)| {
            json!({
                "user_us": usage.user_us,
                "system_us": usage.system_us,
                "max_rss_kib": usage.max_rss_kib,
                "minor_faults": usage.minor_faults,
                "voluntary_switches": usage.voluntary_switches,
                "involuntary_switches": usage.involuntary_switches,
            })
        }),
        inputs_mutated: report
            .inputs_mutated()
            .map(|inputs| inputs.into_iter().map(|(_, name)| name).collect()),
        dirty_upper: measurement.findings.dirty_upper,
        findings: doubts::findings(report),
        warnings: truth::complaints(report, &truth)
            .into_iter()
            .chain(cycles.map(|cycles| doubts::warnings(report, &cycles)).unwrap_or_default())
            .collect(),
    };
    serde_json::to_vec(&body)
}

impl<'a> From<Row<'a>> for Figure<'a> {
    fn from(row: Row<'a>) -> Self {
        Self {
            name: row.name,
            unit: row.unit,
            source: row.source,
            value: row.value,
            spread: row.spread.map(Spread::from),
            n: row.n,
            samples: row.samples,
        }
    }
}

impl From<Summary> for Spread {
    fn from(summary: Summary) -> Self {
        let Summary { min, p10, p25, p75, max, mad, .. } = summary;
        Self { min, p10, p25, p75, max, mad }
    }
}

fn machine(report: &Report<'_>) -> Value {
    let mut machine = json!({
        "id": "local",
        "cpu": report.machine.cpu,
        "microarchitecture": report.machine.microarchitecture,
        "core": report.run.core.0,
    });
    let repeated = ["family", "model", "stepping", "microcode", "kernel", "governor", "smt"];
    for name in repeated.into_iter().chain(["speculation_store_bypass"]) {
        machine[name] = report.machine.fact(name).clone();
    }
    machine
}

fn parameters(report: &Report<'_>) -> Map<String, Value> {
    let parameters = report.call.parameters.iter();
    parameters.map(|(name, value)| (name.clone(), catalogue::value(*value))).collect()
}

fn object(report: &Report<'_>) -> Value {
    let digest = Sha256::digest(report.object);
    let entry = &report.measurement.entry;
    json!({
        "sha256": digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        "bytes": report.object.len(),
        "symbol": entry.symbol.as_ref().map(|name| name.as_str()),
        "offset": entry.offset,
    })
}

fn method(report: &Report<'_>, cycles: Option<&Summary>) -> Value {
    let samples = &report.measurement.cycles;
    json!({
        "name": super::TSC_CHAIN,
        "effort": report.call.effort.name(),
        "gate": match samples.gate {
            Gate::Clean => "clean",
            Gate::BestAgreeing => "best-agreeing",
            Gate::Ungated => "none",
            Gate::Shared => "shared",
        },
        "rounds": samples.isolated.len(),
        "dropped": samples.dropped,
        "calls_per_round": samples.calls_per_round,
        "overhead_cycles": samples.overhead_cycles,
        "empty_call_cycles": samples.empty_call_cycles,
        "minus_empty_call": cycles.map(|cycles| cycles.median - samples.empty_call_cycles),
        "ticks_per_cycle": samples.ticks_per_cycle,
        "first_call_ticks": samples.first_call_ticks,
        "passes": passes(report),
        "placements": samples.placements.iter().map(placement).collect::<Vec<_>>(),
        "placement_spread": super::placement_spread(&samples.placements),
        "preempted_rounds": samples.preempted,
        "fence_weak": report.pool.fence_is_weak(),
        "repeated": report.run.repeated,
        "options": options::describe(&report.call.options),
        "fill_seed": crate::request::FILL_SEED,
    })
}

/// How hardware events were counted.
fn passes(report: &Report<'_>) -> Vec<Value> {
    let describe = |pass: &PassCounts| {
        let calling = |place| pass.per_call(place).map(|count| count.calling);
        json!({
            "events": pass.events.len(),
            "rounds": pass.rounds,
            "lost": pass.lost,
            "repeats": pass.repeats,
            "calling_cycles": calling(CYCLES),
            "calling_instructions": calling(INSTRUCTIONS),
        })
    };
    report.measurement.events.passes.iter().map(describe).collect()
}

fn placement(placement: &Placement) -> Value {
    json!({
        "offset": placement.offset,
        "cycles": placement.cycles,
        "rounds": placement.rounds,
        "counts": placement.counts,
    })
}

/// What can be said of the code without running it.
fn code(code: Option<&CodeFacts>) -> Value {
    let Some(code) = code else { return Value::Null };
    let (stack_bytes, stack_unbounded) = match &code.stack {
        StackUse::AtMost(bytes) => (json!(bytes), Value::Null),
        StackUse::Unbounded(why) => (Value::Null, json!(why.to_string())),
    };
    json!({
        "instructions": code.instructions,
        "bytes": code.bytes,
        "needs": code.needs.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        "vector_bits": code.vector_bits,
        "indirect_branches": code.indirect_branches,
        "privileged": code.privileged,
        "system_calls": code.system_calls,
        "stack_bytes": stack_bytes,
        "stack_unbounded": stack_unbounded,
    })
}

/// What has no figure, with the reason. What one source lacks and another gives is not absent.
fn absent<'a>(report: &Report<'a>, rows: &[Row<'_>]) -> Vec<Absent<'a>> {
    let events = counters::absent(report.measurement, &report.pool.events).into_iter();
    let counted = counted::absence(&report.measurement.counts)
        .map(|reason| Absent { name: counted::INSTRUCTIONS, reason: reason.into() });
    let pmu = hardware::absent(report).into_iter().map(|(name, reason)| Absent { name, reason });
    let hardware =
        report.machine.no_counters.map(|reason| Absent { name: "*hardware*", reason: reason.into() });
    let events = events.map(|(name, reason)| Absent { name, reason: reason.into() });
    let has_no_figure = |absent: &Absent<'_>| rows.iter().all(|row| row.name != absent.name);
    events.chain(counted).chain(pmu).chain(hardware).filter(has_no_figure).collect()
}

/// Ratios of figures that are there; nothing is derived from what was not measured.
fn derived(report: &Report<'_>, rows: &[Row<'_>]) -> Map<String, Value> {
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

/// What the function returned, by its declared type; NaN and infinities, which JSON lacks, as text.
fn returned(returned: Returned, declared: ReturnType) -> Value {
    let integer = returned.integer;
    let element = match declared {
        ReturnType::Void => return Value::Null,
        ReturnType::Pointer => return format!("{integer:#x}").into(),
        ReturnType::Scalar(element) => element,
    };
    match element {
        ElementType::Int8 => (integer as i8).into(),
        ElementType::Uint8 => (integer as u8).into(),
        ElementType::Int16 => (integer as i16).into(),
        ElementType::Uint16 => (integer as u16).into(),
        ElementType::Int32 => (integer as i32).into(),
        ElementType::Uint32 => (integer as u32).into(),
        ElementType::Int64 => integer.cast_signed().into(),
        ElementType::Uint64 => integer.into(),
        ElementType::Float => number(f32::from_bits(returned.vector as u32).into()),
        ElementType::Double => number(f64::from_bits(returned.vector)),
    }
}

fn timing(report: &Report<'_>) -> Value {
    let phases = &report.measurement.phases;
    json!({
        "queue_us": micros(report.run.queued),
        "load_us": phases.load_ns / 1000,
        "fill_us": phases.fill_ns / 1000,
        "measure_us": phases.measure_ns / 1000,
        "count_us": phases.count_ns / 1000,
        "run_us": micros(report.run.ran),
    })
}

#[cfg(test)]
mod tests {
    use webrunner_kernels::Place;
    use webrunner_protocol::check::Stage;
    use webrunner_protocol::reply::ColdCalls;

    use super::super::samples::Sample;
    use super::*;
    use crate::check::Correctness;

    fn parsed(sample: &Sample) -> Value {
        serde_json::from_slice(&json(&sample.report()).unwrap()).unwrap()
    }

    #[test]
    fn the_answer_holds_what_was_asked_and_what_was_measured() {
        let body = parsed(&Sample::new().cycles(&[100.0, 101.0, 102.0]).pass(&[], 404));
        assert_eq!(body["schema"], 1);
        assert_eq!(body["kernel"], "blis.sdot");
        assert_eq!(body["parameters"]["n"], 1024);
        assert_eq!(body["results"][0]["name"], "Cycles");
        assert_eq!(body["results"][0]["value"], 101.0);
        assert_eq!(body["results"][0]["samples"], json!([100.0, 101.0, 102.0]));
        assert_eq!(
            body["results"][1],
            json!({ "name": "Instructions", "unit": "instructions", "source": "pmu", "value": 404.0, "n": 60 })
        );
        assert_eq!(body["derived"]["ipc"], 4.0);
        assert_eq!(body["derived"]["flop_per_cycle"], 2048.0 / 101.0);
        assert_eq!(body["quality"], "ok");
        assert_eq!(body["integrity"], "unverified");
        assert_eq!(body["integrity_rules"].as_array().unwrap().len(), crate::integrity::RULES.len());
        assert_eq!(body["isolation"], json!(["seccomp"]));
        assert_eq!(body["isolation_missing"][0]["name"], "landlock");
    }

    #[test]
    fn places_are_listed_with_how_far_they_lie_apart() {
        let place = |offset, cycles, counts| Placement { offset, cycles, rounds: 10, counts };
        let sample = Sample::new().with(|measurement| {
            measurement.cycles.placements = vec![place(0, 100.0, true), place(16, 102.5, false)];
            measurement.cycles.preempted = Some(3);
        });
        let method = &parsed(&sample)["method"];
        assert_eq!(
            method["placements"][1],
            json!({ "offset": 16, "cycles": 102.5, "rounds": 10, "counts": false })
        );
        assert_eq!((&method["placement_spread"], &method["preempted_rounds"]), (&json!(2.5), &json!(3)));
        assert_eq!(parsed(&Sample::new())["method"]["placement_spread"], Value::Null);
    }

    #[test]
    fn cold_calls_are_a_figure_of_their_own() {
        let sample = Sample::new()
            .with(|measurement| measurement.cycles.cold = Some(ColdCalls { cycles: 812.5, calls: 2000 }));
        let cold = &parsed(&sample)["results"][1];
        assert_eq!((&cold["name"], &cold["source"]), (&json!("ColdCycles"), &json!("tsc-single")));
        assert_eq!((&cold["value"], &cold["n"]), (&json!(812.5), &json!(2000)));
    }

    #[test]
    fn back_to_back_calls_are_a_series_of_their_own() {
        let body = parsed(&Sample::new().cycles(&[100.0]).throughput(&[90.0, 91.0, 92.0]));
        assert_eq!(body["results"][0]["value"], 100.0);
        assert_eq!(body["results"][1]["name"], "ThroughputCycles");
        assert_eq!(body["results"][1]["value"], 91.0);
    }

    #[test]
    fn counts_are_figures_with_their_source_and_give_ratios() {
        let body = parsed(&Sample::new().cycles(&[512.0]).instructions(1024));
        let figure = |name: &str| {
            let results = body["results"].as_array().unwrap();
            results.iter().find(|figure| figure["name"] == name).cloned()
        };
        assert_eq!(figure("Instructions").unwrap()["value"], 1024.0);
        assert_eq!(figure("Instructions").unwrap()["source"], "block-count");
        assert_eq!(figure("BytesLoaded").unwrap()["value"], 4096.0);
        assert_eq!(figure("SingleFlops256").unwrap()["value"], 2048.0);
        assert_eq!(figure("DoubleFlops512"), None, "widths that were not used are left out");
        assert_eq!(body["derived"]["ipc"], 2.0);
        assert_eq!(body["derived"]["flop_percent_of_work"], 100.0);
        assert_eq!(body["derived"]["bytes_percent_of_work"], 50.0);
        assert_eq!(body["counts"]["classes"]["avx"], 0);
    }

    #[test]
    fn what_another_source_gives_is_not_absent() {
        let body = parsed(&Sample::new().instructions(1024).missing("Instructions", "no such event"));
        let absent = body["absent"].as_array().unwrap();
        assert!(absent.iter().all(|absent| absent["name"] != "Instructions"), "{absent:?}");
    }

    #[test]
    fn a_call_that_was_not_counted_is_absent_with_the_reason() {
        let body = parsed(&Sample::new());
        let absent = body["absent"].as_array().unwrap();
        let instructions = absent.iter().find(|absent| absent["name"] == "Instructions").unwrap();
        assert!(instructions["reason"].as_str().unwrap().contains("too long"));
        assert_eq!(body["counts"], Value::Null);
    }

    #[test]
    fn the_object_is_named_by_its_digest() {
        let body = parsed(&Sample::new());
        // SHA-256 of three bytes `abc`: FIPS 180-2, appendix B.1.
        assert_eq!(
            body["object"]["sha256"],
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(body["object"]["bytes"], 3);
    }

    #[test]
    fn what_was_not_counted_is_absent_with_a_reason_and_derives_nothing() {
        let body = parsed(&Sample::new().missing("Instructions", "no such event"));
        assert_eq!(body["absent"][0], json!({ "name": "Instructions", "reason": "no such event" }));
        assert_eq!(body["derived"].get("ipc"), None);
    }

    #[test]
    fn forged_readings_of_unknown_events_are_passed_over() {
        let body = parsed(&Sample::new().forged(999));
        let names: Vec<_> =
            body["results"].as_array().unwrap().iter().map(|figure| &figure["name"]).collect();
        assert_eq!(names, ["Cycles", "Instructions", "RetiredInstructions"]);
    }

    #[test]
    fn a_wrong_element_is_named_and_warned_of() {
        let place = Place::Element { buffer: 1, index: 7 };
        let wrong =
            Correctness::Wrong { stage: Stage::Fresh, place, expected: 1.5, got: f64::NAN, allowed: 1e-5 };
        let body = parsed(&Sample::new().examined(wrong));
        let told = &body["correctness"];
        assert_eq!(
            (&told["verdict"], &told["argument"], &told["index"]),
            (&json!("wrong_output"), &json!("y"), &json!(7))
        );
        assert_eq!(
            (&told["expected"], &told["got"], &told["call"]),
            (&json!(1.5), &json!("NaN"), &json!("fresh"))
        );
        assert!(body["warnings"][0].as_str().unwrap().contains("y[7] is NaN, and 1.5 is right"));
    }

    #[test]
    fn a_figure_that_cannot_be_true_is_suspect_and_warned_of() {
        let body = parsed(&Sample::new().examined(Correctness::Verified).phases_ms(5000));
        assert_eq!(body["correctness"]["verdict"], "verified");
        assert_eq!(body["integrity"], "suspect");
        let broken: Vec<_> = body["integrity_rules"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|rule| rule["holds"] == false)
            .collect();
        assert_eq!((broken.len(), &broken[0]["rule"]), (1, &json!("wall-clock")));
        assert!(body["warnings"][0].as_str().unwrap().contains("wall-clock"));
    }

    #[test]
    fn values_are_returned_by_their_declared_type() {
        let value = Returned { integer: u64::MAX, vector: f32::to_bits(1.5).into() };
        let of = |element| returned(value, ReturnType::Scalar(element));
        assert_eq!(of(ElementType::Float), json!(1.5));
        assert_eq!(of(ElementType::Int32), json!(-1));
        assert_eq!(of(ElementType::Uint64), json!(u64::MAX));
        assert_eq!(returned(value, ReturnType::Void), Value::Null);
        assert_eq!(returned(value, ReturnType::Pointer), "0xffffffffffffffff");
        let nan = Returned { integer: 0, vector: f64::NAN.to_bits() };
        assert_eq!(returned(nan, ReturnType::Scalar(ElementType::Double)), "NaN");
    }
}
