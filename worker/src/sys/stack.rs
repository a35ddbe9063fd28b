//! The stack a worker is born on.
//!
//! A fork copies every page that its stack has ever used, and both sides then copy those they write once more. So the
//! zygote keeps its own stack out of forks (see [`image`](super::image)), and a worker begins on one that nobody has
//! used. There is one such stack, at the same address in every worker: each has its own copy of it. Below it lies memory
//! that is not mapped or closed, so that running over ends the worker.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of the stack; what is not touched costs nothing.
pub const BYTES: usize = 512 << 10;

/// Address above the stack; 0 until there is one.
static TOP: AtomicUsize = AtomicUsize::new(0);

/// Address above the stack, aligned as calls want it; 0 until there is one.
#[must_use]
pub fn top() -> usize {
    TOP.load(Ordering::Relaxed)
}

/// Makes the [`BYTES`] below `top`, which is the start of a page, the stack.
pub(super) fn use_below(top: usize) {
    TOP.store(top, Ordering::Relaxed);
}

/// Maps a stack by itself, if there is none yet.
///
/// # Errors
/// If the kernel refuses.
pub fn ensure() -> io::Result<()> {
    const GUARD: usize = 64 << 10;
    if top() != 0 {
        return Ok(());
    }
    // SAFETY: a new mapping; the part above the guard is opened for nobody but workers.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let start = libc::mmap(ptr::null_mut(), GUARD + BYTES, libc::PROT_NONE, flags, -1, 0);
        if start == libc::MAP_FAILED
            || libc::mprotect(start.add(GUARD), BYTES, libc::PROT_READ | libc::PROT_WRITE) != 0
        {
            return Err(io::Error::last_os_error());
        }
        use_below(start as usize + GUARD + BYTES);
    }
    Ok(())
}
