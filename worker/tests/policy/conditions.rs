//! Every condition of the table taken away once: each must be what refuses some call that is written down here by hand.
//!
//! The other tests hold the filter against the table, and so do not see a condition that is missing in both.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use webrunner_worker::policy::{Rule, Test};
use webrunner_worker::sys::keyed::Key;

use crate::bpf::{self, Call, Verdict};
use crate::model::{ARENAS, KEY, PROGRAM, RULES, WORKER_STACK, allowed_call, argument, rule_allows};

/// Somewhere a call could be told to read or write.
const PLACE: u64 = 0x1000_0000;

/// A descriptor that is neither the worker's job socket (3), nor a counter (4 to 101), nor the zygote's (4 and 5).
const OTHER: u64 = 102;

const ANY: u64 = u32::MAX as u64;

/// Calls that nobody may make, by whom they could be: the worker without a key, the zygote, the loader.
fn forbidden() -> Vec<Call> {
    let open: [(i64, [u64; 3]); 20] = [
        (libc::SYS_read, [0, PLACE, 8]),
        (libc::SYS_read, [OTHER, PLACE, 8]),
        (libc::SYS_read, [4, PLACE, 281]),
        (libc::SYS_ioctl, [3, 0x2400, 0]),
        (libc::SYS_ioctl, [3, 0x2401, 0]),
        (libc::SYS_ioctl, [OTHER, 0x2400, 0]),
        (libc::SYS_ioctl, [OTHER, 0x2401, 0]),
        // Reset, and attach a program.
        (libc::SYS_ioctl, [4, 0x2403, 0]),
        (libc::SYS_ioctl, [4, 0x4004_2408, 0]),
        // Every counter of the group's parent.
        (libc::SYS_ioctl, [4, 0x2400, 1]),
        (libc::SYS_ioctl, [4, 0x2401, 1]),
        (libc::SYS_write, [2, PLACE, 8]),
        (libc::SYS_write, [3, PLACE, (64 << 10) + 11]),
        (libc::SYS_shutdown, [4, 1, 0]),
        (libc::SYS_shutdown, [3, 0, 0]),
        (libc::SYS_shutdown, [3, 2, 0]),
        // The time of day, another process's CPU time, and the clock of a device.
        (libc::SYS_clock_gettime, [0, PLACE, 0]),
        (libc::SYS_clock_gettime, [u64::MAX - 7, PLACE, 0]),
        (libc::SYS_clock_gettime, [3 << 3 | 3, PLACE, 0]),
        (libc::SYS_getpid, [0, 0, 0]),
    ];
    let stack = WORKER_STACK as u64;
    let set_up: [(i64, [u64; 5]); 28] = [
        (libc::SYS_read, [0, PLACE, 4096, 0, 0]),
        (libc::SYS_read, [6, PLACE, 4096, 0, 0]),
        // Of the network; of messages; of another protocol.
        (libc::SYS_socketpair, [2, 0x8_0001, 0, PLACE, 0]),
        (libc::SYS_socketpair, [1, 0x8_0002, 0, PLACE, 0]),
        (libc::SYS_socketpair, [1, 0x8_0001, 1, PLACE, 0]),
        // A thread; a process in a new user namespace; one on a stack of its maker's choice.
        (libc::SYS_clone, [0x100 | 17, stack, 0, 0, 0]),
        (libc::SYS_clone, [0x1000_0000 | 17, stack, 0, 0, 0]),
        (libc::SYS_clone, [17, 0, 0, 0, 0]),
        (libc::SYS_sendmsg, [3, PLACE, 0x4000, 0, 0]),
        (libc::SYS_sendmsg, [4, PLACE, 0x4001, 0, 0]),
        // A group, all there are, a group by its number; and a signal that does not end.
        (libc::SYS_kill, [0, 9, 0, 0, 0]),
        (libc::SYS_kill, [ANY, 9, 0, 0, 0]),
        (libc::SYS_kill, [1 << 31, 9, 0, 0, 0]),
        (libc::SYS_kill, [100, 19, 0, 0, 0]),
        (libc::SYS_wait4, [u64::MAX, PLACE, 0, PLACE, 0]),
        (libc::SYS_dup3, [7, 4, 0x8_0000, 0, 0]),
        (libc::SYS_dup3, [7, 3, 0, 0, 0]),
        (libc::SYS_close_range, [0, ANY, 0, 0, 0]),
        (libc::SYS_close_range, [4, 10, 0, 0, 0]),
        // Close when a program is executed, which never comes.
        (libc::SYS_close_range, [4, ANY, 4, 0, 0]),
        // To be dumped; not to die with the parent.
        (libc::SYS_prctl, [4, 9, 0, 0, 0]),
        (libc::SYS_prctl, [1, 0, 0, 0, 0]),
        // Of another process; of descriptors; and what the limits were.
        (libc::SYS_prlimit64, [1, 0, PLACE, 0, 0]),
        (libc::SYS_prlimit64, [1, 6, PLACE, 0, 0]),
        (libc::SYS_prlimit64, [0, 7, PLACE, 0, 0]),
        (libc::SYS_prlimit64, [0, 0, PLACE, PLACE, 0]),
        (libc::SYS_prlimit64, [0, 6, PLACE, PLACE, 0]),
        (libc::SYS_ptrace, [16, 1, 0, 0, 0]),
    ];
    // Of another process; of a whole CPU; inherited by programs.
    let counters = [[PLACE, 1, ANY, ANY, 8], [PLACE, 0, 0, ANY, 8], [PLACE, 0, ANY, ANY, 0]];
    let set_up = set_up.into_iter().chain(counters.map(|arguments| (libc::SYS_perf_event_open, arguments)));
    let open = open.into_iter().map(|(number, [a, b, c])| Call::new(number, [a, b, c, 0, 0, 0]));
    let keyed =
        |number, [a, b, c, d, e]: [u64; 5], key: Key| Call::new(number, [a, b, c, d, e, key.placeholder()]);
    let set_up = set_up.map(|(number, arguments)| keyed(number, arguments, Key::Setup));
    let memory = outside().into_iter().map(|range| keyed(libc::SYS_mprotect, range, Key::Load));
    open.chain(set_up).chain(memory).collect()
}

