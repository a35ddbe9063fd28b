//! The Debian package: what it holds, and that the service starts from what it installs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use webrunner_tests::executables;
use webrunner_tests::jobs::good_job_is_right;
use webrunner_tests::service::Launch;
use webrunner_tests::systemd::has;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Output of a program that must succeed.
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("UTF-8")
}

/// Builds the package, unpacks it into a folder, and its scripts into `DEBIAN` there.
fn unpacked() -> Option<TempDir> {
    let has_cargo_deb = Command::new(env!("CARGO")).args(["deb", "--version"]).output();
    if !has_cargo_deb.is_ok_and(|output| output.status.success()) {
        println!("skipped: cargo-deb is not installed (cargo install --locked cargo-deb)");
        return None;
    }
    if !has("dpkg-deb", "dpkg") {
        return None;
    }
    let built = executables::get().supervisor.parent().expect("a folder");
    if !built.ends_with("release") {
        println!("skipped: a package holds executables of the release profile, and this is another");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let package = folder.path().join("webrunner.deb");
    run(Command::new(repository().join(".ci/run")).arg("package").env("WEBRUNNER_PACKAGE", &package));
    let root = folder.path().join("root");
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&root));
    run(Command::new("dpkg-deb").arg("--control").arg(&package).arg(root.join("DEBIAN")));
    Some(folder)
}

#[test]
fn what_a_package_installs_serves() {
    let Some(folder) = unpacked() else { return };
    let root = folder.path().join("root");
    let read = |path: &str| {
        fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    assert!(read("usr/share/man/man1/webrunner.1.gz".trim_end_matches(".gz")).contains("webrunner"));
    let _ = read;
}
