//! Compares what a function gave with what it should have given.

use webrunner_protocol::plan::{CallPlan, Direction, ElementType, ReturnType};
use webrunner_protocol::reply::Returned;

use super::call::{Call, Expected, Numbers, Quantity, Unchecked};
use crate::bind::Binding;
use crate::kernel::Check;

/// How far rounding errors may stray, in standard deviations.
///
/// The errors of n roundings in a sum grow as √n, and exceed λ √n u times the terms' sizes with a probability of about
/// 2 exp(-λ²/2) (Higham and Mary, SIAM J. Sci. Comput. 41, 2019); 6 makes that 3e-8.
const LAMBDA: f64 = 6.0;

/// What was seen of a call, one entry in each list for each buffer of the plan.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// Bytes of each buffer before the call.
    pub before: &'a [&'a [u8]],
    /// Bytes of each buffer after it.
    pub after: &'a [&'a [u8]],
    /// The registers results are returned in.
    pub returned: Returned,
}

/// Whether a result is right.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Verdict {
    /// Every number is within its tolerance.
    Verified,
    /// A number is not; the first.
    WrongOutput {
        /// Which number.
        place: Place,
        /// What it should be, give or take `allowed`.
        expected: f64,
        /// What it is.
        got: f64,
        /// Error that would have been allowed.
        allowed: f64,
    },
    /// Nothing can be said.
    Unchecked {
        /// Why, in words.
        reason: String,
    },
}

/// Where a number of a result stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// What the function returned.
    Returned,
    /// An element of an array.
    Element {
        /// Index of the buffer in the call plan.
        buffer: usize,
        /// Index of the element.
        index: usize,
    },
}

impl Binding {
    /// Checks what a call gave against the kernel's reference.
    pub fn verify(&self, observation: &Observation<'_>) -> Verdict {
        self.judged(|check| verify(check, &self.plan, observation))
    }

    /// Checks what many calls on the same buffers have left, `before` being what they held before the first.
    ///
    /// A kernel that reads what it wrote in the call before leaves something that depends on how many there were: then
    /// only what it must not write is held against what it was.
    pub fn verify_repeated(&self, observation: &Observation<'_>) -> Verdict {
        self.judged(|check| {
            let written =
                (0u32..).zip(&self.plan.buffers).filter(|(_, buffer)| buffer.direction != Direction::In);
            let kept = check.reference.kept(&self.plan);
            if written.into_iter().all(|(index, _)| kept >> index & 1 == 1) {
                return verify(check, &self.plan, observation);
            }
            check.reference.compute(&Call::new(&self.plan, observation.before)?)?;
            check_lengths(&self.plan, observation)?;
            Ok(changed_input(&self.plan, observation).unwrap_or(Verdict::Verified))
        })
    }

    /// Buffers that every call writes without reading them, bit by bit.
    #[must_use]
    pub fn kept(&self) -> u32 {
        self.check.map_or(0, |check| check.reference.kept(&self.plan))
    }

    fn judged(&self, judge: impl FnOnce(&Check) -> Result<Verdict, Unchecked>) -> Verdict {
        let verdict = match &self.check {
            Some(check) => judge(check),
            None => Err("the kernel has no reference".to_owned()),
        };
        verdict.unwrap_or_else(|reason| Verdict::Unchecked { reason })
    }
}

/// The same lengths are asked of both, so an array a worker cut short cannot pass for a right one.
fn check_lengths(plan: &CallPlan, seen: &Observation<'_>) -> Result<(), Unchecked> {
    Call::new(plan, seen.after)
        .map(|_| ())
        .map_err(|_| "the arrays after the call are not those of the call plan".to_owned())
}

/// The first element of an array for reading only that is not what it was.
fn changed_input(plan: &CallPlan, seen: &Observation<'_>) -> Option<Verdict> {
    let inputs = plan.buffers.iter().enumerate().filter(|(_, buffer)| buffer.direction == Direction::In);
    let (buffer, element) = inputs
        .map(|(index, buffer)| (index, buffer.element))
        .find(|(index, _)| seen.before[*index] != seen.after[*index])?;
    let width = element.bytes() as usize;
    let (before, after) = (seen.before[buffer], seen.after[buffer]);
    let index = before.chunks(width).zip(after.chunks(width)).position(|(before, after)| before != after)?;
    Some(Verdict::WrongOutput {
        place: Place::Element { buffer, index },
        expected: Numbers::new(before, element).at(index),
        got: Numbers::new(after, element).at(index),
        allowed: 0.0,
    })
}

fn verify(check: &Check, plan: &CallPlan, seen: &Observation<'_>) -> Result<Verdict, Unchecked> {
    let expected = check.reference.compute(&Call::new(plan, seen.before)?)?;
    check_lengths(plan, seen)?;
    if let Some(verdict) = changed_input(plan, seen) {
        return Ok(verdict);
    }
    let Expected { returned, written } = expected;
    if let (Some(quantity), ReturnType::Scalar(element)) = (returned, plan.returns) {
        let got = match element {
            ElementType::Float => f32::from_bits(seen.returned.vector as u32).into(),
            _ => f64::from_bits(seen.returned.vector),
        };
        if let Some(verdict) = judge(quantity, got, element, check.tolerance, Place::Returned) {
            return Ok(verdict);
        }
    }
    for (buffer, description) in plan.buffers.iter().enumerate() {
        let expected_element =
            written.as_ref().filter(|(index, _)| *index == buffer).map(|(_, element)| element);
        if description.direction == Direction::In && expected_element.is_none() {
            continue;
        }
        let before = Numbers::new(seen.before[buffer], description.element);
        let after = Numbers::new(seen.after[buffer], description.element);
        for index in 0..after.len() {
            let quantity =
                expected_element.map_or_else(|| Quantity::exact(before.at(index)), |element| element(index));
            let place = Place::Element { buffer, index };
            if let Some(verdict) =
                judge(quantity, after.at(index), description.element, check.tolerance, place)
            {
                return Ok(verdict);
            }
        }
    }
    Ok(Verdict::Verified)
}

/// The verdict on a number that is wrong; none on one that is right.
fn judge(
    quantity: Quantity,
    got: f64,
    element: ElementType,
    tolerance: f64,
    place: Place,
) -> Option<Verdict> {
    let (unit, least_normal, rounded) = match element {
        ElementType::Float => {
            (f64::from(f32::EPSILON) / 2.0, f32::MIN_POSITIVE.into(), f64::from(quantity.value as f32))
        }
        _ => (f64::EPSILON / 2.0, f64::MIN_POSITIVE, quantity.value),
    };
    let rounding = LAMBDA * quantity.roundings.sqrt() * unit;
    // Results below the normal numbers may be flushed to zero; what must be exact is no result.
    let flushed = if quantity.magnitude == 0.0 { 0.0 } else { least_normal };
    let allowed = (tolerance + rounding) * quantity.magnitude + flushed;
    let right = if rounded.is_finite() {
        (got - quantity.value).abs() <= allowed
    } else {
        got == rounded || (got.is_nan() && rounded.is_nan())
    };
    (!right).then_some(Verdict::WrongOutput { place, expected: quantity.value, got, allowed })
}
