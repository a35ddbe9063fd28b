//! The answer old clients read: lines of exactly `Name: integer`, and nothing else.
//!
//! The page splits each line at `": "` and draws a set of counters only if every member is there, so a set (the names that
//! share what stands before their dot) is sent whole or not at all. No doubt can be expressed here, so a shared
//! counter is left out too.

use std::collections::HashSet;
use std::fmt::Write;

use webrunner_protocol::control::EventSource;

use super::Report;
use super::counted::INSTRUCTIONS;
use super::counters::{self, Counter};
use crate::summary::Summary;

/// Renders the answer.
#[must_use]
pub fn text(report: &Report<'_>) -> String {
    let mut text = String::with_capacity(32);
    let cycles = Summary::median_of(&report.measurement.cycles.isolated).unwrap_or_default();
    line(&mut text, "Cycles", cycles);
    let mut seen = HashSet::from(["Cycles"]);
    if let Some(counts) = report.measurement.counts.whole() {
        // Exact, where a hardware counter includes a little of the harness.
        let _ = writeln!(text, "{INSTRUCTIONS}: {}", counts.instructions);
        seen.insert(INSTRUCTIONS);
    }
    let events = &report.pool.events;
    if !events.iter().any(|event| event.missing.is_none() && event.source == EventSource::Pmu) {
        return text;
    }
    let counted = || counters::counted(report.measurement, events).filter(|counter| is_plain(*counter));
    let sent: HashSet<u16> = counted().map(|counter| counter.reading.event).collect();
    let broken: HashSet<&str> = (0u16..)
        .zip(events)
        .filter(|(index, _)| !sent.contains(index))
        .filter_map(|(_, event)| counters::set_of(&event.name))
        .collect();
    for counter in counted() {
        let name = counter.event.name.as_str();
        let whole = counters::set_of(name).is_none_or(|set| !broken.contains(set));
        if whole && seen.insert(name) {
            line(&mut text, name, counter.per_call());
        }
    }
    text
}

fn is_plain(counter: Counter<'_>) -> bool {
    counter.is_hardware() && !counter.is_shared() && !counter.event.name.contains([':', '\n', '\r'])
}

/// A figure that a fit put slightly below zero is zero here: the old page knows no negative counts.
fn line(text: &mut String, name: &str, value: f64) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{name}: {}", value.round().max(0.0) as u64);
}

#[cfg(test)]
mod tests {
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
        let sample = Sample::new().cycles(&[10.0]).instructions(35).counted("Instructions", 400, 10);
        assert_eq!(text(&sample.report()), "Cycles: 10\nInstructions: 35\n");
    }

    #[test]
    fn kernel_events_are_not_shown_to_old_clients() {
        let sample =
            Sample::new().cycles(&[10.0]).counted("task-clock", 5000, 10).counted("Instructions", 400, 10);
        assert_eq!(text(&sample.report()), "Cycles: 10\nInstructions: 40\n");
    }

    #[test]
    fn a_set_with_a_member_missing_is_not_sent() {
        let sample = Sample::new()
            .cycles(&[10.0])
            .counted("Instructions", 40, 10)
            .counted("IDQ.MITE_UOPS", 10, 10)
            .counted("IDQ.DSB_UOPS", 10, 10)
            .counted("UOPS.PORT_0", 10, 10)
            .missing("UOPS.PORT_1", "too many events");
        assert_eq!(
            text(&sample.report()),
            "Cycles: 10\nInstructions: 4\nIDQ.MITE_UOPS: 1\nIDQ.DSB_UOPS: 1\n"
        );
    }

    #[test]
    fn a_shared_counter_takes_its_set_with_it() {
        let sample =
            Sample::new().cycles(&[10.0]).counted("IDQ.MITE_UOPS", 10, 10).shared("IDQ.DSB_UOPS", 10, 10);
        assert_eq!(text(&sample.report()), "Cycles: 10\n");
    }

    #[test]
    fn cycles_are_never_negative_and_never_sent_twice() {
        let sample = Sample::new().cycles(&[-0.7]).counted("Cycles", 50, 10);
        assert_eq!(text(&sample.report()), "Cycles: 0\n");
    }
}
