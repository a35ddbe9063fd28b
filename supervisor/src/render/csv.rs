//! The answer as a table: one line per figure (RFC 4180, with bare line feeds as most tools write them).

use std::fmt::Write;

use super::{Report, Row};

/// Renders the answer.
#[must_use]
pub fn csv(report: &Report<'_>) -> String {
    let mut text = String::from("name,value,unit,source,min,p25,p75,mad,n\n");
    for row in report.rows() {
        line(&mut text, &row);
    }
    text
}

fn line(text: &mut String, row: &Row<'_>) {
    let spread = row.spread.map_or_else(
        || ",,,".to_owned(),
        |spread| format!("{},{},{},{}", spread.min, spread.p25, spread.p75, spread.mad),
    );
    let (name, unit) = (field(row.name), field(row.unit));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{name},{},{unit},{},{spread},{}", row.value, row.source, row.n);
}

/// A field, quoted where it must be.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::Sample;
    use super::*;

    #[test]
    fn every_figure_is_a_line_with_as_many_fields_as_the_header() {
        let sample = Sample::new().cycles(&[1.0, 2.0, 4.0]).counted("task-clock", 50, 10);
        assert_eq!(
            csv(&sample.report()),
            "name,value,unit,source,min,p25,p75,mad,n\n\
             Cycles,2,cycles,tsc-chain,1,1.5,3,1,3\n\
             task-clock,5,1,kernel,,,,,10\n"
        );
    }

    #[test]
    fn fields_with_commas_are_quoted() {
        assert_eq!(field("cpu/event=1,umask=2/"), "\"cpu/event=1,umask=2/\"");
        assert_eq!(field("a\"b"), "\"a\"\"b\"");
    }
}
