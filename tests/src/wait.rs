//! Waiting for what must come about: looks again and again, and gives up loudly.
//!
//! No test asserts how long anything takes; the limit only keeps a failure from hanging for ever.

use std::thread;
use std::time::{Duration, Instant};

/// Far longer than anything waited for takes, even on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Looks until `look` gives something.
///
/// # Panics
/// If it never does; `what` says what was waited for.
pub fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {LIMIT:?} in vain until {what}");
        thread::sleep(PAUSE);
    }
}

/// Looks until `holds`.
///
/// # Panics
/// As [`until_some`].
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_some(what, || holds().then_some(()));
}
