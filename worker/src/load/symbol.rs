//! The symbol table: what each symbol stands for.
//!
//! After [`Symbols::parse`] every name lies within its table, every symbol of a loaded section within that section, and
//! no symbol is of a kind that needs a run-time linker. Symbol 0 is an ordinary symbol: PeachPy's tables lack the null
//! entry.

use goblin::elf::section_header::{SHN_ABS, SHN_COMMON, SHN_LORESERVE, SHN_UNDEF, SHN_XINDEX, SHT_SYMTAB};
use goblin::elf::sym::{STB_WEAK, STT_GNU_IFUNC, STT_SECTION, STT_TLS, sym64::SIZEOF_SYM};
use goblin::elf::{SectionHeader, Sym, Symtab};
use webrunner_protocol::limits::MAX_SYMBOLS;
use webrunner_protocol::refusal::{Name, ObjectPart, ObjectRefusal, SymbolFeature};

use super::ELF64;
use super::section::{Sections, is_alignment, malformed};
use super::strings::Strings;

/// Common symbols of the large code model, from the x86-64 psABI.
const SHN_X86_64_LCOMMON: u32 = 0xff02;

/// The name by which position-independent code asks for its global offset table.
const GOT_NAME: &[u8] = b"_GLOBAL_OFFSET_TABLE_";

/// The symbols of an object.
pub(super) struct Symbols<'a> {
    /// Index of the section that holds them; `None` if the object has no symbol table.
    section: Option<usize>,
    table: Symtab<'a>,
    names: Strings<'a>,
}

/// Where a symbol is defined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Definition {
    Undefined,
    Absolute,
    Common,
    Section(usize),
}

/// What a reference to a symbol comes to, before addresses are known.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// A number.
    Absolute(u64),
    /// A place in a loaded section.
    Section { index: usize, value: u64 },
    /// The storage of the common symbol with this index.
    Common(usize),
    /// The global offset table.
    Got,
}

impl<'a> Symbols<'a> {
    pub(super) fn parse(bytes: &'a [u8], sections: &Sections<'a>) -> Result<Self, ObjectRefusal> {
        let mut tables =
            sections.headers().iter().enumerate().filter(|(_, header)| header.sh_type == SHT_SYMTAB);
        let Some((section, header)) = tables.next() else {
            return Ok(Self { section: None, table: Symtab::default(), names: Strings::default() });
        };
        let further = tables.count() as u64;
        if further > 0 {
            return Err(ObjectRefusal::TooMany {
                what: ObjectPart::SymbolTable,
                count: further + 1,
                limit: 1,
            });
        }
        let table = read_table(bytes, section, header)?;
        let names = sections.strings(header.sh_link as usize)?;
        let symbols = Self { section: Some(section), table, names };
        for (index, symbol) in symbols.iter().enumerate() {
            symbols.check(index, &symbol, sections)?;
        }
        Ok(symbols)
    }

    /// Index of the section the symbols came from.
    pub(super) fn section(&self) -> Option<usize> {
        self.section
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// All symbols, by index.
    pub(super) fn iter(&self) -> impl Iterator<Item = Sym> {
        self.table.iter()
    }

    /// One symbol.
    pub(super) fn get(&self, index: usize) -> Option<Sym> {
        self.table.get(index)
    }

    /// The names of the symbols.
    pub(super) fn names(&self) -> Strings<'a> {
        self.names
    }

    /// What a reference to symbol `index` comes to.
    ///
    /// An undefined weak symbol is 0, as every linker has it, so that `if (&f) f();` works; entry 0, when it is the
    /// null entry, is 0 too and leaves the relocation's addend alone.
    ///
    /// # Errors
    /// The symbol is undefined, or in a section that is not loaded.
    pub(super) fn target(&self, index: usize, sections: &Sections<'_>) -> Result<Target, ObjectRefusal> {
        let symbol = self.get(index).ok_or_else(|| malformed(ObjectPart::Symbol, index))?;
        match definition(&symbol).ok_or_else(|| malformed(ObjectPart::Symbol, index))? {
            Definition::Absolute => Ok(Target::Absolute(symbol.st_value)),
            Definition::Common => Ok(Target::Common(index)),
            Definition::Section(section) if sections.rights(section).is_some() => {
                Ok(Target::Section { index: section, value: symbol.st_value })
            }
            Definition::Section(_) => Err(ObjectRefusal::Symbol {
                name: self.label(index, &symbol, sections),
                feature: SymbolFeature::NotLoaded,
            }),
            Definition::Undefined if symbol.st_bind() == STB_WEAK || is_null(index, &symbol) => {
                Ok(Target::Absolute(0))
            }
            Definition::Undefined if self.names.is(symbol.st_name, GOT_NAME) => Ok(Target::Got),
            Definition::Undefined => {
                Err(ObjectRefusal::Undefined { name: self.label(index, &symbol, sections) })
            }
        }
    }

