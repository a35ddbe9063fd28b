//! One worker's life: set itself up, forget the set-up key, read one job, do it, write one reply, exit. A job that is
//! checked has frames of outputs around its reply, and a challenge after it ([`check`]).
//!
//! A worker is born locked and trusts nothing it reads. It is never used twice. From the moment it has read its job it
//! can do no more than the filter's open rules allow, but for opening its job's memory, and it loses that before it
//! calls into the object.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use webrunner_protocol::check::{CallRecord, Challenge};
use webrunner_protocol::codec;
use webrunner_protocol::control::WorkerProfile;
use webrunner_protocol::events::EventSet;
use webrunner_protocol::frame::{JobHeader, OutputsHeader, ReplyHeader};
use webrunner_protocol::ids::JobId;
use webrunner_protocol::job::{Job, Work};
use webrunner_protocol::limits::MAX_REPLY_BYTES;
use webrunner_protocol::reply::{Outcome, Outputs, Reply, WorkerFailure};

use crate::check;
use crate::counters::pmu::KernelPmu;
use crate::counters::{EventTable, OpenCounters};
use crate::fault::{self, Phase};
use crate::kernel_job::{self, Meter, Rest};
use crate::lockdown::Lock;
use crate::space::{self, FRAME_BYTES};
use crate::sys::keyed::{self, Birth, Key};
use crate::sys::{self, Errno, fd, process};

/// What every worker of a zygote is like; made before the lock.
pub struct Profile {
    /// Events to count.
    pub events: EventTable,
    /// CPU seconds after which it is stopped.
    pub cpu_seconds: u32,
    /// What jobs are measured with.
    pub meter: Meter,
    /// Whether it may have children, as only workers for tests may.
    pub lock: Lock,
}

/// Exit code of a worker that could not set itself up.
const EXIT_SETUP: i32 = 71;

// A job's frame makes place for the reply's: a page less to bring in for each worker.
const _: () = assert!(LONGEST_WRITE <= FRAME_BYTES);

/// Most bytes the filter lets pass in one write.
const LONGEST_WRITE: usize = ReplyHeader::BYTES + MAX_REPLY_BYTES;

/// Bytes of the frame that are a reply's. Placed with the other small statics that a worker writes, so that they share
/// a page.
#[unsafe(link_section = ".data.webrunner")]
static HELD: AtomicUsize = AtomicUsize::new(0);

/// The profile every worker begins with; null until [`prepare`].
static PROFILE: AtomicPtr<Profile> = AtomicPtr::new(ptr::null_mut());

/// Keeps what workers are to be like, in memory that they share with the zygote until one of them writes to it.
pub fn prepare(profile: Profile) {
    PROFILE.store(Box::leak(Box::new(profile)), Ordering::Relaxed);
}

/// How a worker with this job socket begins.
///
/// It is told so in one register: its job socket, and above that what it is to be ready for. Events are told by their
/// address: they lie on the heap, which forks copy, while the zygote's stack is kept out of them.
#[must_use]
pub fn birth(socket: i32, kind: &WorkerProfile) -> Birth {
    let kind = match kind {
        WorkerProfile::Plain => PLAIN,
        WorkerProfile::Counting => COUNTING,
        WorkerProfile::Events(set) => ptr::from_ref::<EventSet>(set) as usize,
    };
    Birth { live, argument: kind << SOCKET_BITS | socket as u16 as usize }
}

/// Bits of the number of a job socket; addresses leave as many free.
const SOCKET_BITS: u32 = u16::BITS;

/// Stand for what is no address.
const PLAIN: usize = 0;
const COUNTING: usize = 1;

