//! Counting copies against the CPU itself: every count is held against single steps or against a formula.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod bytes;
mod exact;
mod hostile;
mod machine;
mod objects;
mod stack;
