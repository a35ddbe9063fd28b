//! `POST /{machine}/run`: one object in, one measurement or one problem out.

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};

use super::{body, check_machine, client};
use crate::metrics::RunTally;
use crate::negotiate::Format;
use crate::problem::Problem;
use crate::rate_limit::Client;
use crate::record::{JobRecord, Unanswered};
use crate::reload::State;
use crate::render::{self, Report};
use crate::repeat;
use crate::request::{Call, RunRequest};
use crate::request_id::RequestId;
use crate::service::Service;

/// How far the cycles can be trusted, for formats that have no place for it.
static QUALITY: HeaderName = HeaderName::from_static("x-quality");

/// Whether the function computes what it should, likewise.
static CORRECTNESS: HeaderName = HeaderName::from_static("x-correctness");

/// Whether what the worker says can be true, likewise.
static INTEGRITY: HeaderName = HeaderName::from_static("x-integrity");

/// Measures the object in the body. A client that leaves drops this future, which cancels its job.
///
/// Every post is a run of some outcome, whether or not it comes as far as a worker.
pub(super) async fn run(
    request: HttpRequest,
    payload: Payload,
    service: Data<Service>,
) -> Result<HttpResponse, Problem> {
    check_machine(&request)?;
    let state = service.live.state();
    let mut tally = service.metrics.jobs.begin();
    let unanswered = Unanswered::begin(&request, &service);
    let result = match accept(&request, &service, &state, &mut tally) {
        Ok((call, format)) => answer_job(&request, payload, &service, &call, format, &mut tally).await,
        Err(problem) => {
            body::pass_over(&request, payload).await;
            Err(problem)
        }
    };
    tally.finish(result.as_ref().map_or_else(|problem| problem.kind().slug(), |_| "ok"));
    unanswered.end();
    result
}

/// What is asked for, if it is to be had: all that can be told without the body.
fn accept<'s>(
    request: &HttpRequest,
    service: &Service,
    state: &'s State,
    tally: &mut RunTally<'s>,
) -> Result<(Call<'s>, Format), Problem> {
    let client = client::identify(request, service, state.tokens.as_ref())?;
    body::check_content_type(request)?;
    let asked = RunRequest::from_query(request.query_string())?;
    let format = asked.options.format.unwrap_or_else(|| Format::from_accept(accept_header(request)));
    let mut call = asked.resolve(&state.catalogue)?;
    call.events = asked.selection(&service.facts().hardware)?;
    tally.of_kernel(call.kernel.full_name());
    note(request, &call, &client);
    service.admit_client(client)?;
    service.admit()?;
    Ok((call, format))
}

async fn answer_job(
    request: &HttpRequest,
    payload: Payload,
    service: &Service,
    call: &Call<'_>,
    format: Format,
    tally: &mut RunTally<'_>,
) -> Result<HttpResponse, Problem> {
    let object = body::read(request, payload).await?;
    tally.took_object(object.len());
    let measured = repeat::measure(service, call, &object, |finished| {
        tally.ran(finished);
        if let Some(job) = request.extensions_mut().get_mut::<JobRecord>() {
            job.times = Some((finished.queued, finished.ran));
        }
    })
    .await?;
    let ended = Instant::now();
    let extensions = request.extensions();
    let id = extensions.get::<RequestId>().map(RequestId::as_str).unwrap_or_default();
    let report = measured.report(id, service, call, &object);
    let answer = answer(&report, format, tally);
    tally.rendered(ended.elapsed());
    answer
}

fn answer(report: &Report<'_>, format: Format, tally: &RunTally<'_>) -> Result<HttpResponse, Problem> {
    let mut response = HttpResponse::Ok();
    let word = HeaderValue::from_static;
    response.insert_header((CONTENT_TYPE, word(format.content_type())));
    response.insert_header((CACHE_CONTROL, word("no-store")));
    let truth = report.truth();
    tally.judged(&truth);
    response.insert_header((QUALITY.clone(), word(report.quality().name())));
    response.insert_header((CORRECTNESS.clone(), word(truth.correctness.name())));
    response.insert_header((INTEGRITY.clone(), word(truth.integrity.name())));
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

fn accept_header(request: &HttpRequest) -> Option<&str> {
    request.headers().get(ACCEPT)?.to_str().ok()
}

/// Tells the access log about the job.
fn note(request: &HttpRequest, call: &Call<'_>, client: &Client) {
    let client = match client {
        Client::Token(name) => Some(Arc::clone(name)),
        Client::Network(_) | Client::Newcomers => None,
    };
    let kernel = call.kernel.full_name().to_owned();
    request.extensions_mut().insert(JobRecord { client, kernel, times: None });
}
