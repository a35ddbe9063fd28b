//! Ends and repairs: the service stops when told to, outlives its zygotes, and leaves nothing behind when it dies.

use std::net::TcpStream;

use rustix::process::Signal;
use webrunner_tests::http::{Answer, Connection, Request};
use webrunner_tests::jobs::{self, good_job_is_right};
use webrunner_tests::processes::descendants;
use webrunner_tests::service::{Service, kill};
use webrunner_tests::wait;

/// A job that takes a second or so, and one that takes as long as it may.
const LONG: (&str, &str) = ("peachpy/spin_peachpy.o", "kernel=playground&iterations=300000000&_effort=quick");
const ENDLESS: (&str, &str) = ("hostile/spin.o", "kernel=playground");

const FOR_HOURS: [&str; 4] = ["--deadline", "3600", "--cpu-limit", "3600"];

/// Posts a job and waits until it runs.
fn in_flight(service: &Service, (object, query): (&str, &str)) -> Connection {
    let mut connection = Connection::open(service.address());
    connection.send(&jobs::request(object, query).bytes());
    wait::until("the job runs", || service.readiness()["running"] == 1);
    connection
}

/// Stops a service with a job in flight; gives that job's answer.
fn stopped_by(signal: Signal) -> Answer {
    let mut service = Service::with_flags(["--deadline", "60", "--cpu-limit", "60"]);
    let mut job = in_flight(&service, LONG);
    service.signal(signal);
    let answer = job.receive();
    let status = service.wait();
    assert!(status.success(), "{status}: {}", service.log());
    answer
}

#[test]
fn sigterm_lets_the_job_in_flight_end() {
    assert_eq!(stopped_by(Signal::TERM).status, 200);
}

#[test]
fn ctrl_c_lets_the_job_in_flight_end() {
    assert_eq!(stopped_by(Signal::INT).status, 200);
}

#[test]
fn a_service_that_stops_takes_no_new_connections() {
    let mut service = Service::with_flags(["--deadline", "60", "--cpu-limit", "60"]);
    let mut open = Connection::open(service.address());
    open.send(&Request::new("GET", "/livez").bytes());
    assert_eq!(open.receive().status, 200);
    let mut job = in_flight(&service, LONG);
    service.signal(Signal::TERM);
    wait::until("the signal has been noticed", || service.log().contains("SIGTERM"));
    // A connection that was kept open gets one more answer, which is its last.
    open.send(&jobs::request("good/chain100.o", "kernel=playground").bytes());
    let answer = open.receive();
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(open.ends());
    assert_eq!(job.receive().status, 200);
    assert!(service.wait().success());
    assert!(TcpStream::connect(service.address()).is_err());
}

#[test]
fn a_service_without_jobs_stops_at_once_and_leaves_no_process() {
    let mut service = Service::start();
    service.settle();
    let family = descendants(service.id());
    service.signal(Signal::TERM);
    assert!(service.wait().success());
    wait::until("all of its processes have ended", || family.iter().all(|process| !process.is_alive()));
}

#[test]
fn a_zygote_that_dies_costs_its_job_and_is_replaced() {
    let service = Service::with_flags(FOR_HOURS);
    let zygote = service.zygote();
    let mut job = in_flight(&service, ENDLESS);
    service.spins();
    kill(zygote.id, Signal::KILL);
    let answer = job.receive();
    assert_eq!((answer.status, answer.slug().as_str()), (503, "no-worker"));
    assert!(answer.header("retry-after").is_some());
    wait::until("there is a zygote again", || service.get("/here/monitor").status == 200);
    good_job_is_right(&service);
    assert_ne!(service.zygote(), zygote);
    service.settle();
}

#[test]
fn a_zygote_that_dies_again_and_again_is_replaced_each_time() {
    let service = Service::start();
    for _ in 0..3 {
        let zygote = service.zygote();
        kill(zygote.id, Signal::KILL);
        wait::until("another has taken its place", || {
            service.zygote() != zygote && service.get("/readyz").status == 200
        });
        good_job_is_right(&service);
    }
}

