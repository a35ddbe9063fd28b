//! The answer old clients read: lines of exactly `Name: integer`, and nothing else.
//!
//! The page splits each line at `": "` and draws a set of counters only if every member is there, so a set (the names that
//! share what stands before their dot) is sent whole or not at all. No doubt can be expressed here, so what was not counted
//! as it should have been has no figure to begin with.

use std::collections::HashSet;
use std::fmt::Write;

use super::counted::INSTRUCTIONS;
use super::{Report, hardware};
use crate::summary::Summary;

/// Renders the answer.
#[must_use]
pub fn text(report: &Report<'_>) -> String {
    let mut text = String::with_capacity(32);
    let cycles = Summary::median_of(report.headline()).unwrap_or_default();
    line(&mut text, "Cycles", cycles);
    let mut seen = HashSet::from(["Cycles"]);
    if let Some(counts) = report.measurement.counts.whole() {
        // Exact, where a hardware counter includes a little of the harness.
        let _ = writeln!(text, "{INSTRUCTIONS}: {}", counts.instructions);
        seen.insert(INSTRUCTIONS);
    }
    let rows = hardware::rows(report);
    let absent = hardware::absent(report);
    let broken: HashSet<&str> = absent.iter().filter_map(|(name, _)| set_of(name)).collect();
    for row in rows.iter().filter(|row| row.name != hardware::RETIRED && is_plain(row.name)) {
        let whole = set_of(row.name).is_none_or(|set| !broken.contains(set));
        if whole && seen.insert(row.name) {
            line(&mut text, row.name, row.value);
        }
    }
    text
}

/// Whether a name can stand in a line without being taken for something else.
fn is_plain(name: &str) -> bool {
    !name.contains([':', '\n', '\r'])
}

/// The part of a name that its set shares: `DISPATCHED_PORT` of `DISPATCHED_PORT.PORT_0`.
fn set_of(name: &str) -> Option<&str> {
    name.split_once('.').map(|(set, _)| set)
}

/// A figure that a fit put slightly below zero is zero here: the old page knows no negative counts.
fn line(text: &mut String, name: &str, value: f64) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{name}: {}", value.round().max(0.0) as u64);
}

#[cfg(test)]
mod tests {
    use webrunner_protocol::events::OpenRefusal;

    use super::super::samples::Sample;
    use super::*;

    #[test]
    fn a_host_without_counters_answers_cycles_alone() {
        let sample = Sample::new().cycles(&[99.4, 99.6, 130.0]).throughput(&[80.0]);
        assert_eq!(text(&sample.report()), "Cycles: 100\n");
    }

    #[test]
    fn exact_instructions_follow_cycles_and_are_sent_once() {
        let sample = Sample::new().cycles(&[10.0]).instructions(u64::MAX - 1);
        assert_eq!(text(&sample.report()), "Cycles: 10\nInstructions: 18446744073709551614\n");
        let sample = Sample::new().cycles(&[10.0]).instructions(35).pass(&[], 36);
        assert_eq!(text(&sample.report()), "Cycles: 10\nInstructions: 35\n");
    }

    #[test]
    fn what_hardware_counts_is_sent_under_the_vendors_names() {
        let sample = Sample::new()
            .cycles(&[10.0])
            .counted_cycles(&[12.0])
            .counted("task-clock", 5000, 10)
            .pass(&[("LSD.UOPS", 5), ("ARITH", 0)], 4);
        assert_eq!(text(&sample.report()), "Cycles: 12\nInstructions: 4\nLSD.UOPS: 5\nARITH: 0\n");
    }

    #[test]
    fn a_set_with_a_member_missing_is_not_sent() {
        let sample = Sample::new()
            .cycles(&[10.0])
            .pass(&[("IDQ.MITE_UOPS", 1), ("IDQ.DSB_UOPS", 2), ("UOPS.PORT_0", 3)], 4)
            .refused("UOPS.PORT_1", OpenRefusal::NoRoom);
        assert_eq!(
            text(&sample.report()),
            "Cycles: 10\nInstructions: 4\nIDQ.MITE_UOPS: 1\nIDQ.DSB_UOPS: 2\n"
        );
    }

    #[test]
    fn a_pass_that_lost_its_counters_takes_its_sets_with_it() {
        let sample = Sample::new()
            .cycles(&[10.0])
            .pass(&[("IDQ.MITE_UOPS", 1)], 4)
            .pass(&[("IDQ.DSB_UOPS", 2)], 4)
            .with_pass(|pass| (pass.rounds, pass.lost, pass.counts) = (0, 9, Vec::new()));
        assert_eq!(text(&sample.report()), "Cycles: 10\nInstructions: 4\n");
    }

    #[test]
    fn a_name_that_would_break_a_line_is_not_sent() {
        let sample = Sample::new().cycles(&[10.0]).pass(&[("cpu/event=1/:u", 1)], 4);
        assert_eq!(text(&sample.report()), "Cycles: 10\nInstructions: 4\n");
    }

    #[test]
    fn cycles_are_never_negative_and_never_sent_twice() {
        let sample = Sample::new().cycles(&[-0.7]).pass(&[("Cycles", 5)], 4);
        assert_eq!(text(&sample.report()), "Cycles: 0\nInstructions: 4\n");
    }
}
