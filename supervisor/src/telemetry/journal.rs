//! The journal: each event is one datagram of fields, as journald takes them (systemd's native journal protocol).
//!
//! `journalctl -u` and `systemctl status` show `MESSAGE` alone, so that is the line a person would read on a terminal,
//! values and all. The same values are fields of their own, for programs. Values are cut, so that an entry always fits a
//! datagram. What the journal does not take is lost, as in every log.

use std::fmt::Debug;
use std::io;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::Context;

use super::request::shortened;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Whose entries these are (`journalctl -t`).
const IDENTIFIER: &str = "webrunner";

/// Begins the names of this program's own fields.
const PREFIX: &str = "WEBRUNNER_";

/// Longest value, in bytes. An event has some twenty at most, and a datagram holds some 200 KiB.
const MAX_VALUE: usize = 8 << 10;

/// Sends events to the journal.
#[derive(Debug)]
pub(super) struct Journal(UnixDatagram);

impl Journal {
    /// Finds the journal.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn open() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // Nothing is no entry, but there must be somebody to take it.
        socket.send_to(&[], SOCKET)?;
        Ok(Self(socket))
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let _ = self.0.send_to(&Entry::of(event).0, SOCKET);
    }
}

/// One entry in the form of the protocol.
struct Entry(Vec<u8>);

impl Entry {
    fn of(event: &Event<'_>) -> Self {
        let metadata = event.metadata();
        let mut entry = Self(Vec::with_capacity(1 << 10));
        entry.put("PRIORITY", priority(*metadata.level()));
        entry.put("SYSLOG_IDENTIFIER", IDENTIFIER);
        entry.put("TARGET", metadata.target());
        if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
            entry.put("CODE_FILE", file);
            entry.put("CODE_LINE", &line.to_string());
        }
        entry.put("MESSAGE", &message(event));
        event.record(&mut entry);
        entry
    }

    /// Adds a field: its name, the length of its value, the value.
    fn put(&mut self, name: &str, value: &str) {
        let value = shortened(value, MAX_VALUE);
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'\n');
        self.0.extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(b'\n');
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        // That is in the message already.
        if field.name() != "message" {
            self.put(&name(field.name()), value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// The event as it would stand on a terminal.
fn message(event: impl RecordFields) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = DefaultFields::new().format_fields(Writer::new(&mut text), event);
    text
}

/// The name of a field as the journal takes it: capitals, digits and underscores.
fn name(field: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    PREFIX.chars().chain(field.chars().map(fit)).collect()
}

/// Syslog's number for a level. `info` is its notice, so that `debug` can be its info.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "5",
        Level::DEBUG => "6",
        Level::TRACE => "7",
    }
}
