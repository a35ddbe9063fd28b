//! When to try again what keeps failing, and from when on to say so: exponential back-off with a circuit breaker.
//!
//! The pause before an attempt doubles from 10 ms to 5 s, half of it by chance, so that cores which failed together do
//! not try again together. After [`TRIPPED_AT`] failures in a row the breaker is open: jobs are refused instead of
//! being left to hope, and readiness gives the reason. The first success closes it. However fast things fail, a line a
//! second is logged.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Shortest and longest pause.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));

/// Failures in a row after which nobody should wait for a success.
const TRIPPED_AT: u32 = 3;

/// A failure so long after the last one begins a new row.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

/// Time between two lines about failures.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// How often something has failed in a row, and why.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    reason: String,
    last: Option<Instant>,
    /// Whether the pause before the next attempt is on.
    pausing: bool,
    logged: Option<Instant>,
    unlogged: u64,
}

impl Backoff {
    /// Notes a failure. Gives the pause before the next attempt; nothing if one is on already, as when several attempts
    /// made at once all fail.
    pub(super) fn fail(&mut self, reason: String) -> Option<Duration> {
        self.fail_at(reason, Instant::now())
    }

    fn fail_at(&mut self, reason: String, now: Instant) -> Option<Duration> {
        self.reason = reason;
        if self.pausing {
            self.log(now);
            return None;
        }
        if self.last.is_some_and(|last| now.saturating_duration_since(last) > FORGOTTEN_AFTER) {
            self.failures = 0;
        }
        self.last = Some(now);
        self.failures = self.failures.saturating_add(1);
        self.pausing = true;
        self.log(now);
        let doublings = (self.failures - 1).min(16);
        Some(jittered((PAUSES.0 * (1 << doublings)).min(PAUSES.1)))
    }

    fn log(&mut self, now: Instant) {
        if self.logged.is_some_and(|logged| now.saturating_duration_since(logged) < LOG_EVERY) {
            self.unlogged += 1;
            return;
        }
        self.logged = Some(now);
        let (failures, unlogged) = (self.failures, std::mem::take(&mut self.unlogged));
        tracing::error!(failures, unlogged, "{}; trying again", self.reason);
    }

    /// The pause is over: an attempt is made.
    pub(super) fn attempt(&mut self) {
        self.pausing = false;
    }

    /// Whether attempts are to wait for the end of the pause.
    #[must_use]
    pub(super) fn is_pausing(&self) -> bool {
        self.pausing
    }

    /// Notes a success.
    pub(super) fn succeed(&mut self) {
        if self.tripped().is_some() {
            tracing::info!(failures = self.failures, "it works again: {}", self.reason);
        }
        self.failures = 0;
    }

    /// Why there is little hope, if there is.
    #[must_use]
    pub(super) fn tripped(&self) -> Option<&str> {
        (self.failures >= TRIPPED_AT).then_some(self.reason.as_str())
    }
}

/// Half of `pause`, and a part of the other half.
fn jittered(pause: Duration) -> Duration {
    // The standard library seeds each of its hash maps with random numbers.
    let chance = RandomState::new().hash_one(0_u8) as u32;
    pause / 2 + (pause / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails, and takes the attempt after the pause.
    fn fail(backoff: &mut Backoff, now: Instant) -> Duration {
        let pause = backoff.fail_at("no luck".into(), now).expect("a pause");
        backoff.attempt();
        pause
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for failures in 0..40 {
            let whole = (PAUSES.0 * (1 << failures.min(12))).min(PAUSES.1);
            let pause = fail(&mut backoff, now);
            assert!(pause >= whole / 2 && pause <= whole, "{failures}: {pause:?} of {whole:?}");
        }
        backoff.succeed();
        assert!(fail(&mut backoff, now) <= PAUSES.0);
    }

    #[test]
    fn attempts_that_fail_together_count_once() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        assert!(backoff.fail_at("one".into(), now).is_some());
        assert_eq!(backoff.fail_at("two".into(), now), None);
        assert!(backoff.is_pausing() && backoff.tripped().is_none());
        backoff.attempt();
        assert!(!backoff.is_pausing());
    }

    #[test]
    fn the_breaker_opens_after_some_failures_and_closes_with_the_first_success() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for _ in 1..TRIPPED_AT {
            fail(&mut backoff, now);
            assert_eq!(backoff.tripped(), None);
        }
        fail(&mut backoff, now);
        assert_eq!(backoff.tripped(), Some("no luck"));
        backoff.succeed();
        assert_eq!(backoff.tripped(), None);
    }

    #[test]
    fn failures_far_apart_are_no_row() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for number in 0..2 * TRIPPED_AT {
            fail(&mut backoff, now + 2 * number * FORGOTTEN_AFTER);
        }
        assert_eq!(backoff.tripped(), None);
    }

    #[test]
    fn a_line_a_second_is_logged() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for number in 0..1000 {
            fail(&mut backoff, now + number * Duration::from_micros(900));
        }
        assert_eq!(backoff.unlogged, 999);
    }
}
