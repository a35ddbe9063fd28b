//! `POST /{machine}/run`: one object in, one measurement or one problem out.

use std::time::{Duration, Instant};

use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};

use super::{body, check_machine};
use crate::envelope::JobRecord;
use crate::metrics::RunTally;
use crate::negotiate::Format;
use crate::pool::Finished;
use crate::problem::Problem;
use crate::render::{self, Report, Run};
use crate::request::{Call, RunRequest};
use crate::request_id::RequestId;
use crate::service::Service;

/// Whether the function computes what it should, for formats that have no place for it.
const CORRECTNESS: &str = "X-Correctness";

/// Whether what the worker says can be true, likewise.
const INTEGRITY: &str = "X-Integrity";

/// Measures the object in the body. A client that leaves drops this future, which cancels its job.
///
/// Every post is a run of some outcome, whether or not it comes as far as a worker.
pub(super) async fn run(
    request: HttpRequest,
    payload: Payload,
    service: Data<Service>,
) -> Result<HttpResponse, Problem> {
    check_machine(&request)?;
    let mut tally = service.metrics.jobs.begin();
    let result = answer_job(&request, payload, &service, &mut tally).await;
    tally.finish(result.as_ref().map_or_else(|problem| problem.kind().slug(), |_| "ok"));
    result
}

async fn answer_job<'s>(
    request: &HttpRequest,
    payload: Payload,
    service: &'s Service,
    tally: &mut RunTally<'s>,
) -> Result<HttpResponse, Problem> {
    body::check_content_type(request)?;
    let asked = RunRequest::from_query(request.query_string())?;
    let format = asked.format.unwrap_or_else(|| Format::from_accept(accept(request)));
    let call = asked.resolve(&service.catalogue)?;
    tally.of_kernel(call.kernel.full_name());
    note(request, &call, None);
    service.admit_from(request.peer_addr().map(|peer| peer.ip()))?;
    service.admit()?;
    let object = body::read(request, payload).await?;
    tally.took_object(object.len());
    measure(request, service, &call, object, format, tally).await
}

async fn measure(
    request: &HttpRequest,
    service: &Service,
    call: &Call<'_>,
    object: Bytes,
    format: Format,
    tally: &RunTally<'_>,
) -> Result<HttpResponse, Problem> {
    let finished = service.run(call, object.clone()).await?;
    tally.ran(&finished);
    let ended = Instant::now();
    note(request, call, Some((finished.queued, finished.ran)));
    let Finished { core, queued, ran, exit, examined, end, .. } = finished;
    let measurement = call.measurement(end, &service.machine.isa)?;
    let extensions = request.extensions();
    let report = Report {
        id: extensions.get::<RequestId>().map(RequestId::as_str).unwrap_or_default(),
        machine: &service.machine,
        pool: service.facts(),
        call,
        object: &object,
        run: &Run { core, queued, ran, exit, examined },
        measurement: &measurement,
    };
    let answer = answer(&report, format);
    tally.rendered(ended.elapsed());
    answer
}

fn answer(report: &Report<'_>, format: Format) -> Result<HttpResponse, Problem> {
    let mut response = HttpResponse::Ok();
    response.insert_header((CONTENT_TYPE, format.content_type()));
    response.insert_header((CACHE_CONTROL, "no-store"));
    let truth = report.truth();
    response.insert_header((CORRECTNESS, truth.correctness.name()));
    response.insert_header((INTEGRITY, truth.integrity.name()));
    let body = match format {
        Format::Text => render::text(report).into_bytes(),
        Format::Csv => render::csv(report).into_bytes(),
        Format::Json => render::json(report).map_err(|error| {
            tracing::error!(%error, "cannot write an answer as JSON");
            Problem::Internal
        })?,
    };
    Ok(response.body(body))
}

fn accept(request: &HttpRequest) -> Option<&str> {
    request.headers().get(ACCEPT)?.to_str().ok()
}

/// Tells the access log about the job.
fn note(request: &HttpRequest, call: &Call<'_>, times: Option<(Duration, Duration)>) {
    let kernel = call.kernel.full_name().to_owned();
    request.extensions_mut().insert(JobRecord { kernel, times });
}
