//! Compares what a function gave with what it should have given.

use webrunner_protocol::plan::{Buffer, CallPlan, Direction, ElementType, ReturnType};
use webrunner_protocol::reply::Returned;

use super::call::{Before, Call, Expected, Numbers, Quantity, Right, Unchecked};
use crate::bind::Binding;
use crate::kernel::Check;

/// How far rounding errors may stray, in standard deviations.
///
/// The errors of n roundings in a sum grow as √n, and exceed λ √n u times the terms' sizes with a probability of about
/// 2 exp(-λ²/2) (Higham and Mary, SIAM J. Sci. Comput. 41, 2019); 6 makes that 3e-8.
const LAMBDA: f64 = 6.0;

/// Part of the square of n u, u being the unit roundoff, by which a sum of n terms may be wrong beside that, and the
/// most it may be.
///
/// A sum added up one by one grows so large that what is lost of each term is no longer as often too much as too
/// little. In single precision a plain loop is 0.2 % off at 4 million products of numbers in [0, 1), 2 % at 16 million
/// and 7 % at 32 million, a third to a sixth of what this allows.
const BIAS: (f64, f64) = (0.125, 0.25);

/// What was seen of a call, one entry in each list for each buffer of the plan.
#[derive(Debug, Clone, Copy)]
pub struct Observation<'a> {
    /// What each buffer held before the call.
    pub before: &'a [Before<'a>],
    /// What is known of each buffer after it.
    pub after: &'a [Shown<'a>],
    /// The registers results are returned in.
    pub returned: Returned,
    /// Decides which results are checked where all are too many; nobody in the worker may know it during the call.
    pub sample: u64,
}

/// What is known of a buffer.
#[derive(Debug, Clone)]
pub enum Shown<'a> {
    /// All its bytes.
    Whole(&'a [u8]),
    /// Some of its elements.
    Blocks(Vec<Block<'a>>),
}

/// Elements of a buffer that lie side by side.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// Index of the first.
    pub first: usize,
    /// Their bytes.
    pub bytes: &'a [u8],
}

impl<'a> Shown<'a> {
    fn blocks(&self) -> impl Iterator<Item = Block<'a>> {
        let (whole, blocks) = match self {
            Self::Whole(bytes) => (Some(Block { first: 0, bytes }), [].as_slice()),
            Self::Blocks(blocks) => (None, blocks.as_slice()),
        };
        whole.into_iter().chain(blocks.iter().copied())
    }

    fn is_of(&self, buffer: &Buffer) -> bool {
        let width = buffer.element.bytes();
        let within = |block: &Block<'_>| {
            let bytes = block.bytes.len() as u64;
            let end = (block.first as u64).checked_add(bytes / width);
            bytes.is_multiple_of(width) && end.is_some_and(|end| end <= buffer.elements)
        };
        match self {
            Self::Whole(bytes) => buffer.bytes() == Some(bytes.len() as u64),
            Self::Blocks(blocks) => blocks.iter().all(within),
        }
    }
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
            check.reference.compute(&call(&self.plan, observation)?)?;
            Ok(changed_input(&self.plan, observation).unwrap_or(Verdict::Verified))
        })
    }

    /// Buffers that every call writes without reading them, bit by bit.
    #[must_use]
    pub fn kept(&self) -> u32 {
        self.check.map_or(0, |check| check.reference.kept(&self.plan))
    }

    /// What of the results cannot be seen or is not looked at, in words; none if all of them are.
    #[must_use]
    pub fn left_out(&self) -> Option<String> {
        self.check.and_then(|check| check.reference.left_out(&self.plan))
    }

    fn judged(&self, judge: impl FnOnce(&Check) -> Result<Verdict, Unchecked>) -> Verdict {
        let verdict = match &self.check {
            Some(check) => judge(check),
            None => Err("the kernel has no reference".to_owned()),
        };
        verdict.unwrap_or_else(|reason| Verdict::Unchecked { reason })
    }
}

/// The call that was seen. The same lengths are asked of both sides, so an array a worker cut short cannot pass for a
/// right one.
fn call<'a>(plan: &'a CallPlan, seen: &Observation<'a>) -> Result<Call<'a>, Unchecked> {
    let call = Call::new(plan, seen.before, seen.sample)?;
    let are_of_plan = plan.buffers.len() == seen.after.len()
        && plan.buffers.iter().zip(seen.after).all(|(buffer, shown)| shown.is_of(buffer));
    if are_of_plan {
        Ok(call)
    } else {
        Err("the arrays after the call are not those of the call plan".to_owned())
    }
}

