//! Finds the code a function may reach: recursive descent over direct branches, then over what could be targets of
//! indirect ones.
//!
//! All of the text is hostile bytes. What cannot be decoded or overlaps what was, is no error here: the counting copy
//! stops there should the call ever come that way. Work and memory are bounded by [`MAX_STEPS`].
#![forbid(unsafe_code)]

use std::num::NonZeroU16;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, Register};
use webrunner_protocol::counts::{CodePart, NotCountable, Obstacle};
use webrunner_protocol::reply::CodeFacts;
use webrunner_protocol::stack::StackUse;

use super::candidates;
use super::features::Features;
use super::loops;
use super::step::{Kind, Step, is_repeated, kind};

/// Most bytes of text that are looked at.
pub const MAX_TEXT_BYTES: usize = 256 << 10;

/// Most instructions that are followed.
pub const MAX_STEPS: usize = 24 << 10;

/// Most basic blocks that are counted.
pub const MAX_BLOCKS: usize = 8 << 10;

/// An instruction begins at this byte of text.
pub(super) const START: u8 = 1;
/// The byte is inside an instruction that was decoded.
const INSIDE: u8 = 2;
/// A basic block begins here.
pub(super) const LEADER: u8 = 4;
/// A backward branch or a call comes here, so that the copy takes one from its budget.
pub(super) const LOOP: u8 = 8;
/// An indirect branch may come here.
pub(super) const CANDIDATE: u8 = 16;
/// A loop begins here.
pub(super) const HEAD: u8 = 32;

/// A loaded text segment and the function in it.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// Its bytes.
    pub bytes: &'a [u8],
    /// Address of the first.
    pub address: u64,
    /// Address of the function.
    pub entry: u64,
}

/// Static facts about the code a function may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Instructions found.
    pub instructions: usize,
    /// Bytes they take.
    pub bytes: usize,
    /// Extensions they need.
    pub needs: Features,
    /// Those of them that it must not be run without.
    pub requires: Features,
    /// There are branches through registers or memory.
    pub indirect_branches: bool,
    /// The code asks which CPU it runs on, so what it needs it may do without.
    pub asks_cpu: bool,
    /// There are instructions that only the kernel may execute.
    pub privileged: bool,
    /// There are instructions that ask the kernel for something.
    pub system_calls: bool,
    /// Bits of the widest vector register used; 0 if there is none.
    pub vector_bits: u16,
}

/// Instructions that follow each other in the text and in the copy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) end: End,
}

/// What comes after the last instruction of a run.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// Nothing: it is a jump or a return.
    Nothing,
    /// The code of another run, which begins or goes on at this offset.
    Into(u32),
    /// What cannot be counted.
    Obstacle(Obstacle, u32),
}

/// Instructions that are always executed together, and the counter of the same index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// The code a function may reach.
#[derive(Debug)]
pub struct Analysis {
    /// What it is like.
    pub facts: Facts,
    pub(super) address: u64,
    pub(super) text_bytes: usize,
    pub(super) steps: Vec<Step>,
    pub(super) runs: Vec<Run>,
    pub(super) blocks: Vec<Block>,
    /// String instructions with a REP prefix.
    pub(super) repeated: u16,
    pub(super) marks: Vec<u8>,
    pub(super) too_large: Option<NotCountable>,
}

impl Analysis {
    /// Offset of a step in the text.
    pub(super) fn offset(&self, step: &Step) -> usize {
        step.instruction.ip().wrapping_sub(self.address) as usize
    }

    /// Marks of the byte at an offset.
    pub(super) fn marks_at(&self, offset: usize) -> u8 {
        self.marks.get(offset).copied().unwrap_or_default()
    }

    /// Offset of the first instruction that needs one of `features`.
    #[must_use]
    pub fn first_needing(&self, features: Features) -> Option<u64> {
        let needing = self.steps.iter().find(|step| {
            let mut needs = Features::default();
            needs.add_required(&step.instruction);
            !needs.and(features).is_empty()
        });
        needing.map(|step| self.offset(step) as u64)
    }

    /// Why a call that came to `offset` could not go on there.
    pub(super) fn obstacle_at(&self, offset: Option<usize>) -> Obstacle {
        match offset.map(|offset| self.marks_at(offset)) {
            None => Obstacle::LeavesText,
            Some(marks) if marks & INSIDE != 0 => Obstacle::Overlap,
            Some(_) => Obstacle::NoInstruction,
        }
    }
}

/// Follows the function of `text`; `data` is the object's other memory with its addresses, where tables of targets may lie.
#[must_use]
pub fn analyse(text: Text<'_>, data: &[(u64, &[u8])]) -> Analysis {
    let mut walk = Walk::new(text);
    if text.bytes.len() > MAX_TEXT_BYTES {
        walk.too_large(CodePart::TextBytes, text.bytes.len(), MAX_TEXT_BYTES);
    } else {
        walk.follow(text.entry);
        if walk.found.facts.indirect_branches || walk.names_text {
            candidates::follow(&mut walk, data);
        }
    }
    walk.finish()
}

