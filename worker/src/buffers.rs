//! A job's buffers: opened, filled, filled again, flushed, and held against what they were.
//!
//! Their places come from [`arena`](crate::arena), what they hold from the plan. Only whoever has no batch running may
//! touch them; the function may have written anything to them, and nothing here depends on what they hold.

use webrunner_protocol::fill::fill;
use webrunner_protocol::job::KernelWork;
use webrunner_protocol::plan::{Buffer, Direction};

use crate::arena::BufferPlace;
use crate::measure::{self, Host, Inputs};
use crate::sys::Errno;
use crate::sys::memory::Region;

/// The buffers of a job, open.
pub struct Buffers<'a> {
    work: &'a KernelWork,
    places: Vec<BufferPlace>,
    regions: Vec<Region>,
}

impl<'a> Buffers<'a> {
    /// Opens the buffers of `work` at `places`, one for each.
    ///
    /// # Safety
    /// Nothing in these places was opened before in this process.
    ///
    /// # Errors
    /// The kernel's error number.
    pub unsafe fn open(work: &'a KernelWork, places: Vec<BufferPlace>) -> Result<Self, Errno> {
        // SAFETY: what is asked of the caller; places do not overlap.
        let open = |place: &BufferPlace| unsafe { Region::open(place.pages.clone()) };
        let regions = places.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { work, places, regions })
    }

    /// Where each lies.
    #[must_use]
    pub fn places(&self) -> &[BufferPlace] {
        &self.places
    }

    /// Address of the first element of each.
    #[must_use]
    pub fn addresses(&self) -> Vec<u64> {
        self.places.iter().map(|place| place.address as u64).collect()
    }

    /// Fills those of the directions that are wanted.
    pub fn fill(&mut self, wanted: impl Fn(Direction) -> bool) {
        let seed = self.work.fill_seed;
        for (index, (buffer, elements)) in self.elements().enumerate() {
            if wanted(buffer.direction) {
                fill(buffer, seed, index, elements);
            }
        }
    }

    /// A digest of what each holds that the function reads; 0 for the others.
    #[must_use]
    pub fn digests(&mut self) -> Vec<u64> {
        let is_read = |buffer: &Buffer| buffer.direction != Direction::Out;
        self.elements().map(|(buffer, elements)| if is_read(buffer) { digest(elements) } else { 0 }).collect()
    }

    /// Those whose digest is no longer the one of `before`: bit 0 for the first.
    #[must_use]
    pub fn mutated(&mut self, before: &[u64]) -> u32 {
        let after = self.digests();
        let changed = before.iter().zip(after).enumerate().filter(|(_, (before, after))| **before != *after);
        changed.fold(0, |mutated, (index, _)| mutated | 1_u32.checked_shl(index as u32).unwrap_or(0))
    }

    /// The elements of every buffer, with its description, in order.
    pub fn elements(&mut self) -> impl Iterator<Item = (&Buffer, &mut [u8])> {
        let buffers = self.work.call.buffers.iter().zip(&self.places);
        buffers.zip(&mut self.regions).map(|((buffer, place), region)| (buffer, place.elements(region)))
    }
}

impl Inputs for Buffers<'_> {
    fn restore(&mut self) {
        self.fill(|_| true);
    }

    fn flush(&mut self, host: &Host) {
        self.elements().for_each(|(_, elements)| measure::flush(elements, host));
    }
}

/// Tells contents apart that nobody chose in order to deceive: a function that wants to can fool the harness anyway.
fn digest(bytes: &[u8]) -> u64 {
    const LANES: usize = 4;
    let step = |state: u64, word: u64| (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    // Lanes that do not wait for each other: this is to run at the speed of memory.
    let mut lanes: [u64; LANES] = std::array::from_fn(|lane| lane as u64 + 1);
    let mut chunks = bytes.chunks_exact(8 * LANES);
    for chunk in &mut chunks {
        for (lane, bytes) in lanes.iter_mut().zip(chunk.chunks_exact(8)) {
            *lane = step(*lane, word(bytes));
        }
    }
    let rest = chunks.remainder().chunks(8).fold(0, |state, bytes| step(state, word(bytes)));
    lanes.into_iter().fold(rest, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_any_bit_changes_the_digest() {
        for length in [1, 8, 31, 32, 33, 100] {
            let mut bytes: Vec<u8> = (0..length).collect();
            let before = digest(&bytes);
            for bit in 0..8 * bytes.len() {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(digest(&bytes), before, "bit {bit} of {length} bytes");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            assert_eq!(digest(&bytes), before);
        }
        assert_eq!(digest(&[]), digest(&[]));
    }
}
