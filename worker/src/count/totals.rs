//! From how often each block ran to what the call executed.
#![forbid(unsafe_code)]

use iced_x86::{
    CpuidFeature, EncodingKind, FlowControl, Instruction, InstructionInfoFactory, InstructionInfoOptions,
    Mnemonic, OpAccess, OpKind, Register, UsedMemory,
};
use webrunner_protocol::counts::{Classes, Counts, LoopTurns, MnemonicCount};
use webrunner_protocol::limits::{MAX_LOOPS, MAX_MIX};

use super::flops::{Element, flops};
use super::step::Step;
use super::walk::{Analysis, HEAD};

/// Extensions whose instructions work on the x87 registers.
const X87_MMX: [CpuidFeature; 4] =
    [CpuidFeature::FPU, CpuidFeature::FPU287, CpuidFeature::FPU387, CpuidFeature::MMX];

/// Adds up what the blocks hold, each as often as its counter says; `counters` are as [`read`](super::read) gives them.
#[must_use]
pub fn totals(analysis: &Analysis, counters: &[u64]) -> Counts {
    let mut total = Total {
        counts: Counts::default(),
        mix: Vec::with_capacity(MAX_MIX),
        info: InstructionInfoFactory::new(),
    };
    let mut loops = Vec::new();
    let elements = counters.get(analysis.blocks.len()..).unwrap_or_default();
    for (block, &count) in analysis.blocks.iter().zip(counters) {
        let steps = analysis.steps.get(block.first as usize..).unwrap_or_default();
        let Some(first) = steps.first().filter(|_| count > 0) else { continue };
        let offset = analysis.offset(first);
        if analysis.marks_at(offset) & HEAD != 0 {
            loops.push(LoopTurns { offset: offset as u64, count });
        }
        for step in steps.iter().take(block.count as usize) {
            let repeated = step.repeated.map(|number| usize::from(number.get()) - 1);
            total.add(step, count, repeated.map(|number| elements.get(number).copied().unwrap_or_default()));
        }
    }
    loops.sort_unstable_by_key(|turns| (std::cmp::Reverse(turns.count), turns.offset));
    total.counts.unlisted.loops = loops.len().saturating_sub(MAX_LOOPS) as u32;
    loops.truncate(MAX_LOOPS);
    total.counts.loops = loops;
    total.finish()
}

struct Total {
    counts: Counts,
    /// By the mnemonic's number. Most functions have a dozen; an array of all would be pages to bring in.
    mix: Vec<MnemonicCount>,
    info: InstructionInfoFactory,
}

fn add(to: &mut u64, count: u64, each: u64) {
    *to = to.saturating_add(count.saturating_mul(each));
}

impl Total {
    /// Adds an instruction that ran `count` times; `elements` are those of all its turns if it is repeated.
    fn add(&mut self, step: &Step, count: u64, elements: Option<u64>) {
        let instruction = &step.instruction;
        self.add_mnemonic(instruction.mnemonic() as u16, count);
        let counts = &mut self.counts;
        add(&mut counts.instructions, count, 1);
        add(class(&mut counts.classes, instruction), count, 1);
        let flow = instruction.flow_control();
        let is_call = matches!(flow, FlowControl::Call | FlowControl::IndirectCall);
        add(&mut counts.branches, count, u64::from(flow != FlowControl::Next));
        add(&mut counts.calls, count, u64::from(is_call));
        if let Some(flops) = flops(instruction) {
            let operations = match flops.element {
                Element::Single => &mut counts.single_flops[flops.width],
                Element::Double => &mut counts.double_flops[flops.width],
                Element::X87 => &mut counts.x87_flops,
            };
            add(operations, count, flops.operations);
        }
        add(&mut counts.string_elements, elements.unwrap_or_default(), 1);
        if touches_memory(instruction) {
            self.add_memory(instruction, count, elements.unwrap_or(count));
        }
    }

    fn add_mnemonic(&mut self, mnemonic: u16, count: u64) {
        match self.mix.binary_search_by_key(&mnemonic, |entry| entry.mnemonic) {
            Ok(index) => add(&mut self.mix[index].count, count, 1),
            Err(index) => self.mix.insert(index, MnemonicCount { mnemonic, count }),
        }
    }

