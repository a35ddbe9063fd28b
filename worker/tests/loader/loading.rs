//! What a good object becomes.

use webrunner_protocol::refusal::Name;
use webrunner_worker::load::{LinkError, Object, Rights, Segment};

use crate::builder::*;

const SDOT: &[u8] = include_bytes!("../../../tests/objects/peachpy/sdot_peachpy.o");
const SPIN: &[u8] = include_bytes!("../../../tests/objects/peachpy/spin_peachpy.o");

#[test]
fn peachpy_objects_without_a_null_symbol_load() {
    for (bytes, name, text) in [(SDOT, "sdot", 0x240..0x2e3), (SPIN, "chain", 0x240..0x268)] {
        let entry = Object::parse(bytes).unwrap().entry(&rule(None)).unwrap();
        assert_eq!(entry.symbol, Some(Name::new(name.as_bytes())));
        assert_eq!((entry.offset, entry.text_offset, entry.size), (4096, 0, 0));
        let loaded = load(bytes).unwrap();
        assert_eq!(loaded.segment(Rights::ReadExecute)[..text.len()], bytes[text]);
    }
}

#[test]
fn sections_keep_their_rights_with_guard_pages_between() {
    let file = File::new(
        &[
            section(".data", ALLOC | WRITE, &[1; 5]),
            section(".text", ALLOC | EXEC, &[2; 4097]),
            zeroes(".bss", ALLOC | WRITE, 4096),
            section(".rodata", ALLOC, &[3; 7]),
        ],
        &[],
    );
    let loaded = load(&file.bytes()).unwrap();
    assert_eq!(
        loaded.layout.segments,
        [
            Segment { rights: Rights::ReadExecute, offset: 0x1000, bytes: 0x2000 },
            Segment { rights: Rights::Read, offset: 0x4000, bytes: 0x1000 },
            Segment { rights: Rights::ReadWrite, offset: 0x6000, bytes: 0x2000 },
        ]
    );
    assert_eq!(loaded.layout.bytes, 0x9000);
    assert_eq!(loaded.segment(Rights::Read)[..8], [3, 3, 3, 3, 3, 3, 3, 0]);
    assert_eq!(loaded.segment(Rights::ReadWrite)[..6], [1, 1, 1, 1, 1, 0]);
}

/// Text of two sections, the second with this alignment, linked so that its second byte begins `wanted` bytes past a line.
fn shifted(align: u64, wanted: u64) -> (u64, Vec<u8>, u64) {
    let second = Section { align, ..section(".text.b", ALLOC | EXEC, &[0x90, 0xc3]) };
    let file = File::new(
        &[section(".text.a", ALLOC | EXEC, &[0xc3]), second, section(".data", ALLOC | WRITE, &[7; 3])],
        &[symbol("sdot", GLOBAL, FUNC, 2, 1)],
    );
    let bytes = file.bytes();
    let mut object = Object::parse(&bytes).unwrap();
    let entry = object.entry(&rule(None)).unwrap();
    let shift = object.shift_text(entry.text_offset, wanted).unwrap();
    let layout = object.layout().clone();
    let mut segments: Vec<_> =
        layout.segments.iter().map(|segment| vec![0; segment.bytes as usize]).collect();
    let mut memory: Vec<_> = segments.iter_mut().map(Vec::as_mut_slice).collect();
    object.link(BASE, &mut memory).unwrap();
    assert_eq!(segments[1][..3], [7; 3]);
    (shift, segments.swap_remove(0), entry.text_offset)
}

#[test]
fn text_can_be_moved_within_its_line_as_far_as_its_alignment_lets_it() {
    for (align, wanted, at) in [(1, 0, 0), (1, 16, 16), (16, 17, 17), (16, 48, 33), (32, 48, 33), (64, 48, 1)]
    {
        let (shift, text, text_offset) = shifted(align, wanted);
        let function = (text_offset + shift) as usize;
        assert_eq!(function as u64 % 64, at, "alignment {align}, {wanted} wanted");
        assert_eq!((text[function - 1], text[function]), (0x90, 0xc3));
        assert!(text[..shift as usize].iter().all(|&byte| byte == 0xcc), "what lies before traps");
        assert!(shift <= Object::MOST_SHIFT);
    }
}

#[test]
fn several_text_sections_are_aligned_and_the_gaps_trap() {
    let mut second = section(".text.b", ALLOC | EXEC, &[0x90; 2]);
    second.align = 16;
    let file = File::new(&[section(".text.a", ALLOC | EXEC, &[0xc3]), second], &[]);
    let loaded = load(&file.bytes()).unwrap();
    let text = loaded.segment(Rights::ReadExecute);
    assert_eq!(text[0], 0xc3);
    assert_eq!(text[1..16], [0xcc; 15]);
    assert_eq!(text[16..18], [0x90; 2]);
    assert_eq!(text[18..], [0xcc; 4096 - 18]);
}

#[test]
fn an_object_made_by_an_independent_writer_loads() {
    use object::elf::{R_X86_64_64, R_X86_64_PLT32};
    use object::write::{Object as Writer, Relocation, StandardSection, Symbol, SymbolSection};
    use object::{
        Architecture, BinaryFormat, Endianness, RelocationFlags, SymbolFlags, SymbolKind, SymbolScope,
    };
    let mut writer = Writer::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let (text, data) = (writer.section_id(StandardSection::Text), writer.section_id(StandardSection::Data));
    writer.append_section_data(text, &[0xe8, 0, 0, 0, 0, 0xc3], 16);
    writer.append_section_data(data, &[0; 8], 8);
    let sdot = writer.add_symbol(Symbol {
        name: b"sdot".to_vec(),
        value: 5,
        size: 1,
        kind: SymbolKind::Text,
        scope: SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Section(text),
        flags: SymbolFlags::None,
    });
    let flags = |r_type| RelocationFlags::Elf { r_type };
    writer
        .add_relocation(
            text,
            Relocation { offset: 1, symbol: sdot, addend: -4, flags: flags(R_X86_64_PLT32) },
        )
        .unwrap();
    writer
        .add_relocation(data, Relocation { offset: 0, symbol: sdot, addend: 0, flags: flags(R_X86_64_64) })
        .unwrap();
    let bytes = writer.write().unwrap();

    let entry = Object::parse(&bytes).unwrap().entry(&rule(None)).unwrap();
    assert_eq!((entry.text_offset, entry.size), (5, 1));
    let loaded = load(&bytes).unwrap();
    assert_eq!(loaded.segment(Rights::ReadExecute)[..6], [0xe8, 0, 0, 0, 0, 0xc3]);
    assert_eq!(loaded.segment(Rights::ReadWrite)[..8], (BASE + 0x1005).to_le_bytes());
}

#[test]
fn memory_that_does_not_match_the_layout_is_not_written() {
    let object = Object::parse(SDOT).unwrap();
    let (mut short, mut right) = ([0; 4095], [0; 4096]);
    assert_eq!(object.link(BASE, &mut []), Err(LinkError::Memory));
    assert_eq!(object.link(BASE, &mut [&mut short]), Err(LinkError::Memory));
    for base in [BASE + 1, (1 << 31) - 0x2000, u64::MAX - 0xfff] {
        assert_eq!(object.link(base, &mut [&mut right]), Err(LinkError::Base { base }));
    }
    assert!(short.iter().chain(&right).all(|&byte| byte == 0));
    assert_eq!(object.link((1 << 31) - 0x3000, &mut [&mut right]), Ok(()));
}
