//! Relocation tables, and what each relocation type of the x86-64 psABI (section 4.4.1) comes to.
//!
//! | type | value | field |
//! |---|---|---|
//! | `64`, `32`, `32S`, `16`, `8` | S + A | any, unsigned, signed, either, either |
//! | `PC64`, `PC32`, `PC16`, `PC8`, `PLT32` | S + A - P | signed |
//! | `GOTPCREL`, `GOTPCRELX`, `REX_GOTPCRELX`, `GOTPCREL64` | G + GOT + A - P | signed |
//! | `GOT32`, `GOT64`, `GOTPLT64` | G + A | signed |
//! | `GOTPC32`, `GOTPC64` | GOT + A - P | signed |
//! | `GOTOFF64`, `PLTOFF64` | S + A - GOT | any |
//! | `SIZE32`, `SIZE64` | Z + A | unsigned, any |
//! | `NONE` | nothing is written | |
//!
//! S is the symbol's address, A the addend, P the place written, GOT the table's address, G the offset of the symbol's
//! slot in it, Z the symbol's size. There is no procedure linkage table: every function called is in the image, within
//! reach. All other types are refused: they are for thread-local storage, indirect functions and run-time linkers.

use goblin::elf::reloc::reloc64::SIZEOF_RELA;
use goblin::elf::reloc::{
    R_X86_64_8, R_X86_64_16, R_X86_64_32, R_X86_64_32S, R_X86_64_64, R_X86_64_GOT32, R_X86_64_GOT64,
    R_X86_64_GOTOFF64, R_X86_64_GOTPC32, R_X86_64_GOTPC64, R_X86_64_GOTPCREL, R_X86_64_GOTPCREL64,
    R_X86_64_GOTPCRELX, R_X86_64_GOTPLT64, R_X86_64_PC8, R_X86_64_PC16, R_X86_64_PC32, R_X86_64_PC64,
    R_X86_64_PLT32, R_X86_64_PLTOFF64, R_X86_64_REX_GOTPCRELX, R_X86_64_SIZE32, R_X86_64_SIZE64,
};
use goblin::elf::section_header::{SHT_REL, SHT_RELA};
use goblin::elf::{RelocSection, SectionHeader};
use webrunner_protocol::limits::MAX_RELOCATIONS;
use webrunner_protocol::refusal::{ObjectPart, ObjectRefusal, SectionFeature};

use super::ELF64;
use super::section::{Sections, malformed};
use super::symbol::Symbols;

/// The relocations of one loaded section.
pub(super) struct RelocationTable<'a> {
    /// Index of the section they apply to.
    pub(super) target: usize,
    /// The relocations.
    pub(super) entries: RelocSection<'a>,
}

/// What a relocation type writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) value: Value,
    pub(super) field: Field,
}

/// How the value is computed; the letters are the psABI's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// S + A
    Address,
    /// S + A - P
    Distance,
    /// G + A
    Slot,
    /// G + GOT + A - P
    SlotDistance,
    /// GOT + A - P
    GotDistance,
    /// S + A - GOT
    FromGot,
    /// Z + A
    Size,
}

impl Value {
    /// Whether the symbol needs a slot in the global offset table.
    pub(super) fn needs_slot(self) -> bool {
        matches!(self, Self::Slot | Self::SlotDistance)
    }

    /// Whether there must be a global offset table.
    pub(super) fn needs_got(self) -> bool {
        self.needs_slot() || matches!(self, Self::GotDistance | Self::FromGot)
    }
}

/// The bytes that are written, and which values fit them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// 64 bits; every value fits, as addresses wrap.
    Whole,
    /// So many bytes, sign-extended by the processor.
    Signed(u8),
    /// So many bytes, zero-extended.
    Unsigned(u8),
    /// So many bytes of data, signed or not.
    Either(u8),
}

impl Field {
    /// Width in bytes.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Whole => 8,
            Self::Signed(bytes) | Self::Unsigned(bytes) | Self::Either(bytes) => usize::from(bytes),
        }
    }

    /// Whether `value`, taken modulo 2^64, survives being cut to this field.
    pub(super) fn fits(self, value: u64) -> bool {
        let fits_signed = |bytes: u8| {
            let unused = 64 - 8 * u32::from(bytes);
            (value as i64) << unused >> unused == value as i64
        };
        let fits_unsigned = |bytes: u8| value >> (8 * u32::from(bytes)) == 0;
        match self {
            Self::Whole => true,
            Self::Signed(bytes) => fits_signed(bytes),
            Self::Unsigned(bytes) => fits_unsigned(bytes),
            Self::Either(bytes) => fits_signed(bytes) || fits_unsigned(bytes),
        }
    }
}

