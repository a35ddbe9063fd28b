//! The rule table by itself: what is open, what is keyed, and that each rule says why.

#![forbid(unsafe_code)]

use webrunner_protocol::frame::ReplyHeader;
use webrunner_protocol::limits::{MAX_BUFFER_BYTES, MAX_IMAGE_BYTES, MAX_REPLY_BYTES};
use webrunner_worker::policy::{self, Rule, Test};
use webrunner_worker::sys::keyed::Key;
use webrunner_worker::sys::memory;

use crate::model::{ARENAS, KEY, PROGRAM, RULES, argument};

#[test]
fn every_rule_says_why() {
    for rule in RULES.iter() {
        assert!(rule.reason.len() >= 3, "{rule:?}");
    }
}

#[test]
fn code_under_test_may_make_eight_calls_and_no_other() {
    let reply = (ReplyHeader::BYTES + MAX_REPLY_BYTES) as u64;
    let open: Vec<(i64, Vec<Test>)> =
        RULES.iter().filter(|rule| rule.key.is_none()).map(|rule| (rule.call, rule.tests.clone())).collect();
    // As docs/security.md lists them. Descriptor 3 is the job socket, 4 to 101 are the worker's counters, of which a group
    // of 16 is read as 35 words. 0x2400 and 0x2401 start and stop a group. Clock 3 is the thread's CPU time.
    let documented = [
        (libc::SYS_read, vec![Test::Is(0, 3)]),
        (libc::SYS_read, vec![Test::Between(0, 4, 101), Test::AtMost(2, 280)]),
        (libc::SYS_ioctl, vec![Test::Between(0, 4, 101), Test::Is(1, 0x2400), Test::IsLong(2, 0)]),
        (libc::SYS_ioctl, vec![Test::Between(0, 4, 101), Test::Is(1, 0x2401), Test::IsLong(2, 0)]),
        (libc::SYS_write, vec![Test::Is(0, 3), Test::AtMost(2, reply)]),
        (libc::SYS_shutdown, vec![Test::Is(0, 3), Test::Is(1, 1)]),
        (libc::SYS_clock_gettime, vec![Test::Is(0, 3)]),
        (libc::SYS_exit_group, vec![]),
    ];
    assert_eq!(open, documented);
}

/// Arguments the kernel takes of a call, from its `SYSCALL_DEFINE`.
fn arity(call: i64) -> usize {
    match call {
        libc::SYS_exit_group | libc::SYS_close => 1,
        libc::SYS_shutdown | libc::SYS_kill | libc::SYS_clock_gettime => 2,
        libc::SYS_read
        | libc::SYS_ioctl
        | libc::SYS_write
        | libc::SYS_mprotect
        | libc::SYS_sendmsg
        | libc::SYS_dup3
        | libc::SYS_close_range => 3,
        libc::SYS_socketpair | libc::SYS_wait4 | libc::SYS_prlimit64 => 4,
        libc::SYS_clone | libc::SYS_ppoll | libc::SYS_prctl | libc::SYS_perf_event_open => 5,
        other => panic!("how many arguments does call {other} take? A keyed call may have five at most"),
    }
}

#[test]
fn the_kernel_ignores_the_argument_that_carries_the_key() {
    for rule in RULES.iter() {
        let arity = arity(rule.call);
        assert!(arity <= KEY, "{rule:?}");
        assert!(rule.tests.iter().all(|&test| argument(test) < arity), "{rule:?}");
    }
}

#[test]
fn the_load_key_opens_memory_and_nothing_else() {
    let load: Vec<&Rule> = RULES.iter().filter(|rule| rule.key == Some(Key::Load)).collect();
    assert!(load.iter().all(|rule| rule.call == libc::SYS_mprotect));
    let mprotect = RULES.iter().filter(|rule| rule.call == libc::SYS_mprotect).count();
    assert_eq!((load.len(), mprotect), (6, 6), "three protections in each arena");
    for rule in load {
        let protection = rule.tests.iter().find_map(|&test| match test {
            Test::IsLong(2, protection) => Some(protection as i32),
            _ => None,
        });
        assert!(
            [libc::PROT_READ, libc::PROT_READ | libc::PROT_WRITE, libc::PROT_READ | libc::PROT_EXEC]
                .map(Some)
                .contains(&protection),
            "{rule:?}"
        );
    }
}

#[test]
fn what_the_load_key_opens_ends_in_memory_that_is_reserved() {
    for rule in RULES.iter().filter(|rule| rule.key == Some(Key::Load)) {
        let most = |wanted| {
            rule.tests.iter().find_map(|&test| match test {
                Test::AtMost(argument, most) if argument == wanted => Some(most as usize),
                _ => None,
            })
        };
        let (Some(last_start), Some(longest)) = (most(0), most(1)) else { panic!("unbounded: {rule:?}") };
        let arena =
            ARENAS.iter().find(|arena| arena.range.contains(&last_start)).expect("starts in an arena");
        assert!(last_start + longest < arena.range.end + arena.longest, "{rule:?}");
    }
}

#[test]
fn the_longest_range_allowed_is_the_longest_a_job_needs() {
    let [images, buffers] = memory::arenas();
    assert_eq!(images.longest as u64, MAX_IMAGE_BYTES);
    assert_eq!(buffers.longest as u64, MAX_BUFFER_BYTES);
    assert!([images, buffers].iter().all(|arena| arena.longest.is_multiple_of(memory::PAGE)));
}

#[test]
fn the_filter_is_small_enough_for_the_kernel() {
    /// `BPF_MAXINSNS` of linux/bpf_common.h.
    const MOST: usize = 4096;
    assert!(PROGRAM.len() <= MOST, "{} instructions", PROGRAM.len());
}

#[test]
fn a_test_of_an_argument_that_calls_do_not_have_is_refused() {
    let rule = Rule {
        call: libc::SYS_read,
        key: None,
        tests: vec![Test::Is(6, 0)],
        reason: "calls have six arguments, 0 to 5",
    };
    assert!(policy::compile(&[rule]).is_err());
}
