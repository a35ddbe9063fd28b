//! Checked calls: what a worker is asked to show of what its function computes, and on which inputs.
//!
//! The figures come first, the questions after. A worker sends what the measured calls left behind, then its reply;
//! only then does it learn the [`Challenge`], from which the inputs of more calls follow. So nothing that runs
//! in it can know those inputs while it is measured, nor change its figures once it does.
//!
//! Both sides compute every byte a checked call begins with by [`prepare`], so only a seed crosses the socket one
//! way. What comes back has a length that follows from the call plan alone ([`outputs_bytes`]).

use serde::{Deserialize, Serialize};

use crate::fill::{fill, fill_some};
use crate::plan::{Buffer, CallPlan, Direction, ElementType, Fill};
use crate::reply::Returned;

/// That a worker is to show what its function computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checking {
    /// Buffers that every call writes without reading them, bit by bit: they may keep from one call to the next what is
    /// in them.
    pub kept: u32,
}

impl Checking {
    fn keeps(self, buffer: usize) -> bool {
        u32::try_from(buffer).is_ok_and(|bit| self.kept.checked_shr(bit).is_some_and(|rest| rest & 1 == 1))
    }
}

/// The calls whose outcome is shown, in the order in which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The measured calls: their state after the last one.
    Measured,
    /// One call on the measured inputs with about one element in 64 changed, and as much of the last output spoilt: a
    /// function that looks at a few elements to see whether it has to work finds nothing new. Of several such calls
    /// it may find something new in one, hardly in all.
    Altered {
        /// Which of them.
        round: u8,
    },
    /// One call on inputs that are all new.
    Fresh,
}

impl Stage {
    /// Those that follow the challenge.
    pub const CHALLENGED: [Self; 4] =
        [Self::Altered { round: 0 }, Self::Altered { round: 1 }, Self::Altered { round: 2 }, Self::Fresh];
}

/// What a worker is sent once it has replied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// Decides what the inputs of the checked calls are; drawn by the supervisor for this job alone.
    pub seed: u64,
}

const MAGIC: [u8; 8] = *b"WRchalle";

impl Challenge {
    /// Bytes it takes.
    pub const BYTES: usize = 16;

    /// Writes it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..].copy_from_slice(&self.seed.to_le_bytes());
        bytes
    }

    /// Reads it; `None` for anything else.
    #[must_use]
    pub fn parse(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let (magic, seed) = bytes.split_first_chunk::<8>()?;
        (*magic == MAGIC).then_some(Self { seed: u64::from_le_bytes(seed.try_into().ok()?) })
    }
}

/// What precedes the buffers of a stage: the call itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallRecord {
    /// TSC ticks the call took; 0 where they are told elsewhere.
    pub ticks: u64,
    /// What it returned.
    pub returned: Returned,
}

impl CallRecord {
    /// Bytes it takes.
    pub const BYTES: usize = 24;

    /// Writes it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (place, word) in
            bytes.chunks_exact_mut(8).zip([self.ticks, self.returned.integer, self.returned.vector])
        {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads it.
    #[must_use]
    pub fn parse(bytes: &[u8; Self::BYTES]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |index: usize| words.get(index).copied().map_or(0, u64::from_le_bytes);
        Self { ticks: word(0), returned: Returned { integer: word(1), vector: word(2) } }
    }
}

/// Bytes that a stage of this plan is: the call's record, then the elements of every buffer in order. `None` if that
/// overflows.
#[must_use]
pub fn outputs_bytes(plan: &CallPlan) -> Option<u64> {
    plan.buffers.iter().try_fold(CallRecord::BYTES as u64, |sum, buffer| sum.checked_add(buffer.bytes()?))
}

/// Puts in `bytes` what buffer `index` of a plan holds before the call of `stage`.
///
/// `bytes` holds the buffer as the last call left it, which matters only where it is kept.
pub fn prepare(
    stage: Stage,
    checking: Checking,
    buffer: &Buffer,
    index: usize,
    seeds: Seeds,
    bytes: &mut [u8],
) {
    match stage {
        Stage::Measured => fill(buffer, seeds.measured, index, bytes),
        Stage::Altered { round } => {
            if !checking.keeps(index) {
                fill(buffer, seeds.measured, index, bytes);
            }
            let spoilt = if checking.keeps(index) { poison(buffer) } else { *buffer };
            fill_some(&spoilt, seeds.challenge.rotate_left(8 * u32::from(round)), index, bytes, ALTERED);
        }
        Stage::Fresh => fill(&fresh(buffer), !seeds.challenge, index, bytes),
    }
}

/// Where numbers come from: of the measured calls, and of the checked ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seeds {
    /// Of the job.
    pub measured: u64,
    /// Of the challenge.
    pub challenge: u64,
}

