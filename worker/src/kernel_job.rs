//! The kernel job: load an object, place its buffers, call its function, measure the calls.
//!
//! Runs in the locked worker. Everything in the object and the plan is hostile; what is refused is named.

use std::ops::Range;

use webrunner_protocol::fill::fill;
use webrunner_protocol::job::KernelWork;
use webrunner_protocol::plan::CallPlan;
use webrunner_protocol::refusal::Refusal;
use webrunner_protocol::reply::{CounterReading, EntryPoint, Measurement, Outcome, Phases, WorkerFailure};

use crate::arena::{self, BufferPlace, Draw};
use crate::counters::OpenCounters;
use crate::fault::{self, Phase};
use crate::load::{Entry, LinkError, Object, Rights};
use crate::measure::{self, Host, PreparedCall, Schedule, Session};
use crate::sys::keyed::{self, Key};
use crate::sys::memory::{Access, Region};
use crate::sys::{Errno, ticks};

/// What measuring needs besides the job; made once, in the zygote.
#[derive(Debug)]
pub struct Meter {
    /// The trampoline.
    pub session: Session,
    /// What is known of the CPU.
    pub host: Host,
    /// Speed of the time stamp counter.
    pub ticks_per_us: f64,
}

/// Why the function was not called.
enum Stop {
    Refused(Refusal),
    Failed(WorkerFailure),
}

impl<R: Into<Refusal>> From<R> for Stop {
    fn from(refusal: R) -> Self {
        Self::Refused(refusal.into())
    }
}

fn memory(errno: Errno) -> Stop {
    Stop::Failed(WorkerFailure::Memory(errno.0))
}

/// Does the job.
#[must_use]
pub fn run(
    work: &KernelWork,
    seed: u64,
    object: &[u8],
    counters: &mut OpenCounters,
    meter: &mut Meter,
) -> Outcome {
    match load_and_measure(work, seed, object, counters, meter) {
        Ok(measurement) => Outcome::Measured(Box::new(measurement)),
        Err(Stop::Refused(refusal)) => Outcome::Refused(refusal),
        Err(Stop::Failed(failure)) => Outcome::Failed(failure),
    }
}

fn load_and_measure(
    work: &KernelWork,
    seed: u64,
    object: &[u8],
    counters: &mut OpenCounters,
    meter: &mut Meter,
) -> Result<Measurement, Stop> {
    let ticks_per_us = meter.ticks_per_us;
    let nanoseconds = |from: u64, to: u64| (to.wrapping_sub(from) as f64 / ticks_per_us * 1e3) as u64;
    let mut draw = Draw::new(seed);
    let started = ticks();
    work.call.check()?;
    let loaded_object = load(&mut draw, work, object)?;
    let loaded = ticks();
    let Loaded { entry, function, stack } = loaded_object;
    let buffers = arena::place_buffers(&mut draw, &work.call)?;
    open(&stack)?;
    open_buffers(&work.call, &buffers, work.fill_seed)?;
    let filled = ticks();
    // From here on nothing may be opened or protected.
    keyed::forget(Key::Load);
    let addresses: Vec<u64> = buffers.iter().map(|buffer| buffer.address as u64).collect();
    let call = PreparedCall::new(&work.call.arguments, &addresses, function, stack.end as u64)
        .map_err(|_| Stop::Failed(WorkerFailure::Internal))?;
    note_running(function, &stack, &buffers);
    // SAFETY: the function lies in text that was just linked, the stack was just opened for it alone, and this process
    // exists to be lost: it holds nothing but this job and exits after its reply.
    let measured = unsafe {
        measure::measure(&mut meter.session, &call, &Schedule::of(work.effort), &meter.host, counters)
    };
    Ok(Measurement {
        entry: EntryPoint { symbol: entry.symbol, offset: entry.text_offset },
        returned: measured.returned,
        cycles: measured.cycles,
        counters: name_events(counters, measured.counters),
        findings: measured.findings,
        phases: Phases {
            load_ns: nanoseconds(started, loaded),
            fill_ns: nanoseconds(loaded, filled),
            measure_ns: nanoseconds(filled, ticks()),
        },
    })
}

/// An object in its place.
struct Loaded {
    entry: Entry,
    /// Address of the function.
    function: u64,
    /// Where its stack is to be.
    stack: Range<usize>,
}

/// Loads the object at an address of its own.
fn load(draw: &mut Draw, work: &KernelWork, bytes: &[u8]) -> Result<Loaded, Stop> {
    let object = Object::parse(bytes)?;
    let entry = object.entry(&work.entry)?;
    let layout = object.layout();
    let base = arena::place_image(draw, layout.bytes);
    let mut regions = Vec::with_capacity(layout.segments.len());
    for segment in &layout.segments {
        let start = base + segment.offset as usize;
        // SAFETY: segments of a layout do not overlap, and this job has one image.
        let region = unsafe { Region::open(start..start + segment.bytes as usize) }.map_err(memory)?;
        regions.push((segment.rights, region));
    }
    let mut slices: Vec<&mut [u8]> = regions.iter_mut().map(|(_, region)| region.bytes_mut()).collect();
    object.link(base as u64, &mut slices).map_err(|error| match error {
        LinkError::Object(refusal) => Stop::Refused(refusal.into()),
        LinkError::Base { .. } | LinkError::Memory => Stop::Failed(WorkerFailure::Internal),
    })?;
    for (rights, region) in regions {
        protect(rights, region)?;
    }
    let function = base as u64 + entry.offset;
    Ok(Loaded { entry, function, stack: arena::place_stack(base) })
}

/// Gives a linked segment its final rights, and tells the fault report about it.
fn protect(rights: Rights, region: Region) -> Result<(), Stop> {
    let range = region.range();
    match rights {
        Rights::ReadExecute => {
            fault::note(|facts| facts.text = range);
            region.protect(Access::ReadExecute).map_err(memory)
        }
        Rights::Read => {
            fault::note(|facts| facts.read_only = range);
            region.protect(Access::Read).map_err(memory)
        }
        Rights::ReadWrite => {
            fault::note(|facts| facts.data = range);
            Ok(())
        }
    }
}

/// Opens the buffers and fills them.
fn open_buffers(plan: &CallPlan, places: &[BufferPlace], seed: u64) -> Result<(), Stop> {
    for (index, (buffer, place)) in plan.buffers.iter().zip(places).enumerate() {
        let mut region = open(&place.pages)?;
        let first = place.address - place.pages.start;
        fill(buffer, seed, index, &mut region.bytes_mut()[first..first + place.bytes]);
    }
    Ok(())
}

fn open(range: &Range<usize>) -> Result<Region, Stop> {
    // SAFETY: places do not overlap, and each is opened once.
    unsafe { Region::open(range.clone()) }.map_err(memory)
}

fn note_running(function: u64, stack: &Range<usize>, buffers: &[BufferPlace]) {
    fault::note(|facts| {
        facts.function = function;
        facts.stack = stack.clone();
        for (known, place) in facts.buffers.iter_mut().zip(buffers) {
            *known = place.address..place.address + place.bytes;
        }
        facts.phase = Phase::Running;
    });
}

/// Puts the zygote's event numbers in place of the harness's.
fn name_events(counters: &OpenCounters, readings: Vec<CounterReading>) -> Vec<CounterReading> {
    readings
        .into_iter()
        .filter_map(|reading| Some(CounterReading { event: counters.event(reading.event)?, ..reading }))
        .collect()
}
