//! Which function is chosen.

use webrunner_protocol::limits::MAX_CANDIDATES;
use webrunner_protocol::refusal::{EntryRefusal, Name};
use webrunner_worker::load::{Entry, Object};

use crate::builder::*;

/// Section 1 is text of 32 bytes, 2 more text, 3 data, 4 empty text.
fn file(symbols: &[Symbol]) -> File {
    let text = |name| Section { align: 16, ..section(name, ALLOC | EXEC, &[0xc3; 32]) };
    let empty = section(".text.none", ALLOC | EXEC, &[]);
    File::new(&[text(".text"), text(".text.b"), section(".data", ALLOC | WRITE, &[0; 8]), empty], symbols)
}

fn choose(wanted: Option<&str>, symbols: &[Symbol]) -> Result<Entry, EntryRefusal> {
    Object::parse(&file(symbols).bytes()).unwrap().entry(&rule(wanted))
}

fn chosen(wanted: Option<&str>, symbols: &[Symbol]) -> u64 {
    choose(wanted, symbols).unwrap().text_offset
}

fn function(name: &str, section: u16, value: u64) -> Symbol {
    symbol(name, GLOBAL, FUNC, section, value)
}

fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| Name::new(name.as_bytes())).collect()
}

#[test]
fn the_name_the_client_gives_comes_before_the_kernels() {
    let symbols = [function("sdot", 1, 0), function("helper", 2, 4), symbol("own", LOCAL, FUNC, 2, 8)];
    assert_eq!(chosen(None, &symbols), 0);
    assert_eq!(chosen(Some("helper"), &symbols), 36);
    assert_eq!(chosen(Some("own"), &symbols), 40);
    let missing = EntryRefusal::Missing { wanted: Name::new(b"sdo"), candidates: names(&["sdot", "helper"]) };
    assert_eq!(choose(Some("sdo"), &symbols), Err(missing));
}

#[test]
fn the_only_global_function_is_taken_whatever_its_name() {
    let local = symbol("a", LOCAL, FUNC, 1, 0);
    assert_eq!(chosen(None, &[local.clone(), function("b", 1, 8)]), 8);
    assert_eq!(chosen(None, &[local.clone(), symbol("b", WEAK, FUNC, 1, 8)]), 8);
    let untyped = symbol("b", GLOBAL, NOTYPE, 1, 8);
    assert_eq!(chosen(None, &[local.clone(), untyped.clone()]), 8, "NASM gives no type");
    assert_eq!(chosen(None, &[untyped, function("c", 1, 9)]), 9, "one with a type comes first");
    let missing = EntryRefusal::Missing { wanted: Name::new(b"sdot"), candidates: names(&["a"]) };
    assert_eq!(choose(None, &[local]), Err(missing));
}

#[test]
fn several_functions_are_listed_up_to_a_limit() {
    let ambiguous = |candidates| EntryRefusal::Ambiguous { kernel: Name::new(b"sdot"), candidates };
    let two = [function("a", 1, 0), function("b", 2, 0)];
    assert_eq!(choose(None, &two), Err(ambiguous(names(&["a", "b"]))));
    let many = vec![function("a", 1, 0); 1000];
    assert_eq!(choose(None, &many), Err(ambiguous(names(&["a"; MAX_CANDIDATES]))));
}

#[test]
fn an_object_without_functions_starts_at_its_text() {
    let start = Entry { symbol: None, offset: 0x1000, text_offset: 0, size: 0 };
    let section_symbol = symbol("", LOCAL, 3, 1, 0);
    for symbols in [&[][..], &[section_symbol, symbol("x", GLOBAL, OBJECT, 3, 0)]] {
        assert_eq!(choose(None, symbols), Ok(start.clone()));
    }
    let stripped = File { no_symbol_table: true, ..file(&[]) }.bytes();
    assert_eq!(Object::parse(&stripped).unwrap().entry(&rule(None)), Ok(start));
    assert!(choose(Some(""), &[]).is_err(), "an empty name is no function's");
}

#[test]
fn what_is_no_function_is_not_called() {
    let symbols = [
        symbol("sdot", GLOBAL, OBJECT, 1, 0),
        symbol("sdot", GLOBAL, NOTYPE, 3, 0),
        symbol("sdot", GLOBAL, FUNC, ABS, 0),
        symbol("sdot", GLOBAL, OBJECT, COMMON, 8),
        symbol("sdot", GLOBAL, FUNC, 1, 32),
        symbol("sdot", GLOBAL, FUNC, 4, 0),
    ];
    for symbol in symbols {
        let refusal = EntryRefusal::NotAFunction { name: Name::new(b"sdot") };
        assert_eq!(choose(None, std::slice::from_ref(&symbol)), Err(refusal.clone()));
        assert_eq!(choose(Some("sdot"), &[symbol]), Err(refusal));
    }
    let undefined = symbol("sdot", GLOBAL, NOTYPE, UNDEF, 0);
    assert!(matches!(
        choose(Some("sdot"), std::slice::from_ref(&undefined)),
        Err(EntryRefusal::Missing { .. })
    ));
    assert_eq!(chosen(None, &[undefined, function("wrapper", 1, 4)]), 4);
    assert_eq!(chosen(None, &[symbol("sdot", LOCAL, 4, ABS, 0), function("f", 1, 4)]), 4, "a file's name");
}

#[test]
fn a_name_defined_twice_is_refused_unless_one_is_better() {
    let (first, second) = (function("sdot", 1, 0), function("sdot", 2, 0));
    let duplicate = EntryRefusal::Duplicate { name: Name::new(b"sdot") };
    assert_eq!(choose(None, &[first.clone(), second.clone()]), Err(duplicate));
    assert_eq!(chosen(None, &[Symbol { binding: WEAK, ..first.clone() }, second.clone()]), 32);
    assert_eq!(chosen(None, &[first, Symbol { binding: LOCAL, ..second }]), 0);
}

#[test]
fn the_stated_size_ends_with_the_section() {
    let size = |size| choose(None, &[Symbol { size, ..function("sdot", 1, 8) }]).unwrap().size;
    assert_eq!([size(0), size(24), size(25), size(u64::MAX)], [0, 24, 24, 24]);
}

#[test]
fn an_object_without_code_is_refused() {
    let data = File::new(&[section(".data", ALLOC | WRITE, &[1])], &[symbol("sdot", GLOBAL, OBJECT, 1, 0)]);
    let no_sections = [&data.bytes()[..40], &[0; 24]].concat();
    for bytes in [data.bytes(), no_sections] {
        assert_eq!(Object::parse(&bytes).unwrap().entry(&rule(Some("sdot"))), Err(EntryRefusal::NoCode));
    }
}

#[test]
fn long_names_are_compared_whole_and_reported_short() {
    let long = "x".repeat(5000);
    let symbols = [function(&long, 1, 0), function(&long[1..], 1, 8)];
    let entry = choose(Some(&long[1..]), &symbols).unwrap();
    assert_eq!(entry.text_offset, 8);
    assert_eq!(entry.symbol.unwrap().as_str().len(), 128);
    assert!(choose(Some(&long[..4000]), &symbols).is_err());
}
