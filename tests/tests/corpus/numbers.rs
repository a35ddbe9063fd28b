//! What the lock lets through, tried on the real kernel: every number, and the limits of every open rule.

use serde_json::json;
use webrunner_tests::http::{Answer, Request};

use crate::outcome::{ends_with, exit_code, is_measured, refuses};
use crate::target::{Target, locked, request, unlocked};

const READ: u64 = 0;
const WRITE: u64 = 1;
const IOCTL: u64 = 16;
const SHUTDOWN: u64 = 48;
const EXIT_GROUP: u64 = 231;

/// Calls that newer kernels let pass every filter (`uretprobe`, `uprobe`): outside a probe they end in SIGILL or ENXIO.
const UNFILTERED: [u64; 2] = [335, 336];

/// Calls that only tell a process about itself: sched_yield, getpid, getuid, getgid, geteuid, getegid, getppid,
/// getpgrp, gettid.
const HARMLESS: [u64; 9] = [24, 39, 102, 104, 107, 108, 110, 111, 186];

/// A worker's descriptors: its job socket, and the first and last of its counters.
const JOB: u64 = 3;
const COUNTERS: (u64, u64) = (4, 101);

/// What a worker may ask of its counters: `PERF_EVENT_IOC_ENABLE` and `PERF_EVENT_IOC_DISABLE`.
const ENABLE: u64 = 0x2400;
const DISABLE: u64 = 0x2401;

/// Most bytes of a read of counters, and of a reply with its header.
const MOST_READ: u64 = 280;
const MOST_WRITTEN: u64 = (64 << 10) + 10;

/// `-ENOSYS`, as a function returns it.
const NO_SUCH_CALL: u64 = -38_i64 as u64;

/// The request that makes this call with all arguments zero.
fn plain(number: u64) -> Request {
    request("hostile/syscall_argument.o", &format!("kernel=test.probe&number={number}"))
}

/// Answers of a locked worker to these calls, each with all arguments zero.
fn sweep(target: &Target, numbers: impl Iterator<Item = u64> + Clone) -> Vec<(u64, Answer)> {
    let answers = target.unharmed_by(|| target.send_all(numbers.clone().map(plain)));
    numbers.zip(answers).collect()
}

/// Makes one system call with these arguments.
fn call(target: &Target, number: u64, arguments: &[u64]) -> Answer {
    let names = ["a", "b", "c", "d", "e", "f"];
    let arguments: String =
        names.iter().zip(arguments).map(|(name, value)| format!("&{name}={value}")).collect();
    target.post("hostile/syscall_arguments.o", &format!("kernel=test.call&number={number}{arguments}"))
}

/// R1. Every number from 0 to 1023, all arguments zero.
#[test]
fn every_system_call_but_the_end_of_the_process_is_refused() {
    for (number, answer) in sweep(&locked(), 0..1024) {
        match number {
            EXIT_GROUP => ends_with(&answer, 0),
            // Refused where the kernel knows neither; else no harm outside a probe.
            _ if UNFILTERED.contains(&number) => {
                let harmless = answer.status == 200 || answer.problem()["signal"] == "SIGILL";
                assert!(harmless || refuses(&answer, number), "{number}: {answer:?}");
            }
            // Descriptor 0 is no worker's to use.
            _ => assert!(refuses(&answer, number), "{number}: {answer:?}"),
        }
    }
    let control = unlocked();
    for (number, answer) in HARMLESS.into_iter().zip(control.send_all(HARMLESS.map(plain))) {
        is_measured(&answer);
        let returned = answer.json()["returned"].as_u64();
        assert!(returned.is_some_and(|value| value < NO_SUCH_CALL), "{number}: {returned:?}");
    }
}

/// R2. Calls that are allowed, with arguments that are not: other descriptors, lengths one too long, high bits set.
#[test]
fn allowed_calls_with_other_arguments_are_refused() {
    let high = 1_u64 << 32;
    let refused: &[(u64, &[u64])] = &[
        (READ, &[0, 0, 0]),
        (READ, &[1, 0, 0]),
        (READ, &[2, 0, 0]),
        (READ, &[COUNTERS.1 + 1, 0, 0]),
        (READ, &[u32::MAX.into(), 0, 0]),
        (READ, &[u64::MAX, 0, 0]),
        (READ, &[COUNTERS.0, 0, MOST_READ + 1]),
        (READ, &[COUNTERS.0, 0, MOST_READ | high]),
        (READ, &[COUNTERS.1, 0, u64::MAX]),
        (IOCTL, &[COUNTERS.0, ENABLE, 1]),
        (IOCTL, &[COUNTERS.0, ENABLE + 2, 0]),
        (IOCTL, &[COUNTERS.0, ENABLE + 3, 0]),
        (IOCTL, &[JOB, ENABLE, 0]),
        (IOCTL, &[COUNTERS.1 + 1, DISABLE, 0]),
        (WRITE, &[0, 0, 0]),
        (WRITE, &[1, 0, 0]),
        (WRITE, &[2, 0, 0]),
        (WRITE, &[4, 0, 0]),
        (WRITE, &[JOB, 0, MOST_WRITTEN + 1]),
        (WRITE, &[JOB, 0, 1 | high]),
        (WRITE, &[JOB, 0, u64::MAX]),
        (SHUTDOWN, &[JOB, 0]),
        (SHUTDOWN, &[JOB, 2]),
        (SHUTDOWN, &[4, 1]),
        (SHUTDOWN, &[0, 1]),
    ];
    let target = locked();
    target.unharmed_by(|| {
        for (number, arguments) in refused {
            let answer = call(&target, *number, arguments);
            assert!(refuses(&answer, *number), "{number} {arguments:?}: {answer:?}");
        }
    });
    drop(target);
    let control = unlocked();
    for (number, arguments) in refused {
        assert!(!refuses(&call(&control, *number, arguments), *number), "{number} {arguments:?}");
    }
    // Standard error is /dev/null and takes what it is given.
    assert_eq!(call(&control, WRITE, &[2, 0, 0]).json()["returned"], 0);
}

