//! The allocator of the zygote and its workers: two fixed arrays, each handed out from the bottom.
//!
//! A worker can map no memory once it is locked, so all it may ever allocate is reserved before. Memory is given back
//! only from the top, and wiped when it is: the zygote builds its filter here and its children can read what is left.
//! One thread only; that is what makes the plain cursors sound.
//!
//! What the zygote builds lies in an array of its own, on huge pages where the kernel has some: a fork copies one entry for
//! each instead of one for every page, and no worker writes there. Workers begin an array of theirs, near whatever else
//! they write ([`space`]).

use std::alloc::{GlobalAlloc, Layout};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::space::{self, HEAP_BYTES, PREPARED_BYTES};

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;

/// Bytes of the workers' array handed out. Placed with the other small statics that a worker writes, so that they share
/// a page.
#[unsafe(link_section = ".data.webrunner")]
static USED: AtomicUsize = AtomicUsize::new(0);

/// Bytes of the zygote's array handed out.
static PREPARED_USED: AtomicUsize = AtomicUsize::new(0);

/// Whether all that workers are to find is built.
static SETTLED: AtomicBool = AtomicBool::new(false);

/// The allocator. There is one: how far it has got is in statics.
pub struct Bump;

impl Bump {
    /// Puts what the zygote has allocated so far on huge pages, and goes on in the workers' array. To be called once,
    /// when all that workers are to find is built.
    pub fn settle(&self) {
        let used = PREPARED_USED.load(Ordering::Relaxed).next_multiple_of(HUGE);
        // SAFETY: the range is this array's own; collapsing leaves its bytes as they are. Where it is refused, nothing
        // is lost.
        unsafe { libc::madvise(prepared_start().cast(), used, libc::MADV_COLLAPSE) };
        SETTLED.store(true, Ordering::Relaxed);
    }
}

/// Where the zygote's array begins: at the start of a huge page.
fn prepared_start() -> *mut u8 {
    let space = space::prepared();
    space.wrapping_add(space.align_offset(HUGE))
}

/// What the zygote built.
fn prepared() -> Stack<'static> {
    Stack { start: prepared_start(), bytes: PREPARED_BYTES, used: &PREPARED_USED }
}

/// What is allocated now.
fn current() -> Stack<'static> {
    if SETTLED.load(Ordering::Relaxed) {
        Stack { start: space::heap(), bytes: HEAP_BYTES, used: &USED }
    } else {
        prepared()
    }
}

// SAFETY: the arrays are the allocator's alone, and one thread uses them at a time.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        current().alloc(layout)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as asked of us.
        unsafe { home(block).dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // What is handed out is always zero.
        current().alloc(layout)
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as asked of us.
        unsafe { home(block).realloc(block, layout, new_size) }
    }
}

/// The array a block was handed out from.
fn home(block: *mut u8) -> Stack<'static> {
    let prepared = prepared();
    if prepared.holds(block) { prepared } else { current() }
}

/// Memory handed out from the bottom. Invariant: every byte above the first `used` is zero.
struct Stack<'a> {
    start: *mut u8,
    bytes: usize,
    used: &'a AtomicUsize,
}

