//! What each relocation writes, and when it is refused.
//!
//! The image has text at 0x1000, then, where there is a global offset table, 0x3000 for it and 0x5000 for data.

use webrunner_protocol::refusal::{Name, ObjectPart, ObjectRefusal, SectionFeature, SymbolFeature};
use webrunner_worker::load::Rights;

use crate::builder::*;

const TEXT: u64 = BASE + 0x1000;
const GOT: u64 = BASE + 0x3000;
const DATA: u64 = BASE + 0x5000;

/// Symbols 1 to 6; `sdot` is 8 bytes into the data and 24 long.
fn file(entries: &[Rela]) -> File {
    File::new(
        &[
            section(".text", ALLOC | EXEC, &[0xaa; 32]),
            section(".data", ALLOC | WRITE, &[0xbb; 64]),
            section(".comment", 0, &[0; 8]),
            rela(1, entries),
        ],
        &[
            Symbol { size: 24, ..symbol("sdot", GLOBAL, OBJECT, 2, 8) },
            symbol("missing", GLOBAL, NOTYPE, UNDEF, 0),
            symbol("optional", WEAK, NOTYPE, UNDEF, 0),
            symbol("_GLOBAL_OFFSET_TABLE_", GLOBAL, NOTYPE, UNDEF, 0),
            symbol("constant", LOCAL, NOTYPE, ABS, 0x1234),
            symbol("remark", LOCAL, NOTYPE, 3, 0),
        ],
    )
}

fn written(entry: Rela, width: usize) -> u64 {
    // The GOTPC32 behind it makes a table appear, so that addresses are the same in every case.
    let loaded = load(&file(&[entry, (24, 4, 26, 0)]).bytes()).unwrap();
    let text = loaded.segment(Rights::ReadExecute);
    let at = entry.0 as usize;
    assert!(text[..at].iter().all(|&byte| byte == 0xaa) && text[at + width] == 0xaa, "wrote too far");
    let mut value = [0; 8];
    value[..width].copy_from_slice(&text[at..at + width]);
    u64::from_le_bytes(value)
}

#[test]
fn each_type_writes_what_the_psabi_says() {
    let sdot = DATA + 8;
    let distance = sdot - (TEXT + 4);
    let slot = 8;
    let cases: [(&str, u32, u32, i64, usize, u64); 25] = [
        ("64", 1, 1, 5, 8, sdot + 5),
        ("64 of a number", 1, 5, -1, 8, 0x1233),
        ("PC32", 2, 1, -4, 4, distance - 4),
        ("GOT32", 3, 1, 1, 4, slot + 1),
        ("PLT32", 4, 1, -4, 4, distance - 4),
        ("GOTPCREL", 9, 1, -4, 4, GOT + slot - TEXT - 8),
        ("32", 10, 1, 0, 4, sdot),
        ("32S", 11, 1, -8, 4, DATA),
        ("16", 12, 5, 0, 2, 0x1234),
        ("16 negative", 12, 3, -2, 2, 0xfffe),
        ("PC16", 13, 1, -0x3000, 2, distance - 0x3000),
        ("8", 14, 5, -0x1200, 1, 0x34),
        ("PC8", 15, 1, -(distance as i64) - 1, 1, 0xff),
        ("PC64", 24, 1, 0, 8, distance),
        ("GOTOFF64", 25, 1, 0, 8, sdot - GOT),
        ("GOTPC32", 26, 4, 4, 4, GOT - TEXT),
        ("GOT64", 27, 1, 0, 8, slot),
        ("GOTPCREL64", 28, 1, 0, 8, GOT + slot - TEXT - 4),
        ("GOTPC64", 29, 4, 4, 8, GOT - TEXT),
        ("GOTPLT64", 30, 1, 0, 8, slot),
        ("PLTOFF64", 31, 1, 0, 8, sdot - GOT),
        ("SIZE32", 32, 1, -1, 4, 23),
        ("SIZE64", 33, 1, 1, 8, 25),
        ("GOTPCRELX", 41, 1, -4, 4, GOT + slot - TEXT - 8),
        ("REX_GOTPCRELX", 42, 1, -4, 4, GOT + slot - TEXT - 8),
    ];
    for (name, kind, symbol, addend, width, expected) in cases {
        assert_eq!(written((4, symbol, kind, addend), width), expected, "R_X86_64_{name}");
    }
}

