//! What the service says of itself: one line for each request, in the form its reader wants, with nothing secret in it.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::Value;
use webrunner_tests::executables;
use webrunner_tests::http::{Answer, Connection, Request};
use webrunner_tests::jobs;
use webrunner_tests::objects;
use webrunner_tests::service::{Launch, Service, kill};
use webrunner_tests::systemd::{Manager, has};
use webrunner_tests::wait;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A service that chooses the form of its log as it would outside of tests.
fn serve() -> Service {
    Launch::serve(["--log-format", "json", "--log-filter", "info"]).start()
}

/// The log's line about the request with this id.
fn line(service: &Service, id: &str) -> Value {
    wait::until_some("the request is in the log", || {
        let log = service.log();
        let lines = log.lines().map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error} in {line}"))
        });
        lines.into_iter().find(|line| line["id"] == id)
    })
}

fn traced(header: &str) -> Answer {
    let service = serve();
    Request::new("GET", "/version").header("traceparent", header).send(service.address())
}

#[test]
fn a_job_is_one_line_with_all_that_identifies_it() {
    let service = serve();
    let answer = jobs::request("good/chain100.o", "kernel=playground&_effort=quick")
        .header("X-Request-Id", "job-17")
        .send(service.address());
    assert_eq!((answer.status, answer.header("x-request-id")), (200, Some("job-17")));
    let line = line(&service, "job-17");
    for (name, value) in [
        ("level", "INFO"),
        ("method", "POST"),
        ("path", "/here/run"),
        ("machine", "here"),
        ("kernel", "playground"),
        ("outcome", "ok"),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    assert_eq!(line["status"], 200);
    for time in ["took_us", "queue_us", "run_us"] {
        assert!(line[time].is_u64(), "{line}");
    }
    assert_eq!(service.log().matches("job-17").count(), 1);
}

#[test]
fn a_job_that_fails_says_how() {
    let service = serve();
    let request = jobs::request("hostile/ud2.o", "kernel=playground").header("X-Request-Id", "bad-1");
    assert_eq!(request.send(service.address()).status, 422);
    let line = line(&service, "bad-1");
    assert_eq!((&line["outcome"], &line["status"]), (&"fault".into(), &422.into()));
}

#[test]
fn a_job_whose_client_leaves_is_one_line_in_both_logs() {
    let folder = tempfile::tempdir().expect("a folder");
    let access = folder.path().join("access");
    let flags = ["--log-format", "json", "--log-filter", "info", "--access-log", &access.to_string_lossy()];
    let service =
        Launch::serve(flags.into_iter().chain(["--deadline", "3600", "--cpu-limit", "3600"])).start();
    let mut leaves = Connection::open(service.address());
    let job = jobs::request("hostile/spin.o", "kernel=playground").header("X-Request-Id", "gone-1");
    leaves.send(&job.header("traceparent", &format!("00-{TRACE}-{PARENT}-01")).bytes());
    wait::until("the job runs", || service.readiness()["running"] == 1);
    drop(leaves);
    let line = line(&service, "gone-1");
    for (name, value) in [
        ("outcome", "cancelled"),
        ("path", "/here/run"),
        ("machine", "here"),
        ("kernel", "playground"),
        ("trace_id", TRACE),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    assert!(line["status"].is_null() && line["took_us"].as_u64() > Some(0), "{line}");
    service.settle();
    let access = fs::read_to_string(&access).expect("a log");
    let lines: Vec<_> = access.lines().filter(|line| line.contains("id=gone-1 ")).collect();
    assert!(
        matches!(lines[..], [line] if line.contains(" status=- kernel=playground outcome=cancelled ")),
        "{access}"
    );
    assert_eq!(service.log().matches("gone-1").count(), 1);
    let metrics = service.metrics();
    assert_eq!(metrics.value(r#"webrunner_runs_total{kernel="playground",outcome="cancelled"}"#), 1.0);
}

#[test]
fn neither_secrets_nor_bodies_nor_queries_are_logged() {
    let service = Launch::serve(["--log-format", "json", "--log-filter", "trace"]).start();
    let answer = Request::post("/here/run?kernel=playground&secret-query=1", b"secret-body")
        .header("Authorization", "Bearer secret-token")
        .header("Cookie", "secret-cookie")
        .header("X-Request-Id", "quiet-1")
        .send(service.address());
    assert_eq!(answer.status, 400);
    line(&service, "quiet-1");
    assert!(!service.log().contains("secret-"), "{}", service.log());
}

#[test]
fn a_trace_is_continued_in_answer_and_log() {
    let service = serve();
    let answer = Request::new("GET", "/version")
        .header("traceparent", &format!("00-{TRACE}-{PARENT}-01"))
        .header("X-Request-Id", "traced-1")
        .send(service.address());
    let header = answer.header("traceparent").expect("a trace");
    let fields: Vec<&str> = header.split('-').collect();
    assert_eq!((fields[0], fields[1], fields[3]), ("00", TRACE, "01"));
    assert_ne!(fields[2], PARENT);
    let line = line(&service, "traced-1");
    assert_eq!((&line["trace_id"], &line["parent_id"]), (&TRACE.into(), &PARENT.into()));
    assert_eq!(line["span_id"], fields[2]);
}

#[test]
fn what_is_no_trace_is_not_repeated() {
    for wrong in [
        format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
        format!("00-{TRACE}-{PARENT}-01-more"),
        format!("ff-{TRACE}-{PARENT}-01"),
        format!("00-{}-{PARENT}-01", "0".repeat(32)),
    ] {
        assert_eq!(traced(&wrong).header("traceparent"), None, "{wrong}");
    }
}

#[test]
fn the_line_for_each_request_can_be_left_out() {
    let service = Launch::serve(["--log-format", "json", "--log-filter", "info,request=off"]).start();
    let get = |id: &str| Request::new("GET", "/version").header("X-Request-Id", id).send(service.address());
    assert_eq!(get("left-out").status, 200);
    assert!(service.log().contains("listening") && !service.log().contains("left-out"));
}

#[test]
fn a_pipe_gets_json_unless_asked_otherwise() {
    let service = Launch::serve([]).with_variable("WEBRUNNER_LOG_FORMAT", "auto").start_elsewhere();
    let first = service.log().lines().next().unwrap_or_default().to_owned();
    let first: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!((&first["message"], &first["level"]), (&"starting".into(), &"INFO".into()));
}

#[test]
fn a_terminal_gets_text() {
    let program = executables::get().supervisor.to_string_lossy().into_owned();
    if !has("script", "bsdutils") {
        return;
    }
    let line = format!("WEBRUNNER_CONFIG=/dev/null {program} serve --listen 127.0.0.1:0");
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script");
    let mut shown = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut text = String::new();
    // By then it listens to signals, too.
    while !text.contains("listening") {
        assert_ne!(shown.read_line(&mut text).expect("text"), 0, "{text}");
    }
    // What ctrl-C sends.
    child.stdin.take().expect("a pipe").write_all(b"\x03").expect("script reads");
    shown.read_to_string(&mut text).expect("text");
    child.wait().expect("script ends");
    assert!(text.contains("SIGINT") && !text.contains('{'), "{text}");
}

#[test]
fn a_file_gets_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let mut service = Launch::serve(["--error-log", &path.to_string_lossy(), "--log-format", "auto"]);
    service = service.with_variable("WEBRUNNER_LOG_FORMAT", "auto");
    let text = || fs::read_to_string(&path).unwrap_or_default();
    let _service = service.start_when_said("the file has the line", || text().contains("\"ready\""));
    for line in text().lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error} in {line}"));
    }
}

#[test]
fn lines_that_were_lost_are_told_of_once_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let mut manager = Manager::new();
    // A write beyond the limit of a file's size is then an error, not the end.
    let launch = Launch::serve(["--error-log", &path.to_string_lossy(), "--log-format", "json"]);
    let launch = launch.with_variable("NOTIFY_SOCKET", &manager.address());
    let launch = launch.through(["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    let text = || fs::read_to_string(&path).unwrap_or_default();
    let service = launch.start_when_said("the file has the line", || text().contains("\"ready\""));
    manager.hears("READY=1");
    let mut reload = || {
        manager.forget();
        service.signal(Signal::HUP);
        manager.hears("READY=1");
    };
    let limit = |bytes| {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Pid::from_raw(service.id()), Resource::Fsize, limit).expect("a limit");
    };
    let before = text();
    limit(Some(before.len() as u64));
    reload();
    assert_eq!(text(), before);
    limit(None);
    reload();
    let after = text();
    let lines: Vec<Value> = after.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told =
        lines.iter().find(|line| line["message"].as_str().is_some_and(|text| text.contains("were lost")));
    let told = told.unwrap_or_else(|| panic!("{after}"));
    assert_eq!((&told["level"], &told["lines"]), (&"WARN".into(), &2.into()), "{told}");
    assert!(told["error"].as_str().is_some_and(|error| error.contains("File too large")), "{told}");
}

/// A service in a mount namespace of its own, whose journal is this test.
struct Journaled {
    child: Child,
    journal: UnixDatagram,
}

impl Journaled {
    /// Starts it; `None`, which is said, where this host has no such namespaces.
    fn start(flags: &str) -> Option<Self> {
        let namespaces = ["--user", "--map-root-user", "--mount"];
        let allowed = Command::new("unshare").args(namespaces).arg("true").stderr(Stdio::null()).status();
        if !allowed.is_ok_and(|status| status.success()) {
            println!("skipped: this host allows no mount namespace");
            return None;
        }
        let program = executables::get().supervisor.to_string_lossy().into_owned();
        let script = format!(
            "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && echo made && read -r _ && \
             export JOURNAL_STREAM=\"$(stat -L -c %d:%i /proc/self/fd/2)\" && \
             exec \"$0\" serve --config /dev/null --listen 127.0.0.1:0 {flags}"
        );
        let mut child = Command::new("unshare")
            .args(namespaces)
            .args(["sh", "-c", &script, &program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut made = [0; 5];
        child.stdout.as_mut().expect("a pipe").read_exact(&mut made).expect("a namespace");
        let journal = UnixDatagram::bind(format!("/proc/{}/root/run/systemd/journal/socket", child.id()));
        let journal = journal.expect("a socket in the namespace");
        journal.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        drop(child.stdin.take().map(|mut stdin| stdin.write_all(b"\n")));
        Some(Self { child, journal })
    }

    /// The next entry whose message begins so, by its fields.
    fn entry(&self, beginning: &str) -> HashMap<String, String> {
        let mut bytes = vec![0; 256 << 10];
        loop {
            let length = self.journal.recv(&mut bytes).expect("an entry");
            let entry = fields(&bytes[..length]);
            if entry.get("MESSAGE").is_some_and(|message| message.starts_with(beginning)) {
                return entry;
            }
        }
    }
}

impl Drop for Journaled {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes an entry apart: each field is its name, a line's end, eight bytes of length, that many bytes, a line's end.
fn fields(mut entry: &[u8]) -> HashMap<String, String> {
    let mut fields = HashMap::new();
    while !entry.is_empty() {
        let end = entry.iter().position(|&byte| byte == b'\n').expect("a name");
        let name = String::from_utf8_lossy(&entry[..end]).into_owned();
        let (length, rest) = entry[end + 1..].split_first_chunk().expect("a length");
        let (value, rest) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).expect("a length"));
        fields.insert(name, String::from_utf8_lossy(value).into_owned());
        entry = rest.strip_prefix(b"\n").expect("the end of a field");
    }
    fields
}

#[test]
fn the_journal_gets_fields_and_a_message_that_has_them_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = folder.path().join("tokens");
    fs::write(&tokens, format!("farm:{}\n", "1".repeat(64))).expect("a file");
    let Some(service) = Journaled::start(&format!("--tokens {}", tokens.display())) else { return };
    let start = service.entry("starting");
    assert_eq!((start["PRIORITY"].as_str(), start["SYSLOG_IDENTIFIER"].as_str()), ("5", "webrunner"));
    assert_eq!(start["MESSAGE"], format!("starting version=\"{}\"", start["WEBRUNNER_VERSION"]));
    let address = service.entry("listening")["WEBRUNNER_ADDRESS"].parse().expect("an address");
    let request = Request::post("/zen5/run?kernel=playground", b"x").header("X-Request-Id", "id-1");
    assert_eq!(request.send(address).status, 401);
    let line = service.entry("request ");
    for (field, value) in [
        ("WEBRUNNER_ID", "id-1"),
        ("WEBRUNNER_METHOD", "POST"),
        ("WEBRUNNER_PATH", "/zen5/run"),
        ("WEBRUNNER_STATUS", "401"),
        ("TARGET", "request"),
    ] {
        assert_eq!(line[field], value, "{line:?}");
    }
    let message = &line["MESSAGE"];
    for words in
        ["method=\"POST\"", "path=\"/zen5/run\"", "status=401", "outcome=\"unauthorized\"", "took_us="]
    {
        assert!(message.contains(words), "{message}");
    }
    fs::remove_file(&tokens).expect("a file");
    kill(service.child.id().cast_signed(), Signal::HUP);
    let message = service.entry("SIGHUP")["MESSAGE"].clone();
    assert!(message.contains(&tokens.display().to_string()) && message.contains("No such file"), "{message}");
}

/// A job that takes seconds, on a terminal and through a pipe.
#[test]
fn a_command_that_takes_long_shows_what_it_does_on_a_terminal_only() {
    if !has("script", "bsdutils") {
        return;
    }
    let program = executables::get().supervisor.to_string_lossy().into_owned();
    let object = objects::path("peachpy/spin_peachpy.o").to_string_lossy().into_owned();
    let words = ["run", &object, "--kernel", "playground", "iterations=450000000", "--effort", "quick"];
    let line = format!("WEBRUNNER_CONFIG=/dev/null {program} {} >/dev/null", words.join(" "));
    let shown = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
    let shown = String::from_utf8(shown.expect("script").stdout).expect("UTF-8");
    assert!(shown.contains("measuring playground: "), "{shown:?}");
    let piped = Launch::command(words).run();
    assert_eq!((piped.code, piped.stderr.as_str()), (Some(0), ""));
    assert!(!piped.stdout.contains("measuring"), "{piped:?}");
}
