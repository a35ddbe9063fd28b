//! `webrunner doctor`: what it says of a host, how it ends, and that it measures by the way clients do.
//!
//! No figure is asserted: whether a machine measures right is for its operator to know.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::Value;
use webrunner_tests::executables;
use webrunner_tests::service::{Ended, Launch, Service};

/// Lines that every host has, whatever it offers.
const LINES: [&str; 21] = [
    "kernel",
    "worker",
    "seccomp",
    "no_new_privs",
    "landlock",
    "landlock_abi",
    "user_namespaces",
    "cgroup",
    "pmu",
    "perf_event_paranoid",
    "nmi_watchdog",
    "tsc",
    "clocksource",
    "smt",
    "governor",
    "boost",
    "huge_pages",
    "hypervisor",
    "microcode",
    "open_files",
    "port",
];

fn doctor(words: &[&str]) -> Ended {
    Launch::command(["doctor"].into_iter().chain(words.iter().copied())).run()
}

/// What the doctor says as JSON; that its exit code agrees is checked on the way.
fn report(ended: &Ended) -> Value {
    let report: Value =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let code = if report["holds"] == true { 0 } else { 1 };
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stderr.is_empty(), code == 0, "{ended:?}");
    report
}

fn list<'a>(report: &'a Value, name: &str) -> &'a [Value] {
    report[name].as_array().unwrap_or_else(|| panic!("no list {name}"))
}

fn names(report: &Value) -> BTreeSet<&str> {
    list(report, "findings").iter().filter_map(|finding| finding["name"].as_str()).collect()
}

