//! Hands on what a client sends piece by piece, and none of it while what came before is still at work.
//!
//! actix takes apart every request that lies in its buffer of 128 KiB at once, and keeps some 7 KiB for each until its turn
//! comes (measured on actix-http 3.20). A client that sent 5000 small requests and read no answer made the service hold
//! 35 MB, and it may have hundreds of connections. So requests wait as the bytes they came as, here or in the kernel.
//!
//! Something is read even then: a stream that ends is a client that left, whose job is to be cancelled. The reader is
//! told so by an error, since it takes a mere end, like bytes that are no request, for something to be told once that
//! job is answered. A client that sends more than [`MOST_AHEAD`] behind a job is only seen to leave when that has
//! ended.

use std::future::Future;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::web::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::connections::Connection;

/// Most bytes at a time that may hold heads: the smallest requests there are make this some 80 of them.
const PIECE: usize = 2 << 10;

/// Bytes of room that is made for what lies behind a piece: nearly always the body of the request in it.
const ROOM_BEHIND: usize = 32 << 10;

/// Most bytes read before they are wanted.
const MOST_AHEAD: usize = 128 << 10;

/// Turns the reader has with what came before the end, until it hears of that: a body is taken up in a few.
const LAST_TURNS: u8 = 8;

/// A client's stream.
#[derive(Debug)]
pub struct Paced<T> {
    stream: T,
    connection: Rc<Connection>,
    /// What was read before it was wanted.
    ahead: BytesMut,
    /// Whether the stream ended behind that.
    ended: bool,
    /// Whether a piece was handed on since the reader last had to wait.
    fed: bool,
    /// Turns the reader has yet to have with what came before the end.
    last_turns: u8,
}

impl<T> Paced<T> {
    /// Paces a stream by what the connection is doing.
    pub fn new(stream: T, connection: Rc<Connection>) -> Self {
        Self { stream, connection, ahead: BytesMut::new(), ended: false, fed: false, last_turns: LAST_TURNS }
    }

    /// What the connection is doing.
    pub fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }
}

impl<T: AsyncRead + Unpin> Paced<T> {
    /// Reads what there is, as far as there is room.
    fn look_ahead(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while !self.ended && self.ahead.len() < MOST_AHEAD {
            let Poll::Ready(count) = self.read_behind(context) else { break };
            self.ended = count? == 0;
        }
        Ok(())
    }

    /// Reads once more behind what was read ahead. A connection at rest takes no memory for it.
    fn read_behind(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ahead.len() < PIECE {
            let mut space = [0; PIECE];
            let mut piece = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
            self.ahead.extend_from_slice(piece.filled());
            return Poll::Ready(Ok(piece.filled().len()));
        }
        let room = ROOM_BEHIND.min(MOST_AHEAD - self.ahead.len());
        self.ahead.reserve(room);
        pin!(self.stream.read_buf(&mut (&mut self.ahead).limit(room))).poll(context)
    }

    /// Hands on the next piece.
    fn feed(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let most = buffer.remaining().min(self.connection.body_left().max(PIECE));
        let before = buffer.filled().len();
        if self.ahead.is_empty() && !self.ended {
            let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(most));
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
            let count = piece.filled().len();
            if count == 0 {
                self.ended = true;
                return self.end(context);
            }
            buffer.advance(count);
        } else {
            let count = most.min(self.ahead.len());
            buffer.put_slice(&self.ahead.split_to(count));
        }
        let count = buffer.filled().len() - before;
        self.connection.came(count);
        self.fed = count > 0;
        Poll::Ready(Ok(()))
    }

    /// Tells the reader of the end, once everything before it was handed on.
    ///
    /// What it was fed last may be a job it has yet to begin, and the end is to cancel that: so not before it has had a few
    /// turns. One who waits for the rest of a body waits in vain, and hears it then.
    fn end(&mut self, context: &Context<'_>) -> Poll<io::Result<()>> {
        let was_fed = mem::take(&mut self.fed);
        if self.connection.is_at_work() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if self.last_turns == 0 || !(was_fed || self.connection.is_busy()) {
            return Poll::Ready(Ok(()));
        }
        self.last_turns -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Paced<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ended && this.ahead.is_empty() {
            return this.end(context);
        }
        // As long as a body is to come there are no heads in it.
        if this.connection.wants_more() && (!this.fed || this.connection.body_left() > 0) {
            return this.feed(context, buffer);
        }
        this.look_ahead(context)?;
        let wanted = this.connection.wants_more();
        if this.ended && (this.ahead.is_empty() || this.connection.is_at_work()) {
            return this.end(context);
        }
        // The reader goes on until it has to wait; only then does it look at what it has.
        this.fed = false;
        if this.ended && !wanted {
            return Poll::Ready(Ok(()));
        }
        if !wanted {
            this.connection.wake_when_wanted(context.waker());
        } else if !this.ahead.is_empty() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Paced<T> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.connection.is_blocked(written.is_pending());
        written
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

/// What clients connect by.
pub trait Stream: AsyncRead + AsyncWrite + std::os::fd::AsFd + Unpin + 'static {
    /// The address of the other side, if it has one.
    fn peer(&self) -> Option<SocketAddr>;
}

impl Stream for tokio::net::TcpStream {
    fn peer(&self) -> Option<SocketAddr> {
        self.peer_addr().ok()
    }
}

impl Stream for tokio::net::UnixStream {
    fn peer(&self) -> Option<SocketAddr> {
        None
    }
}
