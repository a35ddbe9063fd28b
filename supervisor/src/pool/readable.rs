//! A socket that is waited on for reading only.
//!
//! tokio's own sockets are registered for writing as well, and a Unix socket becomes "writable" each time its peer reads: two
//! needless wake-ups for every job. Calls on the descriptor never block; that is asked for with each call.

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

    /// Sends all of `parts`. Waits, for the little that does not fit the socket at once, on a registration made for that.
    ///
    /// # Errors
    /// The kernel's error.
    pub(super) async fn send(&self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        IoSlice::advance_slices(&mut parts, 0);
        let mut writable = None;
        while !parts.is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::sendmsg(self.0.as_fd(), parts, &mut SendAncillaryBuffer::default(), flags) {
                Ok(sent) => IoSlice::advance_slices(&mut parts, sent),
                Err(rustix::io::Errno::AGAIN) => self.wait_until_writable(&mut writable).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn wait_until_writable(&self, registered: &mut Option<AsyncFd<OwnedFd>>) -> io::Result<()> {
        let socket = match registered {
            Some(socket) => socket,
            None => {
                let copy = self.0.get_ref().try_clone()?;
                #[expect(deprecated, reason = "as above")]
                registered.insert(AsyncFd::with_interest(copy, Interest::WRITABLE)?)
            }
        };
        // The caller has just seen that nothing fits: whatever readiness is remembered is out of date.
        socket.writable().await?.clear_ready();
        socket.writable().await?.retain_ready();
        Ok(())
    }
}

impl AsFd for Readable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