/// Ranges and rights that the loader may not have: before, behind and longer than what jobs have; write with execute.
fn outside() -> Vec<[u64; 5]> {
    let mut outside = Vec::new();
    for arena in ARENAS.iter() {
        let (start, end, longest) = (arena.range.start as u64, arena.range.end as u64, arena.longest as u64);
        for rights in [1, 3, 5] {
            let ranges = [(start - 1, 4096), (end, 4096), (start, longest + 1)];
            outside.extend(ranges.map(|(from, bytes)| [from, bytes, rights, 0, 0]));
        }
        outside.extend([7, 2, 4, 6].map(|rights| [start, 4096, rights, 0, 0]));
    }
    outside
}

/// A rule without one of its conditions, or with one a step wider; those that let nothing new through are left out.
fn wider(rule: &Rule) -> Vec<Rule> {
    let mut wider = Vec::new();
    for (index, &test) in rule.tests.iter().enumerate() {
        let mut without = rule.clone();
        without.tests.remove(index);
        wider.push(without);
        let (steps, edges) = match test {
            Test::Between(at, low, high) => {
                let next = high.wrapping_add(1);
                (vec![Test::Between(at, low - 1, high), Test::Between(at, low, next)], vec![low - 1, next])
            }
            Test::AtMost(at, most) => (vec![Test::AtMost(at, most + 1)], vec![]),
            Test::AtLeast(at, least) => (vec![Test::AtLeast(at, least - 1)], vec![]),
            Test::Is(..) | Test::IsLong(..) => (vec![], vec![]),
        };
        for (number, step) in steps.into_iter().enumerate() {
            let mut call = allowed_call(rule);
            if let Some(&edge) = edges.get(number) {
                call.arguments[argument(test)] = edge.into();
            }
            let is_new = edges.is_empty() || !RULES.iter().any(|rule| rule_allows(rule, &call));
            if is_new {
                let mut one = rule.clone();
                one.tests[index] = step;
                wider.push(one);
            }
        }
    }
    wider
}

#[test]
fn what_nobody_may_do_is_refused() {
    for call in forbidden() {
        assert_eq!(bpf::run(&PROGRAM, &call), Verdict::Trap, "{call:x?}");
    }
}

#[test]
fn every_condition_refuses_a_call_that_is_known_to_do_harm() {
    let forbidden = forbidden();
    for rule in RULES.iter() {
        for wider in wider(rule) {
            let lets_through = forbidden.iter().any(|call| rule_allows(&wider, call));
            assert!(
                lets_through,
                "no call is known that this rule lets through, and {rule:?} does not: {wider:?}"
            );
        }
    }
}

#[test]
fn a_key_opens_the_calls_that_are_known_and_no_other() {
    let calls = |key| {
        RULES.iter().filter(|rule| rule.key == Some(key)).map(|rule| rule.call).collect::<BTreeSet<_>>()
    };
    let set_up = [
        libc::SYS_read,
        libc::SYS_ppoll,
        libc::SYS_socketpair,
        libc::SYS_clone,
        libc::SYS_sendmsg,
        libc::SYS_close,
        libc::SYS_kill,
        libc::SYS_wait4,
        libc::SYS_dup3,
        libc::SYS_close_range,
        libc::SYS_prctl,
        libc::SYS_prlimit64,
        libc::SYS_perf_event_open,
    ];
    assert_eq!(calls(Key::Setup), BTreeSet::from(set_up));
    assert_eq!(calls(Key::Load), BTreeSet::from([libc::SYS_mprotect]));
    assert_eq!(KEY, 5, "the argument no call has");
}
