//! A service that takes its socket from systemd: restarted and replaced under load, no connection is refused and no
//! request is lost.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;
use webrunner_tests::executables;
use webrunner_tests::http::{Connection, Request};
use webrunner_tests::jobs;
use webrunner_tests::processes::{self, Process};
use webrunner_tests::service::{Launch, Service, kill};
use webrunner_tests::systemd::has;
use webrunner_tests::wait;

/// Clients that send one job after the other.
const CLIENTS: usize = 6;

/// Jobs to be answered before, between and after restarts.
const JOBS: u64 = 60;

/// Plays systemd: holds the socket, and starts the service again whenever it ends. `LISTEN_PID` names the process the
/// socket is meant for, which is the one that becomes the service.
const MANAGER: &str = "while :; do sh -c 'export LISTEN_PID=$$; exec \"$@\"' sh \"$@\"; done";

/// An address of this test program's own, so that the port need not be drawn.
fn address(last: u8) -> SocketAddr {
    let id = std::process::id().to_le_bytes();
    SocketAddr::from(([127, id[0], id[1], last], 8081))
}

/// Starts a service under the manager, which holds these sockets for clients.
fn start(sockets: &[&str], program: &Path, said: impl Fn() -> bool) -> Service {
    let named: Vec<_> = sockets.iter().map(|socket| ("http", *socket)).collect();
    start_named(&named, program, said)
}

/// Starts a service under the manager, which holds sockets with these names.
fn start_named(sockets: &[(&str, &str)], program: &Path, said: impl Fn() -> bool) -> Service {
    let listen: Vec<_> = sockets.iter().map(|(_, socket)| format!("--listen={socket}")).collect();
    let names: Vec<_> = sockets.iter().map(|(name, _)| *name).collect();
    let names = format!("--fdname={}", names.join(":"));
    let manager = [&names, "sh", "-c", MANAGER, "manager"];
    let words =
        ["systemd-socket-activate"].into_iter().chain(listen.iter().map(String::as_str)).chain(manager);
    // It passes only a few variables on, so what the harness sets elsewhere is said by flags.
    let flags = ["serve", "--config", "/dev/null", "--log-format", "human", "--queue-size", "64"];
    Launch::executable(program, flags).through(words).start_when_said("somebody listens", said)
}

/// A copy of the executables, to be replaced by an upgrade.
fn install() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let built = executables::get();
    for program in [&built.supervisor, &built.worker] {
        let _ = executables::copy(program, folder.path());
    }
    folder
}

/// As a package manager does it: a new file takes the place of the old one, which runs on.
fn upgrade(folder: &Path) {
    let fresh = install();
    for name in ["webrunner", "webrunner-worker"] {
        let aside = folder.join(format!("{name}.new"));
        fs::copy(fresh.path().join(name), &aside).expect("a copy");
        fs::rename(aside, folder.join(name)).expect("a file replaced");
    }
}

/// The service's own process.
fn service_process(manager: &Service) -> Option<Process> {
    processes::children(manager.id()).into_iter().next()
}

/// Sends jobs until told to stop; panics if a connection is refused, or a request gets no answer or a wrong one.
fn send_jobs(address: SocketAddr, answered: &AtomicU64, enough: &AtomicBool) {
    let job = jobs::request("good/chain100.o", "kernel=playground&_effort=quick").bytes();
    while !enough.load(Ordering::Relaxed) {
        let mut connection = Connection::open(address);
        loop {
            connection.send(&job);
            let answer = connection.receive();
            assert_eq!(answer.status, 200, "{}", answer.text());
            answered.fetch_add(1, Ordering::Relaxed);
            let last = enough.load(Ordering::Relaxed) || answer.header("connection") == Some("close");
            if last {
                break;
            }
        }
    }
}

