//! Where a job's memory lies: places for image, stack and buffers, at addresses no other job shares.
//!
//! Bases are drawn from the job's layout seed, which comes from the supervisor's randomness. What lies between two
//! places is never opened, so every place has a guard of at least [`GUARD`] bytes on both sides.

use std::ops::Range;

use webrunner_protocol::options::Guard;
use webrunner_protocol::plan::{Buffer, CallPlan, PlanError};

use crate::sys::memory::{self, IMAGE_ARENA, PAGE, Region};
use crate::way_tags::WayTags;

/// Bytes that stay closed between two places.
pub const GUARD: usize = 64 << 10;

/// Bytes of the stack a function runs on.
pub const STACK_BYTES: usize = 8 << 20;
const _: () = assert!(STACK_BYTES <= memory::LONGEST_IN_IMAGE_ARENA);

/// Bytes between an image and its stack that are kept for the image's counting copy; only what is needed is opened.
const COPY_BYTES: usize = 8 << 20;

/// Largest extra gap, in pages, drawn before each place.
const MAX_GAP_PAGES: u64 = 1 << 12;

/// Times a gap is drawn for a buffer that would meet others in the first-level cache. Where there are many large buffers
/// some will.
const MOST_DRAWS: usize = 64;

/// The same between the images of one object.
const MAX_IMAGE_GAP_PAGES: u64 = 1 << 8;

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

/// Chooses bases for `count` images of `bytes` bytes each, the lowest first, with room below it for the counting copy
/// and the stack.
///
/// They lie on pages of their own, at distances drawn: what makes one place slow, branch predictors above all, goes by
/// the upper bits of an address too. They lie near each other, so that they are found through the same page tables.
#[must_use]
pub fn place_images(draw: &mut Draw, bytes: u64, count: usize) -> Vec<usize> {
    let longest_step = bytes as usize + GUARD + MAX_IMAGE_GAP_PAGES as usize * PAGE;
    let mut base = place_image(draw, bytes + (count.saturating_sub(1) * longest_step) as u64);
    let mut bases = Vec::with_capacity(count);
    for _ in 0..count {
        bases.push(base);
        base += bytes as usize + GUARD + draw.below(MAX_IMAGE_GAP_PAGES) as usize * PAGE;
    }
    bases
}

/// Where the counting copy of the image at `base` may lie. It takes what it needs from the top, next to the image.
#[must_use]
pub fn place_copy(base: usize) -> Range<usize> {
    let end = base - GUARD;
    end - COPY_BYTES..end
}

/// The stack of an image whose counting copy begins at `copy`: just below, so that all are found through the same page
/// tables.
#[must_use]
pub fn place_stack(copy: usize) -> Range<usize> {
    let top = copy - GUARD;
    top - STACK_BYTES..top
}

/// Chooses a place for every buffer: its first element at its offset past a boundary, or, if its end is guarded, its last
/// element at the end of its last page. An element's own alignment is kept either way: pages hold a whole number of any.
/// None meets another, or what `tags` already has, in a first-level cache.
///
/// # Errors
/// [`PlanError::TooMuchMemory`] if the arena cannot hold them; the plan's own limits make that impossible.
pub fn place_buffers(
    draw: &mut Draw,
    plan: &CallPlan,
    guard: Guard,
    tags: WayTags,
) -> Result<Vec<BufferPlace>, PlanError> {
    place_within(&memory::buffer_arena(), draw, plan, guard, tags)
}

