//! Writes the counting copy of a function.
//!
//! The copy does what the original does and counts each block as it is entered. What the original can tell apart is
//! kept: every register, every flag, and all of its stack, the red zone included; so counting goes through `rcx`, saved
//! in memory, with `mov`, `lea`, `not` and `jrcxz` alone. Data is not copied, and relative addresses are put right, so
//! that code which reads constants, or itself, finds the original's. One difference shows: a `call` pushes an address
//! in the copy.
//!
//! # Nothing runs uncounted
//!
//! Indirect branches go through [`Stubs::translate`], which turns an address in the original text into the one of its
//! copy and gives up on any other but the harness's own return address. So does a return that would lead into the
//! original text. Thus the original runs not one instruction while the copy is called.
//!
//! # It ends
//!
//! Every way round passes through a backward branch, a call or an indirect branch. The targets of the first two and
//! [`Stubs::translate`] take one from a budget; when it is spent, the copy returns to whoever called it, on the
//! stack it was called with.
#![forbid(unsafe_code)]

use std::num::NonZeroU16;

use webrunner_protocol::counts::{CodePart, NotCountable, Obstacle};

use super::data::{Data, Slot, Status};
use super::emit::{Code, REACH};
use super::step::{Kind, Step, is_prefix, kind};
use super::walk::{Analysis, Block, End, LOOP, Text};

/// A counting copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instrumented {
    /// Address to call in place of the function's.
    pub entry: u64,
    /// Bytes of code written.
    pub bytes: usize,
}

/// Bytes of code that the copy of an analysed function takes at most.
#[must_use]
pub fn code_bytes(analysis: &Analysis) -> usize {
    const STUBS: usize = 512;
    const EACH_BLOCK: usize = 64;
    const EACH_BRANCH: usize = 96;
    const EACH_REPEATED: usize = 128;
    // Every block but one ends at a branch or before another block.
    STUBS
        + 2 * analysis.facts.bytes
        + analysis.blocks.len() * (EACH_BLOCK + EACH_BRANCH)
        + usize::from(analysis.repeated) * EACH_REPEATED
}

/// Writes the copy into `code`, which will be executable at `code_address`, counting into `data` at `data_address`.
///
/// `text` is what was analysed; `data` has [`Data::bytes`] bytes, all zero.
///
/// # Errors
/// The code is too large, or the addresses do not lie below 2 GiB with the copy before the text.
pub fn instrument(
    analysis: &Analysis,
    text: Text<'_>,
    (code, code_address): (&mut [u8], u64),
    (data, data_address): (&mut [u8], u64),
) -> Result<Instrumented, NotCountable> {
    if let Some(too_large) = &analysis.too_large {
        return Err(too_large.clone());
    }
    let ends = [(text.address, text.bytes.len()), (code_address, code.len()), (data_address, data.len())];
    let reachable =
        ends.iter().all(|(start, len)| start.checked_add(*len as u64).is_some_and(|end| end < REACH));
    // Returns into the text are told from others by lying above its start.
    if !reachable || code_address + code.len() as u64 > text.address || data.len() < Data::bytes(analysis) {
        return Err(NotCountable::Place);
    }
    let space = code.len();
    let mut copy = Copy {
        analysis,
        text,
        code: Code::new(code, code_address),
        data: Data::new(analysis, data, data_address),
        fixups: Vec::with_capacity(analysis.runs.len() * 2),
        stubs: Stubs::default(),
    };
    copy.stubs();
    let entry = copy.entry();
    copy.blocks();
    copy.fix();
    if copy.code.is_overflown() {
        let (count, limit) = (code_bytes(analysis) as u64, space as u64);
        return Err(NotCountable::TooLarge { what: CodePart::CopyBytes, count, limit });
    }
    Ok(Instrumented { entry, bytes: copy.code.used() })
}

/// Addresses of the code that all blocks share.
#[derive(Debug, Clone, Copy, Default)]
struct Stubs {
    /// Goes to the copy of the original address in rcx, whose own value is saved.
    translate: u64,
    /// Stops for lack of budget.
    ran_out: u64,
    /// Stops with the status in rcx.
    stop: u64,
}

/// A branch to a place in the text that may not be copied yet.
struct Fixup {
    /// End of the branch, in bytes of code.
    end: usize,
    /// Offset in the text; `None` outside it.
    target: Option<usize>,
    /// Offset of the branch itself.
    from: u32,
}

