//! Where the time of one quick job goes, by itself and with larger objects and buffers.
//!
//! Phases are medians over jobs asked for as JSON, which costs more to write than text; the last column is text.
#![forbid(unsafe_code)]

use std::time::Duration;

use crate::answer::{Expected, Facts, Phases};
use crate::load::{self, Load, Outcome};
use crate::quantiles::Quantiles;
use crate::service::Service;
use crate::table::{Table, number};

/// Sizes of objects, bytes.
const OBJECTS: [usize; 5] = [1 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20];

/// Bytes of the two buffers of a call together.
const BUFFERS: [usize; 6] = [4 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20, 256 << 20];

/// Most elements of a vector that `sdot` takes.
const MAX_ELEMENTS: usize = 1 << 24;

/// Most jobs for each figure.
const MAX_JOBS: u64 = 500;

/// Measures and prints the table, each row in both formats for at most `time`; gives the number of wrong answers.
pub(crate) fn run(service: &Service, small: &[u8], dot: &[u8], time: Duration) -> u64 {
    let spin = "kernel=playground&iterations=100&_effort=quick";
    let mut table = Table::new(&[
        "one client, quick",
        "jobs",
        "queue",
        "load",
        "fill",
        "measure",
        "rest of worker",
        "rest of request",
        "whole",
        "whole, text",
    ]);
    let mut wrong = 0;
    let mut add = |name: String, query: &str, object: &[u8]| {
        let [json, text] =
            [("&_format=json", Expected::Json), ("", Expected::Text)].map(|(format, expected)| {
                let request = crate::client::run(&format!("{query}{format}"), object);
                let (address, requests) = (service.address, MAX_JOBS);
                load::run(&Load { address, request: &request, expected, clients: 1, time, requests })
            });
        wrong += json.wrong + text.wrong;
        let jobs = json.right.to_string();
        let figures = row(&json).into_iter().chain([text.latency.median()]);
        table.row([name, jobs].into_iter().chain(figures.map(number)));
    };
    for bytes in OBJECTS {
        let mut object = small.to_vec();
        // Behind the last section: sent, held and hashed, but nothing to parse.
        object.resize(bytes, 0);
        add(format!("object of {} KiB", bytes >> 10), spin, &object);
    }
    for bytes in BUFFERS {
        // Two vectors of four-byte elements; those that would be too many are stepped over, each second one.
        let elements = bytes / 8;
        let step = elements.div_ceil(MAX_ELEMENTS);
        let query = format!("kernel=sdot&n={}&incx={step}&incy={step}&_effort=quick", elements / step);
        add(format!("sdot on {} KiB", bytes >> 10), &query, dot);
    }
    table.print("Phases of a job, us");
    wrong
}

/// Medians of the phases, and of what is left of the time with the worker and of the whole.
fn row(outcome: &Outcome) -> [f64; 7] {
    let median = |of: fn(&Phases) -> f64| {
        Quantiles::of(outcome.facts.iter().map(|Facts { phases, .. }| of(phases)).collect()).median()
    };
    let whole = outcome.latency.median();
    [
        median(|phases| phases.queue),
        median(|phases| phases.load),
        median(|phases| phases.fill),
        median(|phases| phases.measure),
        median(|phases| phases.run - phases.load - phases.fill - phases.measure),
        whole - median(|phases| phases.queue + phases.run),
        whole,
    ]
}
