//! Rows C1 to C22, what a client can do, as far as `clients.rs`, `errors.rs` and `lifecycle.rs` do not have them.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use webrunner_tests::http::{Connection, Request};
use webrunner_tests::service::{Launch, Service};
use webrunner_tests::{jobs, wait};

use crate::outcome::is_measured;
use crate::target::{locked, of_its_own, request};

const GOOD: (&str, &str) = ("good/chain100.o", "kernel=playground");

/// A head that announces chunks.
const CHUNKED: &str = "POST /here/run?kernel=playground HTTP/1.1\r\nHost: x\r\n\
    Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Sends bytes and gives the status of the answer; `None` if the connection is closed without one.
fn status_of(service: &Service, bytes: &[u8]) -> Option<u16> {
    let mut connection = Connection::open(service.address());
    // The service may have heard enough before the end.
    let _ = connection.try_send(bytes);
    if connection.ends() { None } else { Some(connection.receive_head().status) }
}

/// C7. Lengths that cannot be or contradict each other, chunks that wrap, and no host.
#[test]
fn contradictory_lengths_are_refused() {
    let target = locked();
    let post =
        "POST /here/run?kernel=playground HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n";
    target.unharmed_by(|| {
        for head in [
            format!("{post}Content-Length: 18446744073709551616\r\n\r\n"),
            format!("{post}Content-Length: -1\r\n\r\n"),
            format!("{post}Content-Length: +5\r\n\r\nhello"),
            format!("{post}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
            format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
            format!("{CHUNKED}10000000000000001\r\n"),
            format!("{CHUNKED}-1\r\n"),
        ] {
            let status = status_of(target.service(), head.as_bytes());
            assert!(matches!(status, Some(400 | 413) | None), "{status:?} for {head:?}");
        }
    });
}

/// C8. Heads of a thousand headers, and of 256 KiB.
#[test]
fn a_head_without_measure_is_refused() {
    let target = locked();
    let mut many = String::from("GET /livez HTTP/1.1\r\nHost: x\r\n");
    for number in 0..1000 {
        write!(many, "X-{number}: 1\r\n").expect("memory");
    }
    let long = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(256 << 10));
    target.unharmed_by(|| {
        for head in [many + "\r\n", long] {
            let status = status_of(target.service(), head.as_bytes());
            assert!(matches!(status, Some(400 | 413 | 431) | None), "{status:?}");
        }
    });
}

/// C10. Connections on which nothing is ever sent: others are served, and in the end they are closed.
#[test]
fn idle_connections_keep_nobody_out() {
    // Its own: it takes seconds.
    let target = of_its_own(&[]);
    let mut idle: Vec<_> = (0..200).map(|_| Connection::open(target.service().address())).collect();
    is_measured(&target.post(GOOD.0, GOOD.1));
    drop(idle.split_off(50));
    is_measured(&target.post(GOOD.0, GOOD.1));
    for mut connection in idle {
        // Closed at once, or told so first.
        if !connection.ends() {
            assert_eq!(connection.receive_head().status, 408);
        }
    }
    target.unharmed_by(|| ());
}

/// C16. More connections than there are descriptors: when they are gone, all is as before.
#[test]
fn a_service_short_of_descriptors_recovers() {
    let few = ["prlimit", "--nofile=128:128"];
    let service = Launch::serve([]).through(few).start();
    service.settle();
    let crowd: Vec<_> = (0..200).map(|_| Connection::open(service.address())).collect();
    drop(crowd);
    wait::until("it answers again", || {
        let mut connection = Connection::open(service.address());
        connection.try_send(&Request::new("GET", "/livez").bytes()).is_ok() && !connection.ends()
    });
    jobs::good_job_is_right(&service);
    service.settle();
}

/// C17. Credentials, which the service does not ask for: they are in no answer, and in no log however much it is told
/// to say.
#[test]
fn credentials_that_nobody_asked_for_are_not_repeated() {
    const WORDS: &str = "canary-of-the-client";
    let folder = tempfile::tempdir().expect("a folder");
    let access_log = folder.path().join("access.log");
    let flags = ["--access-log", &access_log.to_string_lossy()];
    let service = Launch::serve(flags).with_variable("WEBRUNNER_LOG_FILTER", "trace").start();
    let headers = ["Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key"];
    for object in [GOOD.0, "hostile/null_read.o", "bad/text_file.o"] {
        let request = headers
            .iter()
            .fold(request(object, GOOD.1), |request, name| request.header(name, &format!("Bearer {WORDS}")));
        let told = format!("{:?}", request.send(service.address()));
        assert!(!told.contains(WORDS), "{told}");
    }
    // Both logs have said that the last of them was answered.
    wait::until("the requests are in the logs", || {
        let lines = fs::read_to_string(&access_log).unwrap_or_default();
        lines.lines().count() == 3 && service.log().matches("status=422").count() >= 2
    });
    for log in [service.log(), fs::read_to_string(&access_log).expect("a log")] {
        assert!(!log.contains(WORDS), "{log}");
    }
}