struct Copy<'a> {
    analysis: &'a Analysis,
    text: Text<'a>,
    code: Code<'a>,
    data: Data<'a>,
    fixups: Vec<Fixup>,
    stubs: Stubs,
}

impl Copy<'_> {
    fn slot(&self, slot: Slot) -> u32 {
        self.data.slot(slot)
    }

    /// The code that blocks share.
    fn stubs(&mut self) {
        self.stubs.ran_out = self.code.here();
        self.code.set_ecx(Status::RAN_OUT);
        self.stubs.stop = self.code.here();
        self.code.store_rcx(self.slot(Slot::Status));
        // mov rsp, [entry_rsp]; drop the return address; jmp [entry_return]
        self.code.with_u32(&[0x48, 0x8b, 0x24, 0x25], self.slot(Slot::EntryStack));
        self.code.drop_from_stack(8);
        self.code.with_u32(&[0xff, 0x24, 0x25], self.slot(Slot::EntryReturn));
        self.translate();
    }

    /// Takes the original address in rcx to its copy. With the flags in rax (`lahf`, `seto`), comparisons are free to use.
    fn translate(&mut self) {
        self.stubs.translate = self.code.here();
        self.code.store_rax(self.slot(Slot::Rax));
        self.code.put(&[0x9f, 0x0f, 0x90, 0xc0]);
        // dec qword [budget]; jz ran_out
        self.code.with_u32(&[0x48, 0xff, 0x0c, 0x25], self.slot(Slot::Budget));
        self.code.with_distance(&[0x0f, 0x84], self.stubs.ran_out);
        self.code.store_rcx(self.slot(Slot::Target));
        // In the text: look it up. cmp rcx, bytes; jae outside
        self.code.subtract_from_rcx(self.text.address as u32);
        self.code.with_u32(&[0x48, 0x81, 0xf9], self.text.bytes.len() as u32);
        self.code.with_u32(&[0x0f, 0x83], 0);
        let outside = self.code.used();
        // mov ecx, [rcx * 4 + table]; test ecx, ecx; jz unknown
        self.code.with_u32(&[0x8b, 0x0c, 0x8d], self.data.table());
        self.code.put(&[0x85, 0xc9]);
        self.code.with_u32(&[0x0f, 0x84], 0);
        let unknown = self.code.used();
        self.code.store_rcx(self.slot(Slot::Out));
        let go = self.code.here();
        // add al, 127; sahf
        self.code.put(&[0x04, 0x7f, 0x9e]);
        self.code.load_rax(self.slot(Slot::Rax));
        self.code.load_rcx(self.slot(Slot::Rcx));
        self.code.with_u32(&[0xff, 0x24, 0x25], self.slot(Slot::Out));
        // Outside the text: a return address that a call in the copy pushed, or the harness's.
        self.code.set_distance(outside, self.code.here());
        self.code.load_rcx(self.slot(Slot::Target));
        self.code.store_rcx(self.slot(Slot::Out));
        // cmp rcx, [entry_return]; je go
        self.code.with_u32(&[0x48, 0x3b, 0x0c, 0x25], self.slot(Slot::EntryReturn));
        self.code.with_distance(&[0x0f, 0x84], go);
        let start = self.code.here() - self.code.used() as u64;
        self.code.subtract_from_rcx(start as u32);
        self.code.with_u32(&[0x48, 0x81, 0xf9], self.code.space() as u32);
        self.code.with_distance(&[0x0f, 0x82], go);
        self.code.set_distance(unknown, self.code.here());
        self.code.set_ecx(Status::UNKNOWN_TARGET);
        self.code.jump(self.stubs.stop);
    }

    /// Notes where to return to; the first block, the function's entry, follows.
    fn entry(&mut self) -> u64 {
        let entry = self.code.here();
        self.code.with_u32(&[0x48, 0x89, 0x24, 0x25], self.slot(Slot::EntryStack));
        self.code.store_rcx(self.slot(Slot::Rcx));
        self.code.load_rcx_from_stack();
        self.code.store_rcx(self.slot(Slot::EntryReturn));
        self.code.load_rcx(self.slot(Slot::Rcx));
        if self.analysis.runs.is_empty() {
            let offset = self.text.entry.wrapping_sub(self.text.address) as usize;
            let target = (offset < self.text.bytes.len()).then_some(offset);
            self.obstacle(self.analysis.obstacle_at(target), offset as u32);
        }
        entry
    }

    fn blocks(&mut self) {
        let mut blocks = self.analysis.blocks.iter().enumerate().peekable();
        for run in &self.analysis.runs {
            let end = run.first + run.count;
            while let Some((index, block)) = blocks.next_if(|(_, block)| block.first < end) {
                self.block(index, block);
            }
            match run.end {
                End::Nothing => {}
                End::Into(offset) => self.branch(&[0xe9], Some(offset as usize), offset),
                End::Obstacle(obstacle, offset) => self.obstacle(obstacle, offset),
            }
        }
    }

    fn block(&mut self, index: usize, block: &Block) {
        let steps = self.analysis.steps.get(block.first as usize..).unwrap_or_default();
        for (at, step) in steps.iter().take(block.count as usize).enumerate() {
            if at == 0 {
                let offset = self.analysis.offset(step);
                self.data.set_copy(offset, self.code.here() as u32);
                self.count(index, self.analysis.marks_at(offset) & LOOP != 0);
            }
            self.step(step);
        }
    }

    /// Counts the block of an index.
    fn count(&mut self, index: usize, takes_budget: bool) {
        let counter = self.data.counter(index);
        self.code.store_rcx(self.slot(Slot::Rcx));
        if takes_budget {
            self.code.load_rcx(self.slot(Slot::Budget));
            self.code.add_to_rcx(-1);
            self.code.store_rcx(self.slot(Slot::Budget));
            // jrcxz reaches 127 bytes and cannot tell whether not to: its target, `jmp ran_out`, hides in the immediate of
            // a `mov rcx, imm64` whose value is never used.
            self.code.put(&[0xe3, 0x02, 0x48, 0xb9]);
            self.code.jump(self.stubs.ran_out);
            self.code.put(&[0; 3]);
        }
        self.code.load_rcx(counter);
        self.code.add_to_rcx(1);
        self.code.store_rcx(counter);
        self.code.load_rcx(self.slot(Slot::Rcx));
    }

    fn step(&mut self, step: &Step) {
        let offset = self.analysis.offset(step);
        let bytes = self.text.bytes.get(offset..offset + step.instruction.len()).unwrap_or_default();
        let to = |target: u64| {
            let offset = usize::try_from(target.wrapping_sub(self.text.address)).ok()?;
            (offset < self.text.bytes.len()).then_some(offset)
        };
        let from = offset as u32;
        match kind(&step.instruction, bytes) {
            Kind::Plain | Kind::Stops => match step.repeated {
                Some(number) => self.repeated(step, bytes, number),
                None => self.plain(step, bytes),
            },
            Kind::Jump(target) => self.branch(&[0xe9], to(target), from),
            Kind::Call(target) => self.branch(&[0xe8], to(target), from),
            Kind::Conditional(target) => {
                // iced numbers conditions as the opcodes do, from 1.
                let condition = (step.instruction.condition_code() as u8).wrapping_sub(1) & 0xf;
                self.branch(&[0x0f, 0x80 | condition], to(target), from);
            }
            Kind::Short(target) => {
                // The branch itself, over a jump that goes on, to one that goes far.
                let (_, opcode) = bytes.split_last().unwrap_or((&0, &[]));
                self.code.put(opcode);
                self.code.put(&[2, 0xeb, 5]);
                self.branch(&[0xe9], to(target), from);
            }
            Kind::IndirectJump => self.indirect(step, bytes, 0xe9),
            Kind::IndirectCall => self.indirect(step, bytes, 0xe8),
            Kind::Return(dropped) => self.ret(bytes, dropped, from),
            // The run's end stops the call here.
            Kind::Unsupported => {}
        }
    }

    /// The instruction itself, its distance to data put right.
    fn plain(&mut self, step: &Step, bytes: &[u8]) {
        let start = self.code.used();
        self.code.put(bytes);
        self.fix_data(step, start + usize::from(step.displacement));
    }

    /// A string instruction with a REP prefix. Its counter gets what rcx was before, less what is left of it: that is
    /// how many elements it came to, whichever way they lie and also where a comparison ends it early.
    fn repeated(&mut self, step: &Step, bytes: &[u8], number: NonZeroU16) {
        let by_ecx = bytes.iter().take_while(|&&byte| is_prefix(byte)).any(|&byte| byte == 0x67);
        self.with_rcx(number, by_ecx, |code| code.add_rcx_to_rax());
        self.plain(step, bytes);
        self.with_rcx(number, by_ecx, |code| code.subtract_rcx_from_rax());
    }

    /// Changes the counter of a repeated instruction by rcx, or by ecx; keeps rax and rcx.
    fn with_rcx(&mut self, number: NonZeroU16, by_ecx: bool, change: impl FnOnce(&mut Code<'_>)) {
        let counter = self.data.elements(number);
        self.code.store_rax(self.slot(Slot::Rax));
        self.code.store_rcx(self.slot(Slot::Rcx));
        if by_ecx {
            self.code.halve_rcx();
        }
        self.code.load_rax(counter);
        change(&mut self.code);
        self.code.store_rax(counter);
        self.code.load_rax(self.slot(Slot::Rax));
        self.code.load_rcx(self.slot(Slot::Rcx));
    }

    /// Puts right the displacement at `field` of the instruction just written.
    fn fix_data(&mut self, step: &Step, field: usize) {
        if step.instruction.is_ip_rel_memory_operand() {
            // What follows the displacement, an immediate, counts into the distance.
            let beyond = self.code.used().saturating_sub(field + 4) as u64;
            let target = step.instruction.ip_rel_memory_address();
            self.code.set_distance(field + 4, target.wrapping_sub(beyond));
        }
    }

    /// `opcode` and the distance to the copy of what lies at `target` in the text.
    fn branch(&mut self, opcode: &[u8], target: Option<usize>, from: u32) {
        self.code.with_u32(opcode, 0);
        self.fixups.push(Fixup { end: self.code.used(), target, from });
    }

    /// Reads the branch's target into rcx, in place of going there, and has it translated.
    fn indirect(&mut self, step: &Step, bytes: &[u8], opcode: u8) {
        self.code.store_rcx(self.slot(Slot::Rcx));
        self.code.store(self.slot(Slot::From), self.analysis.offset(step) as u32);
        let prefixes = bytes.iter().take_while(|&&byte| is_prefix(byte)).count();
        for &prefix in &bytes[..prefixes] {
            // Only these change the operand.
            if matches!(prefix, 0x64 | 0x65 | 0x67) {
                self.code.put(&[prefix]);
            }
        }
        let rex = bytes.get(prefixes).copied().filter(|byte| byte & 0xf0 == 0x40);
        let operand = prefixes + usize::from(rex.is_some()) + 1;
        let Some((&modrm, rest)) = bytes.get(operand..).and_then(<[u8]>::split_first) else { return };
        // mov rcx, r/m64
        self.code.put(&[0x48 | (rex.unwrap_or(0) & 3), 0x8b, (modrm & 0xc7) | 0x08]);
        let field = self.code.used();
        self.code.put(rest);
        self.fix_data(step, field);
        self.code.with_distance(&[opcode], self.stubs.translate);
    }

    /// Returns, unless the original text lies at the return address: the function pushed that itself.
    fn ret(&mut self, bytes: &[u8], dropped: u16, from: u32) {
        self.code.store_rcx(self.slot(Slot::Rcx));
        self.code.load_rcx_from_stack();
        self.code.subtract_from_rcx(self.text.address as u32);
        self.code.store_rcx(self.slot(Slot::Window));
        // mov ecx, [window + 4]: zero for whatever lies in the 4 GiB from the text on, and the rest is for the stub to sort
        // out. The copy lies below the text, the harness far above.
        self.code.with_u32(&[0x8b, 0x0c, 0x25], self.slot(Slot::Window) + 4);
        const LOAD_BYTES: usize = 8;
        self.code.put(&[0xe3, (LOAD_BYTES + bytes.len()) as u8]);
        self.code.load_rcx(self.slot(Slot::Rcx));
        self.code.put(bytes);
        self.code.store(self.slot(Slot::From), from);
        self.code.load_rcx_from_stack();
        self.code.drop_from_stack(8 + u32::from(dropped));
        self.code.jump(self.stubs.translate);
    }

    fn obstacle(&mut self, obstacle: Obstacle, offset: u32) {
        self.code.set_ecx(Status::obstacle(obstacle, offset));
        self.code.jump(self.stubs.stop);
    }

    /// Fills in the distances of all branches, now that every block has its place.
    fn fix(&mut self) {
        for fixup in std::mem::take(&mut self.fixups) {
            let copy = fixup.target.and_then(|target| self.data.copy_of(target));
            let target = match copy {
                Some(address) => address.into(),
                None => {
                    let stub = self.code.here();
                    self.obstacle(self.analysis.obstacle_at(fixup.target), fixup.from);
                    stub
                }
            };
            self.code.set_distance(fixup.end, target);
        }
    }
}
