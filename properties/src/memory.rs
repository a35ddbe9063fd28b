//! How much memory a parser takes for some input, and that it stays under its limit.

use allocation_counter::measure;

/// Runs `parse` and holds all it allocates against `limit`, in bytes; what it frees again is not taken off.
///
/// The sum is the measure that a worker needs: its allocator gives nothing back.
///
/// # Panics
/// If more was allocated.
pub fn within<T>(limit: u64, what: &str, parse: impl FnOnce() -> T) -> T {
    let mut result = None;
    let used = measure(|| result = Some(parse())).bytes_total;
    assert!(used <= limit, "{what} allocated {used} bytes, the limit is {limit}");
    result.expect("the closure has run")
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
    fn the_limit_itself_is_allowed() {
        assert_eq!(within(100, "a vector", || black_box(vec![0_u8; 100])).len(), 100);
    }
}
