//! How the function under measurement ended the process instead of returning.
//!
//! Filled in by a signal handler in a process whose memory the function may have overwritten, so every number is a claim.

use serde::{Deserialize, Serialize};

use crate::limits::MAX_INSTRUCTION_BYTES;

/// A signal raised by the function, described where it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What happened.
    pub cause: FaultCause,
    /// Instruction pointer.
    pub ip: u64,
    /// Where that is.
    pub ip_place: CodePlace,
    /// How the CPU read the code there.
    pub mode: CodeMode,
    /// The bytes at the instruction pointer, as many as could be read.
    pub instruction: InstructionBytes,
}

/// How the CPU reads code: a function can leave for the 32-bit mode of old programs by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodeMode {
    /// As code of 64 bits.
    Bits64,
    /// As code of 32 bits.
    Bits32,
}

impl CodeMode {
    /// Width of its addresses.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::Bits64 => 64,
            Self::Bits32 => 32,
        }
    }
}

/// What raised the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultCause {
    /// A synchronous signal: SIGSEGV, SIGBUS, SIGILL, SIGFPE or SIGTRAP.
    Signal {
        /// Signal number.
        signal: i32,
        /// `si_code`.
        code: i32,
        /// `si_addr`: the data address for SIGSEGV and SIGBUS, else the instruction's.
        address: u64,
        /// What lies at `address`.
        place: DataPlace,
    },
    /// A system call the filter does not allow.
    SystemCall {
        /// Its number, as the kernel saw it: the x32 bit is part of it.
        number: i32,
    },
    /// The CPU time limit.
    CpuTime,
}

/// Where an instruction lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodePlace {
    /// In the object's text.
    Object {
        /// Bytes past the start of the called function; negative before it.
        function_offset: i64,
    },
    /// In the worker itself.
    Harness,
    /// Anywhere else.
    Elsewhere,
}

/// What lies at a data address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataPlace {
    /// The first page of memory.
    Null,
    /// The function's text.
    Text,
    /// The object's read-only data.
    ReadOnlyData,
    /// The object's writable data.
    Data,
    /// The function's stack.
    Stack,
    /// Below the function's stack: it overflowed.
    StackGuard,
    /// A buffer of the call plan.
    Buffer {
        /// Index of the buffer.
        buffer: u16,
        /// Bytes past its first element.
        offset: i64,
    },
    /// Just outside a buffer of the call plan.
    NearBuffer {
        /// Index of the nearest buffer.
        buffer: u16,
        /// Bytes past its first element; negative before it.
        offset: i64,
    },
    /// Nothing known.
    Elsewhere,
}

/// Up to [`MAX_INSTRUCTION_BYTES`] bytes of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct InstructionBytes {
    bytes: [u8; MAX_INSTRUCTION_BYTES],
    len: u8,
}

impl InstructionBytes {
    /// Keeps at most the first [`MAX_INSTRUCTION_BYTES`] of `code`.
    #[must_use]
    pub fn new(code: &[u8]) -> Self {
        let len = code.len().min(MAX_INSTRUCTION_BYTES);
        let mut bytes = [0; MAX_INSTRUCTION_BYTES];
        bytes[..len].copy_from_slice(&code[..len]);
        Self { bytes, len: len as u8 }
    }

    /// The bytes; at most [`MAX_INSTRUCTION_BYTES`] whatever length was claimed.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len).min(MAX_INSTRUCTION_BYTES)]
    }
}
