//! Makes ELF objects, well-formed or with any field set wrong, and loads them the way a worker does.

use webrunner_protocol::job::EntryRule;
use webrunner_protocol::limits::MAX_IMAGE_BYTES;
use webrunner_protocol::refusal::ObjectRefusal;
use webrunner_worker::load::{Entry, ImageLayout, LinkError, Object, PAGE_BYTES, Rights};

pub const WRITE: u64 = 1;
pub const ALLOC: u64 = 2;
pub const EXEC: u64 = 4;

pub const PROGBITS: u32 = 1;
pub const RELA: u32 = 4;
pub const NOBITS: u32 = 8;
pub const REL: u32 = 9;

pub const LOCAL: u8 = 0;
pub const GLOBAL: u8 = 1;
pub const WEAK: u8 = 2;
pub const NOTYPE: u8 = 0;
pub const OBJECT: u8 = 1;
pub const FUNC: u8 = 2;

pub const UNDEF: u16 = 0;
pub const ABS: u16 = 0xfff1;
pub const COMMON: u16 = 0xfff2;

/// Stands for the index of the symbol table in `Section::link`.
pub const SYMTAB: u32 = u32::MAX;

/// Where tests load images.
pub const BASE: u64 = 0x1000_0000;

const HEADER_BYTES: usize = 64;

#[derive(Clone)]
pub struct Section {
    pub name: Vec<u8>,
    pub kind: u32,
    pub flags: u64,
    pub data: Vec<u8>,
    /// `sh_size`, where it is not the length of `data`.
    pub size: Option<u64>,
    pub offset: Option<u64>,
    pub link: u32,
    pub info: u32,
    pub align: u64,
    pub entry_bytes: u64,
}

pub fn section(name: &str, flags: u64, data: &[u8]) -> Section {
    Section {
        name: name.into(),
        kind: PROGBITS,
        flags,
        data: data.to_vec(),
        size: None,
        offset: None,
        link: 0,
        info: 0,
        align: 1,
        entry_bytes: 0,
    }
}

pub fn zeroes(name: &str, flags: u64, size: u64) -> Section {
    Section { kind: NOBITS, size: Some(size), ..section(name, flags, &[]) }
}

/// One relocation: offset, symbol, type, addend.
pub type Rela = (u64, u32, u32, i64);

pub fn rela(target: u32, entries: &[Rela]) -> Section {
    let mut data = Vec::new();
    for &(offset, symbol, kind, addend) in entries {
        data.extend(offset.to_le_bytes());
        data.extend((u64::from(symbol) << 32 | u64::from(kind)).to_le_bytes());
        data.extend(addend.to_le_bytes());
    }
    Section { kind: RELA, link: SYMTAB, info: target, entry_bytes: 24, ..section(".rela", 0, &data) }
}

#[derive(Clone)]
pub struct Symbol {
    pub name: Vec<u8>,
    pub binding: u8,
    pub kind: u8,
    pub section: u16,
    pub value: u64,
    pub size: u64,
}

pub fn symbol(name: &str, binding: u8, kind: u8, section: u16, value: u64) -> Symbol {
    Symbol { name: name.into(), binding, kind, section, value, size: 0 }
}

/// An object to be: section `i` gets index `i + 1`, symbol `i` index `i`, or `i + 1` behind a null symbol.
#[derive(Clone, Default)]
pub struct File {
    pub sections: Vec<Section>,
    pub symbols: Vec<Symbol>,
    pub no_null_symbol: bool,
    pub no_symbol_table: bool,
}

impl File {
    pub fn new(sections: &[Section], symbols: &[Symbol]) -> Self {
        Self { sections: sections.to_vec(), symbols: symbols.to_vec(), ..Self::default() }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut sections = self.sections.clone();
        let symtab = sections.len() as u32 + 1;
        if !self.no_symbol_table {
            sections.extend(self.symbol_table(symtab));
        }
        let names_index = sections.len() as u16 + 1;
        sections.push(Section { kind: 3, ..section(".shstrtab", 0, &[]) });
        let mut names = vec![0];
        let name_offsets: Vec<_> = sections.iter().map(|s| add_name(&mut names, &s.name)).collect();
        sections.last_mut().unwrap().data = names;

        let mut bytes = vec![0; HEADER_BYTES];
        let mut table = vec![0; HEADER_BYTES];
        for (section, name) in sections.iter().zip(name_offsets) {
            let link = if section.link == SYMTAB { symtab } else { section.link };
            table.extend(name.to_le_bytes());
            table.extend(section.kind.to_le_bytes());
            let offset = section.offset.unwrap_or(bytes.len() as u64);
            let size = section.size.unwrap_or(section.data.len() as u64);
            for field in [section.flags, 0, offset, size] {
                table.extend(field.to_le_bytes());
            }
            table.extend(link.to_le_bytes());
            table.extend(section.info.to_le_bytes());
            table.extend(section.align.to_le_bytes());
            table.extend(section.entry_bytes.to_le_bytes());
            bytes.extend(&section.data);
        }
        let header = header(bytes.len() as u64, sections.len() as u16 + 1, names_index);
        bytes[..HEADER_BYTES].copy_from_slice(&header);
        bytes.extend(table);
        bytes
    }

