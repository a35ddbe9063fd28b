//! Functions of known length, as objects: a few instructions each, wrapped in the least ELF that the loader takes.
//!
//! They go the way of any client's object. Without symbols, an object's function is the start of its text.

use actix_web::web::Bytes;

/// The dot product of `examples/sdot_avx2.asm`.
const SDOT: &[u8] = include_bytes!("../../../../examples/sdot_avx2.o");

const RET: u8 = 0xc3;

/// `add rax, rax` this many times, each waiting for the last: one cycle each.
pub(super) fn adds(count: usize) -> Bytes {
    object(&repeated(&[0x48, 0x01, 0xc0], count))
}

/// `imul rax, rax` this many times, each waiting for the last.
pub(super) fn imuls(count: usize) -> Bytes {
    object(&repeated(&[0x48, 0x0f, 0xaf, 0xc0], count))
}

/// Nothing but the return.
pub(super) fn empty() -> Bytes {
    object(&[RET])
}

/// `mov ecx, turns`, then `add rax, rax; dec ecx; jnz` back to the addition, then `ret`: 3 instructions a turn and 2.
pub(super) fn loop_of(turns: u32) -> Bytes {
    let mut text = vec![0xb9];
    text.extend(turns.to_le_bytes());
    text.extend([0x48, 0x01, 0xc0, 0xff, 0xc9, 0x75, 0xf9, RET]);
    object(&text)
}

/// `lea rsi, [rsp-64]; lea rdi, [rsp-32]; mov ecx, 32; rep movsb; ret`: five instructions, within the red zone.
pub(super) fn copy() -> Bytes {
    object(&[0x48, 0x8d, 0x74, 0x24, 0xc0, 0x48, 0x8d, 0x7c, 0x24, 0xe0, 0xb9, 32, 0, 0, 0, 0xf3, 0xa4, RET])
}

/// A dot product of 16 loads for 64 elements.
pub(super) fn sdot() -> Bytes {
    Bytes::from_static(SDOT)
}

/// Instructions that [`sdot`] executes for `n` elements, a multiple of 64.
pub(super) fn sdot_instructions(n: u64) -> u64 {
    20 * (n / 64) + 21
}

/// Cache lines of 64 bytes that [`reads_lines`] reads: 4 KiB.
pub(super) const LINES: u32 = 64;

/// Branches of [`branches`] that chance may decide.
pub(super) const BRANCHES: u32 = 1000;

/// As `sdot`: reads the first word of each line of 4 KiB of x, after all were put out of the caches if `flushed`.
pub(super) fn reads_lines(flushed: bool) -> Bytes {
    let mut text = Vec::new();
    if flushed {
        // `mov rax, rsi; mov ecx, LINES`; `clflush [rax]; add rax, 64; dec ecx; jnz`; `mfence`
        text.extend([0x48, 0x89, 0xf0, 0xb9]);
        text.extend(LINES.to_le_bytes());
        text.extend([0x0f, 0xae, 0x38, 0x48, 0x83, 0xc0, 64, 0xff, 0xc9, 0x75, 0xf5, 0x0f, 0xae, 0xf0]);
    }
    // `mov ecx, LINES; xorps xmm0, xmm0`; `mov rax, [rsi]; add rsi, 64; dec ecx; jnz`; `ret`
    text.push(0xb9);
    text.extend(LINES.to_le_bytes());
    text.extend([0x0f, 0x57, 0xc0, 0x48, 0x8b, 0x06, 0x48, 0x83, 0xc6, 64, 0xff, 0xc9, 0x75, 0xf5, RET]);
    object(&text)
}

/// A loop of [`BRANCHES`] turns, each with a branch by a bit of a xorshift generator that begins with the time stamp if
/// `random`, and with 0, where it stays, if not.
pub(super) fn branches(random: bool) -> Bytes {
    // `rdtsc`; `xor eax, eax` or two of `nop`; `mov ecx, BRANCHES`
    let mut text = vec![0x0f, 0x31];
    text.extend(if random { [0x90, 0x90] } else { [0x31, 0xc0] });
    text.push(0xb9);
    text.extend(BRANCHES.to_le_bytes());
    // `mov edx, eax; shl edx, 13; xor eax, edx; mov edx, eax; shr edx, 17; xor eax, edx; mov edx, eax; shl edx, 5; xor
    // eax, edx`
    text.extend([0x89, 0xc2, 0xc1, 0xe2, 13, 0x31, 0xd0, 0x89, 0xc2, 0xc1, 0xea, 17, 0x31, 0xd0]);
    text.extend([0x89, 0xc2, 0xc1, 0xe2, 5, 0x31, 0xd0]);
    // `test eax, 0x10000; jz` over `add rdi, rdi`; `dec ecx; jnz`; `ret`
    text.extend([0xa9, 0, 0, 1, 0, 0x74, 3, 0x48, 0x01, 0xff, 0xff, 0xc9, 0x75, 0xdd, RET]);
    object(&text)
}

fn repeated(instruction: &[u8], count: usize) -> Vec<u8> {
    let mut text = instruction.repeat(count);
    text.push(RET);
    text
}

/// A relocatable ELF64 x86-64 file with one section that holds something: `text`.
fn object(text: &[u8]) -> Bytes {
    const HEADER_BYTES: u64 = 64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    // ET_REL, EM_X86_64, version, no entry, no program headers.
    file.extend([1, 0, 62, 0, 1, 0, 0, 0]);
    file.extend([0; 16]);
    file.extend((HEADER_BYTES + text.len() as u64).to_le_bytes());
    file.extend([0; 4]);
    // Size of this header, no program headers, size and number of section headers, no section names.
    for half in [HEADER_BYTES as u16, 0, 0, 64, 2, 0] {
        file.extend(half.to_le_bytes());
    }
    file.extend(text);
    file.extend([0; 64]);
    // No name, SHT_PROGBITS; SHF_ALLOC and SHF_EXECINSTR, no address, place and size, no link; aligned to a cache line.
    file.extend([0, 0, 0, 0, 1, 0, 0, 0]);
    for word in [6, 0, HEADER_BYTES, text.len() as u64, 0, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.into()
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};

    use super::*;

    #[test]
    fn every_branch_of_code_written_in_bytes_leads_to_an_instruction() {
        const TEXT: usize = 64;
        let objects =
            [loop_of(3), copy(), reads_lines(false), reads_lines(true), branches(false), branches(true)];
        for (number, object) in objects.iter().enumerate() {
            let text = &object[TEXT..object.len() - 2 * 64];
            let code: Vec<Instruction> = Decoder::with_ip(64, text, 0, DecoderOptions::NONE).iter().collect();
            assert!(code.iter().all(|instruction| !instruction.is_invalid()), "number {number}");
            assert_eq!(code.last().map(Instruction::flow_control), Some(FlowControl::Return));
            let branches = code.iter().filter(|code| code.flow_control() == FlowControl::ConditionalBranch);
            for branch in branches {
                let target = branch.near_branch_target();
                assert!(code.iter().any(|code| code.ip() == target), "number {number}: {target:#x}");
            }
        }
    }
}
