//! What is known of the registers and of saved values at one place in the code, and what an instruction does to it.
//!
//! A value is known if it is an address in the stack: so many bytes below rsp at the function's entry. Of two paths
//! that meet the deeper counts. After an `and` that aligns rsp, addresses are bounds and no longer exact; but those
//! that come from the same `and` are exact among each other, so that what was saved behind it is found again.
#![forbid(unsafe_code)]

use iced_x86::{
    Code, Instruction, InstructionInfoFactory, InstructionInfoOptions, Mnemonic, OpAccess, OpKind, Register,
};

/// Number of rsp among the general registers.
const RSP: usize = 4;
const RBP: usize = 5;

/// Registers that a call leaves with anything in them: rax, rcx, rdx, rsi, rdi, r8 to r11.
const VOLATILE: [usize; 9] = [0, 1, 2, 6, 7, 8, 9, 10, 11];

/// Most saved addresses that are remembered; compilers save one or two.
const SAVED: usize = 4;

/// Largest alignment that an `and` is taken for.
const MOST_ALIGNMENT: i64 = 1 << 16;

/// What an address is counted from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum From {
    /// rsp at entry, exactly.
    Entry,
    /// rsp as this `and` left it, of which only a bound is known.
    Aligned(u32),
    /// Paths that differ have met.
    Paths,
}

/// What a register holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    /// Anything.
    Unknown,
    /// An address in the stack, at most so many bytes below rsp at entry.
    Stack(i32, From),
}

impl Value {
    /// An address further down.
    fn below(self, bytes: i64) -> Self {
        let Self::Stack(depth, from) = self else { return Self::Unknown };
        i32::try_from(i64::from(depth) + bytes).map_or(Self::Unknown, |depth| Self::Stack(depth, from))
    }

    fn join(self, other: Self) -> Self {
        match (self, other) {
            _ if self == other => self,
            (Self::Stack(one, _), Self::Stack(two, _)) => Self::Stack(one.max(two), From::Paths),
            _ => Self::Unknown,
        }
    }
}

/// An address in the stack that was saved there.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Saved {
    place: (i32, From),
    value: Value,
}

/// What is known before an instruction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct State {
    registers: [Value; 16],
    saved: [Option<Saved>; SAVED],
}

impl State {
    /// At the entry of a function.
    pub(super) fn at_entry() -> Self {
        let mut registers = [Value::Unknown; 16];
        registers[RSP] = Value::Stack(0, From::Entry);
        Self { registers, saved: [None; SAVED] }
    }

    /// Depth of rsp; `None` if it is not known.
    pub(super) fn depth(&self) -> Option<i64> {
        match self.registers[RSP] {
            Value::Stack(depth, _) => Some(depth.into()),
            Value::Unknown => None,
        }
    }

    /// Whether rsp is where it was at entry.
    pub(super) fn is_balanced(&self) -> bool {
        self.registers[RSP] == Value::Stack(0, From::Entry)
    }

    /// What is known where two paths meet.
    pub(super) fn join(&self, other: &Self) -> Self {
        let mut joined = *self;
        for (value, other) in joined.registers.iter_mut().zip(other.registers) {
            *value = value.join(other);
        }
        for saved in &mut joined.saved {
            *saved = saved.filter(|saved| other.saved.contains(&Some(*saved)));
        }
        joined
    }

    /// The same, with nothing known but of rsp: what a loop changes with every turn is not followed for ever.
    pub(super) fn only_rsp(&self) -> Self {
        let mut state = Self { registers: [Value::Unknown; 16], saved: [None; SAVED] };
        state.registers[RSP] = self.registers[RSP];
        state
    }

    /// What a callee leaves of it.
    pub(super) fn after_call(&self) -> Self {
        let mut state = *self;
        for register in VOLATILE {
            state.registers[register] = Value::Unknown;
        }
        state
    }

