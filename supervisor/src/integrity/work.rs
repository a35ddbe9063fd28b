//! Work that a kernel's specification declares, held against what a core can do and against what was executed.
//!
//! Rates are made of declared work, so a function that does none of it has the best of them. Where its outputs were found
//! right it has done the work, or found a way around it that is its own merit; these rules judge the others.

use webrunner_protocol::counts::Counts;
use webrunner_protocol::plan::{Argument, CallPlan, ElementType, ReturnType};

use super::Finding;
use super::facts::Facts;
use crate::check::Correctness;

/// What one call is declared to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Declared {
    /// Floating-point operations.
    pub flop: Option<u64>,
    /// Bytes moved between memory and registers.
    pub bytes: Option<u64>,
    numbers: Numbers,
    /// A number passed by value is 0, 1 or -1, so that operations may be left out.
    is_trivial: bool,
}

/// The floating-point numbers of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Numbers {
    #[default]
    None,
    Single,
    Double,
}

/// Most floating-point operations any core does in a cycle, in single precision: two fused multiply-adds of 16 numbers
/// each (AVX-512) are 64 operations, in Intel's server cores since Skylake and AMD's since Zen 5; doubled twice for
/// what is to come.
const MOST_SINGLE: f64 = 4.0 * 64.0;

/// The same in double precision.
const MOST_DOUBLE: f64 = MOST_SINGLE / 2.0;

/// Most bytes any core moves between registers and its nearest cache in a cycle: two loads and a store of 64 bytes, doubled
/// twice.
const MOST_BYTES: f64 = 4.0 * 192.0;

/// Least part of the declared operations that can do the work. Strassen's algorithm saves an eighth at each level, so
/// four levels leave more than this, and a tile of 64 by 64 has no use for so many.
const LEAST_EXECUTED: f64 = 0.5;

impl Declared {
    /// The work of a call.
    #[must_use]
    pub fn of(plan: &CallPlan, flop: Option<u64>, bytes: Option<u64>) -> Self {
        let of_element = |element| match element {
            ElementType::Float => Numbers::Single,
            ElementType::Double => Numbers::Double,
            _ => Numbers::None,
        };
        let value = |argument: &Argument| match *argument {
            Argument::Float(value) => Some((Numbers::Single, f64::from(value))),
            Argument::Double(value) => Some((Numbers::Double, value)),
            Argument::Integer(_) | Argument::Pointer(_) => None,
        };
        let returned = match plan.returns {
            ReturnType::Scalar(element) => of_element(element),
            ReturnType::Void | ReturnType::Pointer => Numbers::None,
        };
        let values = || plan.arguments.iter().filter_map(value);
        let kinds = plan.buffers.iter().map(|buffer| of_element(buffer.element));
        let mut kinds = kinds.chain(values().map(|(kind, _)| kind)).chain([returned]);
        let numbers = if kinds.clone().any(|kind| kind == Numbers::Single) {
            Numbers::Single
        } else {
            kinds.find(|kind| *kind != Numbers::None).unwrap_or_default()
        };
        let is_trivial = values().any(|(_, value)| value == 0.0 || value.abs() == 1.0);
        Self { flop, bytes, numbers, is_trivial }
    }
}

/// Most floating-point operations that a counted call can have executed: those seen, and one for each instruction of
/// the x87.
#[must_use]
pub fn most_executed(counts: &Counts) -> u64 {
    let flops = counts.single_flops.iter().chain(&counts.double_flops);
    flops.fold(counts.classes.x87_mmx, |sum, &count| sum.saturating_add(count))
}

pub(super) fn flop_rate(facts: &Facts<'_>) -> Finding {
    let most = match facts.case.declared.numbers {
        Numbers::Double => MOST_DOUBLE,
        Numbers::Single | Numbers::None => MOST_SINGLE,
    };
    rate(facts, facts.case.declared.flop, most)
}

pub(super) fn byte_rate(facts: &Facts<'_>) -> Finding {
    rate(facts, facts.case.declared.bytes, MOST_BYTES)
}

fn rate(facts: &Facts<'_>, declared: Option<u64>, most: f64) -> Finding {
    match declared {
        Some(amount) if !is_verified(facts) => {
            let claimed = amount as f64 / (facts.cycles + super::rules::SHORT_CALL_CYCLES);
            Finding::Held { claimed, least: 0.0, most }
        }
        _ => Finding::NotApplicable,
    }
}

pub(super) fn flop_executed(facts: &Facts<'_>) -> Finding {
    let declared = facts.case.declared;
    match (declared.flop, facts.case.measurement.counts.whole()) {
        (Some(flop), Some(counts))
            if !is_verified(facts) && !declared.is_trivial && declared.numbers != Numbers::None =>
        {
            let claimed = most_executed(counts) as f64;
            Finding::Held { claimed, least: LEAST_EXECUTED * flop as f64, most: f64::MAX }
        }
        _ => Finding::NotApplicable,
    }
}

fn is_verified(facts: &Facts<'_>) -> bool {
    facts.case.examined.is_some_and(|examined| examined.correctness == Correctness::Verified)
}
