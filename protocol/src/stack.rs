//! How deep code takes its stack, as far as that can be told without running it.

use serde::{Deserialize, Serialize};

/// Stack that a function uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StackUse {
    /// At most so many bytes below its return address: saved registers, what the red zone holds, and for each call that
    /// it makes the 8 bytes of the return address and what the callee uses. An upper bound over all paths.
    AtMost(u64),
    /// No bound can be told.
    Unbounded(Unbounded),
}

/// Why no bound can be told, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the instruction at offset {offset} of the text {why}")]
pub struct Unbounded {
    /// What was met.
    pub why: StackObstacle,
    /// Bytes from the start of the object's text to the instruction.
    pub offset: u64,
}

/// What keeps the depth of a stack from being told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StackObstacle {
    /// The stack pointer gets a value from a register or memory, as `alloca` makes it.
    Computed,
    /// A loop takes it deeper with each turn.
    Grows,
    /// A function calls itself, or one that calls it.
    Recursion,
    /// A jump or call through a register or memory.
    Indirect,
    /// A branch that leads to nothing known, or to what cannot be decoded.
    UnknownFlow,
    /// A return that does not find the return address, or drops arguments.
    Unbalanced,
    /// There is more code than is looked at.
    TooLarge,
}

impl std::fmt::Display for StackObstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Computed => "sets the stack pointer to what is only known when it runs",
            Self::Grows => "is in a loop that takes the stack pointer deeper with each turn",
            Self::Recursion => "calls a function that may then call itself",
            Self::Indirect => "branches through a register or memory",
            Self::UnknownFlow => "goes on where no instruction was found",
            Self::Unbalanced => {
                "returns with the stack pointer elsewhere than at the return address, or drops arguments"
            }
            Self::TooLarge => "lies in more code than is looked at",
        })
    }
}
