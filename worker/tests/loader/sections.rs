//! Sections that are left out, and sections that cannot be loaded.

use webrunner_protocol::limits::MAX_IMAGE_BYTES;
use webrunner_protocol::refusal::{Name, ObjectPart, ObjectRefusal, SectionFeature};
use webrunner_worker::load::Object;

use crate::builder::*;

fn with_kind(kind: u32, section: Section) -> Section {
    Section { kind, ..section }
}

#[test]
fn notes_unwind_tables_and_debug_sections_are_left_out() {
    let mut excluded = section(".hint", ALLOC | 1 << 31, &[1]);
    excluded.align = 3;
    let file = File::new(
        &[
            with_kind(7, section(".note.gnu.property", ALLOC, &[1; 32])),
            section(".eh_frame", ALLOC, &[1; 32]),
            with_kind(0x7000_0001, section(".unwind", ALLOC, &[1; 32])),
            section(".debug_info", 0x800, &[1; 32]),
            with_kind(17, section(".group", 0, &[1; 8])),
            excluded,
        ],
        &[],
    );
    assert_eq!(Object::parse(&file.bytes()).unwrap().layout().segments, []);
}

#[test]
fn each_section_that_cannot_be_loaded_is_named() {
    use SectionFeature::*;
    let cases = [
        (section(".tdata", ALLOC | WRITE | 0x400, &[0]), ThreadLocal),
        (section(".packed", ALLOC | 0x800, &[0]), Compressed),
        (section(".both", ALLOC | WRITE | EXEC, &[0xc3]), WritableCode),
        (with_kind(14, section(".init_array", ALLOC | WRITE, &[0; 8])), Constructor),
        (with_kind(15, section(".fini_array", ALLOC | WRITE, &[0; 8])), Constructor),
        (with_kind(16, section(".preinit_array", ALLOC | WRITE, &[0; 8])), Constructor),
        (section(".init_array.100", ALLOC | WRITE, &[0; 8]), Constructor),
        (section(".ctors", ALLOC | WRITE, &[0; 8]), Constructor),
        (section(".dtors.65535", ALLOC | WRITE, &[0; 8]), Constructor),
        (section(".init", ALLOC | EXEC, &[0xc3]), Constructor),
        (with_kind(6, section(".dynamic", ALLOC, &[0; 16])), UnknownType(6)),
    ];
    for (section, feature) in cases {
        let name = Name::new(&section.name);
        assert_eq!(refusal(&File::new(&[section], &[])), ObjectRefusal::Section { name, feature });
    }
}

#[test]
fn sections_merely_named_like_constructors_load() {
    let names = [".ctorsome", ".init_arrays", ".initial"];
    let sections = names.map(|name| section(name, ALLOC, &[1]));
    assert_eq!(exercise(&File::new(&sections, &[]).bytes()), Ok(()));
}

#[test]
fn alignments_that_a_page_cannot_honour_are_refused() {
    for alignment in [3, 8192, 1 << 63, u64::MAX] {
        let text = Section { align: alignment, ..section(".text", ALLOC | EXEC, &[0xc3]) };
        let name = Name::new(b".text");
        assert_eq!(refusal(&File::new(&[text], &[])), ObjectRefusal::Alignment { name, alignment });
    }
    for alignment in [0, 1, 4096] {
        let text = Section { align: alignment, ..section(".text", ALLOC | EXEC, &[0xc3]) };
        assert_eq!(exercise(&File::new(&[text], &[]).bytes()), Ok(()));
    }
}

#[test]
fn contents_outside_the_file_are_refused() {
    let malformed = ObjectRefusal::Malformed { what: ObjectPart::Section, index: 1 };
    for (offset, size) in [(1 << 30, 1), (64, 1 << 30), (u64::MAX, 2), (2, u64::MAX), (u64::MAX, u64::MAX)] {
        let text = Section { offset: Some(offset), size: Some(size), ..section(".text", ALLOC | EXEC, &[]) };
        assert_eq!(refusal(&File::new(&[text], &[])), malformed, "{offset:#x} + {size:#x}");
    }
}

#[test]
fn sizes_are_added_up_before_memory_is_asked_for() {
    let refused =
        |sections: &[Section]| matches!(refusal(&File::new(sections, &[])), ObjectRefusal::TooLarge { .. });
    assert!(refused(&[zeroes(".bss", ALLOC | WRITE, 1 << 40)]));
    assert!(refused(&[zeroes(".bss", ALLOC | WRITE, u64::MAX)]));
    assert!(refused(&vec![zeroes(".bss", ALLOC | WRITE, 1 << 30); 4000]));
    assert!(refused(&[
        zeroes(".bss", ALLOC | WRITE, MAX_IMAGE_BYTES),
        section(".data", ALLOC | WRITE, &[1])
    ]));
    assert!(refused(&[zeroes(".bss", ALLOC | WRITE, MAX_IMAGE_BYTES), section(".text", ALLOC | EXEC, &[1])]));
    let largest = File::new(&[zeroes(".bss", ALLOC | WRITE, MAX_IMAGE_BYTES)], &[]).bytes();
    assert_eq!(Object::parse(&largest).unwrap().layout().segments[0].bytes, MAX_IMAGE_BYTES);
}

#[test]
fn sections_that_share_their_bytes_in_the_file_cannot_amplify_it() {
    let megabyte = section(".rodata", ALLOC, &vec![7; 1 << 20]);
    let again = Section { offset: Some(64), size: Some(1 << 20), ..section(".again", ALLOC, &[]) };
    let sections = |copies| [vec![megabyte.clone()], vec![again.clone(); copies]].concat();
    assert_eq!(exercise(&File::new(&sections(63), &[]).bytes()), Ok(()));
    assert!(matches!(refusal(&File::new(&sections(64), &[])), ObjectRefusal::TooLarge { .. }));
}

#[test]
fn section_names_in_messages_are_short_and_printable() {
    let mut long = section("", ALLOC | WRITE | EXEC, &[1]);
    long.name = b"\x1b[31m\xff\n".repeat(1000);
    let message = refusal(&File::new(&[long], &[])).to_string();
    assert!(message.len() < 256 && !message.contains(char::is_control), "{message}");
    let unnamed = section("", ALLOC | WRITE | EXEC, &[1]);
    assert!(refusal(&File::new(&[unnamed], &[])).to_string().starts_with("section #1 is both"));
}
