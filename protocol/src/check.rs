//! Checked calls: what a worker is asked to show of what its function computes, and on which inputs.
//!
//! The figures come first, the questions after. A worker sends what the measured calls left behind, then its reply;
//! only then does it learn the [`Challenge`], from which the inputs of more calls follow. So nothing that runs
//! in it can know those inputs while it is measured, nor change its figures once it does.
//!
//! Both sides compute every byte a checked call begins with ([`prepare`], [`Prepared`]), so only a seed crosses the socket
//! one way. What comes back has a length that follows from the call plan and the stage alone ([`outputs_bytes`]). Buffers
//! that are too large to be sent are shown in [`BLOCKS`] places that the challenge decides too ([`shown`]).

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::fill::{Choice, Contents, draw, fill, fill_some};
use crate::limits::MAX_OUTPUTS_BYTES;
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

/// Places in which a buffer is shown that is too large to be shown whole.
pub const BLOCKS: u64 = 4096;

/// Bytes shown in each place.
pub const BLOCK_BYTES: u64 = 64;

/// Whether the buffers of a plan are shown in places only: together they are more than a frame holds.
#[must_use]
pub fn is_sampled(plan: &CallPlan) -> bool {
    let whole = plan
        .buffers
        .iter()
        .try_fold(CallRecord::BYTES as u64, |sum, buffer| sum.checked_add(buffer.bytes()?));
    whole.is_none_or(|bytes| bytes > MAX_OUTPUTS_BYTES as u64)
}

/// Bytes that a stage of this plan is: the call's record, then what is shown of every buffer in order.
#[must_use]
pub fn outputs_bytes(plan: &CallPlan, stage: Stage) -> u64 {
    let of = |buffer: &Buffer| {
        let width = buffer.element.bytes();
        shown(plan, stage, buffer, 0, 0).map(move |part| (part.end - part.start).saturating_mul(width))
    };
    plan.buffers.iter().flat_map(of).fold(CallRecord::BYTES as u64, u64::saturating_add)
}

/// The elements of buffer `index` of a plan that a stage shows, in order.
///
/// Where that is a sample, each of [`BLOCKS`] equal parts of the buffer has a block somewhere in it, the first at its very
/// beginning and the last at its very end: nothing longer than two parts is left out for certain. What the measured calls
/// left is then not shown at all: a worker that knew where would know too much while it is measured.
pub fn shown(
    plan: &CallPlan,
    stage: Stage,
    buffer: &Buffer,
    index: usize,
    challenge: u64,
) -> impl Iterator<Item = Range<u64>> + use<> {
    let elements = buffer.elements;
    let block = BLOCK_BYTES / buffer.element.bytes();
    let seeds = Seeds { measured: 0, challenge };
    let seed = match stage {
        Stage::Measured | Stage::Fresh => seeds.fresh(),
        Stage::Altered { round } => seeds.altered(round),
    };
    let (whole, blocks) = match (is_sampled(plan), stage) {
        (false, _) => (true, 0),
        (true, Stage::Measured) => (false, 0),
        (true, _) if elements <= BLOCKS * block => (true, 0),
        (true, _) => (false, BLOCKS),
    };
    // Neither overflows: buffers of a checked plan are within the memory limit.
    let sample = (0..blocks).map(move |part| {
        let (start, end) = (part * elements / BLOCKS, (part + 1) * elements / BLOCKS);
        let room = (end - start).saturating_sub(block);
        let first = match part {
            0 => 0,
            last if last == BLOCKS - 1 => elements - block,
            _ => start + draw(seed, index, part, room + 1),
        };
        first..first + block
    });
    whole.then_some(0..elements).into_iter().chain(sample)
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
            fill_some(&spoilt, seeds.altered(round), index, bytes, ALTERED);
        }
        Stage::Fresh => fill(&fresh(buffer, index, seeds), seeds.fresh(), index, bytes),
    }
}

/// What a buffer holds before the call of a stage, an element at a time, once [`prepare`] was called for each stage up to
/// that one. Answers of the calls in between are left out: they are only where this call writes without reading.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What was put in some places, the last first.
    altered: Vec<(Choice, Contents)>,
    elsewhere: Contents,
}

impl Prepared {
    /// Buffer `index` of a plan.
    #[must_use]
    pub fn of(stage: Stage, checking: Checking, buffer: &Buffer, index: usize, seeds: Seeds) -> Self {
        let measured = Contents::of(buffer, seeds.measured, index);
        let (altered, elsewhere) = match stage {
            Stage::Measured => (Vec::new(), measured),
            Stage::Fresh => (Vec::new(), Contents::of(&fresh(buffer, index, seeds), seeds.fresh(), index)),
            Stage::Altered { round } => {
                // What was spoilt for one call is still there at the next, if no call writes there.
                let first = if checking.keeps(index) { 0 } else { round };
                let spoilt = if checking.keeps(index) { poison(buffer) } else { *buffer };
                let of = |round: u8| {
                    let seed = seeds.altered(round);
                    (Choice::of(&spoilt, seed, index, ALTERED), Contents::of(&spoilt, seed, index))
                };
                ((first..=round).rev().map(of).collect(), measured)
            }
        };
        Self { altered, elsewhere }
    }

