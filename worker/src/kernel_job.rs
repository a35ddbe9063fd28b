//! The kernel job: load an object, place its buffers, call its function, measure the calls.
//!
//! Counting what a call executes is left for [`Rest::count`], when all else is known and held ready to be sent; showing what
//! the function computes is [`check`](crate::check)'s.
//! Runs in the locked worker. Everything in the object and the plan is hostile; what is refused is named.

use std::ops::Range;

use webrunner_protocol::counts::{Counting, NotCountable};
use webrunner_protocol::fill::fill;
use webrunner_protocol::job::KernelWork;
use webrunner_protocol::plan::{Buffer, CallPlan, Direction};
use webrunner_protocol::refusal::Refusal;
use webrunner_protocol::reply::{
    CounterReading, EntryPoint, Measurement, Outcome, Outputs, Phases, Returned, WorkerFailure,
};

use crate::arena::{self, BufferPlace, Draw};
use crate::count::{self, Features, Text, pass::Pass};
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
    /// Instruction set extensions this CPU lacks.
    pub missing_features: Features,
}

impl Meter {
    fn nanoseconds(&self, from: u64, to: u64) -> u64 {
        (to.wrapping_sub(from) as f64 / self.ticks_per_us * 1e3) as u64
    }
}

/// A job that was done: what to answer, and what is left for further calls if the function was measured.
pub struct Done<'a> {
    /// The answer; a measurement says that its call was not counted.
    pub outcome: Outcome,
    /// What is left.
    pub rest: Option<Rest<'a>>,
}

/// A measured function that may be called again.
pub struct Rest<'a> {
    /// How to call it.
    pub call: PreparedCall,
    /// What was asked.
    pub work: &'a KernelWork,
    /// What the last measured call returned.
    pub last_returned: Returned,
    buffers: Vec<BufferPlace>,
    regions: Vec<Region>,
    /// `None` if the job does not ask for counts, or they were made.
    pass: Option<Pass>,
    /// Nanoseconds that preparing the pass took.
    prepared_ns: u64,
}

impl Rest<'_> {
    /// Whether a call is still to be counted.
    #[must_use]
    pub fn is_uncounted(&self) -> bool {
        self.pass.is_some()
    }

    /// Fills the buffers that the function writes afresh, and counts a call.
    pub fn count(&mut self, meter: &mut Meter, measurement: &mut Measurement) {
        let Some(pass) = self.pass.take() else { return };
        let started = ticks();
        let first_call_us = measurement.cycles.first_call_ticks as f64 / meter.ticks_per_us;
        measurement.counts = if pass.has_time_for(first_call_us) {
            let KernelWork { call: plan, fill_seed, .. } = self.work;
            let written = |direction| direction != Direction::In;
            fill_buffers(plan, &self.buffers, &mut self.regions, *fill_seed, written);
            fault::note(|facts| facts.phase = Phase::Counting);
            // SAFETY: as for the measured calls, which used the same stack and buffers.
            unsafe { pass.count(&mut meter.session, &self.call, &meter.host) }
        } else {
            Counting::Impossible(NotCountable::TooLong)
        };
        measurement.phases.count_ns = self.prepared_ns + meter.nanoseconds(started, ticks());
    }

    /// The elements of every buffer, with its description, in order.
    pub fn elements(&mut self) -> impl Iterator<Item = (&Buffer, &mut [u8])> {
        let places = self.buffers.iter().zip(&mut self.regions);
        self.work
            .call
            .buffers
            .iter()
            .zip(places)
            .map(|(buffer, (place, region))| (buffer, place.elements(region)))
    }
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
pub fn run<'a>(
    work: &'a KernelWork,
    seed: u64,
    object: &[u8],
    counters: &mut OpenCounters,
    meter: &mut Meter,
) -> Done<'a> {
    let outcome = match load_and_measure(work, seed, object, counters, meter) {
        Ok((measurement, rest)) => {
            return Done { outcome: Outcome::Measured(Box::new(measurement)), rest: Some(rest) };
        }
        Err(Stop::Refused(refusal)) => Outcome::Refused(refusal),
        Err(Stop::Failed(failure)) => Outcome::Failed(failure),
    };
    Done { outcome, rest: None }
}