impl Facts {
    /// Whether registers wider than 128 bits are used, for which some cores power up and lower their clock.
    #[must_use]
    pub fn wide_vectors(&self) -> bool {
        self.vector_bits > 128
    }

    /// The same for a reply, with the stack that the function uses.
    #[must_use]
    pub fn to_reply(self, stack: StackUse) -> CodeFacts {
        CodeFacts {
            instructions: self.instructions as u32,
            bytes: self.bytes as u32,
            needs: self.needs.names(),
            vector_bits: self.vector_bits,
            indirect_branches: self.indirect_branches,
            privileged: self.privileged,
            system_calls: self.system_calls,
            stack,
        }
    }
}

/// Bits of a vector register; 0 for any other.
fn vector_bits(register: Register) -> u16 {
    match register {
        _ if register.is_zmm() => 512,
        _ if register.is_ymm() => 256,
        _ if register.is_xmm() => 128,
        _ if register.is_mm() => 64,
        _ => 0,
    }
}

/// The analysis while it is made.
pub(super) struct Walk<'a> {
    pub(super) text: Text<'a>,
    pub(super) found: Analysis,
    decoder: Decoder<'a>,
    pending: Vec<u32>,
    /// An instruction names an address in the text, for whatever purpose.
    names_text: bool,
    /// A jump goes back.
    jumps_back: bool,
}

impl<'a> Walk<'a> {
    fn new(text: Text<'a>) -> Self {
        let marks = if text.bytes.len() > MAX_TEXT_BYTES { Vec::new() } else { vec![0; text.bytes.len()] };
        let runs = Vec::with_capacity(16);
        let pending = Vec::with_capacity(16);
        let found = Analysis {
            facts: Facts::default(),
            address: text.address,
            text_bytes: text.bytes.len(),
            runs,
            blocks: Vec::new(),
            repeated: 0,
            marks,
            too_large: None,
            // Last, for it grows most, and the worker's heap lets the last block grow where it is.
            steps: Vec::with_capacity(64),
        };
        let decoder = Decoder::with_ip(64, text.bytes, text.address, DecoderOptions::NONE);
        Self { text, found, decoder, pending, names_text: false, jumps_back: false }
    }

    fn too_large(&mut self, what: CodePart, count: usize, limit: usize) {
        self.found.too_large =
            Some(NotCountable::TooLarge { what, count: count as u64, limit: limit as u64 });
    }

    /// Offset of an address in the text.
    pub(super) fn offset_of(&self, address: u64) -> Option<usize> {
        let offset = usize::try_from(address.wrapping_sub(self.text.address)).ok()?;
        (offset < self.text.bytes.len()).then_some(offset)
    }

    /// Follows all code from `address` on.
    pub(super) fn follow(&mut self, address: u64) {
        self.target(address, 0);
        while let Some(offset) = self.pending.pop() {
            if self.found.too_large.is_some() {
                return;
            }
            if self.found.marks_at(offset as usize) & (START | INSIDE) == 0 {
                self.run(offset as usize);
            }
        }
    }

    /// The same of code that an indirect branch may go to.
    pub(super) fn follow_candidate(&mut self, address: u64) {
        if let Some(offset) = self.offset_of(address) {
            self.mark(offset, CANDIDATE);
            self.follow(address);
        }
    }

    fn mark(&mut self, offset: usize, marks: u8) {
        if let Some(byte) = self.found.marks.get_mut(offset) {
            *byte |= marks;
        }
    }

    /// Notes that a block begins at `address`, to be followed later.
    fn target(&mut self, address: u64, marks: u8) {
        let Some(offset) = self.offset_of(address) else { return };
        self.mark(offset, LEADER | marks);
        if self.found.marks_at(offset) & (START | INSIDE) == 0 {
            self.pending.push(offset as u32);
        }
    }

    fn run(&mut self, start: usize) {
        let first = self.found.steps.len();
        let mut at = start;
        if self.decoder.set_position(start).is_err() {
            return;
        }
        self.decoder.set_ip(self.text.address + start as u64);
        let end = loop {
            match self.step(at) {
                Ok(next) => at = next,
                Err(end) => break end,
            }
        };
        let count = self.found.steps.len() - first;
        if count > 0 {
            self.found.runs.push(Run { first: first as u32, count: count as u32, end });
        }
    }

