//! Files that are not objects for this machine.

use webrunner_protocol::refusal::{HeaderField, ObjectPart, ObjectRefusal};

use crate::builder::*;

fn object() -> Vec<u8> {
    File::new(&[section(".text", ALLOC | EXEC, &[0xc3])], &[]).bytes()
}

fn patched(offset: usize, field: &[u8]) -> ObjectRefusal {
    let mut bytes = object();
    bytes[offset..offset + field.len()].copy_from_slice(field);
    load(&bytes).err().unwrap()
}

#[test]
fn what_is_no_elf_file_is_refused() {
    assert_eq!(load(b"").err(), Some(ObjectRefusal::Empty));
    let texts: [&[u8]; 5] = [b"\x7f", b"PK\x03\x04", b"MZ", &[b'x'; 200], &[0; 64]];
    for bytes in texts {
        assert_eq!(load(bytes).err(), Some(ObjectRefusal::NotElf));
    }
}

#[test]
fn each_header_field_of_the_wrong_kind_is_named() {
    let cases: [(usize, &[u8], HeaderField, u64, u64); 10] = [
        (4, &[1], HeaderField::Class, 1, 2),
        (5, &[2], HeaderField::ByteOrder, 2, 1),
        (6, &[0], HeaderField::Version, 0, 1),
        (16, &[2, 0], HeaderField::Type, 2, 1),
        (16, &[3, 0], HeaderField::Type, 3, 1),
        (18, &[183, 0], HeaderField::Machine, 183, 62),
        (20, &[2, 0, 0, 0], HeaderField::Version, 2, 1),
        (48, &[1, 0, 0, 0], HeaderField::Flags, 1, 0),
        (56, &[1, 0], HeaderField::ProgramHeaders, 1, 0),
        (58, &[40, 0], HeaderField::SectionHeaderSize, 40, 64),
    ];
    for (offset, bytes, field, found, expected) in cases {
        assert_eq!(patched(offset, bytes), ObjectRefusal::Header { field, found, expected });
    }
}

#[test]
fn a_section_table_outside_the_file_is_refused() {
    let past_end = object().len() as u64 - 64;
    for offset in [0, 63, past_end, 1 << 20, u64::MAX - 63, u64::MAX] {
        let refusal = ObjectRefusal::Malformed { what: ObjectPart::SectionTable, index: 0 };
        assert_eq!(patched(40, &offset.to_le_bytes()), refusal, "offset {offset:#x}");
    }
}

#[test]
fn extended_section_numbering_is_refused() {
    assert_eq!(
        patched(60, &[0, 0]),
        ObjectRefusal::Malformed { what: ObjectPart::SectionTable, index: 0 },
        "a count of 0 with a table"
    );
    let mut bytes = object();
    let table = bytes.len() - 64 * 5;
    bytes[60..62].fill(0);
    bytes[table + 32..table + 40].copy_from_slice(&70_000_u64.to_le_bytes());
    let too_many = ObjectRefusal::TooMany { what: ObjectPart::Section, count: 70_000, limit: 4096 };
    assert_eq!(load(&bytes).err(), Some(too_many));
    for count in [4097_u16, 0xffff] {
        let too_many = ObjectRefusal::TooMany { what: ObjectPart::Section, count: count.into(), limit: 4096 };
        assert_eq!(patched(60, &count.to_le_bytes()), too_many);
    }
}

#[test]
fn section_names_in_no_section_or_no_string_table_are_refused() {
    for index in [5_u16, 0xffff] {
        let refusal = ObjectRefusal::Malformed { what: ObjectPart::Section, index: index.into() };
        assert_eq!(patched(62, &index.to_le_bytes()), refusal);
    }
    assert_eq!(patched(62, &[1, 0]), ObjectRefusal::Malformed { what: ObjectPart::StringTable, index: 1 });
}
