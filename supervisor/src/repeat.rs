//! Once more: a measurement whose answer is in doubt is made again, where there is time for it.
//!
//! What disturbs a core often passes within a twentieth of a second. So an answer that is `contended` or `unstable` is
//! followed by a second attempt after [`PAUSE`], once, if nobody waits for a core, neither before the pause nor after
//! it. The better of the two is the answer: `ok` before `unstable` before `contended`, and of two alike the one with
//! less spread. A second attempt that ends in anything but a measurement changes nothing. A client that leaves drops
//! the future, and with it whichever attempt is under way. Quick jobs are not repeated.

use std::time::Duration;

use actix_web::web::Bytes;
use webrunner_protocol::job::Effort;
use webrunner_protocol::reply::Measurement;

use crate::pool::Finished;
use crate::problem::Problem;
use crate::render::{Report, Run};
use crate::request::Call;
use crate::service::Service;
use crate::summary::{Quality, Summary};

/// How long a disturbance is given to pass.
const PAUSE: Duration = Duration::from_millis(50);

/// A job that was measured.
#[derive(Debug)]
pub struct Measured {
    /// What came of it.
    pub measurement: Box<Measurement>,
    /// Where and how long it ran.
    pub run: Run,
}

/// Runs a job, and once more if its answer is in doubt; `each_ended` hears of each attempt.
///
/// # Errors
/// What the first attempt ended in, if not in a measurement.
pub async fn measure(
    service: &Service,
    call: &Call<'_>,
    object: &Bytes,
    each_ended: impl Fn(&Finished),
) -> Result<Measured, Problem> {
    let finished = service.run(call.order(object.clone())).await?;
    each_ended(&finished);
    let first = measured(service, call, finished)?;
    if call.effort == Effort::Quick || !first.is_doubtful() || somebody_waits(service) {
        return Ok(first);
    }
    tokio::time::sleep(PAUSE).await;
    if somebody_waits(service) || no_core_is_free(service) {
        return Ok(first);
    }
    let second = match service.run(call.order(object.clone())).await {
        Ok(finished) => {
            each_ended(&finished);
            measured(service, call, finished)
        }
        Err(problem) => Err(problem),
    };
    let mut kept = match second {
        Ok(second) if second.doubt() < first.doubt() => second,
        _ => first,
    };
    kept.run.repeated = true;
    Ok(kept)
}

fn somebody_waits(service: &Service) -> bool {
    service.gauges().queued > 0 || service.ready().is_err()
}

/// Not to be asked at once after a job has ended: it gives its core back a little later.
fn no_core_is_free(service: &Service) -> bool {
    service.gauges().running >= service.facts().cores.len()
}

fn measured(service: &Service, call: &Call<'_>, finished: Finished) -> Result<Measured, Problem> {
    let Finished { core, queued, ran, exit, examined, end, .. } = finished;
    let measurement = call.measurement(end, &service.machine.isa)?;
    Ok(Measured { measurement, run: Run { core, queued, ran, exit, examined, repeated: false } })
}

/// How much an answer is in doubt; less is better.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Doubt {
    rank: u8,
    /// The middle half of the rounds, as a part of their median.
    spread: f64,
}

impl Measured {
    /// All that an answer may say about the job; `id` is that of the request.
    #[must_use]
    pub fn report<'a>(
        &'a self,
        id: &'a str,
        service: &'a Service,
        call: &'a Call<'a>,
        object: &'a [u8],
    ) -> Report<'a> {
        Report {
            id,
            machine: &service.machine,
            pool: service.facts(),
            call,
            object,
            run: &self.run,
            measurement: &self.measurement,
        }
    }

    fn is_doubtful(&self) -> bool {
        self.doubt().rank > 0
    }

    fn doubt(&self) -> Doubt {
        let cycles = &self.measurement.cycles;
        let Some(summary) = Summary::of(&cycles.isolated) else {
            return Doubt { rank: u8::MAX, spread: 0.0 };
        };
        let rank = match Quality::of(cycles.gate, &summary) {
            // A call so long that it is measured alone is no better the second time.
            Quality::Ok | Quality::Quick => 0,
            Quality::Unstable => 1,
            Quality::Contended => 2,
        };
        Doubt { rank, spread: (summary.p75 - summary.p25) / summary.median.abs().max(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use webrunner_protocol::reply::Gate;

    use super::*;
    use crate::render::samples::Sample;

    fn doubt(gate: Gate, cycles: &[f64]) -> Doubt {
        Sample::new().gate(gate).cycles(cycles).measured().doubt()
    }

    #[test]
    fn the_better_of_two_answers_is_the_less_doubtful_then_the_steadier() {
        let steady = &[100.0, 100.1, 100.2];
        let wide = &[100.0, 120.0, 140.0];
        let wider = &[100.0, 150.0, 200.0];
        let order = [
            doubt(Gate::Clean, steady),
            doubt(Gate::Clean, wide),
            doubt(Gate::Clean, wider),
            doubt(Gate::BestAgreeing, steady),
            doubt(Gate::BestAgreeing, wide),
        ];
        assert!(order.is_sorted_by(|better, worse| better < worse), "{order:?}");
    }

    #[test]
    fn only_answers_in_doubt_are_repeated() {
        let is_doubtful = |gate, cycles| Sample::new().gate(gate).cycles(cycles).measured().is_doubtful();
        assert!(
            !is_doubtful(Gate::Clean, &[100.0, 100.1]) && !is_doubtful(Gate::Ungated, &[1.0, 100.0, 200.0])
        );
        assert!(is_doubtful(Gate::BestAgreeing, &[100.0]) && is_doubtful(Gate::Clean, &[1.0, 100.0, 200.0]));
    }
}
