//! An HTTP/1.1 client that does what it is told, wrong things too: half a request, two at once, a hasty farewell.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::wait::LIMIT;

/// A request to be sent.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// A posted object.
    #[must_use]
    pub fn post(target: &str, object: &[u8]) -> Self {
        let mut request = Self::new("POST", target)
            .header("Content-Type", "application/octet-stream")
            .header("Content-Length", &object.len().to_string());
        request.body = object.to_vec();
        request
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The head as it goes over the wire, the empty line included.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Head and body as they go over the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }

    /// Sends it on a connection of its own, and takes the answer.
    #[must_use]
    pub fn send(&self, address: SocketAddr) -> Answer {
        let mut connection = Connection::open(address);
        connection.send(&self.bytes());
        if self.method == "HEAD" { connection.receive_head() } else { connection.receive() }
    }
}

/// A connection to the service.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    stream: BufReader<S>,
}

impl Connection<UnixStream> {
    /// Opens one to the socket at `path`.
    ///
    /// # Panics
    /// If nobody listens.
    #[must_use]
    pub fn at_path(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("somebody listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        stream.set_write_timeout(Some(LIMIT)).expect("a timeout");
        Self { stream: BufReader::new(stream) }
    }
}

impl Connection {
    /// Opens one.
    ///
    /// # Panics
    /// If nobody listens.
    #[must_use]
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, LIMIT).expect("somebody listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
        stream.set_write_timeout(Some(LIMIT)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Self { stream: BufReader::new(stream) }
    }

    /// The same connection once more, to send from another thread.
    ///
    /// # Panics
    /// If there is no descriptor for it.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { stream: BufReader::new(self.stream.get_ref().try_clone().expect("a descriptor")) }
    }

    /// Says that nothing more will be sent, and stays to listen.
    ///
    /// # Panics
    /// If the connection is gone.
    pub fn finish_sending(&self) {
        self.stream.get_ref().shutdown(Shutdown::Write).expect("a connection to shut down");
    }

    /// Leaves without a farewell: the service gets a reset.
    ///
    /// # Panics
    /// If the socket cannot be told so.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(self.stream.get_ref(), Some(Duration::ZERO)).expect("linger");
    }
}

impl<S: Read + Write> Connection<S> {
    /// Sends bytes.
    ///
    /// # Panics
    /// If the service has closed the connection.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the service takes what is sent");
    }

    /// Sends bytes to a service that may have closed the connection.
    ///
    /// # Errors
    /// If it has.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Takes one answer.
    ///
    /// # Panics
    /// If none comes, or what comes is no HTTP.
    #[must_use]
    pub fn receive(&mut self) -> Answer {
        let mut answer = self.receive_head();
        if let Some(length) = answer.header("content-length") {
            answer.body = vec![0; length.parse().expect("a length")];
            self.stream.read_exact(&mut answer.body).expect("a body as long as it was said to be");
        }
        answer
    }

    /// Takes an answer that has no body, as one to HEAD.
    ///
    /// # Panics
    /// As [`Connection::receive`].
    #[must_use]
    pub fn receive_head(&mut self) -> Answer {
        let first = self.line();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("expected a status line, got {first:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Answer { status, headers, body: Vec::new() }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("an answer within the limit");
        assert!(line.ends_with('\n'), "the connection ended in {line:?}");
        line.trim_end().to_owned()
    }

    /// Waits for a byte or the end of the connection; whether it was the end.
    ///
    /// # Panics
    /// If neither comes.
    #[must_use]
    pub fn ends(&mut self) -> bool {
        loop {
            match self.stream.fill_buf() {
                Ok(bytes) => return bytes.is_empty(),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return true,
                // A machine that is put to sleep interrupts reads that have a limit.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => panic!("neither a byte nor the end came: {error}"),
            }
        }
    }
}

/// What the service answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The body of a problem, which must be one by all that RFC 9457 and the service's own rules ask for.
    ///
    /// # Panics
    /// If it is not.
    #[must_use]
    pub fn problem(&self) -> Value {
        let problem = self.json();
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{problem}");
        assert_eq!(problem["status"], self.status, "{problem}");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.ends_with(['.', '?']) && !detail.contains('\n'), "no sentence: {problem}");
        assert!(problem["type"].as_str().is_some_and(|kind| kind.starts_with("/problems/")), "{problem}");
        problem
    }

    /// The last part of a problem's type.
    ///
    /// # Panics
    /// As [`Answer::problem`].
    #[must_use]
    pub fn slug(&self) -> String {
        slug(&self.problem()).to_owned()
    }
}

/// The last part of a problem's type.
#[must_use]
pub fn slug(problem: &Value) -> &str {
    problem["type"].as_str().unwrap_or_default().trim_start_matches("/problems/")
}
