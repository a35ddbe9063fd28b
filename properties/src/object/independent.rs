//! The image an object should become, worked out a second time: read by the `object` crate instead of goblin, placed by
//! the rules that `worker/src/load/` documents, relocated by [`psabi`].
//!
//! Here nothing is fast, and nothing is refused that the loader has already looked at. An error means that the `object`
//! crate does not read what the loader took; the few places where that is right are handled here, each with its reason:
//!
//! | the loader takes | because | the `object` crate |
//! |---|---|---|
//! | a first symbol that is not null | PeachPy writes none | skips it when it iterates, so its table is indexed |
//! | `e_shstrndx` of 0 | nothing needs a section's name | asks for a table, so the names are left empty |
//! | an empty section at any offset | there is nothing to read | wants the offset in the file, so it is not asked |
//! | a table for an unloaded section, broken | nobody reads it | is not asked either |

use object::LittleEndian as LE;
use object::elf::{
    FileHeader64, R_X86_64_NONE, Rela64, RelocationType, SHF_ALLOC, SHF_EXCLUDE, SHF_EXECINSTR, SHF_WRITE,
    SHN_ABS, SHN_COMMON, SHN_UNDEF, SHT_NOTE, SHT_NULL, SHT_RELA, SHT_SYMTAB, SHT_X86_64_UNWIND, STB_WEAK,
    SectionHeader64, Sym64, SymbolSection,
};
use object::read::StringTable;
use object::read::elf::{FileHeader as _, Rela as _, SectionHeader as _, Sym as _};
use webrunner_protocol::refusal::Name;
use webrunner_worker::load::{ImageLayout, PAGE_BYTES, Rights, Segment};

use super::psabi::{self, Terms};

type Header = SectionHeader64<LE>;

/// An object, and where everything in it goes.
pub(super) struct Image<'a> {
    sections: Vec<Placed<'a>>,
    symbols: &'a [Sym64<LE>],
    symbol_names: StringTable<'a>,
    /// For each symbol, its place in the writable segment if it is common.
    commons: Vec<u64>,
    relocations: Vec<(usize, &'a [Rela64<LE>])>,
    /// Symbols with slots, in the order of their slots; slot 0 is nobody's.
    slots: Vec<usize>,
    got_at: u64,
    /// Bytes used of each segment.
    used: [u64; 3],
}

/// A section, and where it lies if it is loaded.
struct Placed<'a> {
    rights: Option<Rights>,
    at: u64,
    size: u64,
    data: &'a [u8],
}

