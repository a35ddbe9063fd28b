//! Calls the function under test, or a built-in one in its place, and keeps what the function was found to do wrong.
//!
//! This is the only user of the trampoline. It holds the promise made to [`Caller::new`], that the function may be
//! called at all, so that everything above it is safe code.

use webrunner_protocol::limits::MAX_PLACEMENTS;
use webrunner_protocol::reply::{Findings, Returned};

use super::builtin;
use super::call::PreparedCall;
use super::calling::{Calling, Looks};
use super::cpu::{self, XINUSE_YMM_UPPER, XINUSE_ZMM_UPPER};
use super::host::Host;
use super::trampoline::{Left, Session, Target};
use crate::sys::{self, rseq};

/// Status flags of MXCSR, which any floating-point code may set; the rest are control bits and belong to the caller.
const MXCSR_STATUS: u32 = 0x3F;

/// x87 control word after `fninit`.
const X87_CONTROL: u16 = 0x37F;

/// x87 tag word of an empty stack.
const X87_EMPTY: u16 = 0xFFFF;

/// DF in `rflags`.
const DIRECTION_FLAG: u64 = 1 << 10;

/// Ticks that two stamps show although nothing stands between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Stamp {
    batch: f64,
    clock: f64,
}

impl Stamp {
    /// Measures batches of no calls, and what is left of a clock when its turns are taken out.
    pub(super) fn calibrate(session: &mut Session) -> Self {
        const TURNS: u64 = 4;
        // SAFETY: a batch of no calls uses neither function nor stack.
        let batch = steady_mean(|| unsafe { session.batch(Target::Empty, 0, 0) });
        let once = steady_mean(|| builtin::imul_clock(TURNS));
        let twice = steady_mean(|| builtin::imul_clock(2 * TURNS));
        Self { batch, clock: (2.0 * once - twice).clamp(0.0, 2.0 * batch) }
    }
}

/// Core cycles that calling costs on a core that nothing else uses: those of a call of the short chain that are not the
/// chain's.
///
/// Looks for six milliseconds, since for one a neighbour may be as even as none; then on, for up to fifty, until a
/// quarter of the looks of a series find the core quiet. Each series has a floor of its own: the lowest few of thousands
/// of looks are those whose clock was slow, and a floor made of them is one that no job ever reaches.
pub(super) fn calling_cycles(session: &mut Session, stamp: Stamp, avx: bool) -> f64 {
    const LOOKS: usize = 64;
    const FEWEST_SERIES: usize = 4;
    const MOST_SERIES: usize = 32;
    const CALLS: u64 = 256;
    const TURNS: u64 = 256;
    const CLOCKS_APART: f64 = 0.01;
    let mut stack = [0_u128; 64];
    let chain = builtin::short_chain();
    let top = stack.as_mut_ptr_range().end as u64;
    session.load(&PreparedCall::without_arguments(chain, top), avx, false);
    let clock =
        || without(stamp.clock, builtin::imul_clock(TURNS)) / (TURNS as f64 * builtin::IMUL_CLOCK_CYCLES);
    let mut look = || {
        let before = clock();
        // SAFETY: the chain takes no arguments and uses of the stack only what holds its return address; the stack is this
        // function's own.
        let ticks = unsafe { session.batch(Target::ShortChain, chain, CALLS) };
        let after = clock();
        let agree = before.max(after) <= before.min(after) * (1.0 + CLOCKS_APART);
        let call = without(stamp.batch, ticks) / CALLS as f64;
        if agree { call / f64::midpoint(before, after) - builtin::SHORT_CHAIN as f64 } else { f64::INFINITY }
    };
    let (mut shown, mut lowest) = (f64::INFINITY, f64::INFINITY);
    for series in 1..=MOST_SERIES {
        let mut looks = [0.0; LOOKS];
        looks.fill_with(&mut look);
        let mut calling = Calling::new(f64::INFINITY);
        looks.iter().for_each(|&cycles| calling.note(cycles));
        let said: Looks = looks.iter().map(|&cycles| calling.look(cycles)).collect();
        lowest = lowest.min(calling.cycles());
        if 4 * said.quiet >= LOOKS && said.show_floor() {
            shown = shown.min(calling.cycles());
        }
        if series >= FEWEST_SERIES && shown.is_finite() {
            break;
        }
    }
    if shown.is_finite() { shown } else { lowest }
}

