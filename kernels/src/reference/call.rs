//! The arguments and arrays of one call, read as numbers, and the result a reference expects of it.
//!
//! Nothing here indexes past an array: a vector is made only after its last element was found to lie inside. Arrays may be
//! too large to be held: their elements are then computed one by one.

use webrunner_protocol::check::Prepared;
use webrunner_protocol::plan::{Argument, Buffer, CallPlan, ElementType};

/// Why a call was left unchecked.
pub(crate) type Unchecked = String;

/// A call that was made: its plan, and its arrays as they were before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    plan: &'a CallPlan,
    before: &'a [Before<'a>],
    sample: u64,
}

/// What a buffer held before a call.
#[derive(Debug, Clone, Copy)]
pub enum Before<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// What it was prepared with.
    Prepared(&'a Prepared),
}

/// Elements of a buffer, little endian, read as numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers<'a> {
    source: Before<'a>,
    length: usize,
    element: ElementType,
}

/// Elements of an array, a fixed number of elements apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vector<'a> {
    numbers: Numbers<'a>,
    length: usize,
    stride: usize,
}

/// A number a reference expects, and what it takes to judge another one by it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quantity {
    /// The right result.
    pub(crate) value: f64,
    /// Size of what was added up or multiplied, to which errors are relative; 0 if the result must be exact.
    pub(crate) magnitude: f64,
    /// Roundings on the way to the result.
    pub(crate) roundings: f64,
}

/// What a call should give.
pub(crate) struct Expected<'a> {
    /// What the function should return.
    pub(crate) returned: Option<Quantity>,
    /// The buffer it should write, by index, and what each element should be, by index.
    pub(crate) written: Option<(usize, ElementOf<'a>)>,
}

/// What an element should be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Right {
    /// This.
    Number(Quantity),
    /// Any of these, of which there is at least one: several results are stored there, and the last one stays.
    AnyOf(Vec<Quantity>),
    /// Nobody looks: to compute it takes too long.
    Unknown,
}

/// Computes an element when it is asked for, because all of them together may not fit in memory.
pub(crate) type ElementOf<'a> = Box<dyn Fn(usize) -> Right + 'a>;

impl<'a> Call<'a> {
    /// Checks that the arrays are those of the plan. `sample` decides which results are checked where all are too many.
    pub(crate) fn new(plan: &'a CallPlan, before: &'a [Before<'a>], sample: u64) -> Result<Self, Unchecked> {
        let sizes_agree = plan.buffers.len() == before.len()
            && plan.buffers.iter().zip(before).all(|(buffer, before)| match before {
                Before::Bytes(bytes) => buffer.bytes() == u64::try_from(bytes.len()).ok(),
                Before::Prepared(_) => true,
            });
        if sizes_agree {
            Ok(Self { plan, before, sample })
        } else {
            Err("the arrays before the call are not those of the call plan".to_owned())
        }
    }

    /// A number that nobody in the worker knew while it made the call.
    pub(crate) fn sample(&self) -> u64 {
        self.sample
    }

    /// A count or a stride. As a signed number it must not be negative.
    pub(crate) fn integer(&self, argument: usize) -> Result<usize, Unchecked> {
        match self.plan.arguments.get(argument) {
            Some(&Argument::Integer(value)) => usize::try_from(value.cast_signed())
                .map_err(|_| format!("argument {argument} is negative or too large")),
            _ => Err(format!("argument {argument} is no integer")),
        }
    }

    /// A count that is not 0, since of no elements every function is a right one.
    pub(crate) fn length(&self, argument: usize) -> Result<usize, Unchecked> {
        match self.integer(argument)? {
            0 => Err("there are no elements to compute with".to_owned()),
            length => Ok(length),
        }
    }

    /// A number passed by value.
    pub(crate) fn number(&self, argument: usize) -> Result<f64, Unchecked> {
        match self.plan.arguments.get(argument) {
            Some(&Argument::Float(value)) => Ok(value.into()),
            Some(&Argument::Double(value)) => Ok(value),
            _ => Err(format!("argument {argument} is no floating-point number")),
        }
    }

    /// The index of the buffer that a pointer points to.
    pub(crate) fn buffer(&self, argument: usize) -> Result<usize, Unchecked> {
        match self.plan.arguments.get(argument) {
            Some(&Argument::Pointer(buffer)) if usize::from(buffer) < self.before.len() => Ok(buffer.into()),
            _ => Err(format!("argument {argument} points to no array")),
        }
    }

    /// The array that a pointer points to.
    pub(crate) fn numbers(&self, argument: usize) -> Result<Numbers<'a>, Unchecked> {
        let buffer = self.buffer(argument)?;
        Ok(Numbers::before(&self.plan.buffers[buffer], self.before[buffer]))
    }

