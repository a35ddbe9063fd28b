//! What is the same for every request: id, length limit, CORS, preflight, safety headers, metrics and access log.
//!
//! Any site may call this service, as the old one allowed: it has no cookies and no sessions for a foreign page to use.

use std::rc::Rc;
use std::time::Instant;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{ConnectionType, Method};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, web};

use crate::connections::Connection;
use crate::problem::Problem;
use crate::record::{self, Begun};
use crate::request_id::{self, RequestId};
use crate::service::Service;
use crate::trace_context::{self, TraceContext};

/// Longest request target taken, in bytes.
const MAX_URI_BYTES: usize = 8 << 10;

/// The middleware around every route.
///
/// # Errors
/// None of its own: problems become answers.
pub async fn envelope<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let at = Instant::now();
    let _busy = request.conn_data::<Rc<Connection>>().map(Connection::begin);
    let _in_flight = request.app_data::<web::Data<Service>>().map(|service| service.metrics.http.begin());
    let id = client_id(&request).unwrap_or_else(RequestId::fresh);
    let trace = client_trace(&request);
    request.extensions_mut().insert(id.clone());
    request.extensions_mut().insert(Begun { at, trace: trace.clone() });
    let mut response = match short_cut(&request) {
        // Not `into_response`, which forgets the problem.
        Some(response) => ServiceResponse::new(request.into_parts().0, response).map_into_right_body(),
        None => next.call(request).await?.map_into_left_body(),
    };
    add_headers(response.headers_mut(), &id, trace.as_ref());
    let service = response.request().app_data::<web::Data<Service>>().cloned();
    if let Some(service) = service {
        if service.is_stopping() {
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        record::answered(&service, &response);
    }
    Ok(response)
}

fn client_id(request: &ServiceRequest) -> Option<RequestId> {
    RequestId::from_client(request.headers().get(&request_id::HEADER)?.as_bytes())
}

fn client_trace(request: &ServiceRequest) -> Option<TraceContext> {
    let mut headers = request.headers().get_all(&trace_context::HEADER);
    let only = headers.next()?;
    if headers.next().is_some() { None } else { TraceContext::from_client(only.as_bytes()) }
}

/// Answers that need no route.
fn short_cut(request: &ServiceRequest) -> Option<HttpResponse> {
    if request.method() == Method::OPTIONS {
        return Some(preflight());
    }
    let uri = request.uri();
    let length = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    (length > MAX_URI_BYTES)
        .then(|| HttpResponse::from_error(Problem::UriTooLong { length, limit: MAX_URI_BYTES }))
}

/// The old service's answer to `OPTIONS`.
fn preflight() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, OPTIONS"))
        .insert_header((
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "Accept, Authorization, Cache-Control, Content-Type, DNT, If-Modified-Since, Keep-Alive, Traceparent, \
             User-Agent, X-Request-Id, X-Requested-With",
        ))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, "1728000"))
        .finish()
}

fn add_headers(headers: &mut HeaderMap, id: &RequestId, trace: Option<&TraceContext>) {
    let fixed = HeaderValue::from_static;
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, fixed("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        fixed("Retry-After, X-Quality, X-Correctness, X-Integrity, Traceparent, X-Request-Id"),
    );
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    // An id is visible ASCII, which every header may hold.
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(request_id::HEADER.clone(), id);
    }
    if let Some(Ok(trace)) = trace.map(|trace| HeaderValue::try_from(trace.header())) {
        headers.insert(trace_context::HEADER.clone(), trace);
    }
}
