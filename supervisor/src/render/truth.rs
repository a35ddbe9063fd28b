//! What is known of a result's truth, as JSON and as sentences.

use serde_json::{Map, Value, json};
use webrunner_kernels::Place;

use super::{Report, Truth, number};
use crate::check::{Correctness, argument, stage_name};
use crate::fault::CallNames;
use crate::integrity::{self, Finding};

/// Whether the function computes what it should.
pub(super) fn correctness(report: &Report<'_>, truth: &Truth) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("verdict", truth.correctness.name().into());
    match &truth.correctness {
        Correctness::Verified => {}
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
