//! Storms of deaths: jobs that crash cost nobody else anything; workers that cannot live are given up for a while, which
//! the service says, and it is back at once when they can.

use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::process::Signal;
use webrunner_tests::http::{Answer, Connection};
use webrunner_tests::jobs::{self, good_job_is_right};
use webrunner_tests::processes::{self, Process};
use webrunner_tests::service::{Launch, Service};
use webrunner_tests::wait;

const QUICK: &str = "kernel=playground&_effort=quick";

/// Asserts that the service says why it can take no jobs, to those who ask and to those who post.
fn is_out_of_order(service: &Service, reason: &str) {
    wait::until("it says that it is not ready, and why", || says(&service.get("/readyz"), reason));
    let job = service.post("good/chain100.o", QUICK);
    assert_eq!((job.status, job.slug().as_str()), (503, "no-worker"), "{}", job.text());
    assert!(job.header("retry-after").is_some() && job.text().contains(reason), "{}", job.text());
}

fn says(answer: &Answer, reason: &str) -> bool {
    answer.status == 503 && answer.problem()["detail"].to_string().contains(reason)
}

/// Processes that a user of a limited service may have: its own, and what earlier ones of that user have left on the
/// kernel's list where the first process of the host is slow to take them off.
const MOST: usize = 400;

/// A service of one core whose zygote's user may have only so many processes.
///
/// Nothing where that cannot be: a limit on processes holds for nobody but the zygote only where that has a user of its
/// own.
fn limited() -> Option<(Service, MutexGuard<'static, ()>)> {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "skipped: only when started as root does a zygote have a user of its own, whose processes can be limited"
        );
        return None;
    }
    let flags = ["--cores", "0", "--deadline", "3600", "--cpu-limit", "3600"];
    let limit = format!("--nproc={MOST}");
    let alone = ONE_CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    Some((Launch::serve(flags).through(["prlimit", &limit]).start(), alone))
}

/// Services share the users of their zygotes, so there is one crowd at a time.
static ONE_CROWD: Mutex<()> = Mutex::new(());

fn user_of(zygote: &Process) -> String {
    let users = zygote.status("Uid").expect("users of a process");
    users.split_whitespace().next().expect("a user").to_owned()
}

/// Has a zygote open no file that it has not open: as its own user, who may do so without any privilege.
fn take_descriptors(zygote: &Process) {
    let (user, id) = (user_of(zygote), zygote.id.to_string());
    let become_it = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"];
    let limit = ["prlimit", "--pid", &id, "--nofile=3"];
    let words = if rustix::process::geteuid().is_root() { &become_it[..] } else { &[] };
    let words: Vec<_> = words.iter().chain(&limit).collect();
    let limited = Command::new(words[0]).args(&words[1..]).status().expect("setpriv and prlimit");
    assert!(limited.success(), "{words:?}");
}

/// As many other processes of a zygote's user as it may have at all; gone when dropped.
struct Crowd(Child);

