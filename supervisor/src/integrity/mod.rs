//! Whether what a worker says can be true, by what was seen from outside.
//!
//! A worker measures itself, and the function shares its process, so every figure is a claim. The kernel's account of the
//! process (CPU time, page faults, exit) and this process's clock are not. [`RULES`] holds the first against the second;
//! a claim that breaks one makes the result suspect. Rules bound what can be claimed, they do not prove it: a function
//! that spends the time it claims to spend breaks none. What the words mean is told in `docs/security.md`.

mod facts;
mod rules;
mod work;

use std::time::Duration;

use webrunner_protocol::control::{ExitStatus, Usage};
use webrunner_protocol::job::Effort;
use webrunner_protocol::reply::Measurement;

use self::facts::Facts;
pub use self::rules::RULES;
pub use self::work::{Declared, most_executed};
use crate::check::{Correctness, Examined};

/// A measurement and all that is known of it from outside.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What the worker says.
    pub measurement: &'a Measurement,
    /// What was asked for.
    pub effort: Effort,
    /// Bytes of all buffers of a call.
    pub buffer_bytes: u64,
    /// What the kernel's specification says one call does.
    pub declared: Declared,
    /// Time the worker had the job, by this process's clock.
    pub wall: Duration,
    /// How it ended and what it used, where that was known in time.
    pub exit: Option<(ExitStatus, Usage)>,
    /// What came of the check, if there was one.
    pub examined: Option<&'a Examined>,
    /// Speed of the time stamp counter, measured before any job; 0 if it is not known.
    pub ticks_per_ms: u64,
}

/// What can be said of a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Integrity {
    /// A claim cannot be true.
    Suspect,
    /// Something outside is not known.
    Unverified,
    /// Every rule holds; what the function computes is not known to be right.
    Consistent,
    /// Every rule holds, and the outputs are right.
    Verified,
}

impl Integrity {
    /// The word answers use.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Suspect => "suspect",
            Self::Unverified => "unverified",
            Self::Consistent => "consistent",
            Self::Verified => "verified",
        }
    }
}

/// What a rule says of a case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Finding {
    /// A claim, and the range that what was seen outside leaves to it.
    Held {
        /// The figure claimed.
        claimed: f64,
        /// Least it can be.
        least: f64,
        /// Most it can be.
        most: f64,
    },
    /// What the rule needs to know from outside is not known.
    Unknown,
    /// The rule has nothing to say of such a job.
    NotApplicable,
}

