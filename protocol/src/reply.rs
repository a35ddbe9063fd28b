//! Worker to supervisor: the one answer to a job.
//!
//! A measurement keeps three things apart: raw samples (here), their summary and the doubts about them (both made by
//! the supervisor from what is here). Decoding gives a well-formed value, [`Reply::check`] a sane one.

use serde::{Deserialize, Serialize};

use crate::counts::Counting;
use crate::fault::Fault;
use crate::ids::JobId;
use crate::limits::{MAX_COUNTERS, MAX_FEATURES, MAX_PLACEMENTS, MAX_ROUNDS};
use crate::passes::EventCounts;
use crate::refusal::{Name, Refusal};
use crate::stack::StackUse;

/// What a worker says, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[must_use]
pub struct Reply {
    /// The job it answers.
    pub job: JobId,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a job ended, as far as the worker can tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// The function ran and was measured.
    Measured(Box<Measurement>),
    /// The object or the plan was not taken; nothing ran.
    Refused(Refusal),
    /// The function raised a signal.
    Faulted(Fault),
    /// The worker itself failed; the client is not to blame.
    Failed(WorkerFailure),
}

/// Raw results of a measured function.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Measurement {
    /// Which function ran.
    pub entry: EntryPoint,
    /// What its first call returned.
    pub returned: Returned,
    /// Cycles per call.
    pub cycles: CycleSamples,
    /// Events the kernel itself counted.
    pub counters: Vec<CounterReading>,
    /// Events the hardware counted.
    pub events: EventCounts,
    /// What one call executed, instruction by instruction.
    pub counts: Counting,
    /// What can be said of its code without running it; `None` at quick effort, unless it was counted.
    pub code: Option<CodeFacts>,
    /// What the function left behind that a caller would not expect.
    pub findings: Findings,
    /// How long the parts of the job took.
    pub phases: Phases,
    /// Whether the worker now waits for a challenge.
    pub outputs: Outputs,
}

/// What a worker will show of what the function computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Outputs {
    /// The job did not ask.
    #[default]
    NotAsked,
    /// The measured calls' have been sent, and the worker waits for a [`Challenge`](crate::check::Challenge).
    Shown,
    /// The function runs too long to be called again.
    TooLong,
    /// The process ended before it could be challenged: its counting copy raised a signal.
    Lost,
}

/// The function that was called.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EntryPoint {
    /// Its symbol, if it has one.
    pub symbol: Option<Name>,
    /// Bytes past the start of the object's text.
    pub offset: u64,
}

/// What the first call returned, as the registers held it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Returned {
    /// `rax`
    pub integer: u64,
    /// The low 64 bits of `xmm0`.
    pub vector: u64,
}

/// Cycles per call by the `tsc-chain` method.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CycleSamples {
    /// Core cycles per call with a fence on both sides, one value a round, overhead taken out; the rounds that count.
    pub isolated: Vec<f64>,
    /// Core cycles per call with calls back to back, one value a round, nothing taken out; the same rounds. Empty where
    /// that was not measured: quick effort, or a call so long that overlap is nothing beside it.
    pub throughput: Vec<f64>,
    /// Core cycles per call as a hardware counter has them, overhead taken out; one value for each round that counts and
    /// that was counted. Empty where there is no such counter.
    pub counted: Vec<f64>,
    /// How the rounds that count were chosen.
    pub gate: Gate,
    /// What each place in memory gave, in the order they were tried; empty where rounds were not told apart by it.
    pub placements: Vec<Placement>,
    /// Rounds measured and left out.
    pub dropped: u32,
    /// Rounds, among all, in which the core was taken from the process; `None` where the kernel cannot tell, or nobody
    /// asked.
    pub preempted: Option<u32>,
    /// Calls in one round.
    pub calls_per_round: u32,
    /// Median overhead that was taken out, in core cycles per call: the intercept of the fit.
    pub overhead_cycles: f64,
    /// Median cost of calling an empty function, in core cycles, overhead taken out in the same way.
    pub empty_call_cycles: f64,
    /// Median length of a core cycle, in TSC ticks.
    pub ticks_per_cycle: f64,
    /// TSC ticks the first call took, caches cold.
    pub first_call_ticks: u64,
    /// Calls that found none of their buffers in a cache, where that was asked for.
    pub cold: Option<ColdCalls>,
}

/// What a function took at one place in memory.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Bytes past a 64-byte boundary at which it began.
    pub offset: u8,
    /// Median of its rounds: core cycles per isolated call; `None` if none passed the gate there.
    pub cycles: Option<f64>,
    /// Rounds that passed the gate there.
    pub rounds: u32,
    /// Whether it agrees with the others, so that its rounds count. A place without any does not.
    pub counts: bool,
}

/// Single calls, each after all buffers were flushed from the caches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ColdCalls {
    /// Core cycles per call, overhead taken out: the mean of the middle eight tenths.
    pub cycles: f64,
    /// Calls made.
    pub calls: u32,
}

/// How the rounds that count were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Gate {
    /// Each passed the clean-round rule, and there were enough of them.
    Clean,
    /// Too few were clean: the best-agreeing eighth of all.
    BestAgreeing,
    /// Not gated: a quick measurement, or a function so long that no clock round fits beside it.
    #[default]
    Ungated,
    /// Each passed the clean-round rule, but calling cost more in nearly all than on a core that nothing else uses: its
    /// other hardware thread was busy.
    Shared,
}

/// One event, counted over the calls of the measured rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CounterReading {
    /// Index of the event in the list the zygote reported when it started.
    pub event: u16,
    /// Count over all calls.
    pub count: u64,
    /// Calls it was counted over.
    pub calls: u64,
    /// Nanoseconds the group was enabled.
    pub time_enabled: u64,
    /// Nanoseconds it was on the counters; less than enabled means it was shared.
    pub time_running: u64,
}

