//! The kernel job: load an object, place its buffers, call its function, measure the calls.
//!
//! Counting what a call executes is left for [`Rest::count`], when all else is known and held ready to be sent; showing
//! what the function computes is [`check`](crate::check)'s. Runs in the locked worker. Everything in the object and the
//! plan is hostile; what is refused is named.

use std::ops::Range;

use webrunner_protocol::counts::{Counting, NotCountable};
use webrunner_protocol::job::{Effort, KernelWork};
use webrunner_protocol::limits::MAX_PLACEMENTS;
use webrunner_protocol::passes::EventCounts;
use webrunner_protocol::plan::{Buffer, Direction};
use webrunner_protocol::refusal::Refusal;
use webrunner_protocol::reply::{
    CodeFacts, CycleSamples, EntryPoint, Measurement, Outcome, Outputs, Phases, Returned, WorkerFailure,
};

use crate::arena::{self, Draw};
use crate::buffers::Buffers;
use crate::count::{self, Features, Text, pass::Pass};
use crate::counters::OpenCounters;
use crate::fault::{self, ImageFacts, Phase};
use crate::load::{Entry, LinkError, Object, PAGE_BYTES, Rights};
use crate::measure::{self, Host, Measured, PreparedCall, Schedule, Session};
use crate::sys::keyed::{self, Key};
use crate::sys::memory::{Access, PAGE, Region};
use crate::sys::{Errno, ticks};
use crate::way_tags::WayTags;

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
    buffers: Buffers<'a>,
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
        let call_us = shortest_call_ticks(&measurement.cycles) / meter.ticks_per_us;
        measurement.counts = if pass.has_time_for(call_us) {
            self.buffers.fill(|direction| direction != Direction::In);
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
        self.buffers.elements()
    }
}

/// Ticks of the fastest call there was. The core may have been taken away during any one, the first above all.
pub fn shortest_call_ticks(cycles: &CycleSamples) -> f64 {
    let shortest = cycles.isolated.iter().copied().fold(f64::INFINITY, f64::min);
    (shortest * cycles.ticks_per_cycle).clamp(0.0, cycles.first_call_ticks as f64)
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
    // Sizes and indices of the plan are within their limits: what follows counts on it.
    work.call.check()?;
    let loaded = load(&mut draw, work, object, meter)?;
    let linked = ticks();
    // After the object, which says where the stack lies that they are kept away from.
    let mut buffers = open_memory(&mut draw, work, &loaded.stack, &meter.session)?;
    let filled = ticks();
    // From here on nothing may be opened or protected: what is left is the function's.
    keyed::forget(Key::Load);
    let call = prepare_call(work, &loaded, &buffers)?;
    // Only now: a fault before this is the worker's own, one after it is reported as the function's.
    note_running(&loaded.stack, &buffers);
    let measured = measure_call(work, &call, loaded.code.as_ref(), &mut buffers, counters, meter);
    let Loaded { entry, code, pass, prepared_ns, .. } = loaded;
    let measurement = Measurement {
        entry: EntryPoint { symbol: entry.symbol, offset: entry.text_offset },
        returned: measured.returned,
        cycles: measured.cycles,
        counters: measured.counters,
        events: EventCounts { passes: measured.passes, refused: counters.refused().to_vec() },
        // Sent as it is if the counted call raises a signal.
        counts: if pass.is_some() { Counting::Impossible(NotCountable::Faulted) } else { Counting::NotAsked },
        code,
        findings: measured.findings,
        phases: Phases {
            load_ns: meter.nanoseconds(started, linked).saturating_sub(prepared_ns),
            fill_ns: meter.nanoseconds(linked, filled),
            measure_ns: meter.nanoseconds(filled, ticks()),
            count_ns: prepared_ns,
        },
        outputs: Outputs::NotAsked,
    };
    let last_returned = measured.last_returned;
    Ok((measurement, Rest { call, work, last_returned, buffers, pass, prepared_ns }))
}