    /// Decodes the instruction at `at` and gives the offset of the next, or how the run ends.
    fn step(&mut self, at: usize) -> Result<usize, End> {
        let obstacle = |obstacle, at: usize| Err(End::Obstacle(obstacle, at as u32));
        if at >= self.text.bytes.len() {
            return obstacle(Obstacle::LeavesText, at);
        }
        let marks = self.found.marks_at(at);
        if marks & START != 0 {
            self.mark(at, LEADER);
            return Err(End::Into(at as u32));
        }
        let instruction = self.decoder.decode();
        if instruction.is_invalid() {
            return obstacle(Obstacle::NoInstruction, at);
        }
        let next = at + instruction.len();
        let inside = self.found.marks.get_mut(at..next).unwrap_or_default();
        if marks & INSIDE != 0 || inside.iter().any(|byte| byte & (START | INSIDE) != 0) {
            return obstacle(Obstacle::Overlap, at);
        }
        inside.iter_mut().for_each(|byte| *byte |= INSIDE);
        self.mark(at, START);
        let displacement = self.decoder.get_constant_offsets(&instruction).displacement_offset() as u8;
        let repeated = is_repeated(&instruction).then(|| self.next_repeated()).flatten();
        self.found.steps.push(Step { instruction, displacement, repeated });
        self.note(&instruction);
        if self.found.steps.len() >= MAX_STEPS {
            self.too_large(CodePart::Instructions, MAX_STEPS, MAX_STEPS);
            return Err(End::Nothing);
        }
        self.branch(kind(&instruction, &self.text.bytes[at..next]), at, next)
    }

    /// A number for one more of the repeated instructions. There are fewer than [`MAX_STEPS`], so it fits.
    fn next_repeated(&mut self) -> Option<NonZeroU16> {
        self.found.repeated += 1;
        NonZeroU16::new(self.found.repeated)
    }

    fn branch(&mut self, kind: Kind, at: usize, next: usize) -> Result<usize, End> {
        let here = self.text.address + at as u64;
        let backward = |target: u64| if target <= here { LOOP } else { 0 };
        let (target, goes_on) = match kind {
            Kind::Plain => return Ok(next),
            Kind::Stops | Kind::Unsupported => return Err(End::Obstacle(Obstacle::Unsupported, at as u32)),
            Kind::Jump(target) => (Some((target, backward(target))), false),
            Kind::Conditional(target) | Kind::Short(target) => (Some((target, backward(target))), true),
            Kind::Call(target) => (Some((target, LOOP)), true),
            Kind::IndirectJump | Kind::IndirectCall => {
                self.found.facts.indirect_branches = true;
                (None, kind == Kind::IndirectCall)
            }
            Kind::Return(_) => (None, false),
        };
        if let Some((target, marks)) = target {
            self.jumps_back |= marks & LOOP != 0 && !matches!(kind, Kind::Call(_));
            self.target(target, marks);
        }
        if goes_on {
            self.mark(next, LEADER);
            Ok(next)
        } else {
            Err(End::Nothing)
        }
    }

    fn note(&mut self, instruction: &Instruction) {
        self.names_text |= instruction.mnemonic() == Mnemonic::Lea
            && instruction.is_ip_rel_memory_operand()
            && self.offset_of(instruction.ip_rel_memory_address()).is_some();
        let facts = &mut self.found.facts;
        facts.bytes += instruction.len();
        facts.needs.add(instruction);
        facts.requires.add_required(instruction);
        facts.asks_cpu |= matches!(instruction.mnemonic(), Mnemonic::Cpuid | Mnemonic::Xgetbv);
        facts.privileged |= instruction.is_privileged();
        facts.system_calls |= matches!(
            instruction.mnemonic(),
            Mnemonic::Syscall | Mnemonic::Sysenter | Mnemonic::Int | Mnemonic::Int1
        );
        for register in [instruction.op0_register(), instruction.op1_register()] {
            facts.vector_bits = facts.vector_bits.max(vector_bits(register));
        }
    }

    /// Divides the runs into blocks.
    fn finish(mut self) -> Analysis {
        let found = &mut self.found;
        found.facts.instructions = found.steps.len();
        found.blocks.reserve(found.runs.len().saturating_mul(2).min(MAX_BLOCKS));
        for run in &found.runs {
            for index in run.first..run.first + run.count {
                let step = &found.steps[index as usize];
                let offset = step.instruction.ip().wrapping_sub(found.address) as usize;
                let leads = found.marks.get(offset).is_some_and(|marks| marks & LEADER != 0);
                match found.blocks.last_mut() {
                    Some(block) if index != run.first && !leads => block.count += 1,
                    _ => found.blocks.push(Block { first: index, count: 1 }),
                }
            }
        }
        let blocks = self.found.blocks.len();
        if blocks > MAX_BLOCKS {
            self.too_large(CodePart::Blocks, blocks, MAX_BLOCKS);
        }
        if self.jumps_back && self.found.too_large.is_none() {
            let heads = loops::heads(&self.found, &self.text);
            heads.into_iter().for_each(|offset| self.mark(offset as usize, HEAD));
        }
        self.found
    }
}
