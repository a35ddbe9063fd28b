//! A socket that is waited on for reading only.
//!
//! tokio's own sockets are registered for writing as well, and a Unix socket becomes "writable" each time its peer
//! reads: two needless wake-ups for every job. Calls on the descriptor never block; that is asked for with each call.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The socket.
#[derive(Debug)]
pub(super) struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Takes the socket over. To be called on a thread with a tokio runtime.
    ///
    /// # Errors
    /// If it cannot be registered.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "unsound only for types that may change their descriptor, which an OwnedFd cannot"
        )]
        AsyncFd::with_interest(socket, Interest::READABLE).map(Self)
    }

    /// Waits until `read` gives something other than `WouldBlock`, and returns that.
    ///
    /// # Errors
    /// Whatever `read` returns.
    pub(super) async fn when_readable<T>(
        &self,
        mut read: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            let mut guard = self.0.readable().await?;
            match guard.try_io(|socket| read(socket.as_fd())) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }

    /// Reads what there is to the end of `bytes`, at most its spare capacity; 0 at the end of the stream.
    ///
    /// # Errors
    /// The kernel's error.
    pub(super) async fn receive(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        self.when_readable(|socket| {
            Ok(rustix::net::recv(socket, spare_capacity(bytes), RecvFlags::DONTWAIT)?.0)
        })
        .await
    }

    /// Sends all of `parts`.
    ///
    /// # Errors
    /// The kernel's error.
    pub(super) async fn send(&self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match send_some(self.0.as_fd(), parts) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.send_rest(parts).await;
                }
                sent => IoSlice::advance_slices(&mut parts, sent?),
            }
        }
        Ok(())
    }

    /// Sends what did not fit at once, waiting on a registration made for that.
    async fn send_rest(&self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        #[expect(deprecated, reason = "as above")]
        let socket = AsyncFd::with_interest(self.0.get_ref().try_clone()?, Interest::WRITABLE)?;
        while !parts.is_empty() {
            // Readiness is told once. The guard is taken before the attempt, so that a refusal forgets only the readiness
            // that came before it: what the peer made room for meanwhile is not waited for in vain.
            let mut guard = socket.writable().await?;
            if let Ok(sent) = guard.try_io(|socket| send_some(socket.as_fd(), parts)) {
                IoSlice::advance_slices(&mut parts, sent?);
            }
        }
        Ok(())
    }
}

/// Sends what fits the socket now.
fn send_some(socket: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    Ok(rustix::net::sendmsg(socket, parts, &mut SendAncillaryBuffer::default(), flags)?)
}

impl AsFd for Readable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
