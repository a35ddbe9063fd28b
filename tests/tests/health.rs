//! Whether the service is well: what it says itself, and what a check from outside says.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::Signal;
use serde_json::json;
use sha2::{Digest, Sha256};
use webrunner_tests::http::Connection;
use webrunner_tests::service::{Ended, Launch, Service, kill};
use webrunner_tests::{executables, jobs, wait};

const PASSED: &str = r#"webrunner_self_checks_total{outcome="passed"}"#;

/// A service that checks itself each second, and gives a job a second.
fn watchful() -> Service {
    Service::with_flags(["--self-check", "1", "--deadline", "1"])
}

fn check(url: &str) -> Ended {
    Launch::command(["self-check", url, "--timeout", "30"]).run()
}

#[test]
fn readiness_tells_how_the_service_is() {
    let service = Service::start();
    let ready = service.get("/readyz");
    assert_eq!(ready.status, 200);
    let ready = ready.json();
    assert_eq!((&ready["status"], &ready["self_check"]), (&json!("ready"), &json!({ "state": "off" })));
    let counters = &ready["counters"];
    assert_eq!(counters["hardware"] == true, counters["reason"].is_null(), "{counters}");
    assert!(counters["open"].is_u64() && counters["missing"].is_u64(), "{counters}");
    assert_eq!(service.get("/livez").json()["status"], "alive");
    assert_eq!(service.get("/any/monitor").status, 200);
}

#[test]
fn the_service_checks_itself_and_counts_it_as_nobodys_job() {
    let service = watchful();
    wait::until("it was checked twice", || service.metrics().value(PASSED) >= 2.0);
    let metrics = service.metrics();
    assert_eq!(metrics.sum("webrunner_runs_total"), 0.0);
    assert_eq!(metrics.sum("webrunner_run_phase_seconds_count"), 0.0);
    assert!(metrics.sum("webrunner_core_busy_seconds_total") > 0.0);
    assert_eq!(service.readiness()["self_check"]["state"], "passed");
}

