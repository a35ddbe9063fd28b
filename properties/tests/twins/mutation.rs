//! Mutations: the ways in which hostile input differs from good input.

use proptest::prelude::*;
use proptest::sample::Index;

/// One change. Places are drawn as fractions, so that one change fits inputs of any length.
#[derive(Debug, Clone)]
pub enum Mutation {
    /// Some bits of a byte turn over.
    Flip { at: Index, mask: u8 },
    /// The rest is cut off.
    Truncate { at: Index },
    /// A number is written over what is there, aligned to its own width.
    Overwrite { at: Index, width: usize, number: u64 },
    /// A number is written into a field the format has.
    Field { which: Index, number: u64 },
    /// A piece of another seed is put in, over what is there or before it.
    Splice { seed: Index, from: Index, bytes: usize, to: Index, over: bool },
    /// A piece is repeated.
    Repeat { at: Index, bytes: usize, times: usize },
}

/// A place and width of a field in an input.
pub type Field = (usize, usize);

/// The numbers that break arithmetic.
pub fn awkward() -> impl Strategy<Value = u64> {
    let near = |limit: u64| (-2_i64..=2).prop_map(move |step| limit.wrapping_add_signed(step));
    prop_oneof![
        1 => near(0),
        1 => near(1 << 12),
        1 => near(1 << 16),
        1 => near(1 << 26),
        1 => near(1 << 31),
        1 => near(1 << 32),
        1 => near(1 << 63),
        // Types, flags and indices: most of what they may be lies here.
        4 => 0..48_u64,
        1 => 0..4096_u64,
        1 => any::<u64>()
    ]
}

/// A few changes.
pub fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let index = any::<Index>;
    let one = prop_oneof![
        3 => (index(), 1..=u8::MAX).prop_map(|(at, mask)| Mutation::Flip { at, mask }),
        1 => index().prop_map(|at| Mutation::Truncate { at }),
        2 => (index(), 0..4_u32, awkward())
            .prop_map(|(at, log, number)| Mutation::Overwrite { at, width: 1 << log, number }),
        6 => (index(), awkward()).prop_map(|(which, number)| Mutation::Field { which, number }),
        2 => (index(), index(), 1..64_usize, index(), any::<bool>())
            .prop_map(|(seed, from, bytes, to, over)| Mutation::Splice { seed, from, bytes, to, over }),
        1 => (index(), 1..32_usize, 1..32_usize)
            .prop_map(|(at, bytes, times)| Mutation::Repeat { at, bytes, times }),
    ];
    prop::collection::vec(one, 1..6)
}

/// Carries changes out; `fields` tells where a format keeps its numbers.
pub fn apply(
    mutations: &[Mutation],
    mut bytes: Vec<u8>,
    others: &[super::seeds::Seed],
    fields: impl Fn(&[u8]) -> Vec<Field>,
) -> Vec<u8> {
    for mutation in mutations {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match *mutation {
            Mutation::Flip { at, mask } => bytes[at.index(length)] ^= mask,
            Mutation::Truncate { at } => bytes.truncate(at.index(length)),
            Mutation::Overwrite { at, width, number } => {
                write(&mut bytes, at.index(length) / width * width, width, number);
            }
            Mutation::Field { which, number } => {
                let fields = fields(&bytes);
                if !fields.is_empty() {
                    let (at, width) = fields[which.index(fields.len())];
                    write(&mut bytes, at, width, number);
                }
            }
            Mutation::Splice { seed, from, bytes: count, to, over } => {
                let other = &others[seed.index(others.len())].bytes;
                let from = from.index(other.len().max(1)).min(other.len());
                let piece = &other[from..other.len().min(from + count)];
                let to = to.index(length);
                let end = if over { length.min(to + piece.len()) } else { to };
                bytes.splice(to..end, piece.iter().copied());
            }
            Mutation::Repeat { at, bytes: count, times } => {
                let at = at.index(length);
                let piece = bytes[at..length.min(at + count)].repeat(times);
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

fn write(bytes: &mut [u8], at: usize, width: usize, number: u64) {
    if let Some(place) = bytes.get_mut(at..at + width) {
        place.copy_from_slice(&number.to_le_bytes()[..width]);
    }
}
