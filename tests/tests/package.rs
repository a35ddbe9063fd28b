//! The Debian package: what it holds, and that the service starts from what it installs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use webrunner_tests::executables;
use webrunner_tests::jobs::good_job_is_right;
use webrunner_tests::service::Launch;
use webrunner_tests::systemd::has;

/// Standard output of a program that must succeed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Builds the package and unpacks it: a folder with `webrunner.deb` and what it installs under `root`.
fn unpacked() -> Option<TempDir> {
    let cargo_deb = Command::new(env!("CARGO")).args(["deb", "--version"]).output();
    if !cargo_deb.is_ok_and(|output| output.status.success()) {
        println!("skipped: cargo-deb is not installed (cargo install --locked cargo-deb)");
        return None;
    }
    if !has("dpkg-deb", "dpkg") {
        return None;
    }
    if !executables::get().supervisor.parent().is_some_and(|folder| folder.ends_with("release")) {
        println!("skipped: a package holds executables of the release profile, and this is another");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let package = folder.path().join("webrunner.deb");
    let ci = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/run");
    run(Command::new(ci).arg("package").env("PACKAGE", &package));
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(folder.path().join("root")));
    Some(folder)
}

/// The words of the unit's command, its executable looked up in the scratch root.
fn command(root: &Path, unit: &str) -> (PathBuf, Vec<String>) {
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/")).expect("a command");
    let mut words = line.split(' ').map(str::to_owned);
    (root.join(words.next().expect("a program")), words.collect())
}

#[test]
fn what_a_package_installs_is_complete_and_serves() {
    let Some(folder) = unpacked() else { return };
    let root = folder.path().join("root");
    let read =
        |path: &str| fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));

    // The configuration is an operator's file from then on, and sets nothing by itself.
    let conffiles = Command::new("dpkg-deb")
        .arg("--info")
        .arg(folder.path().join("webrunner.deb"))
        .arg("conffiles")
        .output();
    assert_eq!(
        String::from_utf8_lossy(&conffiles.expect("dpkg-deb").stdout).trim(),
        "/etc/webrunner/webrunner.toml"
    );
    let configuration = root.join("etc/webrunner/webrunner.toml");
    let (program, words) = command(&root, &read("usr/lib/systemd/system/webrunner.service"));
    let shown = Launch::executable(&program, ["config", "--config", &configuration.to_string_lossy()]).run();
    assert_eq!(shown.code, Some(0), "{shown:?}");
    // The harness itself says how to log, in the environment.
    let mut lines = shown.stdout.lines().filter(|line| !line.starts_with("log-"));
    assert!(lines.all(|line| line.contains("# default") || line.contains("# not set")), "{shown:?}");

    for (file, words) in [
        ("usr/lib/systemd/system/webrunner.socket", "ListenStream=127.0.0.1:8081"),
        ("usr/share/bash-completion/completions/webrunner", "--queue-size"),
        ("usr/share/zsh/vendor-completions/_webrunner", "--queue-size"),
        ("usr/share/fish/vendor_completions.d/webrunner.fish", "queue-size"),
    ] {
        assert!(read(file).contains(words), "{file} has no {words}");
    }
    let manual =
        run(Command::new("gzip").arg("-dc").arg(root.join("usr/share/man/man1/webrunner-serve.1.gz")));
    assert!(manual.contains("queue") && manual.contains(".TH"), "{manual}");

    // As the unit starts it, but for the port, and for the file that lies in the scratch root.
    let words = words.iter().map(String::as_str).chain(["--listen", "127.0.0.1:0"]);
    let launch = Launch::executable(&program, words);
    let service = launch.with_variable("WEBRUNNER_CONFIG", &configuration.to_string_lossy()).start();
    good_job_is_right(&service);
}
