//! Where each section, common symbol and the global offset table go in the image.
//!
//! Up to three segments, by rights, each preceded and followed by a page that is never opened. Sums are checked before
//! anything is sized by them, since a section of zeroes may claim any size.

use webrunner_protocol::limits::MAX_IMAGE_BYTES;
use webrunner_protocol::refusal::ObjectRefusal;

use super::got::{Got, SLOT_BYTES};
use super::section::Sections;
use super::symbol::{Definition, Symbols, Target, definition};

/// Bytes of a page, the unit of rights and the size of a guard.
pub const PAGE_BYTES: u64 = 4096;

/// What the object's code may do with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Text.
    ReadExecute,
    /// Constants and the global offset table.
    Read,
    /// Data, zeroed data and common symbols.
    ReadWrite,
}

impl Rights {
    /// In the order the segments have in an image.
    const ALL: [Self; 3] = [Self::ReadExecute, Self::Read, Self::ReadWrite];
}

/// The memory an image needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayout {
    /// Segments that hold something, at most one for each of [`Rights`], in order of offset.
    pub segments: Vec<Segment>,
    /// Bytes from the start of the first guard page to the end of the last; a multiple of [`PAGE_BYTES`].
    pub bytes: u64,
}

/// A run of pages with the same rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// What the object's code may do with it.
    pub rights: Rights,
    /// Bytes from the start of the image; a multiple of [`PAGE_BYTES`], never 0.
    pub offset: u64,
    /// Size; a multiple of [`PAGE_BYTES`], never 0.
    pub bytes: u64,
}

/// A layout, and what is where in it.
pub(super) struct Image {
    pub(super) layout: ImageLayout,
    /// For each of [`Rights`], the segment's offset from the start of the image. An empty segment has one too: a
    /// symbol may name the start of an empty section.
    starts: [u64; 3],
    /// For each section, its offset in its segment.
    sections: Vec<u32>,
    /// For each symbol, the offset of its common storage in the writable segment; empty if there are no common symbols.
    commons: Vec<u32>,
    /// Offset of the global offset table in the read-only segment.
    got: u32,
}

impl Image {
    /// `text_at` is where the first text section begins in its segment.
    pub(super) fn place(
        sections: &Sections<'_>,
        symbols: &Symbols<'_>,
        got: &Got,
        text_at: u64,
    ) -> Result<Self, ObjectRefusal> {
        let mut cursors = [Cursor::default(); 3];
        cursors[Rights::ReadExecute as usize] = Cursor(text_at);
        let mut section_places = vec![0; sections.len()];
        for (index, header, rights) in sections.loaded() {
            section_places[index] = cursors[rights as usize].take(header.sh_size, header.sh_addralign)?;
        }
        let got = cursors[Rights::Read as usize].take(got.bytes(), SLOT_BYTES)?;
        let commons = place_commons(symbols, &mut cursors[Rights::ReadWrite as usize])?;
        let (layout, starts) = arrange(cursors.map(|cursor| cursor.0))?;
        Ok(Self { layout, starts, sections: section_places, commons, got })
    }

    /// Offset of a section in its segment.
    pub(super) fn in_segment(&self, section: usize) -> u64 {
        self.sections.get(section).map_or(0, |&at| u64::from(at))
    }

    /// Offset of the global offset table in the read-only segment.
    pub(super) fn got_in_segment(&self) -> u64 {
        u64::from(self.got)
    }

    /// Offset of a segment from the start of the image.
    pub(super) fn start(&self, rights: Rights) -> u64 {
        self.starts[rights as usize]
    }

    /// Index of a segment in the layout; `None` if it is empty.
    pub(super) fn segment_index(&self, rights: Rights) -> Option<usize> {
        self.layout.segments.iter().position(|segment| segment.rights == rights)
    }

    /// Address of what a symbol stands for, in an image at `base`. Wraps where the object's own numbers do.
    pub(super) fn address(&self, base: u64, target: Target, sections: &Sections<'_>) -> u64 {
        match target {
            Target::Absolute(value) => value,
            Target::Section { index, value } => {
                let start = sections.rights(index).map_or(0, |rights| self.start(rights));
                base.wrapping_add(start + self.in_segment(index)).wrapping_add(value)
            }
            Target::Common(symbol) => {
                let at = self.commons.get(symbol).map_or(0, |&at| u64::from(at));
                base.wrapping_add(self.start(Rights::ReadWrite) + at)
            }
            Target::Got => base.wrapping_add(self.start(Rights::Read) + self.got_in_segment()),
        }
    }
}

/// Bytes of a segment given out so far; at most [`MAX_IMAGE_BYTES`].
#[derive(Clone, Copy, Default)]
struct Cursor(u64);

impl Cursor {
    /// Gives out `bytes` at a multiple of `alignment`: a power of two, or 0 for any place.
    fn take(&mut self, bytes: u64, alignment: u64) -> Result<u32, ObjectRefusal> {
        let at = self.0.next_multiple_of(alignment.max(1));
        let end = at.saturating_add(bytes);
        if end > MAX_IMAGE_BYTES {
            return Err(ObjectRefusal::TooLarge { bytes: end });
        }
        // Nothing is left to place something empty by, and it must not make an empty segment appear.
        if bytes > 0 {
            self.0 = end;
        }
        Ok(at as u32)
    }
}

fn place_commons(symbols: &Symbols<'_>, cursor: &mut Cursor) -> Result<Vec<u32>, ObjectRefusal> {
    let mut places = Vec::new();
    for (index, symbol) in symbols.iter().enumerate() {
        if definition(&symbol) != Some(Definition::Common) {
            continue;
        }
        if places.is_empty() {
            places = vec![0; symbols.len()];
        }
        // A common symbol's value is its alignment.
        places[index] = cursor.take(symbol.st_size, symbol.st_value)?;
    }
    Ok(places)
}

/// Puts segments of these sizes one after the other, a guard page before, between and after.
fn arrange(sizes: [u64; 3]) -> Result<(ImageLayout, [u64; 3]), ObjectRefusal> {
    let mut offset = PAGE_BYTES;
    let mut starts = [0; 3];
    let mut segments = Vec::with_capacity(Rights::ALL.len());
    for (rights, size) in Rights::ALL.into_iter().zip(sizes) {
        starts[rights as usize] = offset;
        if size > 0 {
            let bytes = size.next_multiple_of(PAGE_BYTES);
            segments.push(Segment { rights, offset, bytes });
            offset += bytes + PAGE_BYTES;
        }
    }
    let bytes = segments.iter().map(|segment| segment.bytes).sum();
    if bytes > MAX_IMAGE_BYTES {
        return Err(ObjectRefusal::TooLarge { bytes });
    }
    Ok((ImageLayout { segments, bytes: offset }, starts))
}
