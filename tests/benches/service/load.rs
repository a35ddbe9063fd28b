//! Load: a number of clients, each on a thread of its own, each asking again as soon as it has its answer.
//!
//! Bounded in time and in requests. Threads run where the caller does. Every answer is checked, after its time was taken.
#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::answer::{self, Expected, Facts};
use crate::client::Client;
use crate::quantiles::Quantiles;

/// Wrong answers after which a client gives up: the figures are of no use then.
const MAX_WRONG: u64 = 10;

/// What to ask, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load<'a> {
    /// Where.
    pub(crate) address: SocketAddr,
    /// The request.
    pub(crate) request: &'a [u8],
    /// What answers are right.
    pub(crate) expected: Expected,
    /// Connections.
    pub(crate) clients: usize,
    /// Longest the load may last; requests begun are finished.
    pub(crate) time: Duration,
    /// Most requests of all clients together.
    pub(crate) requests: u64,
}

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Right answers.
    pub(crate) right: u64,
    /// How long they took, in microseconds.
    pub(crate) latency: Quantiles,
    /// What each told of itself, if they were in JSON.
    pub(crate) facts: Vec<Facts>,
    /// Answers that were wrong or did not come.
    pub(crate) wrong: u64,
}

impl Outcome {
    /// Right answers a second.
    pub(crate) fn rate(&self) -> f64 {
        self.right as f64 / self.elapsed.as_secs_f64()
    }
}

/// What one client saw.
#[derive(Debug, Default)]
struct Seen {
    latencies: Vec<f64>,
    facts: Vec<Facts>,
    wrong: u64,
}

/// Runs a load to its end. The first wrong answer of each client is told on standard error.
pub(crate) fn run(load: &Load<'_>) -> Outcome {
    let start = Barrier::new(load.clients + 1);
    let asked = AtomicU64::new(0);
    let (elapsed, seen) = thread::scope(|scope| {
        let clients: Vec<_> =
            (0..load.clients).map(|_| scope.spawn(|| ask_on_and_on(load, &start, &asked))).collect();
        start.wait();
        let begun = Instant::now();
        let seen: Vec<Seen> = clients
            .into_iter()
            .map(|client| client.join().unwrap_or_else(|_| Seen { wrong: 1, ..Seen::default() }))
            .collect();
        (begun.elapsed(), seen)
    });
    let latencies: Vec<f64> = seen.iter().flat_map(|seen| seen.latencies.iter().copied()).collect();
    Outcome {
        elapsed,
        right: latencies.len() as u64,
        latency: Quantiles::of(latencies),
        facts: seen.iter().flat_map(|seen| seen.facts.iter().copied()).collect(),
        wrong: seen.iter().map(|seen| seen.wrong).sum(),
    }
}

fn ask_on_and_on(load: &Load<'_>, start: &Barrier, asked: &AtomicU64) -> Seen {
    let mut seen = Seen::default();
    let mut client = Client::connect(load.address);
    start.wait();
    let begun = Instant::now();
    while begun.elapsed() < load.time && asked.fetch_add(1, Ordering::Relaxed) < load.requests {
        match ask_once(load, &mut client) {
            Ok((took, facts)) => {
                seen.latencies.push(took.as_secs_f64() * 1e6);
                seen.facts.extend(facts);
            }
            Err(reason) => {
                if seen.wrong == 0 {
                    eprintln!("wrong answer: {reason}");
                }
                seen.wrong += 1;
                if seen.wrong >= MAX_WRONG {
                    break;
                }
                client = Client::connect(load.address);
            }
        }
    }
    seen
}

fn ask_once(
    load: &Load<'_>,
    client: &mut std::io::Result<Client>,
) -> Result<(Duration, Option<Facts>), String> {
    let client = client.as_mut().map_err(|error| format!("no connection: {error}"))?;
    let begun = Instant::now();
    let answer = client.ask(load.request).map_err(|error| error.to_string())?;
    let took = begun.elapsed();
    answer::check(load.expected, &answer).map(|facts| (took, facts))
}
