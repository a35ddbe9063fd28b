//! The figures that can be compared between machines: each a ratio to something measured in the same run.
#![forbid(unsafe_code)]

use crate::floor::Floor;
use crate::jobs::{QUICK, ROUTE, Run};
use crate::table::{Table, number};

/// Quick jobs and the bare route, loaded by as many clients.
type Pair<'a> = (&'a Run, &'a Run);

/// Prints them, a column for each number of clients. Of floors the lowest counts: whatever disturbs only adds.
pub(crate) fn print(floors: &[Floor], runs: &[Run]) {
    let lowest = |of: fn(&Floor) -> f64| floors.iter().map(of).fold(f64::INFINITY, f64::min);
    let (fork, across) = (lowest(|floor| floor.fork), lowest(|floor| floor.across));
    let pairs: Vec<Pair<'_>> = runs
        .iter()
        .filter(|run| run.name == QUICK)
        .filter_map(|job| {
            let bare = runs.iter().find(|run| run.name == ROUTE && run.clients == job.clients)?;
            Some((job, bare))
        })
        .collect();

    let clients: Vec<String> = pairs.iter().map(|(job, _)| plural(job.clients)).collect();
    let head: Vec<&str> = ["quick jobs"].into_iter().chain(clients.iter().map(String::as_str)).collect();
    let mut table = Table::new(&head);
    let mut add = |name: &str, ratio: &dyn Fn(Pair<'_>) -> f64| {
        let cells = pairs.iter().map(|&pair| number(ratio(pair)));
        table.row([name.to_owned()].into_iter().chain(cells));
    };
    let p50 = |run: &Run| run.outcome.latency.median();
    let supervisor = |run: &Run| run.each(run.spent.supervisor);
    add("p50 / (p50 of the bare route + round trip between cores)", &|(job, bare)| {
        p50(job) / (p50(bare) + across)
    });
    add("jobs/s / answers/s of the bare route", &|(job, bare)| job.outcome.rate() / bare.outcome.rate());
    add("jobs/s / processes/s that one core forks and reaps", &|(job, _)| job.outcome.rate() * fork / 1e6);
    add("CPU time of zygotes and workers / fork, exit, wait", &|(job, _)| {
        job.each(job.spent.zygotes + job.spent.workers) / fork
    });
    add("CPU time of the supervisor / the same of the bare route", &|(job, bare)| {
        supervisor(job) / supervisor(bare)
    });
    table.print("Ratios to the floor of this run");
}

fn plural(clients: usize) -> String {
    if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") }
}
