//! Where an ELF object keeps its numbers: header, section headers, symbols and relocations, as gABI chapter 4 has them.

use crate::mutation::Field;

const HEADER: [Field; 14] = [
    (4, 1),
    (5, 1),
    (6, 1),
    (16, 2),
    (18, 2),
    (20, 4),
    (24, 8),
    (40, 8),
    (48, 4),
    (54, 2),
    (56, 2),
    (58, 2),
    (60, 2),
    (62, 2),
];
const SECTION: [Field; 10] =
    [(0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8)];
const SYMBOL: [Field; 6] = [(0, 4), (4, 1), (5, 1), (6, 2), (8, 8), (16, 8)];
const RELA: [Field; 4] = [(0, 8), (8, 4), (12, 4), (16, 8)];

/// The fields of an object, as far as its own numbers lead to them.
pub fn fields(bytes: &[u8]) -> Vec<Field> {
    let headers = headers(bytes).into_iter();
    let of_headers = headers.flat_map(|header| SECTION.map(|(at, width)| (header + at, width)));
    let of_entries = [(2, &SYMBOL[..]), (4, &RELA[..])].into_iter().flat_map(|(kind, layout)| {
        let entries = entries(bytes, kind).into_iter();
        entries.flat_map(|entry| layout.iter().map(move |(at, width)| (entry + at, *width)))
    });
    HEADER.into_iter().chain(of_headers).chain(of_entries).collect()
}

/// Where the entries of the sections of this type begin.
pub fn entries(bytes: &[u8], kind: usize) -> Vec<usize> {
    let mut found = Vec::new();
    for header in headers(bytes).into_iter().filter(|header| number(bytes, header + 4, 4) == kind) {
        let (offset, size) = (number(bytes, header + 24, 8), number(bytes, header + 32, 8));
        let places = (0..(size / 24).min(64)).filter_map(|entry| offset.checked_add(24 * entry));
        found.extend(places.take_while(|at| *at < bytes.len()));
    }
    found
}

/// Where the section headers begin.
fn headers(bytes: &[u8]) -> Vec<usize> {
    let (table, count) = (number(bytes, 40, 8), number(bytes, 60, 2));
    let places = (0..count.min(64)).filter_map(|index| table.checked_add(64 * index));
    places.take_while(|at| *at < bytes.len()).collect()
}

/// A little-endian number; 0 where there is none.
fn number(bytes: &[u8], at: usize, width: usize) -> usize {
    let Some(field) = at.checked_add(width).and_then(|end| bytes.get(at..end)) else { return 0 };
    field.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