    /// What an instruction that goes on to the next leaves; gives how deep it reaches in the stack.
    pub(super) fn apply(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) -> i64 {
        let touched = self.touched(instruction);
        let pushed = instruction.stack_pointer_increment();
        match instruction.code() {
            Code::Leaveq => {
                self.registers[RSP] = self.registers[RBP];
                self.pop_to(RBP);
            }
            Code::Enterq_imm16_imm8 => {
                let frame = self.registers[RSP].below(8);
                self.write(frame, 8, self.registers[RBP]);
                self.registers[RBP] = frame;
                self.registers[RSP] = self.registers[RSP].below(-i64::from(pushed));
            }
            Code::Pop_r64 => {
                self.pop_to(instruction.op0_register().number());
            }
            // Nobody writes these, which move 16 bits of the registers.
            Code::Leavew | Code::Enterw_imm16_imm8 => self.registers[RSP] = Value::Unknown,
            _ if pushed < 0 => {
                let value = self.source(instruction, 0);
                self.registers[RSP] = self.registers[RSP].below(-i64::from(pushed));
                self.write(self.registers[RSP], -i64::from(pushed), value);
            }
            _ if pushed > 0 => {
                let rsp = self.registers[RSP].below(-i64::from(pushed));
                self.forget_written(instruction, info);
                self.registers[RSP] = rsp;
            }
            _ => self.compute(instruction, info),
        }
        touched.max(self.depth().unwrap_or_default())
    }

    fn pop_to(&mut self, register: usize) {
        let place = self.registers[RSP];
        self.registers[RSP] = place.below(-8);
        self.registers[register] = self.read(place);
    }

    /// Arithmetic and moves.
    fn compute(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) {
        let target =
            number(instruction.op0_register()).filter(|_| instruction.op0_kind() == OpKind::Register);
        let target = target.filter(|_| instruction.op0_register().is_gpr64());
        let value = match (instruction.mnemonic(), target) {
            (Mnemonic::Mov, Some(_)) => self.source(instruction, 1),
            (Mnemonic::Lea, Some(_)) => self.address(instruction).unwrap_or(Value::Unknown),
            (Mnemonic::Add, Some(to)) => immediate(instruction)
                .and_then(i64::checked_neg)
                .map_or(Value::Unknown, |bytes| self.registers[to].below(bytes)),
            (Mnemonic::Sub, Some(to)) => {
                immediate(instruction).map_or(Value::Unknown, |bytes| self.registers[to].below(bytes))
            }
            (Mnemonic::Inc, Some(to)) => self.registers[to].below(-1),
            (Mnemonic::Dec, Some(to)) => self.registers[to].below(1),
            (Mnemonic::And, Some(to)) => self.aligned(to, instruction),
            (Mnemonic::Mov, None) if instruction.op0_kind() == OpKind::Memory => {
                let place = self.address(instruction).unwrap_or(Value::Unknown);
                self.write(place, instruction.memory_size().size() as i64, self.source(instruction, 1));
                return;
            }
            (Mnemonic::Cmp | Mnemonic::Test, _) => return,
            _ => return self.forget_written(instruction, info),
        };
        if let Some(to) = target {
            self.registers[to] = value;
        }
    }

    /// A register after `and` with an immediate: at most the alignment less 8 further down.
    fn aligned(&mut self, register: usize, instruction: &Instruction) -> Value {
        let alignment = immediate(instruction).and_then(i64::checked_neg);
        let Some(alignment) = alignment.filter(|bytes| (1..=MOST_ALIGNMENT).contains(bytes)) else {
            return Value::Unknown;
        };
        let Value::Stack(depth, before) = self.registers[register] else { return Value::Unknown };
        if alignment.count_ones() != 1 {
            return Value::Unknown;
        }
        // Where rsp is a multiple of 8, so is what is cut off.
        let step = if depth % 8 == 0 && before != From::Paths { 8.min(alignment) } else { 1 };
        let from = From::Aligned(instruction.ip() as u32);
        // What this `and` gave in an earlier turn of a loop is not counted from where it leads now.
        for saved in &mut self.saved {
            *saved = saved.filter(|saved| saved.place.1 != from);
        }
        for value in &mut self.registers {
            if let Value::Stack(depth, of) = *value
                && of == from
            {
                *value = Value::Stack(depth, From::Paths);
            }
        }
        match self.registers[register].below(alignment - step) {
            Value::Stack(depth, _) => Value::Stack(depth, from),
            Value::Unknown => Value::Unknown,
        }
    }

