//! Clients that leave, dawdle or crowd: they cost themselves alone.

use std::thread;
use std::time::{Duration, Instant};

use webrunner_tests::http::{Answer, Connection, Request};
use webrunner_tests::jobs::{self, good_job_is_right};
use webrunner_tests::objects;
use webrunner_tests::service::Service;
use webrunner_tests::wait;

/// Flags under which a job that is not cancelled would run for an hour.
const FOR_HOURS: [&str; 4] = ["--deadline", "3600", "--cpu-limit", "3600"];

/// A service with an endless job, and the connection that waits for its answer.
fn endless_job() -> (Service, Connection) {
    let service = Service::with_flags(FOR_HOURS);
    let mut connection = Connection::open(service.address());
    connection.send(&jobs::request("hostile/spin.o", "kernel=playground").bytes());
    wait::until("the endless job runs", || service.readiness()["running"] == 1);
    (service, connection)
}

fn the_core_is_free(service: &Service) {
    good_job_is_right(service);
    service.settle();
}

#[test]
fn a_client_that_closes_its_connection_cancels_its_job() {
    let (service, connection) = endless_job();
    drop(connection);
    the_core_is_free(&service);
}

#[test]
fn a_client_that_resets_its_connection_cancels_its_job() {
    let (service, connection) = endless_job();
    connection.reset();
    the_core_is_free(&service);
}

#[test]
fn a_client_that_stops_sending_cancels_its_job() {
    let (service, connection) = endless_job();
    connection.finish_sending();
    the_core_is_free(&service);
}

#[test]
fn clients_that_send_a_job_and_leave_at_once_cancel_it() {
    let service = Service::with_flags(FOR_HOURS);
    let small = objects::read("hostile/spin.o");
    // Comes in several pieces.
    let large = [small.clone(), vec![0; 100 << 10]].concat();
    for (count, object) in (1..).zip([&small, &large, &small, &large, &small, &large]) {
        let mut connection = Connection::open(service.address());
        connection.send(&Request::post("/m/run?kernel=playground", object).bytes());
        drop(connection);
        let cancelled = r#"webrunner_runs_total{kernel="playground",outcome="cancelled"}"#;
        wait::until("the job is cancelled", || service.metrics().value(cancelled) == f64::from(count));
    }
    the_core_is_free(&service);
}

#[test]
fn a_client_that_leaves_the_line_gives_up_its_place() {
    let (service, running) = endless_job();
    let mut waiting = Connection::open(service.address());
    waiting.send(&jobs::request("hostile/spin.o", "kernel=playground").bytes());
    wait::until("the second job waits", || service.readiness()["queued"] == 1);
    drop(waiting);
    wait::until("nobody waits", || service.readiness()["queued"] == 0);
    drop(running);
    the_core_is_free(&service);
}

#[test]
fn the_worker_of_a_cancelled_job_is_ended() {
    let (service, connection) = endless_job();
    let before = service.workers();
    drop(connection);
    service.settle();
    assert!(before.iter().any(|worker| !worker.is_alive()), "the worker that spins still runs");
}

#[test]
fn a_job_in_line_runs_once_the_one_before_it_is_cancelled() {
    let (service, running) = endless_job();
    let mut waiting = Connection::open(service.address());
    waiting.send(&jobs::request("good/chain1000.o", "kernel=playground").bytes());
    wait::until("the second job waits", || service.readiness()["queued"] == 1);
    drop(running);
    assert_eq!(waiting.receive().status, 200);
}

