//! The layers behind the filter: attacks of rows 11 to 25 on workers that lack the filter and nothing else.
//!
//! With the filter whole no other layer is ever asked, so that one which had gone would not be missed: here each must
//! stop, by its own error, what the control of the row shows to work or to reach the kernel.

use nix::errno::Errno::{self, EACCES, EAGAIN, EMFILE, ENOMEM, EPERM};
use serde_json::json;

use crate::outcome::{ends_with, is};
use crate::target::{Target, unfiltered};

fn attack(target: &Target, attack: &str) -> webrunner_tests::http::Answer {
    target.attack("hostile/calls.o", &format!("kernel=playground&_symbol={attack}"))
}

/// Tries attacks that each end with this error.
fn fail_with(target: &Target, error: Errno, attacks: &[&str]) {
    for name in attacks {
        ends_with(&attack(target, name), error as i64);
    }
}

/// Files and programs are Landlock's, resources are those of limits, other processes are closed as they cannot be
/// dumped, and what takes a right of root's fails for want of it.
#[test]
fn what_is_behind_the_filter_stops_attacks_without_it() {
    let target = unfiltered();
    let machine = target.service().get("/machine").json();
    let in_force = |layer| machine["isolation"].as_array().is_some_and(|all| all.contains(&json!(layer)));
    assert!(!in_force("seccomp") && in_force("rlimits") && in_force("not_dumpable"), "{machine}");
    if in_force("landlock") {
        let files = ["open_file", "create_file", "execve_shell", "execveat_shell", "connect_tcp"];
        fail_with(&target, EACCES, &files);
    } else {
        eprintln!("skipped in part: this host has no Landlock");
    }
    fail_with(&target, EAGAIN, &["fork_loop", "vfork_loop", "clone_loop", "clone3_loop"]);
    fail_with(&target, EMFILE, &["dup_often", "mq_open_new"]);
    fail_with(&target, ENOMEM, &["mmap_16_gib"]);
    fail_with(&target, EPERM, &["lock_memory", "process_vm_readv_init", "mount_tmpfs"]);
    // The limit on files is told by a signal, which ends the process.
    is(&attack(&target, "memfd_of_code"), "kernel-killed");
}
