//! Rows 11 to 20: system calls made in earnest, with all they need to do harm.

use webrunner_tests::processes::Process;

use crate::outcome::Control::{Ends, Reaches, Works};
use crate::outcome::{Control, ends_with, is, is_refused};
use crate::target::{Target, locked, unlocked};

const OBJECT: &str = "hostile/calls.o";
const PLAYGROUND: &str = "kernel=playground";

/// An attack (a symbol of `calls.o`), the first call of it that is refused, and what comes of it without the lock.
type Row = (&'static str, &'static str, Control);

fn query(attack: &str) -> String {
    format!("{PLAYGROUND}&_symbol={attack}")
}

/// Tries every attack on workers with the lock, then on workers without.
fn only_the_lock_stops(rows: &[Row]) {
    let target = locked();
    for (attack, call, _) in rows {
        is_refused(&target.attack(OBJECT, &query(attack)), call);
    }
    drop(target);
    let control = unlocked();
    for (attack, _, without) in rows {
        without.holds(attack, &control.post(OBJECT, &query(attack)));
    }
}

/// Tries objects that are one attack each, whose call is refused.
fn are_refused(target: &Target, objects: &[(&str, &str)]) {
    for (object, call) in objects {
        is_refused(&target.attack(&format!("hostile/{object}.o"), PLAYGROUND), call);
    }
}

/// R11. Children, by each of the four calls that make them, in a loop.
#[test]
fn no_process_is_made() {
    only_the_lock_stops(&[
        ("fork_loop", "fork", Works),
        ("vfork_loop", "vfork", Works),
        ("clone_loop", "clone", Works),
        ("clone3_loop", "clone3", Works),
    ]);
    are_refused(&locked(), &[("syscall_fork", "fork"), ("syscall_clone3", "clone3")]);
}

/// R12. Another program in the worker's place, and a file in memory to hold one.
#[test]
fn no_program_is_executed() {
    only_the_lock_stops(&[
        ("execve_shell", "execve", Ends(42)),
        ("execveat_shell", "execveat", Ends(42)),
        ("memfd_of_code", "memfd_create", Works),
    ]);
    are_refused(&locked(), &[("syscall_execve", "execve"), ("syscall_memfd_create", "memfd_create")]);
}

/// R13. Files, sockets, other processes, and the kernel's larger doors.
#[test]
fn nothing_outside_the_process_is_reached() {
    only_the_lock_stops(&[
        ("open_file", "openat", Works),
        ("create_file", "openat", Works),
        ("tcp_socket", "socket", Works),
        ("connect_tcp", "socket", Reaches),
        ("bpf_map", "bpf", Reaches),
        ("keyctl_session", "keyctl", Reaches),
        ("userfaultfd", "userfaultfd", Reaches),
        ("process_vm_readv_init", "process_vm_readv", Reaches),
        ("process_vm_writev_init", "process_vm_writev", Reaches),
        ("ptrace_me", "ptrace", Reaches),
        ("perf_event_open_clock", "perf_event_open", Reaches),
        ("mount_tmpfs", "mount", Reaches),
        ("unshare_user", "unshare", Reaches),
        ("setns_nowhere", "setns", Reaches),
        ("io_uring_setup", "io_uring_setup", Reaches),
    ]);
    // What the control has left: the one file of all these tests.
    let _ = std::fs::remove_file("/tmp/webrunner-corpus-created");
    are_refused(
        &locked(),
        &[
            ("syscall_getpid", "getpid"),
            ("syscall_openat", "openat"),
            ("syscall_socket", "socket"),
            ("syscall_write_stderr", "write"),
            ("syscall_bpf", "bpf"),
            ("syscall_process_vm_readv", "process_vm_readv"),
            ("syscall_perf_event_open", "perf_event_open"),
            ("syscall_ptrace", "ptrace"),
            ("syscall_io_uring_setup", "io_uring_setup"),
        ],
    );
}

/// R14. Memory that is both written and executed, moved, given away or shared.
#[test]
fn no_memory_is_mapped_or_given_other_rights() {
    only_the_lock_stops(&[
        ("mmap_rwx", "mmap", Works),
        ("mprotect_text_writable", "mprotect", Works),
        ("mprotect_data_executable", "mprotect", Works),
        ("pkey_mprotect_data", "pkey_mprotect", Reaches),
        ("mremap_data", "mremap", Works),
        ("shmat_nowhere", "shmat", Reaches),
        ("madvise_away", "madvise", Works),
        ("lock_memory", "mlock", Reaches),
        ("brk_more", "brk", Works),
    ]);
    are_refused(
        &locked(),
        &[("syscall_mmap_rwx", "mmap"), ("mprotect_text", "mprotect"), ("munmap_everything", "munmap")],
    );
    // Without the lock nothing is left to tell of it.
    is(&unlocked().post("hostile/munmap_everything.o", PLAYGROUND), "kernel-killed");
}

