//! The ELF header: is this an object a worker could load, and where is its section table?
//!
//! Trusts nothing. Everything that distinguishes one kind of ELF file from another is settled here, before any table
//! is read.

use goblin::elf::Elf;
use goblin::elf::header::{
    EI_CLASS, EI_DATA, EI_VERSION, ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_X86_64, ET_REL, EV_CURRENT, header64,
};
use goblin::elf::section_header::section_header64::SIZEOF_SHDR;
use webrunner_protocol::limits::MAX_SECTIONS;
use webrunner_protocol::refusal::{HeaderField, ObjectPart, ObjectRefusal};

/// Where the section headers are. They lie within the file, and there are at most [`MAX_SECTIONS`].
#[derive(Clone, Copy)]
pub(super) struct SectionTable {
    /// Offset in the file; 0 if there are none.
    pub(super) offset: usize,
    /// How many.
    pub(super) count: usize,
    /// Index of the section that holds their names; 0 if they have none.
    pub(super) names: usize,
}

/// Checks the header of an object.
pub(super) fn read(bytes: &[u8]) -> Result<SectionTable, ObjectRefusal> {
    if bytes.is_empty() {
        return Err(ObjectRefusal::Empty);
    }
    if bytes.len() < header64::SIZEOF_EHDR || !bytes.starts_with(ELFMAG) {
        return Err(ObjectRefusal::NotElf);
    }
    // Before goblin sees the header: it would read a 32-bit or big-endian one without complaint.
    expect(HeaderField::Class, bytes[EI_CLASS], ELFCLASS64)?;
    expect(HeaderField::ByteOrder, bytes[EI_DATA], ELFDATA2LSB)?;
    expect(HeaderField::Version, bytes[EI_VERSION], EV_CURRENT)?;
    let header = Elf::parse_header(bytes).map_err(|_| ObjectRefusal::NotElf)?;
    expect(HeaderField::Version, header.e_version, EV_CURRENT)?;
    expect(HeaderField::Type, header.e_type, ET_REL)?;
    expect(HeaderField::Machine, header.e_machine, EM_X86_64)?;
    expect(HeaderField::Flags, header.e_flags, 0_u32)?;
    expect(HeaderField::ProgramHeaders, header.e_phnum, 0_u16)?;

    let count = usize::from(header.e_shnum);
    if count == 0 {
        return without_sections(bytes, header.e_shoff);
    }
    expect(HeaderField::SectionHeaderSize, header.e_shentsize, SIZEOF_SHDR as u64)?;
    if count > MAX_SECTIONS {
        return Err(too_many_sections(count as u64));
    }
    let offset = usize::try_from(header.e_shoff).map_err(|_| malformed_table())?;
    let end = offset.checked_add(count * SIZEOF_SHDR).ok_or_else(malformed_table)?;
    if offset < header64::SIZEOF_EHDR || end > bytes.len() {
        return Err(malformed_table());
    }
    let names = usize::from(header.e_shstrndx);
    if names >= count {
        return Err(ObjectRefusal::Malformed { what: ObjectPart::Section, index: names as u64 });
    }
    Ok(SectionTable { offset, count, names })
}

/// With a table but no count, the count is in the first section header: extended numbering, used above 65279 sections.
fn without_sections(bytes: &[u8], table: u64) -> Result<SectionTable, ObjectRefusal> {
    const SIZE_FIELD: usize = 32;
    if table == 0 {
        return Ok(SectionTable { offset: 0, count: 0, names: 0 });
    }
    let count = usize::try_from(table)
        .ok()
        .and_then(|offset| bytes.get(offset..)?.get(SIZE_FIELD..)?.first_chunk())
        .map(|field| u64::from_le_bytes(*field))
        .ok_or_else(malformed_table)?;
    Err(if count > MAX_SECTIONS as u64 { too_many_sections(count) } else { malformed_table() })
}

fn expect<T: Into<u64>>(field: HeaderField, found: T, expected: impl Into<u64>) -> Result<(), ObjectRefusal> {
    let (found, expected) = (found.into(), expected.into());
    if found == expected { Ok(()) } else { Err(ObjectRefusal::Header { field, found, expected }) }
}

fn malformed_table() -> ObjectRefusal {
    ObjectRefusal::Malformed { what: ObjectPart::SectionTable, index: 0 }
}

fn too_many_sections(count: u64) -> ObjectRefusal {
    ObjectRefusal::TooMany { what: ObjectPart::Section, count, limit: MAX_SECTIONS as u64 }
}
