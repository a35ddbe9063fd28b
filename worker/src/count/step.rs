//! One decoded instruction and what it does to the flow of control.
//!
//! Only the decoder's view of hostile bytes; nothing is followed here.
#![forbid(unsafe_code)]

use std::num::NonZeroU16;

use iced_x86::{Code, FlowControl, Instruction, OpKind};

/// An instruction and where its displacement lies, which the decoder knows only while it decodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) instruction: Instruction,
    /// Bytes from the instruction's first to its memory displacement's; 0 if it has none.
    pub(super) displacement: u8,
    /// Its number among the [repeated](is_repeated) ones, from 1; `None` if it is not one.
    pub(super) repeated: Option<NonZeroU16>,
}

/// What an instruction does to the flow of control. Targets are addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes on to the next.
    Plain,
    /// Raises a signal; a signal ends the process.
    Stops,
    /// `jmp` to a fixed place.
    Jump(u64),
    /// `jcc`
    Conditional(u64),
    /// `loop`, `jrcxz` and their like, which reach no further than 127 bytes.
    Short(u64),
    /// `call` to a fixed place.
    Call(u64),
    /// `jmp` through a register or memory.
    IndirectJump,
    /// `call` through a register or memory.
    IndirectCall,
    /// `ret`; with the bytes of arguments it drops.
    Return(u16),
    /// None of these.
    Unsupported,
}

/// Sorts an instruction; `bytes` are its own.
pub(super) fn kind(instruction: &Instruction, bytes: &[u8]) -> Kind {
    let flow = instruction.flow_control();
    if flow == FlowControl::Next {
        return Kind::Plain;
    }
    // CPUs disagree on what this prefix does to a branch.
    if bytes.iter().take_while(|&&byte| is_prefix(byte)).any(|&byte| byte == 0x66) {
        return Kind::Unsupported;
    }
    let near = instruction.op0_kind() == OpKind::NearBranch64;
    let target = instruction.near_branch_target();
    match flow {
        FlowControl::UnconditionalBranch if near => Kind::Jump(target),
        FlowControl::Call if near => Kind::Call(target),
        // System calls, and calls of a hypervisor or a monitor.
        FlowControl::Call | FlowControl::Interrupt | FlowControl::Exception => Kind::Stops,
        FlowControl::ConditionalBranch if near && instruction.is_jcc_short_or_near() => {
            Kind::Conditional(target)
        }
        FlowControl::ConditionalBranch if near => Kind::Short(target),
        FlowControl::IndirectBranch if instruction.code() == Code::Jmp_rm64 => Kind::IndirectJump,
        FlowControl::IndirectCall if instruction.code() == Code::Call_rm64 => Kind::IndirectCall,
        FlowControl::Return => match instruction.code() {
            Code::Retnq => Kind::Return(0),
            Code::Retnq_imm16 => Kind::Return(instruction.immediate16()),
            _ => Kind::Unsupported,
        },
        _ => Kind::Unsupported,
    }
}

/// Whether it is a string instruction that is made once for each element, as often as rcx says or until a comparison
/// ends it.
pub(super) fn is_repeated(instruction: &Instruction) -> bool {
    instruction.is_string_instruction() && (instruction.has_rep_prefix() || instruction.has_repne_prefix())
}

/// Whether a byte is a legacy prefix.
pub(super) fn is_prefix(byte: u8) -> bool {
    matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
}
