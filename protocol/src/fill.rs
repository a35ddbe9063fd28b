//! What a buffer holds before the first call, computed the same way by the worker that calls and the supervisor that
//! checks.
//!
//! Numbers come from a counter-based generator (SplitMix64's output function over seed and position), so any element
//! can be computed alone: [`Contents`] does so where a buffer is too large to be held.

use crate::plan::{Buffer, ElementType, Fill};

/// Fills `bytes`, which holds the buffer's elements and nothing else. `index` tells the buffers of one call apart.
pub fn fill(buffer: &Buffer, seed: u64, index: usize, bytes: &mut [u8]) {
    fill_where(buffer, stream_of(seed, index), bytes, |_| true);
}

/// Fills about one element in `one_in`, a power of two, chosen by the seed, at least one if there is any; the rest stays.
pub fn fill_some(buffer: &Buffer, seed: u64, index: usize, bytes: &mut [u8], one_in: u64) {
    let choice = Choice::of(buffer, seed, index, one_in);
    fill_where(buffer, stream_of(seed, index), bytes, |at| choice.takes(at));
}

/// What [`fill`] puts in a buffer, an element at a time.
#[derive(Debug, Clone, Copy)]
pub struct Contents {
    fill: Fill,
    element: ElementType,
    stream: u64,
}

impl Contents {
    /// Those of a buffer.
    #[must_use]
    pub fn of(buffer: &Buffer, seed: u64, index: usize) -> Self {
        Self { fill: buffer.fill, element: buffer.element, stream: stream_of(seed, index) }
    }

    /// Element `at`, little endian, in the first of these bytes; those past its width mean nothing.
    #[must_use]
    #[inline]
    pub fn element(&self, at: u64) -> [u8; 8] {
        match self.element {
            ElementType::Float => {
                let value = real(self.fill, self.stream, at, 24).unwrap_or(0.0) as f32;
                u64::from(value.to_bits()).to_le_bytes()
            }
            ElementType::Double => real(self.fill, self.stream, at, 53).unwrap_or(0.0).to_le_bytes(),
            _ => (integer(self.fill, self.stream, at).unwrap_or(0) as u64).to_le_bytes(),
        }
    }
}

/// The elements that [`fill_some`] fills.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    stream: u64,
    surely: Option<u64>,
    mask: u64,
}

impl Choice {
    /// Those of a buffer.
    #[must_use]
    pub fn of(buffer: &Buffer, seed: u64, index: usize, one_in: u64) -> Self {
        let stream = mix(!stream_of(seed, index));
        let surely = random(stream, u64::MAX).checked_rem(buffer.elements);
        Self { stream, surely, mask: one_in.max(1).next_power_of_two() - 1 }
    }

    /// Whether element `at` is one of them.
    #[must_use]
    #[inline]
    pub fn takes(&self, at: u64) -> bool {
        random(self.stream, at) & self.mask == 0 || Some(at) == self.surely
    }
}

/// A number below `bound`, or 0, that follows from the seed.
#[must_use]
pub fn draw(seed: u64, index: usize, at: u64, bound: u64) -> u64 {
    random(stream_of(!seed.rotate_left(32), index), at).checked_rem(bound).unwrap_or(0)
}

fn stream_of(seed: u64, index: usize) -> u64 {
    mix(seed ^ (index as u64).wrapping_mul(0xd1b5_4a32_d192_ed03))
}

fn fill_where(buffer: &Buffer, stream: u64, bytes: &mut [u8], wanted: impl Fn(u64) -> bool) {
    match buffer.element {
        ElementType::Int8 | ElementType::Uint8 => {
            each(bytes, wanted, |at| {
                integer(buffer.fill, stream, at).map_or([0], |v| (v as u8).to_le_bytes())
            });
        }
        ElementType::Int16 | ElementType::Uint16 => {
            each(bytes, wanted, |at| {
                integer(buffer.fill, stream, at).map_or([0; 2], |v| (v as u16).to_le_bytes())
            });
        }
        ElementType::Int32 | ElementType::Uint32 => {
            each(bytes, wanted, |at| {
                integer(buffer.fill, stream, at).map_or([0; 4], |v| (v as u32).to_le_bytes())
            });
        }
        ElementType::Int64 | ElementType::Uint64 => {
            each(bytes, wanted, |at| {
                integer(buffer.fill, stream, at).map_or([0; 8], |v| (v as u64).to_le_bytes())
            });
        }
        ElementType::Float => {
            each(bytes, wanted, |at| {
                real(buffer.fill, stream, at, 24).map_or([0; 4], |v| (v as f32).to_le_bytes())
            });
        }
        ElementType::Double => {
            each(bytes, wanted, |at| real(buffer.fill, stream, at, 53).map_or([0; 8], |v| v.to_le_bytes()));
        }
    }
}