/// R15. Handlers of signals, the processor's registers for the kernel, filters of its own, and sleep.
#[test]
fn handlers_and_registers_of_the_kernel_stay_as_they_are() {
    only_the_lock_stops(&[
        ("take_sigsys", "rt_sigaction", Works),
        ("move_signal_stack", "sigaltstack", Works),
        ("block_signals", "rt_sigprocmask", Works),
        ("prctl_dumpable", "prctl", Works),
        ("arch_prctl_gs", "arch_prctl", Works),
        ("seccomp_own_filter", "seccomp", Reaches),
        ("modify_ldt_read", "modify_ldt", Reaches),
        ("iopl_3", "iopl", Reaches),
        ("rseq_register", "rseq", Reaches),
        ("futex_wake", "futex", Works),
        ("sleep_on", "nanosleep", Works),
    ]);
    are_refused(
        &locked(),
        &[
            ("syscall_rt_sigaction", "rt_sigaction"),
            ("syscall_prctl", "prctl"),
            ("syscall_nanosleep", "nanosleep"),
        ],
    );
}

/// R16. Forged signal frames: one that blocks every signal, one with the kernel's code segment, one with I/O rights.
#[test]
fn a_forged_signal_frame_is_one_more_refused_call() {
    let objects = ["sigreturn", "sigreturn_kernel_cs", "sigreturn_iopl"];
    are_refused(&locked(), &objects.map(|object| (object, "rt_sigreturn")));
    let control = unlocked();
    for object in objects {
        // The frame is taken, every signal is blocked, and the process dies of the next without a word.
        is(&control.post(&format!("hostile/{object}.o"), PLAYGROUND), "kernel-killed");
    }
}

/// R17. Signals to all, to the first process, and by a descriptor.
#[test]
fn no_signal_is_sent() {
    only_the_lock_stops(&[
        ("kill_all", "kill", Reaches),
        ("tgkill_init", "tgkill", Reaches),
        ("pidfd_open_init", "pidfd_open", Reaches),
        ("pidfd_signal", "pidfd_send_signal", Reaches),
    ]);
    are_refused(&locked(), &[("syscall_kill_all", "kill")]);
}

/// R18. What one job could leave for the next: shared memory, semaphores, queues, keys, sockets, locks.
#[test]
fn nothing_is_left_for_the_next_job() {
    only_the_lock_stops(&[
        ("leave_message", "shmget", Works),
        // The second job does find it where nothing stops either: workers of a core share their IPC objects.
        ("find_message", "shmget", Works),
        ("semget_private", "semget", Works),
        ("msgget_private", "msgget", Works),
        ("mq_open_new", "mq_open", Reaches),
        ("add_key_user", "add_key", Reaches),
        ("bind_abstract", "socket", Works),
        ("vsock", "socket", Reaches),
        ("flock_null", "flock", Reaches),
    ]);
}

/// R19. Descriptors and urgent bytes over the job socket: the supervisor takes neither.
#[test]
fn no_descriptor_is_handed_to_the_supervisor() {
    let target = locked();
    is_refused(&target.attack(OBJECT, &query("send_descriptors")), "sendmsg");
    is_refused(&target.attack(OBJECT, &query("send_urgent")), "sendto");
    are_refused(&target, &[("syscall_sendmsg", "sendmsg")]);
    drop(target);
    let control = unlocked();
    // Sent, but never taken: the supervisor asks for bytes alone, and has as many descriptors as before.
    is(&control.attack(OBJECT, &query("send_descriptors")), "protocol-violation");
    let urgent = control.attack(OBJECT, &query("send_urgent"));
    assert!(["kernel-exited", "protocol-violation"].contains(&urgent.slug().as_str()), "{urgent:?}");
}

/// R20. Its own descriptors: closed, replaced, told to behave otherwise.
#[test]
fn no_descriptor_is_closed_or_changed() {
    only_the_lock_stops(&[
        ("dup_over_job_socket", "dup2", Works),
        ("dup_often", "dup", Works),
        ("unblock_job_socket", "fcntl", Works),
        ("type_on_terminal", "ioctl", Reaches),
        ("attach_bpf", "ioctl", Reaches),
        ("read_job_socket_options", "getsockopt", Works),
    ]);
    are_refused(&locked(), &[("close_descriptors", "close"), ("syscall_ioctl_tiocsti", "ioctl")]);
    // Its reply has nowhere to go.
    ends_with(&unlocked().post("hostile/close_descriptors.o", PLAYGROUND), 0);
}

/// What the control runs as: the lock is off, but not what keeps an attack from the host.
#[test]
fn a_worker_without_its_lock_says_so_and_is_still_nobody() {
    let control = unlocked();
    let machine = control.service().get("/machine").json();
    let missing: Vec<_> = machine["isolation_missing"].as_array().into_iter().flatten().collect();
    for layer in ["seccomp", "landlock", "rlimits"] {
        assert!(missing.iter().any(|missing| missing["name"] == layer), "{layer}: {machine}");
    }
    assert!(control.service().log().contains("jobs are NOT LOCKED"));
    for worker in control.service().workers() {
        let of = |name| Process::status(worker, name);
        assert_eq!(
            (of("CapEff").as_deref(), of("Seccomp")),
            (Some("0000000000000000"), Some("0".to_owned()))
        );
    }
}
