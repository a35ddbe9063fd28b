//! perf events of a worker: opened with the set-up key, read with the one call the filter leaves.

use super::keyed::{self, Key};
use super::{Errno, read};

/// `PERF_FLAG_FD_CLOEXEC` of linux/perf_event.h.
pub const CLOSE_ON_EXEC: u32 = 1 << 3;

/// Opens one event on this process and any core, in the group led by `leader` (or leading one).
///
/// # Safety
/// `attributes` points to a `perf_event_attr` whose `size` field is true.
///
/// # Errors
/// The kernel's error number.
pub unsafe fn open(attributes: *const u8, leader: Option<i32>) -> Result<i32, Errno> {
    const ANY_CORE: usize = usize::MAX;
    let group = leader.map_or(usize::MAX, |fd| fd as usize);
    let flags = CLOSE_ON_EXEC as usize;
    // SAFETY: the caller vouches for the attributes; the rest are integers.
    let fd = unsafe {
        keyed::call(Key::Setup, libc::SYS_perf_event_open, [attributes as usize, 0, ANY_CORE, group, flags])?
    };
    Ok(fd as i32)
}

/// Most values a group read gives.
pub const MAX_GROUP: usize = 8;

/// One reading of a group: all members at one instant.
#[derive(Debug, Clone, Copy, Default)]
pub struct GroupReading {
    /// Nanoseconds enabled.
    pub time_enabled: u64,
    /// Nanoseconds on the counters.
    pub time_running: u64,
    /// Counts, in the order the members were opened.
    pub values: [u64; MAX_GROUP],
}

/// Reads the group led by `leader`; `None` if the kernel gives none, as for a pinned group that lost its place.
///
/// The format is that of `PERF_FORMAT_GROUP` with both times and identifiers, which perf-event2 always asks for: the
/// number of members, time enabled, time running, then a value and an identifier for each member.
#[must_use]
pub fn read_group(leader: i32, members: usize) -> Option<GroupReading> {
    let mut words = [0_u64; 3 + 2 * MAX_GROUP];
    let bytes = (3 + 2 * members.min(MAX_GROUP)) * size_of::<u64>();
    let space: &mut [u8] = words_as_bytes(&mut words);
    if read(leader, &mut space[..bytes]) != Ok(bytes) || words[0] != members as u64 {
        return None;
    }
    let mut values = [0; MAX_GROUP];
    for (value, pair) in values.iter_mut().zip(words[3..].chunks_exact(2)) {
        *value = pair[0];
    }
    Some(GroupReading { time_enabled: words[1], time_running: words[2], values })
}

fn words_as_bytes(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: any bytes make valid words, and the length is that of the same memory.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}