/// Static facts about the code that the function may reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeFacts {
    /// Instructions found.
    pub instructions: u32,
    /// Bytes they take.
    pub bytes: u32,
    /// Instruction set extensions they need, as `/proc/cpuinfo` names them; those that every x86-64 CPU has are left out.
    pub needs: Vec<Name>,
    /// Bits of the widest vector register named; 0 if there is none.
    pub vector_bits: u16,
    /// Branches through registers or memory: there may be more code than was found.
    pub indirect_branches: bool,
    /// Instructions that only the kernel may execute.
    pub privileged: bool,
    /// Instructions that ask the kernel for something.
    pub system_calls: bool,
    /// Stack that the function uses.
    pub stack: StackUse,
}

/// What the function left behind. Each is a finding about the function, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Findings {
    /// Callee-saved registers that came back changed: bit 0 rbx, 1 rbp, 2 r12, 3 r13, 4 r14, 5 r15.
    pub clobbered: u8,
    /// rsp came back wrong.
    pub stack_pointer: bool,
    /// The direction flag came back set.
    pub direction_flag: bool,
    /// MXCSR's control bits came back changed.
    pub mxcsr: bool,
    /// The x87 stack was not empty, or its control word was changed.
    pub x87: bool,
    /// Upper halves of vector registers were left in use; `None` where the CPU cannot tell.
    pub dirty_upper: Option<bool>,
    /// Input buffers that no longer held what they were filled with, bit 0 the plan's first; `None` where nobody looked.
    pub mutated: Option<u32>,
}

/// Nanoseconds spent in the worker, by its own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Phases {
    /// Parsing, placing and relocating the object.
    pub load_ns: u64,
    /// Mapping and filling buffers.
    pub fill_ns: u64,
    /// Calling and measuring.
    pub measure_ns: u64,
    /// Analysing the code, making its counting copy and calling that once.
    pub count_ns: u64,
}

/// A failure that is WebRunner's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum WorkerFailure {
    /// The job frame could not be read or decoded.
    #[error("the worker could not read its job")]
    Job,
    /// Memory for the job could not be opened or protected; the number is `errno`.
    #[error("the worker could not prepare memory (errno {0})")]
    Memory(i32),
    /// The worker ran out of its own memory, or reached a state it should not.
    #[error("the worker stopped on an internal error")]
    Internal,
}

/// A reply that is well-formed but cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// It answers another job.
    #[error("the reply is for job {found}, expected {expected}")]
    WrongJob {
        /// The job it names.
        found: JobId,
        /// The job it should name.
        expected: JobId,
    },
    /// More of something than a worker sends.
    #[error("the reply holds {count} {what}, expected {least} to {most}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// Fewest a worker sends.
        least: usize,
        /// Most a worker sends.
        most: usize,
    },
    /// A figure that is NaN, infinite, or outside what a measurement can give.
    #[error("the reply's {what} is no possible figure")]
    Figure {
        /// Which figure.
        what: &'static str,
    },
}

/// No function runs for more cycles than this within any deadline: about 30 hours at 10 GHz.
const MOST_CYCLES: f64 = 1e15;

impl Reply {
    /// Holds the reply against the job it should answer and against what a measurement can give.
    ///
    /// # Errors
    /// The first thing that cannot be true.
    pub fn check(&self, expected: JobId) -> Result<(), ReplyError> {
        if self.job != expected {
            return Err(ReplyError::WrongJob { found: self.job, expected });
        }
        match &self.outcome {
            Outcome::Measured(measurement) => measurement.check(),
            Outcome::Refused(_) | Outcome::Faulted(_) | Outcome::Failed(_) => Ok(()),
        }
    }
}

impl Measurement {
    fn check(&self) -> Result<(), ReplyError> {
        let cycles = &self.cycles;
        check_count("rounds", cycles.isolated.len(), 1, MAX_ROUNDS)?;
        check_count("throughput rounds", cycles.throughput.len(), 0, MAX_ROUNDS)?;
        check_count("placements", cycles.placements.len(), 0, MAX_PLACEMENTS)?;
        for placement in &cycles.placements {
            check_figure("cycles at a placement", placement.cycles.unwrap_or_default())?;
        }
        check_figure("cold cycles", cycles.cold.map_or(0.0, |cold| cold.cycles))?;
        if let Some(code) = &self.code {
            check_count("instruction sets", code.needs.len(), 0, MAX_FEATURES)?;
        }
        check_count("counters", self.counters.len(), 0, MAX_COUNTERS)?;
        check_count("counted rounds", cycles.counted.len(), 0, MAX_ROUNDS)?;
        for &value in cycles.isolated.iter().chain(&cycles.throughput).chain(&cycles.counted) {
            check_figure("cycles", value)?;
        }
        check_figure("overhead", cycles.overhead_cycles)?;
        check_figure("empty call", cycles.empty_call_cycles)?;
        check_figure("ticks per cycle", cycles.ticks_per_cycle)?;
        if self.counters.iter().any(|reading| reading.calls == 0) {
            return Err(ReplyError::Figure { what: "calls of a counter" });
        }
        self.events.check()?;
        self.counts.check()
    }
}

pub(crate) fn check_count(
    what: &'static str,
    count: usize,
    least: usize,
    most: usize,
) -> Result<(), ReplyError> {
    if (least..=most).contains(&count) { Ok(()) } else { Err(ReplyError::Count { what, count, least, most }) }
}

/// A fitted figure may come out slightly below zero, never far.
fn check_figure(what: &'static str, value: f64) -> Result<(), ReplyError> {
    if value.is_finite() && value.abs() <= MOST_CYCLES { Ok(()) } else { Err(ReplyError::Figure { what }) }
}
