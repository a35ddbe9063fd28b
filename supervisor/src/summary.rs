//! Summaries of samples, and how far they can be trusted.
//!
//! Works on samples that have passed [`Reply::check`](webrunner_protocol::reply::Reply::check): at least one, all
//! finite. It never mends them: raw samples, summary and doubts stay three things.

use webrunner_protocol::reply::Gate;

/// Order statistics of some samples, in the unit of the samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// How many samples there are.
    pub count: usize,
    /// Least.
    pub min: f64,
    /// 10th percentile.
    pub p10: f64,
    /// First quartile; steadier than the median for code bound by the first-level cache.
    pub p25: f64,
    /// Median: the headline.
    pub median: f64,
    /// Third quartile.
    pub p75: f64,
    /// Greatest.
    pub max: f64,
    /// Median absolute deviation from the median, not scaled.
    pub mad: f64,
}

impl Summary {
    /// Summarises samples; `None` if there are none.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let [p10, p25, median, p75] = [0.1, 0.25, 0.5, 0.75].map(|rank| quantile(&sorted, rank));
        let mut deviations: Vec<f64> = sorted.iter().map(|sample| (sample - median).abs()).collect();
        deviations.sort_unstable_by(f64::total_cmp);
        let mad = quantile(&deviations, 0.5);
        Some(Self { count: samples.len(), min, p10, p25, median, p75, max, mad })
    }

    /// The median alone, for answers that carry nothing else.
    #[must_use]
    pub fn median_of(samples: &[f64]) -> Option<f64> {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        (!sorted.is_empty()).then(|| quantile(&sorted, 0.5))
    }

    /// Whether the middle half spreads over more than 2 % of the median, or one unit if that is more.
    #[must_use]
    pub fn is_unstable(&self) -> bool {
        self.p75 - self.p25 > (0.02 * self.median.abs()).max(1.0)
    }
}

/// The quantile of sorted samples by linear interpolation (type 7 of Hyndman and Fan 1996); 0 for none.
fn quantile(sorted: &[f64], rank: f64) -> f64 {
    let position = rank * sorted.len().saturating_sub(1) as f64;
    let low = position.floor();
    let at = |index: f64| sorted.get(index as usize).copied().unwrap_or_default();
    at(low) + (position - low) * (at(position.ceil()) - at(low))
}

/// How far a measurement can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// Gated, enough clean rounds, little spread.
    Ok,
    /// Too few rounds were clean and the best-agreeing ones were taken; or the core was shared in nearly all.
    Contended,
    /// The clean rounds spread too far.
    Unstable,
    /// Not gated by the clock.
    Quick,
}

impl Quality {
    /// Judges cycles by how their rounds were chosen and how far they spread.
    #[must_use]
    pub fn of(gate: Gate, cycles: &Summary) -> Self {
        match gate {
            Gate::Ungated => Self::Quick,
            Gate::BestAgreeing | Gate::Shared => Self::Contended,
            Gate::Clean if cycles.is_unstable() => Self::Unstable,
            Gate::Clean => Self::Ok,
        }
    }

    /// The word answers use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Contended => "contended",
            Self::Unstable => "unstable",
            Self::Quick => "quick",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_statistics_are_interpolated() {
        let summary = Summary::of(&[5.0, 1.0, 3.0, 2.0, 4.0]).unwrap();
        assert_eq!(
            (summary.min, summary.p25, summary.median, summary.p75, summary.max),
            (1.0, 2.0, 3.0, 4.0, 5.0)
        );
        assert!((summary.p10 - 1.4).abs() < 1e-12);
        assert_eq!((summary.mad, summary.count), (1.0, 5));
        assert_eq!(Summary::of(&[1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Summary::median_of(&[9.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn one_sample_is_its_own_summary_and_none_has_none() {
        let summary = Summary::of(&[7.0]).unwrap();
        assert_eq!((summary.min, summary.median, summary.max, summary.mad), (7.0, 7.0, 7.0, 0.0));
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::median_of(&[]), None);
    }

    #[test]
    fn quality_follows_gate_and_spread() {
        let steady = Summary::of(&[100.0, 100.5, 101.0]).unwrap();
        let wide = Summary::of(&[100.0, 150.0, 200.0]).unwrap();
        assert_eq!(Quality::of(Gate::Clean, &steady), Quality::Ok);
        assert_eq!(Quality::of(Gate::Clean, &wide), Quality::Unstable);
        assert_eq!(Quality::of(Gate::BestAgreeing, &steady), Quality::Contended);
        assert_eq!(Quality::of(Gate::Shared, &steady), Quality::Contended);
        assert_eq!(Quality::of(Gate::Ungated, &wide), Quality::Quick);
    }

    #[test]
    fn a_spread_of_one_cycle_is_never_unstable() {
        assert!(!Summary::of(&[9.5, 10.0, 10.5]).unwrap().is_unstable());
        assert!(!Summary::of(&[0.0, 0.0, 0.5]).unwrap().is_unstable());
    }
}
