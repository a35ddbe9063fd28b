//! When the self-check is made, and what a failed one means.
//!
//! A check is as many jobs as there are cores, all at once, so that each core has one. It waits for a moment without a job,
//! so that it takes no core from a client's measurement; a service that has had none for several checks is checked all
//! the same. A failed check takes the service out of rotation (`/readyz` and
//! `/{machine}/monitor` say no), and is repeated soon; jobs that come all the same are still run. Between two checks
//! there is nothing but a timer.

use std::time::{Duration, Instant};

use actix_web::rt::time::{sleep, timeout};
use actix_web::web::Data;
use futures_util::future::join_all;

use super::{Probe, Verdict};
use crate::problem::Problem;
use crate::service::Service;

/// Longest wait for a moment without a job, and time between two looks.
const QUIET_LIMIT: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Checks that may be left out in a row for want of a quiet moment.
const MOST_SKIPPED: u32 = 4;

/// Time after which the job has no answer. Far beyond what it takes, so that a busy host is no broken one.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Longest pause after a failed check: the service should be back soon.
const RETRY: Duration = Duration::from_secs(1);

/// How one check ended, or a job of it; the greatest is that of them all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Skipped,
    Passed,
    Failed(String),
}

/// Checks the service at once, and then after each `interval`, for ever.
pub async fn watch(service: Data<Service>, interval: Duration) {
    let probe = match Probe::new() {
        Ok(probe) => probe,
        Err(error) => return tracing::error!(%error, "cannot make the self-check"),
    };
    service.set_verdict(Verdict::Pending);
    let mut skipped = 0;
    loop {
        let outcome = check(&service, &probe, skipped >= MOST_SKIPPED).await;
        skipped = if outcome == Outcome::Skipped { skipped + 1 } else { 0 };
        let failing = note(&service, outcome);
        sleep(if failing { interval.min(RETRY) } else { interval }).await;
    }
}

/// Makes one check; `pressing` if it must not be left out because jobs run.
async fn check(service: &Service, probe: &Probe, pressing: bool) -> Outcome {
    if !has_quiet_moment(service).await && !pressing {
        return Outcome::Skipped;
    }
    let facts = service.facts();
    let cores = facts.cores.len() + facts.quick_cores.len();
    // Each goes to a core where nothing runs, while there is one.
    let outcomes = join_all((0..cores).map(|_| check_one(service, probe))).await;
    outcomes.into_iter().max().unwrap_or(Outcome::Skipped)
}

async fn check_one(service: &Service, probe: &Probe) -> Outcome {
    match timeout(ANSWER_LIMIT, service.run(probe.order())).await {
        Ok(Ok(finished)) => {
            let (core, judged) = (finished.core.0, probe.judge(finished.end));
            judged.map_or_else(|wrong| Outcome::Failed(format!("core {core}: {wrong}")), |()| Outcome::Passed)
        }
        // These are said by the service's other signs of health.
        Ok(Err(Problem::QueueFull { .. } | Problem::Draining | Problem::NotReady { .. })) => Outcome::Skipped,
        Ok(Err(problem)) => Outcome::Failed(problem.to_string()),
        // It may have waited behind clients' jobs all that time.
        Err(_) if is_busy(service) => Outcome::Skipped,
        Err(_) => Outcome::Failed(format!("no answer in {} s", ANSWER_LIMIT.as_secs())),
    }
}

async fn has_quiet_moment(service: &Service) -> bool {
    let begun = Instant::now();
    while is_busy(service) {
        if begun.elapsed() >= QUIET_LIMIT {
            return false;
        }
        sleep(LOOK_EVERY).await;
    }
    true
}

fn is_busy(service: &Service) -> bool {
    let gauges = service.gauges();
    gauges.running > 0 || gauges.queued > 0
}

/// Counts the outcome and tells the service; whether the service is now out of rotation. A check that was left out
/// changes nothing.
fn note(service: &Service, outcome: Outcome) -> bool {
    let counts = &service.metrics.self_checks;
    let was_failing = matches!(service.verdict(), Verdict::Failed { .. });
    match outcome {
        Outcome::Skipped => {
            counts.skipped.inc();
            return was_failing;
        }
        Outcome::Passed => {
            counts.passed.inc();
            if was_failing {
                tracing::info!("the self-check passes again: back in rotation");
            }
            service.set_verdict(Verdict::Passed { at: Instant::now() });
        }
        Outcome::Failed(reason) => {
            counts.failed.inc();
            if !was_failing {
                tracing::error!(%reason, "the self-check failed: out of rotation until it passes");
            }
            service.set_verdict(Verdict::Failed { reason });
        }
    }
    matches!(service.verdict(), Verdict::Failed { .. })
}