    /// Any other instruction: what it writes is unknown then.
    fn forget_written(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) {
        if instruction.op0_kind() == OpKind::Memory
            && let Some(place) = self.address(instruction)
        {
            self.write(place, instruction.memory_size().size() as i64, Value::Unknown);
        }
        let options = InstructionInfoOptions::NO_MEMORY_USAGE;
        for used in info.info_options(instruction, options).used_registers() {
            let reads = matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess);
            if let (false, Some(register)) = (reads, number(used.register())) {
                self.registers[register] = Value::Unknown;
            }
        }
    }

    /// How deep the memory operand lies, if it is certain; what is only computed, as by `lea`, is not touched.
    fn touched(&self, instruction: &Instruction) -> i64 {
        if matches!(instruction.mnemonic(), Mnemonic::Lea | Mnemonic::Nop) {
            return i64::MIN;
        }
        let by_rsp = instruction.memory_base() == Register::RSP;
        match self.address(instruction) {
            Some(Value::Stack(depth, from)) if by_rsp || from != From::Paths => depth.into(),
            _ => i64::MIN,
        }
    }

    /// Address of the memory operand; `None` if there is none, or it is not one register and a constant.
    fn address(&self, instruction: &Instruction) -> Option<Value> {
        let base = instruction.memory_base();
        let is_plain = base.is_gpr64()
            && instruction.memory_index() == Register::None
            && (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Memory);
        let base = number(base).filter(|_| is_plain)?;
        let displacement = instruction.memory_displacement64().cast_signed();
        Some(displacement.checked_neg().map_or(Value::Unknown, |bytes| self.registers[base].below(bytes)))
    }

    /// What a 64-bit operand holds.
    fn source(&self, instruction: &Instruction, operand: u32) -> Value {
        match instruction.try_op_kind(operand) {
            Ok(OpKind::Register) if instruction.op_register(operand).is_gpr64() => {
                number(instruction.op_register(operand)).map_or(Value::Unknown, |from| self.registers[from])
            }
            Ok(OpKind::Memory) if instruction.memory_size().size() == 8 => {
                self.address(instruction).map_or(Value::Unknown, |place| self.read(place))
            }
            _ => Value::Unknown,
        }
    }

    fn read(&self, place: Value) -> Value {
        let Value::Stack(depth, from) = place else { return Value::Unknown };
        let saved = self.saved.iter().flatten().find(|saved| saved.place == (depth, from));
        saved.filter(|_| from != From::Paths).map_or(Value::Unknown, |saved| saved.value)
    }

    /// Notes a write of so many bytes at a place: what was saved there is lost, and an address is saved.
    fn write(&mut self, place: Value, bytes: i64, value: Value) {
        let Value::Stack(depth, from) = place else { return };
        for saved in &mut self.saved {
            *saved = saved.filter(|saved| {
                let (other, other_from) = saved.place;
                let above = i64::from(depth) - i64::from(other);
                // The write ends before the 8 bytes begin, or begins behind them.
                from == other_from && from != From::Paths && (above >= bytes || above <= -8)
            });
        }
        let free = self.saved.iter_mut().find(|saved| saved.is_none());
        if let (Value::Stack(..), true, Some(free)) = (value, from != From::Paths && bytes == 8, free) {
            *free = Some(Saved { place: (depth, from), value });
        }
    }
}

/// Number of a general register, whatever part of it is named.
fn number(register: Register) -> Option<usize> {
    let full = register.full_register();
    full.is_gpr64().then(|| full.number())
}

/// The immediate that is the second operand, as a signed number.
fn immediate(instruction: &Instruction) -> Option<i64> {
    let is_immediate = matches!(
        instruction.try_op_kind(1),
        Ok(OpKind::Immediate8to64 | OpKind::Immediate32to64 | OpKind::Immediate8 | OpKind::Immediate64)
    );
    is_immediate.then(|| instruction.immediate(1).cast_signed())
}
