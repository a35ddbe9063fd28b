//! What the service tells systemd, and how its unit is rated.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use webrunner_tests::service::{Launch, Service, kill};
use webrunner_tests::systemd::{Manager, has};
use webrunner_tests::wait;

/// The least exposure that is not good enough, in tenths, as `systemd-analyze --threshold` counts.
const MOST_EXPOSED: &str = "20";

fn start(manager: &Manager, flags: &[&str], watchdog: Option<&str>) -> Service {
    let mut launch = Launch::serve(flags.iter().copied()).with_variable("NOTIFY_SOCKET", &manager.address());
    if let Some(interval) = watchdog {
        launch = launch.with_variable("WATCHDOG_USEC", interval);
    }
    launch.start()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn a_service_is_ready_once_a_worker_waits() {
    let mut manager = Manager::new();
    let service = start(&manager, &[], None);
    manager.hears("READY=1");
    assert!(
        service.readiness()["standby"].as_u64() > Some(0)
            || service.readiness()["running"].as_u64() > Some(0)
    );
    assert_eq!(manager.heard(), ["READY=1"]);
}

#[test]
fn a_service_that_cannot_start_is_never_ready() {
    let mut manager = Manager::new();
    let launch = Launch::serve(["--worker", "/bin/true"]).with_variable("NOTIFY_SOCKET", &manager.address());
    assert_eq!(launch.run().code, Some(1));
    assert!(manager.heard().is_empty(), "{:?}", manager.heard());
}

#[test]
fn a_reload_and_a_stop_are_told() {
    let mut manager = Manager::new();
    let mut service = start(&manager, &[], None);
    manager.hears("READY=1");
    manager.forget();
    service.signal(Signal::HUP);
    manager.hears("READY=1");
    let heard = manager.heard();
    assert!(heard[0] == "RELOADING=1" && heard[1].starts_with("MONOTONIC_USEC="), "{heard:?}");
    manager.forget();
    service.signal(Signal::TERM);
    assert!(service.wait().success());
    assert_eq!(manager.heard(), ["STOPPING=1"]);
}

#[test]
fn the_watchdog_is_fed_only_while_zygotes_answer() {
    let mut manager = Manager::new();
    let service = start(&manager, &[], Some("2000000"));
    manager.hears("WATCHDOG=1");
    manager.forget();
    manager.hears("WATCHDOG=1");
    let zygotes = service.zygotes();
    for zygote in &zygotes {
        kill(zygote.id, Signal::STOP);
    }
    let hungry = || service.log().matches("the watchdog is not fed").count();
    wait::until("the watchdog goes hungry", || hungry() > 0);
    manager.forget();
    let before = hungry();
    wait::until("it still does", || hungry() > before);
    assert!(!manager.heard().iter().any(|line| line == "WATCHDOG=1"), "{:?}", manager.heard());
    // A zygote that does not answer is replaced, and then all is well again.
    manager.hears("WATCHDOG=1");
    assert!(zygotes.iter().any(|zygote| !zygote.is_alive()));
}

#[test]
fn the_unit_is_rated_as_the_documentation_says() {
    if !has("systemd-analyze", "systemd") {
        return;
    }
    let unit = repository().join("systemd/webrunner.service");
    let rated = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", "--threshold", MOST_EXPOSED])
        .arg(&unit)
        .output()
        .expect("systemd-analyze");
    let text = String::from_utf8_lossy(&rated.stdout).into_owned() + &String::from_utf8_lossy(&rated.stderr);
    assert!(rated.status.success(), "{text}");
    let (_, rating) = text.split_once("Overall exposure level for webrunner.service: ").expect("a rating");
    let rating = rating.split(' ').next().unwrap_or_default();
    let said = format!("exposure {rating}");
    // Other versions of systemd rate a little differently; the documentation names the one it speaks of.
    let version = Command::new("systemd-analyze").arg("--version").output().expect("a version").stdout;
    if String::from_utf8_lossy(&version).starts_with("systemd 252 ") {
        let page = fs::read_to_string(repository().join("docs/security.md")).expect("docs/security.md");
        assert!(page.contains(&said), "docs/security.md does not say \"{said}\"");
    }
}

#[test]
fn the_units_have_no_unknown_lines() {
    if !has("systemd-analyze", "systemd") {
        return;
    }
    let folder = repository().join("systemd");
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args([folder.join("webrunner.service"), folder.join("webrunner.socket")])
        .output()
        .expect("systemd-analyze");
    let complaints = String::from_utf8_lossy(&verified.stderr).into_owned();
    // The executable is not installed where this runs.
    let complaints: Vec<&str> = complaints
        .lines()
        .filter(|line| line.contains("webrunner.") && !line.contains("is not executable"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}
