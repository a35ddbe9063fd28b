//! Stopping: what was accepted is answered, within a stated time; a second signal does not wait.

use std::io::ErrorKind;
use std::net::TcpStream;

use rustix::process::Signal;
use webrunner_tests::http::{Connection, Request};
use webrunner_tests::jobs;
use webrunner_tests::service::Service;
use webrunner_tests::wait;

const ENDLESS: (&str, &str) = ("hostile/spin.o", "kernel=playground");
const FOR_HOURS: [&str; 4] = ["--deadline", "3600", "--cpu-limit", "3600"];

fn serve(flags: &[&str]) -> Service {
    Service::with_flags(FOR_HOURS.into_iter().chain(flags.iter().copied()))
}

fn endless_job(service: &Service) -> Connection {
    let mut connection = Connection::open(service.address());
    connection.send(&jobs::request(ENDLESS.0, ENDLESS.1).bytes());
    wait::until("the job runs", || service.readiness()["running"] == 1);
    connection
}

fn stop(service: &Service) {
    service.signal(Signal::TERM);
    wait::until("the signal has been noticed", || service.log().contains("SIGTERM"));
}

#[test]
fn a_connection_that_was_accepted_still_gets_its_answer() {
    let mut service = serve(&[]);
    let mut silent = Connection::open(service.address());
    let mut halfway = Connection::open(service.address());
    let job = jobs::request("good/chain100.o", "kernel=playground&_effort=quick");
    let (head, all) = (job.head().len(), job.bytes());
    halfway.send(&all[..head / 2]);
    // Accepted, as one that came after them has an answer.
    assert_eq!(service.get("/livez").status, 200);
    stop(&service);
    for (connection, rest) in [(&mut silent, &all[..]), (&mut halfway, &all[head / 2..])] {
        connection.send(rest);
        let answer = connection.receive();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{}", answer.text());
    }
    assert!(service.wait().success(), "{}", service.log());
}

#[test]
fn who_comes_while_the_service_stops_is_refused_at_once() {
    let mut service = serve(&["--drain-limit", "3600"]);
    let job = endless_job(&service);
    stop(&service);
    wait::until("a port that nobody takes over is closed", || {
        TcpStream::connect(service.address()).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    drop(job);
    assert!(service.wait().success(), "{}", service.log());
}

#[test]
fn a_service_that_stops_is_not_ready_and_says_so() {
    let mut service = serve(&["--drain-limit", "1"]);
    let mut open = Connection::open(service.address());
    let _job = endless_job(&service);
    stop(&service);
    open.send(&Request::new("GET", "/readyz").bytes());
    let answer = open.receive();
    assert_eq!((answer.status, answer.slug().as_str()), (503, "not-ready"));
    assert!(service.wait().success());
}

#[test]
fn at_the_limit_jobs_that_are_left_are_answered_too() {
    let mut service = serve(&["--drain-limit", "1", "--cores", "0"]);
    let mut running = endless_job(&service);
    let mut waiting = Connection::open(service.address());
    waiting.send(&jobs::request(ENDLESS.0, ENDLESS.1).bytes());
    wait::until("a job waits", || service.readiness()["queued"] == 1);
    stop(&service);
    for connection in [&mut running, &mut waiting] {
        let answer = connection.receive();
        assert_eq!((answer.status, answer.slug().as_str()), (503, "draining"));
        assert!(answer.header("retry-after").is_some());
    }
    assert!(service.wait().success(), "{}", service.log());
    assert!(service.log().contains("the drain limit is up"), "{}", service.log());
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut service = serve(&["--drain-limit", "3600"]);
    let mut job = endless_job(&service);
    stop(&service);
    let line = "webrunner: stopped at once by a second SIGTERM; jobs in flight are lost";
    // Those that come within a moment of the first do not count.
    wait::until("a second signal counts", || {
        service.signal(Signal::TERM);
        service.log().contains(line)
    });
    assert_eq!(service.wait().code(), Some(1));
    assert!(job.ends());
}

/// As `timeout` and terminals send them.
#[test]
fn two_signals_at_once_are_one_wish() {
    let mut service = serve(&[]);
    let mut job = Connection::open(service.address());
    let query = "kernel=playground&iterations=300000000&_effort=quick";
    job.send(&jobs::request("peachpy/spin_peachpy.o", query).bytes());
    wait::until("the job runs", || service.readiness()["running"] == 1);
    // Two of one kind would be one where the first is still pending.
    service.signal(Signal::TERM);
    service.signal(Signal::INT);
    assert_eq!(job.receive().status, 200);
    assert!(service.wait().success(), "{}", service.log());
}