    /// A symbol's name for a message: that of its section, or its number, if it has none.
    pub(super) fn label(&self, index: usize, symbol: &Sym, sections: &Sections<'_>) -> Name {
        match (self.names.prefix(symbol.st_name), definition(symbol)) {
            (b"", Some(Definition::Section(section))) if symbol.st_type() == STT_SECTION => {
                sections.label(section)
            }
            (b"", _) => Name::new(format!("#{index}").as_bytes()),
            (name, _) => Name::new(name),
        }
    }

    fn check(&self, index: usize, symbol: &Sym, sections: &Sections<'_>) -> Result<(), ObjectRefusal> {
        if !self.names.holds(symbol.st_name) {
            return Err(malformed(ObjectPart::Name, index));
        }
        let name = || self.label(index, symbol, sections);
        if let Some(feature) = unsupported(symbol) {
            return Err(ObjectRefusal::Symbol { name: name(), feature });
        }
        match definition(symbol) {
            Some(Definition::Undefined | Definition::Absolute) => Ok(()),
            Some(Definition::Common) if is_alignment(symbol.st_value) => Ok(()),
            Some(Definition::Common) => {
                Err(ObjectRefusal::Alignment { name: name(), alignment: symbol.st_value })
            }
            Some(Definition::Section(section)) if section < sections.len() => {
                // The end of a section is a place one may point to, past it is not.
                let inside =
                    sections.rights(section).is_none() || symbol.st_value <= sections.bytes_of(section);
                if inside { Ok(()) } else { Err(ObjectRefusal::SymbolOutside { name: name() }) }
            }
            Some(Definition::Section(_)) | None => Err(malformed(ObjectPart::Symbol, index)),
        }
    }
}

/// Where a symbol is defined; `None` for a reserved section number without a meaning here.
pub(super) fn definition(symbol: &Sym) -> Option<Definition> {
    match u32::try_from(symbol.st_shndx).ok()? {
        SHN_UNDEF => Some(Definition::Undefined),
        SHN_ABS => Some(Definition::Absolute),
        SHN_COMMON | SHN_X86_64_LCOMMON => Some(Definition::Common),
        index if index < SHN_LORESERVE => Some(Definition::Section(index as usize)),
        _ => None,
    }
}

fn read_table<'a>(
    bytes: &'a [u8],
    index: usize,
    header: &SectionHeader,
) -> Result<Symtab<'a>, ObjectRefusal> {
    let refusal = || malformed(ObjectPart::SymbolTable, index);
    let entry_bytes = SIZEOF_SYM as u64;
    if header.sh_entsize != entry_bytes || !header.sh_size.is_multiple_of(entry_bytes) {
        return Err(refusal());
    }
    let count = header.sh_size / entry_bytes;
    if count > MAX_SYMBOLS as u64 {
        return Err(ObjectRefusal::TooMany { what: ObjectPart::Symbol, count, limit: MAX_SYMBOLS as u64 });
    }
    if count == 0 {
        return Ok(Symtab::default());
    }
    let offset = usize::try_from(header.sh_offset).map_err(|_| refusal())?;
    Symtab::parse(bytes, offset, count as usize, ELF64).map_err(|_| refusal())
}

fn unsupported(symbol: &Sym) -> Option<SymbolFeature> {
    match symbol.st_type() {
        STT_GNU_IFUNC => Some(SymbolFeature::IndirectFunction),
        STT_TLS => Some(SymbolFeature::ThreadLocal),
        _ if symbol.st_shndx == SHN_XINDEX as usize => Some(SymbolFeature::ExtendedIndex),
        _ => None,
    }
}

fn is_null(index: usize, symbol: &Sym) -> bool {
    index == 0 && symbol.st_name == 0 && symbol.st_info == 0 && symbol.st_value == 0
}
