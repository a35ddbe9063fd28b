//! systemd's side of its protocols, played by the tests: the socket that hears a service's notifications.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::wait;

/// Hears what a service tells its manager.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
    heard: Vec<String>,
}

impl Manager {
    /// A manager that nobody has told anything.
    ///
    /// # Panics
    /// If there can be no socket.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(5))).expect("a limit");
        Self { socket, folder, heard: Vec::new() }
    }

    /// What `NOTIFY_SOCKET` must be.
    #[must_use]
    pub fn address(&self) -> String {
        self.folder.path().join("notify").to_string_lossy().into_owned()
    }

    /// All that was heard so far, in order, a line each.
    pub fn heard(&mut self) -> &[String] {
        let mut message = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut message) {
            let text = String::from_utf8_lossy(&message[..length]).into_owned();
            self.heard.extend(text.lines().map(str::to_owned));
        }
        &self.heard
    }

    /// Forgets what was heard.
    pub fn forget(&mut self) {
        self.heard();
        self.heard.clear();
    }

    /// Waits until a line was heard.
    ///
    /// # Panics
    /// If it never is.
    pub fn hears(&mut self, line: &str) {
        wait::until(&format!("{line} is heard"), || self.heard().iter().any(|heard| heard == line));
    }
}

impl Default for Manager {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a program of systemd (or another) is there; says so if it is not.
#[must_use]
pub fn has(program: &str, package: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        println!("skipped: {program} is not installed (package {package})");
    }
    found.is_ok()
}
