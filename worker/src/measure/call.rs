//! Where each argument of a call goes: registers and stack words under the System V x86-64 convention.
//!
//! Trusts nothing: the plan was checked by the supervisor, and every index and count is checked again here.
#![forbid(unsafe_code)]

use webrunner_protocol::limits::{MAX_ARGUMENTS, MAX_PLACEMENTS};
use webrunner_protocol::plan::Argument;

use super::trampoline::{ENTRY_MXCSR, FLUSHING_MXCSR};

/// Integer arguments that travel in rdi, rsi, rdx, rcx, r8, r9.
pub(super) const INTEGER_REGISTERS: usize = 6;

/// Floating-point arguments that travel in xmm0 to xmm7.
pub(super) const VECTOR_REGISTERS: usize = 8;

/// Everything needed to call a function: its addresses, its arguments in place, and the stack it runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedCall {
    /// Where it lies, once for each of its places; the rest repeats the first.
    pub(super) functions: [u64; MAX_PLACEMENTS],
    pub(super) places: u8,
    pub(super) mxcsr: u32,
    pub(super) stack_top: u64,
    pub(super) integer: [u64; INTEGER_REGISTERS],
    pub(super) integer_count: usize,
    /// Low 64 bits of each register; the rest is zero.
    pub(super) vector: [u64; VECTOR_REGISTERS],
    pub(super) vector_count: usize,
    pub(super) stack: [u64; MAX_ARGUMENTS],
    pub(super) stack_count: usize,
}

/// Why a call cannot be prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// More arguments than a call can have.
    #[error("{count} arguments to place, the limit is {MAX_ARGUMENTS}")]
    TooManyArguments {
        /// How many came.
        count: usize,
    },
    /// A pointer argument names a buffer without an address.
    #[error("argument {argument} points to buffer {buffer}, and only {buffers} have an address")]
    NoSuchBuffer {
        /// Index of the argument.
        argument: usize,
        /// Index it holds.
        buffer: u16,
        /// How many buffers there are.
        buffers: usize,
    },
    /// The convention wants the stack on a 16-byte boundary.
    #[error("the stack top {stack_top:#x} is not on a 16-byte boundary")]
    StackTop {
        /// The address that came.
        stack_top: u64,
    },
}

impl PreparedCall {
    /// Places `arguments` for a call of the code at `function`, on the stack that ends (exclusively) at `stack_top`.
    ///
    /// `buffer_addresses` holds the address of the first element of each buffer of the plan.
    ///
    /// # Errors
    /// The first thing that cannot be placed.
    pub fn new(
        arguments: &[Argument],
        buffer_addresses: &[u64],
        function: u64,
        stack_top: u64,
    ) -> Result<Self, CallError> {
        if arguments.len() > MAX_ARGUMENTS {
            return Err(CallError::TooManyArguments { count: arguments.len() });
        }
        if !stack_top.is_multiple_of(16) {
            return Err(CallError::StackTop { stack_top });
        }
        let mut call = Self::without_arguments(function, stack_top);
        for (index, argument) in arguments.iter().enumerate() {
            match *argument {
                Argument::Integer(value) => call.place_integer(value),
                Argument::Float(value) => call.place_vector(value.to_bits().into()),
                Argument::Double(value) => call.place_vector(value.to_bits()),
                Argument::Pointer(buffer) => {
                    let address =
                        buffer_addresses.get(usize::from(buffer)).ok_or(CallError::NoSuchBuffer {
                            argument: index,
                            buffer,
                            buffers: buffer_addresses.len(),
                        })?;
                    call.place_integer(*address);
                }
            }
        }
        Ok(call)
    }

    /// The same call of the code at another address.
    #[must_use]
    pub fn at(&self, function: u64) -> Self {
        Self { functions: [function; MAX_PLACEMENTS], places: 1, ..self.clone() }
    }

    /// The same call of a function that also lies at `others`; those past the most there may be are not called.
    #[must_use]
    pub fn also_at(mut self, others: &[u64]) -> Self {
        for (place, other) in self.functions.iter_mut().skip(1).zip(others) {
            *place = *other;
            self.places += 1;
        }
        self
    }

    /// The same call with denormals taken for zero, and made zero.
    #[must_use]
    pub fn flushing_denormals(self) -> Self {
        Self { mxcsr: FLUSHING_MXCSR, ..self }
    }