fn load_and_measure<'a>(
    work: &'a KernelWork,
    seed: u64,
    object: &[u8],
    counters: &mut OpenCounters,
    meter: &mut Meter,
) -> Result<(Measurement, Rest<'a>), Stop> {
    let mut draw = Draw::new(seed);
    let started = ticks();
    work.call.check()?;
    let Loaded { entry, function, stack, pass, prepared_ns } = load(&mut draw, work, object, meter)?;
    let loaded = ticks();
    let buffers = arena::place_buffers(&mut draw, &work.call)?;
    open(&stack)?;
    let mut regions = open_buffers(&buffers)?;
    fill_buffers(&work.call, &buffers, &mut regions, work.fill_seed, |_| true);
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
    let measurement = Measurement {
        entry: EntryPoint { symbol: entry.symbol, offset: entry.text_offset },
        returned: measured.returned,
        cycles: measured.cycles,
        counters: name_events(counters, measured.counters),
        // Sent as it is if the counted call raises a signal.
        counts: if pass.is_some() { Counting::Impossible(NotCountable::Faulted) } else { Counting::NotAsked },
        findings: measured.findings,
        phases: Phases {
            load_ns: meter.nanoseconds(started, loaded).saturating_sub(prepared_ns),
            fill_ns: meter.nanoseconds(loaded, filled),
            measure_ns: meter.nanoseconds(filled, ticks()),
            count_ns: prepared_ns,
        },
        outputs: Outputs::NotAsked,
    };
    let last_returned = measured.last_returned;
    Ok((measurement, Rest { call, work, last_returned, buffers, regions, pass, prepared_ns }))
}

/// An object in its place.
struct Loaded {
    entry: Entry,
    /// Address of the function.
    function: u64,
    /// Where its stack is to be.
    stack: Range<usize>,
    /// `None` if the job does not ask for counts.
    pass: Option<Pass>,
    /// Nanoseconds that preparing the pass took.
    prepared_ns: u64,
}

/// Loads the object at an address of its own, and prepares to count a call of its function.
fn load(draw: &mut Draw, work: &KernelWork, bytes: &[u8], meter: &Meter) -> Result<Loaded, Stop> {
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
    let function = base as u64 + entry.offset;
    let started = ticks();
    let copy = arena::place_copy(base);
    let copy_end = copy.end;
    let pass = match work.counts {
        true => Some(prepare_count(&mut regions, function, copy, work, meter)?),
        false => None,
    };
    let prepared_ns = meter.nanoseconds(started, ticks());
    for (rights, region) in regions {
        protect(rights, region)?;
    }
    Ok(Loaded {
        entry,
        function,
        stack: arena::place_stack(pass.as_ref().map_or(copy_end, Pass::start)),
        pass,
        prepared_ns,
    })
}

/// Analyses the code that was linked, and writes its counting copy in `room`.
fn prepare_count(
    segments: &mut [(Rights, Region)],
    function: u64,
    room: Range<usize>,
    work: &KernelWork,
    meter: &Meter,
) -> Result<Pass, Stop> {
    let mut text = Text { bytes: &[], address: function, entry: function };
    let mut data = Vec::with_capacity(2);
    for (rights, region) in segments {
        let address = region.address() as u64;
        let bytes: &[u8] = region.bytes_mut();
        match rights {
            Rights::ReadExecute => text = Text { bytes, address, entry: function },
            Rights::Read | Rights::ReadWrite => data.push((address, bytes)),
        }
    }
    let analysis = count::analyse(text, &data);
    count::pass::check_features(&analysis, meter.missing_features)?;
    // SAFETY: the room was drawn together with the image, and nothing else lies there.
    unsafe { Pass::prepare(analysis, text, room, work.effort) }.map_err(memory)
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

/// Opens the buffers.
fn open_buffers(places: &[BufferPlace]) -> Result<Vec<Region>, Stop> {
    places.iter().map(|place| open(&place.pages)).collect()
}

/// Fills the buffers of the directions that are wanted.
fn fill_buffers(
    plan: &CallPlan,
    places: &[BufferPlace],
    regions: &mut [Region],
    seed: u64,
    wanted: impl Fn(Direction) -> bool,
) {
    let buffers = plan.buffers.iter().zip(places).zip(regions).enumerate();
    for (index, ((buffer, place), region)) in buffers.filter(|(_, ((buffer, _), _))| wanted(buffer.direction))
    {
        fill(buffer, seed, index, place.elements(region));
    }
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