impl Crowd {
    fn of(zygote: &Process) -> Self {
        let user = user_of(zygote);
        let crowd = format!("for i in $(seq {MOST}); do sleep 3600 & done; wait");
        let words = ["--reuid", &user, "--regid", &user, "--clear-groups", "sh", "-c", &crowd];
        let child = Command::new("setpriv").args(words).spawn().expect("setpriv");
        let crowd = Self(child);
        let id = crowd.0.id().cast_signed();
        wait::until("there is a crowd", || processes::children(id).len() >= MOST);
        crowd
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Not their shell, which takes them off the kernel's list: until then they count.
        for one in processes::children(self.0.id().cast_signed()) {
            one.signal(Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

/// Lines the service has logged about failures.
fn complaints(service: &Service) -> usize {
    service.log().lines().filter(|line| line.contains("ERROR")).count()
}

#[test]
fn a_thousand_jobs_that_crash_are_all_answered_and_trip_nothing() {
    const CLIENTS: usize = 8;
    const EACH: usize = 125;
    let service = Service::start();
    let (log, zygotes) = (service.log_of_start(), service.zygotes());
    let crash = |objects: &[(&str, &str)]| {
        let mut connection = Connection::open(service.address());
        for (object, slug) in objects.iter().cycle().take(EACH) {
            connection.send(&jobs::request(object, QUICK).bytes());
            let answer = connection.receive();
            assert_eq!((answer.status, answer.slug().as_str()), (422, *slug), "{object}: {}", answer.text());
        }
    };
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mut objects = vec![
                ("hostile/ud2.o", "fault"),
                ("hostile/null_read.o", "fault"),
                ("hostile/smash_stack.o", "fault"),
                ("hostile/int80.o", "system-call-refused"),
                ("hostile/divide_by_zero.o", "fault"),
            ];
            objects.rotate_left(client % 5);
            scope.spawn(move || crash(&objects));
        }
    });
    assert_eq!(service.log(), log, "a job that crashes is no news to an operator");
    assert_eq!(service.zygotes(), zygotes);
    good_job_is_right(&service);
    service.settle();
}

#[test]
fn forks_that_are_refused_are_told_and_are_over_at_once_when_they_are_not() {
    let Some((service, _alone)) = limited() else { return };
    service.settle();
    let zygotes = service.zygotes();
    let crowd = Crowd::of(&zygotes[0]);
    for worker in service.workers() {
        worker.signal(Signal::KILL);
    }
    is_out_of_order(&service, "o worker can be forked on core 0");
    assert_eq!(service.zygotes(), zygotes, "no zygote is at fault");
    drop(crowd);
    wait::until("it is ready again", || service.get("/readyz").status == 200);
    good_job_is_right(&service);
    assert!(complaints(&service) < 50, "{}", service.log());
    service.settle();
}

#[test]
fn a_zygote_that_alone_can_fork_no_more_is_replaced() {
    let service = Service::start();
    service.settle();
    let zygote = service.zygote();
    // Then it can make no job socket.
    take_descriptors(&zygote);
    for worker in service.workers() {
        worker.signal(Signal::KILL);
    }
    wait::until("another has taken its place", || {
        let now = service.zygotes();
        !now.is_empty() && !now.contains(&zygote) && service.get("/readyz").status == 200
    });
    good_job_is_right(&service);
    service.settle();
    assert!(service.metrics().value(r#"webrunner_zygote_restarts_total{reason="failed"}"#) >= 1.0);
    assert!(complaints(&service) < 50, "{}", service.log());
}

#[test]
fn workers_that_die_before_their_job_are_told_and_cost_no_job() {
    let service = Service::start();
    service.settle();
    // Each worker is killed as it comes. The answer that it is not ready may come between two of them.
    let reason = "end before they take a job (signal 9)";
    wait::until("it says that it is not ready, and why", || {
        for worker in service.workers() {
            worker.signal(Signal::KILL);
        }
        says(&service.get("/readyz"), reason)
    });
    wait::until("it is ready again", || service.get("/readyz").status == 200);
    good_job_is_right(&service);
    assert!(complaints(&service) < 50, "{}", service.log());
    service.settle();
}

#[test]
fn those_in_line_are_turned_away_when_nobody_can_serve_them() {
    let Some((service, _alone)) = limited() else { return };
    service.settle();
    let mut running = Connection::open(service.address());
    running.send(&jobs::request("hostile/spin.o", "kernel=playground").bytes());
    service.spins();
    let mut waiting = Connection::open(service.address());
    waiting.send(&jobs::request("good/chain100.o", "kernel=playground").bytes());
    wait::until("the other job waits", || service.readiness()["queued"] == 1);
    let _crowd = Crowd::of(&service.zygotes()[0]);
    for worker in service.workers() {
        worker.signal(Signal::KILL);
    }
    assert_eq!(running.receive().slug(), "worker-killed");
    let turned_away = waiting.receive();
    assert_eq!((turned_away.status, turned_away.slug().as_str()), (503, "no-worker"));
    assert!(turned_away.text().contains("no worker can be forked"), "{}", turned_away.text());
}

#[test]
fn zygotes_that_are_killed_under_load_cost_their_own_jobs_alone() {
    let service = Service::start();
    let answered = || {
        let mut connection = Connection::open(service.address());
        for _ in 0..60 {
            connection.send(&jobs::request("good/chain100.o", QUICK).bytes());
            let answer = connection.receive();
            let told = answer.status == 503 && answer.header("retry-after").is_some();
            assert!(answer.status == 200 || told, "{}: {}", answer.status, answer.text());
        }
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(answered)).collect();
        while !clients.iter().all(|client| client.is_finished()) {
            for zygote in service.zygotes() {
                zygote.signal(Signal::KILL);
            }
            wait::until("a zygote has come back, or it is over", || {
                service.get("/readyz").status == 200 || clients.iter().all(|client| client.is_finished())
            });
        }
    });
    wait::until("it is ready again", || service.get("/readyz").status == 200);
    good_job_is_right(&service);
    assert!(complaints(&service) < 200, "{}", service.log());
    service.settle();
}
