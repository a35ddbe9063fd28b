//! Doubts about a result, and what the function did that a caller would not expect; each a sentence.

use webrunner_protocol::reply::{Findings, Gate};

use super::{Report, hardware};
use crate::summary::{Quality, Summary};

/// Doubts about the figures of a report.
pub(super) fn warnings(report: &Report<'_>, cycles: &Summary) -> Vec<String> {
    let samples = &report.measurement.cycles;
    let mut warnings = Vec::new();
    match (samples.gate, Quality::of(samples.gate, cycles)) {
        (Gate::BestAgreeing, _) => warnings.push(
            "Too few rounds were undisturbed; these are the rounds that agree best. Measure again when the machine \
             is quieter."
                .into(),
        ),
        (Gate::Ungated, _) => warnings.push(
            "The rounds were not checked against the clock, so disturbed ones may be among them; a shorter function \
             with _effort=standard is checked."
                .into(),
        ),
        (Gate::Clean, Quality::Unstable) => warnings.push(
            "The middle half of the rounds spreads over more than 2 %; the function itself, its input or its \
             placement varies. p25 is the steadier figure."
                .into(),
        ),
        (Gate::Clean, _) => {}
    }
    warnings.extend(hardware::doubts(report));
    if report.machine.fact("smt") == true {
        warnings.push("The core may be shared with another hardware thread (SMT is on).".into());
    }
    warnings
}

/// What the function left behind.
pub(super) fn findings(findings: &Findings) -> Vec<String> {
    let registers = ["rbx", "rbp", "r12", "r13", "r14", "r15"];
    let clobbered: Vec<_> = (0u8..)
        .zip(registers)
        .filter(|(bit, _)| findings.clobbered & (1 << bit) != 0)
        .map(|(_, register)| register)
        .collect();
    let mut found = Vec::new();
    if !clobbered.is_empty() {
        found.push(format!("The function changed {}, which it must preserve.", clobbered.join(", ")));
    }
    let mut note = |left: bool, sentence: &str| {
        if left {
            found.push(sentence.to_owned());
        }
    };
    note(findings.stack_pointer, "The function returned with a wrong stack pointer.");
    note(findings.direction_flag, "The function returned with the direction flag set.");
    note(findings.mxcsr, "The function changed the control bits of MXCSR.");
    note(findings.x87, "The function left values on the x87 stack or changed its control word.");
    note(
        findings.dirty_upper == Some(true),
        "The function returned with upper halves of vector registers in use; vzeroupper would free them.",
    );
    found
}

#[cfg(test)]
mod tests {
    use super::super::samples::Sample;
    use super::*;

    fn doubts(sample: &Sample) -> Vec<String> {
        let report = sample.report();
        let summary = Summary::of(&report.measurement.cycles.isolated).unwrap();
        warnings(&report, &summary)
    }

    #[test]
    fn a_steady_gated_result_has_no_doubt_of_its_own() {
        let about_smt = |doubt: &String| doubt.contains("SMT");
        assert!(doubts(&Sample::new().cycles(&[10.0, 10.1])).iter().all(about_smt));
    }

    #[test]
    fn each_cause_of_doubt_has_its_sentence() {
        assert!(doubts(&Sample::new().gate(Gate::BestAgreeing))[0].contains("agree best"));
        assert!(doubts(&Sample::new().gate(Gate::Ungated))[0].contains("not checked"));
        assert!(doubts(&Sample::new().cycles(&[100.0, 200.0, 300.0]))[0].contains("2 %"));
    }

    #[test]
    fn findings_name_registers_and_state() {
        let all = Findings {
            clobbered: 0b10_0001,
            stack_pointer: true,
            direction_flag: true,
            mxcsr: true,
            x87: true,
            dirty_upper: Some(true),
        };
        let sentences = findings(&all);
        assert_eq!(sentences.len(), 6);
        assert_eq!(sentences[0], "The function changed rbx, r15, which it must preserve.");
        assert!(findings(&Findings { dirty_upper: Some(false), ..Findings::default() }).is_empty());
    }
}
