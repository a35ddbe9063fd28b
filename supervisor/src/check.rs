//! Whether what a function computed is right: its outputs, held against the kernel's reference.
//!
//! Outputs come from the process that ran the function and may be anything; only their length is fixed, by the call
//! plan, before a byte of them is read. What the calls began with is computed here from seeds, never taken from the
//! worker. References run on another thread than the service, a few at a time. Of buffers beyond
//! [`MAX_OUTPUTS_BYTES`](webrunner_protocol::limits::MAX_OUTPUTS_BYTES) a sample comes back, in places that were drawn
//! after the figures were in, and what they held before is computed an element at a time; so a job that runs holds no
//! more than that limit, and a check at work as much again.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task;
use webrunner_kernels::{Before, Binding, Block, Observation, Place, Shown, Verdict};
use webrunner_protocol::check::{
    BLOCK_BYTES, BLOCKS, CallRecord, Checking, Prepared, Seeds, Stage, is_sampled, outputs_bytes, shown,
};
use webrunner_protocol::plan::{Buffer, ReturnType};

use crate::fault::CallNames;

/// A call whose outputs are to be checked.
#[derive(Debug)]
pub struct Examination {
    binding: Binding,
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

/// Checks at work at a time. One that works cannot be held up by anybody, so no client can keep others from theirs.
const AT_A_TIME: usize = 4;

static TURNS: Semaphore = Semaphore::const_new(AT_A_TIME);

impl Examination {
    /// Prepares the check of a call.
    ///
    /// # Errors
    /// Why it cannot be checked, in words.
    pub fn of(binding: Binding, measured_seed: u64) -> Result<Self, String> {
        if binding.check.is_none() {
            return Err("the kernel has no reference".to_owned());
        }
        Ok(Self { binding, measured_seed })
    }

    /// What the worker is told.
    #[must_use]
    pub fn checking(&self) -> Checking {
        Checking { kept: self.binding.kept() }
    }

    /// Bytes of a stage's outputs.
    #[must_use]
    pub fn outputs_bytes(&self, stage: Stage) -> usize {
        usize::try_from(outputs_bytes(&self.binding.plan, stage)).unwrap_or(usize::MAX)
    }

    /// What a right result says nothing about, in words; none if everything is looked at.
    #[must_use]
    pub fn left_out(&self) -> Option<String> {
        let sampled = is_sampled(&self.binding.plan).then(|| {
            format!("of each larger array {BLOCKS} places of {BLOCK_BYTES} bytes were looked at, drawn after the figures were in")
        });
        sampled.into_iter().chain(self.binding.left_out()).reduce(|one, other| format!("{one}; {other}"))
    }

    /// Judges the outputs of a stage, on a thread for such work.
    pub async fn judge(self: &Arc<Self>, stage: Stage, challenge: u64, outputs: Vec<u8>) -> Correctness {
        // It is never closed.
        let turn = TURNS.acquire().await;
        let this = Arc::clone(self);
        let judged = task::spawn_blocking(move || {
            // Held to the end even if the job's client leaves meanwhile.
            let _turn = turn;
            this.verdict(stage, challenge, &outputs)
        });
        judged.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a check failed");
            Correctness::Unchecked { reason: "the check failed".to_owned() }
        })
    }

    /// Whether a stage is judged. To add up hundreds of megabytes of inputs takes a second: where a number is returned,
    /// that is done for one call on altered inputs and for the one on fresh ones.
    fn is_judged(&self, stage: Stage) -> bool {
        let is_added_up = matches!(self.binding.plan.returns, ReturnType::Scalar(_));
        !(is_added_up && is_sampled(&self.binding.plan))
            || matches!(stage, Stage::Altered { round: 0 } | Stage::Fresh)
    }

    fn verdict(&self, stage: Stage, challenge: u64, outputs: &[u8]) -> Correctness {
        if !self.is_judged(stage) {
            return Correctness::Verified;
        }
        let (Some((record, mut rest)), true) =
            (outputs.split_first_chunk(), outputs.len() == self.outputs_bytes(stage))
        else {
            return Correctness::Unchecked {
                reason: "the outputs are not as long as they should be".to_owned(),
            };
        };
        let record = CallRecord::parse(record);
        let seeds = Seeds { measured: self.measured_seed, challenge };
        let (plan, checking) = (&self.binding.plan, self.checking());
        let buffers = || plan.buffers.iter().enumerate();
        let prepared: Vec<Prepared> =
            buffers().map(|(index, buffer)| Prepared::of(stage, checking, buffer, index, seeds)).collect();
        let after: Vec<Shown<'_>> = buffers()
            .map(|(index, buffer)| {
                let parts = shown(plan, stage, buffer, index, challenge);
                let block = |part: Range<u64>| take_block(&mut rest, buffer, &part);
                Shown::Blocks(parts.map(block).collect())
            })
            .collect();
        // What fits a frame is held, since a reference may read it many times.
        let held: Vec<Vec<u8>> = if is_sampled(plan) {
            Vec::new()
        } else {
            plan.buffers.iter().zip(&prepared).map(|(buffer, prepared)| bytes_of(buffer, prepared)).collect()
        };
        let before: Vec<Before<'_>> = if is_sampled(plan) {
            prepared.iter().map(Before::Prepared).collect()
        } else {
            held.iter().map(|bytes| Before::Bytes(bytes)).collect()
        };
        let seen =
            Observation { before: &before, after: &after, returned: record.returned, sample: challenge };
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

/// The elements of a buffer, all of them.
fn bytes_of(buffer: &Buffer, prepared: &Prepared) -> Vec<u8> {
    let width = usize::try_from(buffer.element.bytes()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(usize::try_from(buffer.elements).unwrap_or(0).saturating_mul(width));
    (0..buffer.elements).for_each(|at| bytes.extend(prepared.element(at).iter().take(width)));
    bytes
}

/// Takes the next elements off what came, whose length was checked.
fn take_block<'a>(rest: &mut &'a [u8], buffer: &Buffer, part: &Range<u64>) -> Block<'a> {
    let bytes = usize::try_from((part.end - part.start) * buffer.element.bytes()).unwrap_or(usize::MAX);
    let (bytes, others) = rest.split_at(bytes.min(rest.len()));
    *rest = others;
    Block { first: usize::try_from(part.start).unwrap_or(usize::MAX), bytes }
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

    /// Whether an output is known to be wrong.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong { .. } | Self::NoOutputs { .. })
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
