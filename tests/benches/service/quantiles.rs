//! Quantiles of a list of figures.
#![forbid(unsafe_code)]

/// Figures in order. Of no figures every quantile is not a number, which prints as such.
#[derive(Debug, Clone)]
pub(crate) struct Quantiles(Vec<f64>);

impl Quantiles {
    /// Sorts the figures.
    pub(crate) fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_unstable_by(f64::total_cmp);
        Self(figures)
    }

    /// The figure that `part` of all lie below; 1 gives the largest.
    pub(crate) fn at(&self, part: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
    }

    /// The median.
    pub(crate) fn median(&self) -> f64 {
        self.at(0.5)
    }
}
