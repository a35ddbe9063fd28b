//! Everything that keeps a request from its answer: the status, the kind of problem, and what it tells to do.

use std::io::Write as _;

use serde_json::{Value, json};
use webrunner_tests::http::{Answer, Connection, Request, slug};
use webrunner_tests::service::Service;
use webrunner_tests::{jobs, wait};

const CHAIN: &str = "good/chain1000.o";
const OCTETS: (&str, &str) = ("Content-Type", "application/octet-stream");

/// The largest object taken.
const MOST_BYTES: usize = 1 << 20;

/// Status and kind of a problem.
fn kind(answer: &Answer) -> (u16, String) {
    (answer.status, answer.slug())
}

fn is(status: u16, slug: &str) -> (u16, String) {
    (status, slug.to_owned())
}

#[test]
fn a_query_that_cannot_be_understood_is_refused_for_its_reason() {
    let service = Service::start();
    let many = (0..70).map(|index| format!("&p{index}=1")).collect::<String>();
    for (query, slug) in [
        ("", "kernel-missing"),
        ("kernel=", "kernel-missing"),
        ("n=1", "kernel-missing"),
        ("kernel=sdot&kernel=ddot", "malformed-query"),
        ("kernel=sdot&n=1&n=2", "malformed-query"),
        ("kernel=sdot&n=%zz", "malformed-query"),
        ("kernel=%ff", "malformed-query"),
        (&format!("kernel=sdot{many}"), "malformed-query"),
        ("kernel=sdot&_what=1", "unknown-option"),
        ("kernel=sdot&_effort=best", "bad-option"),
        ("kernel=sdot&_format=xml", "bad-option"),
        ("kernel=sdot&_symbol=", "bad-option"),
    ] {
        assert_eq!(kind(&service.post("good/sdot_gas.o", query)), is(400, slug), "{query}");
    }
}

#[test]
fn a_bad_parameter_is_named_with_its_range_and_what_came() {
    let service = Service::start();
    for (parameter, value) in [
        ("n", "-1"),
        ("n", "1.5"),
        ("n", "ten"),
        ("n", "18446744073709551616"),
        ("offx", "64"),
        ("incx", "0"),
        ("n", ""),
    ] {
        let answer = service.post("good/sdot_gas.o", &format!("kernel=sdot&{parameter}={value}"));
        assert_eq!(kind(&answer), is(400, "bad-parameter"), "{parameter}={value}");
        let problem = answer.problem();
        assert_eq!((&problem["parameter"], &problem["got"]), (&json!(parameter), &json!(value)));
        assert!(problem["expected"].as_str().is_some_and(|range| range.contains(" to ")), "{problem}");
    }
}

#[test]
fn an_unknown_parameter_is_answered_with_those_there_are() {
    let problem = Service::start().post("good/sdot_gas.o", "kernel=sdot&incz=1").problem();
    assert_eq!((slug(&problem), &problem["parameter"]), ("bad-parameter", &json!("incz")));
    assert!(problem["detail"].as_str().expect("a sentence").contains("did you mean incx"), "{problem}");
    assert!(problem["expected"].as_str().expect("names").contains("offy"), "{problem}");
}

#[test]
fn sizes_no_host_has_memory_for_are_refused_before_anything_runs() {
    let service = Service::start();
    for query in [
        "kernel=sdot&n=16777216&incx=1024",
        "kernel=sdot&n=16777216&incx=4294967295",
        "kernel=sgemm&mr=4294967295",
    ] {
        let answer = service.post("good/sdot_gas.o", query);
        assert_eq!(kind(&answer), is(400, "bad-parameter"), "{query}: {}", answer.text());
    }
    jobs::good_job_is_right(&service);
}

#[test]
fn an_unknown_kernel_is_answered_with_names_like_it() {
    let service = Service::start();
    let answer = service.post(CHAIN, "kernel=sdto");
    assert_eq!(kind(&answer), is(404, "unknown-kernel"));
    assert!(answer.problem()["near"].as_array().expect("names").contains(&json!("blis.sdot")));
    assert_eq!(kind(&service.get("/kernels/sdto")), is(404, "unknown-kernel"));
    assert_eq!(service.post(CHAIN, "kernel=%3Cscript%3E").problem()["near"], json!([]));
}

