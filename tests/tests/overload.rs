//! Ten times what the service can take: what is answered is right, the rest is told to come back, and when it is over
//! the service is as it was.

use std::fs;
use std::thread;

use webrunner_tests::http::Connection;
use webrunner_tests::jobs;
use webrunner_tests::service::{Launch, Service};

/// Jobs that may wait.
const QUEUE: usize = 4;

/// Clients: more than ten times as many as have a place in line or at work, on one core.
const CLIENTS: u64 = 80;

/// Jobs each posts, one after the other, whatever came of the one before.
const EACH: usize = 20;

/// `good/chain_loop.o` returns 8 times the parameter.
const KERNEL: &str = "<kernel name=\"times_eight\">\
    <query><parameter name=\"n\" type=\"uint64\" default=\"1\"/></query>\
    <call returns=\"uint64_t\"><argument name=\"n\" type=\"uint64_t\"/></call></kernel>";

/// Answered, and turned away.
#[derive(Debug, Default)]
struct Count {
    right: usize,
    refused: usize,
}

/// Posts jobs whose answers are nobody else's.
fn flood(service: &Service, number: u64) -> Count {
    let mut connection = Connection::open(service.address());
    let query = format!("kernel=times_eight&n={number}&_effort=quick&_format=json");
    let request = jobs::request("good/chain_loop.o", &query).bytes();
    let mut count = Count::default();
    for _ in 0..EACH {
        connection.send(&request);
        let answer = connection.receive();
        if answer.status == 200 {
            assert_eq!(answer.json()["returned"], 8 * number, "{}", answer.text());
            count.right += 1;
        } else {
            assert_eq!((answer.status, answer.slug().as_str()), (503, "queue-full"), "{}", answer.text());
            assert!(answer.header("retry-after").is_some(), "{:?}", answer.headers);
            count.refused += 1;
            // On the same connection: whoever is refused for a moment need not connect anew.
            assert_eq!(answer.header("connection"), None, "{:?}", answer.headers);
        }
    }
    count
}

#[test]
fn ten_times_too_much_is_answered_right_or_refused_and_is_over_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("times_eight.xml"), KERNEL).expect("a file");
    let (kernels, queue) = (folder.path().to_string_lossy(), QUEUE.to_string());
    let flags = ["serve", "--listen", "127.0.0.1:0", "--kernels", &kernels, "--queue-size", &queue];
    let service = Launch::command(flags.into_iter().chain(["--cores", "0", "--self-check", "0"])).start();
    service.settle();
    let log = service.log_of_start();
    let counts: Vec<Count> = thread::scope(|scope| {
        let clients: Vec<_> = (1..=CLIENTS)
            .map(|number| {
                scope.spawn({
                    let service = &service;
                    move || flood(service, number)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("no panic")).collect()
    });
    let right: usize = counts.iter().map(|count| count.right).sum();
    let refused: usize = counts.iter().map(|count| count.refused).sum();
    assert!(right > QUEUE && refused > 0, "{right} answered, {refused} refused");

    let after = flood(&service, 9);
    assert_eq!((after.right, after.refused), (EACH, 0), "one client alone is never refused");
    assert_eq!(service.log(), log, "an overload is told by metrics, not by the log");
    let metrics = service.metrics();
    let told = metrics.value(r#"webrunner_rejected_requests_total{reason="queue-full"}"#);
    assert_eq!(told, refused as f64);
    service.settle();
}
