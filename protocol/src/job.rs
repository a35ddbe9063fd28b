//! Supervisor to worker: one job.

use serde::{Deserialize, Serialize};

use crate::check::Checking;
use crate::ids::JobId;
use crate::plan::CallPlan;

/// Everything a worker is told. The object's bytes follow the encoded job on the socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Echoed in the reply.
    pub id: JobId,
    /// Chooses the addresses the job's memory lies at; random, so that no two jobs share a layout.
    pub layout_seed: u64,
    /// What to do.
    pub work: Work,
}

/// The kinds of job. Each has its own worker profile; nothing outside the variant may assume it is the only one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Work {
    /// Load an object, call a function in it, measure the calls.
    Kernel(KernelWork),
}

/// A function to load, call and measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelWork {
    /// Which function.
    pub entry: EntryRule,
    /// How to call it.
    pub call: CallPlan,
    /// How much time to spend on a steady answer.
    pub effort: Effort,
    /// Whether one more call is made to count what it executes, instruction by instruction.
    pub counts: bool,
    /// Seed of [`Fill::Uniform`](crate::plan::Fill::Uniform).
    pub fill_seed: u64,
    /// Whether the worker is to show what the function computes.
    pub checking: Option<Checking>,
}

/// Which function of the object to call.
///
/// In this order: the symbol named by the client, which must exist; the symbol named as the kernel; the only global
/// function; for an object without symbols, the start of its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRule {
    /// `_symbol` of the request.
    pub symbol: Option<String>,
    /// Name of the kernel, its namespace left out.
    pub kernel: String,
}

/// How much time a measurement may take to become steady.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// Microseconds: a few short rounds, not gated. For smoke tests and high rates.
    Quick,
    /// Milliseconds: gated rounds until 41 are clean, for at most 400 ms.
    Standard,
    /// Tens of milliseconds: gated rounds until 164 are clean, for at most 2 s.
    Thorough,
}

impl Effort {
    /// Every effort, least first.
    pub const ALL: [Self; 3] = [Self::Quick, Self::Standard, Self::Thorough];

    /// The name used in requests and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Standard => "standard",
            Self::Thorough => "thorough",
        }
    }
}
