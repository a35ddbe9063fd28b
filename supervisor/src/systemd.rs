//! What systemd hands over and wants to hear: sockets, readiness, reloads, the watchdog.
//!
//! Without systemd all of this does nothing. Its variables (`LISTEN_FDS`, `NOTIFY_SOCKET`, `WATCHDOG_USEC`,
//! `JOURNAL_STREAM`) are its protocol, not settings; `sd-notify` reads them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::fstat;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use sd_notify::NotifyState;

/// A socket that systemd listens on for us.
#[derive(Debug)]
pub struct Inherited {
    /// What the socket unit calls it (`FileDescriptorName=`).
    pub name: String,
    /// The socket.
    pub socket: OwnedFd,
}

/// The sockets handed over to this process, in the order of the socket units.
///
/// A number from the environment can only be turned into a descriptor by trusting it, which is `unsafe`; asking the
/// kernel for a duplicate of our own descriptor with that number is not, and finds out a number that is none.
///
/// # Errors
/// If the variables make no sense, or name descriptors that are not there.
pub fn sockets() -> io::Result<Vec<Inherited>> {
    let passed = sd_notify::listen_fds_with_names()?;
    if passed.len() == 0 {
        return Ok(Vec::new());
    }
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let duplicate = |(number, name)| {
        let socket = pidfd_getfd(&own, number, PidfdGetfdFlags::empty())?;
        Ok(Inherited { name, socket })
    };
    passed.map(duplicate).collect()
}

/// Jobs can run: what was ordered after us may start.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// What SIGHUP re-reads is being read; [`ready`] follows.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// No more connections are taken.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The service is of use still. To be said only if that was looked into.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How long systemd waits for [`alive`] before it ends us; `None` if it does not.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Whether standard error goes to the journal: systemd names the device and inode it gave us, which a redirection
/// changes.
#[must_use]
pub fn logs_to_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let stderr = fstat(io::stderr().as_fd());
    stderr.is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "cannot tell systemd {state:?}");
    }
}
