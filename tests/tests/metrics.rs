//! What operators see: figures that Prometheus takes, labels that clients cannot multiply, rules and a dashboard that ask
//! only for what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;
use webrunner_tests::exposition::{Exposition, Family};
use webrunner_tests::http::{Connection, Request};
use webrunner_tests::prometheus::{self, Prometheus, promtool};
use webrunner_tests::service::{Service, kill};
use webrunner_tests::{objects, wait};

const QUICK: &str = "kernel=playground&_effort=quick";

fn systemd(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(file)
}

/// A service that has had a job of each interesting kind, so that every family has a series.
fn used() -> Service {
    let service = Service::start();
    let _ = service.measure("good/chain100.o", QUICK);
    let _ = service.refusal("hostile/syscall_getpid.o", QUICK);
    service
}

#[test]
fn promtool_has_nothing_to_remark() {
    if !prometheus::is_installed() {
        return;
    }
    let service = used();
    let answer = service.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4"));
    let (content, said) = promtool(Path::new("/"), &["check", "metrics"], answer.text());
    assert!(content && said.is_empty(), "{said}");
}

#[test]
fn every_metric_is_described_and_no_other() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md"))
        .expect("the document");
    let documented: BTreeMap<String, Family> = text.lines().filter_map(row).collect();
    let service = used();
    // The first scrape is itself a request that the second has counted.
    let _ = service.metrics();
    assert_eq!(service.metrics().families(), &documented);
}

/// A row of the table: name, type, labels.
fn row(line: &str) -> Option<(String, Family)> {
    let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
    let name = cells.next()?.trim_end_matches('`').to_owned();
    // Paths have a table too.
    (!name.starts_with('/')).then_some(())?;
    let kind = cells.next()?.to_owned();
    let labels = cells.next()?.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((name, Family { kind, labels }))
}

/// Requests such as a hostile client makes up, each with its own words in every place that a label could come from.
fn odd(number: usize) -> Request {
    let object = [number as u8; 8];
    let odd = |method: &str, target: String| Request::new(method, &target).header("Content-Length", "0");
    match number % 10 {
        0 => odd("GET", format!("/machine-{number}/monitor")),
        1 => odd("GET", format!("/no/such/path/{number}")),
        2 => odd(&format!("M{number}"), "/livez".into()),
        3 => odd("GET", format!("/kernels/made.up.{number}")),
        4 => odd("GET", format!("/problems/made-up-{number}")),
        5 => Request::post(&format!("/machine-{number}/run?kernel=k{number}"), &object),
        6 => Request::post(&format!("/machine-{number}/run?kernel=sdot&p{number}=1"), &object),
        7 => Request::post(&format!("/m/run?kernel=sdot&_option{number}=1"), &object),
        8 => odd("POST", format!("/m/run?kernel=sdot&n={number}"))
            .header("Content-Type", &format!("a/b{number}")),
        _ => odd("HEAD", format!("/machine-{number}/monitor")).header("X-Request-Id", &format!("id{number}")),
    }
}

#[test]
fn ten_thousand_odd_requests_add_no_series() {
    let service = Service::start();
    for number in 0..10 {
        let _ = odd(number).send(service.address());
    }
    let _ = service.metrics();
    let before = service.metrics();
    for number in 10..10_010 {
        let _ = odd(number).send(service.address());
    }
    let after = service.metrics();
    assert_eq!(before.names(), after.names());
    assert!(after.sum("webrunner_http_requests_total") >= 10_000.0);
    let other = r#"webrunner_runs_total{kernel="other",outcome="unknown-kernel"}"#;
    assert_eq!(after.value(other) - before.value(other), 1000.0);
}

