//! Runs a part of a test in a process of its own: a filter cannot be taken off again, and a refused call ends the process.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use webrunner_worker::sys;

/// Tells this program, started again, which test it is to do its part of.
const PART: &str = "WEBRUNNER_TEST_PART";

/// Exit code of a part that did all it was to do; one that no panic and no empty run of tests gives.
const DONE: i32 = 42;

/// How a part ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It ran to its end and found what it was to find.
    Done,
    /// The filter refused a call.
    Refused,
    /// Something else.
    Other(ExitStatus, String),
}

/// Does `part` in a new process, on its only thread that matters, and tells how that ended. `test` is the calling
/// test's path.
///
/// `part` may not return into the standard library once it has locked itself, so it gives whether all was well, and the
/// process exits at once.
pub(crate) fn alone(test: &str, part: fn() -> bool) -> End {
    if std::env::var_os(PART).is_some_and(|wanted| wanted == test) {
        forbid_core_files();
        sys::exit(if part() { DONE } else { 1 });
    }
    let own = std::env::current_exe().expect("a test program has a path");
    let output = Command::new(own)
        .args([test, "--exact", "--test-threads=1", "--nocapture"])
        .env(PART, test)
        .output()
        .expect("a test program can be started");
    match (output.status.code(), output.status.signal()) {
        (Some(DONE), _) => End::Done,
        (_, Some(libc::SIGSYS)) => End::Refused,
        _ => End::Other(output.status, String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn forbid_core_files() {
    nix::sys::prctl::set_dumpable(false).expect("a process may forbid its own dumps");
}
