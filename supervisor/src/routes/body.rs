//! Reads the object: no more than an object may have, no longer than a client should need.

use std::rc::Rc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use actix_web::rt::time::timeout;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;
use webrunner_protocol::limits::MAX_OBJECT_BYTES;

use crate::connections::Connection;
use crate::problem::Problem;

/// Longest the whole body may take; actix itself sets no limit.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Longest body of a refused request that is taken all the same.
const PASSED_OVER_BYTES: u64 = 64 << 10;

/// Longest the rest of it is waited for.
const PASSED_OVER_LIMIT: Duration = Duration::from_millis(100);

/// Checks that the body is declared as an object.
pub(super) fn check_content_type(request: &HttpRequest) -> Result<(), Problem> {
    let got = request.headers().get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let essence = got.as_deref().map(|got| got.split(';').next().unwrap_or_default().trim());
    match essence {
        Some(essence) if essence.eq_ignore_ascii_case("application/octet-stream") => Ok(()),
        _ => Err(Problem::WrongContentType { got: got.map(std::borrow::Cow::into_owned) }),
    }
}

/// Reads the body.
pub(super) async fn read(request: &HttpRequest, payload: Payload) -> Result<Bytes, Problem> {
    let declared = declared_length(request);
    if declared.is_some_and(|length| length > MAX_OBJECT_BYTES as u64) {
        return Err(Problem::BodyTooLarge { limit: MAX_OBJECT_BYTES });
    }
    let connection = request.conn_data::<Rc<Connection>>();
    let _reading = connection.map(|connection| connection.read_body(declared));
    match timeout(TIME_LIMIT, collect(payload)).await {
        Ok(body) => body,
        Err(_) => Err(Problem::BodyTooSlow { limit: TIME_LIMIT }),
    }
}

/// Takes a body that nobody wants off the connection, if it is short and on its way: the client can then go on using the
/// connection, where else it would be closed. So a farm that is refused for a moment need not connect anew.
pub(super) async fn pass_over(request: &HttpRequest, mut payload: Payload) {
    let is_short = declared_length(request).is_some_and(|length| length <= PASSED_OVER_BYTES);
    // A client that asked whether to send its body has its answer.
    if !is_short || request.headers().contains_key(EXPECT) {
        return;
    }
    let connection = request.conn_data::<Rc<Connection>>();
    let _reading = connection.map(|connection| connection.read_body(declared_length(request)));
    let end = async { while let Some(Ok(_)) = payload.next().await {} };
    // What does not come in time is cut off with the connection.
    let _ = timeout(PASSED_OVER_LIMIT, end).await;
}

fn declared_length(request: &HttpRequest) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Joins the chunks; a body that came in one piece, as small objects do, is not copied.
async fn collect(mut payload: Payload) -> Result<Bytes, Problem> {
    let Some(first) = payload.next().await else { return Ok(Bytes::new()) };
    let first = first.map_err(broken)?;
    check_length(first.len())?;
    let Some(second) = payload.next().await else { return Ok(first) };
    let mut body = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        let chunk = chunk.map_err(broken)?;
        check_length(body.len() + chunk.len())?;
        body.extend_from_slice(&chunk);
        next = payload.next().await;
    }
    Ok(body.freeze())
}

fn check_length(length: usize) -> Result<(), Problem> {
    if length <= MAX_OBJECT_BYTES { Ok(()) } else { Err(Problem::BodyTooLarge { limit: MAX_OBJECT_BYTES }) }
}

#[expect(clippy::needless_pass_by_value, reason = "passed to map_err")]
fn broken(error: PayloadError) -> Problem {
    match error {
        PayloadError::Overflow => Problem::BodyTooLarge { limit: MAX_OBJECT_BYTES },
        _ => Problem::BadBody,
    }
}
