//! The counted call of a job: prepared while memory can still be opened, made when the measuring is over.
//!
//! It comes last because it is one more call: the measured ones, the first above all, must find the function's data and
//! the caches as if nobody had counted. So the counts are of a call that finds buffers filled afresh (those the
//! function writes) but the object's own data as earlier calls left them.
//!
//! For a function of a hundred instructions it takes a warm process 6 µs and a worker, which does it once, some 35: the
//! rest is page faults and two system calls. That is why a quick job is counted only if it asks.

use std::ops::Range;

use webrunner_protocol::counts::{Counting, NotCountable};
use webrunner_protocol::job::Effort;
use webrunner_protocol::refusal::Refusal;

use super::{Analysis, Data, Ending, Features, Text, code_bytes, instrument, read, set_budget, totals};
use crate::measure::{self, Host, PreparedCall, Session};
use crate::sys::Errno;
use crate::sys::memory::{Access, PAGE, Region};

/// A counting copy that is ready to be called, or the reason there is none.
#[derive(Debug)]
pub struct Pass {
    analysis: Analysis,
    copy: Result<Ready, NotCountable>,
    /// First address that is taken.
    start: usize,
    limits: Limits,
}

#[derive(Debug)]
struct Ready {
    entry: u64,
    data: Region,
}

/// What a counted call may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Loop turns, calls and indirect branches: some 2 ns each.
    budget: u64,
    /// Microseconds the function's own first call may have taken; the copy is two to eight times slower.
    call_us: f64,
}

impl Limits {
    fn of(effort: Effort) -> Self {
        match effort {
            Effort::Quick => Self { budget: 1 << 20, call_us: 2e3 },
            Effort::Standard => Self { budget: 1 << 25, call_us: 1e5 },
            Effort::Thorough => Self { budget: 1 << 27, call_us: 4e5 },
        }
    }
}

/// Refuses code that this CPU would raise SIGILL for, or run as something else.
///
/// Code that asks which CPU it runs on, or that branches indirectly, may go round what is missing and is let through.
///
/// # Errors
/// [`Refusal::MissingFeatures`].
pub fn check_features(analysis: &Analysis, missing: Features) -> Result<(), Refusal> {
    let lacking = analysis.facts.requires.and(missing);
    if lacking.is_empty() || analysis.facts.asks_cpu || analysis.facts.indirect_branches {
        return Ok(());
    }
    let offset = analysis.first_needing(lacking).unwrap_or_default();
    Err(Refusal::MissingFeatures { features: lacking.names(), offset })
}

impl Pass {
    /// Writes the copy of an analysed function at the top of `room`, which lies below the text.
    ///
    /// # Safety
    /// Nothing in `room` was opened before in this process.
    ///
    /// # Errors
    /// If memory cannot be opened or protected.
    pub unsafe fn prepare(
        analysis: Analysis,
        text: Text<'_>,
        room: Range<usize>,
        effort: Effort,
    ) -> Result<Self, Errno> {
        let pages = |bytes: usize| bytes.div_ceil(PAGE).max(1) * PAGE;
        let (code, data) = (pages(code_bytes(&analysis)), pages(Data::bytes(&analysis)));
        let mut start = room.end;
        let copy = match &analysis.too_large {
            Some(too_large) => Err(too_large.clone()),
            None if code + data > room.len() => Err(NotCountable::Place),
            None => {
                start = room.end - code - data;
                // SAFETY: a part of `room`.
                let region = unsafe { Region::open(start..room.end)? };
                let (data, code) = region.split(data)?;
                write(&analysis, text, (code, data))?
            }
        };
        Ok(Self { analysis, copy, start, limits: Limits::of(effort) })
    }

    /// First address that the copy takes of its room; the room's end if there is no copy.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// Whether a function of which a call takes so many microseconds is to be called again to be counted.
    #[must_use]
    pub fn has_time_for(&self, call_us: f64) -> bool {
        call_us <= self.limits.call_us
    }

    /// Calls the copy once as `call` would call the function, and counts.
    ///
    /// # Safety
    /// As for [`measure::measure`].
    pub unsafe fn count(mut self, session: &mut Session, call: &PreparedCall, host: &Host) -> Counting {
        let ready = match &mut self.copy {
            Ok(ready) => ready,
            Err(reason) => return Counting::Impossible(reason.clone()),
        };
        set_budget(ready.data.bytes_mut(), self.limits.budget);
        // SAFETY: the copy does what the function does; the caller vouches for that.
        unsafe { measure::call_once(session, &call.at(ready.entry), host) };
        let (ending, counters) = read(&self.analysis, ready.data.bytes_mut());
        match ending {
            Ending::Returned => Counting::Counted(Box::new(totals(&self.analysis, &counters))),
            Ending::RanOut => Counting::RanOut(Box::new(totals(&self.analysis, &counters))),
            Ending::Stopped(reason) => Counting::Impossible(reason),
        }
    }
}

fn write(
    analysis: &Analysis,
    text: Text<'_>,
    (mut code, mut data): (Region, Region),
) -> Result<Result<Ready, NotCountable>, Errno> {
    let (code_address, data_address) = (code.address() as u64, data.address() as u64);
    let written =
        instrument(analysis, text, (code.bytes_mut(), code_address), (data.bytes_mut(), data_address));
    code.protect(Access::ReadExecute)?;
    Ok(written.map(|copy| Ready { entry: copy.entry, data }))
}