    /// Element `at`, little endian, in the first of these bytes; those past its width mean nothing.
    #[must_use]
    #[inline]
    pub fn element(&self, at: u64) -> [u8; 8] {
        let altered = self.altered.iter().find(|(choice, _)| choice.takes(at));
        altered.map_or(&self.elsewhere, |(_, contents)| contents).element(at)
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

impl Seeds {
    fn altered(self, round: u8) -> u64 {
        self.challenge.rotate_left(8 * u32::from(round))
    }

    fn fresh(self) -> u64 {
        !self.challenge
    }
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
/// they show every part that was left out. How large they are is drawn too: of many numbers, the sum would else be known
/// beforehand.
fn fresh(buffer: &Buffer, index: usize, seeds: Seeds) -> Buffer {
    match (buffer.direction, buffer.fill, buffer.element) {
        (Direction::Out, ..) => poison(buffer),
        (_, Fill::Uniform, ElementType::Float | ElementType::Double) => {
            let high =
                0.25 + draw(seeds.fresh(), index, u64::MAX, 1 << 20) as f64 * (0.75 / f64::from(1 << 20));
            Buffer { fill: Fill::Range { low: 0.0, high }, ..*buffer }
        }
        _ => *buffer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ReturnType;

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
    fn a_buffer_can_be_prepared_an_element_at_a_time() {
        let stages = [Stage::Measured].into_iter().chain(Stage::CHALLENGED);
        for (kept, direction) in [(0, Direction::In), (0, Direction::InOut), (1, Direction::Out)] {
            let buffer = buffer(4096, Fill::Uniform, direction);
            let mut bytes = vec![0; 4 * 4096];
            for stage in stages.clone() {
                prepare(stage, Checking { kept }, &buffer, 0, SEEDS, &mut bytes);
                let prepared = Prepared::of(stage, Checking { kept }, &buffer, 0, SEEDS);
                for (at, expected) in (0..).zip(bytes.chunks(4)) {
                    assert_eq!(&prepared.element(at)[..4], expected, "{stage:?}, {direction:?}, {at}");
                }
            }
        }
    }

    fn plan(elements: u64) -> CallPlan {
        let buffers =
            vec![buffer(elements, Fill::Uniform, Direction::InOut), buffer(1, Fill::Zero, Direction::In)];
        CallPlan { arguments: Vec::new(), buffers, returns: ReturnType::Void }
    }

    #[test]
    fn what_fits_a_frame_is_shown_whole() {
        let plan = plan(1000);
        for stage in [Stage::Measured, Stage::Fresh] {
            assert!(shown(&plan, stage, &plan.buffers[0], 0, 1).eq([0..1000]));
            assert_eq!(outputs_bytes(&plan, stage), 24 + 4004);
        }
    }

    #[test]
    fn larger_buffers_are_shown_in_places_all_over_that_the_challenge_decides() {
        for elements in [5_000_000, 5_000_001, 60_000_000] {
            let plan = plan(elements);
            let parts =
                |stage, challenge| shown(&plan, stage, &plan.buffers[0], 0, challenge).collect::<Vec<_>>();
            let some = parts(Stage::Fresh, 1);
            assert_eq!((some.len() as u64, some[0].start, some[4095].end), (BLOCKS, 0, elements));
            assert!(some.iter().all(|part| part.end - part.start == 16));
            let longest = some.windows(2).map(|pair| pair[1].start.checked_sub(pair[0].end).unwrap()).max();
            assert!(longest.is_some_and(|gap| gap < 2 * elements.div_ceil(BLOCKS)), "{longest:?}");
            assert_ne!(some, parts(Stage::Fresh, 2));
            assert_ne!(some, parts(Stage::Altered { round: 0 }, 1));
            assert!(parts(Stage::Measured, 1).is_empty());
            assert!(
                shown(&plan, Stage::Fresh, &plan.buffers[1], 1, 1).eq([0..1]),
                "a small one is shown whole"
            );
            assert_eq!(outputs_bytes(&plan, Stage::Fresh), 24 + 4096 * 64 + 4);
            assert_eq!(outputs_bytes(&plan, Stage::Measured), 24);
        }
    }

    #[test]
    fn what_a_kernel_fixes_stays_as_it_is() {
        let one = buffer(1, Fill::Constant(1.0), Direction::In);
        for stage in [Stage::Measured, Stage::Altered { round: 0 }, Stage::Fresh] {
            assert_eq!(prepared(stage, 0, &one, &[0; 4]), [1.0_f32.to_le_bytes()], "{stage:?}");
        }
    }
}
