//! The compiled filter, run on calls around every edge of the table.

#![forbid(unsafe_code)]

use proptest::prelude::*;
use webrunner_worker::policy::Test;
use webrunner_worker::sys::keyed::Key;

use crate::bpf::{self, Call, Verdict};
use crate::model::{ARENAS, KEY, PROGRAM, RULES, allowed_call, allows, argument, edges, rule_allows};

/// Set in the number of a call of the x32 table.
const X32_BIT: u32 = 0x4000_0000;

const KEYS: [Key; 2] = [Key::Setup, Key::Load];

fn verdict(call: &Call) -> Verdict {
    bpf::run(&PROGRAM, call)
}

fn with(call: &Call, index: usize, value: u64) -> Call {
    let mut other = *call;
    other.arguments[index] = value;
    other
}

/// The filter says what the table says, and refuses by a trap.
fn agrees(call: &Call) -> bool {
    let expected = if allows(call) { Verdict::Allow } else { Verdict::Trap };
    let found = verdict(call);
    assert_eq!(found, expected, "{call:x?}");
    found == Verdict::Allow
}

/// Arguments that a call could be tried with, without a key.
fn keyless_arguments() -> Vec<[u64; 6]> {
    let descriptors = (0..=110).flat_map(|fd| {
        [
            [fd, 0, 0, 0, 0, 0],
            [fd, 1, 0, 0, 0, 0],
            [fd, 0x1000_0000, 280, 0, 0, 0],
            [fd, 0x1000_0000, 281, 0, 0, 0],
            // Start, stop, with the flag for a whole group, reset, set a filter.
            [fd, 0x2400, 0, 0, 0, 0],
            [fd, 0x2401, 0, 0, 0, 0],
            [fd, 0x2400, 1, 0, 0, 0],
            [fd, 0x2403, 0, 0, 0, 0],
            [fd, 0x4008_2406, 0, 0, 0, 0],
        ]
    });
    // What a keyed rule wants, but for the key.
    let keyed = RULES.iter().filter(|rule| rule.key.is_some()).map(|rule| {
        let mut arguments = allowed_call(rule).arguments;
        arguments[KEY] = 0;
        arguments
    });
    descriptors.chain(keyed).chain([[u64::MAX; 6], [1 << 63; 6], [u64::from(u32::MAX); 6]]).collect()
}

#[test]
fn without_a_key_exactly_the_open_rules_are_allowed() {
    let arguments = keyless_arguments();
    let mut allowed = Vec::new();
    for number in 0..=1023 {
        for &arguments in &arguments {
            let call = Call::new(number, arguments);
            let open = RULES.iter().any(|rule| rule.key.is_none() && rule_allows(rule, &call));
            assert_eq!(verdict(&call) == Verdict::Allow, open, "{call:x?}");
            if open {
                allowed.push(number);
            }
        }
    }
    allowed.dedup();
    assert_eq!(
        allowed,
        [
            libc::SYS_read,
            libc::SYS_write,
            libc::SYS_ioctl,
            libc::SYS_shutdown,
            libc::SYS_clock_gettime,
            libc::SYS_exit_group
        ]
    );
}

#[test]
fn every_rule_allows_what_it_describes() {
    for rule in RULES.iter() {
        assert_eq!(verdict(&allowed_call(rule)), Verdict::Allow, "{rule:?}");
    }
}

#[test]
fn a_key_with_any_bit_wrong_is_refused() {
    for rule in RULES.iter() {
        let Some(key) = rule.key else { continue };
        let call = allowed_call(rule);
        for bit in 0..64 {
            let wrong = with(&call, KEY, key.placeholder() ^ 1 << bit);
            assert_eq!(verdict(&wrong), Verdict::Trap, "{rule:?}, bit {bit}");
        }
        // Half a key, halves exchanged, and what a worker that forgot it has.
        let key = key.placeholder();
        for wrong in [key >> 32, key << 32, key & u64::from(u32::MAX), key.rotate_left(32), !key, 0, u64::MAX]
        {
            assert_eq!(verdict(&with(&call, KEY, wrong)), Verdict::Trap, "{rule:?}, {wrong:#x}");
        }
    }
}

#[test]
fn a_key_is_no_good_in_another_argument_or_for_another_keys_calls() {
    for rule in RULES.iter() {
        let Some(key) = rule.key else { continue };
        let call = allowed_call(rule);
        for index in 0..KEY {
            let moved = with(&with(&call, KEY, 0), index, key.placeholder());
            assert_eq!(verdict(&moved), Verdict::Trap, "{rule:?}, argument {index}");
        }
        for other in KEYS.into_iter().filter(|&other| other != key) {
            assert_eq!(verdict(&with(&call, KEY, other.placeholder())), Verdict::Trap, "{rule:?}");
        }
    }
}

#[test]
fn a_key_opens_no_call_that_has_no_rule() {
    let ruled = |number: i64| RULES.iter().any(|rule| rule.call == number);
    for number in (0..=1023).filter(|&number| !ruled(number)) {
        for key in KEYS.map(Key::placeholder) {
            for arguments in [[0, 0, 0, 0, 0, key], [key; 6]] {
                assert_eq!(verdict(&Call::new(number, arguments)), Verdict::Trap, "{number}");
            }
        }
    }
}

#[test]
fn every_argument_is_held_to_its_test() {
    for rule in RULES.iter() {
        let call = allowed_call(rule);
        for &test in &rule.tests {
            let refused =
                edges(test).into_iter().filter(|&value| !agrees(&with(&call, argument(test), value))).count();
            assert!(refused > 0, "{test:?} of {rule:?} refuses nothing");
        }
    }
}

