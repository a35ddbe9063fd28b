//! perf events of a worker: opened with the set-up key; started, stopped and read with what the filter leaves open.

use perf_event::events::Software;
use perf_event::{Builder, ReadFormat};
use webrunner_protocol::limits::MAX_GROUP;

use super::keyed::{self, Key};
use super::{Errno, read, syscall3};

/// `PERF_FLAG_FD_CLOEXEC` of linux/perf_event.h.
pub const CLOSE_ON_EXEC: u32 = 1 << 3;

/// `PERF_EVENT_IOC_ENABLE` of linux/perf_event.h.
pub const ENABLE: u32 = 0x2400;

/// `PERF_EVENT_IOC_DISABLE` of linux/perf_event.h.
pub const DISABLE: u32 = 0x2401;

/// An event's part in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Leads a group that counts from the start and may be taken off the hardware; for events of the kernel's own.
    Always,
    /// Leads a group that is pinned: on the hardware whole or not at all, and only while it is started.
    Leader,
    /// Belongs to the group of the leader with this descriptor.
    Member(i32),
}

/// Opens one event on this process and any core, for user mode only.
///
/// # Errors
/// The kernel's error number.
pub fn open(kind: u32, config: u64, role: Role) -> Result<i32, Errno> {
    const ANY_CORE: usize = usize::MAX;
    let mut builder = Builder::new(Software::DUMMY);
    builder.attrs_mut().type_ = kind;
    builder.attrs_mut().config = config;
    builder.read_format(ReadFormat::GROUP | ReadFormat::TOTAL_TIME_ENABLED | ReadFormat::TOTAL_TIME_RUNNING);
    // Only a leader may be pinned; a member counts when its leader does.
    builder.pinned(role == Role::Leader);
    builder.enabled(role != Role::Leader);
    let group = match role {
        Role::Member(leader) => leader as usize,
        Role::Always | Role::Leader => usize::MAX,
    };
    let attributes = std::ptr::from_ref(builder.attrs()) as usize;
    let arguments = [attributes, 0, ANY_CORE, group, CLOSE_ON_EXEC as usize];
    // SAFETY: perf-event2 made the attributes and filled in their size; they outlive the call. The rest are integers.
    let descriptor = unsafe { keyed::call(Key::Setup, libc::SYS_perf_event_open, arguments)? };
    Ok(descriptor as i32)
}

/// Starts or stops the group of a leader. One that cannot be had on the hardware shows when it is read.
pub fn switch(leader: i32, on: bool) {
    let command = if on { ENABLE } else { DISABLE };
    // SAFETY: integers only; the descriptor is an event's, or refused by the kernel.
    let _ = unsafe { syscall3(libc::SYS_ioctl, leader as usize, command as usize, 0) };
}

/// One reading of a group: all members at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupReading {
    /// Nanoseconds enabled.
    pub time_enabled: u64,
    /// Nanoseconds on the counters.
    pub time_running: u64,
    /// Counts, in the order the members were opened.
    pub values: [u64; MAX_GROUP],
}

/// Bytes of the longest reading: the number of members, two times, then a value and an identifier for each member.
pub const LONGEST_READING: usize = (3 + 2 * MAX_GROUP) * size_of::<u64>();

/// Reads the group led by `leader`; `None` if the kernel gives none, as for a pinned group that lost its place.
///
/// The format is that of `PERF_FORMAT_GROUP` with both times and identifiers, which perf-event2 always asks for.
#[must_use]
pub fn read_group(leader: i32, members: usize) -> Option<GroupReading> {
    let mut words = [0_u64; LONGEST_READING / size_of::<u64>()];
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
