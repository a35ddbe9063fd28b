//! Who posts a job, and whether they may.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use crate::problem::Problem;
use crate::rate_limit::Client;
use crate::service::Service;
use crate::tokens::{Stranger, Tokens};

/// Tells who posts. Where tokens are asked for, nobody gets further without one, and each attempt counts against the rate
/// of its address: those who guess are held to it too.
pub(super) fn identify(
    request: &HttpRequest,
    service: &Service,
    tokens: Option<&Tokens>,
) -> Result<Client, Problem> {
    let network = || Client::at(request.peer_addr().map(|peer| peer.ip()));
    let Some(tokens) = tokens else { return Ok(network()) };
    let named = match authorization(request) {
        Ok(header) => tokens.client(header),
        Err(stranger) => Err(stranger),
    };
    named.map(Client::Token).or_else(|stranger| {
        service.admit_client(network())?;
        Err(Problem::Unauthorized { stranger })
    })
}

/// The one `Authorization` header. Of two, a proxy in front may have looked at the other.
fn authorization(request: &HttpRequest) -> Result<Option<&[u8]>, Stranger> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let first = headers.next();
    match headers.next() {
        None => Ok(first.map(|value| value.as_bytes())),
        Some(_) => Err(Stranger::UnknownToken),
    }
}
