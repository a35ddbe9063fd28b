//! Guesses where indirect branches may go: addresses of text found in code and data, and tables of distances to it.
//!
//! A wrong guess costs a few bytes of copy. A missed one is met at run time by the copy, which then says that it could not
//! count; no guess can make a count wrong.
#![forbid(unsafe_code)]

use iced_x86::{Instruction, Mnemonic, OpKind};

use super::walk::{START, Walk};

/// Most bytes of each data segment that are searched.
const SEARCHED_BYTES: usize = 256 << 10;

/// Most entries of one table.
const MAX_ENTRIES: usize = 1 << 12;

/// Follows every candidate, and those that their code brings up in turn.
pub(super) fn follow(walk: &mut Walk<'_>, data: &[(u64, &[u8])]) {
    for (_, bytes) in data {
        let searched = &bytes[..bytes.len().min(SEARCHED_BYTES)];
        for word in searched.as_chunks().0 {
            let address = u64::from_le_bytes(*word);
            if walk.offset_of(address).is_some() {
                walk.follow_candidate(address);
            }
        }
    }
    let mut seen = 0;
    while let Some(step) = walk.found.steps.get(seen) {
        seen += 1;
        let instruction = step.instruction;
        if walk.found.too_large.is_some() {
            return;
        }
        if let Some(address) = named_address(&instruction) {
            match walk.offset_of(address) {
                Some(_) => walk.follow_candidate(address),
                None => follow_table(walk, address, data),
            }
        }
    }
}

/// The address an instruction names as a value: that of `lea reg, [rip + x]` or of an immediate.
fn named_address(instruction: &Instruction) -> Option<u64> {
    if instruction.mnemonic() == Mnemonic::Lea && instruction.is_ip_rel_memory_operand() {
        return Some(instruction.ip_rel_memory_address());
    }
    let kind = instruction.try_op_kind(1).ok()?;
    matches!(kind, OpKind::Immediate32 | OpKind::Immediate32to64 | OpKind::Immediate64)
        .then(|| instruction.immediate(1))
}

/// Follows a table of 32-bit distances from its own start, as compilers make of `switch` in position-independent code.
fn follow_table(walk: &mut Walk<'_>, table: u64, data: &[(u64, &[u8])]) {
    let start = |(address, bytes): &(u64, &[u8])| {
        let at = usize::try_from(table.checked_sub(*address)?).ok()?;
        (at < bytes.len()).then_some(at)
    };
    let Some((at, bytes)) = data.iter().find_map(|segment| Some((start(segment)?, segment.1))) else {
        return;
    };
    for entry in bytes[at..].as_chunks().0.iter().take(MAX_ENTRIES) {
        let target = table.wrapping_add_signed(i32::from_le_bytes(*entry).into());
        let Some(offset) = walk.offset_of(target) else { return };
        walk.follow_candidate(target);
        // A table does not say where it ends. One that leads into an instruction has ended.
        if walk.found.marks_at(offset) & START == 0 {
            return;
        }
    }
}