/// The mean of many readings, the slowest tenth left out, in which something else happened.
///
/// The counter may step by tens of ticks, so a median would not see below a step.
fn steady_mean(mut read: impl FnMut() -> u64) -> f64 {
    const READINGS: usize = 320;
    let mut found = [0; READINGS];
    found.fill_with(&mut read);
    found.sort_unstable();
    let kept = &found[..READINGS * 9 / 10];
    kept.iter().sum::<u64>() as f64 / kept.len() as f64
}

/// Ticks without the stamps' own; never less than one, so that a ratio of two is a number.
fn without(stamps: f64, ticks: u64) -> f64 {
    (ticks as f64 - stamps).max(1.0)
}

/// The core at the beginning of a watch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    core: u32,
}

/// What became of the process's core during a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Happened {
    /// It was taken away, and given back.
    pub(super) preempted: bool,
    /// Another was given in its place.
    pub(super) moved: bool,
}

/// A batch by the time that its process had the core.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct OwnTime {
    /// Ticks in which the process ran.
    pub(super) ticks: f64,
    /// Whether it did not run all the time.
    pub(super) interrupted: bool,
}

/// What a process must have lacked of the core to count as interrupted, in microseconds, and as a part of the time that
/// passed: a tick interrupt takes some, and the kernel's clock and the time stamp counter are matched no better.
const LACKING_US: f64 = 10.0;
const LACKING_PART: f64 = 1e-3;

impl OwnTime {
    /// Of a batch of `ticks`, while `passed` ticks went by and the process ran for `had`.
    fn of(ticks: f64, passed: f64, had: f64, ticks_per_us: f64) -> Self {
        let lacking = passed - had;
        let interrupted = lacking > (LACKING_US * ticks_per_us).max(LACKING_PART * passed);
        Self { ticks: if interrupted { (ticks - lacking).max(1.0) } else { ticks }, interrupted }
    }
}

/// The trampoline, loaded with one call.
#[derive(Debug)]
pub(super) struct Caller<'session> {
    session: &'session mut Session,
    functions: [u64; MAX_PLACEMENTS],
    places: u8,
    mxcsr: u32,
    expected_rsp: u64,
    stamp: Stamp,
    core_tag: bool,
    tells_preemption: bool,
    ticks_per_us: f64,
    findings: Findings,
    returned: Returned,
}

impl<'session> Caller<'session> {
    /// Loads the trampoline with `call`.
    ///
    /// # Safety
    /// As for [`measure`](super::measure): for as long as the caller is used, the function may be called and
    /// its stack is nobody else's.
    pub(super) unsafe fn new(session: &'session mut Session, host: &Host, call: &PreparedCall) -> Self {
        session.load(call, host.avx, host.tracks_upper);
        Self {
            session,
            functions: call.functions,
            places: call.places,
            mxcsr: call.mxcsr,
            expected_rsp: call.stack_at_call(),
            stamp: host.stamp,
            core_tag: host.core_tag,
            tells_preemption: host.tells_preemption,
            ticks_per_us: host.ticks_per_us,
            findings: Findings { dirty_upper: host.tracks_upper.then_some(false), ..Findings::default() },
            returned: Returned { integer: 0, vector: 0 },
        }
    }

    /// Calls the function once and gives what that call took and what it returned.
    pub(super) fn first_call(&mut self) -> (OwnTime, Returned) {
        // SAFETY: a batch of no calls uses neither function nor stack. It brings in the pages of the trampoline, which
        // a process just forked would otherwise fault on within the first call.
        unsafe { self.session.batch(Target::Function(0), self.functions[0], 0) };
        (self.own_time(Target::Function(0), 1), self.returned)
    }

