//! The executables under test: built by cargo once per test program, in the profile of the test itself.
//!
//! Cargo holds no lock while it runs tests, so calling it from one is safe; when everything is up to date, as after
//! `cargo test --workspace`, the call takes a fraction of a second.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// Where the executables are.
#[derive(Debug, Clone)]
pub struct Executables {
    /// `webrunner`.
    pub supervisor: PathBuf,
    /// `webrunner-worker`.
    pub worker: PathBuf,
    /// The worker that leaves its lock off.
    pub unlocked: PathBuf,
    /// The worker that leaves off its filter alone.
    pub unfiltered: PathBuf,
}

/// The executables, built at the first call.
///
/// # Panics
/// If they cannot be built.
pub fn get() -> &'static Executables {
    static BUILT: OnceLock<Executables> = OnceLock::new();
    BUILT.get_or_init(build)
}

fn build() -> Executables {
    let profile = profile();
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--message-format", "json", "--profile", &profile])
        .args(["--package", "webrunner", "--package", "webrunner-worker", "--bins"])
        .args(["--example", "unlocked", "--example", "unfiltered"])
        .output()
        .expect("cargo can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the executables cannot be built: {errors}");
    let messages = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    Executables {
        supervisor: executable(&messages, "webrunner"),
        worker: executable(&messages, "webrunner-worker"),
        unlocked: executable(&messages, "unlocked"),
        unfiltered: executable(&messages, "unfiltered"),
    }
}

/// Copies a program into a folder; gives the copy.
///
/// Another process does the writing: a program that this one has open for writing could be so in a child as well, which
/// another thread starts just then, and could not be executed.
///
/// # Panics
/// If it cannot be copied.
#[must_use]
pub fn copy(program: &Path, folder: &Path) -> PathBuf {
    let copied = Command::new("cp").arg(program).arg(folder).status().expect("cp can be started");
    assert!(copied.success(), "{} cannot be copied", program.display());
    folder.join(program.file_name().expect("a program has a name"))
}

/// The profile this test was built in: the name of the folder it lies in.
fn profile() -> String {
    let own = std::env::current_exe().expect("the test knows its own executable");
    let folder = own.parent().and_then(Path::parent).and_then(Path::file_name).expect("target/PROFILE/deps");
    match folder.to_string_lossy().as_ref() {
        "debug" => "dev".to_owned(),
        other => other.to_owned(),
    }
}

/// The path that cargo's messages give for an executable.
fn executable(messages: &str, name: &str) -> PathBuf {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .unwrap_or_else(|| panic!("cargo built no {name}"))
}
