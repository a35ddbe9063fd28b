//! What a new worker does to itself with the set-up key, and how the zygote learns of its end.

use std::mem::MaybeUninit;

use webrunner_protocol::control::{ExitStatus, Usage};

use super::keyed::{self, Key};
use super::{Errno, fd};

/// Makes `socket` the job socket and closes every other descriptor above standard error.
///
/// # Errors
/// The kernel's error number.
pub fn keep_only_job_socket(socket: i32) -> Result<(), Errno> {
    // SAFETY: integers only.
    unsafe {
        keyed::call(
            Key::Setup,
            libc::SYS_dup3,
            [socket as usize, fd::JOB as usize, libc::O_CLOEXEC as usize, 0, 0],
        )?;
        keyed::call(Key::Setup, libc::SYS_close_range, [fd::JOB as usize + 1, u32::MAX as usize, 0, 0, 0])?;
    }
    Ok(())
}

/// Closes a descriptor of the zygote.
pub fn close(descriptor: i32) {
    // SAFETY: an integer; a bad one is refused by the kernel and harms nothing.
    let _ = unsafe { keyed::call(Key::Setup, libc::SYS_close, [descriptor as usize, 0, 0, 0, 0]) };
}

/// Ends a child of the zygote, which must not have been reaped: until then its number is nobody else's.
pub fn kill(pid: i32) {
    // SAFETY: integers only. One that has ended by itself meanwhile is not harmed.
    let _ =
        unsafe { keyed::call(Key::Setup, libc::SYS_kill, [pid as usize, libc::SIGKILL as usize, 0, 0, 0]) };
}

/// Asks the kernel to kill this worker when its zygote dies; fork clears the wish, so each worker makes it anew.
///
/// # Errors
/// The kernel's error number.
pub fn die_with_parent() -> Result<(), Errno> {
    // SAFETY: integers only.
    unsafe {
        keyed::call(
            Key::Setup,
            libc::SYS_prctl,
            [libc::PR_SET_PDEATHSIG as usize, libc::SIGKILL as usize, 0, 0, 0],
        )?;
    }
    Ok(())
}

/// Sets a resource limit of this process.
///
/// # Errors
/// The kernel's error number.
pub fn limit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limits = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limits` outlives the call; the old limits are not asked for.
    unsafe {
        keyed::call(
            Key::Setup,
            libc::SYS_prlimit64,
            [0, resource as usize, (&raw const limits) as usize, 0, 0],
        )?;
    }
    Ok(())
}

/// Takes one ended child off the kernel's list, without waiting; `None` when there is none.
///
/// # Errors
/// The kernel's error number; `ECHILD` is `None` as well.
pub fn reap() -> Result<Option<(i32, ExitStatus, Usage)>, Errno> {
    let mut status = 0_i32;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are good for one value each.
    let result = unsafe {
        keyed::call(
            Key::Setup,
            libc::SYS_wait4,
            [
                -1_isize as usize,
                (&raw mut status) as usize,
                libc::WNOHANG as usize,
                usage.as_mut_ptr() as usize,
                0,
            ],
        )
    };
    let pid = match result {
        Ok(0) | Err(Errno(libc::ECHILD)) => return Ok(None),
        Ok(pid) => pid as i32,
        Err(errno) => return Err(errno),
    };
    // SAFETY: zeroed above, and an all-zero rusage is a valid one.
    let usage = unsafe { usage.assume_init() };
    Ok(Some((pid, exit_status(status), summary(&usage))))
}

fn exit_status(status: i32) -> ExitStatus {
    if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(libc::WTERMSIG(status))
    } else {
        ExitStatus::Code(libc::WEXITSTATUS(status))
    }
}

fn summary(usage: &libc::rusage) -> Usage {
    let micros = |time: libc::timeval| (time.tv_sec as u64).saturating_mul(1_000_000) + time.tv_usec as u64;
    Usage {
        user_us: micros(usage.ru_utime),
        system_us: micros(usage.ru_stime),
        max_rss_kib: usage.ru_maxrss as u64,
        minor_faults: usage.ru_minflt as u64,
        voluntary_switches: usage.ru_nvcsw as u64,
        involuntary_switches: usage.ru_nivcsw as u64,
    }
}

/// Addresses of this executable's own code.
#[must_use]
pub fn own_text() -> std::ops::Range<usize> {
    // SAFETY: the linker defines both symbols in every executable, and only their addresses are taken.
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    (&raw const __executable_start) as usize..(&raw const etext) as usize
}