impl<'a> Image<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let file = FileHeader64::<LE>::parse(bytes).map_err(|error| error.to_string())?;
        let headers = file.section_headers(LE, bytes).map_err(|error| error.to_string())?;
        let names = if file.e_shstrndx(LE) == SHN_UNDEF {
            StringTable::default()
        } else {
            file.section_strings(LE, bytes, headers).map_err(|error| error.to_string())?
        };
        let mut image = Self {
            sections: Vec::new(),
            symbols: &[],
            symbol_names: StringTable::default(),
            commons: Vec::new(),
            relocations: Vec::new(),
            slots: Vec::new(),
            got_at: 0,
            used: [0; 3],
        };
        for (index, header) in headers.iter().enumerate() {
            let placed = image.place(bytes, index, header, names)?;
            image.sections.push(placed);
        }
        image.read_symbols(bytes, headers)?;
        image.read_relocations(bytes, headers)?;
        image.place_got();
        image.place_commons();
        Ok(image)
    }

    fn place(
        &mut self,
        bytes: &'a [u8],
        index: usize,
        header: &Header,
        names: StringTable<'a>,
    ) -> Result<Placed<'a>, String> {
        let size = header.sh_size(LE);
        let name = names.get(header.sh_name(LE)).unwrap_or_default();
        let Some(rights) = rights(index, header, name) else {
            return Ok(Placed { rights: None, at: 0, size, data: &[] });
        };
        let data = if size == 0 { &[] } else { header.data(LE, bytes).map_err(|error| error.to_string())? };
        let at = self.take(rights, size, header.sh_addralign(LE));
        Ok(Placed { rights: Some(rights), at, size, data })
    }

    /// The next place in a segment; something empty takes none.
    fn take(&mut self, rights: Rights, bytes: u64, alignment: u64) -> u64 {
        let used = &mut self.used[rights as usize];
        let at = used.next_multiple_of(alignment.max(1));
        if bytes > 0 {
            *used = at + bytes;
        }
        at
    }

    fn read_symbols(&mut self, bytes: &'a [u8], headers: &'a [Header]) -> Result<(), String> {
        let Some(table) = headers.iter().find(|header| header.sh_type(LE) == SHT_SYMTAB) else {
            return Ok(());
        };
        if table.sh_size(LE) != 0 {
            self.symbols = table.data_as_array(LE, bytes).map_err(|error| error.to_string())?;
        }
        let names = headers.get(table.sh_link(LE) as usize).ok_or("no names of symbols")?;
        self.symbol_names = names.strings(LE, bytes).map_err(|error| error.to_string())?.unwrap_or_default();
        Ok(())
    }

    fn read_relocations(&mut self, bytes: &'a [u8], headers: &'a [Header]) -> Result<(), String> {
        for header in headers.iter().filter(|header| header.sh_type(LE) == SHT_RELA) {
            let target = header.sh_info(LE) as usize;
            let loaded = self.sections.get(target).is_some_and(|section| section.rights.is_some());
            if loaded && header.sh_size(LE) != 0 {
                let (entries, _) =
                    header.rela(LE, bytes).map_err(|error| error.to_string())?.ok_or("no relocations")?;
                self.relocations.push((target, entries));
            }
        }
        Ok(())
    }

    /// The table lies behind all constants, with a slot nobody has before the others.
    fn place_got(&mut self) {
        let mut exists = false;
        for relocation in self.relocations.iter().flat_map(|(_, entries)| *entries) {
            let (kind, symbol) = (kind(relocation), relocation.r_sym(LE, false) as usize);
            if kind == R_X86_64_NONE {
                continue;
            }
            exists |= psabi::needs_table(kind) || self.is_got(symbol);
            if psabi::needs_slot(kind) && !self.slots.contains(&symbol) {
                self.slots.push(symbol);
            }
        }
        let bytes = if exists { 8 * (1 + self.slots.len() as u64) } else { 0 };
        self.got_at = self.take(Rights::Read, bytes, 8);
    }

    fn place_commons(&mut self) {
        for symbol in self.symbols {
            let at = if is_common(symbol) {
                self.take(Rights::ReadWrite, symbol.st_size(LE), symbol.st_value(LE))
            } else {
                0
            };
            self.commons.push(at);
        }
    }

    /// The segments, with a guard page before, between and behind.
    pub(super) fn layout(&self) -> ImageLayout {
        let mut segments = Vec::new();
        let mut offset = PAGE_BYTES;
        for rights in ALL {
            let used = self.used[rights as usize];
            if used > 0 {
                let bytes = used.next_multiple_of(PAGE_BYTES);
                segments.push(Segment { rights, offset, bytes });
                offset += bytes + PAGE_BYTES;
            }
        }
        ImageLayout { segments, bytes: offset }
    }

    /// Where a segment begins, or would if it held something.
    fn start(&self, rights: Rights) -> u64 {
        let before = ALL.iter().take_while(|other| **other != rights).map(|other| self.used[*other as usize]);
        let sizes =
            before.filter(|used| *used > 0).map(|used| used.next_multiple_of(PAGE_BYTES) + PAGE_BYTES);
        PAGE_BYTES + sizes.sum::<u64>()
    }

    /// Whether a symbol with a name that begins so lies in text at this offset from the start of the image.
    pub(super) fn has_function(&self, name: &Name, offset: u64) -> bool {
        self.symbols.iter().any(|symbol| {
            let section = usize::from(symbol.st_shndx(LE).0);
            let Some(section) = self.sections.get(section).filter(|s| s.rights == Some(Rights::ReadExecute))
            else {
                return false;
            };
            let found = self.symbol_names.get(symbol.st_name(LE)).unwrap_or_default();
            offset == self.start(Rights::ReadExecute) + section.at + symbol.st_value(LE)
                && Name::new(found) == *name
        })
    }

    fn is_got(&self, symbol: usize) -> bool {
        let symbol = &self.symbols[symbol];
        symbol.st_shndx(LE) == SHN_UNDEF
            && symbol.st_bind() != STB_WEAK
            && self.symbol_names.get(symbol.st_name(LE)) == Ok(b"_GLOBAL_OFFSET_TABLE_")
    }

    /// Address of what a symbol stands for. Undefined ones that the loader takes are 0.
    fn address(&self, base: u64, index: usize) -> u64 {
        let symbol = &self.symbols[index];
        let value = symbol.st_value(LE);
        match symbol.st_shndx(LE) {
            SHN_UNDEF if self.is_got(index) => base + self.start(Rights::Read) + self.got_at,
            SHN_UNDEF => 0,
            SHN_ABS => value,
            _ if is_common(symbol) => base + self.start(Rights::ReadWrite) + self.commons[index],
            section => {
                let section = &self.sections[usize::from(section.0)];
                let start = section.rights.map_or(0, |rights| self.start(rights));
                (base + start + section.at).wrapping_add(value)
            }
        }
    }

    /// The bytes of every segment; `None` if a value does not fit its field.
    pub(super) fn link(&self, base: u64) -> Option<Vec<Vec<u8>>> {
        let layout = self.layout();
        let mut segments: Vec<_> = layout
            .segments
            .iter()
            // Where text holds no section, it traps.
            .map(|s| vec![if s.rights == Rights::ReadExecute { 0xcc } else { 0 }; s.bytes as usize])
            .collect();
        let index_of = |rights| layout.segments.iter().position(|segment| segment.rights == rights);
        for section in &self.sections {
            let Some(memory) = section.rights.and_then(index_of) else { continue };
            let place = &mut segments[memory][section.at as usize..][..section.size as usize];
            place.fill(0);
            place[..section.data.len()].copy_from_slice(section.data);
        }
        for (slot, symbol) in self.slots.iter().enumerate() {
            let at = self.got_at as usize + 8 * (slot + 1);
            segments[index_of(Rights::Read)?][at..at + 8]
                .copy_from_slice(&self.address(base, *symbol).to_le_bytes());
        }
        for (target, entries) in &self.relocations {
            let section = &self.sections[*target];
            let rights = section.rights?;
            for relocation in entries.iter().filter(|relocation| kind(relocation) != R_X86_64_NONE) {
                let value = self.value(base, rights, section, relocation)?;
                let at = (section.at + relocation.r_offset(LE)) as usize;
                segments[index_of(rights)?][at..at + value.len()].copy_from_slice(&value);
            }
        }
        Some(segments)
    }

    fn value(
        &self,
        base: u64,
        rights: Rights,
        section: &Placed<'_>,
        relocation: &Rela64<LE>,
    ) -> Option<Vec<u8>> {
        let symbol = relocation.r_sym(LE, false) as usize;
        let slot = self.slots.iter().position(|with_slot| *with_slot == symbol);
        let terms = Terms {
            symbol: self.address(base, symbol),
            addend: relocation.r_addend(LE).cast_unsigned(),
            place: base + self.start(rights) + section.at + relocation.r_offset(LE),
            got: base + self.start(Rights::Read) + self.got_at,
            slot: slot.map_or(0, |slot| 8 * (slot as u64 + 1)),
            size: self.symbols[symbol].st_size(LE),
        };
        psabi::bytes(kind(relocation), terms)
    }
}