/// The first element of an array for reading only that is not what it was.
fn changed_input(plan: &CallPlan, seen: &Observation<'_>) -> Option<Verdict> {
    let inputs = plan.buffers.iter().enumerate().filter(|(_, buffer)| buffer.direction == Direction::In);
    inputs
        .flat_map(|(index, buffer)| seen.after[index].blocks().map(move |block| (index, buffer, block)))
        .find_map(|(buffer, description, block)| {
            let (element, before) = (description.element, seen.before[buffer]);
            let index = before.changed(block.first, element.bytes() as usize, block.bytes)?;
            Some(Verdict::WrongOutput {
                place: Place::Element { buffer, index },
                expected: Numbers::before(description, before).at(index),
                got: Numbers::new(block.bytes, element).at(index - block.first),
                allowed: 0.0,
            })
        })
}

fn verify(check: &Check, plan: &CallPlan, seen: &Observation<'_>) -> Result<Verdict, Unchecked> {
    let expected = check.reference.compute(&call(plan, seen)?)?;
    if let Some(verdict) = changed_input(plan, seen) {
        return Ok(verdict);
    }
    let Expected { returned, written } = expected;
    if let (Some(quantity), ReturnType::Scalar(element)) = (returned, plan.returns) {
        let got = match element {
            ElementType::Float => f32::from_bits(seen.returned.vector as u32).into(),
            _ => f64::from_bits(seen.returned.vector),
        };
        let right = Right::Number(quantity);
        if let Some(verdict) = judge(&right, got, element, check.tolerance, Place::Returned) {
            return Ok(verdict);
        }
    }
    for (buffer, description) in plan.buffers.iter().enumerate() {
        let expected_element =
            written.as_ref().filter(|(index, _)| *index == buffer).map(|(_, element)| element);
        if description.direction == Direction::In && expected_element.is_none() {
            continue;
        }
        let before = Numbers::before(description, seen.before[buffer]);
        for block in seen.after[buffer].blocks() {
            let after = Numbers::new(block.bytes, description.element);
            for at in 0..after.len() {
                let index = block.first + at;
                let right = expected_element.map_or_else(
                    || Right::Number(Quantity::exact(before.at(index))),
                    |element| element(index),
                );
                let place = Place::Element { buffer, index };
                if let Some(verdict) =
                    judge(&right, after.at(at), description.element, check.tolerance, place)
                {
                    return Ok(verdict);
                }
            }
        }
    }
    Ok(Verdict::Verified)
}

/// The verdict on a number that is wrong; none on one that is right.
fn judge(right: &Right, got: f64, element: ElementType, tolerance: f64, place: Place) -> Option<Verdict> {
    let quantities = match right {
        Right::Number(quantity) => std::slice::from_ref(quantity),
        Right::AnyOf(quantities) => quantities,
        Right::Unknown => return None,
    };
    if quantities.iter().any(|quantity| is_right(*quantity, got, element, tolerance)) {
        return None;
    }
    let quantity = quantities.first()?;
    let allowed = allowed_error(*quantity, element, tolerance);
    Some(Verdict::WrongOutput { place, expected: quantity.value, got, allowed })
}

fn is_right(quantity: Quantity, got: f64, element: ElementType, tolerance: f64) -> bool {
    let rounded = match element {
        ElementType::Float => f64::from(quantity.value as f32),
        _ => quantity.value,
    };
    if rounded.is_finite() {
        (got - quantity.value).abs() <= allowed_error(quantity, element, tolerance)
    } else {
        got == rounded || (got.is_nan() && rounded.is_nan())
    }
}

fn allowed_error(quantity: Quantity, element: ElementType, tolerance: f64) -> f64 {
    let (unit, least_normal) = match element {
        ElementType::Float => (f64::from(f32::EPSILON) / 2.0, f32::MIN_POSITIVE.into()),
        _ => (f64::EPSILON / 2.0, f64::MIN_POSITIVE),
    };
    let (share, most) = BIAS;
    let bias = (share * (quantity.roundings * unit).powi(2)).min(most);
    let rounding = LAMBDA * quantity.roundings.sqrt() * unit + bias;
    // Results below the normal numbers may be flushed to zero; what must be exact is no result.
    let flushed = if quantity.magnitude == 0.0 { 0.0 } else { least_normal };
    (tolerance + rounding) * quantity.magnitude + flushed
}
