//! Where tokens are asked for, nobody without one posts a job, and a token is found nowhere but in its client's hands.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use webrunner_tests::http::{Answer, Connection, Request};
use webrunner_tests::jobs;
use webrunner_tests::service::{Launch, Service};
use webrunner_tests::wait;

const FARM: &str = "farm-0123456789abcdef0123456789abcdef";
const PAGE: &str = "page-0123456789abcdef0123456789abcdef";
const QUICK: &str = "kernel=playground&_effort=quick";

fn digest(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file of two clients, for its owner alone.
fn file() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens");
    write(&path, &format!("# who may\n\nfarm:{}\npage:{}\n", digest(FARM), digest(PAGE)), 0o600);
    (folder, path.to_string_lossy().into_owned())
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
}

fn post(service: &Service, authorization: &[&str]) -> Answer {
    let request = jobs::request("good/chain100.o", QUICK);
    let request = authorization.iter().fold(request, |request, value| request.header("Authorization", value));
    request.send(service.address())
}

#[test]
fn jobs_are_taken_from_those_with_a_token_and_all_else_is_open() {
    let (_folder, path) = file();
    let service = Service::with_flags(["--tokens", &path]);
    for token in [FARM, PAGE] {
        assert_eq!(post(&service, &[&format!("Bearer {token}")]).status, 200);
        assert_eq!(post(&service, &[&format!("bearer {token}")]).status, 200);
    }
    for path in ["/livez", "/readyz", "/here/monitor", "/kernels", "/machine", "/metrics", "/openapi.json"] {
        assert_eq!(service.get(path).status, 200, "{path}");
    }
}

#[test]
fn a_stranger_is_told_what_is_asked_for() {
    let (_folder, path) = file();
    let service = Service::with_flags(["--tokens", &path]);
    let nothing = post(&service, &[]);
    assert_eq!((nothing.status, nothing.slug().as_str()), (401, "unauthorized"));
    assert_eq!(nothing.header("www-authenticate"), Some("Bearer realm=\"webrunner\""));
    let (good, digest) = (format!("Bearer {FARM}"), format!("Bearer {}", digest(FARM)));
    let (cut, basic) = (&good[..good.len() - 1], format!("Basic {FARM}"));
    for wrong in [&[cut][..], &[&digest], &[&basic], &[FARM], &["Bearer"], &[&good, &good]] {
        let answer = post(&service, wrong);
        assert_eq!((answer.status, answer.slug().as_str()), (401, "unauthorized"), "{wrong:?}");
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, Some("Bearer realm=\"webrunner\", error=\"invalid_token\""), "{wrong:?}");
    }
}

#[test]
fn a_stranger_is_turned_away_before_the_body_is_read() {
    let (_folder, path) = file();
    let service = Service::with_flags(["--tokens", &path]);
    let mut connection = Connection::open(service.address());
    connection.send(&jobs::request("good/chain100.o", QUICK).head());
    assert_eq!(connection.receive().status, 401);
}

#[test]
fn a_web_page_may_send_a_token() {
    let service = Service::start();
    let answer = Request::new("OPTIONS", "/here/run").send(service.address());
    let allowed = answer.header("access-control-allow-headers").expect("headers");
    assert!(allowed.contains("Authorization"), "{allowed}");
}

#[test]
fn no_token_and_no_digest_is_in_a_log_or_an_answer() {
    let (folder, path) = file();
    let log = folder.path().join("access").to_string_lossy().into_owned();
    let service = Service::with_flags(["--tokens", &path, "--access-log", &log]);
    let unknown = "nobody-0123456789abcdef0123456789";
    let answers =
        [post(&service, &[&format!("Bearer {FARM}")]), post(&service, &[&format!("Bearer {unknown}")])];
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 401]);
    let metrics = service.get("/metrics");
    let access = fs::read_to_string(&log).expect("a log");
    assert!(access.contains(" client=farm "), "{access}");
    let told =
        answers.iter().chain([&metrics]).map(|answer| format!("{:?} {}", answer.headers, answer.text()));
    let told: String = told.chain([access, service.log()]).collect();
    for secret in [FARM, unknown, &digest(FARM), &digest(PAGE)] {
        assert!(!told.contains(secret), "{secret} is in {told}");
    }
}

