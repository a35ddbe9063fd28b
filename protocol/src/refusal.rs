//! Why an object was not run: one variant per reason, naming the section, symbol or relocation.
//!
//! Names inside come from the object, so they are bounded and control characters are replaced when a
//! [`Name`] is made; the supervisor still treats them as text to be escaped.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_IMAGE_BYTES, MAX_NAME_BYTES};

/// A name taken from an object: at most [`MAX_NAME_BYTES`] bytes, printable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String")]
pub struct Name(String);

impl Name {
    /// Makes a printable name from whatever bytes the object holds.
    #[must_use]
    pub fn new(raw: &[u8]) -> Self {
        let cut = &raw[..raw.len().min(MAX_NAME_BYTES)];
        Self(printable(&String::from_utf8_lossy(cut)))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name that arrives over a socket is made printable again: the sender may not have been honest.
impl From<String> for Name {
    fn from(text: String) -> Self {
        Self::new(text.as_bytes())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let c = if c.is_control() { '\u{fffd}' } else { c };
        if out.len() + c.len_utf8() > MAX_NAME_BYTES {
            break;
        }
        out.push(c);
    }
    out
}

/// Why an object was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The loader found something it does not take.
    #[error(transparent)]
    Object(#[from] ObjectRefusal),
    /// No function to call could be chosen.
    #[error(transparent)]
    Entry(#[from] EntryRefusal),
    /// The call plan cannot be carried out in the memory there is.
    #[error(transparent)]
    Plan(#[from] crate::plan::PlanError),
    /// The code needs instruction set extensions that this CPU does not offer.
    #[error("the code needs {}, which this CPU does not offer", names(features))]
    MissingFeatures {
        /// The extensions, as `/proc/cpuinfo` writes them; at most [`MAX_FEATURES`](crate::limits::MAX_FEATURES).
        features: Vec<Name>,
        /// Bytes from the start of the object's text to the first instruction that needs one.
        offset: u64,
    },
}

fn names(names: &[Name]) -> String {
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(" and ")
}

/// What the loader does not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ObjectRefusal {
    /// Nothing at all, as of a request that forgot to say how long its body is.
    #[error("the body is empty; send the object as the body, with its length in Content-Length")]
    Empty,
    /// Too short, or the first bytes are not those of an ELF file.
    #[error("the body is not an ELF file")]
    NotElf,
    /// An ELF file of another class, byte order, type or machine.
    #[error("the ELF header's {field} is {found}, expected {expected}")]
    Header {
        /// Name of the header's field.
        field: HeaderField,
        /// What the file holds.
        found: u64,
        /// What is taken.
        expected: u64,
    },
    /// A table, section or name lies outside the file, or a count or size cannot be.
    #[error("the object is malformed: {what} {index} does not fit the file")]
    Malformed {
        /// What kind of thing.
        what: ObjectPart,
        /// Its index.
        index: u64,
    },
    /// Too many of something.
    #[error("the object has {count} {what}s, the limit is {limit}")]
    TooMany {
        /// Of what.
        what: ObjectPart,
        /// How many.
        count: u64,
        /// How many are taken.
        limit: u64,
    },
    /// Loaded, it would be too large.
    #[error("the object takes {bytes} bytes when loaded, the limit is {MAX_IMAGE_BYTES}")]
    TooLarge {
        /// Bytes it takes; saturates.
        bytes: u64,
    },
    /// A section of a kind that is not taken.
    #[error("section {name} is {feature}, which is not supported")]
    Section {
        /// Name of the section.
        name: Name,
        /// What it is.
        feature: SectionFeature,
    },
    /// The alignment of a section or common symbol is no power of two, or more than a page.
    #[error("{name} has alignment {alignment}, expected a power of two up to 4096")]
    Alignment {
        /// Name of the section or symbol.
        name: Name,
        /// Its alignment.
        alignment: u64,
    },
    /// A symbol is needed that the object does not define.
    #[error("symbol {name} is undefined; an object must bring all it calls")]
    Undefined {
        /// Name of the symbol.
        name: Name,
    },
    /// A symbol of a kind that is not taken.
    #[error("symbol {name} is {feature}, which is not supported")]
    Symbol {
        /// Name of the symbol.
        name: Name,
        /// What it is.
        feature: SymbolFeature,
    },
    /// A symbol lies outside its section.
    #[error("symbol {name} lies outside its section")]
    SymbolOutside {
        /// Name of the symbol.
        name: Name,
    },
    /// A relocation of a type that is not taken.
    #[error("relocation {index} of section {section} has type {kind}, which is not supported")]
    RelocationType {
        /// Name of the section it applies to.
        section: Name,
        /// Its index in its table.
        index: u32,
        /// `r_type`.
        kind: u32,
    },
    /// A relocation writes outside its section.
    #[error("relocation {index} of section {section} writes at offset {offset}, outside the section")]
    RelocationOutside {
        /// Name of the section it applies to.
        section: Name,
        /// Its index in its table.
        index: u32,
        /// `r_offset`.
        offset: u64,
    },
    /// A relocation names a symbol that the symbol table does not hold.
    #[error("relocation {index} of section {section} names symbol {symbol}, which the object does not have")]
    RelocationSymbol {
        /// Name of the section it applies to.
        section: Name,
        /// Its index in its table.
        index: u32,
        /// Index of the symbol.
        symbol: u64,
    },
    /// A relocation's value does not fit the field it is written to.
    #[error("relocation {index} of section {section} (type {kind}, symbol {symbol}) overflows its field")]
    RelocationOverflow {
        /// Name of the section it applies to.
        section: Name,
        /// Its index in its table.
        index: u32,
        /// `r_type`.
        kind: u32,
        /// Name of its symbol.
        symbol: Name,
    },
}

/// A field of the ELF header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeaderField {
    /// `EI_CLASS`
    Class,
    /// `EI_DATA`
    ByteOrder,
    /// `EI_VERSION`, `e_version`
    Version,
    /// `e_type`
    Type,
    /// `e_machine`
    Machine,
    /// `e_shentsize`
    SectionHeaderSize,
    /// `e_phnum`
    ProgramHeaders,
    /// `e_flags`
    Flags,
}

impl fmt::Display for HeaderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Class => "class",
            Self::ByteOrder => "byte order",
            Self::Version => "version",
            Self::Type => "type",
            Self::Machine => "machine",
            Self::SectionHeaderSize => "section header size",
            Self::ProgramHeaders => "number of program headers",
            Self::Flags => "flags field",
        })
    }
}

