//! Where a job's memory lies: places for image, stack and buffers, at addresses no other job shares.
//!
//! Bases are drawn from the job's layout seed, which comes from the supervisor's randomness. What lies between two
//! places is never opened, so every place has a guard of at least [`GUARD`] bytes on both sides.

use std::ops::Range;

use webrunner_protocol::plan::{Buffer, CallPlan, PlanError};

use crate::sys::memory::{self, IMAGE_ARENA, PAGE, Region};

/// Bytes that stay closed between two places.
pub const GUARD: usize = 64 << 10;

/// Bytes of the stack a function runs on.
pub const STACK_BYTES: usize = 8 << 20;
const _: () = assert!(STACK_BYTES <= memory::LONGEST_IN_IMAGE_ARENA);

/// Bytes between an image and its stack that are kept for the image's counting copy; only what is needed is opened.
const COPY_BYTES: usize = 8 << 20;

/// Largest extra gap, in pages, drawn before each place.
const MAX_GAP_PAGES: u64 = 1 << 12;

/// Draws numbers from a seed (SplitMix64, Steele, Lea and Flood 2014); spreads addresses, guards no secret.
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// Starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0; the bias of the remainder does not matter here.
    fn below(&mut self, bound: u64) -> u64 {
        self.number() % bound
    }
}

/// A buffer's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferPlace {
    /// What is opened: whole pages.
    pub pages: Range<usize>,
    /// Address of the first element.
    pub address: usize,
    /// Bytes of all elements.
    pub bytes: usize,
}

impl BufferPlace {
    /// The elements, in the region that was opened for this place's pages.
    pub fn elements<'region>(&self, region: &'region mut Region) -> &'region mut [u8] {
        let first = self.address - self.pages.start;
        &mut region.bytes_mut()[first..first + self.bytes]
    }
}

/// Chooses a base for an image of `bytes` bytes (whole pages, guards counted; far fewer than the arena has), with room for
/// its counting copy and the stack below it.
#[must_use]
pub fn place_image(draw: &mut Draw, bytes: u64) -> usize {
    let below = GUARD + STACK_BYTES + GUARD + COPY_BYTES + GUARD;
    let slack = (IMAGE_ARENA.len() - below).saturating_sub(bytes as usize);
    IMAGE_ARENA.start + below + draw.below((slack / PAGE) as u64 + 1) as usize * PAGE
}

/// Where the counting copy of the image at `base` may lie. It takes what it needs from the top, next to the image.
#[must_use]
pub fn place_copy(base: usize) -> Range<usize> {
    let end = base - GUARD;
    end - COPY_BYTES..end
}

/// The stack of an image whose counting copy begins at `copy`: just below, so that all are found through the same page tables.
#[must_use]
pub fn place_stack(copy: usize) -> Range<usize> {
    let top = copy - GUARD;
    top - STACK_BYTES..top
}

/// Chooses a place for every buffer.
///
/// # Errors
/// [`PlanError::TooMuchMemory`] if the arena cannot hold them; the plan's own limits make that impossible.
pub fn place_buffers(draw: &mut Draw, plan: &CallPlan) -> Result<Vec<BufferPlace>, PlanError> {
    place_within(&memory::buffer_arena(), draw, plan)
}

fn place_within(
    arena: &Range<usize>,
    draw: &mut Draw,
    plan: &CallPlan,
) -> Result<Vec<BufferPlace>, PlanError> {
    let too_much = || PlanError::TooMuchMemory { bytes: plan.buffer_bytes() };
    // The first half of the arena is only there to start anywhere in.
    let mut cursor = arena.start + draw.below((arena.len() / 2 / PAGE) as u64) as usize * PAGE;
    let mut buffers = Vec::with_capacity(plan.buffers.len());
    for buffer in &plan.buffers {
        let bytes = buffer_bytes(buffer).ok_or_else(too_much)?;
        let offset = buffer.offset as usize;
        // A buffer of no elements still has an address that can be formed, and a page that can be read.
        let whole = (bytes + offset).max(1).next_multiple_of(PAGE);
        let start = cursor + GUARD + draw.below(MAX_GAP_PAGES) as usize * PAGE;
        let pages = start..start + whole;
        cursor = pages.end;
        if cursor + GUARD > arena.end {
            return Err(too_much());
        }
        buffers.push(BufferPlace { address: pages.start + offset, pages, bytes });
    }
    Ok(buffers)
}

