//! What is known of a result's truth, as JSON and as sentences.

use serde_json::{Map, Value, json};
use webrunner_kernels::Place;

use super::{Report, Truth, counted, number};
use crate::check::{Correctness, argument, stage_name};
use crate::fault::CallNames;
use crate::integrity::{self, Finding};

/// Whether the function computes what it should.
pub(super) fn correctness(report: &Report<'_>, truth: &Truth) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("verdict", truth.correctness.name().into());
    match &truth.correctness {
        Correctness::Verified => {
            let examination = report.call.examination.as_ref().ok();
            if let Some(left_out) = examination.and_then(|examination| examination.left_out()) {
                put("left_out", left_out.into());
            }
        }
        Correctness::Unchecked { reason } => {
            put("reason", reason.as_str().into());
        }
        Correctness::NoOutputs { stage, reason } => {
            put("call", stage_name(*stage).into());
            put("reason", reason.as_str().into());
        }
        Correctness::Wrong { stage, place, expected, got, allowed } => {
            put("call", stage_name(*stage).into());
            match *place {
                Place::Returned => {
                    put("returned", true.into());
                }
                Place::Element { buffer, index } => {
                    let prototype = report.call.kernel.prototype();
                    put("argument", argument(&CallNames::new(&prototype, &report.call.plan), buffer).into());
                    put("index", index.into());
                }
            }
            put("expected", number(*expected));
            put("got", number(*got));
            put("allowed_error", number(*allowed));
        }
    }
    if let Some(examined) = &report.run.examined {
        put("call_ticks", json!(examined.call_ticks));
        put("took_us", super::micros(examined.took).into());
    }
    body.into()
}

/// Every rule with what was claimed and what is possible.
pub(super) fn rules(truth: &Truth) -> Value {
    let rules = truth.findings.iter().map(|(rule, finding)| {
        let mut body = json!({ "rule": rule.name, "holds": finding.holds(), "unit": rule.unit });
        match *finding {
            Finding::Held { claimed, least, most } => {
                body["claimed"] = number(claimed);
                if least > 0.0 {
                    body["least"] = number(least);
                }
                if most < f64::MAX {
                    body["most"] = number(most);
                }
            }
            Finding::Unknown => body["reason"] = "the worker's end was not known in time".into(),
            Finding::NotApplicable => body["reason"] = "it has nothing to say of such a job".into(),
        }
        body
    });
    rules.collect()
}

/// What is wrong, in sentences.
pub(super) fn complaints(report: &Report<'_>, truth: &Truth) -> Vec<String> {
    let prototype = report.call.kernel.prototype();
    let wrong = truth.correctness.complaint(&CallNames::new(&prototype, &report.call.plan));
    let broken = truth.findings.iter().filter_map(|(rule, finding)| integrity::complaint(rule, finding));
    wrong.into_iter().chain(broken).collect()
}

/// Part of the declared operations below which an answer says how many were executed.
const USUAL: f64 = 0.9;

/// Part of the declared bytes below which it does where outputs were not checked. A string instruction moves more than
/// it counts.
const USUAL_BYTES: f64 = 0.5;

/// That rates are of declared work of which nothing shows that it was done.
pub(super) fn unproven(report: &Report<'_>, correctness: &Correctness) -> Option<String> {
    let (flop, bytes) = (report.call.flop, report.call.bytes);
    if correctness.is_wrong() || flop.or(bytes).is_none() {
        return None;
    }
    let is_verified = *correctness == Correctness::Verified;
    let Some(counts) = report.measurement.counts.whole() else {
        return (!is_verified).then(|| {
            "Rates are of the work that the kernel declares; outputs were not checked and instructions not counted, so nothing \
             shows that it was done."
                .to_owned()
        });
    };
    let part = |executed: u64, declared: Option<u64>| {
        declared.filter(|amount| *amount > 0).map(|amount| executed as f64 / amount as f64)
    };
    let flop = part(integrity::most_executed(counts), flop).filter(|part| *part < USUAL);
    let bytes = part(counted::bytes(counts), bytes).filter(|part| *part < USUAL_BYTES && !is_verified);
    let told = |part: f64, of: &str| {
        format!(
            "The counted call executed {:.1} % of the {of} that the kernel declares; rates are of those declared.",
            100.0 * part
        )
    };
    flop.map(|part| told(part, "operations")).or_else(|| bytes.map(|part| told(part, "bytes")))
}