#[test]
fn nothing_is_written_for_a_relocation_of_type_none() {
    let loaded = load(&file(&[(u64::MAX, 999, 0, 0)]).bytes()).unwrap();
    assert_eq!(loaded.segment(Rights::ReadExecute)[..32], [0xaa; 32]);
}

#[test]
fn a_symbol_has_one_slot_that_holds_its_address() {
    let loaded = load(&file(&[(0, 1, 9, 0), (4, 3, 9, 0), (8, 1, 41, 0)]).bytes()).unwrap();
    let got = loaded.segment(Rights::Read);
    assert_eq!(got[..8], [0; 8]);
    assert_eq!(got[8..16], (DATA + 8).to_le_bytes());
    assert_eq!(got[16..32], [0; 16], "an undefined weak symbol is 0, and nothing follows");
    let text = loaded.segment(Rights::ReadExecute);
    assert_eq!(text[8..12], ((GOT + 8 - TEXT - 8) as u32).to_le_bytes());
}

#[test]
fn every_other_type_is_refused_by_number() {
    let taken = [0, 1, 2, 3, 4, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 41, 42];
    for kind in (0..=255).chain([0x1_0001, u32::MAX]).filter(|kind| !taken.contains(kind)) {
        let section = Name::new(b".text");
        assert_eq!(
            refusal(&file(&[(0, 1, kind, 0)])),
            ObjectRefusal::RelocationType { section, index: 0, kind }
        );
    }
}

#[test]
fn values_that_do_not_fit_are_refused_with_section_index_and_symbol() {
    let cases = [
        (10, -(DATA as i64) - 9),
        (10, 1 << 32),
        (11, (1 << 31) - (DATA as i64) - 8),
        (2, 1 << 31),
        (4, -(1 << 31) - 0x4009),
        (2, i64::MIN),
        (13, 0x7000),
        (15, -0x3f00),
        (12, 0),
        (14, 0),
        (3, i64::MAX),
        (32, -25),
    ];
    for (kind, addend) in cases {
        let overflow = ObjectRefusal::RelocationOverflow {
            section: Name::new(b".text"),
            index: 1,
            kind,
            symbol: Name::new(b"sdot"),
        };
        let refused = refusal(&file(&[(8, 1, 1, 0), (0, 1, kind, addend), (24, 4, 26, 0)]));
        assert_eq!(refused, overflow, "{kind} {addend:#x}");
    }
}

#[test]
fn the_last_values_that_fit_are_written() {
    assert_eq!(written((0, 1, 10, -(DATA as i64) - 8), 4), 0);
    assert_eq!(written((0, 1, 10, 0xffff_ffff - (DATA as i64) - 8), 4), 0xffff_ffff);
    assert_eq!(written((0, 1, 11, (1 << 31) - (DATA as i64) - 9), 4), 0x7fff_ffff);
    assert_eq!(written((0, 1, 11, -(1 << 31) - (DATA as i64) - 8), 4), 0x8000_0000);
}

#[test]
fn relocations_that_write_outside_their_section_are_refused() {
    for (kind, offset) in [(1, 25), (2, 29), (14, 32), (1, u64::MAX), (2, u64::MAX - 3)] {
        let section = Name::new(b".text");
        let outside = ObjectRefusal::RelocationOutside { section, index: 0, offset };
        assert_eq!(refusal(&file(&[(offset, 5, kind, 0)])), outside);
    }
    assert!(load(&file(&[(24, 5, 1, 0)]).bytes()).is_ok());
}

