//! Whether what a worker says can be true, by what was seen from outside.
//!
//! A worker measures itself, and the function shares its process, so every figure is a claim. The kernel's account of the
//! process (CPU time, page faults, exit) and this process's clock are not. [`RULES`] holds the first against the second;
//! a claim that breaks one makes the result suspect. Rules bound what can be claimed, they do not prove it: a function
//! that spends the time it claims to spend breaks none. What the words mean is told in `docs/security.md`.

use std::time::Duration;

use webrunner_protocol::control::{ExitStatus, Usage};
use webrunner_protocol::job::Effort;
use webrunner_protocol::reply::{Gate, Measurement};

use crate::check::{Correctness, Examined};
use crate::summary::Summary;

/// A measurement and all that is known of it from outside.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What the worker says.
    pub measurement: &'a Measurement,
    /// What was asked for.
    pub effort: Effort,
    /// Bytes of all buffers of a call.
    pub buffer_bytes: u64,
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

/// Every rule.
pub const RULES: [Rule; 11] = [
    Rule {
        name: "exit-code",
        words: "the worker ended by itself after its last frame, with code 0",
        unit: "code",
        judge: exit_code,
    },
    Rule {
        name: "wall-clock",
        words: "the phases it reports took no longer than it had the job",
        unit: "us",
        judge: wall_clock,
    },
    Rule {
        name: "least-cpu-time",
        words: "it used at least the CPU time that its effort takes",
        unit: "us",
        judge: least_cpu_time,
    },
    Rule {
        name: "cpu-time",
        words: "the batches it reports took no more CPU time than it used",
        unit: "us",
        judge: cpu_time,
    },
    Rule {
        name: "unaccounted-time",
        words: "it used no more CPU time than the phases it reports explain",
        unit: "us",
        judge: unaccounted_time,
    },
    Rule {
        name: "cycles",
        words: "a core at 7 GHz could have run the cycles it reports in the CPU time it used",
        unit: "cycles",
        judge: cycles,
    },
    Rule {
        name: "core-clock",
        words: "the core's clock it reports is that of a CPU",
        unit: "MHz",
        judge: core_clock,
    },
    Rule {
        name: "ipc",
        words: "no more than 8 instructions a cycle, branches apart, which fuse with others",
        unit: "instructions/cycle",
        judge: ipc,
    },
    Rule {
        name: "instructions",
        words: "a core at 7 GHz could have run the instructions of its calls in the CPU time it used",
        unit: "instructions",
        judge: instructions,
    },
    Rule {
        name: "page-faults",
        words: "no more page faults than the memory of such a job has pages",
        unit: "faults",
        judge: page_faults,
    },
    Rule {
        name: "checked-calls",
        words: "the faster of the checked calls took no more than four times the cycles it reports",
        unit: "cycles",
        judge: checked_calls,
    },
];

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

/// Fastest clock any core has, in cycles a microsecond, and the slowest.
const MHZ: (f64, f64) = (100.0, 7000.0);

/// Most instructions any core retires in a cycle.
const MOST_IPC: f64 = 8.0;

/// Microseconds by which two clocks and two accounts of the same time may differ, beside one part in fifty.
const SLACK_US: f64 = 1e3;

/// Longest that a core is taken away at a time, nearly always.
const PREEMPTED_US: f64 = 20e3;

/// CPU time a worker uses beside its job: its own making and ending, and pages brought in at a gigabyte a second.
const OWN_US: f64 = 30e3;

/// Cycles that a call from the cold may take beside its work: code and stack to bring in, branches to learn.
const COLD_CYCLES: f64 = 20e3;

/// Cycles by which the figure of a short call may be wrong.
const SHORT_CALL_CYCLES: f64 = 20.0;

/// Bytes of a worker's memory beside its buffers: the largest image, the stack, the counting copy, the heap, its own.
const OTHER_BYTES: f64 = (64 + 8 + 8 + 24 + 16) as f64 * 1048576.0;

