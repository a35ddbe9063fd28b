//! A line that says how far a command has come: for people who wait, never for pipes.
//!
//! It is shown on standard error alone, only if that is a terminal, only once a command has taken longer than anybody
//! would notice, and it is gone when the command has ended. So standard output and whatever a script captures stay as
//! they are.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How long a command may take before anything is shown.
const PATIENCE: Duration = Duration::from_millis(500);

/// Longest line shown, in characters, so that it never wraps.
const MAX_CHARS: usize = 78;

/// The line; taken away when dropped.
#[derive(Debug)]
pub struct Progress {
    is_terminal: bool,
    begun: Instant,
    shown: bool,
}

impl Progress {
    /// Begins to wait; shows nothing yet.
    #[must_use]
    pub fn start() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), begun: Instant::now(), shown: false }
    }

    /// Shows `text` in place of what was shown, if it is time to show anything.
    pub fn say(&mut self, text: &str) {
        if self.is_terminal && self.begun.elapsed() >= PATIENCE {
            self.shown = true;
            replace(text);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            replace("");
        }
    }
}

/// Writes over the line the cursor is on. A terminal that has gone away is no reason to end.
fn replace(text: &str) {
    let _ = io::stderr().write_all(line(text).as_bytes());
}

/// Start of line, erase to its end (ECMA-48 EL), and the text without anything a terminal would obey.
fn line(text: &str) -> String {
    let plain: String = text.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect();
    format!("\r\u{1b}[K{plain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_and_obeys_nothing() {
        assert_eq!(line("chain\u{1b}[2J\n 3 of 8"), "\r\u{1b}[Kchain[2J 3 of 8");
        assert_eq!(line(&"x".repeat(200)).len(), 4 + MAX_CHARS);
    }

    #[test]
    fn nothing_is_shown_where_nobody_looks() {
        let begun = Instant::now().checked_sub(2 * PATIENCE).unwrap();
        let mut piped = Progress { is_terminal: false, begun, shown: false };
        piped.say("unseen");
        assert!(!piped.shown);
    }
}