#[test]
fn there_is_nothing_at_other_paths() {
    let service = Service::start();
    for path in ["/", "/none", "/kernels/monitor/run", "/machine/monitor", "/x/y/z", "/../etc/passwd"] {
        assert_eq!(kind(&service.get(path)).0, 404, "{path}");
    }
}

#[test]
fn other_methods_are_answered_with_those_allowed() {
    let service = Service::start();
    for (method, path, allowed) in [
        ("GET", "/here/run", "POST"),
        ("PUT", "/here/run", "POST"),
        ("POST", "/here/monitor", "GET, HEAD"),
        ("DELETE", "/kernels", "GET, HEAD"),
        ("PATCH", "/machine", "GET, HEAD"),
    ] {
        let answer = Request::new(method, path).header("Content-Length", "0").send(service.address());
        assert_eq!(kind(&answer), is(405, "method-not-allowed"), "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allowed));
        assert_eq!(answer.problem()["allow"], json!(allowed.split(", ").collect::<Vec<_>>()));
    }
}

#[test]
fn an_object_must_be_declared_as_octets() {
    let service = Service::start();
    let target = "/here/run?kernel=playground";
    let undeclared = Request::new("POST", target).header("Content-Length", "0").send(service.address());
    assert_eq!(
        (kind(&undeclared), &undeclared.problem()["got"]),
        (is(415, "wrong-content-type"), &Value::Null)
    );
    let form = "multipart/form-data; boundary=x";
    let declared = Request::new("POST", target).header("Content-Type", form).header("Content-Length", "0");
    assert_eq!(declared.send(service.address()).problem()["got"], form);
}

#[test]
fn an_object_larger_than_any_is_refused_before_it_is_sent() {
    let service = Service::start();
    let mut connection = Connection::open(service.address());
    let length = (MOST_BYTES + 1).to_string();
    let request = Request::new("POST", "/here/run?kernel=playground").header(OCTETS.0, OCTETS.1);
    connection.send(&request.header("Content-Length", &length).head());
    let answer = connection.receive();
    assert_eq!(kind(&answer), is(413, "body-too-large"));
    assert_eq!(answer.problem()["limit_bytes"], MOST_BYTES);
}

#[test]
fn an_object_sent_in_chunks_is_refused_once_it_is_too_large() {
    let service = Service::start();
    let mut connection = Connection::open(service.address());
    let request = Request::new("POST", "/here/run?kernel=playground").header(OCTETS.0, OCTETS.1);
    connection.send(&request.header("Transfer-Encoding", "chunked").head());
    let chunk = [format!("{MOST_BYTES:x}\r\n").into_bytes(), vec![0; MOST_BYTES], b"\r\n".to_vec()].concat();
    connection.send(&chunk);
    // The service may have heard enough by now.
    let _ = connection.try_send(&chunk);
    assert_eq!(kind(&connection.receive()), is(413, "body-too-large"));
}

#[test]
fn objects_as_large_as_any_may_be_are_handed_over_whole() {
    let service = Service::start();
    // More than a socket holds at once, and again and again: what a lost wake-up costs comes by chance.
    for _ in 0..50 {
        let answer =
            Request::post("/here/run?kernel=playground", &vec![0; MOST_BYTES]).send(service.address());
        assert_eq!(kind(&answer), is(422, "bad-object"));
    }
}

#[test]
fn an_object_sent_in_chunks_is_measured_like_any_other() {
    let service = Service::start();
    let object = webrunner_tests::objects::read(CHAIN);
    let mut body = Vec::new();
    for piece in object.chunks(100) {
        write!(body, "{:x}\r\n", piece.len()).expect("memory");
        body.extend_from_slice(piece);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let mut connection = Connection::open(service.address());
    let request = Request::new("POST", "/here/run?kernel=playground").header(OCTETS.0, OCTETS.1);
    connection.send(&[request.header("Transfer-Encoding", "chunked").head(), body].concat());
    assert_eq!(connection.receive().status, 200);
}

#[test]
fn a_chunked_object_that_breaks_the_framing_is_refused() {
    let service = Service::start();
    let mut connection = Connection::open(service.address());
    let request = Request::new("POST", "/here/run?kernel=playground").header(OCTETS.0, OCTETS.1);
    connection.send(&[request.header("Transfer-Encoding", "chunked").head(), b"zz\r\n".to_vec()].concat());
    assert_eq!(kind(&connection.receive()), is(400, "bad-body"));
}

#[test]
fn a_target_longer_than_any_is_refused() {
    let service = Service::start();
    let answer = service.get(&format!("/here/monitor?x={}", "y".repeat(9000)));
    assert_eq!(kind(&answer), is(414, "uri-too-long"));
}

#[test]
fn what_is_no_http_is_refused() {
    let service = Service::start();
    for request in [
        "nonsense\r\n\r\n",
        "POST /here/run?kernel=playground HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /here/run?kernel=playground HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST /here/run?kernel=playground HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut connection = Connection::open(service.address());
        connection.send(request.as_bytes());
        assert_eq!(connection.receive().status, 400, "{request:?}");
    }
    assert_eq!(service.get("/livez").status, 200);
}

#[test]
fn a_full_queue_is_told_with_the_time_to_come_back() {
    let service = Service::with_flags(["--queue-size", "0", "--deadline", "3600", "--cpu-limit", "3600"]);
    // Where none may wait, there must be a worker at once.
    service.settle();
    let mut endless = Connection::open(service.address());
    endless.send(&jobs::request("hostile/spin.o", "kernel=playground").bytes());
    wait::until("the endless job runs", || service.readiness()["running"] == 1);
    let answer = service.post(CHAIN, "kernel=playground");
    assert_eq!(kind(&answer), is(503, "queue-full"));
    let seconds: u64 =
        answer.header("retry-after").and_then(|text| text.parse().ok()).expect("whole seconds");
    assert!(seconds >= 1);
    assert_eq!(
        (&answer.problem()["retry_after"], &answer.problem()["queue_capacity"]),
        (&json!(seconds), &json!(0))
    );
}

#[test]
fn as_many_jobs_wait_as_may_and_no_more() {
    let service = Service::with_flags(["--queue-size", "2", "--deadline", "3600", "--cpu-limit", "3600"]);
    let mut connections = Vec::new();
    for (running, queued) in [(1, 0), (1, 1), (1, 2)] {
        let mut connection = Connection::open(service.address());
        connection.send(&jobs::request("hostile/spin.o", "kernel=playground").bytes());
        connections.push(connection);
        wait::until("it runs or waits", || {
            let is = service.readiness();
            is["running"] == running && is["queued"] == queued
        });
    }
    for _ in 0..3 {
        assert_eq!(kind(&service.post(CHAIN, "kernel=playground")), is(503, "queue-full"));
    }
    assert_eq!(service.readiness()["queued"], 2);
}

#[test]
fn an_address_that_posts_more_often_than_it_may_is_told_when_it_may_again() {
    let service = Service::with_flags(["--rate-limit", "1"]);
    let answers: Vec<_> = (0..3).map(|_| service.post(CHAIN, "kernel=playground&_effort=quick")).collect();
    let refused =
        answers.iter().find(|answer| answer.status != 200).expect("three jobs within three seconds");
    assert_eq!(kind(refused), is(429, "rate-limited"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(service.get("/livez").status, 200, "only jobs are limited");
}

#[test]
fn every_kind_of_problem_has_a_page() {
    let service = Service::start();
    let kinds = service.get("/problems").json();
    for described in kinds["problems"].as_array().expect("kinds") {
        let page = service.get(described["type"].as_str().expect("a path"));
        assert_eq!((page.status, &page.json()), (200, described));
    }
    let problem = service.post(CHAIN, "kernel=none").problem();
    assert_eq!(service.get(problem["type"].as_str().expect("a path")).json()["title"], problem["title"]);
}