/// How a client dawdles: what it begins with, and what comes now and then after that, if anything does.
type Dawdling = (Vec<u8>, Option<&'static [u8]>);

/// Dawdles until the service has had enough; what it says then, if it says anything.
fn dawdle(mut connection: Connection, (begin, drip): Dawdling) -> Option<Answer> {
    connection.send(&begin);
    let mut sender = connection.another();
    let dripping = drip.map(|bytes| {
        thread::spawn(move || {
            let until = Instant::now() + wait::LIMIT;
            while sender.try_send(bytes).is_ok() {
                assert!(Instant::now() < until, "the service still takes what a client that dawdles sends");
                // As slow as it takes to be always about to go on; nothing waits for this.
                thread::sleep(Duration::from_millis(50));
            }
        })
    });
    let answer = (!connection.ends()).then(|| connection.receive());
    if answer.is_some() {
        assert!(connection.ends(), "the connection of a client that dawdles is closed");
    }
    drop(connection);
    dripping.into_iter().for_each(|thread| thread.join().expect("no panic"));
    answer
}

/// Has clients dawdle all at once, and others served meanwhile; what each of them is told.
fn dawdle_beside_others<const N: usize>(
    service: &Service,
    open: fn(&Service) -> Connection,
    clients: [Dawdling; N],
) -> [Option<Answer>; N] {
    thread::scope(|scope| {
        let clients = clients.map(|client| {
            let connection = open(service);
            scope.spawn(|| dawdle(connection, client))
        });
        good_job_is_right(service);
        clients.map(|client| client.join().expect("no panic"))
    })
}

/// A connection that has had no request.
fn fresh(service: &Service) -> Connection {
    Connection::open(service.address())
}

/// A connection that has had one.
fn used(service: &Service) -> Connection {
    let mut connection = fresh(service);
    connection.send(&Request::new("GET", "/livez").bytes());
    assert_eq!(connection.receive().status, 200);
    connection
}

#[test]
fn a_first_head_that_never_ends_is_given_up_while_others_are_served() {
    let head = b"POST /here/run?kernel=playground HTTP/1.1\r\nHost: ".to_vec();
    let clients = [(head.clone(), None), (head, Some(b"x".as_slice()))];
    for answer in dawdle_beside_others(&Service::start(), fresh, clients) {
        assert_eq!(answer.map(|answer| answer.status), Some(408));
    }
}

#[test]
fn a_later_head_that_never_ends_is_given_up_while_others_are_served() {
    let head = b"GET /livez HTTP/1.1\r\nHost: ".to_vec();
    // The last says nothing at all.
    let clients = [(head.clone(), None), (head, Some(b"x".as_slice())), (Vec::new(), None)];
    for answer in dawdle_beside_others(&Service::start(), used, clients) {
        assert!(answer.is_none(), "{answer:?}");
    }
}

#[test]
fn a_body_that_never_ends_is_given_up_while_others_are_served() {
    let head = jobs::request("good/chain1000.o", "kernel=playground").head();
    let chunked = Request::new("POST", "/here/run?kernel=playground")
        .header("Content-Type", "application/octet-stream")
        .header("Transfer-Encoding", "chunked");
    let clients = [
        ([&head, b"\x7fELF".as_slice()].concat(), None),
        (head, Some(b"\x7f".as_slice())),
        // The extension of a chunk's length, without end.
        ([chunked.head(), b"5;".to_vec()].concat(), Some([b'x'; 1024].as_slice())),
    ];
    for answer in dawdle_beside_others(&Service::start(), fresh, clients) {
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, answer.slug().as_str()), (408, "body-too-slow"));
        assert!(answer.problem()["limit_seconds"].as_f64().is_some_and(|limit| limit > 0.0));
    }
}

#[test]
fn a_body_nobody_asked_for_holds_no_connection() {
    let service = Service::start();
    let mut connection = Connection::open(service.address());
    connection.send(&Request::new("GET", "/livez").header("Content-Length", "1000").head());
    assert_eq!(connection.receive().status, 200);
    assert!(connection.ends());
}

#[test]
fn what_is_no_request_behind_a_job_costs_the_job_nothing() {
    let service = Service::start();
    let job = jobs::request("good/chain100.o", "kernel=playground").bytes();
    let mut connection = Connection::open(service.address());
    connection.send(&[&job[..], b"no request\r\n\r\n"].concat());
    assert_eq!(connection.receive().status, 200);
    assert_eq!(connection.receive().status, 400);
    assert!(connection.ends());
}

#[test]
fn a_body_whose_length_was_not_told_is_said_to_be_missing() {
    let service = Service::start();
    let job = Request::new("POST", "/here/run?kernel=playground")
        .header("Content-Type", "application/octet-stream");
    let mut connection = Connection::open(service.address());
    connection.send(&[&job.bytes()[..], &objects::read("good/chain100.o")].concat());
    let answer = connection.receive();
    assert_eq!((answer.status, answer.slug().as_str()), (422, "bad-object"));
    assert!(answer.text().contains("Content-Length"), "{}", answer.text());
    assert_eq!(connection.receive().status, 400, "the body is no request");
    assert!(connection.ends());
}

#[test]
fn heads_larger_than_any_are_refused() {
    let service = Service::start();
    let many = (0..200).fold(Request::new("GET", "/livez"), |request, _| request.header("X-Header", "x"));
    let wide = Request::new("GET", "/livez").header("X-Header", &"x".repeat(200 << 10));
    for request in [many, wide] {
        let mut connection = Connection::open(service.address());
        // It may be refused before all of it is sent.
        let _ = connection.try_send(&request.bytes());
        if !connection.ends() {
            let status = connection.receive().status;
            assert!([400, 431].contains(&status), "{status}");
        }
    }
    good_job_is_right(&service);
}

#[test]
fn what_clients_do_wrong_fills_no_log() {
    let service = Service::start();
    let before = service.log_of_start();
    for wrong in ["nonsense\r\n\r\n", "GET /livez HTTP/1.1\r\nHost : x\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n"] {
        let mut connection = Connection::open(service.address());
        connection.send(wrong.as_bytes());
        assert_eq!(connection.receive().status, 400, "{wrong:?}");
        assert!(connection.ends());
    }
    good_job_is_right(&service);
    assert_eq!(service.log(), before);
}