/// One element in so many is altered.
const ALTERED: u64 = 64;

/// A buffer whose contents give no hint of what is to be written there.
fn poison(buffer: &Buffer) -> Buffer {
    Buffer { fill: Fill::Uniform, ..*buffer }
}

/// What a buffer is filled with where all is new.
///
/// Sums of numbers of both signs are small beside their terms, and so is what a check can tell of them; all of one sign,
/// they show every part that was left out.
fn fresh(buffer: &Buffer) -> Buffer {
    match (buffer.direction, buffer.fill, buffer.element) {
        (Direction::Out, ..) => poison(buffer),
        (_, Fill::Uniform, ElementType::Float | ElementType::Double) => {
            Buffer { fill: Fill::Range { low: 0.0, high: 1.0 }, ..*buffer }
        }
        _ => *buffer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEDS: Seeds = Seeds { measured: 1, challenge: 2 };

    fn buffer(elements: u64, fill: Fill, direction: Direction) -> Buffer {
        Buffer { elements, element: ElementType::Float, offset: 0, fill, direction }
    }

    fn prepared(stage: Stage, kept: u32, buffer: &Buffer, before: &[u8]) -> Vec<[u8; 4]> {
        let mut bytes = before.to_vec();
        prepare(stage, Checking { kept }, buffer, 0, SEEDS, &mut bytes);
        bytes.as_chunks::<4>().0.to_vec()
    }

    #[test]
    fn a_challenge_is_read_as_it_was_written_and_nothing_else_is_one() {
        let challenge = Challenge { seed: 0x0123_4567_89ab_cdef };
        let mut bytes = challenge.to_bytes();
        assert_eq!(Challenge::parse(&bytes), Some(challenge));
        bytes[0] ^= 1;
        assert_eq!(Challenge::parse(&bytes), None);
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = CallRecord { ticks: 1, returned: Returned { integer: 2, vector: u64::MAX } };
        assert_eq!(CallRecord::parse(&record.to_bytes()), record);
    }

    #[test]
    fn an_altered_input_is_the_measured_one_but_for_some_elements() {
        let buffer = buffer(4096, Fill::Uniform, Direction::In);
        let measured = prepared(Stage::Measured, 0, &buffer, &[0; 4 * 4096]);
        let altered = prepared(Stage::Altered { round: 0 }, 0, &buffer, &[0xff; 4 * 4096]);
        let changed = measured.iter().zip(&altered).filter(|(one, other)| one != other).count();
        assert!((30..120).contains(&changed), "{changed}");
    }

    #[test]
    fn an_output_that_is_kept_is_spoilt_in_some_places_and_left_alone_in_others() {
        let buffer = buffer(4096, Fill::Zero, Direction::Out);
        let answer = [0x3f; 4 * 4096];
        let kept = prepared(Stage::Altered { round: 0 }, 1, &buffer, &answer);
        let changed = kept.iter().filter(|element| **element != [0x3f; 4]).count();
        assert!((30..120).contains(&changed), "{changed}");
    }

    #[test]
    fn even_one_element_is_altered() {
        let buffer = buffer(1, Fill::Uniform, Direction::In);
        assert_ne!(
            prepared(Stage::Measured, 0, &buffer, &[0; 4]),
            prepared(Stage::Altered { round: 0 }, 0, &buffer, &[0; 4])
        );
    }

    #[test]
    fn fresh_outputs_hold_nothing_that_was_there_and_fresh_inputs_are_of_one_sign() {
        let output = buffer(64, Fill::Zero, Direction::Out);
        assert!(prepared(Stage::Fresh, 1, &output, &[0; 256]).iter().all(|element| *element != [0; 4]));
        let input = buffer(64, Fill::Uniform, Direction::In);
        let values = prepared(Stage::Fresh, 0, &input, &[0; 256]).into_iter().map(f32::from_le_bytes);
        assert!(values.into_iter().all(|value| (0.0..=1.0).contains(&value)));
    }

    #[test]
    fn what_a_kernel_fixes_stays_as_it_is() {
        let one = buffer(1, Fill::Constant(1.0), Direction::In);
        for stage in [Stage::Measured, Stage::Altered { round: 0 }, Stage::Fresh] {
            assert_eq!(prepared(stage, 0, &one, &[0; 4]), [1.0_f32.to_le_bytes()], "{stage:?}");
        }
    }
}
