//! What one call of the function executed, counted instruction by instruction without a performance-monitoring unit.
//!
//! The worker counts how often each basic block ran and multiplies by what the block holds. Like all else a worker
//! says, the figures are claims; `Counting::check` holds them against what any call could have done.

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_LOOPS, MAX_MIX};
use crate::reply::{ReplyError, check_count};

/// Whether and how far a call was counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Counting {
    /// Every instruction of one call.
    Counted(Box<Counts>),
    /// The call was stopped after many loop turns; these are the counts up to there.
    RanOut(Box<Counts>),
    /// Not counted.
    Impossible(NotCountable),
    /// The job did not ask for it.
    #[default]
    NotAsked,
}

/// Exact counts over one call.
///
/// A string instruction with a REP prefix is one instruction, and its bytes are those of all elements it came to. A gather,
/// a scatter and a masked instruction count in full, whatever their masks. What only tells the caches something, as
/// prefetches and `clflush` do, reads and writes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Instructions.
    pub instructions: u64,
    /// Instructions that read memory; `pop` and `ret` are among them.
    pub loads: u64,
    /// Instructions that write memory; `push` and `call` are among them.
    pub stores: u64,
    /// Bytes read.
    pub load_bytes: u64,
    /// Bytes written.
    pub store_bytes: u64,
    /// Instructions that may change the flow of control: jumps, calls and returns, taken or not.
    pub branches: u64,
    /// Calls; they are branches too.
    pub calls: u64,
    /// Floating-point operations on single-precision elements: scalar, 128, 256, 512 bits wide.
    pub single_flops: [u64; 4],
    /// The same on double-precision elements.
    pub double_flops: [u64; 4],
    /// The same on the x87 registers, to whatever precision they are rounded.
    pub x87_flops: u64,
    /// Elements that string instructions with a REP prefix came to.
    pub string_elements: u64,
    /// Instructions by class.
    pub classes: Classes,
    /// Instructions by mnemonic, the most frequent first; at most [`MAX_MIX`].
    pub mix: Vec<MnemonicCount>,
    /// Loops by turns, the most frequent first; at most [`MAX_LOOPS`].
    pub loops: Vec<LoopTurns>,
    /// What the last two leave out.
    pub unlisted: Unlisted,
}

/// What lists that are cut leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Unlisted {
    /// Mnemonics that are not in the mix.
    pub mnemonics: u32,
    /// Instructions of those.
    pub instructions: u64,
    /// Loops that ran and are not listed.
    pub loops: u32,
}

/// Instructions by the registers they work on and the way they are encoded; together they are all instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Classes {
    /// General registers and control flow.
    pub general: u64,
    /// x87 and MMX.
    pub x87_mmx: u64,
    /// Vector registers, legacy encoding.
    pub sse: u64,
    /// Vector registers, VEX or XOP encoding.
    pub avx: u64,
    /// EVEX encoding, and VEX-encoded mask instructions.
    pub avx512: u64,
}

/// How often one mnemonic ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MnemonicCount {
    /// Value of iced-x86's `Mnemonic`.
    pub mnemonic: u16,
    /// How often.
    pub count: u64,
}

/// How often a loop was entered or went round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopTurns {
    /// Bytes from the start of the object's text to the loop's first instruction.
    pub offset: u64,
    /// How often it came to that instruction: once for each entry and once for each backward jump that was taken.
    pub count: u64,
}

/// Why a call was not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum NotCountable {
    /// More text, instructions or blocks than are followed.
    #[error("the code is too large to count: {count} {what}, the limit is {limit}")]
    TooLarge {
        /// Of what.
        what: CodePart,
        /// How many.
        count: u64,
        /// How many are followed.
        limit: u64,
    },
    /// The counting copy cannot lie where 32-bit displacements reach everything.
    #[error("the counting copy found no place near the code")]
    Place,
    /// The call came to an instruction that cannot be counted.
    #[error("at offset {offset} of the text the call {obstacle}")]
    Obstacle {
        /// What was met.
        obstacle: Obstacle,
        /// Bytes from the start of the object's text.
        offset: u64,
    },
    /// The call jumped where no instruction was expected.
    #[error("at offset {offset} of the text the call branched {}, where static analysis had found no code", place(*target))]
    UnknownTarget {
        /// Bytes from the start of the object's text to the branch or return.
        offset: u64,
        /// The same of where it led; `None` if that is not in the text.
        target: Option<u64>,
    },
    /// The counted call raised a signal although the measured ones did not.
    #[error("the counted call raised a signal, unlike the measured ones")]
    Faulted,
    /// The function takes longer than a counted call may.
    #[error("the function runs too long for a counted call at this effort")]
    TooLong,
}

fn place(target: Option<u64>) -> String {
    target.map_or("out of it".to_owned(), |offset| format!("to offset {offset}"))
}

/// What a limit on countable code is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodePart {
    /// Bytes of text.
    TextBytes,
    /// Instructions.
    Instructions,
    /// Basic blocks.
    Blocks,
    /// Bytes of the counting copy.
    CopyBytes,
}

