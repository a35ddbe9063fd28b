//! The memory a job lives in: two arenas reserved by the zygote, closed until a worker opens parts of them.
//!
//! An arena is one inaccessible mapping, which costs a fork almost nothing. A worker opens just the ranges its job
//! needs, so whatever lies between them is a guard, and memory that no plan asked for does not exist. Opening and
//! protecting are `mprotect` with the load key; nothing can be mapped.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use webrunner_protocol::limits::{MAX_BUFFER_BYTES, MAX_IMAGE_BYTES};

use super::Errno;
use super::keyed::{self, Key};

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// Where images lie: below 2 GiB, so that 32-bit absolute relocations fit, and above the first 256 MiB.
pub const IMAGE_ARENA: Range<usize> = 0x1000_0000..0x7000_0000;

/// Bytes of the longest range that is opened in the image arena.
pub const LONGEST_IN_IMAGE_ARENA: usize = MAX_IMAGE_BYTES as usize;

/// Bytes of the arena for buffers.
pub const BUFFER_ARENA_BYTES: usize = 64 << 30;

/// An arena, as the filter knows it.
///
/// A filter cannot add, so it looks at where a range starts and how long it is, each by itself. What starts at the very
/// end of an arena must therefore still end in memory that is reserved: [`reserve`] adds a tail of `longest` bytes to
/// each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arena {
    /// Addresses of job memory.
    pub range: Range<usize>,
    /// Bytes of the longest range that is opened in one go; whole pages.
    pub longest: usize,
}

impl Arena {
    fn reserved_bytes(&self) -> usize {
        self.range.len() + self.longest
    }
}

static BUFFER_ARENA_START: AtomicUsize = AtomicUsize::new(0);

/// Where buffers lie; empty before [`reserve`].
#[must_use]
pub fn buffer_arena() -> Range<usize> {
    let start = BUFFER_ARENA_START.load(Ordering::Relaxed);
    if start == 0 { 0..0 } else { start..start + BUFFER_ARENA_BYTES }
}

/// Both arenas. The longest range is the largest segment an image can have, and the largest buffer a plan can.
#[must_use]
pub fn arenas() -> [Arena; 2] {
    [
        Arena { range: IMAGE_ARENA, longest: LONGEST_IN_IMAGE_ARENA },
        Arena { range: buffer_arena(), longest: MAX_BUFFER_BYTES as usize },
    ]
}

/// Reserves both arenas and their tails. Called once, by the zygote.
///
/// # Errors
/// If the address space is taken or limited.
pub fn reserve() -> io::Result<()> {
    let [images, buffers] = arenas();
    map_closed(images.range.start, images.reserved_bytes())?;
    let start = map_closed_apart(BUFFER_ARENA_BYTES + buffers.longest)?;
    BUFFER_ARENA_START.store(start, Ordering::Relaxed);
    Ok(())
}

/// Maps closed memory that ends with a table of page tables: otherwise the kernel would look through those entries that
/// are its, but not in use, at each exit of a worker that uses the others.
fn map_closed_apart(bytes: usize) -> io::Result<usize> {
    const COVERED_BY_TABLE: usize = 1 << 30;
    let space = map_closed(0, bytes + COVERED_BY_TABLE)?;
    let end = (space + bytes + COVERED_BY_TABLE) / COVERED_BY_TABLE * COVERED_BY_TABLE;
    let start = end - bytes;
    // SAFETY: both ends were just mapped, and nothing refers to them. One of no length is refused, which is as good.
    unsafe {
        libc::munmap(space as *mut libc::c_void, start - space);
        libc::munmap(end as *mut libc::c_void, space + bytes + COVERED_BY_TABLE - end);
    }
    Ok(start)
}

fn map_closed(at: usize, bytes: usize) -> io::Result<usize> {
    let fixed = if at == 0 { 0 } else { libc::MAP_FIXED_NOREPLACE };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | fixed;
    // SAFETY: a new mapping; MAP_FIXED_NOREPLACE refuses to touch an existing one.
    let address = unsafe { libc::mmap(at as *mut libc::c_void, bytes, libc::PROT_NONE, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    if at != 0 && address as usize != at {
        return Err(io::Error::from_raw_os_error(libc::EEXIST));
    }
    Ok(address as usize)
}

/// What a region of job memory may be used for. Nothing is ever both writable and executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Readable.
    Read,
    /// Readable and executable.
    ReadExecute,
}

/// A range of an arena that was opened for writing. There is one for each range, so its slice is exclusive.
#[derive(Debug)]
pub struct Region {
    address: usize,
    bytes: usize,
}

impl Region {
    /// Opens `range`, which must be page-aligned, not empty, inside an arena and no longer than any there may be.
    ///
    /// # Safety
    /// The range was not opened before in this process.
    ///
    /// # Errors
    /// `EINVAL` for a range that is not as described, else the kernel's error number.
    pub unsafe fn open(range: Range<usize>) -> Result<Self, Errno> {
        let fits = |arena: &Arena| {
            arena.range.start <= range.start && range.end <= arena.range.end && range.len() <= arena.longest
        };
        let aligned =
            range.start.is_multiple_of(PAGE) && range.end.is_multiple_of(PAGE) && range.start < range.end;
        if !aligned || !arenas().iter().any(fits) {
            return Err(Errno(libc::EINVAL));
        }
        let region = Self { address: range.start, bytes: range.len() };
        region.set(libc::PROT_READ | libc::PROT_WRITE)?;
        Ok(region)
    }

    /// Address of the first byte.
    #[must_use]
    pub fn address(&self) -> usize {
        self.address
    }

    /// The addresses it covers.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.address..self.address + self.bytes
    }

    /// The bytes.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: `open` made the range readable and writable, `protect` consumes the region, and there is one region
        // for a range.
        unsafe { std::slice::from_raw_parts_mut(self.address as *mut u8, self.bytes) }
    }

    /// Divides it into its first `bytes` bytes, whole pages and not all, and the rest.
    ///
    /// # Errors
    /// `EINVAL` for a number that is not as described.
    pub fn split(self, bytes: usize) -> Result<(Self, Self), Errno> {
        if !bytes.is_multiple_of(PAGE) || bytes == 0 || bytes >= self.bytes {
            return Err(Errno(libc::EINVAL));
        }
        let rest = Self { address: self.address + bytes, bytes: self.bytes - bytes };
        Ok((Self { address: self.address, bytes }, rest))
    }

    /// Takes write access away for good.
    ///
    /// # Errors
    /// The kernel's error number.
    pub fn protect(self, access: Access) -> Result<(), Errno> {
        self.set(match access {
            Access::Read => libc::PROT_READ,
            Access::ReadExecute => libc::PROT_READ | libc::PROT_EXEC,
        })
    }

    fn set(&self, protection: i32) -> Result<(), Errno> {
        // SAFETY: the range lies in an arena, which holds no memory of Rust's but what a `Region` hands out.
        unsafe {
            keyed::call(Key::Load, libc::SYS_mprotect, [self.address, self.bytes, protection as usize, 0, 0])?
        };
        Ok(())
    }
}
