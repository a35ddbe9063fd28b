//! What each relocation type writes, from the x86-64 psABI, section 4.4.1; written without a look at the loader's table.

use object::elf::{
    R_X86_64_8, R_X86_64_16, R_X86_64_32, R_X86_64_32S, R_X86_64_64, R_X86_64_GOT32, R_X86_64_GOT64,
    R_X86_64_GOTOFF64, R_X86_64_GOTPC32, R_X86_64_GOTPC64, R_X86_64_GOTPCREL, R_X86_64_GOTPCREL64,
    R_X86_64_GOTPCRELX, R_X86_64_GOTPLT64, R_X86_64_PC8, R_X86_64_PC16, R_X86_64_PC32, R_X86_64_PC64,
    R_X86_64_PLT32, R_X86_64_PLTOFF64, R_X86_64_REX_GOTPCRELX, R_X86_64_SIZE32, R_X86_64_SIZE64,
    RelocationType,
};

/// What a relocation is computed from; all sums are modulo 2^64.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// S: the symbol's address. With no procedure linkage table, L is the same.
    pub(super) symbol: u64,
    /// A
    pub(super) addend: u64,
    /// P: the address that is written.
    pub(super) place: u64,
    /// GOT
    pub(super) got: u64,
    /// G: offset of the symbol's slot in the global offset table.
    pub(super) slot: u64,
    /// Z
    pub(super) size: u64,
}

/// Whether a type makes the symbol have a slot.
pub(super) fn needs_slot(kind: RelocationType) -> bool {
    matches!(
        kind,
        R_X86_64_GOT32
            | R_X86_64_GOT64
            | R_X86_64_GOTPLT64
            | R_X86_64_GOTPCREL
            | R_X86_64_GOTPCREL64
            | R_X86_64_GOTPCRELX
            | R_X86_64_REX_GOTPCRELX
    )
}

/// Whether a type makes the table exist, slot or no slot.
pub(super) fn needs_table(kind: RelocationType) -> bool {
    let anchored =
        matches!(kind, R_X86_64_GOTPC32 | R_X86_64_GOTPC64 | R_X86_64_GOTOFF64 | R_X86_64_PLTOFF64);
    anchored || needs_slot(kind)
}

/// The bytes a type writes; `None` if it is no type taken here, or the value does not fit the field.
pub(super) fn bytes(kind: RelocationType, terms: Terms) -> Option<Vec<u8>> {
    let Terms { symbol: s, addend: a, place: p, got, slot: g, size: z } = terms;
    let absolute = s.wrapping_add(a);
    let relative = absolute.wrapping_sub(p);
    let slot = g.wrapping_add(a);
    let slot_relative = got.wrapping_add(slot).wrapping_sub(p);
    let table_relative = got.wrapping_add(a).wrapping_sub(p);
    let size = z.wrapping_add(a);
    match kind {
        R_X86_64_64 => word(absolute),
        R_X86_64_PC64 => word(relative),
        R_X86_64_GOT64 | R_X86_64_GOTPLT64 => word(slot),
        R_X86_64_GOTPCREL64 => word(slot_relative),
        R_X86_64_GOTPC64 => word(table_relative),
        R_X86_64_GOTOFF64 | R_X86_64_PLTOFF64 => word(absolute.wrapping_sub(got)),
        R_X86_64_SIZE64 => word(size),
        R_X86_64_32 => unsigned(absolute),
        R_X86_64_SIZE32 => unsigned(size),
        R_X86_64_32S => signed(absolute, 4),
        R_X86_64_PC32 | R_X86_64_PLT32 => signed(relative, 4),
        R_X86_64_GOT32 => signed(slot, 4),
        R_X86_64_GOTPCREL | R_X86_64_GOTPCRELX | R_X86_64_REX_GOTPCRELX => signed(slot_relative, 4),
        R_X86_64_GOTPC32 => signed(table_relative, 4),
        R_X86_64_PC16 => signed(relative, 2),
        R_X86_64_PC8 => signed(relative, 1),
        R_X86_64_16 => u16::try_from(absolute).ok().map(|v| v.to_le_bytes().into()).or(signed(absolute, 2)),
        R_X86_64_8 => u8::try_from(absolute).ok().map(|v| vec![v]).or(signed(absolute, 1)),
        _ => None,
    }
}

fn word(value: u64) -> Option<Vec<u8>> {
    Some(value.to_le_bytes().into())
}

fn unsigned(value: u64) -> Option<Vec<u8>> {
    Some(u32::try_from(value).ok()?.to_le_bytes().into())
}

fn signed(value: u64, width: usize) -> Option<Vec<u8>> {
    let value = value.cast_signed();
    let fits = match width {
        4 => i32::try_from(value).is_ok(),
        2 => i16::try_from(value).is_ok(),
        _ => i8::try_from(value).is_ok(),
    };
    fits.then(|| value.to_le_bytes()[..width].to_vec())
}
