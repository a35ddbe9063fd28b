//! The allocator of the zygote and its workers: a fixed array, handed out from the bottom.
//!
//! A worker can map no memory once it is locked, so all it may ever allocate is reserved before. Memory is given back
//! only from the top, and wiped when it is: the zygote builds its filter here and its children can read what is left.
//! One thread only; that is what makes the plain cursor sound.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes to hand out. Untouched pages cost nothing; the largest object with the most symbols needs a third of this.
const BYTES: usize = 24 << 20;

#[repr(align(4096))]
struct Space(UnsafeCell<[u8; BYTES]>);

/// Bytes handed out. Placed with the other small statics that a worker writes, so that they share a page.
#[unsafe(link_section = ".data.webrunner")]
static USED: AtomicUsize = AtomicUsize::new(0);

/// The allocator. There is one: how far it has got is a static.
pub struct Bump {
    space: Space,
}

// SAFETY: the zygote and its workers have one thread each; forked processes have their own copies.
unsafe impl Sync for Bump {}

impl Bump {
    /// An allocator with everything free.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "only ever a static")]
    pub const fn new() -> Self {
        Self { space: Space(UnsafeCell::new([0; BYTES])) }
    }

    fn start(&self) -> usize {
        self.space.0.get() as usize
    }

    /// The top of the heap as an offset, if `block` ends there.
    fn is_last(&self, block: *mut u8, size: usize) -> bool {
        block as usize + size == self.start() + USED.load(Ordering::Relaxed)
    }
}

// SAFETY: blocks come from one array, aligned, disjoint while live, and within bounds by checked arithmetic.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.load(Ordering::Relaxed);
        let top = self.start() + used;
        let Some(address) = top.checked_next_multiple_of(layout.align()) else { return ptr::null_mut() };
        match (address - self.start()).checked_add(layout.size()) {
            Some(end) if end <= BYTES => {
                USED.store(end, Ordering::Relaxed);
                address as *mut u8
            }
            _ => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller gives a live block of this size.
        unsafe { ptr::write_bytes(block, 0, layout.size()) };
        if self.is_last(block, layout.size()) {
            USED.store(block as usize - self.start(), Ordering::Relaxed);
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as asked of us. Memory above the cursor is fresh or was wiped.
        unsafe { self.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if self.is_last(block, layout.size()) {
            let Some(end) = (block as usize - self.start()).checked_add(new_size) else {
                return ptr::null_mut();
            };
            if end > BYTES {
                return ptr::null_mut();
            }
            if new_size < layout.size() {
                // SAFETY: the tail of a live block.
                unsafe { ptr::write_bytes(block.add(new_size), 0, layout.size() - new_size) };
            }
            USED.store(end, Ordering::Relaxed);
            return block;
        }
        // SAFETY: the caller vouches that alignment and new size make a valid layout, and for the block.
        unsafe {
            let fresh = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !fresh.is_null() {
                ptr::copy_nonoverlapping(block, fresh, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            fresh
        }
    }
}
