//! A client for one request to one service, for `webrunner self-check`.
//!
//! Written over a plain socket: it speaks HTTP/1.0, in which the end of the connection ends the body, so that there is
//! nothing to parse but a status line, and a client crate would save little. No TLS: what is checked is a service on this
//! host or its own network; where TLS is, there is a proxy with health checks of its own.
//! The answer is not trusted: it is bounded in length, and the whole exchange in time.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::settings::Listen;

/// Longest answer taken.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// How the name of a Unix socket begins.
const UNIX: &str = "unix:";

/// Where a service is: what `http://host:port/prefix` or `unix:path` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    place: Place,
    /// Path without a slash at its end; may be empty.
    pub path: String,
}

/// What to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Network {
        /// Host and port as the `Host` header has them.
        authority: String,
        /// Name or address, without the brackets of IPv6.
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

/// Why a text is no URL this client can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a URL such as http://127.0.0.1:8081, or unix: and an absolute path; https is not spoken")]
pub struct UrlError;

/// What is asked.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Method.
    pub method: &'a str,
    /// Path behind the URL's own, and query.
    pub target: &'a str,
    /// Token to send, if any; never shown.
    pub token: Option<&'a str>,
    /// Body.
    pub body: &'a [u8],
}

/// An answer: its status and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

impl Url {
    /// Reads `http://host[:port][/path]`, or `unix:` and the path of a socket.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if let Some(path) = text.strip_prefix(UNIX).filter(|path| path.starts_with('/')) {
            return Ok(Self::at(Place::Unix(path.into())));
        }
        let rest = text.strip_prefix("http://").ok_or(UrlError)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_plain(rest) || rest.contains(['?', '#', '@']) {
            return Err(UrlError);
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or(UrlError)?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| UrlError)?,
            None if port.is_empty() => 80,
            None => return Err(UrlError),
        };
        if host.is_empty() {
            return Err(UrlError);
        }
        let place = Place::Network { authority: authority.to_owned(), host: host.to_owned(), port };
        Ok(Self { place, path: path.trim_end_matches('/').to_owned() })
    }

    /// Where a service that listens there can be reached from this host; `None` if the system chooses its port.
    #[must_use]
    pub fn of(listen: &Listen) -> Option<Self> {
        match listen {
            Listen::Unix(path) => Some(Self::at(Place::Unix(path.clone()))),
            Listen::Tcp(address) if address.port() == 0 => None,
            Listen::Tcp(address) => {
                let host = match address.ip() {
                    IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                    ip => ip,
                };
                let (authority, port) = (SocketAddr::new(host, address.port()).to_string(), address.port());
                Some(Self::at(Place::Network { authority, host: host.to_string(), port }))
            }
        }
    }

    fn at(place: Place) -> Self {
        Self { place, path: String::new() }
    }

    /// What the `Host` header has.
    fn authority(&self) -> &str {
        match &self.place {
            Place::Network { authority, .. } => authority,
            Place::Unix(_) => "localhost",
        }
    }

    /// Sends one request and takes the answer; all within `limit`, but for the look-up of a name, which the system's
    /// resolver bounds.
    ///
    /// # Errors
    /// The socket's error, or `InvalidData` for what is no HTTP answer.
    pub fn send(&self, request: &Request<'_>, limit: Duration) -> io::Result<Answer> {
        let Request { method, target, token, body } = *request;
        let deadline = Instant::now() + limit;
        let authorization =
            token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let mut stream = self.connect(deadline)?;
        let head = format!(
            "{method} {}{target} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/octet-stream\r\n\
             {authorization}Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.path,
            self.authority(),
            body.len()
        );
        stream.limit_writes(left(deadline)?)?;
        stream.write_all(&[head.as_bytes(), body].concat())?;
        parse(&receive(stream.as_mut(), deadline)?)
    }

    fn connect(&self, deadline: Instant) -> io::Result<Box<dyn Stream>> {
        match &self.place {
            Place::Network { host, port, .. } => Ok(Box::new(connect_tcp(host, *port, deadline)?)),
            Place::Unix(path) => Ok(Box::new(connect_unix(path, deadline)?)),
        }
    }
}

