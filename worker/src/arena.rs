//! Where a job's memory lies: places for image, stack and buffers, at addresses no other job shares.
//!
//! Bases are drawn from the job's layout seed, which comes from the supervisor's randomness. What lies between two
//! places is never opened, so every place has a guard of at least [`GUARD`] bytes on both sides.

use std::ops::Range;

use webrunner_protocol::limits::MAX_IMAGE_BYTES;
use webrunner_protocol::plan::{Buffer, CallPlan, PlanError};

use crate::sys::memory::{self, IMAGE_ARENA, PAGE};

/// Bytes that stay closed between two places.
pub const GUARD: usize = 64 << 10;

/// Bytes of the stack a function runs on.
pub const STACK_BYTES: usize = 8 << 20;
const _: () = assert!(STACK_BYTES <= memory::LONGEST_IN_IMAGE_ARENA);

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

/// Chooses a base for an image of `bytes` bytes (whole pages, at most the limit, which is far smaller than the arena),
/// with room for the stack below it.
#[must_use]
pub fn place_image(draw: &mut Draw, bytes: u64) -> usize {
    let below = GUARD + STACK_BYTES + GUARD;
    let slack = IMAGE_ARENA.len() - below - (bytes as usize).min(MAX_IMAGE_BYTES as usize);
    IMAGE_ARENA.start + below + draw.below((slack / PAGE) as u64) as usize * PAGE
}

/// The stack of the image at `base`: just below it, so that both are found through the same page tables.
#[must_use]
pub fn place_stack(base: usize) -> Range<usize> {
    let top = base - GUARD;
    top - STACK_BYTES..top
}

/// Chooses a place for every buffer.
///
/// # Errors
/// [`PlanError::TooMuchMemory`] if the arena cannot hold them; the plan's own limits make that impossible.
pub fn place_buffers(draw: &mut Draw, plan: &CallPlan) -> Result<Vec<BufferPlace>, PlanError> {
    let arena = memory::buffer_arena();
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
