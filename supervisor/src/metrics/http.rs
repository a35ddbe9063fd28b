//! Requests: how many, how long, how many at a time, and which were turned away for want of room or readiness.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};

use super::families::{Doubling, Families};
use crate::problem::Kind;
use crate::routes::Route;

/// 50 us to 13 s: a quick job answers in some 200 us, and the longest deadline by default is 10 s.
pub(super) const LATENCY: Doubling = Doubling { from: 50e-6, count: 19 };

/// Whether a problem turns a request away whatever it asks: who may ask, how often, how much, and whether there is room.
fn is_rejection(kind: Kind) -> bool {
    matches!(kind.status().as_u16(), 401 | 408 | 413 | 414 | 429 | 503)
}

/// Figures about requests.
#[derive(Debug)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
    in_flight: IntGauge,
    rejected: Vec<(Kind, IntCounter)>,
    /// Handles found once. Every part of a key is one of a few words of the program's own.
    series: RefCell<HashMap<(Route, &'static str, StatusCode), Series>>,
}

#[derive(Debug)]
struct Series {
    count: IntCounter,
    duration: Histogram,
}

/// A request that is being answered.
#[derive(Debug)]
#[must_use]
pub struct InFlight(IntGauge);

impl HttpMetrics {
    pub(super) fn new(families: &Families<'_>) -> Self {
        let rejected = families.counters(
            "rejected_requests_total",
            "HTTP requests turned away whatever they asked, by the kind of problem.",
            &["reason"],
        );
        let rejections = Kind::ALL.into_iter().filter(|kind| is_rejection(*kind));
        Self {
            requests: families.counters(
                "http_requests_total",
                "HTTP requests answered.",
                &["route", "method", "code"],
            ),
            durations: families.histograms(
                "http_request_duration_seconds",
                "Time from a request's head to its answer.",
                LATENCY,
                &["route"],
            ),
            in_flight: families.gauge("http_requests_in_flight", "HTTP requests being answered."),
            rejected: rejections.map(|kind| (kind, rejected.with_label_values(&[kind.slug()]))).collect(),
            series: RefCell::default(),
        }
    }

    /// A request has come; it is in flight until this is dropped.
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// A request was answered.
    pub fn answered(&self, route: Route, method: &Method, status: StatusCode, took: Duration) {
        let method = method_label(method);
        let mut all = self.series.borrow_mut();
        let series = all.entry((route, method, status)).or_insert_with(|| Series {
            count: self.requests.with_label_values(&[route.pattern(), method, status.as_str()]),
            duration: self.durations.with_label_values(&[route.pattern()]),
        });
        series.count.inc();
        series.duration.observe(took.as_secs_f64());
    }

    /// A request ended in a problem, which may be that it was turned away. Whoever asks how the service is was told so,
    /// whatever the answer.
    pub fn refused(&self, route: Route, kind: Kind) {
        if route.is_of_health() {
            return;
        }
        if let Some((_, count)) = self.rejected.iter().find(|(rejection, _)| *rejection == kind) {
            count.inc();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Clients may make methods up; labels may not.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
