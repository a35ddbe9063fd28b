//! Whether what a function computed is right: its outputs, held against the kernel's reference.
//!
//! Outputs come from the process that ran the function and may be anything; only their length is fixed, by the call plan,
//! before a byte of them is read. What the calls began with is computed here from seeds, never taken from the worker.
//! References run on another thread than the service. A call with outputs beyond
//! [`MAX_OUTPUTS_BYTES`], or one that a reference would take too long for, is left unchecked with the reason, and all
//! checks together hold a bounded part of memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task;
use webrunner_kernels::{Binding, Observation, Place, Verdict};
use webrunner_protocol::check::{CallRecord, Checking, Seeds, Stage, outputs_bytes, prepare};
use webrunner_protocol::limits::MAX_OUTPUTS_BYTES;

use crate::fault::CallNames;

/// A call whose outputs are to be checked.
#[derive(Debug)]
pub struct Examination {
    binding: Binding,
    outputs_bytes: usize,
    measured_seed: u64,
}

/// What became of a check.
#[derive(Debug, Clone, PartialEq)]
pub enum Correctness {
    /// Every number of every call that was checked is right.
    Verified,
    /// A number is wrong; the first.
    Wrong {
        /// The call that gave it.
        stage: Stage,
        /// Where it stands.
        place: Place,
        /// What it should be, give or take `allowed`.
        expected: f64,
        /// What it is.
        got: f64,
        /// Error that would have been allowed.
        allowed: f64,
    },
    /// A checked call gave no outputs at all.
    NoOutputs {
        /// The call that gave none.
        stage: Stage,
        /// What it did instead, in words.
        reason: String,
    },
    /// Nothing can be said.
    Unchecked {
        /// Why, in words.
        reason: String,
    },
}

/// A check that was made, or came to nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Examined {
    /// Its result.
    pub correctness: Correctness,
    /// TSC ticks that the worker says each checked call took.
    pub call_ticks: Vec<u64>,
    /// Time from the challenge to the end of the worker's answer.
    pub took: Duration,
}

/// KiB that all checks together may hold.
const MEMORY_KIB: u32 = 128 << 10;

/// How often the outputs of a call are held at the same time: as they came, and as the buffers were before.
const COPIES: usize = 2;

const _: () = assert!(COPIES * MAX_OUTPUTS_BYTES / 1024 <= MEMORY_KIB as usize);

static MEMORY: Semaphore = Semaphore::const_new(MEMORY_KIB as usize);

impl Examination {
    /// Prepares the check of a call.
    ///
    /// # Errors
    /// Why it cannot be checked, in words.
    pub fn of(binding: Binding, measured_seed: u64) -> Result<Self, String> {
        if binding.check.is_none() {
            return Err("the kernel has no reference".to_owned());
        }
        let bytes = outputs_bytes(&binding.plan).unwrap_or(u64::MAX);
        match usize::try_from(bytes) {
            Ok(outputs_bytes) if outputs_bytes <= MAX_OUTPUTS_BYTES => {
                Ok(Self { binding, outputs_bytes, measured_seed })
            }
            _ => Err(format!(
                "the outputs take {bytes} bytes, and at most {MAX_OUTPUTS_BYTES} are checked; try a smaller problem"
            )),
        }
    }

    /// What the worker is told.
    #[must_use]
    pub fn checking(&self) -> Checking {
        Checking { kept: self.binding.kept() }
    }

    /// Bytes of each stage's outputs.
    #[must_use]
    pub fn outputs_bytes(&self) -> usize {
        self.outputs_bytes
    }