    /// Makes `calls` calls of `target` as [`Self::batch`] does, and leaves out the time in which the core was somebody
    /// else's.
    ///
    /// Makes a system call before, and another where the batch took long enough to be interrupted; neither within the
    /// time that is taken. Good to some microseconds where the core was taken away, so only for batches that are long
    /// beside that.
    pub(super) fn own_time(&mut self, target: Target, calls: u64) -> OwnTime {
        let before = sys::cpu_time_ns();
        let start = cpu::ticks();
        let ticks = self.batch(target, calls);
        let passed = cpu::ticks().saturating_sub(start) as f64;
        let had = || {
            let ran_ns = sys::cpu_time_ns().ok()?.saturating_sub(before.ok()?);
            Some(ran_ns as f64 * self.ticks_per_us / 1e3)
        };
        match if passed > LACKING_US * self.ticks_per_us { had() } else { None } {
            Some(had) => OwnTime::of(ticks, passed, had, self.ticks_per_us),
            None => OwnTime { ticks, interrupted: false },
        }
    }

    /// Makes `calls` calls of `target`, at least one, and gives the ticks they took together.
    pub(super) fn batch(&mut self, target: Target, calls: u64) -> f64 {
        let address = match target {
            Target::Function(place) | Target::BackToBack(place) => {
                self.functions[usize::from(place % self.places)]
            }
            Target::ShortChain => builtin::short_chain(),
            Target::LongChain => builtin::long_chain(),
            Target::Empty => builtin::empty(),
        };
        // SAFETY: `Caller::new` was promised that the function may be called on the stack that is loaded; the
        // built-in functions take no arguments and use of the stack only what holds their return address.
        let ticks = unsafe { self.session.batch(target, address, calls.max(1)) };
        if matches!(target, Target::Function(_) | Target::BackToBack(_)) {
            let left = self.session.left();
            self.note(&left);
        }
        without(self.stamp.batch, ticks)
    }

    /// Ticks of `turns` turns of dependent additions.
    pub(super) fn add_clock(&self, turns: u64) -> f64 {
        without(self.stamp.clock, builtin::add_clock(turns))
    }

    /// Ticks of `turns` turns of dependent multiplications.
    pub(super) fn imul_clock(&self, turns: u64) -> f64 {
        without(self.stamp.clock, builtin::imul_clock(turns))
    }

    /// Addresses of the function, one for each of its places.
    pub(super) fn functions(&self) -> &[u64] {
        &self.functions[..usize::from(self.places)]
    }

    /// Begins to watch whether the process keeps its core.
    pub(super) fn watch(&self) -> Watch {
        if self.tells_preemption {
            rseq::arm();
        }
        Watch { core: self.core() }
    }

    /// What happened since: whether the core was taken away, and whether the process now runs on another.
    pub(super) fn happened_since(&self, watch: &Watch) -> Happened {
        Happened { preempted: self.tells_preemption && !rseq::armed(), moved: self.core() != watch.core }
    }

    /// Whether [`Self::happened_since`] can tell that the core was taken away.
    pub(super) fn tells_preemption(&self) -> bool {
        self.tells_preemption
    }

    /// A number that changes when the process is moved to another core; always 0 where the CPU cannot tell.
    fn core(&self) -> u32 {
        if !self.core_tag {
            return 0;
        }
        // SAFETY: `Host::probe` found the instruction.
        unsafe { cpu::core_tag() }
    }

    /// What the last call of the function returned.
    pub(super) fn returned(&self) -> Returned {
        self.returned
    }

    /// What all calls of the function so far were found to have left behind.
    pub(super) fn findings(&self) -> Findings {
        self.findings
    }

    fn note(&mut self, left: &Left) {
        self.returned = Returned { integer: left.rax, vector: left.xmm0 };
        let findings = &mut self.findings;
        findings.clobbered |= left.clobbered;
        findings.stack_pointer |= left.rsp != self.expected_rsp;
        findings.direction_flag |= left.flags & DIRECTION_FLAG != 0;
        findings.mxcsr |= (left.mxcsr ^ self.mxcsr) & !MXCSR_STATUS != 0;
        findings.x87 |= left.x87_control != X87_CONTROL || left.x87_tags != X87_EMPTY;
        if let Some(dirty) = &mut findings.dirty_upper {
            *dirty |= left.upper_halves & (XINUSE_YMM_UPPER | XINUSE_ZMM_UPPER) != 0;
        }
    }
}