/// A case with what several rules need.
struct Facts<'a> {
    case: &'a Case<'a>,
    usage: Option<Usage>,
    /// Median of a call's isolated cycles.
    cycles: f64,
    /// Cycles of all calls that are reported, their overhead included.
    all_cycles: f64,
    /// Microseconds of a core cycle.
    cycle_us: Option<f64>,
    /// Calls in all rounds that are reported.
    calls: f64,
}

impl<'a> Facts<'a> {
    fn of(case: &'a Case<'a>) -> Self {
        let samples = &case.measurement.cycles;
        let median = |samples: &[f64]| Summary::median_of(samples).unwrap_or_default().max(0.0);
        let calls = f64::from(samples.calls_per_round) * samples.isolated.len() as f64;
        let cycles = median(&samples.isolated);
        // Back-to-back batches are as long as the others, whatever the calls in them.
        let isolated = calls * (cycles + samples.overhead_cycles.max(0.0));
        let cycle_us =
            (case.ticks_per_ms > 0).then(|| samples.ticks_per_cycle * 1e3 / case.ticks_per_ms as f64);
        Self {
            case,
            usage: case.exit.map(|(_, usage)| usage),
            cycles,
            all_cycles: isolated,
            cycle_us: cycle_us.filter(|us| *us > 0.0),
            calls,
        }
    }

    /// Microseconds of CPU time it used.
    fn cpu_us(&self) -> Option<f64> {
        self.usage.map(|usage| usage.user_us.saturating_add(usage.system_us) as f64)
    }

    /// Most that a clock can have shown it while it used that CPU time.
    fn clock_us(&self) -> Option<f64> {
        let preempted = self.usage?.involuntary_switches as f64 * PREEMPTED_US;
        Some(1.02 * self.cpu_us()? + SLACK_US + preempted)
    }

    /// Microseconds of all phases it reports.
    fn phases_us(&self) -> f64 {
        let phases = &self.case.measurement.phases;
        let all = [phases.load_ns, phases.fill_ns, phases.measure_ns, phases.count_ns];
        all.into_iter().map(|ns| ns as f64 / 1e3).sum()
    }

    /// Instructions of one call that can each be one of the eight.
    fn instructions(&self) -> Option<f64> {
        let counts = self.case.measurement.counts.whole()?;
        Some(counts.instructions.saturating_sub(counts.branches) as f64)
    }

    fn is_quick(&self) -> bool {
        self.case.effort == Effort::Quick
    }
}

/// A claim that can be no greater than `most`, if that is known.
fn at_most(claimed: f64, most: Option<f64>) -> Finding {
    most.map_or(Finding::Unknown, |most| Finding::Held { claimed, least: 0.0, most })
}

fn exit_code(facts: &Facts<'_>) -> Finding {
    match facts.case.exit {
        None => Finding::Unknown,
        Some((ExitStatus::Code(code), _)) => Finding::Held { claimed: code.into(), least: 0.0, most: 0.0 },
        // What a shell makes of it.
        Some((ExitStatus::Signal(signal), _)) => {
            Finding::Held { claimed: f64::from(128 + signal), least: 0.0, most: 0.0 }
        }
    }
}

fn wall_clock(facts: &Facts<'_>) -> Finding {
    at_most(facts.phases_us(), Some(1.02 * facts.case.wall.as_micros() as f64 + SLACK_US))
}

fn least_cpu_time(facts: &Facts<'_>) -> Finding {
    // Half of what the shortest measurement of that effort takes.
    let least = match facts.case.effort {
        Effort::Quick => return Finding::NotApplicable,
        Effort::Standard => 3e3,
        Effort::Thorough => 10e3,
    };
    facts.cpu_us().map_or(Finding::Unknown, |used| Finding::Held { claimed: used, least, most: f64::MAX })
}

fn cpu_time(facts: &Facts<'_>) -> Finding {
    let Some(cycle_us) = facts.cycle_us else { return Finding::Unknown };
    at_most(facts.all_cycles * cycle_us, facts.clock_us())
}