#[test]
fn a_zygote_whose_namespace_loses_its_first_process_is_replaced() {
    let service = Service::start();
    service.settle();
    let zygotes = service.zygotes();
    let inits: Vec<_> = descendants(service.id()).into_iter().filter(|process| process.is_init()).collect();
    if inits.is_empty() {
        return eprintln!("skipped: this host gives workers no process namespace of their own");
    }
    assert_eq!(inits.len(), zygotes.len());
    // Each can fork no worker from here on.
    for init in &inits {
        kill(init.id, Signal::KILL);
    }
    wait::until("others have taken their places", || {
        let now = service.zygotes();
        now.len() == zygotes.len() && !now.iter().any(|zygote| zygotes.contains(zygote))
    });
    wait::until("it is ready", || service.get("/readyz").status == 200);
    good_job_is_right(&service);
    service.settle();
    let lost = service.metrics().value(r#"webrunner_zygote_restarts_total{reason="ended"}"#);
    assert_eq!(lost, zygotes.len() as f64);
    assert!(service.log().contains("the first process of its namespace has ended"), "{}", service.log());
}

#[test]
fn a_zygote_that_is_stopped_is_noticed_and_replaced() {
    let service = Service::start();
    service.settle();
    let zygote = service.zygote();
    kill(zygote.id, Signal::STOP);
    // Waiting workers can still serve; the zygote owes the next ones.
    for _ in 0..8 {
        good_job_is_right(&service);
    }
    assert_ne!(service.zygote(), zygote);
    assert!(!zygote.is_alive());
}

#[test]
fn a_waiting_worker_that_dies_is_replaced() {
    let service = Service::start();
    service.settle();
    let workers = service.workers();
    for worker in &workers {
        kill(worker.id, Signal::KILL);
    }
    // Without a job to ask for one.
    wait::until("as many others wait", || {
        let waiting = service.workers();
        waiting.len() == workers.len() && waiting.iter().all(|worker| !workers.contains(worker))
    });
    service.settle();
    good_job_is_right(&service);
}

#[test]
fn a_running_worker_killed_from_outside_is_no_fault_of_its_object() {
    let service = Service::with_flags(FOR_HOURS);
    service.settle();
    let waiting = service.workers();
    let mut job = in_flight(&service, ENDLESS);
    service.spins();
    // The one that runs is among those that waited.
    for worker in waiting {
        kill(worker.id, Signal::KILL);
    }
    let answer = job.receive();
    assert_eq!((answer.status, answer.slug().as_str()), (500, "worker-killed"));
    good_job_is_right(&service);
}

#[test]
fn a_supervisor_that_is_killed_leaves_no_process_behind() {
    let mut service = Service::with_flags(FOR_HOURS);
    service.settle();
    let _job = in_flight(&service, ENDLESS);
    let family = descendants(service.id());
    assert!(family.len() > 2, "{family:?}");
    service.signal(Signal::KILL);
    let _ = service.wait();
    wait::until("all of its processes have ended", || family.iter().all(|process| !process.is_alive()));
}

#[test]
fn a_supervisor_that_is_killed_leaves_no_stopped_process_behind() {
    let mut service = Service::with_flags(FOR_HOURS);
    // Not only those it began with: one that was started in place of another must be bound to it just so.
    let first = service.zygote();
    kill(first.id, Signal::KILL);
    wait::until("another has taken its place", || service.zygote() != first);
    service.settle();
    let _job = in_flight(&service, ENDLESS);
    let family = descendants(service.id());
    assert!(family.len() > 2, "{family:?}");
    for process in &family {
        kill(process.id, Signal::STOP);
    }
    service.signal(Signal::KILL);
    let _ = service.wait();
    wait::until("all of its processes have ended", || family.iter().all(|process| !process.is_alive()));
}
