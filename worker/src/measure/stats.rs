//! Order statistics of a few hundred readings.
#![forbid(unsafe_code)]

/// The middle value, or the mean of the two middle ones; 0 of nothing. Sorts in place, as the worker's memory is dear.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values {
        [] => 0.0,
        _ if values.len() % 2 == 1 => values[values.len() / 2],
        _ => f64::midpoint(values[values.len() / 2 - 1], values[values.len() / 2]),
    }
}

/// The mean of the values within a fiftieth of the median; 0 of nothing. As deaf to absurd readings as the median, and
/// finer where a counter goes by steps of a hundredth. Sorts in place.
pub(super) fn mean_about_median(values: &mut [f64]) -> f64 {
    let middle = median(values);
    let near = values.iter().filter(|&&value| (value - middle).abs() <= middle.abs() / 50.0);
    let (count, sum) = near.fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    if count > 0.0 { sum / count } else { middle }
}

/// First quartile, median and third quartile, each a value that came but the median of an even number; 0 of nothing.
pub(super) fn quartiles(values: &mut [f64]) -> [f64; 3] {
    let middle = median(values);
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    [at(values.len() / 4), middle, at((values.len() * 3 / 4).min(values.len().saturating_sub(1)))]
}

/// The median of one figure over `items`.
pub(super) fn median_of<T>(items: impl ExactSizeIterator<Item = T>, figure: impl Fn(T) -> f64) -> f64 {
    let mut values = Vec::with_capacity(items.len());
    values.extend(items.map(figure));
    median(&mut values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_what_came() {
        assert_eq!(median(&mut []), 0.0);
        assert_eq!(median(&mut [3.0]), 3.0);
        assert_eq!(median(&mut [9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 9.0, 2.0]), 3.0);
    }

    #[test]
    fn the_mean_about_the_median_leaves_out_what_lies_far_off() {
        assert_eq!(mean_about_median(&mut []), 0.0);
        assert_eq!(mean_about_median(&mut [99.0, 1e9, 101.0, 100.0, -1e9]), 100.0);
        assert_eq!(mean_about_median(&mut [100.0, 133.0, 101.0, 99.0, 133.0]), 100.0);
        assert_eq!(mean_about_median(&mut [1.0, 9.0]), 5.0, "none is near");
    }

    #[test]
    fn quartiles_enclose_the_middle_half() {
        assert_eq!(quartiles(&mut [5.0, 1.0, 3.0, 2.0, 4.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(&mut [7.0]), [7.0; 3]);
        assert_eq!(quartiles(&mut []), [0.0; 3]);
    }
}
