//! The full answer: figures with units, sources and spread, samples, doubts, and everything needed to compare machines.
//!
//! `schema` is 1; members may be added without raising it. Every text that is not ours passes through `serde_json`.

mod derived;
mod function;
mod method;

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value, json};
use webrunner_protocol::job::Effort;

use super::{Report, Row, THROUGHPUT, counted, counters, doubts, hardware, micros, truth};
use crate::catalogue;
use crate::check::Correctness;
use crate::summary::Summary;

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
        object: function::object(report),
        method: method::method(report, cycles.as_ref()),
        absent: absent(report, &rows, &truth.correctness),
        derived: derived::derived(report, &rows, &truth.correctness),
        counts: counted::breakdown(&measurement.counts),
        code: function::code(measurement.code.as_ref()),
        results: rows.into_iter().map(Figure::from).collect(),
        returned: function::returned(measurement.returned, report.call.plan.returns),
        quality: report.quality().name(),
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
            .chain(truth::unproven(report, &truth.correctness))
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

/// What has no figure, with the reason. What one source lacks and another gives is not absent.
fn absent<'a>(report: &Report<'a>, rows: &[Row<'_>], correctness: &Correctness) -> Vec<Absent<'a>> {
    let events = counters::absent(report.measurement, &report.pool.events).into_iter();
    let counted = counted::absence(&report.measurement.counts)
        .map(|reason| Absent { name: counted::INSTRUCTIONS, reason: reason.into() });
    let pmu = hardware::absent(report).into_iter().map(|(name, reason)| Absent { name, reason });
    let hardware =
        report.machine.no_counters.map(|reason| Absent { name: "*hardware*", reason: reason.into() });
    let events = events.map(|(name, reason)| Absent { name, reason: reason.into() });
    let throughput = Absent { name: THROUGHPUT, reason: no_throughput(report.call.effort).into() };
    let has_no_figure = |absent: &Absent<'_>| rows.iter().all(|row| row.name != absent.name);
    let derived =
        derived::absent(report, correctness).map(|(name, reason)| Absent { name, reason: reason.into() });
    let others = pmu.chain(hardware).chain([throughput]).chain(derived);
    events.chain(counted).chain(others).filter(has_no_figure).collect()
}

/// Why no calls were made one behind the other.
fn no_throughput(effort: Effort) -> &'static str {
    match effort {
        Effort::Quick => "a quick measurement makes no calls back to back; use more effort",
        Effort::Standard | Effort::Thorough => "a call is so long that it is a batch of its own",
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

    use super::*;
    use crate::render::samples::Sample;

    pub(super) fn parsed(sample: &Sample) -> Value {
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
    fn a_wrong_output_has_no_rate_of_the_work_that_was_not_done() {
        let reason = "it raised SIGSEGV".to_owned();
        let wrong = Correctness::NoOutputs { stage: Stage::Fresh, reason };
        let body = parsed(&Sample::new().instructions(1024).examined(wrong));
        for name in ["flop_per_cycle", "bytes_per_cycle", "flop_percent_of_work", "bytes_percent_of_work"] {
            assert_eq!(body["derived"].get(name), Some(&Value::Null), "{name}");
            let absent = body["absent"].as_array().unwrap().iter().find(|absent| absent["name"] == name);
            assert!(absent.unwrap()["reason"].as_str().unwrap().contains("output is wrong"), "{name}");
        }
        assert_eq!(body["derived"]["ipc"], 102.4);
    }

    #[test]
    fn declared_work_that_nothing_shows_to_be_done_is_warned_of() {
        let warned = |sample: Sample, words: &str| {
            let warnings = parsed(&sample)["warnings"].clone();
            warnings.as_array().unwrap().iter().any(|warning| warning.as_str().unwrap().contains(words))
        };
        let words = "the work that the kernel declares";
        assert!(warned(Sample::new(), words));
        assert!(!warned(Sample::new().instructions(1024), words), "all of it was executed");
        assert!(!warned(Sample::new().examined(Correctness::Verified), words));
        assert!(warned(Sample::new().instructions(500), "48.8 % of the operations"));
        assert!(warned(
            Sample::new().instructions(500).examined(Correctness::Verified),
            "48.8 % of the operations"
        ));
        assert!(!warned(
            Sample::new().instructions(1000).examined(Correctness::Verified),
            "of the operations"
        ));
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
}