#[test]
fn a_client_that_asked_is_refused_without_its_body() {
    let service = Service::start();
    let request =
        jobs::request("good/chain100.o", "kernel=playground&iterations=-1").header("Expect", "100-continue");
    let mut connection = Connection::open(service.address());
    connection.send(&request.head());
    // The server below the service says this to everybody.
    assert_eq!(connection.receive_head().status, 100);
    assert_eq!(connection.receive().status, 400);
}

#[test]
fn jobs_sent_at_once_by_a_client_that_leaves_are_all_given_up() {
    let service = Service::with_flags(FOR_HOURS);
    let mut connection = Connection::open(service.address());
    connection.send(&jobs::request("hostile/spin.o", "kernel=playground").bytes().repeat(5));
    wait::until("the first of them runs", || service.readiness()["running"] == 1);
    drop(connection);
    the_core_is_free(&service);
    assert_eq!(service.readiness()["queued"], 0);
}

#[test]
fn clients_beyond_the_most_wait_until_others_leave() {
    let service = Service::with_flags(["--max-connections", "2"]);
    let idle = [Connection::open(service.address()), Connection::open(service.address())];
    let mut waiting = Connection::open(service.address());
    waiting.send(&jobs::request("good/chain100.o", "kernel=playground").bytes());
    drop(idle);
    assert_eq!(waiting.receive().status, 200);
}

#[test]
fn a_body_that_breaks_off_is_no_job() {
    let service = Service::start();
    let mut hasty = Connection::open(service.address());
    let bytes = jobs::request("hostile/spin.o", "kernel=playground").bytes();
    hasty.send(&bytes[..bytes.len() - 1]);
    hasty.finish_sending();
    good_job_is_right(&service);
    assert_eq!(service.readiness()["running"], 0);
}

#[test]
fn requests_sent_at_once_are_answered_in_their_order() {
    let service = Service::start();
    let mut connection = Connection::open(service.address());
    let ids = ["1", "2", "3", "4", "5", "6", "7", "8"];
    let requests = ids.map(|id| {
        let job = jobs::request("good/chain100.o", "kernel=playground&_effort=quick");
        job.header("X-Request-Id", id).bytes()
    });
    connection.send(&requests.concat());
    for id in ids {
        let answer = connection.receive();
        assert_eq!((answer.status, answer.header("x-request-id")), (200, Some(id)));
    }
}

#[test]
fn a_connection_serves_many_jobs_good_and_bad() {
    let service = Service::start();
    let mut connection = Connection::open(service.address());
    for _ in 0..20 {
        for (object, status) in [("good/chain100.o", 200), ("hostile/ud2.o", 422), ("bad/text_file.o", 422)] {
            connection.send(&jobs::request(object, "kernel=playground&_effort=quick").bytes());
            assert_eq!(connection.receive().status, status, "{object}");
        }
    }
}

#[test]
fn a_client_may_ask_whether_to_send_its_body() {
    let service = Service::start();
    let request = jobs::request("good/chain100.o", "kernel=playground").header("Expect", "100-continue");
    let mut connection = Connection::open(service.address());
    connection.send(&request.head());
    assert_eq!(connection.receive_head().status, 100);
    connection.send(&objects::read("good/chain100.o"));
    assert_eq!(connection.receive().status, 200);
}

#[test]
fn a_quick_job_does_not_wait_behind_one_that_cannot_use_its_core() {
    let (service, _running) = endless_job();
    if service.get("/machine").json()["quick_cores"].as_array().is_none_or(Vec::is_empty) {
        return eprintln!("skipped: this host has no core for quick jobs alone");
    }
    let mut waiting = Connection::open(service.address());
    waiting.send(&jobs::request("good/chain1000.o", "kernel=playground").bytes());
    wait::until("the second job waits", || service.readiness()["queued"] == 1);
    let quick = service.post("good/chain1000.o", "kernel=playground&_effort=quick");
    assert_eq!(quick.status, 200, "{}", quick.text());
    let is = service.readiness();
    assert_eq!((&is["running"], &is["queued"]), (&1.into(), &1.into()), "neither of the others has moved");
}

#[test]
fn as_many_clients_as_may_wait_are_all_answered() {
    let service = Service::start();
    let mut connections: Vec<_> = (0..40).map(|_| Connection::open(service.address())).collect();
    for connection in &mut connections {
        connection.send(&jobs::request("good/chain1000.o", "kernel=playground&_effort=quick").bytes());
    }
    assert!(connections.iter_mut().all(|connection| connection.receive().status == 200));
    service.settle();
}
