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
