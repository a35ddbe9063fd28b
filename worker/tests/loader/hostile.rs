//! Objects cut, bent and made at random: always a refusal or an image within its limits, never a panic.

use proptest::prelude::*;

use crate::builder::*;

/// A small object with something of everything.
fn specimen() -> Vec<u8> {
    let text = Section { align: 16, ..section(".text", ALLOC | EXEC, &[0xc3; 48]) };
    let common = Symbol { size: 16, ..symbol("common", GLOBAL, OBJECT, COMMON, 8) };
    File::new(
        &[
            text,
            section(".rodata", ALLOC, b"constants"),
            section(".data", ALLOC | WRITE, &[0; 16]),
            zeroes(".bss", ALLOC | WRITE, 100),
            rela(1, &[(0, 2, 4, -4), (4, 3, 9, -4), (8, 4, 1, 0), (16, 5, 11, 0), (20, 4, 26, 0)]),
            rela(3, &[(0, 1, 1, 0), (8, 3, 24, 0)]),
        ],
        &[
            symbol("sdot", GLOBAL, FUNC, 1, 0),
            symbol("helper", LOCAL, FUNC, 1, 16),
            symbol("table", GLOBAL, OBJECT, 3, 0),
            common,
            symbol("optional", WEAK, NOTYPE, UNDEF, 0),
        ],
    )
    .bytes()
}

const PEACHPY: &[u8] = include_bytes!("../../../tests/objects/peachpy/sdot_peachpy.o");

#[test]
fn an_object_cut_short_anywhere_is_refused() {
    for bytes in [specimen(), PEACHPY.to_vec()] {
        assert_eq!(exercise(&bytes), Ok(()));
        for end in 0..bytes.len() {
            assert!(exercise(&bytes[..end]).is_err(), "taken after {end} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn every_byte_changed_is_survived() {
    for bytes in [specimen(), PEACHPY.to_vec()] {
        for index in 0..bytes.len() {
            for change in [0x01, 0x80, 0xff, bytes[index]] {
                let mut bent = bytes.clone();
                bent[index] ^= change;
                let _ = exercise(&bent);
            }
        }
    }
}

/// The numbers that break arithmetic.
fn awkward() -> impl Strategy<Value = u64> {
    let near = |limit: u64| (-2_i64..=2).prop_map(move |step| limit.wrapping_add_signed(step));
    prop_oneof![
        near(0),
        near(1 << 12),
        near(1 << 26),
        near(1 << 31),
        near(1 << 32),
        near(1 << 63),
        0..4096_u64,
        any::<u64>()
    ]
}

proptest! {
    #[test]
    fn bytes_changed_at_random_are_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = specimen();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = exercise(&bytes);
    }

    #[test]
    fn awkward_numbers_in_any_word_are_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), awkward(), 0..4_usize), 1..4),
    ) {
        let mut bytes = specimen();
        for (index, number, width) in changes {
            let width = 1 << width;
            let at = index.index(bytes.len() - 8) / width * width;
            bytes[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
        }
        let _ = exercise(&bytes);
    }

    #[test]
    fn random_bytes_behind_a_good_header_are_survived(
        rest in prop::collection::vec(any::<u8>(), 0..512),
        count in 0..8_u8,
    ) {
        let mut bytes = specimen()[..64].to_vec();
        bytes[40..48].copy_from_slice(&64_u64.to_le_bytes());
        bytes[60] = count;
        bytes[62] = 0;
        bytes.extend(rest);
        let _ = exercise(&bytes);
    }
}
