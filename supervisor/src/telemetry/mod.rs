//! Logs: what happens, through `tracing`, and a line for each request.
//!
//! People read text on a terminal, programs read JSON, the journal takes fields. None of them ever holds a body, a query
//! or a header of a client's. A log that cannot be opened or written stops the start; later on a line that cannot be
//! written is lost, because a full disk must not stop the service.
//!
//! # Layout
//!
//! - `request`: the line for each request; `access`: the same for the access log.
//! - `lines`: when and where lines are written; `journal`: the same as fields of the journal.

mod access;
mod journal;
mod lines;
mod request;

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

pub use self::access::{Access, AccessLog};
use self::journal::Journal;
use self::lines::Lines;
pub use self::request::{Job, RequestLine};
use crate::settings::{LogFormat, Values};
use crate::systemd;

/// Why there can be no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened.
    #[error("cannot open the error log {}; choose another with --error-log", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the error log {}; make room or choose another with --error-log", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no journal.
    #[error("cannot reach the journal; choose another form with --log-format")]
    Journal(#[source] io::Error),
}

/// The log in force. When it is dropped what waits is written, and later lines are at once.
#[derive(Debug)]
#[must_use]
pub struct Log {
    lines: Lines,
    /// The file, if there is one.
    path: Option<PathBuf>,
}

/// Sends what the program has to say where the settings want it.
///
/// # Errors
/// If that place cannot be opened.
pub fn init(values: &Values) -> Result<Log, LogError> {
    let path = values.error_log.clone();
    let open = |path: &PathBuf| append(path).map_err(|source| LogError::Open { path: path.clone(), source });
    let lines = Lines::to(path.as_ref().map(open).transpose()?);
    let layer = match (values.log_format, &path) {
        (LogFormat::Journal, _) => journal()?,
        (format, Some(_)) => to_lines(format == LogFormat::Human, false, &lines),
        // What goes to standard error reaches the journal as well, only without fields.
        (LogFormat::Auto, None) if systemd::logs_to_journal() => {
            journal().unwrap_or_else(|_| to_stderr(LogFormat::Auto, &lines))
        }
        (format, None) => to_stderr(format, &lines),
    };
    // actix tells of each thread it starts, which is of no use to an operator, and at length of each client that speaks no
    // HTTP, who could fill a disk with that.
    let filter = EnvFilter::new(format!("actix_server=warn,actix_http=off,{}", values.log_filter));
    tracing_subscriber::registry().with(layer).with(filter).init();
    Ok(Log { lines, path })
}

impl Log {
    /// Says that the service starts.
    ///
    /// # Errors
    /// If the log's file cannot be written. Of standard error that is not asked: there may be nobody to read it.
    pub fn begin(&self) -> Result<(), LogError> {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting");
        match (&self.path, self.lines.failure()) {
            (Some(path), Some(kind)) => Err(LogError::Write { path: path.clone(), source: kind.into() }),
            _ => Ok(()),
        }
    }

    /// What writes the lines of requests, for ever, to be run beside the requests. Without it each is written at once.
    pub fn write_waiting(&self) -> impl Future<Output = ()> + Send + 'static {
        let lines = self.lines.clone();
        async move { lines.write_waiting().await }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.lines.end_waiting();
    }
}

/// Whether a filter says what was meant: a lone word that is no level would be taken for the name of a part.
#[must_use]
pub fn is_filter(text: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let sane = |directive: &str| directive.contains('=') || LEVELS.contains(&directive);
    text.split(',').all(sane) && EnvFilter::try_new(text).is_ok()
}

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

fn journal() -> Result<Boxed, LogError> {
    Ok(Journal::open().map_err(LogError::Journal)?.boxed())
}

fn to_stderr(format: LogFormat, lines: &Lines) -> Boxed {
    let is_terminal = io::stderr().is_terminal();
    to_lines(format == LogFormat::Human || (format == LogFormat::Auto && is_terminal), is_terminal, lines)
}

/// Lines of text or of JSON. Their own errors are not reported: tracing would do so on standard error, and panic where
/// that cannot be written either.
fn to_lines(human: bool, colours: bool, lines: &Lines) -> Boxed {
    let layer = fmt::layer().with_target(false).log_internal_errors(false).with_writer(lines.clone());
    if human { layer.with_ansi(colours).boxed() } else { layer.json().flatten_event(true).boxed() }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_levels_and_directives() {
        for right in ["info", "off", "warn,request=off", "debug,webrunner::pool=trace"] {
            assert!(is_filter(right), "{right}");
        }
        for wrong in ["", "inof", "info,", "request=loud"] {
            assert!(!is_filter(wrong), "{wrong}");
        }
    }
}