/// Every line has a known state and a reason, and what is not ok a remedy; what fails is what could be mended.
fn is_consistent(report: &Value) {
    for finding in list(report, "findings") {
        let state = finding["state"].as_str().unwrap_or_default();
        assert!(["ok", "degraded", "missing"].contains(&state), "{finding}");
        assert!(finding["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{finding}");
        assert_eq!(state == "ok", finding["remedy"].is_null(), "{finding}");
        let fails = list(report, "failing").contains(&finding["name"]);
        assert_eq!(finding["can_be_mended_here"] == true, fails, "{finding}");
    }
    for line in LINES {
        assert!(names(report).contains(line), "{line} is not among {:?}", names(report));
    }
}

#[test]
fn every_line_has_its_state_its_reason_and_its_remedy() {
    is_consistent(&report(&doctor(&["--json"])));
}

#[test]
fn every_layer_that_a_service_reports_has_a_line_in_the_same_state() {
    let report = report(&doctor(&["--json"]));
    let machine = Service::start().get("/machine").json();
    let state = |name: &Value| {
        let found = list(&report, "findings").iter().find(|finding| finding["name"] == *name);
        found.map(|finding| finding["state"].clone())
    };
    for layer in list(&machine, "isolation") {
        assert_eq!(state(layer), Some("ok".into()), "{layer}");
    }
    for layer in list(&machine, "isolation_missing") {
        assert_eq!(state(&layer["name"]), Some("missing".into()), "{layer}");
    }
}

#[test]
fn people_get_the_same_lines_as_programs() {
    let (text, report) = (doctor(&[]), report(&doctor(&["--json"])));
    for finding in list(&report, "findings") {
        let (name, state) = (finding["name"].as_str().expect("a name"), finding["state"].as_str());
        let line = text.stdout.lines().find(|line| line.split_whitespace().nth(1) == Some(name));
        let line = line.unwrap_or_else(|| panic!("no line {name}: {text:?}"));
        assert_eq!(line.split_whitespace().next(), state, "{line}");
    }
}

#[test]
fn what_is_required_and_not_there_fails_by_name() {
    let all = report(&doctor(&["--json"]));
    let wanting = list(&all, "findings")
        .iter()
        .find(|finding| finding["state"] != "ok" && finding["can_be_mended_here"] == false);
    let Some(name) = wanting.and_then(|finding| finding["name"].as_str()) else {
        return println!("skipped: this host wants for nothing that cannot be mended on it");
    };
    let required = report(&doctor(&["--json", "--require", &format!("seccomp,{name}")]));
    assert_eq!(required["holds"], false);
    assert!(list(&required, "failing").contains(&name.into()), "{required}");
    assert!(!list(&required, "failing").contains(&"seccomp".into()), "{required}");
    let ended = doctor(&["--require", name]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stderr.starts_with("webrunner: to be mended: ") && ended.stderr.contains(name),
        "{ended:?}"
    );
}

#[test]
fn as_many_open_files_are_asked_for_as_a_service_wants() {
    let finding = |report: &Value| {
        let found = list(report, "findings").iter().find(|finding| finding["name"] == "open_files");
        found.expect("a line")["reason"].as_str().expect("a reason").to_owned()
    };
    let reason = finding(&report(&doctor(&["--json"])));
    let needed = reason.split(" needed").next().and_then(|text| text.rsplit(' ').next());
    let needed: u64 = needed.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{reason}"));
    let serve = |files: u64| {
        let limit = format!("ulimit -n {files} && exec \"$@\"");
        let service = Launch::command(["serve", "--listen", "127.0.0.1:0", "--self-check", "0"]);
        service.through(["sh", "-c", &limit, "sh"]).start().log_of_start()
    };
    assert!(!serve(needed).contains("fewer open files"));
    assert!(serve(needed - 1).contains(&format!("needed={needed} ")), "{needed}");
}

#[test]
fn a_line_that_does_not_exist_cannot_be_required() {
    let ended = doctor(&["--require", "pmu,pnu"]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.complaint().starts_with("--require: there is no `pnu`; there are kernel, worker,"),
        "{ended:?}"
    );
}

#[test]
fn a_worker_that_does_not_start_is_a_line_like_any_other() {
    let report = report(&doctor(&["--json", "--worker", "/bin/true"]));
    let worker =
        list(&report, "findings").iter().find(|finding| finding["name"] == "worker").expect("a line");
    assert_eq!(worker["state"], "missing");
    assert!(list(&report, "failing").contains(&"worker".into()));
    assert!(names(&report).contains("tsc"), "the rest is examined all the same");
}

#[test]
fn an_unprivileged_user_is_told_of_every_layer_too() {
    if fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0) {
        return println!("skipped: without root, every test here runs as an unprivileged user anyway");
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a folder open to all");
    let program = executables::copy(&executables::get().supervisor, folder.path());
    let _worker = executables::copy(&executables::get().worker, folder.path());
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let report = report(&Launch::executable(&program, ["doctor", "--json"]).through(nobody).run());
    is_consistent(&report);
    for layer in ["user_namespace", "ipc_namespace", "net_namespace", "pid_namespace", "unprivileged_user"] {
        assert!(names(&report).contains(layer), "{layer} is not told of: {report}");
    }
}

#[test]
fn a_filter_that_forbids_counting_is_named_and_is_to_be_mended() {
    /// Number of `perf_event_open`.
    const PERF_EVENT_OPEN: i64 = 298;
    if fs::metadata("/proc/sys/kernel/perf_event_paranoid").is_err() {
        return println!("skipped: this kernel has no perf events to be forbidden");
    }
    let report = report(&Launch::command(["doctor", "--json"]).run_without(PERF_EVENT_OPEN));
    is_consistent(&report);
    let line = list(&report, "findings").iter().find(|finding| finding["name"] == "counters");
    let reason = line.expect("a line")["reason"].to_string();
    assert!(reason.contains("a filter of system calls forbids perf_event_open"), "{reason}");
    assert!(!reason.contains("perf_event_paranoid"), "{reason}");
    assert!(list(&report, "failing").contains(&"counters".into()), "{report}");
}

#[test]
fn all_items_are_measured_by_real_workers() {
    let ended = doctor(&["--json", "--measure", "--runs", "1"]);
    let report = report(&ended);
    let rows = list(&report, "measurements");
    let items: BTreeSet<_> = rows.iter().filter_map(|row| row["item"].as_u64()).collect();
    assert_eq!(items, (1..=9).collect());
    for row in rows {
        let verdict = row["verdict"].as_str().unwrap_or_default();
        assert!(["pass", "fail", "skipped"].contains(&verdict), "{row}");
        assert_eq!(verdict == "skipped", row["reason"].is_string(), "{row}");
        assert_eq!(verdict == "skipped", row["figure"] == "", "{row}");
    }
    // Whether counters count right is for the row to say; where there are none, each row of the item says just that.
    let pmu = list(&report, "findings").iter().find(|finding| finding["name"] == "pmu").expect("a line");
    let hardware: Vec<_> = rows.iter().filter(|row| row["item"] == 9).collect();
    assert_eq!(hardware.len(), 9, "{report}");
    if pmu["state"] == "missing" {
        println!("skipped: rows of item 9 on real counters, for {}", pmu["reason"]);
        for row in hardware {
            let reason = row["reason"].as_str().unwrap_or_default();
            assert!(reason.starts_with("not supported here: "), "{row}");
        }
    } else {
        let told = |row: &&Value| row["reason"].as_str().is_none_or(|why| !why.starts_with("not supported"));
        assert!(hardware.iter().all(told), "{report}");
    }
    // Counts do not depend on how busy a machine is.
    let counted = rows.iter().filter(|row| row["item"] == 6);
    assert!(counted.clone().count() == 5 && counted.clone().all(|row| row["verdict"] != "fail"), "{report}");
}

#[test]
fn measuring_shows_a_table_and_nothing_to_a_pipe_but_that() {
    let ended = doctor(&["--measure", "--runs", "1"]);
    assert!(ended.stdout.contains("\n6  pass     loop of 1000 turns"), "{ended:?}");
    assert!(!ended.stderr.contains("measuring") && !ended.stderr.contains('\u{1b}'), "{ended:?}");
}