/// Lives, in the process just forked. The argument is [`birth`]'s.
extern "C" fn live(argument: usize) -> ! {
    let (socket, kind) = (i32::from(argument as u16), argument >> SOCKET_BITS);
    let shared = PROFILE.load(Ordering::Relaxed);
    if shared.is_null() {
        sys::exit(EXIT_SETUP);
    }
    // SAFETY: `prepare` stored a valid profile that is never freed. This process takes it over; the original belongs to
    // another one.
    let mut profile = unsafe { ptr::read(shared) };
    let Ok(mut counters) = set_up(socket, &profile, kind) else { sys::exit(EXIT_SETUP) };
    keyed::forget(Key::Setup);
    // SAFETY: `live` runs once in a process and is the only place that borrows this.
    let buffer = unsafe { &mut *space::frame() };
    warm_up(buffer, &mut profile.meter);
    let reply = match receive(buffer) {
        Ok(Some((job, object))) => {
            fault::note(|facts| (facts.phase, facts.job) = (Phase::Preparing, job.id));
            match &job.work {
                Work::Kernel(work) => {
                    let meter = &mut profile.meter;
                    let done = kernel_job::run(work, job.layout_seed, object, &mut counters, meter);
                    finish(Reply { job: job.id, outcome: done.outcome }, done.rest, meter)
                }
            }
        }
        Ok(None) => sys::exit(0),
        Err(failure) => Reply { job: JobId(0), outcome: Outcome::Failed(failure) },
    };
    send_and_exit(&reply)
}

/// Shows, counts and sends what is left to be shown, counted and sent.
fn finish(mut reply: Reply, rest: Option<Rest<'_>>, meter: &mut Meter) -> Reply {
    let (Some(mut rest), Outcome::Measured(measurement)) = (rest, &mut reply.outcome) else { return reply };
    let outputs = check::show_measured(&mut rest, measurement, meter);
    if rest.is_uncounted() {
        // What is sent if the counted call raises a signal.
        measurement.outputs = if outputs == Outputs::Shown { Outputs::Lost } else { outputs };
        hold(&reply);
    }
    let Outcome::Measured(measurement) = &mut reply.outcome else { return reply };
    rest.count(meter, measurement);
    measurement.outputs = outputs;
    if outputs == Outputs::Shown {
        hold(&reply);
        send_held();
        check::answer_challenge(&mut rest, meter);
        end()
    }
    reply
}

fn set_up(socket: i32, profile: &Profile, kind: usize) -> Result<OpenCounters, Errno> {
    process::keep_only_job_socket(socket)?;
    process::die_with_parent()?;
    let cpu = u64::from(profile.cpu_seconds);
    // The soft limit raises SIGXCPU, which is reported; the hard one is for a worker that cannot report.
    process::limit(libc::RLIMIT_CPU, cpu, cpu + 1)?;
    if profile.lock.has_second_line() {
        process::limit(libc::RLIMIT_NPROC, 0, 0)?;
    }
    Ok(match kind {
        PLAIN => OpenCounters::default(),
        COUNTING => profile.events.open(KernelPmu),
        // SAFETY: `birth` gave the address of a set on the zygote's heap, which lived until this process had its copy.
        set => profile.events.open_others(KernelPmu, unsafe { &*(set as *const EventSet) }),
    })
}

/// Touches what the job will write, so that those pages are there when it comes.
fn warm_up(frame: &mut [u8; FRAME_BYTES], meter: &mut Meter) {
    // SAFETY: a valid exclusive reference; volatile so that the write is made.
    unsafe { ptr::write_volatile(&raw mut frame[0], 0) };
    meter.session.touch();
    touch_stack();
    std::hint::black_box(vec![1_u8; HEAP_WARM_BYTES]);
}

/// Bytes of the heap a small job uses.
const HEAP_WARM_BYTES: usize = 4096;

/// Writes to as much of the stack as a small job uses.
#[inline(never)]
fn touch_stack() {
    let mut space = [MaybeUninit::<u8>::uninit(); 8 << 10];
    // Shown to what the compiler cannot see: of an array that nobody looks at as a whole it keeps the single bytes.
    let space = std::hint::black_box(&mut space);
    for at in (0..space.len()).step_by(sys::memory::PAGE) {
        space[at].write(0);
    }
    std::hint::black_box(space);
}

