//! Hardware events: counts joined with the names they were asked for by, and why the others have none.
//!
//! What calling costs is taken out of every counter. An event is here with its count or absent with a reason, never scaled
//! up and never 0 for want of a counter.

use std::borrow::Cow;

use webrunner_protocol::events::RefusedEvent;
use webrunner_protocol::job::Effort;
use webrunner_protocol::passes::{INSTRUCTIONS, PassCounts, disagreeing};

use super::{PMU, Report, Row, counted};
use crate::events::Selection;

/// Instructions as the hardware counted them, beside those that block counting found.
pub(super) const RETIRED: &str = "RetiredInstructions";

/// How far the two counts of instructions may lie apart.
const SAME: f64 = 0.5;

/// What was to be counted: the job's own events, or the usual ones of the core it ran on.
fn asked<'a>(report: &Report<'a>) -> Option<&'a Selection> {
    report.call.events.as_ref().or_else(|| report.pool.hardware.usual(report.run.core))
}

fn passes<'a>(report: &Report<'a>) -> impl Iterator<Item = &'a PassCounts> {
    report.measurement.events.passes.iter()
}

/// Instructions of one call, the function's own return among them: a call and a return are calling, and so taken out of
/// every counter, but a block count has the return, and is to be compared with this.
fn instructions(report: &Report<'_>) -> Option<(f64, u64)> {
    let of = |pass: &PassCounts| Some((pass.per_call(INSTRUCTIONS)?.function + 1.0, n(pass)));
    passes(report).find_map(of)
}

/// Calls a pass was counted over.
fn n(pass: &PassCounts) -> u64 {
    pass.calls.function.saturating_mul(pass.rounds.into())
}

/// Every event that was counted, in the order in which they were asked for; instructions first.
pub(super) fn rows<'a>(report: &Report<'a>) -> Vec<Row<'a>> {
    let row = |name, unit, value, n| Row { name, unit, source: PMU, value, n, spread: None, samples: None };
    let mut rows = Vec::new();
    if let Some((value, n)) = instructions(report) {
        if report.measurement.counts.whole().is_none() {
            rows.push(row(counted::INSTRUCTIONS, "instructions", value, n));
        }
        rows.push(row(RETIRED, "instructions", value, n));
    }
    let Some(asked) = asked(report) else { return rows };
    let mut counted: Vec<_> = report.measurement.events.counted().collect();
    counted.sort_by_key(|(event, ..)| *event);
    // A forged reply may name an event twice, or one that there is not.
    counted.dedup_by_key(|(event, ..)| *event);
    rows.extend(counted.into_iter().filter_map(|(event, pass, place)| {
        let name = asked.names.get(usize::from(event))?;
        Some(row(name, "events", pass.per_call(place)?.function, n(pass)))
    }));
    rows
}

/// Every event that was to be counted and was not, with the reason.
pub(super) fn absent<'a>(report: &Report<'a>) -> Vec<(&'a str, Cow<'a, str>)> {
    let Some(asked) = asked(report) else { return Vec::new() };
    if asked.set.is_none() {
        // The usual events are then one line, `*hardware*`; others are refused before they come here.
        return Vec::new();
    }
    let mut absent = Vec::new();
    for (event, name) in (0u16..).zip(&asked.names) {
        let counted = report.measurement.events.counted().any(|(found, ..)| found == event);
        if !counted {
            absent.push((name.as_str(), reason(report, event)));
        }
    }
    absent
}

fn reason<'a>(report: &Report<'a>, event: u16) -> Cow<'a, str> {
    if report.call.effort == Effort::Quick {
        return "a quick measurement is too short for hardware counters; ask for standard effort".into();
    }
    let planned = report.pool.plan(report.run.core).filter(|_| report.call.events.is_none());
    let refused = planned.map_or(&report.measurement.events.refused, |plan| &plan.refused);
    let of_event = |refused: &&RefusedEvent| refused.event == event;
    if let Some(refused) = refused.iter().find(of_event) {
        return refused.reason.to_string().into();
    }
    match passes(report).find(|pass| pass.events.contains(&event)) {
        Some(pass) if pass.lost > 0 => "its counters were taken by somebody else, such as the kernel's NMI watchdog or \
                                        another profiler, in every round that counts"
            .into(),
        Some(_) => "the time was over before its pass had a round that counts; use more effort or a smaller problem".into(),
        None => "the function is too long to be measured more than once, or its pass could not be opened in this worker"
            .into(),
    }
}