impl std::fmt::Display for CodePart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TextBytes => "bytes of text",
            Self::Instructions => "instructions",
            Self::Blocks => "basic blocks",
            Self::CopyBytes => "bytes of instrumented code",
        })
    }
}

/// What a counted call may meet that cannot be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Obstacle {
    /// A branch out of the text.
    LeavesText,
    /// Bytes that are no instruction, or not a whole one.
    NoInstruction,
    /// A branch into the middle of another instruction.
    Overlap,
    /// A transaction, a far branch, or a branch with an operand-size prefix.
    Unsupported,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::LeavesText => "leaves the object's text",
            Self::NoInstruction => "comes to bytes that are no instruction",
            Self::Overlap => "comes into the middle of another instruction",
            Self::Unsupported => "comes to a kind of branch that cannot be counted",
        })
    }
}

/// No call comes to more elements of strings than this within any deadline: a week at 2 GHz, an element a cycle.
const MOST_STRING_ELEMENTS: u64 = 1 << 50;

impl Counting {
    /// The counts, if the whole call was counted.
    #[must_use]
    pub fn whole(&self) -> Option<&Counts> {
        match self {
            Self::Counted(counts) => Some(counts),
            Self::RanOut(_) | Self::Impossible(_) | Self::NotAsked => None,
        }
    }

    /// Holds the counts against what any call could have done.
    ///
    /// # Errors
    /// The first figure that cannot be.
    pub(crate) fn check(&self) -> Result<(), ReplyError> {
        match self {
            Self::Counted(counts) | Self::RanOut(counts) => counts.check(),
            Self::Impossible(_) | Self::NotAsked => Ok(()),
        }
    }
}

impl Counts {
    fn check(&self) -> Result<(), ReplyError> {
        check_count("mnemonics", self.mix.len(), 0, MAX_MIX)?;
        check_count("loops", self.loops.len(), 0, MAX_LOOPS)?;
        let Classes { general, x87_mmx, sse, avx, avx512 } = self.classes;
        let parts = [self.loads, self.stores, self.branches, self.calls, general, x87_mmx, sse, avx, avx512];
        let unlisted = [self.unlisted.instructions];
        let of_mix = self.mix.iter().map(|entry| entry.count);
        let of_loops = self.loops.iter().map(|turns| turns.count);
        if parts
            .into_iter()
            .chain(unlisted)
            .chain(of_mix)
            .chain(of_loops)
            .any(|part| part > self.instructions)
        {
            return Err(ReplyError::Figure { what: "share of the instructions" });
        }
        // No instruction of any extension moves more than a tile or a saved state, nor computes more than 64 times.
        let most = |each: u64| self.instructions.saturating_mul(each);
        if self.string_elements > MOST_STRING_ELEMENTS || (self.instructions == 0 && self.string_elements > 0)
        {
            return Err(ReplyError::Figure { what: "elements of strings" });
        }
        // `cmpsq` reads two elements of eight bytes.
        let most_bytes = most(16384).saturating_add(16 * self.string_elements);
        if self.load_bytes > most_bytes || self.store_bytes > most_bytes {
            return Err(ReplyError::Figure { what: "bytes moved" });
        }
        let flops = self.single_flops.iter().chain(&self.double_flops).chain([&self.x87_flops]);
        if flops.into_iter().any(|&flops| flops > most(64)) {
            return Err(ReplyError::Figure { what: "floating-point operations" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_to_nowhere_known_is_told_by_offsets() {
        let told = |target| NotCountable::UnknownTarget { offset: 12, target }.to_string();
        assert_eq!(
            told(Some(40)),
            "at offset 12 of the text the call branched to offset 40, where static analysis had found no code"
        );
        assert!(told(None).contains("offset 12 of the text the call branched out of it"));
    }

    #[test]
    fn counts_that_exceed_the_instructions_are_refused() {
        let sane = Counts { instructions: 10, loads: 10, load_bytes: 80, ..Counts::default() };
        assert_eq!(Counting::Counted(Box::new(sane.clone())).check(), Ok(()));
        let forged = [
            Counts { loads: 11, ..sane.clone() },
            Counts { store_bytes: u64::MAX, ..sane.clone() },
            Counts { double_flops: [0, 0, 0, 641], ..sane.clone() },
            Counts { x87_flops: 641, ..sane.clone() },
            Counts { string_elements: u64::MAX, load_bytes: u64::MAX, ..sane.clone() },
            Counts { load_bytes: 10 * 16384 + 17, string_elements: 1, ..sane.clone() },
            Counts { unlisted: Unlisted { instructions: 11, ..Unlisted::default() }, ..sane.clone() },
            Counts { mix: vec![MnemonicCount { mnemonic: 1, count: 11 }], ..sane.clone() },
            Counts { mix: vec![MnemonicCount { mnemonic: 1, count: 1 }; MAX_MIX + 1], ..sane.clone() },
            Counts { loops: vec![LoopTurns { offset: 0, count: 1 }; MAX_LOOPS + 1], ..sane },
        ];
        for counts in forged {
            assert!(Counting::RanOut(Box::new(counts.clone())).check().is_err(), "{counts:?}");
        }
    }
}
