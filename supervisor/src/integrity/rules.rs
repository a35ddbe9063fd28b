//! Every rule, and how each judges a case.
//!
//! A rule says what a claim can be at least and at most, by what was seen from outside and by what no CPU can do.

use std::time::Duration;

use webrunner_protocol::control::ExitStatus;
use webrunner_protocol::job::Effort;
use webrunner_protocol::reply::Gate;

use super::facts::{Facts, SLACK_US};
use super::{Finding, Rule, work};

/// Every rule.
pub const RULES: [Rule; 14] = [
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
        words: "the fastest of the checked calls took no more than four times the cycles it reports",
        unit: "cycles",
        judge: checked_calls,
    },
    Rule {
        name: "flop-rate",
        words: "outputs not being verified, no more declared operations a cycle than four times what any core does",
        unit: "flop/cycle",
        judge: work::flop_rate,
    },
    Rule {
        name: "byte-rate",
        words: "outputs not being verified, no more declared bytes a cycle than four times what any core moves",
        unit: "bytes/cycle",
        judge: work::byte_rate,
    },
    Rule {
        name: "flop-executed",
        words: "outputs not being verified, the counted call executed at least half of the declared operations",
        unit: "flop",
        judge: work::flop_executed,
    },
];

/// Fastest clock any core has, in cycles a microsecond, and the slowest.
const MHZ: (f64, f64) = (100.0, 7000.0);

/// Most instructions any core retires in a cycle.
const MOST_IPC: f64 = 8.0;

/// CPU time a worker may use beside its job, for its own making and ending; some 0.4 ms is usual. For each gigabyte of
/// buffers it may take a second more.
const OWN_US: f64 = 10e3;

/// Cycles that a call from the cold may take beside its work: code and stack to bring in, branches to learn. Some 400
/// are usual.
const COLD_CYCLES: f64 = 4e3;

/// Cycles by which the figure of a short call may be wrong.
pub(super) const SHORT_CALL_CYCLES: f64 = 20.0;

/// Bytes of a worker's memory beside its buffers: the largest image, the stack, the counting copy, the heap, its own.
const OTHER_BYTES: f64 = (64 + 8 + 8 + 24 + 16) as f64 * 1048576.0;

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
