//! The zygote's packets: reading requests, sending reports with descriptors, and waiting for either side.

use std::time::Duration;

use webrunner_protocol::limits::SOCKETS_PER_PACKET;

use super::keyed::{self, Key};
use super::{Errno, fd};

/// Creates the two ends of a worker's job socket: a stream, closed on exec.
///
/// # Errors
/// The kernel's error number.
pub fn job_socket() -> Result<[i32; 2], Errno> {
    let mut ends = [-1_i32; 2];
    let kind = (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as usize;
    // SAFETY: `ends` is writable for two integers.
    unsafe {
        keyed::call(
            Key::Setup,
            libc::SYS_socketpair,
            [libc::AF_UNIX as usize, kind, 0, ends.as_mut_ptr() as usize, 0],
        )?;
    }
    Ok(ends)
}

/// Reads one request. Plain `read`: descriptors attached to a packet are dropped by the kernel, never installed.
///
/// # Errors
/// The kernel's error number; end of file is `Ok(0)`.
pub fn receive(buffer: &mut [u8]) -> Result<usize, Errno> {
    let arguments = [fd::CONTROL as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0];
    // SAFETY: `buffer` is writable for its length.
    unsafe { keyed::call(Key::Setup, libc::SYS_read, arguments) }
}

/// Descriptors that a report carries, if any.
pub type Descriptors = [i32; SOCKETS_PER_PACKET];

/// A control message with descriptors.
#[repr(C, align(8))]
struct Rights {
    header: libc::cmsghdr,
    descriptors: Descriptors,
}

/// Bytes of such a message, what follows for the sake of alignment left out.
const RIGHTS_BYTES: usize = size_of::<libc::cmsghdr>() + size_of::<Descriptors>();

/// Sends one report, with descriptors or without.
///
/// # Errors
/// The kernel's error number.
pub fn send(bytes: &[u8], descriptors: Option<&Descriptors>) -> Result<(), Errno> {
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut ancillary = Rights {
        header: libc::cmsghdr {
            cmsg_len: RIGHTS_BYTES,
            cmsg_level: libc::SOL_SOCKET,
            cmsg_type: libc::SCM_RIGHTS,
        },
        descriptors: descriptors.copied().unwrap_or_default(),
    };
    let (control, control_len) = match descriptors {
        Some(_) => ((&raw mut ancillary).cast(), size_of::<Rights>()),
        None => (std::ptr::null_mut(), 0),
    };
    let message = libc::msghdr {
        msg_name: std::ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: &raw mut vector,
        msg_iovlen: 1,
        msg_control: control,
        msg_controllen: control_len,
        msg_flags: 0,
    };
    let arguments = [fd::CONTROL as usize, (&raw const message) as usize, libc::MSG_NOSIGNAL as usize, 0, 0];
    // SAFETY: `message` and all it points to outlive the call.
    unsafe { keyed::call(Key::Setup, libc::SYS_sendmsg, arguments)? };
    Ok(())
}

/// What woke the zygote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// A request, or the end of the control socket.
    pub control: bool,
    /// A child has ended.
    pub child: bool,
}

/// Waits for a request or the end of a child, for `at_most` or for good. With neither set, the time is up.
///
/// # Errors
/// The kernel's error number.
pub fn wait(at_most: Option<Duration>) -> Result<Ready, Errno> {
    let limit = at_most.map(|time| libc::timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() });
    let limit = limit.as_ref().map_or(0, |limit| std::ptr::from_ref(limit) as usize);
    let mut polled = [
        libc::pollfd { fd: fd::CONTROL, events: libc::POLLIN, revents: 0 },
        libc::pollfd { fd: fd::CHILD_SIGNAL, events: libc::POLLIN, revents: 0 },
    ];
    // SAFETY: `polled` is writable for two entries, `limit` is none or good for the call; no signal mask is given.
    unsafe {
        keyed::call(Key::Setup, libc::SYS_ppoll, [polled.as_mut_ptr() as usize, polled.len(), limit, 0, 0])?
    };
    Ok(Ready { control: polled[0].revents != 0, child: polled[1].revents != 0 })
}

/// Takes the pending SIGCHLD off the signalfd, so that the next wait blocks again.
///
/// # Errors
/// The kernel's error number.
pub fn acknowledge_child() -> Result<(), Errno> {
    let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
    let arguments = [fd::CHILD_SIGNAL as usize, info.as_mut_ptr() as usize, info.len(), 0, 0];
    // SAFETY: `info` is writable for its length.
    unsafe { keyed::call(Key::Setup, libc::SYS_read, arguments)? };
    Ok(())
}