#[test]
fn a_service_whose_workers_give_no_answer_leaves_rotation_and_comes_back() {
    let service = watchful();
    wait::until("it was checked", || service.metrics().value(PASSED) >= 1.0);
    // Jobs go to these and stay there until their deadline.
    let stopped = service.workers();
    for worker in &stopped {
        kill(worker.id, Signal::STOP);
    }
    let out = wait::until_some("it is out of rotation", || {
        let answer = service.get("/any/monitor");
        (answer.status == 503).then(|| answer.problem())
    });
    let reason = out["reasons"][0].as_str().expect("a reason");
    assert!(reason.starts_with("the self-check failed: core "), "{out}");
    assert_eq!(out["retry_after"], 1);
    // The workers that replace those stopped are well.
    wait::until("it is back", || service.get("/readyz").status == 200);
    assert!(service.metrics().value(r#"webrunner_self_checks_total{outcome="failed"}"#) >= 1.0);
    let log = service.log();
    assert!(log.contains("the self-check failed") && log.contains("back in rotation"), "{log}");
}

#[test]
fn a_self_check_waits_for_a_moment_without_jobs() {
    let service = Service::with_flags(["--self-check", "1", "--deadline", "3600", "--cpu-limit", "3600"]);
    wait::until("it was checked", || service.metrics().value(PASSED) >= 1.0);
    let mut job = Connection::open(service.address());
    job.send(&jobs::request("hostile/spin.o", "kernel=playground").bytes());
    wait::until("the job runs", || service.metrics().value("webrunner_object_size_bytes_count") == 1.0);
    let skipped = r#"webrunner_self_checks_total{outcome="skipped"}"#;
    wait::until("a check was left out", || service.metrics().value(skipped) >= 1.0);
    assert_eq!(service.get("/readyz").status, 200);
}

#[test]
fn a_service_that_is_well_passes_from_outside() {
    let service = Service::start();
    for url in [format!("http://{}", service.address()), format!("http://{}/zen5/", service.address())] {
        let ended = check(&url);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        assert!(ended.stdout.ends_with(" ms)\n") && ended.stdout.lines().count() == 1, "{ended:?}");
    }
    let runs = service.metrics();
    assert_eq!(runs.value(r#"webrunner_runs_total{kernel="blis.sdot",outcome="ok"}"#), 2.0);
}

#[test]
fn a_reader_that_has_left_changes_nothing_about_a_check_and_a_full_disk_is_told() {
    let service = Service::start();
    let url = format!("http://{}", service.address());
    let check = |out: Stdio| {
        let mut command = Command::new(&executables::get().supervisor);
        command.args(["self-check", &url]).env("WEBRUNNER_CONFIG", "/dev/null");
        command.stdout(out).output().expect("the program starts")
    };
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let unread = check(writer.into());
    assert_eq!((unread.status.code(), unread.stderr.as_slice()), (Some(0), &b""[..]), "{unread:?}");
    let full = check(fs::File::create("/dev/full").expect("a device").into());
    let said = String::from_utf8_lossy(&full.stderr);
    assert_eq!(full.status.code(), Some(1), "{said}");
    assert!(said.starts_with("webrunner: cannot write to standard output: "), "{said}");
}

#[test]
fn a_check_can_bring_a_token_that_is_on_no_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (token, stranger) =
        ("check-0123456789abcdef0123456789abcdef", "other-0123456789abcdef0123456789abcdef");
    let digest: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(path("tokens"), format!("check:{digest}\n")).expect("a file");
    fs::write(path("token"), format!("{token}\n")).expect("a file");
    fs::write(path("stranger"), stranger).expect("a file");
    fs::write(path("none"), "two words\n").expect("a file");
    let service = Service::with_flags(["--tokens", &path("tokens")]);
    let url = format!("http://{}", service.address());
    let check = || Launch::command(["self-check", &url, "--timeout", "30"]);
    let given = |name: &str| {
        let file = path(name);
        Launch::command(["self-check", &url, "--timeout", "30", "--token-file", &file]).run()
    };
    assert_eq!(check().with_variable("WEBRUNNER_TOKEN_FILE", &path("token")).run().code, Some(0));
    assert_eq!(given("token").code, Some(0));
    for (ended, said) in [
        (check().run(), "was not measured: status 401: "),
        (given("stranger"), "was not measured: status 401: "),
        (given("none"), "holds no token: one line of 22 to 512 visible characters"),
        (given("missing"), "cannot read the token in "),
    ] {
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.complaint().contains(said) && !ended.stderr.contains(stranger), "{ended:?}");
    }
}

#[test]
fn a_service_that_is_not_there_fails_the_check() {
    // A port that was free a moment ago, and that nobody is given while the listener lives: it never accepts.
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let ended = check(&format!("http://{closed}"));
    assert_eq!(ended.code, Some(1));
    assert!(ended.complaint().contains(": no answer: "), "{ended:?}");
}

#[test]
fn a_check_goes_where_the_settings_say_that_the_service_listens() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = format!("unix:{}", folder.path().join("socket").display());
    let at_socket = Launch::command(["serve", "--listen", &socket, "--self-check", "0"]).start_elsewhere();
    let tcp = Service::start();
    let set = |listen: &str| Launch::command(["self-check"]).with_variable("WEBRUNNER_LISTEN", listen).run();
    for (ended, said) in [
        (check(&socket), format!("{socket}: ready, ")),
        (set(&socket), format!("{socket}: ready, ")),
        (
            set(&format!("0.0.0.0:{}", tcp.address().port())),
            format!("http://{}/self-check: ready, ", tcp.address()),
        ),
    ] {
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        assert!(ended.stdout.starts_with(&said), "{ended:?}");
    }
    drop(at_socket);
    let ended = check(&socket);
    assert_eq!(ended.code, Some(1));
    assert!(ended.complaint().starts_with(&format!("{socket}: no answer: ")), "{ended:?}");
    let silent = folder.path().join("silent");
    let _listener = UnixListener::bind(&silent).expect("a socket");
    let url = format!("unix:{}", silent.display());
    let ended = Launch::command(["self-check", &url, "--timeout", "1"]).run();
    assert!(ended.complaint().ends_with(": no answer in time"), "{ended:?}");
    let ended = set("127.0.0.1:0");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.complaint().contains("name the service's URL"), "{ended:?}");
}

#[test]
fn a_service_that_does_not_answer_fails_the_check_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let ended = Launch::command(["self-check", &url, "--timeout", "1"]).run();
    assert_eq!(ended.code, Some(1));
    assert!(ended.complaint().ends_with(": no answer in time"), "{ended:?}");
}

/// Something that answers each connection in turn with one of these, and then is gone.
fn impostor(answers: &'static [(&'static str, &'static str)]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 16 << 10];
            let _ = stream.read(&mut request).expect("a request");
            write!(stream, "HTTP/1.1 {status}\r\n\r\n{body}").expect("a client that listens");
        }
    });
    address
}

#[test]
fn wrong_answers_fail_the_check() {
    let well = ("200 OK", "");
    for (answers, said) in [
        (
            vec![("503 Service Unavailable", r#"{"detail": "The self-check\nfailed."}"#)],
            "not ready: status 503: The self-checkfailed.",
        ),
        (vec![("302 Found", "")], "not ready: status 302"),
        (vec![well, ("429 Too Many Requests", "")], "the built-in function was not measured: status 429"),
        (vec![well, ("200 OK", "Cycles: 1\n")], "its answer is no JSON"),
        (
            vec![well, ("200 OK", r#"{"returned": null}"#)],
            "its answer does not say what the function returned",
        ),
        (vec![well, ("200 OK", r#"{"returned": 1.5}"#)], "the built-in function returned 1.5, expected "),
    ] {
        let ended = check(&format!("http://{}", impostor(answers.leak())));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.complaint().contains(said), "{ended:?}");
    }
}

#[test]
fn a_check_that_makes_no_sense_is_a_mistake_of_its_user() {
    for words in [
        &["self-check", "https://localhost"][..],
        &["self-check", "localhost:8081"],
        &["self-check", "--timeout", "0"],
    ] {
        let ended = Launch::command(words.iter().copied()).run();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(!ended.complaint().is_empty());
    }
}
