//! How the figures of an answer came about.

use serde_json::{Value, json};
use webrunner_protocol::job::Effort;
use webrunner_protocol::passes::{CYCLES, INSTRUCTIONS, PassCounts};
use webrunner_protocol::reply::{Gate, Placement};

use crate::options;
use crate::render::{self, Report};
use crate::request::FILL_SEED;
use crate::summary::Summary;

/// The method and what it came to; `cycles` is the headline's summary.
pub(super) fn method(report: &Report<'_>, cycles: Option<&Summary>) -> Value {
    let samples = &report.measurement.cycles;
    // A batch of a microsecond, as quick jobs have for it, is mostly what a batch costs.
    let empty = (report.call.effort != Effort::Quick).then_some(samples.empty_call_cycles);
    json!({
        "name": render::TSC_CHAIN,
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
        "empty_call_cycles": empty,
        "minus_empty_call": cycles.zip(empty).map(|(cycles, empty)| cycles.median - empty),
        "ticks_per_cycle": samples.ticks_per_cycle,
        "first_call_ticks": samples.first_call_ticks,
        "passes": passes(report),
        "placements": samples.placements.iter().map(placement).collect::<Vec<_>>(),
        "placement_spread": render::placement_spread(&samples.placements),
        "preempted_rounds": samples.preempted,
        "fence_weak": report.pool.fence_is_weak(),
        "repeated": report.run.repeated,
        "options": options::describe(&report.call.options, report.call.effort),
        "fill_seed": format!("{FILL_SEED:#x}"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::json::tests::parsed;
    use crate::render::samples::Sample;

    #[test]
    fn places_are_listed_with_how_far_they_lie_apart() {
        let place = |offset, cycles, counts| Placement { offset, cycles: Some(cycles), rounds: 10, counts };
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
        let unreached = Placement { offset: 16, cycles: None, rounds: 0, counts: false };
        let sample = Sample::new().with(|measurement| {
            measurement.cycles.placements = vec![place(0, 100.0, true), unreached];
        });
        let method = &parsed(&sample)["method"];
        let null = json!({ "offset": 16, "cycles": null, "rounds": 0, "counts": false });
        assert_eq!((&method["placements"][1], &method["placement_spread"]), (&null, &Value::Null));
        assert_eq!(parsed(&Sample::new())["method"]["placement_spread"], Value::Null);
    }
}