fn connect_tcp(host: &str, port: u16, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The time limit for sending is one for connecting too, which waits while the service's backlog is full.
fn connect_unix(path: &Path, deadline: Instant) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(left(deadline)?))?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket.into())
}

/// A connection whose reads and writes can be limited in time.
trait Stream: Read + Write {
    fn limit_reads(&self, limit: Duration) -> io::Result<()>;
    fn limit_writes(&self, limit: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn limit_reads(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }

    fn limit_writes(&self, limit: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(limit))
    }
}

impl Stream for UnixStream {
    fn limit_reads(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }

    fn limit_writes(&self, limit: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(limit))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Network { authority, .. } => write!(f, "http://{authority}{}", self.path),
            Place::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// Time left; an error once there is none, as a timeout of zero means none.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Reads to the end of the connection. Each read has the time that is left, so a peer that drips bytes gains none.
fn receive(stream: &mut dyn Stream, deadline: Instant) -> io::Result<Vec<u8>> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 8 << 10]);
    loop {
        stream.limit_reads(left(deadline)?)?;
        match stream.read(&mut piece) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        }
        if bytes.len() as u64 > MAX_ANSWER_BYTES {
            return Err(invalid("the answer is longer than a service's"));
        }
    }
}

fn parse(bytes: &[u8]) -> io::Result<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, body) = bytes.split_at(end.ok_or_else(|| invalid("the answer is no HTTP"))?);
    let status = head.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    let status = status.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    let status = status.ok_or_else(|| invalid("the answer is no HTTP"))?;
    Ok(Answer { status, body: body[4..].to_vec() })
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, u16, String) {
        let url = Url::parse(text).unwrap();
        let Place::Network { host, port, .. } = url.place else { panic!("{text} is no socket") };
        (host, port, url.path)
    }

    #[test]
    fn a_service_is_asked_where_it_listens() {
        for (listen, url) in [
            ("127.0.0.1:81", "http://127.0.0.1:81"),
            ("0.0.0.0:81", "http://127.0.0.1:81"),
            ("[::]:81", "http://[::1]:81"),
        ] {
            let of = Url::of(&Listen::Tcp(listen.parse().unwrap())).unwrap();
            assert_eq!((of.to_string().as_str(), &of), (url, &Url::parse(url).unwrap()));
        }
        let unix = Url::of(&Listen::Unix("/run/x".into())).unwrap();
        assert_eq!((unix.to_string().as_str(), &unix), ("unix:/run/x", &Url::parse("unix:/run/x").unwrap()));
        assert_eq!(Url::of(&Listen::default()), None);
    }

    #[test]
    fn urls_are_taken_apart() {
        assert_eq!(parts("http://127.0.0.1:8081"), ("127.0.0.1".into(), 8081, String::new()));
        assert_eq!(parts("http://farm.example/zen5/"), ("farm.example".into(), 80, "/zen5".into()));
        assert_eq!(parts("http://[::1]:81/"), ("::1".into(), 81, String::new()));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "127.0.0.1:8081",
            "https://h",
            "unix:",
            "unix:x",
            "http://",
            "http://:80",
            "http://h:x",
            "http://h:99999",
            "http://[::1",
            "http://[::1]x",
            "http://a b",
            "http://u@h",
            "http://h/?q",
            "http://h/\r\nX: y",
        ] {
            assert_eq!(Url::parse(text), Err(UrlError), "{text}");
        }
    }

    #[test]
    fn an_answer_is_a_status_and_a_body() {
        let answer = parse(b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nbody").unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (503, &b"body"[..]));
        for bytes in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"SSH-2.0\r\n\r\n", b"HTTP/1.1 2\r\n\r\n"] {
            assert_eq!(parse(bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
    }
}