#[test]
fn high_bits_matter_where_the_kernel_looks_at_them() {
    for rule in RULES.iter() {
        let call = allowed_call(rule);
        for &test in &rule.tests {
            let index = argument(test);
            let high = with(&call, index, call.arguments[index] | 1 << 32);
            // A 32-bit argument's high half is not looked at by the kernel either, so it is no way around the test.
            let ignored = matches!(test, Test::Is(..) | Test::Between(..));
            let inside = matches!(test, Test::AtLeast(..) | Test::AtMost(..)) && allows(&high);
            let expected = if ignored || inside { Verdict::Allow } else { Verdict::Trap };
            assert_eq!(verdict(&high), expected, "{test:?} of {rule:?}");
        }
    }
}

#[test]
fn calls_of_the_x32_table_are_refused() {
    for number in (0..=1023).map(|number| number | X32_BIT) {
        for key in [0, Key::Setup.placeholder(), Key::Load.placeholder()] {
            assert_eq!(verdict(&Call::new(number.into(), [3, 0, 0, 0, 0, key])), Verdict::Trap);
        }
    }
    for rule in RULES.iter() {
        let call = allowed_call(rule);
        assert_eq!(verdict(&Call { number: call.number | X32_BIT, ..call }), Verdict::Trap, "{rule:?}");
    }
}

#[test]
fn a_number_with_another_bit_set_is_another_call() {
    for rule in RULES.iter() {
        let call = allowed_call(rule);
        for bit in 0..32 {
            agrees(&Call { number: call.number ^ 1 << bit, ..call });
        }
        for number in [u32::MAX, i32::MAX as u32, i32::MIN as u32, 1024] {
            assert_eq!(verdict(&Call { number, ..call }), Verdict::Trap, "{number:#x}");
        }
    }
}

#[test]
fn a_call_of_another_architecture_kills_the_process() {
    // linux/audit.h: i386, AArch64, ARM, and x86-64's number with a bit changed.
    for architecture in [0x4000_0003, 0xc000_00b7, 0x4000_0028, 0, u32::MAX, 0x8000_003e, 0x4000_003e] {
        for rule in RULES.iter() {
            let call = Call { architecture, ..allowed_call(rule) };
            assert_eq!(verdict(&call), Verdict::KillProcess, "{call:x?}");
        }
    }
}

#[test]
fn job_memory_is_opened_inside_its_arena_only() {
    const READ_WRITE: u64 = (libc::PROT_READ | libc::PROT_WRITE) as u64;
    let open = |start: u64, bytes: u64, protection| {
        let key = Key::Load.placeholder();
        verdict(&Call::new(libc::SYS_mprotect, [start, bytes, protection, 0, 0, key])) == Verdict::Allow
    };
    for arena in ARENAS.iter() {
        let (start, end, longest) = (arena.range.start as u64, arena.range.end as u64, arena.longest as u64);
        for (address, allowed) in [(start - 1, false), (start, true), (end - 1, true), (end, false)] {
            assert_eq!(open(address, 4096, READ_WRITE), allowed, "{address:#x}");
            assert_eq!(open(address, longest, READ_WRITE), allowed, "{address:#x}");
            assert!(!open(address, longest + 1, READ_WRITE), "{address:#x}");
            assert!(!open(address, 4096 | 1 << 32, READ_WRITE), "{address:#x}");
            assert!(!open(address | 1 << 63, 4096, READ_WRITE), "{address:#x}");
        }
        let allowed: Vec<u64> = (0..64).filter(|&protection| open(start, 4096, protection)).collect();
        // Read, read and write, read and execute; never write with execute.
        assert_eq!(allowed, [1, 3, 5]);
        assert!(!open(start, 4096, READ_WRITE | 1 << 32));
    }
}

/// A value that some rule's test is about, or any.
fn argument_value() -> impl Strategy<Value = u64> {
    let mut interesting: Vec<u64> =
        RULES.iter().flat_map(|rule| rule.tests.iter().flat_map(|&test| edges(test))).collect();
    interesting.sort_unstable();
    interesting.dedup();
    prop_oneof![4 => prop::sample::select(interesting), 1 => any::<u64>(), 1 => 0..64_u64]
}

fn key_value() -> impl Strategy<Value = u64> {
    prop_oneof![6 => prop::sample::select(KEYS.map(Key::placeholder).to_vec()), 1 => Just(0), 1 => any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn the_filter_and_the_table_agree_on_any_call(
        number in prop_oneof![
            4 => prop::sample::select(RULES.iter().map(|rule| rule.call).collect::<Vec<_>>()),
            1 => 0..1024_i64,
        ],
        arguments in prop::array::uniform5(argument_value()),
        key in key_value(),
    ) {
        let [a, b, c, d, e] = arguments;
        agrees(&Call::new(number, [a, b, c, d, e, key]));
    }

    #[test]
    fn the_filter_and_the_table_agree_on_a_rules_call_with_two_arguments_changed(
        rule in prop::sample::select((0..RULES.len()).collect::<Vec<_>>()),
        changes in prop::array::uniform2((0..6_usize, prop_oneof![3 => argument_value(), 1 => key_value()])),
    ) {
        let call = changes
            .into_iter()
            .fold(allowed_call(&RULES[rule]), |call, (index, value)| with(&call, index, value));
        agrees(&call);
    }
}