/// The other side of row 2: what a worker needs, it may.
#[test]
fn a_worker_may_read_its_socket_and_counters_and_write_one_reply() {
    let target = locked();
    let reads = [[JOB, 0, 0], [COUNTERS.0, 0, 0], [COUNTERS.0, 0, MOST_READ], [COUNTERS.1, 0, 0]];
    for arguments in reads {
        is_measured(&call(&target, READ, &arguments));
    }
    // Nothing is written from address 0, so the true reply still comes.
    for arguments in [[JOB, 0, 0], [JOB, 0, MOST_WRITTEN]] {
        is_measured(&call(&target, WRITE, &arguments));
    }
    // A quick job has no counters to be started or stopped.
    for command in [ENABLE, DISABLE] {
        is_measured(&call(&target, IOCTL, &[COUNTERS.0, command, 0]));
    }
    assert!(exit_code(&call(&target, SHUTDOWN, &[JOB, 1])).is_some());
    for (code, seen) in [(0, 0), (70, 70), (71, 71), (255, 255), (256, 0)] {
        ends_with(&call(&target, EXIT_GROUP, &[code]), seen);
    }
}

/// The zygote's calls, as the policy has them but for the key in the sixth argument.
#[test]
fn calls_of_the_zygote_are_refused_without_its_key() {
    // clone, mprotect, close, sendmsg, wait4, perf_event_open.
    let calls: [(u64, [u64; 6]); 7] = [
        (56, [0x1100, 0, 0, 0, 0, 0]),
        (10, [0x1000_0000, 4096, 5, 0, 0, 0]),
        (3, [3, 0, 0, 0, 0, 0]),
        (46, [4, 0, 0x4000, 0, 0, 0]),
        (61, [u64::MAX, 0, 1, 0, 0, 0]),
        (298, [0, 0, u64::from(u32::MAX), u64::MAX, 8, 0]),
        (298, [0, 0, u64::from(u32::MAX), u64::MAX, 8, u64::MAX]),
    ];
    let target = locked();
    target.unharmed_by(|| {
        for (number, arguments) in calls {
            assert!(refuses(&call(&target, number, &arguments), number), "{number}");
        }
    });
}

/// R3. The x32 table: every number with bit 30 set, those of allowed calls among them.
#[test]
fn no_number_of_the_x32_table_passes() {
    let target = locked();
    for (number, answer) in sweep(&target, 0x4000_0000..0x4000_0400) {
        assert!(refuses(&answer, number), "{number:#x}: {answer:?}");
        assert_eq!(answer.problem()["x32"], true);
    }
    let named = target.attack("hostile/syscall_x32_getpid.o", "kernel=playground").problem();
    let told = (&named["syscall"], &named["syscall_number"], &named["x32"]);
    assert_eq!(told, (&json!("getpid"), &json!(0x4000_0027), &json!(true)));
    drop(target);
    // A kernel without that table says so; one with it answers.
    let returned = unlocked().send(&plain(0x4000_0027)).json()["returned"].as_u64();
    assert!(returned.is_some_and(|value| value == NO_SUCH_CALL || value < 1 << 22), "{returned:?}");
}

/// R4. Bit 32 set beside exit_group, which is allowed; the kernel drops the bit.
#[test]
fn a_number_with_a_high_bit_is_the_number_without_it() {
    let target = locked();
    ends_with(&target.attack("hostile/syscall_exit_high_bits.o", "kernel=playground"), 9);
    let getpid = plain((1 << 32) | 39);
    let refused = target.send(&getpid);
    assert!(refuses(&refused, 39), "{refused:?}");
    drop(target);
    let process = unlocked().send(&getpid).json()["returned"].as_u64();
    assert!(process.is_some_and(|process| (2..1 << 22).contains(&process)), "{process:?}");
}

/// R5. -1, in 64 bits and in 32: the number by which a kernel marks that a call was skipped.
#[test]
fn a_number_that_names_no_call_is_refused() {
    let target = locked();
    let mut answers = vec![target.attack("hostile/syscall_minus_one.o", "kernel=playground")];
    answers.extend(target.unharmed_by(|| target.send_all([u64::MAX, u32::MAX.into()].map(plain))));
    for answer in answers {
        let problem = answer.problem();
        assert_eq!(answer.slug(), "system-call-refused");
        assert!(problem["syscall"].is_null() && problem["syscall_number"] == -1, "{problem}");
    }
    drop(target);
    assert_eq!(unlocked().send(&plain(u64::MAX)).json()["returned"], NO_SUCH_CALL);
}