/// In the order of their segments.
const ALL: [Rights; 3] = [Rights::ReadExecute, Rights::Read, Rights::ReadWrite];

/// The rights a section is loaded with; `None` if it is not.
fn rights(index: usize, header: &Header, name: &[u8]) -> Option<Rights> {
    let flags = header.sh_flags(LE);
    let is_left_out = index == 0
        || !flags.contains(SHF_ALLOC)
        || flags.contains(SHF_EXCLUDE)
        || [SHT_NULL, SHT_NOTE, SHT_X86_64_UNWIND].contains(&header.sh_type(LE))
        || name == b".eh_frame";
    if is_left_out {
        None
    } else if flags.contains(SHF_EXECINSTR) {
        Some(Rights::ReadExecute)
    } else if flags.contains(SHF_WRITE) {
        Some(Rights::ReadWrite)
    } else {
        Some(Rights::Read)
    }
}

/// Common symbols of the large code model (psABI, section 4.2.1), which the crate has no name for.
const SHN_X86_64_LCOMMON: SymbolSection = SymbolSection(0xff02);

fn is_common(symbol: &Sym64<LE>) -> bool {
    [SHN_COMMON, SHN_X86_64_LCOMMON].contains(&symbol.st_shndx(LE))
}

fn kind(relocation: &Rela64<LE>) -> RelocationType {
    relocation.r_type(LE, false)
}
