//! How deep a function takes its stack: a bound from a flow of stack pointers through the blocks that were found.
//!
//! Each function (the entry, and whatever is called) is followed by itself, see `flow`; here their depths are put together
//! along the calls. What is taken for granted is what the calling convention promises: a callee gives back rsp and the
//! registers that it must keep, rsp is a multiple of 8, and nobody writes over what another saved on the stack.
//!
//! The code is hostile: work is bounded by [`flow::MOST_STEPS`], nothing recurses, and what cannot be bounded says why.
#![forbid(unsafe_code)]

mod flow;
mod state;

use std::ops::Range;

use webrunner_protocol::stack::{StackObstacle, StackUse, Unbounded};

use self::flow::Flow;
use super::graph::Graph;
use super::walk::{Analysis, Text};

/// A call that a function makes.
#[derive(Debug, Clone, Copy)]
struct Call {
    /// Depth at which the callee begins, its return address included.
    depth: i64,
    /// Number of the callee.
    callee: usize,
    /// Offset of the instruction.
    offset: u32,
}

/// A function that is called, or the entry.
#[derive(Debug, Clone)]
struct Function {
    /// Block it begins with.
    block: u32,
    /// Deepest that it goes itself.
    own: i64,
    /// Its calls, as a part of all calls.
    calls: Range<usize>,
}

/// Bounds the stack that the function of `text` uses; `found` are its blocks.
#[must_use]
pub fn stack_use(found: &Analysis, text: Text<'_>) -> StackUse {
    if found.too_large.is_some() {
        return StackUse::Unbounded(Unbounded { why: StackObstacle::TooLarge, offset: 0 });
    }
    let graph = Graph::of(found, &text);
    let followed = Flow::new(&graph).functions();
    match followed.and_then(|(functions, calls)| deepest(&functions, &calls)) {
        Ok(bytes) => StackUse::AtMost(bytes),
        Err(unbounded) => StackUse::Unbounded(unbounded),
    }
}

/// How far the depth of a function with its callees is known.
#[derive(Debug, Clone, Copy)]
enum Known {
    Not,
    /// Its callees are being looked at.
    Open,
    Depth(i64),
}

/// A function whose callees are being looked at.
struct Open {
    number: usize,
    /// Its next call to look at.
    next: usize,
    /// Deepest so far.
    depth: i64,
}

/// The depth of the first function with all that it calls.
fn deepest(functions: &[Function], calls: &[Call]) -> Result<u64, Unbounded> {
    let mut known = vec![Known::Not; functions.len()];
    if let Some(entry) = known.first_mut() {
        *entry = Known::Open;
    }
    let open = |number: usize| {
        let function = functions.get(number)?;
        Some(Open { number, next: function.calls.start, depth: function.own })
    };
    let mut pending: Vec<Open> = open(0).into_iter().collect();
    let mut deepest = 0;
    while let Some(function) = pending.last_mut() {
        let end = functions.get(function.number).map_or(0, |function| function.calls.end);
        let Some(call) = calls.get(function.next).filter(|_| function.next < end) else {
            deepest = function.depth;
            known[function.number] = Known::Depth(deepest);
            pending.pop();
            continue;
        };
        match known.get(call.callee).copied().unwrap_or(Known::Depth(0)) {
            Known::Depth(depth) => {
                function.depth = function.depth.max(call.depth + depth);
                function.next += 1;
            }
            Known::Open => {
                return Err(Unbounded { why: StackObstacle::Recursion, offset: call.offset.into() });
            }
            Known::Not => {
                known[call.callee] = Known::Open;
                pending.extend(open(call.callee));
            }
        }
    }
    Ok(u64::try_from(deepest).unwrap_or_default())
}
