//! What is kept of each request: figures, a line in the log, and one in the access log where there is one.
//!
//! A request that is answered is recorded with its answer. One whose client leaves has none: its handler is dropped where
//! it waits, which [`Unanswered`] is there to record. Each request is recorded once, one way or the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::ServiceResponse;
use actix_web::{Error, HttpMessage, HttpRequest};

use crate::metrics::CANCELLED;
use crate::problem::Problem;
use crate::request_id::RequestId;
use crate::routes::Route;
use crate::service::Service;
use crate::telemetry::{Access, Job, RequestLine};
use crate::trace_context::TraceContext;

/// What is known of a request from its head on; kept with it, as its id is.
#[derive(Debug, Clone)]
pub struct Begun {
    /// When its head had come.
    pub at: Instant,
    /// The client's trace, if it sent one.
    pub trace: Option<TraceContext>,
}

/// What a handler tells of a job.
#[derive(Debug, Clone)]
pub struct JobRecord {
    /// The client whose token it came with.
    pub client: Option<Arc<str>>,
    /// Full name of the kernel.
    pub kernel: String,
    /// Time the job waited, and time it ran, if it ran.
    pub times: Option<(Duration, Duration)>,
}

/// A request that has no answer yet; recorded as cancelled if it is dropped like that.
#[derive(Debug)]
#[must_use]
pub struct Unanswered<'r> {
    request: &'r HttpRequest,
    service: &'r Service,
    has_answer: bool,
}

impl<'r> Unanswered<'r> {
    /// A handler begins that may have to wait.
    pub fn begin(request: &'r HttpRequest, service: &'r Service) -> Self {
        Self { request, service, has_answer: false }
    }

    /// There is an answer, which will be recorded.
    pub fn end(mut self) {
        self.has_answer = true;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if !self.has_answer {
            write(self.service, self.request, None, CANCELLED);
        }
    }
}

/// Records a request with its answer.
pub fn answered<B>(service: &Service, response: &ServiceResponse<B>) {
    let request = response.request();
    let (status, http) = (response.status(), &service.metrics.http);
    let route = request.app_data::<Route>().copied().unwrap_or_default();
    http.answered(route, request.method(), status, took(request));
    let problem = response.response().error().and_then(Error::as_error::<Problem>);
    if let Some(problem) = problem {
        http.refused(route, problem.kind());
    }
    let outcome = problem.map_or("ok", |problem| problem.kind().slug());
    write(service, request, Some(status.as_u16()), outcome);
}

fn took(request: &HttpRequest) -> Duration {
    request.extensions().get::<Begun>().map_or(Duration::ZERO, |begun| begun.at.elapsed())
}

fn write(service: &Service, request: &HttpRequest, status: Option<u16>, outcome: &str) {
    let took = took(request);
    let extensions = request.extensions();
    let job = extensions.get::<JobRecord>();
    let line = RequestLine {
        id: extensions.get::<RequestId>().map(RequestId::as_str).unwrap_or_default(),
        trace: extensions.get::<Begun>().and_then(|begun| begun.trace.as_ref()),
        peer: request.peer_addr(),
        client: job.and_then(|job| job.client.as_deref()),
        method: request.method().as_str(),
        path: request.path(),
        machine: request.match_info().get("machine"),
        status,
        outcome,
        took,
        job: job.map(|job| Job { kernel: &job.kernel, times: job.times }),
    };
    line.write();
    if let Some(log) = &service.access_log {
        log.write(&Access::from(&line));
    }
}