/// A part of an object file, in messages about counts and bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectPart {
    /// The section header table.
    SectionTable,
    /// A section.
    Section,
    /// A section's or symbol's name.
    Name,
    /// A string table.
    StringTable,
    /// The symbol table.
    SymbolTable,
    /// A symbol.
    Symbol,
    /// A relocation table.
    RelocationTable,
    /// A relocation.
    Relocation,
}

impl fmt::Display for ObjectPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SectionTable => "section header table",
            Self::Section => "section",
            Self::Name => "name",
            Self::StringTable => "string table",
            Self::SymbolTable => "symbol table",
            Self::Symbol => "symbol",
            Self::RelocationTable => "relocation table",
            Self::Relocation => "relocation",
        })
    }
}

/// What makes a section impossible to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SectionFeature {
    /// `SHF_TLS`
    ThreadLocal,
    /// `SHF_COMPRESSED`
    Compressed,
    /// `SHF_WRITE` with `SHF_EXECINSTR`
    WritableCode,
    /// `.init_array`, `.ctors` and their like
    Constructor,
    /// `SHT_REL`
    ImplicitAddends,
    /// A loaded section of unknown type
    UnknownType(u32),
}

impl fmt::Display for SectionFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThreadLocal => f.write_str("thread-local"),
            Self::Compressed => f.write_str("compressed"),
            Self::WritableCode => f.write_str("both writable and executable"),
            Self::Constructor => f.write_str("a table of constructors or destructors"),
            Self::ImplicitAddends => f.write_str("a relocation table without addends (SHT_REL)"),
            Self::UnknownType(kind) => write!(f, "of type {kind:#x}"),
        }
    }
}

/// What makes a symbol impossible to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SymbolFeature {
    /// `STT_GNU_IFUNC`
    IndirectFunction,
    /// `STT_TLS`
    ThreadLocal,
    /// `SHN_XINDEX`
    ExtendedIndex,
    /// Defined in a section that takes no part in the loaded image
    NotLoaded,
}

impl fmt::Display for SymbolFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IndirectFunction => "an indirect function (IFUNC)",
            Self::ThreadLocal => "thread-local",
            Self::ExtendedIndex => "in a section with an extended index",
            Self::NotLoaded => "in a section that is not loaded",
        })
    }
}

/// Why no function could be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EntryRefusal {
    /// The symbol the client named is not there.
    #[error("the object has no function named {wanted}")]
    Missing {
        /// The name asked for.
        wanted: Name,
        /// Functions the object does have; at most [`MAX_CANDIDATES`](crate::limits::MAX_CANDIDATES).
        candidates: Vec<Name>,
    },
    /// Several functions, none of them named as the kernel.
    #[error("the object has several functions and none is named {kernel}; choose one with _symbol")]
    Ambiguous {
        /// Name of the kernel.
        kernel: Name,
        /// Functions the object has; at most [`MAX_CANDIDATES`](crate::limits::MAX_CANDIDATES).
        candidates: Vec<Name>,
    },
    /// Two equally good definitions of the chosen name.
    #[error("symbol {name} is defined more than once")]
    Duplicate {
        /// Name of the symbol.
        name: Name,
    },
    /// The chosen symbol is data, absolute or common, or lies past the end of its section.
    #[error("symbol {name} is not a function in the object's text")]
    NotAFunction {
        /// Name of the symbol.
        name: Name,
    },
    /// No text at all.
    #[error("the object has no code")]
    NoCode,
}