/// What is to be doubted about the counts.
pub(super) fn doubts(report: &Report<'_>) -> Vec<String> {
    let all = &report.measurement.events.passes;
    let mut doubts = Vec::new();
    let lost: Vec<String> = (1..)
        .zip(all)
        .filter(|(_, pass)| pass.lost > 0 && pass.rounds > 0)
        .map(|(number, pass)| {
            format!("pass {number} in {} of {} rounds", pass.lost, pass.lost.saturating_add(pass.rounds))
        })
        .collect();
    if !lost.is_empty() {
        doubts.push(format!(
            "Counters were shared or taken away ({}); those rounds are left out of the counts.",
            lost.join(", ")
        ));
    }
    let odd = disagreeing(all);
    if !odd.is_empty() {
        let numbers: Vec<String> = odd.iter().map(|index| (index + 1).to_string()).collect();
        doubts.push(format!(
            "Passes of hardware events do not agree on instructions or cycles (pass {} of {}), though they were made anew: \
             the function does not do the same in every call, or something else was counted with it.",
            numbers.join(" and "),
            all.len()
        ));
    }
    if let Some(calling) = all.iter().find(|pass| !pass.calls_in_whole_instructions()) {
        let calling = calling.per_call(INSTRUCTIONS).map_or(0.0, |instructions| instructions.calling);
        doubts.push(format!(
            "Calling costs {calling:.4} instructions by the hardware counters, which is no whole number: counts of \
             hardware events include something besides the function."
        ));
    }
    let exact = report.measurement.counts.whole().map(|counts| counts.instructions as f64);
    if let (Some((retired, _)), Some(exact)) = (instructions(report), exact)
        && (retired - exact).abs() > SAME
    {
        doubts.push(format!(
            "Hardware counters saw {retired:.2} instructions a call, and a counted call had {exact}: the function does not \
             do the same in every call, or it is disturbed."
        ));
    }
    doubts
}

#[cfg(test)]
mod tests {
    use webrunner_protocol::events::OpenRefusal;

    use super::super::samples::Sample;
    use super::*;

    fn names(sample: &Sample) -> Vec<(String, f64)> {
        rows(&sample.report()).into_iter().map(|row| (row.name.to_owned(), row.value)).collect()
    }

    fn reasons(sample: &Sample) -> Vec<(String, String)> {
        let absent = absent(&sample.report()).into_iter();
        absent.map(|(name, reason)| (name.to_owned(), reason.into_owned())).collect()
    }

    #[test]
    fn counts_have_what_calling_costs_taken_out_and_keep_the_order_of_the_request() {
        let sample = Sample::new().instructions(35).pass(&[("B", 2), ("A", 0)], 35).pass(&[("C", 3)], 35);
        let expected = [(RETIRED, 35.0), ("B", 2.0), ("A", 0.0), ("C", 3.0)];
        assert_eq!(names(&sample), expected.map(|(name, value)| (name.to_owned(), value)));
        assert!(doubts(&sample.report()).is_empty());
    }

    #[test]
    fn instructions_are_the_hardwares_where_no_block_count_has_them() {
        let sample = Sample::new().pass(&[], 35);
        assert_eq!(names(&sample)[0], ("Instructions".into(), 35.0));
    }

    #[test]
    fn every_event_without_a_count_has_its_reason() {
        let sample = Sample::new()
            .pass(&[("COUNTED", 1)], 4)
            .pass(&[("LOST", 1)], 4)
            .with_pass(|pass| (pass.rounds, pass.lost, pass.counts) = (0, 9, Vec::new()))
            .pass(&[("LATE", 1)], 4)
            .with_pass(|pass| (pass.rounds, pass.counts) = (0, Vec::new()))
            .refused("REFUSED", OpenRefusal::DoesNotFit);
        let found = reasons(&sample);
        let has = |index: usize, name: &str, words: &str| {
            let (found_name, reason) = &found[index];
            assert!(found_name == name && reason.contains(words), "{found:?}");
        };
        has(0, "LOST", "taken by somebody else");
        has(1, "LATE", "the time was over");
        has(2, "REFUSED", "does not count it on this CPU");
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn each_way_counts_can_be_wrong_is_a_doubt() {
        let doubt = |sample: Sample, words: &str| {
            let doubts = doubts(&sample.report());
            assert!(doubts.len() == 1 && doubts[0].contains(words), "{words}: {doubts:?}");
        };
        let sample = || Sample::new().pass(&[("A", 1)], 35);
        doubt(sample().with_pass(|pass| pass.lost = 2), "pass 1 in 2 of 5 rounds");
        doubt(sample().pass(&[("B", 1)], 36), "do not agree on instructions or cycles (pass 2 of 2)");
        doubt(sample().with_pass(|pass| pass.counts[1].short_chain += 1), "no whole number");
        doubt(sample().instructions(34), "saw 35.00 instructions a call, and a counted call had 34");
    }
}
