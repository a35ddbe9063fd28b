//! The answer for a terminal: a table, then doubts and findings.

use std::fmt::Write;

use super::{Report, Row, doubts, truth};
use crate::check::Correctness;
use crate::summary::Summary;

/// Renders the answer.
#[must_use]
pub fn table(report: &Report<'_>) -> String {
    let mut text = String::new();
    let rows: Vec<[String; 5]> = report.rows().iter().map(cells).collect();
    let head = ["name", "value", "unit", "spread", "source"].map(str::to_owned);
    let widths: [usize; 5] = std::array::from_fn(|column| {
        let widths = rows.iter().chain([&head]).map(|row| row[column].chars().count());
        widths.max().unwrap_or_default()
    });
    for row in [&head].into_iter().chain(&rows) {
        line(&mut text, row, &widths);
    }
    let Some(cycles) = Summary::of(report.headline()) else { return text };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "quality: {}", report.quality().name());
    let truth = report.truth();
    let _ = match &truth.correctness {
        Correctness::Unchecked { reason } => writeln!(text, "correctness: unchecked ({reason})"),
        known => writeln!(text, "correctness: {}", known.name()),
    };
    let _ = writeln!(text, "integrity: {}", truth.integrity.name());
    let complaints = truth::complaints(report, &truth).into_iter();
    let unproven = truth::unproven(report, &truth.correctness);
    for warning in complaints.chain(doubts::warnings(report, &cycles)).chain(unproven) {
        let _ = writeln!(text, "warning: {warning}");
    }
    for finding in doubts::findings(report) {
        let _ = writeln!(text, "finding: {finding}");
    }
    text
}

fn cells(row: &Row<'_>) -> [String; 5] {
    let spread = row.spread.map_or_else(String::new, |spread| {
        format!("{:.2} .. {:.2} (n {})", spread.p25, spread.p75, spread.count)
    });
    [row.name.to_owned(), format!("{:.2}", row.value), row.unit.to_owned(), spread, row.source.to_owned()]
}

fn line(text: &mut String, cells: &[String; 5], widths: &[usize; 5]) {
    let mut line = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        let gap = if column == 0 { "" } else { "  " };
        // Numbers are read by their last digit, words by their first letter.
        let _ = if column == 1 {
            write!(line, "{gap}{cell:>width$}")
        } else {
            write!(line, "{gap}{cell:<width$}")
        };
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::super::samples::Sample;
    use super::*;

    #[test]
    fn columns_line_up_and_doubts_follow() {
        let sample = Sample::new().cycles(&[100.0, 200.0, 300.0]).counted("task-clock", 10, 10);
        let text = table(&sample.report());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "name         value  unit    spread                  source");
        assert_eq!(lines[1], "Cycles      200.00  cycles  150.00 .. 250.00 (n 3)  tsc-chain");
        assert_eq!(lines[2], "task-clock    1.00  1                               kernel");
        assert_eq!(lines[3], "quality: unstable");
        assert_eq!(lines[4], "correctness: unchecked (the check was not made)");
        assert_eq!(lines[5], "integrity: unverified");
        assert!(lines[6].starts_with("warning: "));
    }
}
