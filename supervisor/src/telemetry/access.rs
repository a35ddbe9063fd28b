//! The access log: one line of `name=value` pairs for each request, if an operator wants that.
//!
//! It never holds a query or a body. Text from clients is escaped, so that a line is a line.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{RequestLine, append};

/// Longest path written to the access log, in characters.
const MAX_PATH: usize = 256;

/// One line for each request.
pub struct AccessLog {
    // Each line is one write, so lines of several processes do not mix.
    out: RefCell<Box<dyn Write + Send>>,
    /// Whether the last line could not be written.
    failing: Cell<bool>,
}

/// What a line tells.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// Id of the request.
    pub id: &'a str,
    /// Who asked.
    pub peer: Option<std::net::SocketAddr>,
    /// Method.
    pub method: &'a str,
    /// Path without the query.
    pub path: &'a str,
    /// Status of the answer, if there was one.
    pub status: Option<u16>,
    /// The client whose token it brought.
    pub client: Option<&'a str>,
    /// Kernel, if the request named one that there is.
    pub kernel: Option<&'a str>,
    /// `ok`, the slug of the problem, or `cancelled`.
    pub outcome: &'a str,
    /// Time from the request's head to its answer.
    pub took: Duration,
    /// Time the job waited for a worker, and time the worker had it.
    pub job: Option<(Duration, Duration)>,
}

impl<'a> From<&RequestLine<'a>> for Access<'a> {
    fn from(line: &RequestLine<'a>) -> Self {
        let RequestLine { id, peer, method, path, status, client, outcome, took, job, .. } = *line;
        let kernel = job.map(|job| job.kernel);
        Self {
            id,
            peer,
            method,
            path,
            status,
            client,
            kernel,
            outcome,
            took,
            job: job.and_then(|job| job.times),
        }
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").finish_non_exhaustive()
    }
}

impl AccessLog {
    /// Appends to a file; `-` is standard output.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let out: Box<dyn Write + Send> =
            if path == Path::new("-") { Box::new(io::stdout()) } else { Box::new(append(path)?) };
        Ok(Self::to(out))
    }

    fn to(out: Box<dyn Write + Send>) -> Self {
        Self { out: RefCell::new(out), failing: Cell::new(false) }
    }

    /// Writes one line. A line that cannot be written is lost, which the log says once: a full disk must not stop the
    /// service.
    pub fn write(&self, access: &Access<'_>) {
        let line = access.to_string();
        let mut out = self.out.borrow_mut();
        match out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => self.failing.set(false),
            Err(error) if !self.failing.replace(true) => {
                tracing::error!(%error, "the access log cannot be written; its lines are lost until there is room");
            }
            Err(_) => {}
        }
    }
}

impl fmt::Display for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        write!(f, "time={}.{:03} id={} peer=", now.as_secs(), now.subsec_millis(), self.id)?;
        match self.peer {
            Some(peer) => write!(f, "{peer}")?,
            None => f.write_str("-")?,
        }
        if let Some(client) = self.client {
            write!(f, " client={client}")?;
        }
        write!(f, " method={} path=\"", self.method)?;
        for c in self.path.chars().take(MAX_PATH) {
            if c == '"' { f.write_str("\\\"")? } else { write!(f, "{}", c.escape_debug())? }
        }
        match self.status {
            Some(status) => write!(f, "\" status={status}")?,
            None => f.write_str("\" status=-")?,
        }
        write!(f, " kernel={}", self.kernel.unwrap_or("-"))?;
        write!(f, " outcome={} took_us={}", self.outcome, self.took.as_micros())?;
        if let Some((queued, ran)) = self.job {
            write!(f, " queue_us={} run_us={}", queued.as_micros(), ran.as_micros())?;
        }
        f.write_str("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_line_whatever_its_path() {
        let access = Access {
            id: "17",
            peer: None,
            client: Some("farm"),
            method: "POST",
            path: "/a\nb\"c/run",
            status: Some(200),
            kernel: Some("blis.sdot"),
            outcome: "ok",
            took: Duration::from_micros(120),
            job: Some((Duration::from_micros(3), Duration::from_micros(90))),
        };
        let line = access.to_string();
        let tail = line.split_once(" id=").unwrap().1;
        assert_eq!(
            tail,
            "17 peer=- client=farm method=POST path=\"/a\\nb\\\"c/run\" status=200 kernel=blis.sdot outcome=ok took_us=120 \
             queue_us=3 run_us=90\n"
        );
    }

    #[test]
    fn lines_are_appended_to_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access");
        std::fs::write(&path, "before\n").unwrap();
        let access = Access {
            id: "1",
            peer: None,
            client: None,
            method: "GET",
            path: "/",
            status: Some(404),
            kernel: None,
            outcome: "not-found",
            took: Duration::ZERO,
            job: None,
        };
        AccessLog::open(&path).unwrap().write(&access);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("before\ntime=") && text.ends_with("outcome=not-found took_us=0\n"),
            "{text}"
        );
    }
}
