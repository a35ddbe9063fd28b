//! Symbols that cannot be, and what the rest stand for.

use webrunner_protocol::refusal::{Name, ObjectPart, ObjectRefusal, SymbolFeature};
use webrunner_worker::load::Rights;

use crate::builder::*;

fn with_symbol(symbol: Symbol) -> File {
    File::new(&[section(".text", ALLOC | EXEC, &[0xc3; 8]), section(".debug", 0, &[0; 8])], &[symbol])
}

#[test]
fn each_symbol_that_needs_a_run_time_linker_is_named() {
    use SymbolFeature::*;
    let cases = [
        (symbol("a", GLOBAL, 10, 1, 0), IndirectFunction),
        (symbol("b", GLOBAL, 6, 1, 0), ThreadLocal),
        (symbol("c", GLOBAL, 6, UNDEF, 0), ThreadLocal),
        (symbol("d", GLOBAL, FUNC, 0xffff, 0), ExtendedIndex),
    ];
    for (symbol, feature) in cases {
        let name = Name::new(&symbol.name);
        assert_eq!(refusal(&with_symbol(symbol)), ObjectRefusal::Symbol { name, feature });
    }
}

#[test]
fn symbols_outside_their_section_or_in_none_are_refused() {
    for value in [9, u64::MAX] {
        let outside = ObjectRefusal::SymbolOutside { name: Name::new(b"f") };
        assert_eq!(refusal(&with_symbol(symbol("f", GLOBAL, FUNC, 1, value))), outside);
    }
    assert_eq!(exercise(&with_symbol(symbol("end", GLOBAL, NOTYPE, 1, 8)).bytes()), Ok(()));
    assert_eq!(exercise(&with_symbol(symbol("debug", LOCAL, NOTYPE, 2, 99)).bytes()), Ok(()));
    for index in [6, 0xfeff, 0xff00, 0xfff3, 0xfffe] {
        let malformed = ObjectRefusal::Malformed { what: ObjectPart::Symbol, index: 1 };
        assert_eq!(
            refusal(&with_symbol(symbol("f", GLOBAL, FUNC, index, 0))),
            malformed,
            "section {index:#x}"
        );
    }
}

#[test]
fn malformed_symbol_tables_are_refused() {
    let table = |size, entry_bytes, link| Section {
        kind: 2,
        link,
        entry_bytes,
        ..section(".symtab", 0, &vec![0; size])
    };
    let file = |table| File { no_symbol_table: true, ..File::new(&[table], &[]) };
    let malformed = ObjectRefusal::Malformed { what: ObjectPart::SymbolTable, index: 1 };
    assert_eq!(refusal(&file(table(48, 0, 2))), malformed);
    assert_eq!(refusal(&file(table(48, 23, 2))), malformed);
    assert_eq!(refusal(&file(table(47, 24, 2))), malformed);
    for link in [0, 1, 3, u32::MAX - 1] {
        let malformed = ObjectRefusal::Malformed { what: ObjectPart::StringTable, index: link.into() };
        assert_eq!(refusal(&file(table(48, 24, link))), malformed);
    }
    let too_many = ObjectRefusal::TooMany { what: ObjectPart::Symbol, count: 65_537, limit: 65_536 };
    assert_eq!(refusal(&file(table(65_537 * 24, 24, 2))), too_many);
    let two = File::new(&[table(0, 24, 2)], &[]);
    assert_eq!(refusal(&two), ObjectRefusal::TooMany { what: ObjectPart::SymbolTable, count: 2, limit: 1 });
    assert_eq!(exercise(&file(table(0, 24, 2)).bytes()), Ok(()));
}

#[test]
fn names_without_an_end_or_outside_their_table_are_refused() {
    let names = |data: &[u8]| Section { kind: 3, ..section(".strtab", 0, data) };
    let table = |name: u32| {
        let data = [&[0; 24][..], &name.to_le_bytes(), &[0; 20]].concat();
        Section { kind: 2, link: 1, entry_bytes: 24, ..section(".symtab", 0, &data) }
    };
    let file =
        |strings, name| File { no_symbol_table: true, ..File::new(&[names(strings), table(name)], &[]) };
    assert_eq!(exercise(&file(b"\0ab\0", 3).bytes()), Ok(()));
    let unterminated = ObjectRefusal::Malformed { what: ObjectPart::StringTable, index: 1 };
    assert_eq!(refusal(&file(b"\0ab", 1)), unterminated);
    let outside = ObjectRefusal::Malformed { what: ObjectPart::Name, index: 1 };
    assert_eq!(refusal(&file(b"\0ab\0", 4)), outside);
    assert_eq!(refusal(&file(b"\0ab\0", u32::MAX)), outside);
}

#[test]
fn common_symbols_get_aligned_storage_behind_the_data() {
    let common = |name, alignment, size| Symbol { size, ..symbol(name, GLOBAL, OBJECT, COMMON, alignment) };
    let mut file = File::new(
        &[
            section(".text", ALLOC | EXEC, &[0; 16]),
            section(".data", ALLOC | WRITE, &[1; 3]),
            rela(1, &[(0, 1, 1, 0), (8, 2, 1, 0)]),
        ],
        &[common("a", 64, 100), common("b", 8, 8)],
    );
    let loaded = load(&file.bytes()).unwrap();
    let text = loaded.segment(Rights::ReadExecute);
    assert_eq!(text[..8], (BASE + 0x3000 + 64).to_le_bytes());
    assert_eq!(text[8..16], (BASE + 0x3000 + 168).to_le_bytes());

    file.symbols[0].value = 24;
    assert_eq!(refusal(&file), ObjectRefusal::Alignment { name: Name::new(b"a"), alignment: 24 });
    file.symbols[0] = common("a", 8, u64::MAX);
    assert_eq!(refusal(&file), ObjectRefusal::TooLarge { bytes: u64::MAX });
}
