//! A client that keeps its connection: sends a request made beforehand, reads one answer.
//!
//! It knows as much of HTTP as the service sends: a status line, headers, a body of `Content-Length` bytes. It must cost
//! little, because it runs on the supervisor's core; and what it cannot read is an error, never a good answer.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest an answer may take: the service's own deadline and a margin.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// Longest answer that is read.
const MAX_ANSWER: usize = 1 << 20;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer<'a> {
    /// Status code.
    pub(crate) status: u16,
    /// The body, whole.
    pub(crate) body: &'a [u8],
}

/// A GET request, ready to send.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// A request to run `object`, ready to send.
pub(crate) fn run(query: &str, object: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /local/run?{query} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\n\
         Content-Length: {}\r\n\r\n",
        object.len()
    );
    [head.as_bytes(), object].concat()
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// If the service does not take the connection.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        stream.set_write_timeout(Some(ANSWER_LIMIT))?;
        Ok(Self { stream, received: Vec::with_capacity(8192) })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// If the connection fails or what comes is no answer; the connection is then of no further use.
    pub(crate) fn ask(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.stream.write_all(request)?;
        self.received.clear();
        let head = loop {
            if let Some(end) = self.received.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.read_more()?;
        };
        let (status, length) = parse_head(&self.received[..head])?;
        let end = head + length;
        while self.received.len() < end {
            self.read_more()?;
        }
        Ok(Answer { status, body: &self.received[head..end] })
    }

    fn read_more(&mut self) -> io::Result<()> {
        let mut piece = [0; 8192];
        let count = self.stream.read(&mut piece)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.received.len() + count > MAX_ANSWER {
            return Err(io::Error::other("the answer does not end"));
        }
        self.received.extend_from_slice(&piece[..count]);
        Ok(())
    }
}

/// Status code and length of the body.
fn parse_head(head: &[u8]) -> io::Result<(u16, usize)> {
    let wrong = |what: &str| io::Error::other(format!("the answer has no {what}"));
    let text = std::str::from_utf8(head).map_err(|_| wrong("readable head"))?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok());
    Ok((status.ok_or_else(|| wrong("status"))?, length.ok_or_else(|| wrong("length"))?))
}
