//! Every system call and every raw address the zygote and its workers use, behind safe functions.
//!
//! This is the crate's fence: outside `sys`, `measure`'s trampoline and the signal entry nothing here is `unsafe` to call
//! without saying why. It trusts nothing but the kernel. It must never use thread-local storage (no `errno`): after a
//! function under test has run, the segment base that thread-locals hang on may hold anything.

pub mod boot;
pub mod image;
pub mod keyed;
pub mod memory;
pub mod packet;
pub mod perf;
pub mod process;
pub mod rseq;
pub mod signal;
pub mod stack;

use std::arch::asm;
use std::io;

/// Descriptor numbers; fixed, so that the filter can name them.
pub mod fd {
    use webrunner_protocol::limits::{MAX_EVENTS, MAX_PASSES};
    use webrunner_protocol::passes::LEADING;

    use crate::counters::kernel_events;

    /// A worker's job socket. In the zygote: `/dev/null`, so that nothing else takes the number.
    pub const JOB: i32 = 3;
    /// The zygote's control socket; closed in workers.
    pub const CONTROL: i32 = 4;
    /// The zygote's signalfd; closed in workers.
    pub const CHILD_SIGNAL: i32 = 5;
    /// A worker's first perf descriptor; they follow each other.
    pub const FIRST_PERF: i32 = 4;
    /// A worker's last possible perf descriptor: the kernel's events, then cycles and instructions for each pass, then
    /// every event a job may ask for.
    pub const LAST_PERF: i32 =
        FIRST_PERF + (kernel_events::COUNT + LEADING * MAX_PASSES + MAX_EVENTS) as i32 - 1;
}

/// An error number as the kernel returned it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0)
    }
}

/// Turns a raw return value into a result.
fn check(value: isize) -> Result<usize, Errno> {
    if (-4095..0).contains(&value) { Err(Errno(-value as i32)) } else { Ok(value as usize) }
}

/// A system call of up to three arguments, without `errno`.
///
/// # Safety
/// As the call itself: pointers must be good for what it does with them.
unsafe fn syscall3(number: i64, a: usize, b: usize, c: usize) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the caller vouches for the arguments; the instruction clobbers only what is listed.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    check(result)
}

/// Reads once from `fd` into `buffer`.
///
/// # Errors
/// The kernel's error number.
pub fn read(fd: i32, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: `buffer` is writable for its length.
    unsafe { syscall3(libc::SYS_read, fd as usize, buffer.as_mut_ptr() as usize, buffer.len()) }
}

/// Writes once from `bytes` to `fd`.
///
/// # Errors
/// The kernel's error number.
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: `bytes` is readable for its length.
    unsafe { syscall3(libc::SYS_write, fd as usize, bytes.as_ptr() as usize, bytes.len()) }
}

/// Tells the reader of socket `fd` that nothing more will come.
///
/// # Errors
/// The kernel's error number.
pub fn end_of_writing(fd: i32) -> Result<(), Errno> {
    // SAFETY: integers only.
    unsafe { syscall3(libc::SYS_shutdown, fd as usize, libc::SHUT_WR as usize, 0)? };
    Ok(())
}

/// CPU time this process has had, in nanoseconds. What other processes took of the core is not in it, nor, where the kernel
/// keeps account of those, what interrupts and the hypervisor took.
///
/// # Errors
/// The kernel's error number.
pub fn cpu_time_ns() -> Result<u64, Errno> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes a `timespec` there and nothing else.
    unsafe {
        syscall3(libc::SYS_clock_gettime, libc::CLOCK_THREAD_CPUTIME_ID as usize, &raw mut time as usize, 0)?;
    }
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Ends the process at once; nothing is flushed and nothing unwinds.
pub fn exit(code: i32) -> ! {
    // SAFETY: takes an integer and does not return.
    let _ = unsafe { syscall3(libc::SYS_exit_group, code as usize, 0, 0) };
    // A filter that refuses exit_group has already raised SIGSYS; should even that have returned, stop here.
    loop {
        core::hint::spin_loop();
    }
}

/// Time stamp counter.
#[must_use]
pub fn ticks() -> u64 {
    // SAFETY: rdtsc reads a counter; the sandbox leaves it enabled.
    unsafe { core::arch::x86_64::_rdtsc() }
}
