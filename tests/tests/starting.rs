//! A service that cannot start says why, in one line, and what to do about it.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use webrunner_tests::executables;
use webrunner_tests::jobs::good_job_is_right;
use webrunner_tests::service::{Ended, Launch};
use webrunner_tests::{processes, wait};

/// Starts a service that is to fail with this exit code.
fn fails(code: i32, flags: &[&str]) -> Ended {
    let words = ["serve", "--listen", "127.0.0.1:0"].into_iter().chain(flags.iter().copied());
    let ended = Launch::command(words).run();
    assert_eq!(ended.code, Some(code), "{ended:?}");
    ended
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    for (flags, complaint) in [
        (&["--nonsense"][..], "unexpected argument '--nonsense' found; --help tells more"),
        (
            &["--queue-siz", "1"],
            "unexpected argument '--queue-siz' found; a similar argument exists: '--queue-size'; --help tells more",
        ),
        (&["--cores", "x"], "--cores: `x` is no core number or range; write a list such as 1,3-5"),
        (&["--deadline", "0"], "--deadline takes 1 to 3600, got 0"),
        (&["--cpu-limit", "3601"], "--cpu-limit takes 1 to 3600, got 3601"),
        (&["--queue-size", "5000"], "--queue-size takes 0 to 4096, got 5000"),
        (&["--require-isolation", "some"], "--require-isolation takes full or best, got `some`"),
    ] {
        assert_eq!(fails(2, flags).complaint(), complaint);
    }
}

#[test]
fn a_core_that_is_not_there_is_refused_with_those_that_are() {
    let ended = fails(2, &["--cores", "1000"]);
    assert!(
        ended.complaint().starts_with("--cores: core 1000 cannot be used; this process may use "),
        "{ended:?}"
    );
}

#[test]
fn an_address_that_is_none_is_refused() {
    let ended = Launch::command(["serve", "--listen", "localhost"]).run();
    assert_eq!(ended.code, Some(2));
    assert!(ended.complaint().starts_with("--listen takes an address and a port"), "{ended:?}");
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let ended = Launch::command(["serve", "--listen", &address]).run();
    assert_eq!(ended.code, Some(1));
    let expected =
        format!("cannot listen on {address}; choose another with --listen: Address already in use");
    assert!(ended.complaint().starts_with(&expected), "{ended:?}");
}

#[test]
fn a_worker_executable_that_is_not_there_is_named() {
    let ended = fails(1, &["--worker", "/no/such/worker"]);
    assert!(ended.complaint().contains("/no/such/worker"), "{ended:?}");
}

#[test]
fn a_program_without_its_worker_says_where_it_looked() {
    let folder = tempfile::tempdir().expect("a folder");
    let alone = executables::copy(&executables::get().supervisor, folder.path());
    let ended = Launch::executable(&alone, ["serve", "--listen", "127.0.0.1:0"]).run();
    assert_eq!(ended.code, Some(1));
    let beside = folder.path().join("webrunner-worker");
    assert!(ended.complaint().contains(&*beside.to_string_lossy()), "{ended:?}");
}

#[test]
fn a_program_that_is_no_worker_is_told_apart() {
    let ended = fails(1, &["--worker", "/bin/true"]);
    assert!(ended.complaint().starts_with("/bin/true ended before it was ready"), "{ended:?}");
}

#[test]
fn a_file_that_cannot_be_executed_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_string_lossy().into_owned();
    let ended = fails(1, &["--worker", &path]);
    assert!(ended.complaint().starts_with(&format!("cannot start {path}: ")), "{ended:?}");
}

#[test]
fn a_worker_executable_is_sought_where_the_service_was_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let worker = executables::copy(&executables::get().worker, folder.path());
    let relative = Path::new(".").join(worker.file_name().expect("a name"));
    let service = Launch::serve(["--worker", &relative.to_string_lossy()]).within(folder.path()).start();
    good_job_is_right(&service);
}

#[test]
fn a_start_that_fails_late_leaves_no_process_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    // A copy, by which its processes are told from those of other tests.
    let worker = executables::copy(&executables::get().worker, folder.path());
    let words = ["serve", "--listen", "127.0.0.1:0", "--worker", &worker.to_string_lossy()];
    // Enough to begin with, but not for what a job may take.
    let ended = Launch::command(words).through(["prlimit", "--as=400000000"]).run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let complaint = "cannot reserve job memory; lift the limit on address space (ulimit -v, ";
    assert!(ended.complaint().starts_with(complaint), "{ended:?}");
    wait::until("its processes have ended", || processes::of_executable(&worker).is_empty());
}