    /// The value of `rsp` on which stack arguments are pushed, so that it ends 16-byte aligned when they all are.
    pub(super) fn stack_start(&self) -> u64 {
        self.stack_top.wrapping_sub(8 * (self.stack_count as u64 % 2))
    }

    /// The value of `rsp` just before the `call` instruction, and after a function that kept it.
    pub(super) fn stack_at_call(&self) -> u64 {
        self.stack_start().wrapping_sub(8 * self.stack_count as u64)
    }

    pub(super) fn without_arguments(function: u64, stack_top: u64) -> Self {
        Self {
            functions: [function; MAX_PLACEMENTS],
            places: 1,
            mxcsr: ENTRY_MXCSR,
            stack_top,
            integer: [0; INTEGER_REGISTERS],
            integer_count: 0,
            vector: [0; VECTOR_REGISTERS],
            vector_count: 0,
            stack: [0; MAX_ARGUMENTS],
            stack_count: 0,
        }
    }

    fn place_integer(&mut self, value: u64) {
        if self.integer_count < INTEGER_REGISTERS {
            self.integer[self.integer_count] = value;
            self.integer_count += 1;
        } else {
            self.place_on_stack(value);
        }
    }

    fn place_vector(&mut self, bits: u64) {
        if self.vector_count < VECTOR_REGISTERS {
            self.vector[self.vector_count] = bits;
            self.vector_count += 1;
        } else {
            self.place_on_stack(bits);
        }
    }

    /// `new` has counted the arguments, so there is always room.
    fn place_on_stack(&mut self, value: u64) {
        self.stack[self.stack_count] = value;
        self.stack_count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: u64 = 0x7000_0000;

    fn prepare(arguments: &[Argument]) -> Result<PreparedCall, CallError> {
        PreparedCall::new(arguments, &[0x1000, 0x2000], 0x40_0000, STACK)
    }

    #[test]
    fn registers_fill_by_class_and_the_rest_goes_to_the_stack_in_order() -> Result<(), CallError> {
        let mut arguments: Vec<_> = (1..=7).map(Argument::Integer).collect();
        arguments.extend((1..=9).map(|value| Argument::Double(value.into())));
        arguments.push(Argument::Integer(8));
        let call = prepare(&arguments)?;
        assert_eq!(call.integer, [1, 2, 3, 4, 5, 6]);
        assert_eq!(call.vector, [1., 2., 3., 4., 5., 6., 7., 8.].map(f64::to_bits));
        assert_eq!(call.stack[..call.stack_count], [7, 9f64.to_bits(), 8]);
        Ok(())
    }

    #[test]
    fn a_float_sits_in_the_low_half_and_a_pointer_becomes_its_address() -> Result<(), CallError> {
        let call = prepare(&[Argument::Float(-1.5), Argument::Pointer(1)])?;
        assert_eq!(call.vector[0], u64::from((-1.5f32).to_bits()));
        assert_eq!(call.integer[0], 0x2000);
        Ok(())
    }

    #[test]
    fn the_stack_is_aligned_at_the_call_for_any_number_of_stack_arguments() -> Result<(), CallError> {
        for count in 0..=MAX_ARGUMENTS as u64 {
            let arguments: Vec<_> = (0..count).map(Argument::Integer).collect();
            let call = prepare(&arguments)?;
            assert_eq!(call.stack_at_call() % 16, 0, "{count} arguments");
            assert!(STACK - call.stack_at_call() >= 8 * count.saturating_sub(6));
        }
        Ok(())
    }

    #[test]
    fn what_cannot_be_placed_is_refused() {
        assert_eq!(
            prepare(&[Argument::Integer(1), Argument::Pointer(2)]),
            Err(CallError::NoSuchBuffer { argument: 1, buffer: 2, buffers: 2 })
        );
        let many = [Argument::Integer(0); MAX_ARGUMENTS + 1];
        assert_eq!(prepare(&many), Err(CallError::TooManyArguments { count: MAX_ARGUMENTS + 1 }));
        let crooked = PreparedCall::new(&[], &[], 0, STACK + 8);
        assert_eq!(crooked, Err(CallError::StackTop { stack_top: STACK + 8 }));
    }
}
