//! What depends on how the service is started: slots, and what it writes down. Each row is a service of its own.
#![forbid(unsafe_code)]

use std::error::Error;
use std::time::Duration;

use crate::answer::Expected;
use crate::floor;
use crate::jobs::Run;
use crate::service::Service;
use crate::table::{Table, number};

/// Clients of each row.
const CLIENTS: usize = 8;

/// Cores, by what they are for.
#[derive(Debug)]
pub(crate) struct Cores {
    /// All there are, which a service must find.
    pub(crate) all: Vec<usize>,
    /// The supervisor's, where clients run too.
    pub(crate) near: Vec<usize>,
    /// Those that jobs may be measured on.
    pub(crate) measuring: Vec<usize>,
}

/// Loads each service for `time` and prints the table; gives the number of wrong answers.
///
/// # Errors
/// If a service cannot be started, or does not end well.
pub(crate) fn run(cores: &Cores, request: &[u8], time: Duration) -> Result<u64, Box<dyn Error>> {
    let mut table =
        Table::new(&["quick job, 8 clients", "answers/s", "p50 us", "p99", "supervisor's CPU time, us"]);
    let mut wrong = 0;
    let measuring = &cores.measuring;
    let lists = (1..=measuring.len()).map(|slots| {
        let list: Vec<String> = measuring[..slots].iter().map(usize::to_string).collect();
        (format!("{slots} of {} cores", measuring.len()), vec!["--cores".to_owned(), list.join(",")])
    });
    let writes_nothing = ["--log-filter".to_owned(), "info,request=off".to_owned()];
    let writes_twice = ["--access-log".to_owned(), "/dev/null".to_owned()];
    let variants = lists.chain([
        ("all slots: these cores, and the supervisor's for quick jobs".to_owned(), Vec::new()),
        ("all slots, no line for each request".to_owned(), writes_nothing.to_vec()),
        ("all slots, an access log besides".to_owned(), writes_twice.to_vec()),
    ]);
    for (name, flags) in variants {
        floor::pin(&cores.all)?;
        let service = Service::start_with(&flags)?;
        floor::pin(&cores.near)?;
        let load = |time| Run::of("quick job", &service, request, Expected::Text, (CLIENTS, time));
        let warm = load(time / 4);
        let run = load(time);
        let latency = &run.outcome.latency;
        let figures = [run.outcome.rate(), latency.at(0.5), latency.at(0.99), run.each(run.spent.supervisor)];
        table.row([name].into_iter().chain(figures.map(number)));
        wrong += warm.outcome.wrong + run.outcome.wrong;
        service.stop()?;
    }
    table.print("How it is started");
    Ok(wrong)
}
