//! What a worker is, seen from outside through `/proc`: what it holds, who it is, and what it is denied.
//!
//! A worker's own files in `/proc` are closed to all but root, which is a part of what is tested; tests that need to look
//! inside say so and pass where they may not.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};
use webrunner_tests::http::Connection;
use webrunner_tests::jobs::{self, good_job_is_right};
use webrunner_tests::processes::Process;
use webrunner_tests::service::{Launch, Service};
use webrunner_tests::{executables, wait};

/// A name that is in the supervisor's environment and must be nowhere else.
const SECRET: (&str, &str) = ("SECRET_OF_THE_TEST", "canary-1b7e");

/// A service at rest, whose environment holds a secret.
fn service() -> Service {
    let service = Launch::serve([]).with_variable(SECRET.0, SECRET.1).start();
    service.settle();
    service
}

/// A service with a worker that runs endless code, and that worker.
fn with_running_worker() -> (Service, Connection, Process) {
    let service = service();
    let mut connection = Connection::open(service.address());
    connection.send(&jobs::request("hostile/spin.o", "kernel=playground").bytes());
    wait::until("the job runs", || service.readiness()["running"] == 1);
    let spins = |worker: &Process| worker.user_ticks() > 2;
    let running = wait::until_some("a worker spins", || service.workers().into_iter().find(spins));
    (service, connection, running)
}

/// Job sockets that a zygote has for workers to come.
const MOST_SOCKETS_AHEAD: usize = 7;

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Who may look into a process: the kernel gives the entries of one that cannot be dumped to root.
fn owner(process: Process) -> u32 {
    fs::metadata(process.path("environ")).expect("an entry").uid()
}

/// Says why a test proves nothing here.
fn skipped(reason: &str) {
    eprintln!("skipped: {reason}");
}

#[test]
fn a_worker_holds_its_job_socket_and_its_counters_and_nothing_else() {
    let (_service, _job, running) = with_running_worker();
    let Some(descriptors) = running.descriptors() else {
        return skipped("the descriptors of a worker are closed to all but root");
    };
    for (number, target) in &descriptors {
        let allowed = match number {
            0..=2 => target == "/dev/null",
            3 => target.starts_with("socket:["),
            4..=35 => target == "anon_inode:[perf_event]",
            _ => false,
        };
        assert!(allowed, "descriptor {number} is {target}: {descriptors:?}");
    }
    assert!(descriptors.len() >= 4, "{descriptors:?}");
}

#[test]
fn a_zygote_holds_its_channels_those_of_workers_to_come_and_idle_counters_and_nothing_else() {
    for zygote in service().zygotes() {
        let Some(descriptors) = zygote.descriptors() else {
            return skipped("the descriptors of a zygote are closed to all but root");
        };
        for (number, target) in &descriptors {
            let allowed = match number {
                0..=3 => target == "/dev/null",
                4 => target.starts_with("socket:["),
                5 => target == "anon_inode:[signalfd]",
                _ => target == "anon_inode:[perf_event]" || target.starts_with("socket:["),
            };
            assert!(allowed, "descriptor {number} is {target}: {descriptors:?}");
        }
        assert!(descriptors.len() >= 6, "{descriptors:?}");
        let sockets = descriptors.iter().filter(|(_, target)| target.starts_with("socket:[")).count();
        assert!(sockets <= 1 + MOST_SOCKETS_AHEAD, "{descriptors:?}");
    }
}

#[test]
fn nothing_of_the_environment_reaches_zygote_or_worker() {
    let service = service();
    let supervisor = Process::find(service.id()).expect("the supervisor");
    assert!(fs::read_to_string(supervisor.path("environ")).is_ok_and(|all| all.contains(SECRET.1)));
    for process in service.workers().into_iter().chain(service.zygotes()) {
        match fs::read(process.path("environ")) {
            Ok(environment) => assert_eq!(environment, b"", "{process:?}"),
            Err(_) => skipped("the environment of a worker is closed to all but root"),
        }
    }
}

#[test]
fn a_worker_has_no_privileges_and_can_gain_none() {
    let (_service, _job, running) = with_running_worker();
    assert_eq!(running.status("NoNewPrivs").as_deref(), Some("1"));
    assert_eq!(running.status("Seccomp").as_deref(), Some("2"));
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(running.status(set).as_deref(), Some("0000000000000000"), "{set}");
    }
    let users = running.status("Uid").expect("users");
    assert!(users.split_whitespace().all(|user| user != "0"), "{users}");
    if is_root() {
        assert_eq!(running.status("Groups").as_deref(), Some(""));
    }
}

#[test]
fn a_worker_is_closed_to_all_but_root() {
    let service = service();
    for process in service.workers().into_iter().chain(service.zygotes()) {
        assert_eq!(owner(process), 0, "{process:?}");
        assert!(process.status("Uid").is_some_and(|users| !users.starts_with("0\t")), "{process:?}");
    }
}

