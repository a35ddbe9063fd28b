//! Closes connections that sit between two requests.
//!
//! actix limits how long the first request's head may take, and how long a connection may be silent; a client that sends
//! the head of a *later* request byte by byte escapes both (measured on actix-http 3.20) and could hold every connection
//! there may be. So each connection notes when it last had a request, and a sweep shuts down those that had none for
//! too long. One that never had a request is left to actix, which tells its client so with a 408: were both limits to
//! pass while this thread was held up, a sweep that came first would cut that answer off. Everything here lives on the
//! one worker thread.
//!
//! A connection also tells when more of what its client sends is of use (see [`paced`](crate::paced)).

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use rustix::net::{Shutdown, shutdown};

/// Longest a connection may be without a request.
const IDLE_LIMIT: Duration = Duration::from_secs(10);

/// Time between two sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

thread_local! {
    static CONNECTIONS: RefCell<Vec<Weak<Connection>>> = const { RefCell::new(Vec::new()) };
}

/// A connection: dropped with actix's own record of it.
#[derive(Debug)]
pub struct Connection {
    /// The same socket as actix's, only ever shut down here. Without a second descriptor there is no way to close it from
    /// here; actix's own limits still hold.
    socket: Option<OwnedFd>,
    busy: Cell<u32>,
    /// When its last request so far was answered.
    idle_since: Cell<Option<Instant>>,
    /// Bytes of a body that a request waits for; those in chunks do not say how many.
    body: Cell<Option<usize>>,
    /// Whether the client takes nothing more for now.
    blocked: Cell<bool>,
    /// Who is told that more is wanted.
    reader: RefCell<Option<Waker>>,
}

/// A request on a connection; the connection is idle again when the last of them is dropped.
#[derive(Debug)]
pub struct Busy(Rc<Connection>);

/// A request that waits for its body, until dropped.
#[derive(Debug)]
pub struct Reading<'a>(&'a Connection);

impl Connection {
    /// Notes a new connection.
    #[must_use]
    pub fn of(stream: &impl AsFd) -> Rc<Self> {
        let connection = Rc::new(Self {
            socket: stream.as_fd().try_clone_to_owned().ok(),
            busy: Cell::new(0),
            idle_since: Cell::new(None),
            body: Cell::new(None),
            blocked: Cell::new(false),
            reader: RefCell::new(None),
        });
        CONNECTIONS.with_borrow_mut(|connections| connections.push(Rc::downgrade(&connection)));
        connection
    }

    /// Marks the connection as busy.
    #[must_use]
    pub fn begin(self: &Rc<Self>) -> Busy {
        self.busy.set(self.busy.get() + 1);
        Busy(Rc::clone(self))
    }

    /// Marks a request as waiting for its body, of as many bytes as the client says.
    pub fn read_body(&self, bytes: Option<u64>) -> Reading<'_> {
        self.body.set(Some(bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)));
        self.wake();
        Reading(self)
    }

    /// Whether what comes next is of use now: nothing is at work but what waits for it, and answers are taken.
    pub(crate) fn wants_more(&self) -> bool {
        (self.busy.get() == 0 || self.body.get().is_some()) && !self.blocked.get()
    }

    /// Whether a request is being answered.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.get() > 0
    }

    /// Whether a request is being answered that waits for nothing more of its client.
    pub(crate) fn is_at_work(&self) -> bool {
        self.busy.get() > 0 && self.body.get().is_none()
    }

    /// Most bytes that are still to come of the body that is waited for.
    pub(crate) fn body_left(&self) -> usize {
        self.body.get().unwrap_or(0)
    }

    /// Notes bytes that were handed on.
    pub(crate) fn came(&self, count: usize) {
        self.body.set(self.body.get().map(|left| left.saturating_sub(count)));
    }

    /// Notes whether the client takes what is sent.
    pub(crate) fn is_blocked(&self, blocked: bool) {
        self.blocked.set(blocked);
        if !blocked {
            self.wake();
        }
    }

    /// Has the reader woken once more is wanted.
    pub(crate) fn wake_when_wanted(&self, reader: &Waker) {
        self.reader.replace(Some(reader.clone()));
    }

    fn wake(&self) {
        if self.wants_more()
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
    }

    fn is_idle_for(&self, limit: Duration) -> bool {
        self.busy.get() == 0 && self.idle_since.get().is_some_and(|since| since.elapsed() >= limit)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
        self.0.idle_since.set(Some(Instant::now()));
        self.0.wake();
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.body.set(None);
    }
}

/// Whether every connection has had a request, and has had no other for `rest`. One that was accepted and has yet to say
/// what it wants would lose its request if it were closed now.
#[must_use]
pub fn are_quiet(rest: Duration) -> bool {
    CONNECTIONS.with_borrow(|connections| {
        connections.iter().filter_map(Weak::upgrade).all(|connection| connection.is_idle_for(rest))
    })
}

/// Sweeps for ever.
pub async fn sweep_forever() {
    loop {
        actix_web::rt::time::sleep(SWEEP_EVERY).await;
        sweep(IDLE_LIMIT);
    }
}

/// Shuts down connections without a request for `limit`, and forgets those that are gone.
fn sweep(limit: Duration) {
    CONNECTIONS.with_borrow_mut(|connections| {
        connections.retain(|connection| {
            let Some(connection) = connection.upgrade() else { return false };
            if connection.is_idle_for(limit) {
                // It may have been closed by the peer already, which is as good.
                let _ = connection.socket.as_ref().map(|socket| shutdown(socket, Shutdown::Both));
            }
            true
        });
    });
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net;

    use super::*;

    fn connected() -> (net::TcpStream, Rc<Connection>) {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        (client, Connection::of(&server))
    }

    fn assert_is_open(mut client: &net::TcpStream) {
        client.set_nonblocking(true).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_idle_connection_is_shut_down() {
        let (mut client, connection) = connected();
        drop(connection.begin());
        sweep(Duration::ZERO);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_connection_that_never_had_a_request_is_left_to_the_server() {
        let (client, _connection) = connected();
        sweep(Duration::ZERO);
        assert_is_open(&client);
    }

    #[test]
    fn a_connection_with_a_request_is_left_alone() {
        let (client, connection) = connected();
        let busy = connection.begin();
        sweep(Duration::ZERO);
        assert_is_open(&client);
        drop(busy);
        assert!(connection.is_idle_for(Duration::ZERO));
    }

    #[test]
    fn a_connection_is_quiet_once_it_has_had_what_it_came_for() {
        let (_client, connection) = connected();
        assert!(!are_quiet(Duration::ZERO));
        let busy = connection.begin();
        assert!(!are_quiet(Duration::ZERO));
        drop(busy);
        assert!(are_quiet(Duration::ZERO) && !are_quiet(IDLE_LIMIT));
    }

    #[test]
    fn connections_that_are_gone_are_forgotten() {
        drop(connected());
        sweep(IDLE_LIMIT);
        CONNECTIONS.with_borrow(|connections| assert!(connections.is_empty()));
    }
}
