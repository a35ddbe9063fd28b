//! How long each effort measures, in which pieces.
#![forbid(unsafe_code)]

use webrunner_protocol::job::Effort;
use webrunner_protocol::limits::MAX_ROUNDS;
use webrunner_protocol::options::MeasureOptions;

/// Cold calls: enough for a mean that is good to some cycles, though the counter steps by tens of them.
const COLD_CALLS: usize = 2000;

/// How rounds are made and when they end. All times are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Whether rounds carry clocks and are held against each other; if not, a few short rounds are taken as they come.
    pub gated: bool,
    /// Clean rounds (or rounds, if not gated) after which measuring ends.
    pub wanted_rounds: usize,
    /// Rounds after which measuring ends in any case; at most [`Schedule::MOST_ROUNDS`].
    pub most_rounds: usize,
    /// Time after which no further round begins, counted from the first one if not gated, else from the first call's
    /// end. A round once begun is finished; if not gated, a few of a function shorter than a batch are made in any case.
    pub budget_us: f64,
    /// Length of one batch of calls. The counter may step by a hundredth of a microsecond, which at 10 is a thousandth of a
    /// batch; longer rounds are disturbed more often.
    pub batch_us: f64,
    /// Length of a batch of back-to-back calls. A dot product reads 14, 28, 42 cycles too many at 10, more often than
    /// at 20: branch predictors keep what they learnt of a function that they see for long enough.
    pub back_to_back_us: f64,
    /// Length of a batch of empty calls, a side figure that may be coarser.
    pub empty_batch_us: f64,
    /// How long the clock, and then the function, runs before the first round: clock speed and caches settle.
    pub warm_up_us: f64,
    /// A first call longer than this is the measurement.
    pub first_call_alone_us: f64,
    /// Whether the function uses vectors so wide that the core must power up for them: it then runs before all else.
    pub wide_vectors: bool,
    /// Whether its inputs are made afresh before each of its batches.
    pub restore: bool,
    /// Cold calls to make after all else; none if 0.
    pub cold_calls: usize,
    /// Time after which no further cold call is made.
    pub cold_budget_us: f64,
}

impl Schedule {
    /// Most rounds that are remembered: an eighth of them may be reported.
    pub const MOST_ROUNDS: usize = 8 * MAX_ROUNDS;

    /// The schedule of an effort.
    #[must_use]
    pub fn of(effort: Effort) -> Self {
        let standard = Self {
            gated: true,
            wanted_rounds: 41,
            most_rounds: Self::MOST_ROUNDS / 2,
            budget_us: 400e3,
            batch_us: 10.0,
            back_to_back_us: 20.0,
            empty_batch_us: 5.0,
            warm_up_us: 300.0,
            first_call_alone_us: 500e3,
            wide_vectors: false,
            restore: false,
            cold_calls: 0,
            cold_budget_us: 400e3,
        };
        match effort {
            Effort::Quick => Self {
                gated: false,
                wanted_rounds: 5,
                most_rounds: 5,
                budget_us: 15.0,
                batch_us: 1.0,
                empty_batch_us: 0.5,
                warm_up_us: 0.0,
                first_call_alone_us: 20e3,
                cold_budget_us: 20e3,
                ..standard
            },
            Effort::Standard => standard,
            Effort::Thorough => Self {
                wanted_rounds: 164,
                most_rounds: Self::MOST_ROUNDS,
                budget_us: 2000e3,
                cold_budget_us: 2000e3,
                ..standard
            },
        }
    }

    /// The same for a function that uses `wide_vectors`, with these options.
    #[must_use]
    pub fn with(self, options: &MeasureOptions, wide_vectors: bool) -> Self {
        let cold_calls = if options.cold { COLD_CALLS } else { 0 };
        Self { restore: options.restore, cold_calls, wide_vectors, ..self }
    }

    /// Rounds to make room for: at least one, at most [`Self::MOST_ROUNDS`].
    pub(super) fn room(&self) -> usize {
        self.most_rounds.clamp(1, Self::MOST_ROUNDS)
    }
}