impl Finding {
    /// Whether the claim can be true, as far as it is known.
    #[must_use]
    pub fn holds(&self) -> Option<bool> {
        match *self {
            Self::Held { claimed, least, most } => Some((least..=most).contains(&claimed)),
            Self::Unknown | Self::NotApplicable => None,
        }
    }
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name, as answers give it.
    pub name: &'static str,
    /// What is claimed, and what it is held against.
    pub words: &'static str,
    /// Unit of its figures.
    pub unit: &'static str,
    judge: fn(&Facts<'_>) -> Finding,
}

/// Judges a case by every rule.
pub fn findings(case: &Case<'_>) -> Vec<(&'static Rule, Finding)> {
    let facts = Facts::of(case);
    RULES.iter().map(|rule| (rule, (rule.judge)(&facts))).collect()
}

/// What the findings come to.
#[must_use]
pub fn conclude(findings: &[(&Rule, Finding)], correctness: &Correctness) -> Integrity {
    let any = |wanted: Finding| findings.iter().any(|(_, finding)| *finding == wanted);
    if findings.iter().any(|(_, finding)| finding.holds() == Some(false)) {
        Integrity::Suspect
    } else if any(Finding::Unknown) {
        Integrity::Unverified
    } else if *correctness == Correctness::Verified {
        Integrity::Verified
    } else {
        Integrity::Consistent
    }
}

/// A broken rule as a sentence; none for one that holds.
#[must_use]
pub fn complaint(rule: &Rule, finding: &Finding) -> Option<String> {
    match *finding {
        Finding::Held { claimed, least, most } if finding.holds() == Some(false) => {
            let (bound, side) = if claimed > most { (most, "most") } else { (least, "least") };
            Some(format!(
                "The figures cannot be true: {claimed:.1} {unit} where the {side} possible is {bound:.1} (rule {name}: {words}).",
                unit = rule.unit,
                name = rule.name,
                words = rule.words
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use webrunner_protocol::counts::{Counting, Counts, NotCountable};
    use webrunner_protocol::plan::{Argument, CallPlan, ElementType, ReturnType};
    use webrunner_protocol::reply::{CycleSamples, Gate, Phases};

    use super::*;

    /// What a standard job of 1000 cycles a call looks like at 2 GHz, counter and core alike.
    fn measurement() -> Measurement {
        Measurement {
            cycles: CycleSamples {
                isolated: vec![1000.0; 41],
                throughput: vec![950.0; 41],
                gate: Gate::Clean,
                calls_per_round: 40,
                overhead_cycles: 37.0,
                ticks_per_cycle: 1.0,
                ..CycleSamples::default()
            },
            counts: Counting::Counted(Box::new(Counts {
                instructions: 4000,
                branches: 500,
                single_flops: [0, 0, 2048, 0],
                ..Counts::default()
            })),
            phases: Phases { load_ns: 20_000, fill_ns: 10_000, measure_ns: 7_000_000, count_ns: 50_000 },
            ..Measurement::default()
        }
    }

    fn usage() -> Usage {
        Usage { user_us: 7200, system_us: 400, minor_faults: 200, ..Usage::default() }
    }

    /// The work of a call on single-precision numbers with these passed by value.
    fn declared(values: &[f32], flop: u64, bytes: u64) -> Declared {
        let plan = CallPlan {
            arguments: values.iter().map(|value| Argument::Float(*value)).collect(),
            buffers: Vec::new(),
            returns: ReturnType::Scalar(ElementType::Float),
        };
        Declared::of(&plan, Some(flop), Some(bytes))
    }

    fn case(measurement: &Measurement) -> Case<'_> {
        Case {
            measurement,
            effort: Effort::Standard,
            buffer_bytes: 8192,
            declared: declared(&[], 2048, 8192),
            wall: Duration::from_micros(7400),
            exit: Some((ExitStatus::Code(0), usage())),
            examined: None,
            ticks_per_ms: 2_000_000,
        }
    }

    fn broken(case: &Case<'_>) -> Vec<&'static str> {
        let findings = findings(case).into_iter();
        findings.filter(|(_, finding)| finding.holds() == Some(false)).map(|(rule, _)| rule.name).collect()
    }

    #[test]
    fn an_honest_job_breaks_no_rule_and_is_verified_only_with_right_outputs() {
        let measurement = measurement();
        let findings = findings(&case(&measurement));
        assert_eq!(broken(&case(&measurement)), [""; 0]);
        let unchecked = Correctness::Unchecked { reason: String::new() };
        assert_eq!(conclude(&findings, &unchecked), Integrity::Consistent);
        assert_eq!(conclude(&findings, &Correctness::Verified), Integrity::Verified);
    }

    #[test]
    fn without_a_known_end_nothing_is_verified() {
        let measurement = measurement();
        let findings = findings(&Case { exit: None, ..case(&measurement) });
        assert_eq!(conclude(&findings, &Correctness::Verified), Integrity::Unverified);
    }

    /// One claim or one fact changed, and the rule that then is broken.
    #[test]
    fn each_rule_is_broken_by_what_it_is_there_for() {
        let honest = measurement();
        let with = |change: &dyn Fn(&mut Measurement)| {
            let mut changed = honest.clone();
            change(&mut changed);
            broken(&case(&changed))
        };
        assert_eq!(with(&|m| m.phases.measure_ns = 9_000_000), ["wall-clock"]);
        assert_eq!(with(&|m| m.cycles.calls_per_round = 1000), ["cpu-time"]);
        assert_eq!(with(&|m| m.cycles.ticks_per_cycle = 0.01), ["core-clock"]);
        assert_eq!(with(&|m| m.cycles.isolated = vec![100.0; 41]), ["ipc"]);
        let absurd = |m: &mut Measurement| {
            m.cycles.isolated = vec![1e9; 41];
            m.counts = Counting::Impossible(NotCountable::TooLong);
        };
        assert_eq!(with(&absurd), ["cpu-time", "cycles"]);
        let many = |m: &mut Measurement| {
            let single_flops = [2048, 0, 0, 0];
            let counts = Counts { instructions: 1 << 40, single_flops, ..Counts::default() };
            m.counts = Counting::Counted(Box::new(counts));
        };
        assert_eq!(with(&many), ["ipc", "instructions"]);

        let outside = |change: &dyn Fn(&mut Case<'_>)| {
            let mut changed = case(&honest);
            change(&mut changed);
            broken(&changed)
        };
        let used = |usage: Usage| Some((ExitStatus::Code(0), usage));
        assert_eq!(outside(&|c| c.exit = Some((ExitStatus::Code(9), usage()))), ["exit-code"]);
        assert_eq!(outside(&|c| c.exit = Some((ExitStatus::Signal(9), usage()))), ["exit-code"]);
        assert_eq!(outside(&|c| c.exit = used(Usage { user_us: 1000, ..usage() })), ["least-cpu-time"]);
        assert_eq!(outside(&|c| c.exit = used(Usage { user_us: 90_000, ..usage() })), ["unaccounted-time"]);
        assert_eq!(outside(&|c| c.exit = used(Usage { minor_faults: 60_000, ..usage() })), ["page-faults"]);
        let slow = Examined {
            correctness: Correctness::Verified,
            call_ticks: vec![30_000, 25_000],
            took: Duration::from_micros(300),
        };
        let mut changed = case(&honest);
        changed.examined = Some(&slow);
        assert_eq!(broken(&changed), ["checked-calls"]);
    }

    #[test]
    fn declared_work_that_was_not_done_is_suspect_where_outputs_were_not_verified() {
        let measurement = measurement();
        let with = |declared: Declared| broken(&Case { declared, ..case(&measurement) });
        // 1020 cycles a call, and twenty for what a short one may be wrong by.
        assert_eq!(with(declared(&[], 250 * 1020, 0)), ["flop-executed"]);
        assert_eq!(with(declared(&[], 260 * 1020, 0)), ["flop-rate", "flop-executed"]);
        assert_eq!(with(declared(&[], 0, 760 * 1020)), [""; 0]);
        assert_eq!(with(declared(&[], 0, 780 * 1020)), ["byte-rate"]);
        assert_eq!(with(declared(&[2.0], 4098, 0)), ["flop-executed"]);
        assert_eq!(with(declared(&[], 4096, 0)), [""; 0], "half of it may be saved");
        for trivial in [0.0, 1.0, -1.0] {
            assert_eq!(with(declared(&[trivial], 8192, 0)), [""; 0], "a factor of {trivial} needs no work");
        }
        let verified =
            Examined { correctness: Correctness::Verified, call_ticks: Vec::new(), took: Duration::ZERO };
        let declared = declared(&[], 1 << 40, 1 << 40);
        assert_eq!(broken(&Case { declared, examined: Some(&verified), ..case(&measurement) }), [""; 0]);
    }

    #[test]
    fn a_core_that_was_taken_away_is_no_lie() {
        let mut measurement = measurement();
        measurement.cycles.calls_per_round = 1000;
        let switched = Usage { involuntary_switches: 2, ..usage() };
        let case = Case {
            exit: Some((ExitStatus::Code(0), switched)),
            wall: Duration::from_millis(60),
            ..case(&measurement)
        };
        assert_eq!(broken(&case), [""; 0]);
    }

    #[test]
    fn a_broken_rule_is_named_with_what_was_claimed_and_what_is_possible() {
        let mut measurement = measurement();
        measurement.phases.measure_ns = 90_000_000;
        let findings = findings(&case(&measurement));
        let complaints: Vec<_> =
            findings.iter().filter_map(|(rule, finding)| complaint(rule, finding)).collect();
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].contains("90080.0 us where the most possible is 8548.0"), "{complaints:?}");
        assert!(complaints[0].contains("rule wall-clock"), "{complaints:?}");
    }
}
