//! Calls a function many times and measures the core cycles of a call by the `tsc-chain` method.
//!
//! Runs inside a locked worker: of the kernel it asks how much CPU time it has had, around single calls, and through
//! [`Counters`] what events it counted, around batches; nothing else. It keeps nothing per thread, and allocates a few
//! vectors of known size. The function under test is hostile. It shares this process, so it can spoil its own answer or
//! end the process; the harness only has to survive what a careless function does, and to say so ([`Findings`]). The
//! supervisor checks every figure and holds the deadline.
//!
//! # Layout
//!
//! - [`call`](PreparedCall): arguments to registers and stack. [`host`](Host): what is known of the machine.
//! - `trampoline`, `builtin`, `cpu`: the assembly. `caller` is the only user of the first, and safe to use.
//! - `gated` and `quick`: the two ways to make rounds. `round`: the fit, and which rounds count. `calling`: what calling
//!   costs on a core that nothing else uses.
//! - `placement`: which of the function's places count. `cold`: calls that find nothing in a cache.
//! - [`inputs`](Inputs): what the function's pointers point to.
//! - [`schedule`](Schedule): how much of everything. `sizing`: how many calls make a batch. `stats`: medians and their
//!   like.
//! - [`counters`](Counters): what a worker with counters adds; `passes`: hardware counters, a group at a time.
//!
//! The method, with the measurements that led to it, is described in `docs/method.md`.

mod builtin;
mod call;
mod caller;
mod calling;
mod cold;
mod counters;
mod cpu;
mod gated;
mod host;
mod inputs;
mod passes;
mod placement;
mod quick;
mod round;
mod schedule;
mod sizing;
mod stats;
mod trampoline;

use webrunner_protocol::job::Effort;
use webrunner_protocol::passes::PassCounts;
use webrunner_protocol::reply::{CounterReading, CycleSamples, Findings, Returned};

pub use call::{CallError, PreparedCall};
pub use counters::{Counters, GroupReading, NoCounters, Reading};
pub use host::Host;
pub use inputs::{Inputs, NoInputs};
pub use schedule::Schedule;
pub use trampoline::Session;

use caller::Caller;

/// What measuring a function gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Cycles per call.
    pub cycles: CycleSamples,
    /// What the first call returned.
    pub returned: Returned,
    /// What the last call returned.
    pub last_returned: Returned,
    /// What any call left behind that a caller would not expect.
    pub findings: Findings,
    /// Events over the function's isolated calls in the rounds that count, the trampoline's own included. `event` is
    /// the counter's place in [`Counters::read`]; empty where there are none.
    pub counters: Vec<CounterReading>,
    /// What hardware counters counted, pass by pass; empty where there are none, and where too little was measured.
    pub passes: Vec<PassCounts>,
}

/// What a function is measured with, whichever way rounds are made.
struct Bench<'run, C, I> {
    caller: Caller<'run>,
    schedule: &'run Schedule,
    host: &'run Host,
    counters: &'run mut C,
    inputs: &'run mut I,
}

impl<C, I: Inputs> Bench<'_, C, I> {
    /// Makes the inputs hold again what they held, if the job asks for that before each batch.
    fn restore(&mut self) {
        if self.schedule.restore {
            self.inputs.restore();
        }
    }
}

/// Calls the function of `call` once, then as often as `schedule` asks, and measures it.
///
/// Ends within the budget and a few calls; a function that does not return is for the supervisor's deadline to end.
///
/// # Safety
/// The function must be mapped executable code at each of its places, and `call`'s stack writable memory that nothing else
/// uses. The function may do to this process whatever its code says: the process must be one that nobody minds losing, and
/// nothing in its memory may be trusted afterwards by anyone but the client who sent the function.
pub unsafe fn measure(
    session: &mut Session,
    call: &PreparedCall,
    schedule: &Schedule,
    host: &Host,
    counters: &mut impl Counters,
    inputs: &mut impl Inputs,
) -> Measured {
    // SAFETY: what `Caller::new` asks is what this function asks.
    let caller = unsafe { Caller::new(session, host, call) };
    let mut bench = Bench { caller, schedule, host, counters, inputs };
    let (time, returned) = bench.caller.first_call();
    let first_call = time.ticks;
    let (mut cycles, counters, passes) = if first_call > host.ticks(schedule.first_call_alone_us) {
        (quick::first_call_alone(&mut bench, time), Vec::new(), Vec::new())
    } else if schedule.gated {
        gated::sample(&mut bench, first_call)
    } else {
        let (cycles, counters) = quick::sample(&mut bench, first_call);
        (cycles, counters, Vec::new())
    };
    if schedule.cold_calls > 0 {
        cycles.cold = Some(cold::sample(&mut bench, cycles.ticks_per_cycle));
    }
    Measured {
        cycles,
        returned,
        last_returned: bench.caller.returned(),
        findings: bench.caller.findings(),
        counters,
        passes,
    }
}

/// Calls the function of `call` once, in the state every measured call finds; gives the ticks it took and what it returned.
///
/// # Safety
/// As for [`measure`].
pub unsafe fn call_once(session: &mut Session, call: &PreparedCall, host: &Host) -> (f64, Returned) {
    // SAFETY: what `Caller::new` asks is what this function asks.
    let (time, returned) = unsafe { Caller::new(session, host, call) }.first_call();
    (time.ticks, returned)
}

/// Puts memory out of every cache, and waits until it is.
pub fn flush(bytes: &[u8], host: &Host) {
    let range = bytes.as_ptr_range();
    // SAFETY: a slice can be read, and the line that its end lies in is in the same page; `Host::probe` found the
    // instruction.
    unsafe { cpu::flush(range.start as usize, range.end as usize, host.clflushopt) };
}

/// Measures a built-in function in place of one, and forgets the answer.
///
/// A process just forked has most of its pages still to be brought in, at half a microsecond and more each. A worker
/// does this while it waits for its job, so that a quick measurement does not pay for it.
///
/// # Safety
/// The stack that ends at `stack_top`, a multiple of 16, must be writable memory that nothing else uses.
pub unsafe fn rehearse(session: &mut Session, stack_top: u64, host: &Host) {
    let call = PreparedCall::without_arguments(builtin::empty(), stack_top);
    // SAFETY: the empty function uses of its stack only the return address, and the caller vouches for the stack.
    let measured = unsafe {
        measure(session, &call, &Schedule::of(Effort::Quick), host, &mut NoCounters, &mut NoInputs)
    };
    std::hint::black_box(measured);
}
