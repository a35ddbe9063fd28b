//! Makes text that is mostly branches, which random bytes seldom are.

use proptest::prelude::*;

/// Short pieces of code, one after the other.
pub fn branchy() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        (0x70u8..0x80, any::<i8>()).prop_map(|(opcode, distance)| vec![opcode, distance as u8]),
        (0xe0u8..0xe4, any::<i8>()).prop_map(|(opcode, distance)| vec![opcode, distance as u8]),
        any::<i8>().prop_map(|distance| vec![0xeb, distance as u8]),
        (prop_oneof![Just(0xe8u8), Just(0xe9)], -300i32..300).prop_map(|(opcode, distance)| [
            &[opcode][..],
            &distance.to_le_bytes()
        ]
        .concat()),
        Just(vec![0xc3]),
        Just(vec![0xc2, 8, 0]),
        Just(vec![0x90]),
        any::<u8>().prop_map(|modrm| vec![0xff, 0x20 | (modrm & 0xd7), 0, 0, 0, 0]),
        any::<i32>().prop_map(|value| [&[0x48, 0x8d, 0x05][..], &value.to_le_bytes()].concat()),
        prop::collection::vec(any::<u8>(), 1..4),
        Just(vec![0x66, 0xe9]),
        Just(vec![0xc7, 0xf8]),
    ];
    prop::collection::vec(piece, 1..120).prop_map(|pieces| pieces.concat())
}