/// Opens the stack and the buffers at places that get along with each other in the first-level cache, and fills the
/// buffers.
fn open_memory<'a>(
    draw: &mut Draw,
    work: &'a KernelWork,
    stack: &Range<usize>,
    session: &Session,
) -> Result<Buffers<'a>, Stop> {
    let mut tags = WayTags::new();
    tags.take(session.memory());
    tags.take(stack.end - PAGE..stack.end);
    let places = arena::place_buffers(draw, &work.call, work.options.guard, tags)?;
    open(stack)?;
    // SAFETY: these places were drawn for this job, and are opened here only.
    let mut buffers = unsafe { Buffers::open(work, places) }.map_err(memory)?;
    buffers.fill(|_| true);
    Ok(buffers)
}

/// Measures the function, and finds out which of the buffers that it reads it changed.
fn measure_call(
    work: &KernelWork,
    call: &PreparedCall,
    code: Option<&CodeFacts>,
    buffers: &mut Buffers<'_>,
    counters: &mut OpenCounters,
    meter: &mut Meter,
) -> Measured {
    let wide_vectors = code.is_some_and(|code| code.vector_bits > 128);
    let schedule = Schedule::of(work.effort).with(&work.options, wide_vectors);
    // Looking at all of them twice may take longer than a quick measurement.
    let before = (work.effort != Effort::Quick).then(|| buffers.digests());
    let Meter { session, host, .. } = meter;
    // SAFETY: the function lies in text that was just linked, the stack was just opened for it alone, and this process
    // exists to be lost: it holds nothing but this job and exits after its reply.
    let mut measured = unsafe { measure::measure(session, call, &schedule, host, counters, buffers) };
    measured.findings.mutated = before.map(|before| buffers.mutated(&before));
    measured
}

fn prepare_call(work: &KernelWork, loaded: &Loaded, buffers: &Buffers<'_>) -> Result<PreparedCall, Stop> {
    let stack_top = loaded.stack.end as u64;
    let (first, others) = (loaded.functions.first().copied().unwrap_or_default(), loaded.functions.get(1..));
    let call = PreparedCall::new(&work.call.arguments, &buffers.addresses(), first, stack_top)
        .map_err(|_| Stop::Failed(WorkerFailure::Internal))?
        .also_at(others.unwrap_or_default());
    Ok(if work.options.flush_denormals { call.flushing_denormals() } else { call })
}

/// An object in its places.
struct Loaded {
    entry: Entry,
    /// Addresses of the function, one for each place; at least one.
    functions: Vec<u64>,
    /// Where its stack is to be.
    stack: Range<usize>,
    /// What its code is like; `None` if that was not looked at.
    code: Option<CodeFacts>,
    /// `None` if the job does not ask for counts.
    pass: Option<Pass>,
    /// Nanoseconds that looking at the code and preparing the pass took.
    prepared_ns: u64,
}

/// Most bytes of an image that is linked at several places. Copies of a larger one would push each other out of the caches.
const MOST_REPEATED_BYTES: u64 = 1 << 20;

/// Bytes past a 64-byte boundary at which the function is to begin at each of several places.
const OFFSETS: [u64; MAX_PLACEMENTS] = [0, 16, 32, 48];

/// At how many places the object of a job is linked.
fn places(work: &KernelWork, image_bytes: u64) -> usize {
    if work.effort == Effort::Quick || image_bytes > MOST_REPEATED_BYTES {
        return 1;
    }
    usize::from(work.options.placements).clamp(1, MAX_PLACEMENTS)
}

/// Loads the object at addresses of its own, and prepares to count a call of its function where it lies first.
///
/// At a single place it lies as it came; at several, so that the function begins at another offset of a line each time.
fn load(draw: &mut Draw, work: &KernelWork, bytes: &[u8], meter: &Meter) -> Result<Loaded, Stop> {
    let mut object = Object::parse(bytes)?;
    let entry = object.entry(&work.entry)?;
    let places = places(work, object.layout().bytes);
    let most_bytes = object.layout().bytes + if places > 1 { PAGE_BYTES } else { 0 };
    let bases = arena::place_images(draw, most_bytes, places);
    let room = arena::place_copy(bases.first().copied().unwrap_or_default());
    let mut stack = arena::place_stack(room.start);
    let mut functions = Vec::with_capacity(places);
    let (mut code, mut pass, mut prepared_ns) = (None, None, 0);
    for (number, (base, offset)) in bases.into_iter().zip(OFFSETS).enumerate() {
        let shift = if places > 1 { object.shift_text(entry.text_offset, offset)? } else { 0 };
        let function = base as u64 + entry.offset + shift;
        let mut segments = link(&object, base)?;
        if number == 0 && (work.counts || work.effort != Effort::Quick) {
            let started = ticks();
            (code, pass) = prepare(&mut segments, (function, shift), room.clone(), work, meter)?;
            stack = arena::place_stack(pass.as_ref().map_or(room.end, Pass::start));
            prepared_ns = meter.nanoseconds(started, ticks());
        }
        protect(number, function, segments)?;
        functions.push(function);
    }
    Ok(Loaded { entry, functions, stack, code, pass, prepared_ns })
}