fn place_within(
    arena: &Range<usize>,
    draw: &mut Draw,
    plan: &CallPlan,
    guard: Guard,
    mut tags: WayTags,
) -> Result<Vec<BufferPlace>, PlanError> {
    let too_much = || PlanError::TooMuchMemory { bytes: plan.buffer_bytes() };
    // The first half of the arena is only there to start anywhere in.
    let mut cursor = arena.start + draw.below((arena.len() / 2 / PAGE) as u64) as usize * PAGE;
    let mut buffers = Vec::with_capacity(plan.buffers.len());
    for buffer in &plan.buffers {
        let bytes = buffer_bytes(buffer).ok_or_else(too_much)?;
        let offset = match guard {
            Guard::None => buffer.offset as usize,
            // Of no elements, not even the first may be touched.
            Guard::End if bytes == 0 => PAGE,
            Guard::End => bytes.wrapping_neg() % PAGE,
        };
        // A buffer of no elements still has an address that can be formed, and a page that can be opened.
        let whole = (bytes + offset).max(1).next_multiple_of(PAGE);
        let mut drawn = || {
            let start = cursor + GUARD + draw.below(MAX_GAP_PAGES) as usize * PAGE;
            start..start + whole
        };
        let mut pages = drawn();
        for _ in 1..MOST_DRAWS {
            if tags.are_free(pages.clone()) {
                break;
            }
            pages = drawn();
        }
        tags.take(pages.clone());
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

    #[test]
    fn images_lie_apart_and_in_the_arena() {
        for seed in 0..100_000 {
            for (bytes, count) in [(4 * PAGE as u64, 4), (1 << 20, 4), (LARGEST_IMAGE as u64, 1)] {
                let bases = place_images(&mut Draw::new(seed), bytes, count);
                assert_eq!(bases.len(), count);
                assert!(
                    bases.is_sorted_by(|lower, upper| lower + bytes as usize + GUARD <= *upper),
                    "{bases:x?}"
                );
                assert!(bases.iter().all(|base| base.is_multiple_of(PAGE)));
                assert!(bases[count - 1] + bytes as usize <= IMAGE_ARENA.end);
            }
        }
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
            mut buffers in prop::collection::vec(buffer(), 0..=MAX_ARGUMENTS),
            has_an_empty: bool,
            guarded: bool,
        ) {
            if let Some(buffer) = buffers.first_mut().filter(|_| has_an_empty) {
                buffer.elements = 0;
            }
            let plan = plan(buffers);
            let arena = 0x10_0000_0000..0x10_0000_0000 + memory::BUFFER_ARENA_BYTES;
            let guard = if guarded { Guard::End } else { Guard::None };
            let places = place_within(&arena, &mut Draw::new(seed), &plan, guard, WayTags::new()).unwrap();
            let mut closed_from = arena.start;
            for (place, buffer) in places.iter().zip(&plan.buffers) {
                prop_assert!(closed_from + GUARD <= place.pages.start);
                prop_assert!(place.pages.start.is_multiple_of(PAGE) && place.pages.end.is_multiple_of(PAGE));
                if guarded {
                    prop_assert_eq!(place.address + place.bytes, place.pages.end);
                    prop_assert!(place.address.is_multiple_of(8));
                } else {
                    prop_assert_eq!(place.address, place.pages.start + buffer.offset as usize);
                }
                prop_assert_eq!(place.bytes as u64, buffer.elements * 8);
                prop_assert!(place.pages.contains(&place.address) || place.bytes == 0);
                prop_assert!(place.address + place.bytes <= place.pages.end);
                closed_from = place.pages.end;
            }
            prop_assert!(closed_from + GUARD <= arena.end);
        }
    }

    #[test]
    fn vectors_meet_neither_each_other_nor_the_stack_in_the_first_level_cache() {
        let arena = 0x10_0000_0000..0x10_0000_0000 + memory::BUFFER_ARENA_BYTES;
        let vector = Buffer {
            elements: 1024,
            element: ElementType::Float,
            offset: 0,
            fill: Fill::Zero,
            direction: Direction::In,
        };
        let plan = plan(vec![vector; 4]);
        for seed in 0..10_000 {
            let stack = seed as usize * PAGE..(seed as usize + 1) * PAGE;
            let mut tags = WayTags::new();
            tags.take(stack);
            let places =
                place_within(&arena, &mut Draw::new(seed), &plan, Guard::None, tags.clone()).unwrap();
            for place in places {
                assert!(tags.are_free(place.pages.clone()), "seed {seed}: {place:x?}");
                tags.take(place.pages);
            }
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
        let refused =
            place_within(&small, &mut Draw::new(1), &plan(vec![buffer]), Guard::None, WayTags::new());
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
        let refused =
            place_within(&(0..1 << 40), &mut Draw::new(1), &plan(vec![buffer]), Guard::None, WayTags::new());
        assert_eq!(refused, Err(PlanError::TooMuchMemory { bytes: u64::MAX }));
    }
}
