//! Spoils objects: a good one with single fields of its ELF structures changed, so that nothing else is wrong with it.

use webrunner_tests::objects;

/// A field of a structure: its offset and its width, in bytes.
pub(crate) type Field = (usize, usize);

/// Fields of the ELF header.
pub(crate) mod header {
    use super::Field;

    pub(crate) const SECTIONS_AT: Field = (40, 8);
    pub(crate) const FLAGS: Field = (48, 4);
    pub(crate) const SECTION_HEADER_BYTES: Field = (58, 2);
    pub(crate) const SECTIONS: Field = (60, 2);
    pub(crate) const NAMES: Field = (62, 2);
}

/// Fields of a section header.
pub(crate) mod section {
    use super::Field;

    pub(crate) const TYPE: Field = (4, 4);
    pub(crate) const FLAGS: Field = (8, 8);
    pub(crate) const OFFSET: Field = (24, 8);
    pub(crate) const BYTES: Field = (32, 8);
    pub(crate) const LINK: Field = (40, 4);
    pub(crate) const INFO: Field = (44, 4);
    pub(crate) const ALIGNMENT: Field = (48, 8);
}

/// Fields of a symbol.
pub(crate) mod symbol {
    use super::Field;

    pub(crate) const NAME: Field = (0, 4);
    pub(crate) const INFO: Field = (4, 1);
    pub(crate) const SECTION: Field = (6, 2);
    pub(crate) const VALUE: Field = (8, 8);
    pub(crate) const BYTES: Field = (16, 8);
}

/// Fields of a relocation with addend.
pub(crate) mod relocation {
    use super::Field;

    pub(crate) const OFFSET: Field = (0, 8);
    pub(crate) const TYPE: Field = (8, 4);
    pub(crate) const SYMBOL: Field = (12, 4);
}

/// Bytes of a section header, a symbol and a relocation.
const SECTION_BYTES: usize = 64;
const SYMBOL_BYTES: usize = 24;
pub(crate) const RELOCATION_BYTES: usize = 24;

/// An object that is being spoilt.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    bytes: Vec<u8>,
}

impl Object {
    /// The good one: two sections of text, constants, data with an address, zeroed data; its entry is `playground`.
    pub(crate) fn good() -> Self {
        Self { bytes: objects::read("good/base_gas.o") }
    }

    /// The file.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// With a field of its header changed.
    pub(crate) fn header(mut self, field: Field, value: u64) -> Self {
        self.set(0, field, value);
        self
    }

    /// With a field of the header of a section changed.
    pub(crate) fn section(mut self, name: &str, field: Field, value: u64) -> Self {
        let at = self.section_at(name);
        self.set(at, field, value);
        self
    }

    /// With a field of a symbol changed.
    pub(crate) fn symbol(mut self, name: &str, field: Field, value: u64) -> Self {
        let at = self.symbol_at(name);
        self.set(at, field, value);
        self
    }

    /// With a field of the first relocation of a table changed.
    pub(crate) fn relocation(mut self, table: &str, field: Field, value: u64) -> Self {
        let at = self.get(self.section_at(table), section::OFFSET);
        self.set(at, field, value);
        self
    }

    /// With bytes at its end.
    pub(crate) fn append(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// With a section table at its end that has `count` more sections: zeroed data of 1 GiB each.
    pub(crate) fn with_huge_sections(mut self, count: usize) -> Self {
        let (first, had) = (self.get(0, header::SECTIONS_AT), self.get(0, header::SECTIONS));
        let mut table = self.bytes[first..first + had * SECTION_BYTES].to_vec();
        let bss = self.section_at(".bss");
        let bss = self.bytes[bss..bss + SECTION_BYTES].to_vec();
        let mut huge = Self { bytes: bss };
        huge.set(0, section::BYTES, 1 << 30);
        table.extend(huge.bytes.repeat(count));
        let at = self.bytes.len();
        self.set(0, header::SECTIONS_AT, at as u64);
        self.set(0, header::SECTIONS, (had + count) as u64);
        self.append(&table)
    }

    /// With another string table for its symbols, in which `name` is that of the entry.
    pub(crate) fn with_entry_named(mut self, name: &[u8]) -> Self {
        let (at, strings) = (self.bytes.len(), self.section_at(".strtab"));
        let old = self.get(strings, section::BYTES);
        let start = self.get(strings, section::OFFSET);
        let table = [&self.bytes[start..start + old], name, &[0]].concat();
        self.set(strings, section::OFFSET, at as u64);
        self.set(strings, section::BYTES, table.len() as u64);
        // The old names are in the new table too.
        self.append(&table).symbol("playground", symbol::NAME, old as u64)
    }

    /// The index of a section.
    pub(crate) fn index_of(&self, name: &str) -> u64 {
        ((self.section_at(name) - self.get(0, header::SECTIONS_AT)) / SECTION_BYTES) as u64
    }

    /// The number of a symbol's name in its table of strings.
    pub(crate) fn name_of(&self, symbol: &str) -> u64 {
        self.get(self.symbol_at(symbol), symbol::NAME) as u64
    }

    fn set(&mut self, at: usize, (offset, width): Field, value: u64) {
        self.bytes[at + offset..][..width].copy_from_slice(&value.to_le_bytes()[..width]);
    }

    fn get(&self, at: usize, (offset, width): Field) -> usize {
        let mut word = [0; 8];
        word[..width].copy_from_slice(&self.bytes[at + offset..][..width]);
        usize::try_from(u64::from_le_bytes(word)).expect("a good object")
    }

    fn string(&self, table: usize, at: usize) -> &[u8] {
        let start = self.get(table, section::OFFSET) + at;
        self.bytes[start..].split(|byte| *byte == 0).next().expect("a string")
    }

    fn section_number(&self, index: usize) -> usize {
        self.get(0, header::SECTIONS_AT) + index * SECTION_BYTES
    }

    fn section_at(&self, name: &str) -> usize {
        let names = self.section_number(self.get(0, header::NAMES));
        (0..self.get(0, header::SECTIONS))
            .map(|index| self.section_number(index))
            .find(|&at| self.string(names, self.get(at, (0, 4))) == name.as_bytes())
            .unwrap_or_else(|| panic!("no section {name}"))
    }

    fn symbol_at(&self, name: &str) -> usize {
        let (table, strings) = (self.section_at(".symtab"), self.section_at(".strtab"));
        let start = self.get(table, section::OFFSET);
        (start..start + self.get(table, section::BYTES))
            .step_by(SYMBOL_BYTES)
            .find(|&at| self.string(strings, self.get(at, symbol::NAME)) == name.as_bytes())
            .unwrap_or_else(|| panic!("no symbol {name}"))
    }
}
