//! The section table: which sections are loaded, with which rights, and which cannot be.
//!
//! After [`Sections::parse`] every section's contents lie within the file, every name within its table, and every loaded
//! section has an alignment that a page satisfies. Sizes of sections without contents are still unbounded.

use goblin::elf::SectionHeader;
use goblin::elf::section_header::{
    SHF_ALLOC, SHF_COMPRESSED, SHF_EXCLUDE, SHF_EXECINSTR, SHF_TLS, SHF_WRITE, SHT_FINI_ARRAY,
    SHT_INIT_ARRAY, SHT_NOBITS, SHT_NOTE, SHT_NULL, SHT_PREINIT_ARRAY, SHT_PROGBITS, SHT_STRTAB,
    SHT_X86_64_UNWIND,
};
use webrunner_protocol::refusal::{Name, ObjectPart, ObjectRefusal, SectionFeature};

use super::ELF64;
use super::header::SectionTable;
use super::image::{PAGE_BYTES, Rights};
use super::strings::Strings;

/// The sections of an object.
pub(super) struct Sections<'a> {
    bytes: &'a [u8],
    headers: Vec<SectionHeader>,
    /// For each section, the rights it is loaded with; `None` if it is not loaded.
    rights: Vec<Option<Rights>>,
    names: Strings<'a>,
}

impl<'a> Sections<'a> {
    pub(super) fn parse(bytes: &'a [u8], table: SectionTable) -> Result<Self, ObjectRefusal> {
        // goblin would take a count of 0 for extended numbering.
        let headers = if table.count == 0 {
            Vec::new()
        } else {
            SectionHeader::parse(bytes, table.offset, table.count, ELF64)
                .map_err(|_| malformed(ObjectPart::SectionTable, 0))?
        };
        let mut sections =
            Self { bytes, rights: Vec::with_capacity(headers.len()), headers, names: Strings::default() };
        if table.names != 0 {
            sections.names = sections.strings(table.names)?;
        }
        for index in 0..sections.headers.len() {
            sections.check(index)?;
            let rights = sections.classify(index)?;
            sections.rights.push(rights);
        }
        Ok(sections)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.headers.len()
    }

    /// All headers, by index.
    pub(super) fn headers(&self) -> &[SectionHeader] {
        &self.headers
    }

    /// The rights a section is loaded with; `None` if it is not loaded or not there.
    pub(super) fn rights(&self, index: usize) -> Option<Rights> {
        self.rights.get(index).copied().flatten()
    }

    /// Loaded sections by index, with their rights.
    pub(super) fn loaded(&self) -> impl Iterator<Item = (usize, &SectionHeader, Rights)> {
        self.headers
            .iter()
            .zip(&self.rights)
            .enumerate()
            .filter_map(|(index, (header, rights))| Some((index, header, (*rights)?)))
    }

    /// The largest alignment that a text section asks for; at least 1.
    pub(super) fn text_alignment(&self) -> u64 {
        let text = self.loaded().filter(|(_, _, rights)| *rights == Rights::ReadExecute);
        text.map(|(_, header, _)| header.sh_addralign).fold(1, u64::max)
    }

    /// Size in memory; 0 for a section that is not there.
    pub(super) fn bytes_of(&self, index: usize) -> u64 {
        self.headers.get(index).map_or(0, |header| header.sh_size)
    }

