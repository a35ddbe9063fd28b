//! Doubts about a result, and what the function did that a caller would not expect; each a sentence.

use webrunner_protocol::job::Effort;
use webrunner_protocol::plan::Direction;
use webrunner_protocol::reply::{CodeFacts, Findings, Gate, Placement};

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
        (Gate::Shared, _) => warnings.push(
            "Calling cost more than on a core that nothing else uses, so something ran on the core's other hardware thread; \
             the figure may be a cycle or a percent wrong, more where loads are the limit. Measure again when the machine \
             is quieter."
                .into(),
        ),
        (Gate::Ungated, _) => warnings.push(
            format!(
                "The rounds were not checked against the clock, so disturbed ones may be among them; {} checked.",
                if report.call.effort == Effort::Quick { "at standard effort they are" } else { "those of a shorter function are" }
            ),
        ),
        (Gate::Clean, Quality::Unstable) => warnings.push(
            "The middle half of the rounds spreads over more than 2 %; the function itself, its input or its \
             placement varies. p25 is the steadier figure."
                .into(),
        ),
        (Gate::Clean, _) => {}
    }
    warnings.extend(about_throughput(&samples.throughput));
    warnings.extend(hardware::doubts(report));
    warnings.extend(about_placements(&samples.placements));
    if report.pool.fence_is_weak() {
        warnings.push(
            "lfence does not hold back what comes after it on this machine, so isolated calls overlap; believe \
             ThroughputCycles instead."
                .into(),
        );
    }
    if report.machine.fact("smt") == true {
        warnings.push("The core may be shared with another hardware thread (SMT is on).".into());
    }
    warnings
}

/// Whether calls back to back are steady; the quality judges isolated ones alone.
fn about_throughput(samples: &[f64]) -> Option<String> {
    Summary::of(samples).filter(Summary::is_unstable).map(|summary| {
        format!(
            "ThroughputCycles vary: the middle half of the rounds lies between {:.1} and {:.1}. The quality is that of \
             Cycles; p25 is the steadier figure.",
            summary.p25, summary.p75
        )
    })
}

/// Whether it matters where the function lies.
fn about_placements(placements: &[Placement]) -> Option<String> {
    let left_out = placements.iter().filter(|placement| !placement.counts);
    // A place that no round was made at, as of a call too long for four, disagrees with none.
    let apart: Vec<_> = left_out
        .filter_map(|placement| Some(format!("{:.1} at offset {}", placement.cycles?, placement.offset)))
        .collect();
    (!apart.is_empty()).then(|| {
        format!(
            "The function's speed depends on where it lies: places that disagree with the rest were left out ({}).",
            apart.join(", ")
        )
    })
}

/// What the function did, or would do, that a caller would not expect.
pub(super) fn findings(report: &Report<'_>) -> Vec<String> {
    let mut found = left_behind(&report.measurement.findings);
    for (direction, name) in report.inputs_mutated().unwrap_or_default() {
        if direction == Direction::In {
            found.push(format!("The function wrote to {name}, which its prototype says it only reads."));
        }
    }
    found.extend(report.measurement.code.iter().flat_map(in_code).map(str::to_owned));
    found
}

/// What the code holds that it cannot do here.
fn in_code(code: &CodeFacts) -> impl Iterator<Item = &'static str> {
    let privileged = "The code holds instructions that only the kernel may execute.";
    let system_calls = "The code holds system calls; none is allowed here.";
    [(code.privileged, privileged), (code.system_calls, system_calls)]
        .into_iter()
        .filter_map(|(found, sentence)| found.then_some(sentence))
}

/// What the function left behind.
fn left_behind(findings: &Findings) -> Vec<String> {
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
    use webrunner_protocol::stack::StackUse;

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
        assert!(doubts(&Sample::new().gate(Gate::Shared))[0].contains("other hardware thread"));
        assert!(doubts(&Sample::new().cycles(&[100.0, 200.0, 300.0]))[0].contains("2 %"));
    }

    #[test]
    fn a_weak_fence_and_a_place_left_out_are_doubts() {
        assert!(doubts(&Sample::new().fenced_chains(70))[0].starts_with("lfence does not hold back"));
        let place = |offset, cycles, counts| Placement { offset, cycles: Some(cycles), rounds: 10, counts };
        let sample = Sample::new().with(|measurement| {
            measurement.cycles.placements = vec![place(0, 100.0, true), place(16, 120.0, false)];
        });
        assert!(doubts(&sample)[0].contains("(120.0 at offset 16)"), "{:?}", doubts(&sample));
        let sample = Sample::new().with(|measurement| {
            let unreached = Placement { offset: 16, cycles: None, rounds: 0, counts: false };
            measurement.cycles.placements = vec![place(0, 100.0, true), unreached];
        });
        assert!(doubts(&sample).iter().all(|doubt| !doubt.contains("where it lies")));
    }

    #[test]
    fn calls_back_to_back_that_vary_are_a_doubt_of_their_own() {
        let sample = |throughput: &[f64]| {
            let throughput = throughput.to_vec();
            Sample::new()
                .cycles(&[100.0, 100.1, 100.2])
                .with(|measurement| measurement.cycles.throughput = throughput)
        };
        let about =
            |sample: &Sample| doubts(sample).iter().any(|doubt| doubt.starts_with("ThroughputCycles vary"));
        assert!(about(&sample(&[80.0, 95.0, 110.0])) && !about(&sample(&[80.0, 80.1, 80.2])));
    }

    #[test]
    fn an_argument_that_is_only_read_is_named_when_it_was_written() {
        let mutated = |bits| {
            let sample = Sample::new().with(|measurement| measurement.findings.mutated = Some(bits));
            findings(&sample.report())
        };
        assert_eq!(mutated(0b10), ["The function wrote to y, which its prototype says it only reads."]);
        assert_eq!(mutated(0), [""; 0]);
        assert_eq!(mutated(1 << 31), [""; 0], "a buffer that does not exist");
    }

    #[test]
    fn instructions_that_cannot_run_here_are_findings() {
        let code = CodeFacts {
            instructions: 2,
            bytes: 3,
            needs: Vec::new(),
            vector_bits: 0,
            indirect_branches: false,
            privileged: true,
            system_calls: true,
            stack: StackUse::AtMost(0),
        };
        let sentences = findings(&Sample::new().with(|measurement| measurement.code = Some(code)).report());
        assert!(sentences[0].contains("only the kernel") && sentences[1].contains("system calls"));
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
            mutated: None,
        };
        let sentences = left_behind(&all);
        assert_eq!(sentences.len(), 6);
        assert_eq!(sentences[0], "The function changed rbx, r15, which it must preserve.");
        assert!(left_behind(&Findings { dirty_upper: Some(false), ..Findings::default() }).is_empty());
    }
}