/// Reads one job; `None` if the supervisor let go of the worker instead.
fn receive(buffer: &mut [u8; FRAME_BYTES]) -> Result<Option<(Job, &[u8])>, WorkerFailure> {
    let mut have = 0;
    let mut want = JobHeader::BYTES;
    let mut header = None;
    while have < want {
        match sys::read(fd::JOB, &mut buffer[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(WorkerFailure::Job),
            Ok(count) => have += count,
            Err(Errno(libc::EINTR)) => {}
            Err(_) => return Err(WorkerFailure::Job),
        }
        if header.is_none()
            && let Some(start) = buffer[..have].first_chunk()
        {
            let parsed = JobHeader::parse(start).map_err(|_| WorkerFailure::Job)?;
            want = JobHeader::BYTES + parsed.job_bytes as usize + parsed.object_bytes as usize;
            header = Some(parsed);
        }
    }
    let (Some(header), true) = (header, have == want) else { return Err(WorkerFailure::Job) };
    let (job, object) = buffer[JobHeader::BYTES..want].split_at(header.job_bytes as usize);
    let job = codec::decode(job).map_err(|_| WorkerFailure::Job)?;
    Ok(Some((job, object)))
}

/// Puts a reply in place, so that the signal handler can send it.
fn hold(reply: &Reply) {
    // SAFETY: one thread, and whoever held the job's frame is done with it: `reply` owns all it says. The signal handler
    // may take the buffer over from the code it interrupted, which never runs again.
    let buffer = unsafe { &mut *space::frame() };
    let (header, body) = buffer[..LONGEST_WRITE].split_at_mut(ReplyHeader::BYTES);
    let len = match codec::encode_into(reply, body) {
        Ok(len) => len,
        Err(_) => {
            let failed = Reply { job: reply.job, outcome: Outcome::Failed(WorkerFailure::Internal) };
            codec::encode_into(&failed, body).unwrap_or(0)
        }
    };
    header.copy_from_slice(&ReplyHeader { reply_bytes: len as u32 }.to_bytes());
    HELD.store(ReplyHeader::BYTES + len, Ordering::Relaxed);
}

/// Writes the one reply and exits. Called by the worker at its end and by the signal handler; allocates nothing.
pub fn send_and_exit(reply: &Reply) -> ! {
    hold(reply);
    send_held_and_exit()
}

/// Writes the reply that is held, and exits.
pub fn send_held_and_exit() -> ! {
    send_held();
    end()
}

fn send_held() {
    // SAFETY: as in `hold`; nothing writes any more.
    let buffer = unsafe { &*space::frame() };
    // The function under test may have written over the length; a reply cut or torn is refused by the supervisor.
    send(buffer.get(..HELD.load(Ordering::Relaxed)).unwrap_or_default());
}

/// Writes all of `unsent`, no more at a time than the filter lets pass.
fn send(mut unsent: &[u8]) {
    while !unsent.is_empty() {
        match sys::write(fd::JOB, &unsent[..unsent.len().min(LONGEST_WRITE)]) {
            Ok(sent) => unsent = &unsent[sent.min(unsent.len())..],
            Err(_) => break,
        }
    }
}

/// Sends a frame of outputs: the call's record, then the elements of each buffer.
///
/// Small buffers are gathered, so that the supervisor is woken once.
pub fn send_outputs<'a>(record: CallRecord, bytes: usize, buffers: impl Iterator<Item = &'a [u8]>) {
    // SAFETY: one thread, and neither the job's frame nor a reply is in there now: the first is read, and the second sent
    // or yet to be held.
    let space = unsafe { &mut *space::frame() };
    let header = OutputsHeader { outputs_bytes: bytes as u32 }.to_bytes();
    let mut gathered = header.len() + CallRecord::BYTES;
    space[..header.len()].copy_from_slice(&header);
    space[header.len()..gathered].copy_from_slice(&record.to_bytes());
    for buffer in buffers {
        if gathered + buffer.len() > LONGEST_WRITE {
            send(&space[..gathered]);
            gathered = 0;
        }
        if buffer.len() > LONGEST_WRITE {
            send(buffer);
        } else {
            space[gathered..gathered + buffer.len()].copy_from_slice(buffer);
            gathered += buffer.len();
        }
    }
    send(&space[..gathered]);
}

/// Reads the challenge; `None` if the supervisor has none.
pub fn receive_challenge() -> Option<Challenge> {
    let mut bytes = [0; Challenge::BYTES];
    let mut have = 0;
    while have < bytes.len() {
        match sys::read(fd::JOB, &mut bytes[have..]) {
            Ok(0) => return None,
            Ok(count) => have += count,
            Err(Errno(libc::EINTR)) => {}
            Err(_) => return None,
        }
    }
    Challenge::parse(&bytes)
}

/// Says that nothing more comes, and exits.
fn end() -> ! {
    // The supervisor waits for the end of the stream; it need not wait for the end of the process too.
    let _ = sys::end_of_writing(fd::JOB);
    sys::exit(0)
}