    /// What the file holds of a section: nothing for one of zeroes.
    pub(super) fn contents(&self, header: &SectionHeader) -> &'a [u8] {
        header.file_range().and_then(|range| self.bytes.get(range)).unwrap_or_default()
    }

    /// The string table in section `index`.
    pub(super) fn strings(&self, index: usize) -> Result<Strings<'a>, ObjectRefusal> {
        let refusal = || malformed(ObjectPart::StringTable, index);
        let header =
            self.headers.get(index).filter(|header| header.sh_type == SHT_STRTAB).ok_or_else(refusal)?;
        if !self.fits(header) {
            return Err(refusal());
        }
        Strings::new(self.contents(header)).ok_or_else(refusal)
    }

    /// A section's name for a message: its number if it has none.
    pub(super) fn label(&self, index: usize) -> Name {
        match self.name(index) {
            b"" => Name::new(format!("#{index}").as_bytes()),
            name => Name::new(name),
        }
    }

    fn name(&self, index: usize) -> &'a [u8] {
        self.headers.get(index).map_or(&[], |header| self.names.prefix(header.sh_name))
    }

    fn fits(&self, header: &SectionHeader) -> bool {
        header.sh_size == 0
            || header.sh_offset.checked_add(header.sh_size).is_some_and(|end| end <= self.bytes.len() as u64)
    }

    fn check(&self, index: usize) -> Result<(), ObjectRefusal> {
        let header = &self.headers[index];
        if header.sh_type == SHT_NULL {
            return Ok(());
        }
        if !self.names.holds(header.sh_name) {
            return Err(malformed(ObjectPart::Name, index));
        }
        if header.sh_type != SHT_NOBITS && !self.fits(header) {
            return Err(malformed(ObjectPart::Section, index));
        }
        Ok(())
    }

    fn classify(&self, index: usize) -> Result<Option<Rights>, ObjectRefusal> {
        let header = &self.headers[index];
        let name = self.name(index);
        if is_left_out(index, header, name) {
            return Ok(None);
        }
        if let Some(feature) = unsupported(header, name) {
            return Err(ObjectRefusal::Section { name: self.label(index), feature });
        }
        if !is_alignment(header.sh_addralign) {
            return Err(ObjectRefusal::Alignment { name: self.label(index), alignment: header.sh_addralign });
        }
        Ok(Some(if has(header, SHF_EXECINSTR) {
            Rights::ReadExecute
        } else if has(header, SHF_WRITE) {
            Rights::ReadWrite
        } else {
            Rights::Read
        }))
    }
}

/// Whether the image does without this section. clang gives unwind tables a type of their own, gcc only a name.
fn is_left_out(index: usize, header: &SectionHeader, name: &[u8]) -> bool {
    index == 0
        || !has(header, SHF_ALLOC)
        || has(header, SHF_EXCLUDE)
        || matches!(header.sh_type, SHT_NULL | SHT_NOTE | SHT_X86_64_UNWIND)
        || name == b".eh_frame"
}

fn unsupported(header: &SectionHeader, name: &[u8]) -> Option<SectionFeature> {
    if has(header, SHF_TLS) {
        return Some(SectionFeature::ThreadLocal);
    }
    if has(header, SHF_COMPRESSED) {
        return Some(SectionFeature::Compressed);
    }
    if has(header, SHF_WRITE) && has(header, SHF_EXECINSTR) {
        return Some(SectionFeature::WritableCode);
    }
    match header.sh_type {
        SHT_INIT_ARRAY | SHT_FINI_ARRAY | SHT_PREINIT_ARRAY => Some(SectionFeature::Constructor),
        SHT_PROGBITS | SHT_NOBITS => runs_at_start_or_end(name).then_some(SectionFeature::Constructor),
        kind => Some(SectionFeature::UnknownType(kind)),
    }
}

/// By name too: older assemblers give these tables the type of ordinary data. A priority may follow a full stop.
fn runs_at_start_or_end(name: &[u8]) -> bool {
    const TABLES: [&[u8]; 5] = [b".init_array", b".fini_array", b".preinit_array", b".ctors", b".dtors"];
    let is_table = |table: &&[u8]| {
        name.strip_prefix(*table).is_some_and(|rest| matches!(rest.first(), None | Some(b'.')))
    };
    matches!(name, b".init" | b".fini") || TABLES.iter().any(is_table)
}

/// Whether a page-aligned segment can honour an alignment. 0 means none is asked for.
pub(super) fn is_alignment(alignment: u64) -> bool {
    alignment == 0 || (alignment.is_power_of_two() && alignment <= PAGE_BYTES)
}

fn has(header: &SectionHeader, flag: u32) -> bool {
    header.sh_flags & u64::from(flag) != 0
}

pub(super) fn malformed(what: ObjectPart, index: usize) -> ObjectRefusal {
    ObjectRefusal::Malformed { what, index: index as u64 }
}