    /// A strided vector of `length` elements.
    pub(crate) fn vector(
        &self,
        argument: usize,
        length: usize,
        stride: usize,
    ) -> Result<Vector<'a>, Unchecked> {
        let numbers = self.numbers(argument)?;
        if stride == 0 {
            return Err(format!("the vector of argument {argument} has stride 0"));
        }
        let span = length.checked_sub(1).map_or(Some(0), |steps| steps.checked_mul(stride)?.checked_add(1));
        if span.is_none_or(|span| span > numbers.len()) {
            return Err(format!("the array of argument {argument} is shorter than its vector"));
        }
        Ok(Vector { numbers, length, stride })
    }
}

impl<'a> Numbers<'a> {
    /// What a buffer held; only numbers can be read as such.
    pub(crate) fn before(buffer: &Buffer, source: Before<'a>) -> Self {
        let length = match buffer.element {
            ElementType::Float | ElementType::Double => usize::try_from(buffer.elements).unwrap_or(0),
            _ => 0,
        };
        Self { source, length, element: buffer.element }
    }

    pub(crate) fn new(bytes: &'a [u8], element: ElementType) -> Self {
        let length = match element {
            ElementType::Float => bytes.len() / 4,
            ElementType::Double => bytes.len() / 8,
            _ => 0,
        };
        Self { source: Before::Bytes(bytes), length, element }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The element at an index; NaN past the end, which compares equal to nothing.
    pub(crate) fn at(&self, index: usize) -> f64 {
        if index >= self.length {
            return f64::NAN;
        }
        match self.element {
            ElementType::Float => self.source.read(index).map_or(f64::NAN, |b| f32::from_le_bytes(b).into()),
            _ => self.source.read(index).map_or(f64::NAN, f64::from_le_bytes),
        }
    }
}

impl Before<'_> {
    /// The bytes of an element `N` bytes wide.
    #[inline]
    fn read<const N: usize>(&self, index: usize) -> Option<[u8; N]> {
        match self {
            Self::Bytes(bytes) => {
                let start = index.checked_mul(N)?;
                bytes.get(start..start.checked_add(N)?)?.try_into().ok()
            }
            Self::Prepared(prepared) => prepared.element(index as u64).first_chunk().copied(),
        }
    }

    /// The first of these elements, `width` bytes each, which stood there from index `first` on, that is another now.
    pub(crate) fn changed(&self, first: usize, width: usize, after: &[u8]) -> Option<usize> {
        if let Self::Bytes(bytes) = self
            && bytes.get(first * width..).is_some_and(|bytes| bytes.starts_with(after))
        {
            return None;
        }
        let differs = |(index, element): (usize, &[u8])| match self {
            Self::Bytes(bytes) => bytes.get(index * width..(index + 1) * width) != Some(element),
            Self::Prepared(prepared) => prepared.element(index as u64).get(..width) != Some(element),
        };
        (first..).zip(after.chunks(width)).find(|pair| differs(*pair)).map(|(index, _)| index)
    }
}

impl<'a> Vector<'a> {
    pub(crate) fn at(&self, index: usize) -> f64 {
        self.numbers.at(index * self.stride)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = f64> + 'a {
        (0..self.length).map(move |index| self.at(index))
    }

    /// What each element of the array should be once `result` has been stored in each element of the vector.
    pub(crate) fn written(self, result: impl Fn(usize) -> Quantity + 'a) -> ElementOf<'a> {
        Box::new(move |element| {
            let index = element / self.stride;
            Right::Number(if element % self.stride == 0 && index < self.length {
                result(index)
            } else {
                Quantity::exact(self.numbers.at(element))
            })
        })
    }
}

impl Quantity {
    /// A number that must come out as it is.
    pub(crate) fn exact(value: f64) -> Self {
        Self { value, magnitude: 0.0, roundings: 0.0 }
    }
}

impl<'a> Expected<'a> {
    pub(crate) fn returned(quantity: Quantity) -> Self {
        Self { returned: Some(quantity), written: None }
    }

    pub(crate) fn written(buffer: usize, element: ElementOf<'a>) -> Self {
        Self { returned: None, written: Some((buffer, element)) }
    }
}