fn unaccounted_time(facts: &Facts<'_>) -> Finding {
    let checked = facts.case.examined.map_or(Duration::ZERO, |examined| examined.took);
    let own = OWN_US + facts.case.buffer_bytes as f64 / 1e3;
    facts.cpu_us().map_or(Finding::Unknown, |used| {
        at_most(used, Some(1.02 * (facts.phases_us() + checked.as_micros() as f64) + own))
    })
}

fn cycles(facts: &Facts<'_>) -> Finding {
    at_most(facts.all_cycles, facts.clock_us().map(|us| us * MHZ.1))
}

fn core_clock(facts: &Facts<'_>) -> Finding {
    // A quick fit is made of five readings of a microsecond, of which any may be disturbed.
    if facts.is_quick() || facts.case.measurement.cycles.gate != Gate::Clean {
        return Finding::NotApplicable;
    }
    let (least, most) = MHZ;
    facts.cycle_us.map_or(Finding::Unknown, |us| Finding::Held { claimed: us.recip(), least, most })
}

fn ipc(facts: &Facts<'_>) -> Finding {
    match facts.instructions() {
        Some(instructions) if facts.case.measurement.cycles.gate == Gate::Clean => {
            at_most(instructions / (facts.cycles + SHORT_CALL_CYCLES), Some(MOST_IPC))
        }
        _ => Finding::NotApplicable,
    }
}

fn instructions(facts: &Facts<'_>) -> Finding {
    match facts.instructions() {
        Some(instructions) => {
            at_most(instructions * facts.calls, facts.clock_us().map(|us| us * MHZ.1 * MOST_IPC))
        }
        None => Finding::NotApplicable,
    }
}

fn page_faults(facts: &Facts<'_>) -> Finding {
    const PAGE: f64 = 4096.0;
    let most = (facts.case.buffer_bytes as f64 + OTHER_BYTES) / PAGE;
    facts.usage.map_or(Finding::Unknown, |usage| at_most(usage.minor_faults as f64, Some(most)))
}

fn checked_calls(facts: &Facts<'_>) -> Finding {
    let samples = &facts.case.measurement.cycles;
    let fastest = facts.case.examined.and_then(|examined| examined.call_ticks.iter().min());
    match fastest {
        Some(&ticks) if samples.gate == Gate::Clean && samples.ticks_per_cycle > 0.0 => {
            let allowed = 4.0 * (facts.cycles + samples.overhead_cycles.max(0.0)) + COLD_CYCLES;
            at_most(ticks as f64 / samples.ticks_per_cycle, Some(allowed))
        }
        _ => Finding::NotApplicable,
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
    use webrunner_protocol::reply::{CycleSamples, EntryPoint, Findings, Outputs, Phases, Returned};

    use super::*;

    /// What a standard job of 1000 cycles a call looks like at 2 GHz, counter and core alike.
    fn measurement() -> Measurement {
        Measurement {
            entry: EntryPoint { symbol: None, offset: 0 },
            returned: Returned { integer: 0, vector: 0 },
            cycles: CycleSamples {
                isolated: vec![1000.0; 41],
                throughput: vec![950.0; 41],
                gate: Gate::Clean,
                dropped: 3,
                calls_per_round: 40,
                overhead_cycles: 37.0,
                empty_call_cycles: 13.0,
                ticks_per_cycle: 1.0,
                first_call_ticks: 5000,
            },
            counters: Vec::new(),
            counts: Counting::Counted(Box::new(Counts {
                instructions: 4000,
                branches: 500,
                ..Counts::default()
            })),
            findings: Findings::default(),
            phases: Phases { load_ns: 20_000, fill_ns: 10_000, measure_ns: 7_000_000, count_ns: 50_000 },
            outputs: Outputs::NotAsked,
        }
    }

    fn usage() -> Usage {
        Usage { user_us: 7200, system_us: 400, minor_faults: 200, ..Usage::default() }
    }

    fn case(measurement: &Measurement) -> Case<'_> {
        Case {
            measurement,
            effort: Effort::Standard,
            buffer_bytes: 8192,
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
            m.counts = Counting::Counted(Box::new(Counts { instructions: 1 << 40, ..Counts::default() }));
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
