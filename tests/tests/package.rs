//! The Debian package: what it holds, that the service starts from what it installs, and what it tells systemd.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

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

/// The package; built once.
fn package() -> Option<&'static Path> {
    static PACKAGE: OnceLock<Option<PathBuf>> = OnceLock::new();
    PACKAGE.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
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
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("webrunner.deb");
    let ci = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.ci/run");
    run(Command::new(ci).arg("package").env("PACKAGE", &package));
    Some(package)
}

/// A scratch root with its own list of packages, and a `systemctl` that only notes what it is told.
struct Host {
    folder: TempDir,
    has_systemd: bool,
}

impl Host {
    fn new(has_systemd: bool) -> Self {
        let host = Self { folder: tempfile::tempdir().expect("a folder"), has_systemd };
        for folder in ["bin", "root/var/lib/dpkg/info", "root/var/lib/dpkg/updates"] {
            fs::create_dir_all(host.path(folder)).expect("a folder");
        }
        fs::write(host.path("root/var/lib/dpkg/status"), "").expect("a file");
        let stub = host.path("bin/systemctl");
        fs::write(&stub, "#!/bin/sh\necho \"$*\" >>\"$CALLS\"\n").expect("a file");
        fs::set_permissions(&stub, Permissions::from_mode(0o755)).expect("permissions");
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What `systemctl` is told while dpkg does something. In namespaces of its own: the scripts look into `/run`, and only
    /// the owner of files may give them to root.
    fn dpkg<const N: usize>(&self, arguments: [&Path; N]) -> Vec<String> {
        let calls = self.path("calls");
        fs::write(&calls, "").expect("a file");
        let path = std::env::var("PATH").expect("a search path");
        let script = "mount -t tmpfs none /run && $MAKE && root=$1 && shift && \
                      exec dpkg --root=\"$root\" --log=/dev/null --force-script-chrootless \"$@\"";
        let make = if self.has_systemd { "mkdir -p /run/systemd/system" } else { "true" };
        run(Command::new("unshare")
            .args(NAMESPACES)
            .args(["sh", "-c", script, "sh"])
            .arg(self.path("root"))
            .args(arguments)
            .env("CALLS", &calls)
            .env("MAKE", make)
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .stdin(Stdio::null()));
        fs::read_to_string(&calls).expect("calls").lines().map(str::to_owned).collect()
    }
}

const NAMESPACES: [&str; 3] = ["--user", "--map-root-user", "--mount"];

#[test]
fn systemd_is_told_what_an_operator_would_want_it_to_know() {
    let Some(package) = package() else { return };
    let allowed = Command::new("unshare").args(NAMESPACES).arg("true").stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("skipped: this host allows no mount namespace");
        return;
    }
    let (install, name) = (["--install".as_ref(), package], Path::new("webrunner"));
    let (remove, purge) = (["--remove".as_ref(), name], ["--purge".as_ref(), name]);
    let (reads, starts) = ("daemon-reload", "enable --now webrunner.socket webrunner.service");
    let (restarts, stops) =
        ("try-restart webrunner.service", "disable --now webrunner.service webrunner.socket");

    let host = Host::new(true);
    assert_eq!(host.dpkg(install), [reads, starts]);
    let configuration = host.path("root/etc/webrunner/webrunner.toml");
    assert!(configuration.exists() && host.path("root/usr/bin/webrunner").exists());
    assert_eq!(host.dpkg(install), [reads, restarts], "an upgrade starts nothing that an operator stopped");
    assert_eq!(host.dpkg(remove), [stops, reads]);
    assert!(configuration.exists() && !host.path("root/usr/bin/webrunner").exists());
    assert_eq!(host.dpkg(install), [reads, starts], "what was removed is installed anew");
    assert_eq!(host.dpkg(purge), [stops, reads]);
    assert!(!configuration.exists() && !host.path("root/etc/webrunner").exists());

    // In a container, or while an image is made.
    let host = Host::new(false);
    for act in [install, install, remove, purge] {
        assert!(host.dpkg(act).is_empty());
    }
}

/// The words of the unit's command, its executable looked up in the scratch root.
fn command(root: &Path, unit: &str) -> (PathBuf, Vec<String>) {
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/")).expect("a command");
    let mut words = line.split(' ').map(str::to_owned);
    (root.join(words.next().expect("a program")), words.collect())
}

#[test]
fn what_a_package_installs_is_complete_and_serves() {
    let Some(package) = package() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    run(Command::new("dpkg-deb").arg("--extract").args([package, &root]));
    let read =
        |path: &str| fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));

    // The configuration is an operator's file from then on, and sets nothing by itself.
    let conffiles = Command::new("dpkg-deb").arg("--info").arg(package).arg("conffiles").output();
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
