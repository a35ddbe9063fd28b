//! The global offset table: which symbols need a slot in it.
//!
//! Position-independent code reads the addresses of globals from this table, which a linker makes. Finding its size
//! means looking at every relocation, so every relocation is checked here; what is left to [`link`](super::link) is
//! arithmetic.

use goblin::elf::Reloc;
use goblin::elf::reloc::R_X86_64_NONE;
use webrunner_protocol::refusal::ObjectRefusal;

use super::relocation::{RelocationTable, rule};
use super::section::Sections;
use super::symbol::{Symbols, Target};

/// Bytes of a slot.
pub(super) const SLOT_BYTES: u64 = 8;

/// Slots of the global offset table. The first is reserved, so that the table has an address even if no symbol has a slot.
#[derive(Default)]
pub(super) struct Got {
    /// Slots, the reserved one among them; 0 if there is no table.
    count: u32,
    /// For each symbol its slot, 0 if it has none; empty until the first slot is given out.
    slots: Vec<u32>,
}

impl Got {
    /// Checks every relocation and gives each symbol that needs a slot one.
    pub(super) fn survey(
        tables: &[RelocationTable<'_>],
        sections: &Sections<'_>,
        symbols: &Symbols<'_>,
    ) -> Result<Self, ObjectRefusal> {
        let mut got = Self::default();
        for table in tables {
            for (index, relocation) in table.entries.iter().enumerate() {
                if relocation.r_type != R_X86_64_NONE {
                    got.check(table.target, index as u32, &relocation, sections, symbols)?;
                }
            }
        }
        Ok(got)
    }

    /// Size of the table.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.count) * SLOT_BYTES
    }

    /// Offset of a symbol's slot from the start of the table; that of the reserved slot if the symbol has none.
    pub(super) fn slot_offset(&self, symbol: usize) -> u64 {
        self.slots.get(symbol).map_or(0, |&slot| u64::from(slot) * SLOT_BYTES)
    }

    /// Symbols that have slots.
    pub(super) fn symbols(&self) -> impl Iterator<Item = usize> {
        self.slots.iter().enumerate().filter(|(_, slot)| **slot != 0).map(|(symbol, _)| symbol)
    }

    fn check(
        &mut self,
        target: usize,
        index: u32,
        relocation: &Reloc,
        sections: &Sections<'_>,
        symbols: &Symbols<'_>,
    ) -> Result<(), ObjectRefusal> {
        let section = || sections.label(target);
        let Some(rule) = rule(relocation.r_type) else {
            return Err(ObjectRefusal::RelocationType { section: section(), index, kind: relocation.r_type });
        };
        let offset = relocation.r_offset;
        let end = offset.checked_add(rule.field.bytes() as u64);
        if end.is_none_or(|end| end > sections.bytes_of(target)) {
            return Err(ObjectRefusal::RelocationOutside { section: section(), index, offset });
        }
        let symbol = relocation.r_sym;
        if symbol >= symbols.len() {
            let symbol = symbol as u64;
            return Err(ObjectRefusal::RelocationSymbol { section: section(), index, symbol });
        }
        // Offsets from the table need it only as an anchor, and asking for its address by name needs it too.
        let is_got = matches!(symbols.target(symbol, sections)?, Target::Got);
        if is_got || rule.value.needs_got() {
            self.count = self.count.max(1);
        }
        if rule.value.needs_slot() {
            self.give_slot(symbol, symbols.len());
        }
        Ok(())
    }

    fn give_slot(&mut self, symbol: usize, symbols: usize) {
        if self.slots.is_empty() {
            self.slots = vec![0; symbols];
        }
        if let Some(slot) = self.slots.get_mut(symbol)
            && *slot == 0
        {
            *slot = self.count;
            self.count += 1;
        }
    }
}
