//! Tells where a signal struck, writes that as the worker's one reply, and ends the process.
//!
//! Runs inside a signal handler after a function under test may have overwritten every writable byte. What is known
//! about the job is therefore only a hint for the person who reads the report; nothing is followed as a pointer but the
//! instruction bytes, and those only inside pages that this worker itself made executable.

use std::cell::UnsafeCell;
use std::ops::Range;

use webrunner_protocol::fault::{CodeMode, CodePlace, DataPlace, Fault, FaultCause, InstructionBytes};
use webrunner_protocol::ids::JobId;
use webrunner_protocol::limits::{MAX_ARGUMENTS, MAX_INSTRUCTION_BYTES, MAX_PLACEMENTS};
use webrunner_protocol::reply::{Outcome, Reply, WorkerFailure};

use crate::arena::GUARD;
use crate::sys::signal::Signal;
use crate::sys::{self, memory, process};

/// Exit code of a process that a signal ended before it was a worker with a running function.
pub const EXIT_BROKEN: i32 = 70;

/// What the process is doing, which decides who is to blame for a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not a worker, or one without a job.
    Idle,
    /// A worker with a job, running WebRunner's own code.
    Preparing,
    /// The function under test may be running.
    Running,
    /// It was measured, the reply is held ready, and its counting copy may be running.
    Counting,
    /// It was measured, the reply is sent, and a call that is checked may be running.
    Checking,
}

/// What is known about the job when a signal comes.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What the process is doing.
    pub phase: Phase,
    /// The job.
    pub job: JobId,
    /// The object, at each of the places where it lies.
    pub images: [ImageFacts; MAX_PLACEMENTS],
    /// The function's stack.
    pub stack: Range<usize>,
    /// First element and length of each buffer.
    pub buffers: [Range<usize>; MAX_ARGUMENTS],
}

/// What is known about the object at one place; empty ranges for what it does not have, and for a place without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Address of the function.
    pub function: u64,
    /// The object's text.
    pub text: Range<usize>,
    /// Its read-only data.
    pub read_only: Range<usize>,
    /// Its writable data.
    pub data: Range<usize>,
}

impl ImageFacts {
    /// Nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self { function: 0, text: 0..0, read_only: 0..0, data: 0..0 }
    }
}

impl Facts {
    const fn none() -> Self {
        Self {
            phase: Phase::Idle,
            job: JobId(0),
            images: [const { ImageFacts::none() }; MAX_PLACEMENTS],
            stack: 0..0,
            buffers: [const { 0..0 }; MAX_ARGUMENTS],
        }
    }
}

struct FactsCell(UnsafeCell<Facts>);

// SAFETY: one thread; the handler only reads, and it never returns to code that could be writing.
unsafe impl Sync for FactsCell {}

// Placed with the other small statics that a worker writes, so that they share a page.
#[unsafe(link_section = ".data.webrunner")]
static FACTS: FactsCell = FactsCell(UnsafeCell::new(Facts::none()));

/// Changes what a later signal will be explained with.
pub fn note(change: impl FnOnce(&mut Facts)) {
    // SAFETY: one thread, and `change` does not call back into this module.
    change(unsafe { &mut *FACTS.0.get() });
}

/// The handler proper: reports and exits.
pub fn report(signal: Signal) -> ! {
    // SAFETY: shared access only; the interrupted writer, if any, never runs again.
    let facts = unsafe { &*FACTS.0.get() };
    let outcome = match facts.phase {
        Phase::Idle => sys::exit(EXIT_BROKEN),
        // What was measured is not lost by it.
        Phase::Counting => crate::worker::send_held_and_exit(),
        Phase::Preparing if signal.number != libc::SIGXCPU => Outcome::Failed(WorkerFailure::Internal),
        Phase::Preparing | Phase::Running | Phase::Checking => Outcome::Faulted(describe(facts, signal)),
    };
    crate::worker::send_and_exit(&Reply { job: facts.job, outcome })
}