fn buffer_bytes(buffer: &Buffer) -> Option<usize> {
    let bytes = usize::try_from(buffer.bytes()?).ok()?;
    bytes.checked_add(buffer.offset as usize).map(|_| bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use webrunner_protocol::limits::{MAX_ARGUMENTS, MAX_IMAGE_BYTES};
    use webrunner_protocol::plan::{Direction, ElementType, Fill, ReturnType};

    use super::*;

    /// Guard pages of an image: one before each of three segments and one after the last.
    const LARGEST_IMAGE: usize = MAX_IMAGE_BYTES as usize + 4 * PAGE;

    #[test]
    fn the_largest_image_and_its_stack_always_lie_in_the_arena() {
        // Enough seeds to meet every place ten times: the last one is where an image could stick out.
        let ends = (0..4_000_000).map(|seed| {
            let base = place_image(&mut Draw::new(seed), LARGEST_IMAGE as u64);
            let copy = place_copy(base);
            let stack = place_stack(copy.start);
            assert!(base.is_multiple_of(PAGE) && IMAGE_ARENA.start + GUARD <= stack.start, "{base:#x}");
            assert_eq!((copy.end + GUARD, stack.end + GUARD), (base, copy.start));
            assert_eq!(stack.len(), STACK_BYTES);
            base + LARGEST_IMAGE
        });
        assert_eq!(ends.max(), Some(IMAGE_ARENA.end));
    }

    fn buffer() -> impl Strategy<Value = Buffer> {
        (0..1_u64 << 20, 0..=CallPlan::MAX_OFFSET).prop_map(|(elements, offset)| Buffer {
            elements,
            element: ElementType::Double,
            offset,
            fill: Fill::Zero,
            direction: Direction::InOut,
        })
    }

    fn plan(buffers: Vec<Buffer>) -> CallPlan {
        CallPlan { arguments: Vec::new(), buffers, returns: ReturnType::Void }
    }

    proptest! {
        #[test]
        fn buffers_have_closed_memory_on_both_sides(
            seed: u64,
            buffers in prop::collection::vec(buffer(), 0..=MAX_ARGUMENTS),
        ) {
            let plan = plan(buffers);
            let arena = 0x10_0000_0000..0x10_0000_0000 + memory::BUFFER_ARENA_BYTES;
            let places = place_within(&arena, &mut Draw::new(seed), &plan).unwrap();
            let mut closed_from = arena.start;
            for (place, buffer) in places.iter().zip(&plan.buffers) {
                prop_assert!(closed_from + GUARD <= place.pages.start);
                prop_assert!(place.pages.start.is_multiple_of(PAGE) && place.pages.end.is_multiple_of(PAGE));
                prop_assert_eq!(place.address, place.pages.start + buffer.offset as usize);
                prop_assert_eq!(place.bytes as u64, buffer.elements * 8);
                prop_assert!(place.pages.contains(&place.address) || place.bytes == 0);
                prop_assert!(place.address + place.bytes <= place.pages.end);
                closed_from = place.pages.end;
            }
            prop_assert!(closed_from + GUARD <= arena.end);
        }
    }

    #[test]
    fn a_plan_of_more_than_an_arena_holds_is_refused() {
        let small = 0x1000_0000..0x1000_0000 + 4 * GUARD;
        let buffer = Buffer {
            elements: 4 * GUARD as u64,
            element: ElementType::Int8,
            offset: 0,
            fill: Fill::Zero,
            direction: Direction::InOut,
        };
        let refused = place_within(&small, &mut Draw::new(1), &plan(vec![buffer]));
        assert_eq!(refused, Err(PlanError::TooMuchMemory { bytes: 4 * GUARD as u64 }));
    }

    #[test]
    fn a_buffer_whose_size_overflows_is_refused() {
        let buffer = Buffer {
            elements: u64::MAX,
            element: ElementType::Double,
            offset: 4095,
            fill: Fill::Zero,
            direction: Direction::InOut,
        };
        let refused = place_within(&(0..1 << 40), &mut Draw::new(1), &plan(vec![buffer]));
        assert_eq!(refused, Err(PlanError::TooMuchMemory { bytes: u64::MAX }));
    }
}