#[test]
fn a_user_with_too_few_processes_is_told_of_the_limit() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!(
            "skipped: only root can start the service as a user whose processes nobody else has"
        );
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a folder open to all");
    let program = executables::copy(&executables::get().supervisor, folder.path());
    let worker = executables::copy(&executables::get().worker, folder.path());
    // For the supervisor alone; with its thread that starts zygotes; and with a zygote.
    for most in 1..=3 {
        // In a range that no distribution assigns, and another each time: what has ended counts until it is reaped.
        let user = (0x7c00_0000 + 4 * std::process::id() + most).to_string();
        let limit = format!("--nproc={most}");
        let through =
            ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "prlimit", &limit, "--"];
        let words = ["serve", "--listen", "127.0.0.1:0", "--cores", "0"];
        let ended = Launch::executable(&program, words).through(through).run();
        assert_eq!(ended.code, Some(1), "{most}: {ended:?}");
        let said = ended.stderr.lines().find_map(|line| line.strip_prefix("webrunner: "));
        assert!(said.is_some_and(|line| line.contains("more processes (ulimit -u, ")), "{most}: {ended:?}");
    }
    wait::until("their processes have ended", || processes::of_executable(&worker).is_empty());
}

#[test]
fn nobody_is_kept_waiting_by_a_service_that_cannot_serve_yet() {
    let folder = tempfile::tempdir().expect("a folder");
    // A copy, by which its process is told from others. It waits for more, and says nothing that makes sense.
    let silent = executables::copy(Path::new("/bin/cat"), folder.path());
    let [a, b, ..] = std::process::id().to_le_bytes();
    let address = SocketAddr::from(([127, a, b, 77], 8081)).to_string();
    let words = ["serve", "--listen", &address, "--worker", &silent.to_string_lossy()];
    let started = || !processes::of_executable(&silent).is_empty();
    let service = Launch::command(words).start_when_said("the worker is started", started);
    let refused = TcpStream::connect(&address).map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused), "{}", service.log());
}

#[test]
fn a_worker_started_by_hand_says_who_starts_it() {
    let ended = Launch::executable(&executables::get().worker, []).run();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.ends_with("is started by webrunner, not by hand\n"), "{ended:?}");
}

#[test]
fn a_kernel_file_that_is_wrong_is_named_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("wrong.xml");
    let text = "<kernel name=\"wrong\">\n  <call>\n    <argument name=\"x\" type=\"quaternion\" value=\"1\"/>\n  </call>\n</kernel>\n";
    fs::write(&file, text).expect("a file");
    let ended = fails(1, &["--kernels", &folder.path().to_string_lossy()]);
    assert!(ended.complaint().starts_with(&format!("{}:3: ", file.display())), "{ended:?}");
    assert!(ended.complaint().contains("quaternion"), "{ended:?}");
}

#[test]
fn a_file_where_the_socket_is_to_be_is_told_from_one_in_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    fs::write(&path, "mine").expect("a file");
    let address = format!("unix:{}", path.display());
    let ended = Launch::command(["serve", "--listen", &address]).run();
    assert_eq!(ended.code, Some(1));
    let expected = format!(
        "cannot listen on {address}; choose another with --listen: a file that is no socket is there; move it away"
    );
    assert_eq!(ended.complaint(), expected);
    assert_eq!(fs::read_to_string(&path).expect("a file"), "mine");
}

#[test]
fn a_kernel_directory_that_is_not_there_is_named() {
    let ended = fails(1, &["--kernels", "/no/such/kernels"]);
    assert!(ended.complaint().starts_with("cannot read kernel directory /no/such/kernels"), "{ended:?}");
}

#[test]
fn a_log_that_cannot_be_written_stops_the_start() {
    for flag in ["--access-log", "--error-log"] {
        let ended = fails(1, &[flag, "/no/such/folder/log"]);
        assert!(
            ended.stderr.contains("cannot open the") && ended.stderr.contains(" /no/such/folder/log; "),
            "{ended:?}"
        );
    }
}