/// Linux's only 64-bit code segment for programs (`__USER_CS` of asm/segment.h); with no descriptors of its own, a
/// program has one other, of 32 bits.
const USER_CS: u16 = 0x33;

fn describe(facts: &Facts, signal: Signal) -> Fault {
    let cause = match signal.number {
        libc::SIGSYS => FaultCause::SystemCall { number: signal.system_call },
        libc::SIGXCPU => FaultCause::CpuTime,
        number => FaultCause::Signal {
            signal: number,
            code: signal.code,
            address: signal.address,
            place: data_place(facts, signal.address),
        },
    };
    Fault {
        cause,
        ip: signal.ip,
        ip_place: code_place(facts, signal.ip),
        mode: if signal.code_segment == USER_CS { CodeMode::Bits64 } else { CodeMode::Bits32 },
        instruction: instruction(facts, signal.ip),
    }
}

fn within(range: &Range<usize>, address: u64) -> bool {
    usize::try_from(address).is_ok_and(|address| range.contains(&address))
}

/// The place whose text holds this address.
fn image_around(facts: &Facts, ip: u64) -> Option<&ImageFacts> {
    facts.images.iter().find(|image| within(&image.text, ip))
}

fn code_place(facts: &Facts, ip: u64) -> CodePlace {
    if let Some(image) = image_around(facts, ip) {
        CodePlace::Object { function_offset: ip.wrapping_sub(image.function) as i64 }
    } else if within(&process::own_text(), ip) {
        CodePlace::Harness
    } else {
        CodePlace::Elsewhere
    }
}

fn data_place(facts: &Facts, address: u64) -> DataPlace {
    if address < memory::PAGE as u64 {
        return DataPlace::Null;
    }
    let Ok(at) = usize::try_from(address) else { return DataPlace::Elsewhere };
    if facts.stack.contains(&at) {
        return DataPlace::Stack;
    }
    for image in &facts.images {
        let known = [
            (&image.text, DataPlace::Text),
            (&image.read_only, DataPlace::ReadOnlyData),
            (&image.data, DataPlace::Data),
        ];
        if let Some((_, place)) = known.into_iter().find(|(range, _)| range.contains(&at)) {
            return place;
        }
    }
    if (facts.stack.start.saturating_sub(GUARD)..facts.stack.start).contains(&at) {
        return DataPlace::StackGuard;
    }
    buffer_place(facts, at)
}

/// The buffer an address lies in, or the nearest one whose guards it lies in.
fn buffer_place(facts: &Facts, at: usize) -> DataPlace {
    let mut near = DataPlace::Elsewhere;
    for (index, buffer) in facts.buffers.iter().enumerate() {
        let (buffer_index, offset) = (index as u16, at.wrapping_sub(buffer.start) as i64);
        if buffer.contains(&at) {
            return DataPlace::Buffer { buffer: buffer_index, offset };
        }
        let around = buffer.start.saturating_sub(GUARD)..buffer.end.saturating_add(GUARD);
        if buffer.start != 0 && around.contains(&at) {
            near = DataPlace::NearBuffer { buffer: buffer_index, offset };
        }
    }
    near
}

/// The instruction's bytes, if it lies in the object's text: those pages are readable because this worker made them so.
fn instruction(facts: &Facts, ip: u64) -> InstructionBytes {
    let Some(image) = image_around(facts, ip) else { return InstructionBytes::default() };
    if image.text.start < memory::IMAGE_ARENA.start || memory::IMAGE_ARENA.end < image.text.end {
        return InstructionBytes::default();
    }
    let at = ip as usize;
    let len = (image.text.end - at).min(MAX_INSTRUCTION_BYTES);
    // SAFETY: the range lies in the image's text. Should the function have rewritten these facts, the read may fault,
    // and the kernel ends the process: its own loss.
    InstructionBytes::new(unsafe { std::slice::from_raw_parts(at as *const u8, len) })
}