    /// Adds what an instruction moves that ran `count` times and came to memory `accesses` times.
    fn add_memory(&mut self, instruction: &Instruction, count: u64, accesses: u64) {
        let info = self.info.info_options(instruction, InstructionInfoOptions::NO_REGISTER_USAGE);
        let (mut reads, mut writes) = (false, false);
        let counts = &mut self.counts;
        for memory in info.used_memory() {
            let bytes = bytes_of(instruction, memory);
            let (read, written) = match memory.access() {
                OpAccess::Read | OpAccess::CondRead => (true, false),
                OpAccess::Write | OpAccess::CondWrite => (false, true),
                OpAccess::ReadWrite | OpAccess::ReadCondWrite => (true, true),
                OpAccess::None | OpAccess::NoMemAccess => (false, false),
            };
            reads |= read;
            writes |= written;
            add(&mut counts.load_bytes, accesses, if read { bytes } else { 0 });
            add(&mut counts.store_bytes, accesses, if written { bytes } else { 0 });
        }
        add(&mut counts.loads, count, reads.into());
        add(&mut counts.stores, count, writes.into());
    }

    fn finish(mut self) -> Counts {
        let mut mix = self.mix;
        mix.sort_unstable_by_key(|entry| (std::cmp::Reverse(entry.count), entry.mnemonic));
        let cut = mix.split_off(mix.len().min(MAX_MIX));
        self.counts.unlisted.mnemonics = cut.len() as u32;
        self.counts.unlisted.instructions = cut.iter().fold(0, |sum, entry| sum.saturating_add(entry.count));
        self.counts.mix = mix;
        self.counts
    }
}

/// Whether it may touch memory at all; most instructions do not, and the full answer is slow.
fn touches_memory(instruction: &Instruction) -> bool {
    let in_memory = |kind: OpKind| {
        !matches!(kind, OpKind::Register | OpKind::NearBranch64)
            && !(OpKind::Immediate8..=OpKind::Immediate32to64).contains(&kind)
    };
    instruction.is_stack_instruction()
        || !tells_caches(instruction.mnemonic())
            && (0..instruction.op_count()).any(|operand| in_memory(instruction.op_kind(operand)))
}

/// Whether it names memory only to tell the caches something about it. The decoder takes some of these for loads.
fn tells_caches(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Clflush
            | M::Clflushopt
            | M::Clwb
            | M::Cldemote
            | M::Prefetch
            | M::Prefetchnta
            | M::Prefetcht0
            | M::Prefetcht1
            | M::Prefetcht2
            | M::Prefetchw
            | M::Prefetchwt1
            | M::Prefetchit0
            | M::Prefetchit1
    )
}

/// Bytes one access moves. The decoder gives those of one element for gathers and scatters, and none for a repeated
/// string instruction, whose accesses are those of its elements.
fn bytes_of(instruction: &Instruction, memory: &UsedMemory) -> u64 {
    let bytes = memory.memory_size().size() as u64;
    if instruction.is_vsib() {
        let index_bytes = if instruction.is_vsib64() { 8 } else { 4 };
        let lanes = instruction.memory_index().size() as u64 / index_bytes;
        let vector = |operand| match instruction.op_kind(operand) {
            OpKind::Register => instruction.op_register(operand).size() as u64,
            _ => 0,
        };
        let most = (0..instruction.op_count()).map(vector).max().unwrap_or(0);
        return (lanes * bytes).min(most);
    }
    if bytes == 0 { instruction.memory_size().size() as u64 } else { bytes }
}

fn class<'a>(classes: &'a mut Classes, instruction: &Instruction) -> &'a mut u64 {
    let registers = || (0..instruction.op_count()).map(|operand| instruction.op_register(operand));
    match instruction.encoding() {
        EncodingKind::EVEX => &mut classes.avx512,
        EncodingKind::VEX | EncodingKind::XOP => {
            if registers().any(Register::is_k) {
                &mut classes.avx512
            } else if registers().any(Register::is_vector_register) || instruction.op_count() == 0 {
                &mut classes.avx
            } else {
                &mut classes.general
            }
        }
        _ if registers().any(Register::is_vector_register) => &mut classes.sse,
        _ if instruction.cpuid_features().iter().any(|feature| X87_MMX.contains(feature)) => {
            &mut classes.x87_mmx
        }
        _ => &mut classes.general,
    }
}