#[test]
fn jobs_are_counted_by_how_they_ended() {
    let service = used();
    let metrics = service.metrics();
    for (series, value) in [
        (r#"webrunner_runs_total{kernel="playground",outcome="ok"}"#, 1.0),
        (r#"webrunner_runs_total{kernel="playground",outcome="system-call-refused"}"#, 1.0),
        (r#"webrunner_run_duration_seconds_count{kernel="playground"}"#, 2.0),
        (r#"webrunner_run_phase_seconds_count{phase="measure"}"#, 1.0),
        (r#"webrunner_http_requests_total{code="200",method="POST",route="/{machine}/run"}"#, 1.0),
        ("webrunner_object_size_bytes_count", 2.0),
        ("webrunner_ready", 1.0),
    ] {
        assert_eq!(metrics.value(series), value, "{series}");
    }
    assert_eq!(metrics.sum("webrunner_sandbox_violations_total"), 1.0);
    assert!(metrics.sum("webrunner_core_busy_seconds_total") > 0.0);
}

#[test]
fn a_client_that_leaves_is_counted_as_such_and_no_longer_in_flight() {
    let service = Service::start();
    let mut connection = Connection::open(service.address());
    connection.send(&Request::post("/m/run?kernel=playground", &objects::read("hostile/spin.o")).bytes());
    wait::until("the job runs", || service.readiness()["running"] == 1);
    assert_eq!(service.metrics().value("webrunner_http_requests_in_flight"), 2.0);
    drop(connection);
    let cancelled = r#"webrunner_runs_total{kernel="playground",outcome="cancelled"}"#;
    wait::until("the job is cancelled", || service.metrics().value(cancelled) == 1.0);
    assert_eq!(service.metrics().value("webrunner_http_requests_in_flight"), 1.0);
}

#[test]
fn requests_that_are_turned_away_are_counted_by_reason() {
    let service = Service::with_flags(["--rate-limit", "1"]);
    for _ in 0..3 {
        let _ = service.post("good/chain100.o", QUICK);
    }
    let _ = service.get(&format!("/{}", "x".repeat(9000)));
    let metrics = service.metrics();
    assert!(metrics.value(r#"webrunner_rejected_requests_total{reason="rate-limited"}"#) >= 1.0);
    assert_eq!(metrics.value(r#"webrunner_rejected_requests_total{reason="uri-too-long"}"#), 1.0);
}

#[test]
fn a_lost_zygote_is_counted() {
    let service = Service::start();
    let cores = service.zygotes().len() as f64;
    kill(service.zygote().id, Signal::KILL);
    let lost = r#"webrunner_zygote_restarts_total{reason="ended"}"#;
    wait::until("the loss is counted", || service.metrics().value(lost) == 1.0);
    wait::until("there is another", || service.metrics().sum("webrunner_zygote_up") == cores);
}

#[test]
fn operators_may_have_a_listener_of_their_own() {
    let service = Service::with_flags(["--metrics-listen", "127.0.0.1:0"]);
    let ask = |path: &str| Request::new("GET", path).send(service.operators_address());
    for path in ["/metrics", "/livez", "/readyz", "/version"] {
        assert_eq!(ask(path).status, 200, "{path}");
    }
    assert_eq!(service.get("/metrics").slug(), "not-found");
    assert_eq!(service.get("/readyz").status, 200);
    for path in ["/machine", "/kernels", "/here/monitor"] {
        assert_eq!(ask(path).slug(), "not-found", "{path}");
    }
}

#[test]
fn clients_that_hold_every_connection_keep_no_scrape_waiting() {
    let service = Service::with_flags(["--metrics-listen", "127.0.0.1:0"]);
    let held: Vec<_> = (0..256).map(|_| Connection::open(service.address())).collect();
    let answer = Request::new("GET", "/metrics").send(service.operators_address());
    assert_eq!((answer.status, held.len()), (200, 256));
}

#[test]
fn operators_are_answered_while_the_last_jobs_end() {
    let service =
        Service::with_flags(["--metrics-listen", "127.0.0.1:0", "--deadline", "60", "--cpu-limit", "60"]);
    let mut job = Connection::open(service.address());
    job.send(&Request::post("/m/run?kernel=playground", &objects::read("hostile/spin.o")).bytes());
    wait::until("the job runs", || service.readiness()["running"] == 1);
    service.signal(Signal::TERM);
    let ask = |path: &str| Request::new("GET", path).send(service.operators_address());
    wait::until("it says that it stops", || ask("/readyz").status == 503);
    let metrics = ask("/metrics");
    let metrics = Exposition::parse(metrics.text());
    assert_eq!(metrics.value("webrunner_ready"), 0.0);
    assert_eq!(metrics.value(r#"webrunner_workers{state="busy"}"#), 1.0);
}

#[test]
fn a_real_prometheus_scrapes_the_service_and_answers_the_dashboard() {
    if !prometheus::is_installed() {
        return;
    }
    let service = Service::with_flags(["--metrics-listen", "127.0.0.1:0"]);
    let prometheus = Prometheus::scraping(service.operators_address(), &systemd("alerts.yml"));
    prometheus.wait_for("up{job=\"webrunner\"}", "1");
    for _ in 0..3 {
        let _ = service.measure("good/chain100.o", QUICK);
    }
    prometheus.wait_for("sum(webrunner_runs_total{outcome=\"ok\"})", "3");
    prometheus.wait_for("sum(webrunner_run_duration_seconds_count)", "3");
    for (panel, expression) in panels() {
        assert!(prometheus.query(&expression).is_some(), "{panel}: {expression}");
    }
    wait::until("the rules were evaluated", || {
        let data = prometheus.ask("/api/v1/rules").unwrap_or_default();
        let rules =
            data["groups"].as_array().into_iter().flatten().flat_map(|group| group["rules"].as_array());
        let health: Vec<_> = rules.flatten().map(|rule| rule["health"].clone()).collect();
        !health.is_empty() && health.iter().all(|health| health == "ok")
    });
}

#[test]
fn the_alert_rules_are_right_and_fire_when_they_should() {
    if !prometheus::is_installed() {
        return;
    }
    for arguments in [&["check", "rules", "alerts.yml"][..], &["test", "rules", "alerts.test.yml"]] {
        let (content, said) = promtool(&systemd(""), arguments, "");
        assert!(content, "{said}");
    }
}

#[test]
fn rules_and_dashboard_ask_only_for_metrics_there_are() {
    let service = used();
    let _ = service.metrics();
    let metrics = service.metrics();
    let mut expressions = panels();
    let rules = fs::read_to_string(systemd("alerts.yml")).expect("the rules");
    expressions.extend(rules.lines().filter_map(|line| {
        line.trim().strip_prefix("expr: ").map(|expression| ("a rule".to_owned(), expression.to_owned()))
    }));
    assert!(expressions.len() > 15, "{expressions:?}");
    let mut asked = BTreeSet::new();
    for (owner, expression) in &expressions {
        for word in expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            if word.starts_with("webrunner_") || word.starts_with("process_") {
                assert!(exists(&metrics, word), "{owner} asks for {word}, which there is not");
                asked.insert(word);
            }
        }
    }
    assert!(asked.len() > 15, "{asked:?}");
}

fn exists(metrics: &Exposition, name: &str) -> bool {
    let is_histogram = |family: &str| metrics.families().get(family).is_some_and(|f| f.kind == "histogram");
    let parts = ["_bucket", "_sum", "_count"].into_iter();
    metrics.families().contains_key(name) && !is_histogram(name)
        || parts.filter_map(|part| name.strip_suffix(part)).any(is_histogram)
}

/// Titles and expressions of the dashboard's panels.
fn panels() -> Vec<(String, String)> {
    let text = fs::read_to_string(systemd("grafana.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("a list");
    let targets = panels.iter().flat_map(|panel| {
        let title = panel["title"].as_str().expect("text").to_owned();
        let targets = panel["targets"].as_array().expect("a list");
        targets.iter().map(move |target| (title.clone(), target["expr"].as_str().expect("text").to_owned()))
    });
    // What Grafana puts in for its own variable.
    targets.map(|(title, expression)| (title, expression.replace("$__rate_interval", "1m"))).collect()
}
