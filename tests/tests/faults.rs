//! What can be wrong with a host: each thing is one line that says what and what to do, never a panic, never a service
//! that is half there. What is wrong with words is in `starting.rs` and `configuration.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use webrunner_tests::http::{Connection, Request};
use webrunner_tests::jobs::good_job_is_right;
use webrunner_tests::processes;
use webrunner_tests::service::{Ended, Launch};
use webrunner_tests::wait;

/// Runs a service that cannot start; gives its complaint, after what the log may have said before.
fn complaint(launch: &Launch, code: i32) -> String {
    let ended = launch.run();
    assert_eq!(ended.code, Some(code), "{ended:?}");
    last_line(&ended)
}

fn last_line(ended: &Ended) -> String {
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    let last = ended.stderr.lines().last().unwrap_or_default();
    last.strip_prefix("webrunner: ").unwrap_or_else(|| panic!("no complaint: {ended:?}")).to_owned()
}

fn listen_on(path: &Path) -> Launch {
    let address = format!("unix:{}", path.display());
    Launch::command(["serve", "--listen", &address])
}

/// A script that is started as the worker.
fn fake_worker(script: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let (aside, path) = (folder.path().join("script"), folder.path().join("worker"));
    fs::write(&aside, format!("#!/bin/sh\n{script}\n")).expect("a file");
    // Made by another process, so that nobody has it open for writing when it is started.
    let copied = std::process::Command::new("cp").arg(&aside).arg(&path).status();
    assert!(copied.is_ok_and(|status| status.success()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
    (folder, path)
}

#[test]
fn a_unix_socket_is_listened_on_with_its_permissions_and_removed_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let address = format!("unix:{}", path.display());
    let launch = Launch::command(["serve", "--listen", &address, "--socket-mode", "0640"]);
    let mut service = launch.start_elsewhere();
    assert_eq!(fs::metadata(&path).expect("a socket").permissions().mode() & 0o777, 0o640);
    let mut connection = Connection::at_path(&path);
    connection.send(&Request::new("GET", "/readyz").bytes());
    assert_eq!(connection.receive().status, 200);
    service.signal(rustix::process::Signal::TERM);
    assert!(service.wait().success());
    assert!(!path.exists());
}

#[test]
fn a_socket_path_that_cannot_be_made_is_named() {
    let path = Path::new("/no/such/folder/socket");
    let expected = "cannot listen on unix:/no/such/folder/socket; choose another with --listen: No such file";
    assert!(complaint(&listen_on(path), 1).starts_with(expected));
    // Not even root writes here.
    let path = Path::new("/proc/webrunner.socket");
    let expected = "cannot listen on unix:/proc/webrunner.socket; choose another with --listen: ";
    assert!(complaint(&listen_on(path), 1).starts_with(expected));
    let long = PathBuf::from(format!("/tmp/{}", "x".repeat(200)));
    assert!(complaint(&listen_on(&long), 1).contains("choose another with --listen: "));
}

#[test]
fn a_socket_path_in_use_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let _taken = UnixListener::bind(&path).expect("a socket");
    assert!(complaint(&listen_on(&path), 1).ends_with("Address already in use (os error 98)"));
    assert!(UnixStream::connect(&path).is_ok());
    let file = folder.path().join("file");
    fs::write(&file, "mine").expect("a file");
    assert!(complaint(&listen_on(&file), 1).contains("choose another with --listen: "));
    assert_eq!(fs::read_to_string(&file).expect("a file"), "mine");
}

#[test]
fn a_full_disk_for_the_error_log_stops_the_start() {
    let line = complaint(&Launch::serve(["--error-log", "/dev/full"]), 1);
    let expected = "cannot write the error log /dev/full; make room or choose another with --error-log: ";
    assert!(line.starts_with(expected), "{line}");
}

#[test]
fn a_full_disk_for_the_access_log_costs_its_lines_and_is_said_once() {
    let service = Launch::serve(["--access-log", "/dev/full"]).start();
    for _ in 0..3 {
        assert_eq!(service.get("/livez").status, 200);
    }
    good_job_is_right(&service);
    assert_eq!(service.log().matches("the access log cannot be written").count(), 1, "{}", service.log());
}

#[test]
fn a_full_disk_for_standard_error_is_no_panic() {
    let full = ["sh", "-c", "exec \"$@\" 2>/dev/full", "sh"];
    let wrong = Launch::serve(["--deadline", "0"]).through(full).run();
    assert_eq!((wrong.code, wrong.stderr.as_str()), (Some(2), ""));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let _service =
        listen_on(&path).through(full).start_when_said("it serves", || UnixStream::connect(&path).is_ok());
    let mut connection = Connection::at_path(&path);
    connection.send(&Request::new("GET", "/livez").bytes());
    assert_eq!(connection.receive().status, 200);
}

#[test]
fn a_full_disk_for_standard_output_is_told() {
    for command in ["config", "kernels"] {
        let full = ["sh", "-c", "exec \"$@\" >/dev/full", "sh"];
        let line = complaint(&Launch::command([command]).through(full), 1);
        assert!(line.starts_with("cannot write to standard output: No space left"), "{line}");
    }
}

#[test]
fn a_worker_of_another_version_is_told_apart() {
    // The report a zygote of version 9 would send: variant 1 (unable), then its words with their length.
    let words = "webrunner-worker is version 9.9.9, webrunner is another";
    // Read first, as a real one does: what is left unread turns its end into a reset.
    let script = format!(
        "dd bs=4096 count=1 of=/dev/null 2>/dev/null; printf '\\001\\{:03o}{words}' >&0",
        words.len()
    );
    let (_folder, worker) = fake_worker(&script);
    let worker = worker.to_string_lossy();
    assert_eq!(complaint(&Launch::serve(["--worker", &worker]), 1), words);
    // One so different that it says nothing we understand.
    let (_folder, worker) =
        fake_worker("dd bs=4096 count=1 of=/dev/null 2>/dev/null; printf 'ready when you are' >&0; sleep 1");
    let worker = worker.to_string_lossy();
    let line = complaint(&Launch::serve(["--worker", &worker]), 1);
    assert!(line.contains("is it webrunner's own executable, of the same version?"), "{line}");
}

#[test]
fn what_cannot_start_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let address = format!("unix:{}", path.display());
    // The quick core's zygote comes up last; by then the socket is there.
    let (_folder, worker) = fake_worker("exit 3");
    let worker = worker.to_string_lossy();
    let ended = Launch::command(["serve", "--listen", &address, "--worker", &worker]).run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!path.exists());
}

#[test]
fn too_few_cores_are_said_and_served_all_the_same() {
    let service = Launch::serve([]).through(["taskset", "-c", "0"]).start_elsewhere();
    let log = service.log();
    let line = log.lines().find(|line| line.contains("share a core with the service"));
    assert!(line.is_some_and(|line| line.contains("WARN")), "{log}");
    assert!(!processes::children(service.id()).is_empty());
}

#[test]
fn counters_that_cannot_be_had_are_said_with_the_reason() {
    let service = Launch::serve([]).start();
    wait::until("it is ready", || service.log().contains(" ready"));
    let machine = service.get("/machine").json();
    let absent: Vec<&str> = machine["absent_counters"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|event| event["reason"].as_str())
        .collect();
    let log = service.log();
    let said = log.lines().find(|line| line.contains("cannot be counted"));
    assert_eq!(said.is_some(), !absent.is_empty(), "{log}");
    if let Some(line) = said {
        assert!(absent.iter().any(|reason| line.contains(reason)), "{line} names none of {absent:?}");
    }
}