fn each<const N: usize>(
    bytes: &mut [u8],
    wanted: impl Fn(u64) -> bool,
    mut value: impl FnMut(u64) -> [u8; N],
) {
    for (at, element) in (0..).zip(bytes.chunks_exact_mut(N)) {
        if wanted(at) {
            element.copy_from_slice(&value(at));
        }
    }
}

/// Element `at` as an integer, to be cut to the element's width; `None` is zero. A constant out of range saturates.
#[inline]
fn integer(fill: Fill, stream: u64, at: u64) -> Option<i128> {
    match fill {
        Fill::Zero => None,
        Fill::Uniform => Some(i128::from(random(stream, at))),
        Fill::Index => Some(at.into()),
        Fill::Constant(value) => Some(value as i128),
        Fill::Range { .. } => real(fill, stream, at, 53).map(|value| value as i128),
    }
}

/// Element `at` as a number of `digits` random bits; `None` is zero.
///
/// Uniform numbers keep their distance from the subnormal range: the least magnitude but 0 is 2^-23 (float) or 2^-52.
#[inline]
fn real(fill: Fill, stream: u64, at: u64, digits: u32) -> Option<f64> {
    let unit = |scale: f64| (random(stream, at) >> (64 - digits)) as f64 * scale;
    match fill {
        Fill::Zero => None,
        // Twice a number in [0, 1), less one: exact in both types.
        Fill::Uniform => Some(unit(2.0 / (1_u64 << digits) as f64) - 1.0),
        Fill::Range { low, high } => Some(low + (high - low) * unit(1.0 / (1_u64 << digits) as f64)),
        Fill::Index => Some(at as f64),
        Fill::Constant(value) => Some(value),
    }
}

#[inline]
fn random(stream: u64, at: u64) -> u64 {
    mix(stream.wrapping_add(at.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// SplitMix64's output function (Steele, Lea and Flood 2014).
#[inline]
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Direction;

    fn filled(element: ElementType, how: Fill, seed: u64, elements: u64) -> Vec<u8> {
        let buffer = Buffer { elements, element, offset: 0, fill: how, direction: Direction::In };
        let mut bytes = vec![0xa5; buffer.bytes().unwrap_or(0) as usize];
        fill(&buffer, seed, 0, &mut bytes);
        bytes
    }

    fn floats(bytes: &[u8]) -> Vec<f32> {
        bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
    }

    #[test]
    fn uniform_floats_are_normal_and_spread_over_their_interval() {
        let values = floats(&filled(ElementType::Float, Fill::Uniform, 7, 10_000));
        assert!(values.iter().all(|v| (-1.0..1.0).contains(v) && !v.is_subnormal()));
        assert!(values.iter().sum::<f32>().abs() < 300.0);
    }

    #[test]
    fn another_seed_gives_other_numbers_and_the_same_seed_the_same() {
        let one = filled(ElementType::Double, Fill::Uniform, 1, 8);
        assert_eq!(one, filled(ElementType::Double, Fill::Uniform, 1, 8));
        assert_ne!(one, filled(ElementType::Double, Fill::Uniform, 2, 8));
    }

    #[test]
    fn index_constant_and_zero_are_what_they_say() {
        assert_eq!(floats(&filled(ElementType::Float, Fill::Index, 0, 3)), [0.0, 1.0, 2.0]);
        assert_eq!(filled(ElementType::Int16, Fill::Constant(-2.0), 0, 2), [0xfe, 0xff, 0xfe, 0xff]);
        assert_eq!(filled(ElementType::Uint8, Fill::Zero, 0, 2), [0, 0]);
    }

    #[test]
    fn each_element_can_be_computed_alone() {
        use ElementType::{Double, Float, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64};
        let fills = [
            Fill::Uniform,
            Fill::Range { low: -3.0, high: 90.0 },
            Fill::Index,
            Fill::Constant(-2.0),
            Fill::Zero,
        ];
        for element in [Double, Float, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64] {
            for how in fills {
                let buffer =
                    Buffer { elements: 100, element, offset: 0, fill: how, direction: Direction::In };
                let contents = Contents::of(&buffer, 7, 0);
                let width = element.bytes() as usize;
                for (at, expected) in (0..).zip(filled(element, how, 7, 100).chunks(width)) {
                    assert_eq!(&contents.element(at)[..width], expected, "{element:?}, {how:?}, {at}");
                }
            }
        }
    }

    #[test]
    fn a_range_keeps_within_its_bounds() {
        let bytes = filled(ElementType::Double, Fill::Range { low: 0.5, high: 2.0 }, 3, 1000);
        let values = bytes.as_chunks::<8>().0.iter().map(|word| f64::from_le_bytes(*word));
        assert!(values.into_iter().all(|v| (0.5..2.0).contains(&v)));
    }
}