/// C18. Paths and parameters with bytes that mean something elsewhere: to a file system, a shell, a terminal, a log.
#[test]
fn odd_bytes_in_paths_and_parameters_mean_nothing() {
    let target = locked();
    target.unharmed_by(|| {
        for path in [
            "/../../etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
            "/kernels/..%2f..%2fetc%2fpasswd",
            "/kernels/%00",
            "/kernels/%0a%0dX:%201",
            "/kernels/$(id)",
            "/kernels/%1b[31m",
        ] {
            let answer = target.send(&Request::new("GET", path));
            assert_eq!(answer.status, 404, "{path}");
            assert!(!answer.text().contains(|letter: char| letter.is_control()), "{path}: {}", answer.text());
        }
        for query in [
            "kernel=playground&iterations=%00",
            "kernel=playground&%0aevil=1",
            "kernel=%1b[31m",
            "_symbol=%00",
        ] {
            let answer = target.send(&Request::post(&format!("/here/run?{query}"), b""));
            assert!((400..500).contains(&answer.status), "{query}: {answer:?}");
            assert!(
                !answer.text().contains(|letter: char| letter.is_control()),
                "{query}: {}",
                answer.text()
            );
        }
        for head in ["GET /li\0vez HTTP/1.1\r\nHost: x\r\n\r\n", "GET /livez HTTP/1.1\r\nHost : x\r\n\r\n"] {
            assert_eq!(status_of(target.service(), head.as_bytes()), Some(400), "{head:?}");
        }
    });
    let log = target.service().log();
    assert!(!log.contains(|letter: char| letter.is_control() && letter != '\n'), "{log:?}");
}

/// C21. Thousands of small requests at once, on many connections whose answers nobody reads, and behind a job that does
/// not end: they wait as the bytes they are, and who leaves is still seen to.
#[test]
fn thousands_of_requests_that_wait_take_no_memory() {
    const CONNECTIONS: usize = 20;
    /// A seventh of what they took when each request was decoded as it came.
    const MOST_GROWTH_KIB: u64 = 16 << 10;
    // Its own: its memory is looked at.
    let target = of_its_own(&["--deadline", "3600", "--cpu-limit", "3600"]);
    let requests = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    target.unharmed_by(|| {
        let crowd: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let mut connection = Connection::open(target.service().address());
                connection.send(&requests);
                assert!(!connection.ends(), "no answer came");
                connection
            })
            .collect();
        is_measured(&target.post(GOOD.0, GOOD.1));
        let growth = target.growth();
        assert!(growth <= MOST_GROWTH_KIB, "{CONNECTIONS} connections took {growth} KiB");
        crowd.into_iter().for_each(Connection::reset);
    });
    target.unharmed_by(|| {
        let mut connection = Connection::open(target.service().address());
        connection.send(&request("hostile/spin.o", "kernel=playground").bytes());
        wait::until("the endless job runs", || target.service().readiness()["running"] == 1);
        connection.send(&requests);
        connection.reset();
    });
}

/// C22. `Expect: 100-continue` before what is refused: whoever is told to go on is told no right after, before a byte
/// of the body.
#[test]
fn a_body_that_is_expected_and_refused_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = folder.path().join("tokens");
    let line = format!("farm:{}\n", "0".repeat(64));
    fs::write(&tokens, line)
        .and_then(|()| fs::set_permissions(&tokens, Permissions::from_mode(0o600)))
        .expect("a file");
    let target = locked();
    let strict = Launch::serve(["--tokens", &tokens.to_string_lossy()]).start();
    let head = |length: usize| {
        format!(
            "POST /here/run?kernel=playground HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\
             Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    target.unharmed_by(|| {
        let refused = [(target.service(), 2 << 20, 413), (&strict, 1000, 401)];
        for (service, length, status) in refused {
            let mut connection = Connection::open(service.address());
            connection.send(head(length).as_bytes());
            let first = connection.receive_head().status;
            let last = if first == 100 { connection.receive().status } else { first };
            assert_eq!(last, status);
            assert!(connection.ends(), "a connection whose body is not read is closed");
        }
    });
}
