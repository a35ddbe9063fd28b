//! Descriptors that run out: clients wait or are turned away, jobs are right, and it passes.

use rustix::process::Resource;
use webrunner_tests::http::Connection;
use webrunner_tests::jobs::{self, good_job_is_right};
use webrunner_tests::processes::Process;
use webrunner_tests::service::{Launch, Service};
use webrunner_tests::wait;

const QUICK: &str = "kernel=playground&_effort=quick";

/// A service that may have so many files open; with one core, so that the same are left for clients on every machine.
fn limited(files: &str) -> Launch {
    Launch::serve(["--cores", "0"]).through(["prlimit", &format!("--nofile={files}")])
}

#[test]
fn too_few_for_any_client_stop_the_start() {
    let ended = limited("40").run();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.complaint().starts_with("40 open files are too few for 1 cores, which take "), "{ended:?}");
}

#[test]
fn clients_get_those_that_jobs_leave_and_the_rest_of_them_wait() {
    let service = limited("100").start();
    let log = service.log();
    assert!(log.contains("fewer open files are allowed than --max-connections 256 needs"), "{log}");
    service.settle();
    let before = service.descriptors();
    let mut working = Connection::open(service.address());
    let mut post = || {
        working.send(&jobs::request("good/chain100.o", QUICK).bytes());
        working.receive().status
    };
    assert_eq!(post(), 200);
    // More than there can be; those beyond wait to be accepted.
    let idle: Vec<_> = (0..100).map(|_| Connection::open(service.address())).collect();
    for _ in 0..20 {
        assert_eq!(post(), 200, "a client that is there is served");
    }
    assert!(service.descriptors() < 100);
    drop((working, idle));
    good_job_is_right(&service);
    service.settle();
    wait::until("every connection is gone", || service.descriptors() <= before);
    assert!(!service.log().contains("ERROR"), "{}", service.log());
}

#[test]
fn none_left_for_workers_is_told_and_passes() {
    let service = Service::with_flags(["--cores", "0"]);
    service.settle();
    let (supervisor, zygotes) = (Process::find(service.id()).expect("it runs"), service.zygotes());
    let mut client = Connection::open(service.address());
    let mut post = || {
        client.send(&jobs::request("good/chain100.o", QUICK).bytes());
        client.receive()
    };
    assert_eq!(post().status, 200);
    service.settle();
    // Below every number in use: what is open stays open, and nothing can be opened.
    let limit = supervisor.limit(Resource::Nofile, Some(3));
    let refused = wait::until_some("there is no worker left", || {
        let answer = post();
        assert!([200, 503].contains(&answer.status), "{}", answer.text());
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(refused.slug(), "no-worker");
    assert!(refused.text().contains("could not be taken over (Too many open files"), "{}", refused.text());
    // This one waits until it can be accepted.
    let mut outside = Connection::open(service.address());
    outside.send(&jobs::request("good/chain100.o", QUICK).bytes());
    supervisor.limit(Resource::Nofile, limit);
    assert!([200, 503].contains(&outside.receive().status));
    wait::until("there are workers again", || post().status == 200);
    good_job_is_right(&service);
    assert_eq!(service.zygotes(), zygotes, "no zygote was at fault");
    service.settle();
}
