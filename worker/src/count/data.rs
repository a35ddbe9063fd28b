//! The memory a counting copy works with: where it saves registers, its counters, and where each block's copy lies.
//!
//! The copy shares it with the function, which may write what it likes there: what is read back is checked.
#![forbid(unsafe_code)]

use std::num::NonZeroU16;

use webrunner_protocol::counts::{NotCountable, Obstacle};

use super::walk::Analysis;

/// A word with a purpose of its own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slot {
    /// The function's rcx.
    Rcx,
    /// Its rax.
    Rax,
    /// A return address, less the start of the text.
    Window,
    /// Target of an indirect branch, as the function has it.
    Target,
    /// The same in the copy.
    Out,
    /// Offset in the text of the branch whose target is being looked for.
    From,
    /// Loop turns, calls and indirect branches that are left.
    Budget,
    /// rsp when the copy was called.
    EntryStack,
    /// Where to return to.
    EntryReturn,
    /// Why the call was stopped; 0 if it was not.
    Status,
}

/// Words before the counters.
const SLOTS: usize = 16;

/// Why a call of the copy was stopped, as the copy writes it: a kind, and above it an offset in the text.
pub(super) struct Status;

impl Status {
    pub(super) const RAN_OUT: u32 = 1;
    pub(super) const UNKNOWN_TARGET: u32 = 2;
    const OBSTACLES: [(u32, Obstacle); 4] = [
        (3, Obstacle::LeavesText),
        (4, Obstacle::NoInstruction),
        (5, Obstacle::Overlap),
        (6, Obstacle::Unsupported),
    ];

    /// `offset` is below [`MAX_TEXT_BYTES`](super::walk::MAX_TEXT_BYTES), so it fits.
    pub(super) fn obstacle(obstacle: Obstacle, offset: u32) -> u32 {
        let kind = Self::OBSTACLES.iter().find(|(_, known)| *known == obstacle).map_or(0, |(kind, _)| *kind);
        kind | offset << 8
    }
}

/// How a call of the copy ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It returned as the function does.
    Returned,
    /// Its budget was spent.
    RanOut,
    /// It came to something that cannot be counted.
    Stopped(NotCountable),
}

/// The memory while the copy is written.
pub struct Data<'a> {
    bytes: &'a mut [u8],
    address: u64,
    blocks: usize,
    counters: usize,
}

/// Counters of an analysed function: one for each block, then one for each repeated instruction.
fn counters(analysis: &Analysis) -> usize {
    analysis.blocks.len() + usize::from(analysis.repeated)
}

impl<'a> Data<'a> {
    /// Bytes that the copy of an analysed function needs.
    #[must_use]
    pub fn bytes(analysis: &Analysis) -> usize {
        (SLOTS + counters(analysis)) * 8 + analysis.text_bytes * 4
    }

    pub(super) fn new(analysis: &Analysis, bytes: &'a mut [u8], address: u64) -> Self {
        Self { bytes, address, blocks: analysis.blocks.len(), counters: counters(analysis) }
    }

    /// Address of a slot.
    pub(super) fn slot(&self, slot: Slot) -> u32 {
        self.address as u32 + slot as u32 * 8
    }

    /// Address of a block's counter.
    pub(super) fn counter(&self, block: usize) -> u32 {
        self.address as u32 + ((SLOTS + block) * 8) as u32
    }

    /// Address of the counter of a repeated instruction's elements.
    pub(super) fn elements(&self, number: NonZeroU16) -> u32 {
        self.counter(self.blocks + usize::from(number.get()) - 1)
    }

    /// Address of the table that holds, for each byte of text, the address of the copy of the block that begins there.
    pub(super) fn table(&self) -> u32 {
        self.counter(self.counters)
    }

    fn entry(&mut self, offset: usize) -> Option<&mut [u8; 4]> {
        let at = (SLOTS + self.counters) * 8 + offset * 4;
        self.bytes.get_mut(at..)?.first_chunk_mut()
    }

    pub(super) fn set_copy(&mut self, offset: usize, address: u32) {
        if let Some(entry) = self.entry(offset) {
            *entry = address.to_le_bytes();
        }
    }

    /// Address of the copy of the block that begins at `offset` of the text.
    pub(super) fn copy_of(&mut self, offset: usize) -> Option<u32> {
        self.entry(offset).map(|entry| u32::from_le_bytes(*entry)).filter(|&address| address != 0)
    }
}

fn word(data: &[u8], index: usize) -> u64 {
    data.as_chunks().0.get(index).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Puts the budget in place for the next call of the copy.
pub fn set_budget(data: &mut [u8], budget: u64) {
    if let Some(place) = data.as_chunks_mut().0.get_mut(Slot::Budget as usize) {
        *place = budget.to_le_bytes();
    }
}

/// How the call ended, and the counters: of the blocks, then of the repeated instructions.
#[must_use]
pub fn read(analysis: &Analysis, data: &[u8]) -> (Ending, Vec<u64>) {
    let status = word(data, Slot::Status as usize);
    let kind = status as u32 & 0xff;
    let obstacle = Status::OBSTACLES.iter().find(|(known, _)| *known == kind);
    let ending = match (kind, obstacle) {
        (0, _) => Ending::Returned,
        (Status::UNKNOWN_TARGET, _) => {
            let at = |offset: u64| Some(offset).filter(|&offset| offset < analysis.text_bytes as u64);
            let target = at(word(data, Slot::Target as usize).wrapping_sub(analysis.address));
            let offset = at(word(data, Slot::From as usize)).unwrap_or_default();
            Ending::Stopped(NotCountable::UnknownTarget { offset, target })
        }
        (_, Some(&(_, obstacle))) => {
            Ending::Stopped(NotCountable::Obstacle { obstacle, offset: status >> 8 })
        }
        _ => Ending::RanOut,
    };
    let counters = (0..counters(analysis)).map(|counter| word(data, SLOTS + counter)).collect();
    (ending, counters)
}