#[test]
fn a_worker_is_limited_in_all_it_could_use_up() {
    let (_service, _job, running) = with_running_worker();
    let limits = fs::read_to_string(running.path("limits")).expect("limits");
    let of = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let values: Vec<_> = line[name.len().min(line.len())..].split_whitespace().take(2).collect();
        values.join(" ")
    };
    for (name, expected) in [
        ("Max cpu time", "3 4"),
        ("Max core file size", "0 0"),
        ("Max file size", "0 0"),
        ("Max processes", "0 0"),
        ("Max locked memory", "0 0"),
        ("Max msgqueue size", "0 0"),
        ("Max open files", "118 118"),
    ] {
        assert_eq!(of(name), expected, "{limits}");
    }
    assert_ne!(of("Max data size"), "unlimited unlimited");
}

#[test]
fn no_memory_of_a_worker_is_both_writable_and_executable() {
    let (_service, _job, running) = with_running_worker();
    let Ok(maps) = fs::read_to_string(running.path("maps")) else {
        return skipped("the mappings of a worker are closed to all but root");
    };
    let both = maps.lines().find(|line| line.split(' ').nth(1).is_some_and(|rights| rights.contains("wx")));
    assert_eq!(both, None);
    assert!(maps.lines().any(|line| line.contains(" r-x")), "{maps}");
}

#[test]
fn a_worker_is_in_the_namespaces_that_are_reported() {
    let service = service();
    let machine = service.get("/machine").json();
    let worker = service.workers()[0];
    for (layer, name) in [("pid_namespace", "pid"), ("ipc_namespace", "ipc"), ("net_namespace", "net")] {
        let Ok(theirs) = fs::read_link(worker.path("ns").join(name)) else {
            return skipped("the namespaces of a worker are closed to all but root");
        };
        let ours = fs::read_link(Path::new("/proc/self/ns").join(name)).expect("a namespace of one's own");
        let in_force = machine["isolation"].as_array().is_some_and(|layers| layers.contains(&json!(layer)));
        assert_eq!(theirs != ours, in_force, "{layer}: {theirs:?} and {ours:?}");
    }
}

#[test]
fn a_worker_runs_on_its_core_and_no_other() {
    let (service, _job, running) = with_running_worker();
    let cores = service.get("/machine").json()["cores"].clone();
    let allowed = running.status("Cpus_allowed_list").and_then(|list| list.parse::<u32>().ok());
    assert!(
        allowed.is_some_and(|core| cores.as_array().is_some_and(|all| all.contains(&json!(core)))),
        "{cores}"
    );
}

#[test]
fn full_isolation_starts_with_every_layer_or_not_at_all() {
    let missing = service().get("/machine").json()["isolation_missing"].clone();
    let launch = Launch::serve(["--require-isolation", "full"]);
    match missing.as_array().and_then(|layers| layers.first()) {
        None => assert_eq!(launch.start().get("/machine").json()["isolation_missing"], json!([])),
        Some(layer) => {
            let ended = launch.run();
            assert_eq!(ended.code, Some(1));
            let name = layer["name"].as_str().expect("a name");
            assert!(
                ended.complaint().starts_with(&format!("isolation layer {name} is required")),
                "{ended:?}"
            );
        }
    }
}

#[test]
fn an_unprivileged_user_can_serve_too() {
    if !is_root() {
        return skipped("without root, every test here runs as an unprivileged user anyway");
    }
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a folder open to all");
    let program = executables::copy(&executables::get().supervisor, folder.path());
    let _worker = executables::copy(&executables::get().worker, folder.path());
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let service = Launch::executable(&program, ["serve", "--listen", "127.0.0.1:0"]).through(nobody).start();
    good_job_is_right(&service);
    service.settle();
    is_isolated_as_nobody(&service);
}

/// Holds a service of user 65534 against what it reports.
fn is_isolated_as_nobody(service: &Service) {
    let machine = service.get("/machine").json();
    let names = |list: &Value| list.as_array().into_iter().flatten().cloned().collect::<Vec<_>>();
    let in_force = names(&machine["isolation"]);
    for layer in ["seccomp", "no_new_privs", "rlimits", "not_dumpable", "unprivileged_user"] {
        assert!(in_force.contains(&json!(layer)), "{layer} is not in {in_force:?}");
    }
    let explained = |layer: &str| {
        names(&machine["isolation_missing"]).iter().any(|missing| {
            missing["name"] == layer && missing["reason"].as_str().is_some_and(|why| !why.is_empty())
        })
    };
    for layer in ["landlock", "user_namespace", "pid_namespace", "ipc_namespace", "net_namespace"] {
        assert!(in_force.contains(&json!(layer)) || explained(layer), "{layer} is not told of: {machine}");
    }
    let worker = service.workers()[0];
    assert_eq!(owner(worker), 0);
    assert!(worker.status("Uid").is_some_and(|users| users.starts_with("65534\t")));
    assert_eq!(worker.status("CapEff").as_deref(), Some("0000000000000000"));
    assert_eq!(worker.status("Seccomp").as_deref(), Some("2"));
}
