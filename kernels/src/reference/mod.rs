//! What the right result of a call is, computed in double precision, and whether a function came close enough to it.
//!
//! A check never calls a good function wrong because it adds in another order: errors are held against the size of what
//! was added up, not against a result that may have cancelled, and grow with the number of roundings. The bytes
//! compared come from a worker and may be anything; their lengths are checked, and whatever does not fit is left
//! unchecked with a reason.
//!
//! # Layout
//!
//! - [`call`]: the arguments and arrays of a call, read as numbers.
//! - [`blas`] and [`vector`]: the references.
//! - [`verdict`]: the comparison.

mod blas;
mod call;
mod vector;
mod verdict;

use webrunner_protocol::plan::{CallPlan, Direction, ElementType, ReturnType};

pub use self::call::Before;
pub use self::vector::Function;
pub use self::verdict::{Block, Observation, Place, Shown, Verdict};

use self::call::{Call, Expected, Unchecked};
use crate::argument::{Array, Source};
use crate::kernel::Kernel;

/// What the right result of a kernel is computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reference {
    /// The sum of `x[i] * y[i]`, returned.
    Dot,
    /// `y += alpha * x`.
    Axpy,
    /// `x *= alpha`.
    Scal,
    /// `y = x`.
    Copy,
    /// The sum of `|x[i]|`, returned.
    Asum,
    /// The root of the sum of `x[i]²`, returned.
    Nrm2,
    /// `c = beta * c + alpha * a * b` over packed panels, as a BLIS micro-kernel does it.
    Gemm,
    /// `y[i] = f(x[i])`.
    Vector(Function),
}

/// What stands at one place of a call; all floating-point types of a call are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// An integer of any type.
    Integer,
    /// A number passed by value.
    Number,
    /// An array that is read.
    Read,
    /// An array that is written.
    Write,
    /// An array that is read and written.
    Update,
}

const BLAS: [Reference; 7] = [
    Reference::Dot,
    Reference::Axpy,
    Reference::Scal,
    Reference::Copy,
    Reference::Asum,
    Reference::Nrm2,
    Reference::Gemm,
];

impl Reference {
    /// Every reference.
    pub fn all() -> impl Iterator<Item = Self> {
        BLAS.into_iter().chain(Function::ALL.into_iter().map(Self::Vector))
    }

    /// The name specifications use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dot => "dot",
            Self::Axpy => "axpy",
            Self::Scal => "scal",
            Self::Copy => "copy",
            Self::Asum => "asum",
            Self::Nrm2 => "nrm2",
            Self::Gemm => "gemm",
            Self::Vector(function) => function.name(),
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::all().find(|reference| reference.name() == name)
    }

    /// Whether a kernel's call has the places this reference reads from and writes to.
    pub(crate) fn fits(self, kernel: &Kernel) -> bool {
        let slots = self.slots();
        let mut element = match kernel.returns {
            ReturnType::Scalar(element) => Some(element),
            ReturnType::Void | ReturnType::Pointer => None,
        };
        if self.returns_number() != element.is_some() || kernel.arguments.len() != slots.len() {
            return false;
        }
        let places_fit = kernel.arguments.iter().zip(slots).all(|(argument, slot)| {
            let found = argument.ctype.element;
            // The first floating-point type met is the one all others must be.
            let type_fits = *slot == Slot::Integer || *element.get_or_insert(found) == found;
            type_fits && slot.takes(&argument.source)
        });
        places_fit && matches!(element, Some(ElementType::Float | ElementType::Double))
    }

    /// The call it needs, for messages; `T` is `float` or `double`.
    pub(crate) fn shape(self) -> String {
        let slots: Vec<&str> = self.slots().iter().map(|slot| slot.shape()).collect();
        let returns = if self.returns_number() { "T" } else { "void" };
        format!("{returns} ({}), T being float or double", slots.join(", "))
    }

    fn returns_number(self) -> bool {
        matches!(self, Self::Dot | Self::Asum | Self::Nrm2)
    }

    fn slots(self) -> &'static [Slot] {
        use Slot::{Integer, Number, Read, Update, Write};
        match self {
            Self::Dot => &[Integer, Read, Integer, Read, Integer],
            Self::Axpy => &[Integer, Number, Read, Integer, Update, Integer],
            Self::Scal => &[Integer, Number, Update, Integer],
            Self::Copy => &[Integer, Read, Integer, Write, Integer],
            Self::Asum | Self::Nrm2 => &[Integer, Read, Integer],
            Self::Gemm => &[Integer, Read, Read, Read, Read, Update, Integer, Integer],
            Self::Vector(_) => &[Integer, Read, Write],
        }
    }

    /// Buffers that every call writes without reading what is in them, bit by bit.
    fn kept(self, plan: &CallPlan) -> u32 {
        let out = (0u32..).zip(&plan.buffers).filter(|(_, buffer)| buffer.direction == Direction::Out);
        let mask = out.fold(0, |mask, (index, _)| mask | 1_u32.checked_shl(index).unwrap_or(0));
        mask | if self == Self::Gemm { blas::gemm_kept(plan) } else { 0 }
    }

    /// What of a call's results cannot be seen or is not looked at, in words.
    fn left_out(self, plan: &CallPlan) -> Option<String> {
        if self == Self::Gemm { blas::gemm_left_out(plan) } else { None }
    }

    /// Computes what a call should give.
    fn compute<'a>(self, call: &Call<'a>) -> Result<Expected<'a>, Unchecked> {
        match self {
            Self::Dot => blas::dot(call),
            Self::Axpy => blas::axpy(call),
            Self::Scal => blas::scal(call),
            Self::Copy => blas::copy(call),
            Self::Asum => blas::asum(call),
            Self::Nrm2 => blas::nrm2(call),
            Self::Gemm => blas::gemm(call),
            Self::Vector(function) => vector::map(call, function),
        }
    }
}

impl Slot {
    fn takes(self, source: &Source) -> bool {
        match (self, source) {
            (Self::Integer, Source::Integer(_)) | (Self::Number, Source::Number(_)) => true,
            (Self::Read, Source::Array(Array { direction, .. })) => *direction != Direction::Out,
            (Self::Write, Source::Array(Array { direction, .. })) => *direction != Direction::In,
            (Self::Update, Source::Array(Array { direction, .. })) => *direction == Direction::InOut,
            _ => false,
        }
    }

    fn shape(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Number => "T",
            Self::Read => "const T*",
            Self::Write => "T* out",
            Self::Update => "T*",
        }
    }
}