/// The rule of a relocation type; `None` if the type is not taken.
pub(super) fn rule(kind: u32) -> Option<Rule> {
    use Field::{Either, Signed, Unsigned, Whole};
    use Value::{Address, Distance, FromGot, GotDistance, Size, Slot, SlotDistance};
    let (value, field) = match kind {
        R_X86_64_64 => (Address, Whole),
        R_X86_64_32 => (Address, Unsigned(4)),
        R_X86_64_32S => (Address, Signed(4)),
        R_X86_64_16 => (Address, Either(2)),
        R_X86_64_8 => (Address, Either(1)),
        R_X86_64_PC64 => (Distance, Whole),
        R_X86_64_PC32 | R_X86_64_PLT32 => (Distance, Signed(4)),
        R_X86_64_PC16 => (Distance, Signed(2)),
        R_X86_64_PC8 => (Distance, Signed(1)),
        R_X86_64_GOTPCREL | R_X86_64_GOTPCRELX | R_X86_64_REX_GOTPCRELX => (SlotDistance, Signed(4)),
        R_X86_64_GOTPCREL64 => (SlotDistance, Whole),
        R_X86_64_GOT32 => (Slot, Signed(4)),
        R_X86_64_GOT64 | R_X86_64_GOTPLT64 => (Slot, Whole),
        R_X86_64_GOTPC32 => (GotDistance, Signed(4)),
        R_X86_64_GOTPC64 => (GotDistance, Whole),
        R_X86_64_GOTOFF64 | R_X86_64_PLTOFF64 => (FromGot, Whole),
        R_X86_64_SIZE32 => (Size, Unsigned(4)),
        R_X86_64_SIZE64 => (Size, Whole),
        _ => return None,
    };
    Some(Rule { value, field })
}

/// Finds the relocations of loaded sections. The rest, mostly for debug sections, are not looked at.
pub(super) fn tables<'a>(
    bytes: &'a [u8],
    sections: &Sections<'a>,
    symbols: &Symbols<'a>,
) -> Result<Vec<RelocationTable<'a>>, ObjectRefusal> {
    let mut tables = Vec::new();
    let mut total = 0;
    for (index, header) in sections.headers().iter().enumerate() {
        if !matches!(header.sh_type, SHT_REL | SHT_RELA) {
            continue;
        }
        let target = header.sh_info as usize;
        if target == 0 || target >= sections.len() {
            return Err(malformed(ObjectPart::RelocationTable, index));
        }
        if sections.rights(target).is_none() {
            continue;
        }
        if header.sh_type == SHT_REL {
            let feature = SectionFeature::ImplicitAddends;
            return Err(ObjectRefusal::Section { name: sections.label(index), feature });
        }
        if symbols.section() != Some(header.sh_link as usize) {
            return Err(malformed(ObjectPart::RelocationTable, index));
        }
        let entries = read_table(bytes, index, header)?;
        total += entries.len();
        if total > MAX_RELOCATIONS {
            let (count, limit) = (total as u64, MAX_RELOCATIONS as u64);
            return Err(ObjectRefusal::TooMany { what: ObjectPart::Relocation, count, limit });
        }
        tables.push(RelocationTable { target, entries });
    }
    Ok(tables)
}

fn read_table<'a>(
    bytes: &'a [u8],
    index: usize,
    header: &SectionHeader,
) -> Result<RelocSection<'a>, ObjectRefusal> {
    let refusal = || malformed(ObjectPart::RelocationTable, index);
    let entry_bytes = SIZEOF_RELA as u64;
    if header.sh_entsize != entry_bytes || !header.sh_size.is_multiple_of(entry_bytes) {
        return Err(refusal());
    }
    let offset = usize::try_from(header.sh_offset).map_err(|_| refusal())?;
    let size = usize::try_from(header.sh_size).map_err(|_| refusal())?;
    // An empty table may claim any offset; goblin adds the two without a check.
    let offset = if size == 0 { 0 } else { offset };
    RelocSection::parse(bytes, offset, size, true, ELF64).map_err(|_| refusal())
}
