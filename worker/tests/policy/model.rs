//! What the rule table means, written without the compiler that makes a filter of it; and calls that lie around its edges.

#![forbid(unsafe_code)]

use std::sync::LazyLock;

use seccompiler::BpfProgram;
use webrunner_worker::policy::{self, Rule, Test};
use webrunner_worker::sys::keyed::Key;
use webrunner_worker::sys::memory::Arena;

use crate::bpf::{Call, X86_64};

/// Argument that carries the key.
pub(crate) const KEY: usize = 5;

/// Arenas as a zygote has them: one in the low 32 bits, one that crosses a multiple of 4 GiB.
pub(crate) static ARENAS: LazyLock<[Arena; 2]> = LazyLock::new(|| {
    [
        Arena { range: 0x1000_0000..0x7000_0000, longest: 64 << 20 },
        Arena { range: 0x7f12_fff0_0000..0x7f22_fff0_0000, longest: 256 << 20 },
    ]
});

/// Where a zygote's workers begin.
pub(crate) const WORKER_STACK: usize = 0x7f12_345f_5000;

pub(crate) static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| policy::rules(&*ARENAS, WORKER_STACK));

/// The filter with placeholders in it, which here are the keys.
pub(crate) static PROGRAM: LazyLock<BpfProgram> =
    LazyLock::new(|| policy::compile(&RULES).expect("the table compiles"));

/// The argument a test is of.
pub(crate) fn argument(test: Test) -> usize {
    match test {
        Test::Is(argument, ..)
        | Test::Between(argument, ..)
        | Test::IsLong(argument, _)
        | Test::AtMost(argument, _)
        | Test::AtLeast(argument, _) => argument.into(),
    }
}

/// Whether `value` passes.
pub(crate) fn passes(test: Test, value: u64) -> bool {
    match test {
        Test::Is(_, wanted) => value as u32 == wanted,
        Test::Between(_, low, high) => (low..=high).contains(&(value as u32)),
        Test::IsLong(_, wanted) => value == wanted,
        Test::AtMost(_, most) => value <= most,
        Test::AtLeast(_, least) => value >= least,
    }
}

/// Values around a test's edge: some pass, some do not.
pub(crate) fn edges(test: Test) -> Vec<u64> {
    let around = |value: u64| {
        let near = [value.wrapping_sub(1), value, value.wrapping_add(1)];
        let bits = (0..64).map(move |bit| value ^ 1 << bit);
        near.into_iter().chain(bits).chain([0, u64::MAX])
    };
    match test {
        Test::Is(_, value) => around(value.into()).collect(),
        Test::Between(_, low, high) => around(low.into()).chain(around(high.into())).collect(),
        Test::IsLong(_, value) | Test::AtMost(_, value) | Test::AtLeast(_, value) => around(value).collect(),
    }
}

/// Whether `rule` allows `call`.
pub(crate) fn rule_allows(rule: &Rule, call: &Call) -> bool {
    rule.call == i64::from(call.number)
        && rule.key.is_none_or(|key| call.arguments[KEY] == key.placeholder())
        && rule.tests.iter().all(|&test| passes(test, call.arguments[argument(test)]))
}

/// Whether the table allows `call`.
pub(crate) fn allows(call: &Call) -> bool {
    call.architecture == X86_64 && RULES.iter().any(|rule| rule_allows(rule, call))
}

/// A call that `rule` allows: for each argument a value at an edge, and where there is no test a number so large that no
/// other rule of the call takes it.
pub(crate) fn allowed_call(rule: &Rule) -> Call {
    let mut call = Call::new(rule.call, [0x7fff_ffff_f000; 6]);
    call.arguments[KEY] = rule.key.map_or(0, Key::placeholder);
    for &test in &rule.tests {
        let own = || rule.tests.iter().filter(|&&other| argument(other) == argument(test));
        let fitting = edges(test).into_iter().find(|&value| own().all(|&other| passes(other, value)));
        call.arguments[argument(test)] = fitting.expect("some edge of a rule's tests passes them all");
    }
    call
}
