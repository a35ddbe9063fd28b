//! The memory without contents that this executable brings along: the job's frame, the heap of workers, that of the zygote.
//!
//! It is one static so that the parts lie in this order. A table of 512 pages takes longer to be made for a worker and
//! taken apart again than a page does, so the little that a quick job writes lies close together: the stack, the small
//! statics (section `.data.webrunner`), the beginning of the frame and the beginning of the heap. The frame is short
//! enough for all of that to find place within the 2 MiB of one table; where the linker begins the data late in a
//! table, it takes two.
//!
//! Gives out addresses; whoever asks must see to it that each part has one user.

use std::cell::UnsafeCell;

use webrunner_protocol::frame::JobHeader;
use webrunner_protocol::limits::{MAX_JOB_BYTES, MAX_OBJECT_BYTES};

/// Everything a job's frame can hold.
pub const FRAME_BYTES: usize = JobHeader::BYTES + MAX_JOB_BYTES + MAX_OBJECT_BYTES;

/// Bytes workers may allocate. Untouched pages cost nothing; the largest object with the most symbols needs a third of
/// this.
pub const HEAP_BYTES: usize = 24 << 20;

/// Bytes the zygote may allocate before its first worker, and those that aligning them to huge pages may take. It needs
/// a few hundred KiB.
pub const PREPARED_BYTES: usize = 4 << 20;
const ALIGNING_BYTES: usize = 2 << 20;

#[repr(C, align(4096))]
struct Space {
    frame: [u8; FRAME_BYTES.next_multiple_of(4096)],
    heap: [u8; HEAP_BYTES],
    prepared: [u8; PREPARED_BYTES + ALIGNING_BYTES],
}

struct Shared(UnsafeCell<Space>);

// SAFETY: only addresses are taken here, and the zygote and its workers have one thread each.
unsafe impl Sync for Shared {}

static SPACE: Shared = Shared(UnsafeCell::new(Space {
    frame: [0; FRAME_BYTES.next_multiple_of(4096)],
    heap: [0; HEAP_BYTES],
    prepared: [0; PREPARED_BYTES + ALIGNING_BYTES],
}));

/// Where a job's frame is read to: [`FRAME_BYTES`], zero until written.
#[must_use]
pub fn frame() -> *mut [u8; FRAME_BYTES] {
    // SAFETY: in bounds of a static; no reference is made.
    unsafe { (&raw mut (*SPACE.0.get()).frame).cast() }
}

/// What workers allocate from: [`HEAP_BYTES`], zero until written.
#[must_use]
pub fn heap() -> *mut u8 {
    // SAFETY: as above.
    unsafe { (&raw mut (*SPACE.0.get()).heap).cast() }
}

/// What the zygote allocates from before: [`PREPARED_BYTES`] from the first start of a huge page, zero until written.
#[must_use]
pub fn prepared() -> *mut u8 {
    // SAFETY: as above.
    unsafe { (&raw mut (*SPACE.0.get()).prepared).cast() }
}