impl Stack<'_> {
    /// Bytes below `block`, which is one of this memory's.
    fn offset(&self, block: *mut u8) -> usize {
        block as usize - self.start as usize
    }

    fn holds(&self, block: *mut u8) -> bool {
        (self.start as usize..self.start as usize + self.bytes).contains(&(block as usize))
    }

    fn is_last(&self, block: *mut u8, size: usize) -> bool {
        self.offset(block) + size == self.used.load(Ordering::Relaxed)
    }

    /// A block of zeroes, disjoint from all others that live; null if there is no room.
    fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = self.start as usize;
        let top = start + self.used.load(Ordering::Relaxed);
        let end = |address: usize| (address - start).checked_add(layout.size());
        match top.checked_next_multiple_of(layout.align()).map(|address| (address - start, end(address))) {
            Some((offset, Some(end))) if end <= self.bytes => {
                self.used.store(end, Ordering::Relaxed);
                self.start.wrapping_add(offset)
            }
            _ => ptr::null_mut(),
        }
    }

    /// # Safety
    /// `block` was handed out with `layout` and lives; it does not after this.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller gives a live block of this size.
        unsafe { ptr::write_bytes(block, 0, layout.size()) };
        if self.is_last(block, layout.size()) {
            self.used.store(self.offset(block), Ordering::Relaxed);
        }
    }

    /// # Safety
    /// `block` was handed out with `layout` and lives; `new_size` with its alignment is a valid layout. Unless the
    /// result is null, `block` does not live after this.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let last = self.is_last(block, layout.size());
        if new_size <= layout.size() {
            // SAFETY: the tail of a live block.
            unsafe { ptr::write_bytes(block.add(new_size), 0, layout.size() - new_size) };
            if last {
                self.used.store(self.offset(block) + new_size, Ordering::Relaxed);
            }
            return block;
        }
        if last {
            return match self.offset(block).checked_add(new_size) {
                Some(end) if end <= self.bytes => {
                    self.used.store(end, Ordering::Relaxed);
                    block
                }
                _ => ptr::null_mut(),
            };
        }
        // SAFETY: the caller vouches for the layout and for the block, and the new block overlaps no live one.
        unsafe {
            let fresh = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !fresh.is_null() {
                ptr::copy_nonoverlapping(block, fresh, layout.size());
                self.dealloc(block, layout);
            }
            fresh
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: usize = 4096;

    #[repr(align(64))]
    struct Memory([u8; SIZE]);

    /// A live block, and the byte it is filled with.
    struct Block {
        at: *mut u8,
        layout: Layout,
        mark: u8,
    }

    impl Block {
        fn bytes(&mut self) -> &mut [u8] {
            // SAFETY: the test's blocks are live and disjoint; that they are is what is tested, on memory of the test's
            // own.
            unsafe { std::slice::from_raw_parts_mut(self.at, self.layout.size()) }
        }
    }

    /// An operation; indices are taken modulo the number of live blocks.
    #[derive(Debug, Clone)]
    enum Step {
        Alloc { size: usize, align: usize },
        Realloc { index: usize, size: usize },
        Dealloc { index: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        let size = prop_oneof![4 => 1..300_usize, 1 => 1..2 * SIZE];
        prop_oneof![
            3 => (size.clone(), 0..8_u32).prop_map(|(size, log)| Step::Alloc { size, align: 1 << log }),
            3 => (any::<usize>(), size).prop_map(|(index, size)| Step::Realloc { index, size }),
            3 => any::<usize>().prop_map(|index| Step::Dealloc { index }),
        ]
    }

    /// Does one step as a program would, and checks what it got.
    fn apply(heap: &Stack<'_>, blocks: &mut Vec<Block>, step: &Step, mark: u8) {
        match *step {
            Step::Alloc { size, align } => {
                let layout = Layout::from_size_align(size, align).unwrap();
                let at = heap.alloc(layout);
                if at.is_null() {
                    return;
                }
                let mut block = Block { at, layout, mark };
                assert!((at as usize).is_multiple_of(align));
                assert!(block.bytes().iter().all(|&byte| byte == 0), "memory handed out is not zero");
                block.bytes().fill(mark);
                blocks.push(block);
            }
            Step::Realloc { index, size } if !blocks.is_empty() => {
                let index = index % blocks.len();
                let block = &mut blocks[index];
                let old = block.layout;
                // SAFETY: the block lives and was handed out with this layout; the new size is small and not 0.
                let at = unsafe { heap.realloc(block.at, old, size) };
                assert!(!at.is_null() || size > old.size(), "a block could not be made smaller");
                if at.is_null() {
                    return;
                }
                (block.at, block.layout) = (at, Layout::from_size_align(size, old.align()).unwrap());
                assert!((at as usize).is_multiple_of(old.align()));
                let (mark, kept) = (block.mark, old.size().min(size));
                assert!(block.bytes()[..kept].iter().all(|&byte| byte == mark), "contents were lost");
                assert!(block.bytes()[kept..].iter().all(|&byte| byte == 0), "the new part is not zero");
                block.bytes().fill(mark);
            }
            Step::Dealloc { index } if !blocks.is_empty() => {
                let block = blocks.swap_remove(index % blocks.len());
                // SAFETY: the block lives and was handed out with this layout.
                unsafe { heap.dealloc(block.at, block.layout) };
            }
            Step::Realloc { .. } | Step::Dealloc { .. } => {}
        }
    }

    proptest! {
        #[test]
        fn blocks_are_zero_at_first_keep_what_is_theirs_and_leave_nothing(
            steps in prop::collection::vec(step(), 1..200),
        ) {
            let mut memory = Box::new(Memory([0; SIZE]));
            let start = memory.0.as_mut_ptr();
            let used = AtomicUsize::new(0);
            let heap = Stack { start, bytes: SIZE, used: &used };
            let mut blocks = Vec::new();
            for (number, step) in steps.iter().enumerate() {
                apply(&heap, &mut blocks, step, (number % 255 + 1) as u8);
                for block in &mut blocks {
                    let mark = block.mark;
                    prop_assert!(block.bytes().iter().all(|&byte| byte == mark), "blocks overlap");
                }
            }
            while let Some(block) = blocks.pop() {
                // SAFETY: the block lives and was handed out with this layout.
                unsafe { heap.dealloc(block.at, block.layout) };
            }
            // SAFETY: `start` points to `SIZE` bytes that live.
            let left = unsafe { std::slice::from_raw_parts(start, SIZE) };
            prop_assert!(left.iter().all(|&byte| byte == 0), "something was left behind");
        }
    }

    #[test]
    fn memory_freed_from_the_top_is_handed_out_again() {
        let mut memory = Box::new(Memory([0; SIZE]));
        let used = AtomicUsize::new(0);
        let heap = Stack { start: memory.0.as_mut_ptr(), bytes: SIZE, used: &used };
        let whole = Layout::from_size_align(SIZE, 1).unwrap();
        let first = heap.alloc(whole);
        assert!(!first.is_null() && heap.alloc(Layout::new::<u8>()).is_null());
        // SAFETY: the block lives and was handed out with this layout.
        unsafe { heap.dealloc(first, whole) };
        assert_eq!(heap.alloc(whole), first);
    }

    #[test]
    fn sizes_whose_sum_overflows_are_refused() {
        let mut memory = Box::new(Memory([0; SIZE]));
        let used = AtomicUsize::new(0);
        let heap = Stack { start: memory.0.as_mut_ptr(), bytes: SIZE, used: &used };
        assert!(heap.alloc(Layout::from_size_align(isize::MAX as usize, 1).unwrap()).is_null());
        assert!(heap.alloc(Layout::from_size_align(8, 1 << 62).unwrap()).is_null());
        assert_eq!(used.load(Ordering::Relaxed), 0);
    }
}
