//! The call plan: a finished description of one call, with nothing left to look up or evaluate.
//!
//! The supervisor makes it from a kernel specification; the worker carries it out without knowing what a kernel is.
//! Every size in it has been checked against [`limits`](crate::limits), and [`CallPlan::check`] checks again.

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_ARGUMENTS, MAX_BUFFER_BYTES};

/// How to call a function under the System V x86-64 convention.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallPlan {
    /// Arguments in the order of the C prototype.
    pub arguments: Vec<Argument>,
    /// The arrays that pointer arguments point to.
    pub buffers: Vec<Buffer>,
    /// What the function gives back.
    pub returns: ReturnType,
}

/// One argument, ready to be placed in a register or on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Argument {
    /// An integer of any width, sign- or zero-extended to 64 bits as its C type asks.
    Integer(u64),
    /// A `float`, in the low lane of a vector register.
    Float(f32),
    /// A `double`.
    Double(f64),
    /// The address of the first element of a buffer, by its index in [`CallPlan::buffers`].
    Pointer(u16),
}

/// An array the function reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Buffer {
    /// Number of elements; may be 0.
    pub elements: u64,
    /// Type of one element.
    pub element: ElementType,
    /// Bytes past a 64-byte boundary at which the first element lies.
    pub offset: u32,
    /// What it holds before the first call.
    pub fill: Fill,
    /// Whether the function reads it, writes it or both.
    pub direction: Direction,
}

impl Buffer {
    /// Bytes the elements take, offset and guards not counted; `None` if that overflows.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.elements.checked_mul(self.element.bytes())
    }
}

/// A C arithmetic type, as an argument, an array element or a return value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ElementType {
    /// `int8_t`
    Int8,
    /// `uint8_t`
    Uint8,
    /// `int16_t`
    Int16,
    /// `uint16_t`
    Uint16,
    /// `int32_t`
    Int32,
    /// `uint32_t`
    Uint32,
    /// `int64_t`
    Int64,
    /// `uint64_t`, `size_t`
    Uint64,
    /// `float`
    Float,
    /// `double`
    Double,
}

impl ElementType {
    /// Bytes one value takes in memory.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::Int8 | Self::Uint8 => 1,
            Self::Int16 | Self::Uint16 => 2,
            Self::Int32 | Self::Uint32 | Self::Float => 4,
            Self::Int64 | Self::Uint64 | Self::Double => 8,
        }
    }
}

/// What a buffer holds before the first call.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Fill {
    /// All zero.
    Zero,
    /// Pseudo-random normal numbers in [-1, 1) (floating point) or over the whole range (integers), from the job's seed.
    Uniform,
    /// Pseudo-random numbers in [low, high), from the job's seed: evenly spread, then rounded to the element type
    /// (floating point) or cut to a whole number (integers). Both bounds are finite and low < high.
    Range {
        /// Least value.
        low: f64,
        /// Bound above the greatest value; a `float` may round up to it.
        high: f64,
    },
    /// 0, 1, 2, …
    Index,
    /// The same value everywhere, converted to the element type.
    Constant(f64),
}

/// Which way data flows through a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Read by the function.
    In,
    /// Written by the function.
    Out,
    /// Read and written.
    InOut,
}

/// What the function gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReturnType {
    /// Nothing.
    Void,
    /// A number, in `rax` or `xmm0`.
    Scalar(ElementType),
    /// An address, in `rax`.
    Pointer,
}

/// What is wrong with a call plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum PlanError {
    /// More arguments than a call can have.
    #[error("{count} arguments, the limit is {MAX_ARGUMENTS}")]
    TooManyArguments {
        /// How many came.
        count: usize,
    },
    /// More buffers than arguments.
    #[error("{count} buffers, the limit is {MAX_ARGUMENTS}")]
    TooManyBuffers {
        /// How many came.
        count: usize,
    },
    /// A pointer argument names a buffer that is not there.
    #[error("argument {argument} points to buffer {buffer}, which does not exist")]
    NoSuchBuffer {
        /// Index of the argument.
        argument: usize,
        /// Index it holds.
        buffer: u16,
    },
    /// A buffer begins too far past its boundary.
    #[error("buffer {buffer} begins {offset} bytes past a 64-byte boundary, the most is 4095")]
    Offset {
        /// Index of the buffer.
        buffer: usize,
        /// Bytes asked for.
        offset: u32,
    },
    /// The buffers together take too much memory.
    #[error("the buffers take {bytes} bytes together, the limit is {MAX_BUFFER_BYTES}")]
    TooMuchMemory {
        /// Bytes they take; saturates.
        bytes: u64,
    },
}

impl CallPlan {
    /// Largest offset of a buffer past its boundary.
    pub const MAX_OFFSET: u32 = 4095;

    /// Checks counts, indices and the memory the buffers take together.
    ///
    /// # Errors
    /// The first thing wrong.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.arguments.len() > MAX_ARGUMENTS {
            return Err(PlanError::TooManyArguments { count: self.arguments.len() });
        }
        if self.buffers.len() > MAX_ARGUMENTS {
            return Err(PlanError::TooManyBuffers { count: self.buffers.len() });
        }
        for (index, argument) in self.arguments.iter().enumerate() {
            if let Argument::Pointer(buffer) = *argument
                && usize::from(buffer) >= self.buffers.len()
            {
                return Err(PlanError::NoSuchBuffer { argument: index, buffer });
            }
        }
        for (index, buffer) in self.buffers.iter().enumerate() {
            if buffer.offset > Self::MAX_OFFSET {
                return Err(PlanError::Offset { buffer: index, offset: buffer.offset });
            }
        }
        let bytes = self.buffer_bytes();
        if bytes > MAX_BUFFER_BYTES {
            return Err(PlanError::TooMuchMemory { bytes });
        }
        Ok(())
    }

    /// Bytes all buffers take together, offsets counted; saturates at `u64::MAX`.
    #[must_use]
    pub fn buffer_bytes(&self) -> u64 {
        self.buffers
            .iter()
            .map(|buffer| buffer.bytes().map_or(u64::MAX, |bytes| bytes.saturating_add(buffer.offset.into())))
            .fold(0, u64::saturating_add)
    }
}
