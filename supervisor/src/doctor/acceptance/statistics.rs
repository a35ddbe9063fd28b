//! The few statistics the bounds are about. All take at least as many values as their doc says, or give NaN.

/// A figure for people. One that nothing was accepted for is none.
pub(super) fn figure(value: f64, decimals: usize, unit: &str) -> String {
    if value.is_nan() { "no figure".into() } else { format!("{value:.decimals$} {unit}") }
}

/// Coefficient of variation in percent, of at least two values.
pub(super) fn variation_percent(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    100.0 * (squares / (count - 1.0)).sqrt() / mean
}

/// Greatest distance of any value from the median, of at least one.
pub(super) fn reach(values: &[f64], median: f64) -> f64 {
    values.iter().map(|value| (value - median).abs()).fold(f64::NAN, f64::max)
}

/// Greatest distance of any point from the line fitted by least squares, of at least two points of different x.
pub(super) fn worst_residual(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (mean_x, mean_y) = (
        points.iter().map(|point| point.0).sum::<f64>() / count,
        points.iter().map(|point| point.1).sum::<f64>() / count,
    );
    let slope = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>()
        / points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum::<f64>();
    points.iter().map(|(x, y)| (y - mean_y - slope * (x - mean_x)).abs()).fold(f64::NAN, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_have_known_statistics() {
        assert!((variation_percent(&[9.0, 10.0, 11.0]) - 10.0).abs() < 1e-9);
        assert_eq!(reach(&[1.0, 5.0, 3.0], 3.0), 2.0);
        assert!(worst_residual(&[(1.0, 3.0), (2.0, 5.0), (3.0, 7.0)]) < 1e-12);
        // The line through these is flat at 4/3.
        assert!((worst_residual(&[(0.0, 1.0), (1.0, 2.0), (2.0, 1.0)]) - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_figure_that_is_none_is_told_in_words() {
        assert_eq!(
            (figure(1.5, 2, "cycles"), figure(f64::NAN, 2, "cycles")),
            ("1.50 cycles".into(), "no figure".into())
        );
    }

    #[test]
    fn too_few_values_have_none() {
        assert!(
            variation_percent(&[1.0]).is_nan() && reach(&[], 0.0).is_nan() && worst_residual(&[]).is_nan()
        );
    }
}
