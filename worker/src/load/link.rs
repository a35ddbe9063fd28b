//! Filling the image: contents are copied, the global offset table is made, relocations are applied.
//!
//! Writes only through the slices it is given, each bounds-checked. Whatever could be refused without an address has
//! been; what remains is a value that does not fit its field.

use goblin::elf::Reloc;
use goblin::elf::reloc::R_X86_64_NONE;
use webrunner_protocol::refusal::{ObjectPart, ObjectRefusal};

use super::got::SLOT_BYTES;
use super::image::{PAGE_BYTES, Rights};
use super::relocation::{RelocationTable, Rule, Value, rule};
use super::section::malformed;
use super::{Object, symbol::Target};

/// First address past those a sign-extended 32-bit field reaches from 0.
const REACH: u64 = 1 << 31;

/// `int3`: code that runs on past the end of its section stops there, instead of executing padding.
const INT3: u8 = 0xcc;

/// Why an image was not filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The object is at fault.
    #[error(transparent)]
    Object(#[from] ObjectRefusal),
    /// The caller is: the image would not lie on whole pages below 2 GiB.
    #[error("the image cannot lie at {base:#x}")]
    Base {
        /// The address given.
        base: u64,
    },
    /// The caller is: the memory given is not that of the layout.
    #[error("the memory given does not match the image's segments")]
    Memory,
}

impl Object<'_> {
    /// Copies sections and applies relocations for an image at virtual address `base`.
    ///
    /// `segments[i]` is the memory of `layout().segments[i]`, writable, of exactly its size, and zero.
    ///
    /// # Errors
    /// [`LinkError::Object`] for a relocation whose value does not fit; the others mean that the caller broke the
    /// contract above, or that `base` is not a multiple of [`PAGE_BYTES`] or too high.
    pub fn link(&self, base: u64, segments: &mut [&mut [u8]]) -> Result<(), LinkError> {
        let layout = self.layout();
        if !base.is_multiple_of(PAGE_BYTES) || base.checked_add(layout.bytes).is_none_or(|end| end > REACH) {
            return Err(LinkError::Base { base });
        }
        let sizes_match =
            layout.segments.iter().zip(&*segments).all(|(s, memory)| s.bytes == memory.len() as u64);
        if layout.segments.len() != segments.len() || !sizes_match {
            return Err(LinkError::Memory);
        }
        self.copy(segments);
        self.fill_got(base, segments)?;
        for table in &self.relocations {
            self.relocate(base, table, segments)?;
        }
        Ok(())
    }

    fn copy(&self, segments: &mut [&mut [u8]]) {
        let mut text_end = 0;
        for (index, header, rights) in self.sections.loaded() {
            let Some(memory) = self.memory(rights, segments) else { continue };
            let at = self.image.in_segment(index) as usize;
            if rights == Rights::ReadExecute && header.sh_size > 0 {
                fill(memory, text_end, at);
                text_end = at + header.sh_size as usize;
            }
            let contents = self.sections.contents(header);
            if let Some(place) = memory.get_mut(at..at + contents.len()) {
                place.copy_from_slice(contents);
            }
        }
        if let Some(memory) = self.memory(Rights::ReadExecute, segments) {
            fill(memory, text_end, memory.len());
        }
    }

    fn fill_got(&self, base: u64, segments: &mut [&mut [u8]]) -> Result<(), ObjectRefusal> {
        let Some(memory) = self.memory(Rights::Read, segments) else { return Ok(()) };
        for symbol in self.got.symbols() {
            let target = self.symbols.target(symbol, &self.sections)?;
            let address = self.image.address(base, target, &self.sections);
            let at = (self.image.got_in_segment() + self.got.slot_offset(symbol)) as usize;
            if let Some(slot) = memory.get_mut(at..at + SLOT_BYTES as usize) {
                slot.copy_from_slice(&address.to_le_bytes());
            }
        }
        Ok(())
    }

    fn relocate(
        &self,
        base: u64,
        table: &RelocationTable<'_>,
        segments: &mut [&mut [u8]],
    ) -> Result<(), ObjectRefusal> {
        let Some(rights) = self.sections.rights(table.target) else { return Ok(()) };
        let Some(memory) = self.memory(rights, segments) else { return Ok(()) };
        let section_at = self.image.in_segment(table.target);
        let section_address = base + self.image.start(rights) + section_at;
        for (index, relocation) in table.entries.iter().enumerate() {
            if relocation.r_type == R_X86_64_NONE {
                continue;
            }
            // The survey refused every object with another type or place; these two are here in place of a panic.
            let outside = || malformed(ObjectPart::Relocation, index);
            let rule = rule(relocation.r_type).ok_or_else(outside)?;
            let place = section_address.wrapping_add(relocation.r_offset);
            let value = self.value(base, rule.value, &relocation, place)?;
            if !rule.field.fits(value) {
                return Err(self.overflow(table.target, index, &relocation));
            }
            let at = usize::try_from(section_at.wrapping_add(relocation.r_offset)).map_err(|_| outside())?;
            write(memory, at, rule, value).ok_or_else(outside)?;
        }
        Ok(())
    }

    fn value(&self, base: u64, value: Value, relocation: &Reloc, place: u64) -> Result<u64, ObjectRefusal> {
        let addend = relocation.r_addend.unwrap_or(0) as u64;
        let symbol = || {
            let target = self.symbols.target(relocation.r_sym, &self.sections)?;
            Ok::<_, ObjectRefusal>(self.image.address(base, target, &self.sections))
        };
        let got = self.image.address(base, Target::Got, &self.sections);
        let slot = self.got.slot_offset(relocation.r_sym);
        let size = || self.symbols.get(relocation.r_sym).map_or(0, |symbol| symbol.st_size);
        Ok(match value {
            Value::Address => symbol()?.wrapping_add(addend),
            Value::Distance => symbol()?.wrapping_add(addend).wrapping_sub(place),
            Value::Slot => slot.wrapping_add(addend),
            Value::SlotDistance => slot.wrapping_add(got).wrapping_add(addend).wrapping_sub(place),
            Value::GotDistance => got.wrapping_add(addend).wrapping_sub(place),
            Value::FromGot => symbol()?.wrapping_add(addend).wrapping_sub(got),
            Value::Size => size().wrapping_add(addend),
        })
    }

    fn overflow(&self, target: usize, index: usize, relocation: &Reloc) -> ObjectRefusal {
        let symbol = self.symbols.get(relocation.r_sym).unwrap_or_default();
        ObjectRefusal::RelocationOverflow {
            section: self.sections.label(target),
            index: index as u32,
            kind: relocation.r_type,
            symbol: self.symbols.label(relocation.r_sym, &symbol, &self.sections),
        }
    }

    /// The memory of the segment with these rights; `None` if it is empty.
    fn memory<'m>(&self, rights: Rights, segments: &'m mut [&mut [u8]]) -> Option<&'m mut [u8]> {
        segments.get_mut(self.image.segment_index(rights)?).map(|memory| &mut **memory)
    }
}

fn fill(memory: &mut [u8], from: usize, to: usize) {
    if let Some(gap) = memory.get_mut(from..to) {
        gap.fill(INT3);
    }
}

fn write(memory: &mut [u8], at: usize, rule: Rule, value: u64) -> Option<()> {
    let bytes = rule.field.bytes();
    let field = memory.get_mut(at..at.checked_add(bytes)?)?;
    field.copy_from_slice(value.to_le_bytes().get(..bytes)?);
    Some(())
}