#[test]
fn undefined_symbols_are_refused_only_where_something_needs_them() {
    assert!(load(&file(&[]).bytes()).is_ok());
    assert_eq!(refusal(&file(&[(0, 2, 4, -4)])), ObjectRefusal::Undefined { name: Name::new(b"missing") });
    assert_eq!(refusal(&file(&[(0, 2, 9, -4)])), ObjectRefusal::Undefined { name: Name::new(b"missing") });
}

#[test]
fn references_to_what_is_not_loaded_are_refused() {
    let not_loaded = ObjectRefusal::Symbol { name: Name::new(b"remark"), feature: SymbolFeature::NotLoaded };
    assert_eq!(refusal(&file(&[(0, 6, 1, 0)])), not_loaded);
}

#[test]
fn relocations_without_a_symbol_are_refused() {
    for symbol in [7, u32::MAX] {
        let section = Name::new(b".text");
        let unknown = ObjectRefusal::RelocationSymbol { section, index: 0, symbol: symbol.into() };
        assert_eq!(refusal(&file(&[(0, symbol, 1, 0)])), unknown);
    }
}

#[test]
fn symbol_0_is_nothing_when_null_and_a_symbol_when_not() {
    assert_eq!(written((0, 0, 1, 77), 8), 77);
    let mut peachpy = file(&[(0, 0, 1, 0)]);
    peachpy.no_null_symbol = true;
    let loaded = load(&peachpy.bytes()).unwrap();
    assert_eq!(loaded.segment(Rights::ReadExecute)[..8], (GOT + 8).to_le_bytes());
}

#[test]
fn relocations_of_what_is_not_loaded_are_not_looked_at() {
    let mut ignored = file(&[]);
    let junk = [(u64::MAX, u32::MAX, u32::MAX, 0)];
    ignored.sections.extend([rela(3, &junk), rela(4, &junk), rela(6, &junk)]);
    ignored.sections.push(Section { kind: REL, ..rela(3, &junk) });
    assert_eq!(exercise(&ignored.bytes()), Ok(()));
}

#[test]
fn malformed_relocation_tables_are_refused() {
    let with = |table| {
        let mut file = file(&[]);
        file.sections.push(table);
        refusal(&file)
    };
    let malformed = ObjectRefusal::Malformed { what: ObjectPart::RelocationTable, index: 5 };
    let entries = [(0, 1, 1, 0)];
    for target in [0, 9, u32::MAX] {
        assert_eq!(with(rela(target, &entries)), malformed, "target {target}");
    }
    for link in [0, 1, 7, 1000] {
        assert_eq!(with(Section { link, ..rela(1, &entries) }), malformed, "link {link}");
    }
    for entry_bytes in [0, 16, 23, u64::MAX] {
        assert_eq!(with(Section { entry_bytes, ..rela(1, &entries) }), malformed);
    }
    assert_eq!(with(Section { size: Some(23), ..rela(1, &entries) }), malformed);
    let empty = Section { size: Some(0), offset: Some(u64::MAX), ..rela(1, &[]) };
    assert!(
        load(&File { sections: vec![section(".text", ALLOC | EXEC, &[1]), empty], ..file(&[]) }.bytes())
            .is_ok()
    );
    let name = Name::new(b".rela");
    let feature = SectionFeature::ImplicitAddends;
    assert_eq!(with(Section { kind: REL, ..rela(1, &entries) }), ObjectRefusal::Section { name, feature });
}

#[test]
fn relocations_are_counted_over_all_tables() {
    let half = vec![(0, 1, 1, 0); 32_768];
    let mut file = file(&half);
    file.sections.push(rela(1, &half));
    assert!(load(&file.bytes()).is_ok());
    file.sections.push(rela(2, &[(0, 1, 1, 0)]));
    let too_many = ObjectRefusal::TooMany { what: ObjectPart::Relocation, count: 65_537, limit: 65_536 };
    assert_eq!(refusal(&file), too_many);
}
