//! SIGHUP: kernels are read again while jobs run, and what cannot be taken changes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use webrunner_tests::http::Connection;
use webrunner_tests::jobs;
use webrunner_tests::service::{Launch, Service};
use webrunner_tests::wait;

/// A kernel of one argument; `good/chain_loop.o` returns 8 times it.
fn write_kernel(folder: &Path, name: &str, argument: u32) {
    let text = format!(
        "<kernel name=\"{name}\"><call returns=\"uint64_t\"><argument name=\"n\" type=\"uint64_t\" value=\"{argument}\"/></call></kernel>"
    );
    fs::write(folder.join(format!("{name}.xml")), text).expect("a file");
}

fn serve(folder: &Path) -> Service {
    let folder = folder.to_string_lossy();
    Launch::command(["serve", "--listen", "127.0.0.1:0", "--kernels", &folder]).start()
}

fn reload(service: &Service) {
    let before = service.log().matches("SIGHUP: ").count();
    service.signal(Signal::HUP);
    wait::until("the files were read", || service.log().matches("SIGHUP: ").count() > before);
}

#[test]
fn a_kernel_that_is_new_or_changed_counts_from_then_on() {
    let folder = tempfile::tempdir().expect("a folder");
    write_kernel(folder.path(), "one", 1);
    let service = serve(folder.path());
    let returned = |kernel: &str| {
        service.measure("good/chain_loop.o", &format!("kernel={kernel}&_effort=quick"))["returned"].clone()
    };
    assert_eq!(returned("one"), 8);
    assert_eq!(service.get("/kernels/two").status, 404);
    // The list is made once for each set of kernels.
    assert!(!service.get("/kernels").text().contains("\"two\""));
    write_kernel(folder.path(), "one", 2);
    write_kernel(folder.path(), "two", 3);
    reload(&service);
    assert_eq!((returned("one"), returned("two")), (16.into(), 24.into()));
    assert!(service.get("/kernels").text().contains("\"two\""));
}

#[test]
fn metrics_know_the_kernels_that_were_read_last() {
    let folder = tempfile::tempdir().expect("a folder");
    write_kernel(folder.path(), "one", 1);
    let service = serve(folder.path());
    let run =
        |kernel: &str| service.post("good/chain_loop.o", &format!("kernel={kernel}&_effort=quick")).status;
    let runs = || {
        let text = service.get("/metrics").text().to_owned();
        let own = |line: &&str| line.starts_with("webrunner_run") && line.contains("kernel=");
        let kernels = text
            .lines()
            .filter(own)
            .filter_map(|line| line.split('"').find(|word| ["one", "two", "other"].contains(word)));
        kernels.map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(run("one"), 200);
    assert_eq!(runs(), BTreeSet::from(["one".to_owned()]));
    fs::remove_file(folder.path().join("one.xml")).expect("a file");
    write_kernel(folder.path(), "two", 2);
    reload(&service);
    assert_eq!((run("one"), run("two")), (404, 200));
    assert_eq!(runs(), BTreeSet::from(["other".to_owned(), "two".to_owned()]));
}

#[test]
fn a_file_that_is_wrong_keeps_the_old_set_and_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    write_kernel(folder.path(), "one", 1);
    let service = serve(folder.path());
    write_kernel(folder.path(), "two", 2);
    fs::write(folder.path().join("wrong.xml"), "<kernel>\n").expect("a file");
    reload(&service);
    let log = service.log();
    let line = log.lines().find(|line| line.contains("SIGHUP: ")).expect("a line");
    assert!(line.contains("ERROR") && line.contains("wrong.xml"), "{line}");
    assert_eq!(service.get("/kernels/one").status, 200);
    assert_eq!(service.get("/kernels/two").status, 404);
    fs::remove_file(folder.path().join("wrong.xml")).expect("a file");
    reload(&service);
    assert_eq!(service.get("/kernels/two").status, 200);
}

#[test]
fn a_log_of_json_says_what_was_read_and_why_a_file_was_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = folder.path().join("tokens");
    fs::write(&tokens, format!("farm:{}\n", "1".repeat(64))).expect("a file");
    let service = Launch::serve(["--log-format", "json", "--tokens", &tokens.to_string_lossy()]).start();
    let line = |words: &str| {
        let log = service.log();
        let line = log.lines().find(|line| line.contains(words)).expect("a line");
        serde_json::from_str::<Value>(line).expect("JSON")
    };
    reload(&service);
    assert_eq!(line("were read again")["tokens"], 1);
    fs::remove_file(&tokens).expect("a file");
    reload(&service);
    let error = line("cannot be taken")["error"].to_string();
    assert!(error.contains("No such file") && error.contains(&*tokens.to_string_lossy()), "{error}");
}

#[test]
fn a_job_in_flight_is_not_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let service = serve(folder.path());
    let mut job = Connection::open(service.address());
    let query = "kernel=playground&iterations=300000000&_effort=quick";
    job.send(&jobs::request("peachpy/spin_peachpy.o", query).bytes());
    wait::until("the job runs", || service.readiness()["running"] == 1);
    // Even one whose kernel is another after.
    write_kernel(folder.path(), "playground", 1);
    reload(&service);
    assert_eq!(service.readiness()["running"], 1);
    assert_eq!(job.receive().status, 200);
}
