//! Where lines of the log go, and when: a file or standard error.
//!
//! A line for each request would be a system call for each request, on the one thread that serves. So those lines wait
//! for a moment ([`REST`]) and go together, once [`Lines::write_waiting`] is there to write them. Any other line is
//! written at once, with all that waits before it: lines stay in order, and what matters is never held back. Whoever
//! ends the program writes what waits; a process that is killed loses the lines of its last moment.
//!
//! Nothing is thrown away because it is much: beyond [`MOST_WAITING`] the writer waits for the log as it would without.
//! What cannot be written is lost, because a full disk must not stop the service; how much that was is said once there is
//! room again.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::request;

/// How long the line of a request may wait.
const REST: Duration = Duration::from_millis(10);

/// Most bytes that wait.
const MOST_WAITING: usize = 64 << 10;

/// The log's lines; every copy writes to the same place.
#[derive(Debug, Clone)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told when a line begins to wait.
    waits: Notify,
}

#[derive(Debug)]
struct State {
    /// The file; standard error if there is none.
    file: Option<File>,
    waiting: Vec<u8>,
    /// Whether somebody writes what waits.
    is_deferring: bool,
    /// The first error of a write, if there was one.
    failure: Option<io::ErrorKind>,
    /// Lines lost since the last that was written, and why the last of them was.
    lost: Option<Lost>,
}

#[derive(Debug)]
struct Lost {
    lines: usize,
    error: io::Error,
}

impl Lines {
    /// Writes to a file, or to standard error.
    pub(super) fn to(file: Option<File>) -> Self {
        let state = State { file, waiting: Vec::new(), is_deferring: false, failure: None, lost: None };
        Self(Arc::new(Shared { state: Mutex::new(state), waits: Notify::new() }))
    }

    /// Takes a line, or several.
    fn take(&self, line: &[u8], may_wait: bool) {
        let mut state = self.state();
        let is_first = state.waiting.is_empty();
        state.waiting.extend_from_slice(line);
        if !(may_wait && state.is_deferring) || state.waiting.len() > MOST_WAITING {
            write(state);
        } else if is_first {
            self.0.waits.notify_one();
        }
    }

    /// Writes what waits, for ever, never long after it came.
    pub(super) async fn write_waiting(&self) {
        self.state().is_deferring = true;
        loop {
            self.0.waits.notified().await;
            tokio::time::sleep(REST).await;
            write(self.state());
        }
    }

    /// Writes what waits. From now on nothing does.
    pub(super) fn end_waiting(&self) {
        let mut state = self.state();
        state.is_deferring = false;
        write(state);
    }

    /// The first error of a write, if there was one.
    pub(super) fn failure(&self) -> Option<io::ErrorKind> {
        self.state().failure
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic in here leaves whole lines.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what waits, and tells of what was lost before.
fn write(mut state: MutexGuard<'_, State>) {
    let regained = state.write();
    // What is said now is a line too.
    drop(state);
    if let Some(Lost { lines, error }) = regained {
        tracing::warn!(lines, %error, "lines of this log were lost; it can be written again");
    }
}

impl State {
    /// Writes what waits; gives what was lost before, if this was not.
    fn write(&mut self) -> Option<Lost> {
        if self.waiting.is_empty() {
            return None;
        }
        let written = match &mut self.file {
            Some(file) => file.write_all(&self.waiting),
            None => io::stderr().write_all(&self.waiting),
        };
        let lines = self.waiting.iter().filter(|&&byte| byte == b'\n').count();
        self.waiting.clear();
        self.waiting.shrink_to(MOST_WAITING);
        let Err(error) = written else { return self.lost.take() };
        self.failure.get_or_insert(error.kind());
        let before = self.lost.as_ref().map_or(0, |lost| lost.lines);
        self.lost = Some(Lost { lines: before + lines, error });
        None
    }
}

/// Whether lines of this kind may wait.
fn may_wait(metadata: &Metadata<'_>) -> bool {
    metadata.target() == request::TARGET
}

/// Takes one line from the layer that formats it.
#[derive(Debug)]
pub(super) struct LineWriter<'a> {
    lines: &'a Lines,
    may_wait: bool,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter { lines: self, may_wait: false }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LineWriter<'a> {
        LineWriter { lines: self, may_wait: may_wait(metadata) }
    }
}

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.take(line, self.may_wait);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn lines(is_deferring: bool) -> (tempfile::TempDir, PathBuf, Lines) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let lines = Lines::to(Some(File::create(&path).unwrap()));
        lines.state().is_deferring = is_deferring;
        (folder, path, lines)
    }

    #[test]
    fn lines_that_may_wait_stay_in_front_of_those_that_may_not() {
        let (_folder, path, lines) = lines(true);
        lines.take(b"one\n", true);
        lines.take(b"two\n", true);
        assert_eq!(fs::read(&path).unwrap(), b"");
        lines.take(b"three\n", false);
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\nthree\n");
        lines.take(b"four\n", true);
        lines.end_waiting();
        assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\nthree\nfour\n");
        lines.take(b"five\n", true);
        assert!(fs::read(&path).unwrap().ends_with(b"five\n"), "nobody would write it");
    }

    #[test]
    fn nothing_waits_while_nobody_writes_what_does() {
        let (_folder, path, lines) = lines(false);
        lines.take(b"one\n", true);
        assert_eq!(fs::read(&path).unwrap(), b"one\n");
    }

    #[test]
    fn what_waits_is_bounded() {
        let (_folder, path, lines) = lines(true);
        let line = vec![b'x'; MOST_WAITING / 2];
        for _ in 0..5 {
            lines.take(&line, true);
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), 3 * line.len() as u64);
        assert!(lines.state().waiting.capacity() <= 3 * line.len());
    }

    #[test]
    fn what_cannot_be_written_is_lost_and_known() {
        let (_folder, path, lines) = lines(true);
        lines.state().file = Some(File::open(&path).unwrap());
        lines.take(b"one\n", false);
        lines.take(b"two\nthree\n", false);
        assert!(lines.failure().is_some() && lines.state().waiting.is_empty());
        assert_eq!(lines.state().lost.as_ref().map(|lost| lost.lines), Some(3));
        lines.state().file = Some(File::create(&path).unwrap());
        lines.take(b"four\n", false);
        assert!(lines.state().lost.is_none());
    }
}
