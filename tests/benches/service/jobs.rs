//! Jobs as the service does them for one and for many clients, and the bare route beside them.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::answer::Expected;
use crate::cpu::{Clocks, Spent};
use crate::load::{self, Load, Outcome};
use crate::service::Service;
use crate::table::{Table, number, percent};

/// Names of what is asked for: a route that does nothing, and jobs of two efforts.
pub(crate) const ROUTE: &str = "bare route (GET /livez)";
pub(crate) const QUICK: &str = "quick job";
pub(crate) const STANDARD: &str = "standard job";

/// Most requests of one load: a bound on what a run does to the machine, whatever its speed.
const MAX_REQUESTS: u64 = 60_000;

/// One load and what it cost.
#[derive(Debug)]
pub(crate) struct Run {
    /// What was asked.
    pub(crate) name: &'static str,
    /// By how many.
    pub(crate) clients: usize,
    /// What came of it.
    pub(crate) outcome: Outcome,
    /// What it cost.
    pub(crate) spent: Spent,
}

impl Run {
    /// Loads the service for `time`.
    pub(crate) fn of(
        name: &'static str,
        service: &Service,
        request: &[u8],
        expected: Expected,
        (clients, time): (usize, Duration),
    ) -> Self {
        let clocks = Clocks::read(service);
        let outcome = load::run(&Load {
            address: service.address,
            request,
            expected,
            clients,
            time,
            requests: MAX_REQUESTS,
        });
        Self { name, clients, outcome, spent: clocks.spent(service) }
    }

    /// Microseconds of CPU time for each right answer.
    pub(crate) fn each(&self, spent: Duration) -> f64 {
        spent.as_secs_f64() * 1e6 / self.outcome.right as f64
    }

    /// Share of answers that the service had doubts about; only known of answers in JSON.
    fn flagged(&self) -> String {
        let facts = &self.outcome.facts;
        if facts.is_empty() {
            return String::new();
        }
        percent(facts.iter().filter(|facts| !facts.ok).count() as f64 / facts.len() as f64)
    }
}

/// Prints rate, latency and quality.
pub(crate) fn print_rates(runs: &[Run]) {
    let mut table = Table::new(&[
        "",
        "clients",
        "answers/s",
        "p50 us",
        "p90",
        "p99",
        "max",
        "flagged",
        "others' share of the machine",
    ]);
    for run in runs {
        let latency = &run.outcome.latency;
        let quantiles = [0.5, 0.9, 0.99, 1.0].map(|part| number(latency.at(part)));
        let first = [run.name.to_owned(), run.clients.to_string(), number(run.outcome.rate())];
        table.row(first.into_iter().chain(quantiles).chain([run.flagged(), percent(run.spent.others)]));
    }
    table.print("Answers");
}

/// Prints where CPU time went.
pub(crate) fn print_costs(runs: &[Run]) {
    let mut table =
        Table::new(&["", "clients", "supervisor", "zygotes", "workers", "these together", "client"]);
    for run in runs {
        let Spent { supervisor, zygotes, workers, clients, .. } = run.spent;
        let costs = [supervisor, zygotes, workers, supervisor + zygotes + workers, clients];
        let costs = costs.map(|spent| number(run.each(spent)));
        table.row([run.name.to_owned(), run.clients.to_string()].into_iter().chain(costs));
    }
    table.print("CPU time of an answer, us");
}
