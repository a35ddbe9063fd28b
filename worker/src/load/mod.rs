//! From the bytes of a relocatable ELF64 x86-64 object to an image that can run.
//!
//! Every byte of the object is hostile. [`Object::parse`] checks all that can be checked without an address, so that
//! the steps after it take no bytes and can fail in fewer ways; [`Object::link`] then fills memory that the caller
//! mapped. Nothing here makes a system call or panics on input. Every step is linear in the size of the object, which
//! [limits](webrunner_protocol::limits) bound; all allocations together stay under 1.5 MiB, even if none is ever freed,
//! and for a small object under 1 KiB.
//!
//! goblin decodes headers, symbols and relocations one at a time. Its `Elf::parse` and its string tables are not used:
//! the first splits every string of an object into a list thirty times its size, the second panic on names that are
//! not UTF-8.
//!
//! # What is loaded
//!
//! Sections with `SHF_ALLOC` and contents or zeroes, in the order of the section table, in three [segments](Segment).
//! Notes and unwind tables (`.eh_frame`) are left out, for nothing in a worker reads them; so are debug sections.
//! Relocations of what is left out are not looked at. Merge sections are loaded as they are; several definitions of one
//! string cost space only. Code is not rewritten: a load through the global offset table stays one, though a linker
//! could often relax it, because the instructions measured should be those that were posted.
//!
//! # What is refused, by name
//!
//! Thread-local and compressed sections, sections both writable and executable, constructors and destructors, tables
//! without addends (`SHT_REL`), indirect functions, extended section numbers, and references to a symbol that is not
//! defined. Two exceptions are a linker's own: `_GLOBAL_OFFSET_TABLE_`, and weak symbols, which are 0 when undefined.
//! The module `relocation` holds the table of relocation types.
#![forbid(unsafe_code)]

mod entry;
mod got;
mod header;
mod image;
mod link;
mod relocation;
mod section;
mod strings;
mod symbol;

use webrunner_protocol::refusal::ObjectRefusal;

pub use entry::Entry;
pub use image::{ImageLayout, PAGE_BYTES, Rights, Segment};
pub use link::LinkError;

use goblin::container::{Container, Ctx, Endian};

use got::Got;
use image::Image;
use relocation::RelocationTable;
use section::Sections;
use symbol::Symbols;

/// How goblin is to read: 64-bit, little-endian. The header is held against it before anything else is read.
const ELF64: Ctx = Ctx { container: Container::Big, le: Endian::Little };

/// Bytes of a cache line, the unit in which cores fetch code.
const LINE_BYTES: u64 = 64;

/// An object that was found loadable.
pub struct Object<'a> {
    sections: Sections<'a>,
    symbols: Symbols<'a>,
    relocations: Vec<RelocationTable<'a>>,
    got: Got,
    image: Image,
}

impl<'a> Object<'a> {
    /// Checks an object and decides where each part of it goes.
    ///
    /// # Errors
    /// The first thing found that a worker does not load.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ObjectRefusal> {
        let table = header::read(bytes)?;
        let sections = Sections::parse(bytes, table)?;
        let symbols = Symbols::parse(bytes, &sections)?;
        let relocations = relocation::tables(bytes, &sections, &symbols)?;
        let got = Got::survey(&relocations, &sections, &symbols)?;
        let image = Image::place(&sections, &symbols, &got, 0)?;
        Ok(Self { sections, symbols, relocations, got, image })
    }

    /// Most bytes that [`shift_text`](Self::shift_text) moves the text by.
    pub const MOST_SHIFT: u64 = LINE_BYTES - 1;

    /// Moves all text up in its segment, so that a function that was `text_offset` bytes into it begins `wanted` bytes
    /// past a 64-byte boundary, or as near below as the sections' alignment lets it. Gives the bytes it was moved by.
    ///
    /// To be called for an object that has text, after [`entry`](Self::entry), whose offsets do not know of it.
    ///
    /// # Errors
    /// If the text no longer fits into an image.
    pub fn shift_text(&mut self, text_offset: u64, wanted: u64) -> Result<u64, ObjectRefusal> {
        let shift = wanted.wrapping_sub(text_offset) % LINE_BYTES;
        let shift = shift - shift % self.sections.text_alignment();
        self.image = Image::place(&self.sections, &self.symbols, &self.got, shift)?;
        Ok(shift)
    }

    /// The memory the image needs.
    #[must_use]
    pub fn layout(&self) -> &ImageLayout {
        &self.image.layout
    }
}