#[test]
fn restarts_and_upgrades_refuse_no_connection_and_lose_no_request() {
    if !has("systemd-socket-activate", "systemd") {
        return;
    }
    let (folder, address) = (install(), address(1));
    let program = folder.path().join("webrunner");
    let service = start(&[&address.to_string()], &program, || TcpStream::connect(address).is_ok());
    let (answered, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| send_jobs(address, &answered, &enough));
        }
        // Whatever fails, the clients come to an end.
        let done = Done(&enough);
        for round in 0..3 {
            let before = answered.load(Ordering::Relaxed);
            wait::until("jobs are answered", || answered.load(Ordering::Relaxed) >= before + JOBS);
            let old = wait::until_some("there is a service", || service_process(&service));
            if round == 1 {
                upgrade(folder.path());
            }
            kill(old.id, Signal::TERM);
            wait::until("it has ended", || !old.is_alive());
            wait::until("another has taken its place", || {
                service_process(&service).is_some_and(|new| new != old)
            });
        }
        let before = answered.load(Ordering::Relaxed);
        wait::until("jobs are answered", || answered.load(Ordering::Relaxed) >= before + JOBS);
        drop(done);
    });
    assert_eq!(service.log().matches("SIGTERM: ").count(), 3, "{}", service.log());
}

/// Tells the clients that it is enough, however the test ends.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_unix_socket_is_taken_over_as_well() {
    if !has("systemd-socket-activate", "systemd") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let listen = path.to_string_lossy();
    let _service = start(&[&listen], &executables::get().supervisor, || UnixStream::connect(&path).is_ok());
    let mut connection = Connection::at_path(&path);
    connection.send(&Request::new("GET", "/livez").bytes());
    assert_eq!(connection.receive().status, 200);
}

#[test]
fn jobs_are_taken_from_each_of_several_sockets() {
    if !has("systemd-socket-activate", "systemd") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (address, path) = (address(2), folder.path().join("socket"));
    let sockets = [&*address.to_string(), &*path.to_string_lossy()];
    let _service = start(&sockets, &executables::get().supervisor, || TcpStream::connect(address).is_ok());
    let job = jobs::request("good/chain100.o", "kernel=playground&_effort=quick");
    for _ in 0..2 {
        assert_eq!(job.send(address).status, 200);
        let mut connection = Connection::at_path(&path);
        connection.send(&job.bytes());
        let answer = connection.receive();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn each_socket_named_metrics_is_for_operators() {
    if !has("systemd-socket-activate", "systemd") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (clients, operators, path) = (address(3), address(4), folder.path().join("socket"));
    let (at_clients, at_operators, at_path) =
        (clients.to_string(), operators.to_string(), path.to_string_lossy());
    let sockets = [("http", &*at_clients), ("metrics", &*at_operators), ("metrics", &*at_path)];
    let _service =
        start_named(&sockets, &executables::get().supervisor, || TcpStream::connect(clients).is_ok());
    let ask = |path: &str| Request::new("GET", path);
    assert_eq!(ask("/metrics").send(clients).status, 404);
    for (path, status) in [("/metrics", 200), ("/kernels", 404)] {
        assert_eq!(ask(path).send(operators).status, status, "{path}");
    }
    for (asked, status) in [("/metrics", 200), ("/kernels", 404)] {
        let mut connection = Connection::at_path(&path);
        connection.send(&ask(asked).bytes());
        assert_eq!(connection.receive().status, status, "{asked}");
    }
}

#[test]
fn sockets_that_are_not_there_stop_the_start() {
    // A shell that becomes the service keeps its process id.
    let script = "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\" 3<&-";
    let ended = Launch::serve([]).through(["sh", "-c", script, "sh"]).run();
    assert_eq!(ended.code, Some(1));
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("webrunner: cannot take the sockets of systemd (LISTEN_FDS): "), "{ended:?}");
    let ended = Launch::serve([]).through(["sh", "-c", &script.replace("3<&-", "3</dev/null"), "sh"]).run();
    assert_eq!(ended.code, Some(1));
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.ends_with("is no listening stream socket; use ListenStream= and Accept=no"), "{ended:?}");
}