    /// Waits for room to check in.
    pub async fn room(&self) -> Option<SemaphorePermit<'static>> {
        let kib = (COPIES * self.outputs_bytes).div_ceil(1024);
        // The semaphore is never closed, and no check asks for more than there is.
        MEMORY.acquire_many(u32::try_from(kib).unwrap_or(MEMORY_KIB)).await.ok()
    }

    /// Judges the outputs of a stage, on a thread for such work.
    pub async fn judge(self: &Arc<Self>, stage: Stage, challenge: u64, outputs: Vec<u8>) -> Correctness {
        let this = Arc::clone(self);
        let judged = task::spawn_blocking(move || this.verdict(stage, challenge, &outputs)).await;
        judged.unwrap_or_else(|error| {
            tracing::error!(%error, "a check failed");
            Correctness::Unchecked { reason: "the check failed".to_owned() }
        })
    }

    /// Puts in `bytes` what buffer `index` held before the call of a stage, but for answers of the calls before it: those are
    /// only where this one writes without reading.
    fn prepare(&self, stage: Stage, index: usize, seeds: Seeds, bytes: &mut [u8]) {
        let buffer = &self.binding.plan.buffers[index];
        let mut step = |stage| prepare(stage, self.checking(), buffer, index, seeds, bytes);
        match stage {
            Stage::Measured | Stage::Fresh => step(stage),
            Stage::Altered { round } => {
                step(Stage::Measured);
                // What was spoilt for one call is still there at the next, if no call writes there.
                (0..=round).for_each(|round| step(Stage::Altered { round }));
            }
        }
    }

    fn verdict(&self, stage: Stage, challenge: u64, outputs: &[u8]) -> Correctness {
        let Some((record, mut rest)) = outputs.split_first_chunk() else {
            return Correctness::Unchecked { reason: "no outputs came".to_owned() };
        };
        let record = CallRecord::parse(record);
        let seeds = Seeds { measured: self.measured_seed, challenge };
        let mut before = Vec::with_capacity(self.binding.plan.buffers.len());
        let mut after = Vec::with_capacity(self.binding.plan.buffers.len());
        for (index, buffer) in self.binding.plan.buffers.iter().enumerate() {
            let bytes = usize::try_from(buffer.bytes().unwrap_or(0)).unwrap_or(0).min(rest.len());
            let (elements, others) = rest.split_at(bytes);
            rest = others;
            let mut old = vec![0; bytes];
            self.prepare(stage, index, seeds, &mut old);
            before.push(old);
            after.push(elements);
        }
        let before: Vec<&[u8]> = before.iter().map(Vec::as_slice).collect();
        let seen = Observation { before: &before, after: &after, returned: record.returned };
        let verdict = match stage {
            Stage::Measured => self.binding.verify_repeated(&seen),
            Stage::Altered { .. } | Stage::Fresh => self.binding.verify(&seen),
        };
        match verdict {
            Verdict::Verified => Correctness::Verified,
            Verdict::WrongOutput { place, expected, got, allowed } => {
                Correctness::Wrong { stage, place, expected, got, allowed }
            }
            Verdict::Unchecked { reason } => Correctness::Unchecked { reason },
        }
    }
}

impl Correctness {
    /// The word answers use.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Wrong { .. } | Self::NoOutputs { .. } => "wrong_output",
            Self::Unchecked { .. } => "unchecked",
        }
    }

    /// What is wrong, as a sentence; none if nothing is known to be.
    #[must_use]
    pub fn complaint(&self, names: &CallNames<'_>) -> Option<String> {
        match self {
            Self::Verified | Self::Unchecked { .. } => None,
            Self::Wrong { stage, place, expected, got, allowed } => Some(format!(
                "The output is wrong: after {}, {} is {got}, and {expected} is right (to within {allowed:e}). Times of a \
                 function that does not do its work mean nothing.",
                stage_words(*stage),
                match place {
                    Place::Returned => "the returned value".to_owned(),
                    Place::Element { buffer, index } => format!("{}[{index}]", argument(names, *buffer)),
                }
            )),
            Self::NoOutputs { stage, reason } => {
                Some(format!("The output is wrong: {} gave none, but {reason}.", stage_words(*stage)))
            }
        }
    }
}

/// The name of the argument that points to a buffer.
#[must_use]
pub fn argument(names: &CallNames<'_>, buffer: usize) -> String {
    names.buffer(u16::try_from(buffer).unwrap_or(u16::MAX))
}

/// The word answers use for a stage.
#[must_use]
pub fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Measured => "measured",
        Stage::Altered { .. } => "altered",
        Stage::Fresh => "fresh",
    }
}

fn stage_words(stage: Stage) -> &'static str {
    match stage {
        Stage::Measured => "the measured calls",
        Stage::Altered { .. } => "a call on inputs altered in places",
        Stage::Fresh => "a call on inputs it had not seen",
    }
}
