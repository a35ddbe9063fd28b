//! The clients of the old service: they know two paths, send no `Accept`, and read lines of `Name: integer`.

use webrunner_tests::http::{Answer, Request};
use webrunner_tests::jobs;
use webrunner_tests::service::Service;

/// Names and values of an old answer, which must hold nothing else.
fn lines(answer: &Answer) -> Vec<(String, u64)> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text().strip_suffix('\n').expect("a last line that ends");
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no pair: {line:?}"));
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("no whole number: {line:?}")))
    };
    text.split('\n').map(pair).collect()
}

#[test]
fn the_monitor_answers_head_for_any_machine() {
    let service = Service::start();
    for machine in ["haswell", "skylake", "zen5", "some.machine-2"] {
        let answer = Request::new("HEAD", &format!("/{machine}/monitor")).send(service.address());
        assert_eq!(answer.status, 200, "{machine}");
        assert_eq!(answer.header("content-length"), Some("0"));
    }
}

#[test]
fn a_job_posted_as_by_wget_is_answered_in_lines() {
    let service = Service::start();
    let request = jobs::request("peachpy/sdot_peachpy.o", "kernel=sdot&n=1024&incx=1&incy=1")
        .header("User-Agent", "Wget/1.21.3")
        .header("Accept", "*/*")
        .header("Accept-Encoding", "identity")
        .header("Connection", "Keep-Alive");
    let answer = request.send(service.address());
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    let lines = lines(&answer);
    assert_eq!(lines[0].0, "Cycles");
    assert!(lines[0].1 > 0, "{lines:?}");
}

#[test]
fn no_name_comes_twice_and_every_machine_gets_the_same_names() {
    let service = Service::start();
    let names = |machine: &str| {
        let target = format!("/{machine}/run?kernel=playground");
        let object = webrunner_tests::objects::read("good/chain100.o");
        let lines = lines(&Request::post(&target, &object).send(service.address()));
        lines.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let haswell = names("haswell");
    assert_eq!(haswell, names("zen5"));
    let mut once = haswell.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), haswell.len(), "{haswell:?}");
}

#[test]
fn instructions_are_among_the_lines_wherever_they_are_counted() {
    let service = Service::start();
    let new = service.measure("good/chain1000.o", "kernel=playground");
    let counted =
        new["results"].as_array().into_iter().flatten().any(|figure| figure["name"] == "Instructions");
    let lines = lines(&service.post("good/chain1000.o", "kernel=playground"));
    assert_eq!(lines.iter().any(|(name, _)| name == "Instructions"), counted, "{lines:?} {new}");
}

#[test]
fn an_old_answer_says_the_same_cycles_as_a_new_one() {
    let service = Service::start();
    let lines = lines(&service.post("good/chain1000.o", "kernel=playground"));
    let new = service.measure("good/chain1000.o", "kernel=playground");
    let (old, new_cycles) = (lines[0].1 as f64, new["results"][0]["value"].as_f64().expect("cycles"));
    assert!(new["quality"] != "ok" || (old / new_cycles - 1.0).abs() < 0.5, "{old} and {new_cycles}");
}

#[test]
fn a_browser_is_told_that_it_may_post_from_any_page() {
    let service = Service::start();
    let preflight = Request::new("OPTIONS", "/haswell/run?kernel=sdot&n=1024")
        .header("Origin", "https://www.peachpy.io")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type");
    let answer = preflight.send(service.address());
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD, POST, OPTIONS"));
    assert!(answer.header("access-control-allow-headers").expect("headers").contains("Content-Type"));
    assert_eq!(answer.header("access-control-max-age"), Some("1728000"));
}

#[test]
fn answers_and_problems_alike_may_be_read_by_any_page() {
    let service = Service::start();
    let good = service.post("good/chain100.o", "kernel=playground&_effort=quick");
    let bad = service.post("hostile/ud2.o", "kernel=playground");
    assert_eq!((good.status, bad.status), (200, 422));
    for answer in [good, bad] {
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
}