#[test]
fn each_token_has_a_rate_of_its_own_and_so_have_those_who_guess() {
    let (_folder, path) = file();
    let service = Service::with_flags(["--tokens", &path, "--rate-limit", "1"]);
    let (farm, page) = (format!("Bearer {FARM}"), format!("Bearer {PAGE}"));
    let burst = |header: &str| {
        let mut connection = Connection::open(service.address());
        let request = jobs::request("good/chain100.o", QUICK).header("Authorization", header).bytes();
        // Sent at once, so that they are judged within the second a bucket takes to fill.
        connection.send(&request.repeat(8));
        (0..8).map(|_| connection.receive().status).collect::<Vec<_>>()
    };
    for header in [&farm, &page] {
        let statuses = burst(header);
        assert!(statuses[0] == 200 && statuses.contains(&429), "{statuses:?}");
    }
    let guesses = burst(&format!("Bearer {}", "x".repeat(32)));
    assert!(guesses[0] == 401 && guesses.contains(&429), "{guesses:?}");
}

#[test]
fn tokens_that_are_read_again_count_from_then_on_and_no_job_is_dropped() {
    let (_folder, path) = file();
    let service = Service::with_flags(["--tokens", &path]);
    let status = |token: &str| post(&service, &[&format!("Bearer {token}")]).status;
    let mut job = Connection::open(service.address());
    let query = "kernel=playground&iterations=300000000&_effort=quick";
    let request = jobs::request("peachpy/spin_peachpy.o", query);
    job.send(&request.header("Authorization", &format!("Bearer {FARM}")).bytes());
    wait::until("the job runs", || service.readiness()["running"] == 1);
    let new = "new-0123456789abcdef0123456789abcdef0";
    write(Path::new(&path), &format!("page:{}\nnew:{}\n", digest(PAGE), digest(new)), 0o600);
    assert_eq!((status(FARM), status(new)), (200, 401), "the file is not looked at unasked");
    service.signal(Signal::HUP);
    wait::until("the file was read", || service.log().contains("SIGHUP: "));
    assert_eq!((status(FARM), status(new), status(PAGE)), (401, 200, 200));
    assert_eq!(job.receive().status, 200, "its token was good when it came");
}

#[test]
fn a_file_that_others_may_read_is_taken_with_a_warning() {
    let (folder, path) = file();
    let service = Service::with_flags(["--tokens", &path]);
    assert!(!service.log().contains("file of tokens"), "{}", service.log());
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("permissions");
    let service = Service::with_flags(["--tokens", &path]);
    assert!(service.log().contains("everybody on this host may use the file of tokens"), "{}", service.log());
    drop(folder);
}

#[test]
fn a_file_that_is_wrong_stops_the_start_with_its_line_and_without_its_text() {
    let (folder, path) = file();
    let good = format!("farm:{}\n", digest(FARM));
    for (text, place, complaint) in [
        (format!("{good}{PAGE}\n"), ":2: ", "a line is NAME:SHA-256"),
        (format!("{good}page:{PAGE}\n"), ":2: ", "a digest is 64 hexadecimal digits"),
        (format!("\n{good}a name:{}\n", digest(PAGE)), ":3: ", "a name is 1 to 64"),
        (format!("{good}farm:{}\n", digest(PAGE)), ":2: ", "the name `farm` stands in line 1 already"),
        ("# nobody yet\n".into(), " ", "names no client"),
    ] {
        write(Path::new(&path), &text, 0o600);
        let ended = Launch::command(["serve", "--listen", "127.0.0.1:0", "--tokens", &path]).run();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.complaint().starts_with(&format!("{path}{place}{complaint}")), "{ended:?}");
        assert!(!ended.stderr.contains(PAGE), "{ended:?}");
    }
    let missing = folder.path().join("none").to_string_lossy().into_owned();
    let ended = Launch::command(["serve", "--listen", "127.0.0.1:0", "--tokens", &missing]).run();
    assert!(ended.complaint().starts_with(&format!("cannot read the tokens in {missing}")), "{ended:?}");
}