    fn symbol_table(&self, index: u32) -> [Section; 2] {
        let mut names = vec![0];
        let mut data = if self.no_null_symbol { Vec::new() } else { vec![0; 24] };
        for symbol in &self.symbols {
            data.extend(add_name(&mut names, &symbol.name).to_le_bytes());
            data.extend([symbol.binding << 4 | symbol.kind, 0]);
            data.extend(symbol.section.to_le_bytes());
            data.extend(symbol.value.to_le_bytes());
            data.extend(symbol.size.to_le_bytes());
        }
        [
            Section { kind: 2, link: index + 1, entry_bytes: 24, ..section(".symtab", 0, &data) },
            Section { kind: 3, ..section(".strtab", 0, &names) },
        ]
    }
}

fn header(table: u64, count: u16, names: u16) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend([1, 0, 62, 0]);
    header.extend(1_u32.to_le_bytes());
    header.extend([0; 16]);
    header.extend(table.to_le_bytes());
    header.extend(0_u32.to_le_bytes());
    for field in [64, 0, 0, 64, count, names] {
        header.extend(field.to_le_bytes());
    }
    header
}

fn add_name(names: &mut Vec<u8>, name: &[u8]) -> u32 {
    if name.is_empty() {
        return 0;
    }
    let offset = names.len() as u32;
    names.extend(name);
    names.push(0);
    offset
}

/// A loaded image.
pub struct Loaded {
    pub layout: ImageLayout,
    segments: Vec<Vec<u8>>,
}

impl Loaded {
    pub fn segment(&self, rights: Rights) -> &[u8] {
        let index = self.layout.segments.iter().position(|segment| segment.rights == rights).unwrap();
        &self.segments[index]
    }
}

pub fn load(bytes: &[u8]) -> Result<Loaded, ObjectRefusal> {
    let object = Object::parse(bytes)?;
    let layout = object.layout().clone();
    let mut segments: Vec<_> =
        layout.segments.iter().map(|segment| vec![0; segment.bytes as usize]).collect();
    let mut memory: Vec<_> = segments.iter_mut().map(Vec::as_mut_slice).collect();
    match object.link(BASE, &mut memory) {
        Ok(()) => Ok(Loaded { layout, segments }),
        Err(LinkError::Object(refusal)) => Err(refusal),
        Err(error) => panic!("the loader refused memory of its own layout: {error}"),
    }
}

pub fn refusal(file: &File) -> ObjectRefusal {
    load(&file.bytes()).err().unwrap()
}

pub fn rule(symbol: Option<&str>) -> EntryRule {
    EntryRule { symbol: symbol.map(Into::into), kernel: "sdot".into() }
}

/// Does all a worker does with an object, and checks what must hold whatever its bytes are.
pub fn exercise(bytes: &[u8]) -> Result<(), ObjectRefusal> {
    let Loaded { layout, .. } = load(bytes)?;
    let mut free = PAGE_BYTES;
    for segment in &layout.segments {
        assert!(
            segment.offset >= free && segment.offset % PAGE_BYTES == 0,
            "no guard page before {segment:?}"
        );
        assert!(segment.bytes > 0 && segment.bytes % PAGE_BYTES == 0, "no whole pages: {segment:?}");
        free = segment.offset + segment.bytes + PAGE_BYTES;
    }
    assert_eq!(layout.bytes, free, "no guard page at the end");
    assert!(layout.segments.iter().map(|segment| segment.bytes).sum::<u64>() <= MAX_IMAGE_BYTES);
    let object = Object::parse(bytes)?;
    for rule in [rule(None), rule(Some("helper")), rule(Some(""))] {
        if let Ok(Entry { offset, text_offset, size, .. }) = object.entry(&rule) {
            let text = layout.segments[0];
            assert_eq!(text.rights, Rights::ReadExecute);
            assert_eq!(offset, text.offset + text_offset);
            assert!(text_offset < text.bytes && size <= text.bytes - text_offset);
        }
    }
    Ok(())
}
