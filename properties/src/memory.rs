//! How much memory a parser takes for some input, and that it stays under its limit.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use allocation_counter::measure;

/// Runs `parse` and holds all it allocates against `limit`, in bytes; what it frees again is not taken off.
///
/// The sum is the measure that a worker needs: its allocator gives nothing back.
///
/// # Panics
/// If more was allocated.
pub fn within<T>(limit: u64, what: &str, parse: impl FnOnce() -> T) -> T {
    let mut result = None;
    // A panic must not pass through `measure`, which would count on a level deeper for ever after.
    let used = measure(|| result = Some(catch_unwind(AssertUnwindSafe(parse)))).bytes_total;
    let result = result.expect("the closure has run").unwrap_or_else(|panic| resume_unwind(panic));
    assert!(used <= limit, "{what} allocated {used} bytes, the limit is {limit}");
    result
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    #[should_panic(expected = "growing allocated")]
    fn what_is_freed_again_counts() {
        within(1000, "growing", || (0..11).for_each(|_| drop(black_box(vec![0_u8; 100]))));
    }

    #[test]
    fn a_panic_passes_and_counting_goes_on() {
        for _ in 0..100 {
            let failed = catch_unwind(|| within(100, "a panic", || panic!("as it should")));
            assert_eq!(failed.unwrap_err().downcast_ref(), Some(&"as it should"));
        }
        assert_eq!(within(100, "a vector", || black_box(vec![0_u8; 100])).len(), 100);
    }

    #[test]
    fn the_limit_itself_is_allowed() {
        assert_eq!(within(100, "a vector", || black_box(vec![0_u8; 100])).len(), 100);
    }
}
