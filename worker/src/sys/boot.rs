//! System calls of the zygote's start that no safe wrapper offers; all of them before the filter is installed.

use std::io::{self, Read, Write};
use std::ptr;

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Gid, Uid};

use super::{Errno, fd};

fn cerr(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Puts the control socket, which arrives as standard input, and a signalfd for SIGCHLD at their numbers, `/dev/null`
/// at 0 to 3, and closes all else.
///
/// # Errors
/// If a call fails; the process is then of no use.
pub fn place_descriptors() -> io::Result<()> {
    let mut child = SigSet::empty();
    child.add(Signal::SIGCHLD);
    child.thread_block()?;
    // A session of its own: no terminal, and no share in the signals a terminal sends to the supervisor.
    nix::unistd::setsid()?;
    // SAFETY: integers, and pointers to constants and to a set that lives through the calls. No Rust object owns any of
    // the descriptors replaced here.
    unsafe {
        // First out of the way of the numbers to be filled.
        let control = cerr(libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 16))?;
        let signals = cerr(libc::signalfd(-1, ptr::from_ref(child.as_ref()), libc::SFD_CLOEXEC))?;
        let signals = cerr(libc::fcntl(signals, libc::F_DUPFD_CLOEXEC, 16))?;
        let null = cerr(libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC))?;
        let null = cerr(libc::fcntl(null, libc::F_DUPFD_CLOEXEC, 16))?;
        for number in 0..=fd::JOB {
            cerr(libc::dup3(null, number, libc::O_CLOEXEC))?;
        }
        cerr(libc::dup3(control, fd::CONTROL, libc::O_CLOEXEC))?;
        cerr(libc::dup3(signals, fd::CHILD_SIGNAL, libc::O_CLOEXEC))?;
        if libc::syscall(libc::SYS_close_range, fd::CHILD_SIGNAL + 1, u32::MAX, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Reads one packet from standard input, which is where the control socket is before [`place_descriptors`].
///
/// # Errors
/// The kernel's error number.
pub fn receive_first(buffer: &mut [u8]) -> Result<usize, Errno> {
    super::read(0, buffer)
}

/// Sends one packet before the filter: on `descriptor`, without a key.
///
/// # Errors
/// If it cannot be sent whole.
pub fn send_first(descriptor: i32, bytes: &[u8]) -> io::Result<()> {
    match super::write(descriptor, bytes) {
        Ok(sent) if sent == bytes.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether standard input is a socket, as it is when the supervisor started this program.
#[must_use]
pub fn started_by_supervisor() -> bool {
    // SAFETY: an all-zero stat is valid to be overwritten.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable.
    let known = unsafe { libc::fstat(0, &raw mut stat) } == 0;
    known && stat.st_mode & libc::S_IFMT == libc::S_IFSOCK
}

/// Becomes `user` and the group of the same number, for good, with no other groups.
///
/// # Errors
/// If the kernel refuses any part.
pub fn become_user(user: Uid) -> io::Result<()> {
    let group = Gid::from_raw(user.as_raw());
    nix::unistd::setgroups(&[])?;
    nix::unistd::setresgid(group, group, group)?;
    nix::unistd::setresuid(user, user, user)?;
    Ok(())
}

/// Yields to others on the same core; workers inherit it.
///
/// # Errors
/// If the kernel refuses.
pub fn be_nice(niceness: i32) -> io::Result<()> {
    // SAFETY: integers only.
    cerr(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) }).map(drop)
}

/// Gives up every capability, as a process in its own user namespace still has them there.
///
/// # Errors
/// If the kernel refuses.
pub fn drop_capabilities() -> io::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3` of linux/capability.h.
    const VERSION_3: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    let header = Header { version: VERSION_3, pid: 0 };
    let none = [0_u32; 6];
    // SAFETY: both point to structures of the layout that version 3 asks for.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    if result != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Forks the first process of the pid namespace that was just entered, and waits until it is sure to die with this one; its
/// process id.
///
/// # Errors
/// If the kernel refuses, or it ended at once.
pub fn start_init() -> io::Result<i32> {
    let (mut reader, writer) = io::pipe()?;
    // SAFETY: this process has one thread.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => {
            drop(writer);
            reader.read_exact(&mut [0]).map_err(|_| io::Error::other("it ended at once"))?;
            Ok(child.as_raw())
        }
        nix::unistd::ForkResult::Child => {
            drop(reader);
            wait_for_death(writer)
        }
    }
}

/// What the first process does: holds nothing, waits, and dies with the zygote, taking the namespace with it.
///
/// A zygote that has died before the kernel knew of that wish is missed by it. It alone holds the other end of the pipe: a
/// byte that can be written there comes from before its death.
fn wait_for_death(mut zygote: io::PipeWriter) -> ! {
    let wished = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from);
    if wished.and_then(|()| zygote.write_all(&[0])).is_err() {
        super::exit(0);
    }
    // SAFETY: integers only; every descriptor is the zygote's.
    unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
    loop {
        nix::unistd::pause();
    }
}
