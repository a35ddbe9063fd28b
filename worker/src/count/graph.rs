//! Blocks as a graph: which instructions each holds, and where it leads.
#![forbid(unsafe_code)]

use super::step::{Kind, Step, kind};
use super::walk::{Analysis, Block, End, Text};

/// The blocks of an analysis.
pub(super) struct Graph<'a> {
    found: &'a Analysis,
    text: &'a Text<'a>,
    /// Offset and number of each block, by offset.
    by_offset: Vec<(u32, u32)>,
    /// What comes after each block's last instruction, if that does not say.
    ends: Vec<After>,
}

/// What comes after the last instruction of a block, as far as the block's run tells.
#[derive(Debug, Clone, Copy)]
pub(super) enum After {
    /// This block, by number.
    Block(u32),
    /// Nothing that was found.
    Nothing,
}

impl<'a> Graph<'a> {
    pub(super) fn of(found: &'a Analysis, text: &'a Text<'a>) -> Self {
        let offset = |block: &Block| {
            let step = found.steps.get(block.first as usize);
            step.map_or(u32::MAX, |step| found.offset(step) as u32)
        };
        let mut by_offset: Vec<(u32, u32)> = found.blocks.iter().map(offset).zip(0..).collect();
        by_offset.sort_unstable();
        let mut graph = Self { found, text, by_offset, ends: Vec::new() };
        graph.ends = graph.ends();
        graph
    }

    fn ends(&self) -> Vec<After> {
        let mut ends = Vec::with_capacity(self.found.blocks.len());
        let mut runs = self.found.runs.iter();
        let mut run = runs.next();
        for (number, block) in (0u32..).zip(&self.found.blocks) {
            let last = block.first + block.count;
            while run.is_some_and(|run| run.first + run.count < last) {
                run = runs.next();
            }
            let ends_run = run.filter(|run| run.first + run.count == last);
            ends.push(match ends_run.map(|run| run.end) {
                None => After::Block(number + 1),
                Some(End::Into(offset)) => self.block_at(offset).map_or(After::Nothing, After::Block),
                Some(End::Nothing | End::Obstacle(..)) => After::Nothing,
            });
        }
        ends
    }

    pub(super) fn blocks(&self) -> usize {
        self.found.blocks.len()
    }

    /// The block that begins at an address.
    pub(super) fn block_of(&self, address: u64) -> Option<u32> {
        self.block_at(u32::try_from(address.wrapping_sub(self.text.address)).ok()?)
    }

    fn block_at(&self, offset: u32) -> Option<u32> {
        let found = self.by_offset.binary_search_by_key(&offset, |(offset, _)| *offset).ok()?;
        Some(self.by_offset[found].1)
    }

    /// The block that the function begins with.
    pub(super) fn entry(&self) -> Option<u32> {
        self.block_of(self.text.entry)
    }

    /// What comes after a block's last instruction, if that does not say.
    pub(super) fn after(&self, block: u32) -> After {
        self.ends.get(block as usize).copied().unwrap_or(After::Nothing)
    }

    /// Instructions of a block.
    pub(super) fn steps(&self, block: u32) -> &'a [Step] {
        let Some(Block { first, count }) = self.found.blocks.get(block as usize) else { return &[] };
        self.found.steps.get(*first as usize..(first + count) as usize).unwrap_or_default()
    }

    /// Bytes from the start of the text to an instruction.
    pub(super) fn offset(&self, step: &Step) -> u32 {
        self.found.offset(step) as u32
    }

    /// What an instruction does to the flow of control.
    pub(super) fn kind(&self, step: &Step) -> Kind {
        let at = self.found.offset(step);
        kind(&step.instruction, self.text.bytes.get(at..at + step.instruction.len()).unwrap_or_default())
    }
}
