//! How fast the time stamp counter runs, measured once in the zygote against the kernel's clock.

use std::time::{Duration, Instant};

use crate::sys::ticks;

/// How long to compare the two; at 1 us of noise per reading this is good to a few parts in ten thousand.
const SPAN: Duration = Duration::from_millis(5);

/// Ticks of the time stamp counter in a microsecond.
#[must_use]
pub fn ticks_per_microsecond() -> f64 {
    let (start, first) = (Instant::now(), ticks());
    while start.elapsed() < SPAN {
        core::hint::spin_loop();
    }
    let (last, elapsed) = (ticks(), start.elapsed());
    last.wrapping_sub(first) as f64 / elapsed.as_secs_f64() / 1e6
}
