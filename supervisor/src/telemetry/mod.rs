//! Logs: what happens, through `tracing`, and a line for each request.
//!
//! People read text on a terminal, programs read JSON, the journal takes fields. None of them ever holds a body, a query
//! or a header of a client's. A log that cannot be opened or written stops the start; later on a line that cannot be
//! written is lost, because a full disk must not stop the service.

mod access;
mod request;

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

pub use self::access::{Access, AccessLog};
pub use self::request::{Job, RequestLine};
use crate::settings::{LogFormat, Values};
use crate::systemd;

/// Begins the names of this program's fields in the journal.
const JOURNAL_PREFIX: &str = "WEBRUNNER";

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

/// Sends what the program has to say where the settings want it.
///
/// # Errors
/// If that place cannot be used.
pub fn init(values: &Values) -> Result<(), LogError> {
    let failure: Failure = Arc::default();
    let layer = match &values.error_log {
        Some(path) => {
            let file = append(path).map_err(|source| LogError::Open { path: path.clone(), source })?;
            let to_journal = values.log_format == LogFormat::Journal;
            if to_journal { journal()? } else { to_file(file, values.log_format, &failure) }
        }
        None => match (values.log_format, systemd::logs_to_journal()) {
            (LogFormat::Journal, _) => journal()?,
            // What goes to standard error reaches the journal as well, only without fields.
            (LogFormat::Auto, true) => journal().unwrap_or_else(|_| to_stderr(LogFormat::Auto)),
            (format, _) => to_stderr(format),
        },
    };
    // actix tells of each thread it starts, which is of no use to an operator, and at length of each client that speaks no
    // HTTP, who could fill a disk with that.
    let filter = EnvFilter::new(format!("actix_server=warn,actix_http=off,{}", values.log_filter));
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting");
    match (&values.error_log, failure.get()) {
        (Some(path), Some(kind)) => Err(LogError::Write { path: path.clone(), source: (*kind).into() }),
        _ => Ok(()),
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
    let layer = tracing_journald::layer().map_err(LogError::Journal)?;
    let prefix = Some(JOURNAL_PREFIX.to_owned());
    Ok(layer.with_field_prefix(prefix).with_syslog_identifier("webrunner".to_owned()).boxed())
}

fn to_stderr(format: LogFormat) -> Boxed {
    let is_terminal = io::stderr().is_terminal();
    lines(format == LogFormat::Human || (format == LogFormat::Auto && is_terminal), is_terminal, io::stderr)
}

fn to_file(file: File, format: LogFormat, failure: &Failure) -> Boxed {
    lines(format == LogFormat::Human, false, Mutex::new(LogFile { file, failure: Arc::clone(failure) }))
}

/// Lines of text or of JSON. Their own errors are not reported: tracing would do so on standard error, and panic where
/// that cannot be written either.
fn lines(human: bool, colours: bool, writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) -> Boxed {
    let layer = fmt::layer().with_target(false).log_internal_errors(false).with_writer(writer);
    if human { layer.with_ansi(colours).boxed() } else { layer.json().flatten_event(true).boxed() }
}

/// The first error of a write, if there was one.
type Failure = Arc<OnceLock<io::ErrorKind>>;

/// A log file that remembers whether it could be written.
struct LogFile {
    file: File,
    failure: Failure,
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).inspect_err(|error| {
            let _ = self.failure.set(error.kind());
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
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
