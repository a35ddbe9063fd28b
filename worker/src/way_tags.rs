//! Which pages a core's first-level data cache takes for one another, so that a job's do not meet.
//!
//! AMD's cores since Bulldozer guess in which way of the cache a line lies by a tag of eight bits, hashed from its linear
//! address. Two lines at the same offset in pages of the same tag are each taken for the other: reading them in turn
//! misses every time, though both are in the cache. It hits one pair of addresses drawn at random in 256: a dot product of
//! 166 cycles then took 351, and 180 where a vector met what the trampoline reads. The hash is the one that Lipp and
//! others published in 2020 ("Take A Way"), and what slows pairs of pages on Zen 3 as well. Elsewhere it does no harm.
#![forbid(unsafe_code)]

use std::ops::Range;

use crate::sys::memory::PAGE;

/// Pages at the beginning of a buffer that are looked at: as many as a first-level cache of 32 KiB holds.
const LOOKED_AT: usize = 8;

/// Pairs of bits of a page's number that the hash adds.
const PAIRS: [(u32, u32); 8] = [(0, 15), (1, 14), (2, 13), (3, 8), (4, 9), (5, 10), (6, 11), (7, 12)];

/// The tags that the pages of a job have so far.
#[derive(Debug, Clone)]
pub struct WayTags {
    taken: [bool; 256],
}

impl WayTags {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self { taken: [false; 256] }
    }

    /// Notes the tags of memory that is used together with all noted before and after.
    pub fn take(&mut self, addresses: Range<usize>) {
        tags(addresses).for_each(|tag| self.taken[usize::from(tag)] = true);
    }

    /// Whether no tag of that memory is taken.
    #[must_use]
    pub fn are_free(&self, addresses: Range<usize>) -> bool {
        tags(addresses).all(|tag| !self.taken[usize::from(tag)])
    }
}

impl Default for WayTags {
    fn default() -> Self {
        Self::new()
    }
}

/// Tags of the pages that hold these addresses, of the first of them if there are many.
fn tags(addresses: Range<usize>) -> impl Iterator<Item = u8> {
    (addresses.start / PAGE..addresses.end.div_ceil(PAGE)).take(LOOKED_AT).map(tag)
}

/// The tag of a page.
fn tag(page: usize) -> u8 {
    let bit = |index: u32| (page >> index & 1) as u8;
    (0..).zip(PAIRS).fold(0, |tag, (place, (low, high))| tag | (bit(low) ^ bit(high)) << place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_meet_if_they_differ_in_both_bits_of_a_pair() {
        for (low, high) in PAIRS {
            let (low, high) = (1_usize << low, 1_usize << high);
            assert_ne!(tag(low), tag(0));
            assert_ne!(tag(high), tag(0));
            assert_eq!(tag(low | high), tag(0));
        }
        assert_eq!(tag(1 << 16), tag(0), "what the hash does not look at");
    }

    #[test]
    fn a_tag_is_taken_by_any_page_of_the_memory() {
        let at = |page: usize| page * PAGE;
        let mut tags = WayTags::new();
        assert!(tags.are_free(at(0)..at(LOOKED_AT)));
        tags.take(at(4) + 100..at(5) + 1);
        assert!(tags.are_free(at(1)..at(4)) && tags.are_free(at(6)..at(9)));
        assert!(!tags.are_free(at(3)..at(4) + 1) && !tags.are_free(at(5)..at(6)));
        let like_the_fourth = 4 | 1 << 4 | 1 << 9;
        assert!(!tags.are_free(at(like_the_fourth)..at(like_the_fourth) + 1));
    }
}
