//! The report: for people a line for each finding and a table of figures, for programs JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::acceptance::{Row, Verdict};
use super::{Finding, Remedy};

/// All that a run of the doctor found.
#[derive(Debug)]
pub struct Report {
    /// What was found.
    pub findings: Vec<Finding>,
    /// Figures against their bounds, if they were asked for and could be had.
    pub rows: Vec<Row>,
    /// Names of the findings that count against this host.
    pub failing: Vec<String>,
}

impl Report {
    /// Whether all that this host can support holds.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.failing.is_empty() && self.failed_rows().next().is_none()
    }

    fn failed_rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.verdict == Verdict::Fail)
    }

    /// The last line: whether all holds, and if not, what does not.
    #[must_use]
    pub fn conclusion(&self) -> String {
        let mut wrong = Vec::new();
        if !self.failing.is_empty() {
            wrong.push(format!("to be mended: {}", self.failing.join(", ")));
        }
        let figures: Vec<_> = self.failed_rows().map(|row| format!("{} ({})", row.item, row.what)).collect();
        if !figures.is_empty() {
            wrong.push(format!("out of bounds: {}", figures.join(", ")));
        }
        if wrong.is_empty() { "all that this host can support holds".into() } else { wrong.join("; ") }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let width = self.findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
        for finding in &self.findings {
            // Writing to a String cannot fail.
            let _ =
                writeln!(text, "{:<8}  {:<width$}  {}", finding.state.name(), finding.name, finding.reason);
            let label = match &finding.remedy {
                None => continue,
                Some(Remedy::Here(_)) => "remedy",
                Some(Remedy::Elsewhere(_)) => "elsewhere",
            };
            let remedy = finding.remedy.as_ref().map(Remedy::text).unwrap_or_default();
            let _ = writeln!(text, "{:<8}  {:<width$}  {label}: {remedy}", "", "");
        }
        if !self.rows.is_empty() {
            text.push('\n');
            self.table(&mut text);
        }
        let _ = writeln!(text, "\n{}", self.conclusion());
        text
    }

    fn table(&self, text: &mut String) {
        let cells = |row: &Row| match &row.verdict {
            Verdict::Skipped(reason) => [row.what.clone(), format!("skipped: {reason}"), row.bound.clone()],
            Verdict::Pass | Verdict::Fail => [row.what.clone(), row.figure.clone(), row.bound.clone()],
        };
        let lines: Vec<_> = self.rows.iter().map(|row| (row, cells(row))).collect();
        let width = |column: usize| lines.iter().map(|(_, cells)| cells[column].chars().count()).max();
        let [what, figure] = [0, 1].map(|column| width(column).unwrap_or_default());
        let _ = writeln!(text, "   {:<7}  {:<what$}  {:<figure$}  bound", "", "what", "figure");
        for (row, cells) in &lines {
            let [name, value, bound] = cells;
            let _ = writeln!(
                text,
                "{}  {:<7}  {name:<what$}  {value:<figure$}  {bound}",
                row.item,
                row.verdict.name()
            );
        }
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let findings = self.findings.iter().map(|finding| {
            json!({
                "name": finding.name,
                "state": finding.state.name(),
                "reason": finding.reason,
                "remedy": finding.remedy.as_ref().map(Remedy::text),
                "can_be_mended_here": finding.can_be_mended_here(),
            })
        });
        let rows = self.rows.iter().map(|row| {
            let reason = match &row.verdict {
                Verdict::Skipped(reason) => Some(reason),
                Verdict::Pass | Verdict::Fail => None,
            };
            json!({
                "item": row.item,
                "what": row.what,
                "figure": row.figure,
                "bound": row.bound,
                "verdict": row.verdict.name(),
                "reason": reason,
            })
        });
        json!({
            "schema": 1,
            "holds": self.holds(),
            "failing": self.failing,
            "findings": findings.collect::<Vec<_>>(),
            "measurements": rows.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{State, elsewhere, here};
    use super::*;

    fn report() -> Report {
        let row = |verdict| Row {
            item: 1,
            what: "100 adds".into(),
            figure: "worst 2 %".into(),
            bound: "1 %".into(),
            verdict,
        };
        let finding =
            |name: &str, state, remedy| Finding { name: name.into(), state, reason: "so".into(), remedy };
        Report {
            findings: vec![
                finding("seccomp", State::Ok, None),
                finding("pmu", State::Missing, Some(elsewhere("bare metal"))),
                finding("smt", State::Degraded, Some(here("switch it off"))),
            ],
            rows: vec![row(Verdict::Fail), row(Verdict::Skipped("no core".into()))],
            failing: vec!["smt".into()],
        }
    }

    #[test]
    fn people_get_lines_that_align() {
        let expected = "\
ok        seccomp  so
missing   pmu      so
                   elsewhere: bare metal
degraded  smt      so
                   remedy: switch it off

            what      figure            bound
1  fail     100 adds  worst 2 %         1 %
1  skipped  100 adds  skipped: no core  1 %

to be mended: smt; out of bounds: 1 (100 adds)
";
        assert_eq!(report().text(), expected);
    }

    #[test]
    fn programs_get_the_same_as_json() {
        let body = report().json();
        assert_eq!((&body["holds"], &body["failing"]), (&false.into(), &json!(["smt"])));
        assert_eq!(body["findings"][1]["can_be_mended_here"], false);
        assert_eq!(body["measurements"][1]["reason"], "no core");
    }

    #[test]
    fn what_was_skipped_is_no_failure() {
        let mut report = report();
        report.rows.remove(0);
        report.failing.clear();
        assert!(report.holds());
        assert_eq!(report.conclusion(), "all that this host can support holds");
    }
}
