//! A zygote is renewed after its jobs, under load, and no job notices.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use webrunner_tests::http::Connection;
use webrunner_tests::jobs::{self, good_job_is_right};
use webrunner_tests::service::Service;
use webrunner_tests::wait;

const QUICK: &str = "kernel=playground&_effort=quick";

/// How many zygotes there have been on each core.
fn generations(service: &Service) -> Vec<u64> {
    let machine = service.get("/machine").json();
    let zygotes = machine["zygotes"].as_array().expect("a list").iter();
    zygotes.map(|zygote| zygote["generation"].as_u64().expect("a number")).collect()
}

/// The first core's.
fn generation(service: &Service) -> u64 {
    generations(service)[0]
}

#[test]
fn zygotes_are_renewed_under_load_and_no_job_is_lost() {
    let service = Service::with_flags(["--zygote-jobs", "20"]);
    service.settle();
    let (first, slots) = (service.zygotes(), generations(&service).len());
    let over = AtomicBool::new(false);
    let post = |query: &str| {
        let mut connection = Connection::open(service.address());
        while !over.load(Ordering::Relaxed) {
            connection.send(&jobs::request("good/chain100.o", query).bytes());
            let answer = connection.receive();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    };
    thread::scope(|scope| {
        // However this ends, the clients are to end with it.
        let _ends = Ends(&over);
        for query in [QUICK, QUICK, QUICK, "kernel=playground"] {
            scope.spawn(move || post(query));
        }
        wait::until("three zygotes have come and two have gone", || generation(&service) >= 3);
    });
    wait::until("the retired are gone", || service.zygotes().len() == slots);
    assert!(service.zygotes().iter().all(|zygote| !first.contains(zygote)) || slots > 1);
    good_job_is_right(&service);
    service.settle();
    assert!(!service.log().contains("ERROR"), "{}", service.log());
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_zygote_is_not_let_go_before_its_last_job_has_ended() {
    let service = Service::with_flags([
        "--zygote-jobs",
        "4",
        "--deadline",
        "3600",
        "--cpu-limit",
        "3600",
        "--cores",
        "0",
    ]);
    let old = service.zygote();
    let mut long = Connection::open(service.address());
    long.send(&jobs::request("hostile/spin.o", QUICK).bytes());
    wait::until("the endless job runs", || service.readiness()["running"] == 1);
    wait::until("another zygote has taken over", || {
        assert_eq!(service.post("good/chain100.o", QUICK).status, 200);
        generation(&service) == 2
    });
    let both: BTreeSet<_> = service.zygotes().iter().map(|zygote| zygote.id).collect();
    assert!(both.len() == 2 && both.contains(&old.id), "{both:?}");
    assert_eq!(service.readiness()["running"], 1, "its job runs on");
    drop(long);
    wait::until("the old one is gone", || !old.is_alive());
    good_job_is_right(&service);
    service.settle();
}