/// Links the object at `base`; nothing is protected yet.
fn link(object: &Object<'_>, base: usize) -> Result<Vec<(Rights, Region)>, Stop> {
    let layout = object.layout();
    let mut segments = Vec::with_capacity(layout.segments.len());
    for segment in &layout.segments {
        let start = base + segment.offset as usize;
        // SAFETY: segments of a layout do not overlap, and neither do the images of this job.
        let region = unsafe { Region::open(start..start + segment.bytes as usize) }.map_err(memory)?;
        segments.push((segment.rights, region));
    }
    let mut slices: Vec<&mut [u8]> = segments.iter_mut().map(|(_, region)| region.bytes_mut()).collect();
    object.link(base as u64, &mut slices).map_err(|error| match error {
        LinkError::Object(refusal) => Stop::Refused(refusal.into()),
        LinkError::Base { .. } | LinkError::Memory => Stop::Failed(WorkerFailure::Internal),
    })?;
    Ok(segments)
}

/// Looks at the code that was linked and, if the job asks for counts, writes its counting copy in `room`.
///
/// The text is taken from where the object's own begins, `shift` bytes into its segment, so that whatever is said of it is
/// said by offsets that the client can look up.
fn prepare(
    segments: &mut [(Rights, Region)],
    (function, shift): (u64, u64),
    room: Range<usize>,
    work: &KernelWork,
    meter: &Meter,
) -> Result<(Option<CodeFacts>, Option<Pass>), Stop> {
    let mut text = Text { bytes: &[], address: function, entry: function };
    let mut data = Vec::with_capacity(2);
    for (rights, region) in segments {
        let address = region.address() as u64;
        let bytes: &[u8] = region.bytes_mut();
        match rights {
            Rights::ReadExecute => {
                let bytes = bytes.get(shift as usize..).unwrap_or_default();
                text = Text { bytes, address: address + shift, entry: function };
            }
            Rights::Read | Rights::ReadWrite => data.push((address, bytes)),
        }
    }
    let analysis = count::analyse(text, &data);
    count::pass::check_features(&analysis, meter.missing_features)?;
    let code = Some(analysis.facts.to_reply(count::stack_use(&analysis, text)));
    if !work.counts {
        return Ok((code, None));
    }
    // SAFETY: the room was drawn together with the images, and nothing else lies there.
    let pass = unsafe { Pass::prepare(analysis, text, room, work.effort) }.map_err(memory)?;
    Ok((code, Some(pass)))
}

/// Gives the segments of a linked image their final rights, and tells the fault report about them.
fn protect(place: usize, function: u64, segments: Vec<(Rights, Region)>) -> Result<(), Stop> {
    let mut image = ImageFacts { function, ..ImageFacts::none() };
    for (rights, region) in segments {
        let range = region.range();
        match rights {
            Rights::ReadExecute => {
                image.text = range;
                region.protect(Access::ReadExecute).map_err(memory)?;
            }
            Rights::Read => {
                image.read_only = range;
                region.protect(Access::Read).map_err(memory)?;
            }
            Rights::ReadWrite => image.data = range,
        }
    }
    fault::note(|facts| facts.images[place] = image);
    Ok(())
}

fn open(range: &Range<usize>) -> Result<Region, Stop> {
    // SAFETY: places do not overlap, and each is opened once.
    unsafe { Region::open(range.clone()) }.map_err(memory)
}

fn note_running(stack: &Range<usize>, buffers: &Buffers<'_>) {
    fault::note(|facts| {
        facts.stack = stack.clone();
        for (known, place) in facts.buffers.iter_mut().zip(buffers.places()) {
            *known = place.address..place.address + place.bytes;
        }
        facts.phase = Phase::Running;
    });
}
