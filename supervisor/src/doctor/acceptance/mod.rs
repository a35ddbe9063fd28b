//! `--measure`: eight things a good answer must be, and a ninth where there are hardware counters, tried on functions
//! whose true figures are known.
//!
//! Each [`Row`] has a figure, its bound and a verdict. What this host cannot show is skipped with the reason and is no
//! failure. Two parts of the list need the harness taken apart and are left to its own tests: that a slowed clock loop
//! spoils its round (`worker/src/measure/round.rs`), and that single steps and block counts agree (`worker/tests/count/`).

mod counted;
mod hog;
mod items;
mod laboratory;
mod objects;
mod statistics;

use webrunner_kernels::Catalogue;

use self::laboratory::Laboratory;
use crate::problem::Problem;
use crate::service::Service;

/// Whether a figure is within its bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Pass,
    /// It is not.
    Fail,
    /// It cannot be had here, and why.
    Skipped(String),
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skipped(_) => "skipped",
        }
    }
}

/// One figure held against its bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Number of the item, 1 to 9; an item may have several rows.
    pub item: u8,
    /// What was measured.
    pub what: String,
    /// What came out; empty if skipped.
    pub figure: String,
    /// What it is held against.
    pub bound: String,
    /// The outcome.
    pub verdict: Verdict,
}

impl Row {
    fn new(item: u8, what: &str, figure: String, bound: &str, holds: bool) -> Self {
        let verdict = if holds { Verdict::Pass } else { Verdict::Fail };
        Self { item, what: what.into(), figure, bound: bound.into(), verdict }
    }

    fn skipped(item: u8, what: &str, bound: &str, reason: impl Into<String>) -> Self {
        let verdict = Verdict::Skipped(reason.into());
        Self { item, what: what.into(), figure: String::new(), bound: bound.into(), verdict }
    }

    /// A job that should have been measured and was not.
    fn failed(item: u8, what: &str, bound: &str, problem: &Problem) -> Self {
        Self::new(item, what, problem.to_string(), bound, false)
    }
}

/// Measures everything; `runs` times where a spread is judged.
pub async fn measure(service: &Service, catalogue: &Catalogue, runs: u32) -> Vec<Row> {
    let mut laboratory = Laboratory::open(service, catalogue, runs);
    let mut rows = Vec::new();
    let adds = items::chains(&mut laboratory, &mut rows).await;
    items::slopes(&mut laboratory, &adds, &mut rows).await;
    let sdot = items::dot_product(&mut laboratory).await;
    items::repeatability(&adds, &sdot, &mut rows);
    items::nothing(&mut laboratory, &mut rows).await;
    items::linearity(&mut laboratory, &mut rows).await;
    items::instructions(&mut laboratory, &mut rows).await;
    items::hostile_timing(&mut laboratory, &mut rows).await;
    items::throughput(&mut laboratory, &sdot, &mut rows).await;
    counted::counters(&mut laboratory, &mut rows).await;
    rows
}
