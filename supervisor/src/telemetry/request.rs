//! The log's line for each request: who asked for what, how it ended, how long it took.

use std::net::SocketAddr;
use std::time::Duration;

use crate::trace_context::TraceContext;

/// What the line tells. Everything is bounded or escaped by whoever writes the line.
#[derive(Debug, Clone, Copy)]
pub struct RequestLine<'a> {
    /// Id of the request.
    pub id: &'a str,
    /// The client's trace, and this request's place in it.
    pub trace: Option<&'a TraceContext>,
    /// Who asked, unless through a Unix socket.
    pub peer: Option<SocketAddr>,
    /// The client whose token it brought.
    pub client: Option<&'a str>,
    /// Method.
    pub method: &'a str,
    /// Path without the query.
    pub path: &'a str,
    /// The machine's name in the path.
    pub machine: Option<&'a str>,
    /// Status of the answer; none if the client left before there was one.
    pub status: Option<u16>,
    /// `ok`, the slug of the problem, or `cancelled`.
    pub outcome: &'a str,
    /// Time from the request's head to its answer, or to its client's leaving.
    pub took: Duration,
    /// The job, if the request was for one.
    pub job: Option<Job<'a>>,
}

/// What the line tells of a job.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// Full name of the kernel.
    pub kernel: &'a str,
    /// Time the job waited for a worker, and time the worker had it, if it came to that.
    pub times: Option<(Duration, Duration)>,
}

/// Target of the line, by which a filter can leave it out.
pub(super) const TARGET: &str = "request";

/// Longest path written, in bytes.
const MAX_PATH: usize = 256;

impl RequestLine<'_> {
    /// Writes the line.
    pub fn write(&self) {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let times = self.job.and_then(|job| job.times);
        tracing::info!(
            target: TARGET,
            id = self.id,
            trace_id = self.trace.map(|trace| tracing::field::display(trace.trace_id())),
            span_id = self.trace.map(|trace| tracing::field::display(trace.span_id())),
            parent_id = self.trace.map(|trace| tracing::field::display(trace.parent_id())),
            peer = self.peer.map(tracing::field::display),
            client = self.client,
            method = self.method,
            path = shortened(self.path, MAX_PATH),
            machine = self.machine.map(|machine| shortened(machine, MAX_PATH)),
            status = self.status,
            kernel = self.job.map(|job| job.kernel),
            outcome = self.outcome,
            took_us = micros(self.took),
            queue_us = times.map(|(queued, _)| micros(queued)),
            run_us = times.map(|(_, ran)| micros(ran)),
            "request",
        );
    }
}

/// As much of a text as fits so many bytes.
pub(super) fn shortened(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let ends = text.char_indices().map(|(start, character)| start + character.len_utf8());
    let end = ends.take_while(|&end| end <= most).last().unwrap_or_default();
    &text[..end]
}
