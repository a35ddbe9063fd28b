//! `GET /{machine}/monitor`: what old front pages ask before they offer a machine.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::check_machine;
use crate::problem::Problem;
use crate::service::Service;

/// 200 while jobs can run.
pub(super) async fn monitor(request: HttpRequest, service: Data<Service>) -> Result<HttpResponse, Problem> {
    check_machine(&request)?;
    service.ready()?;
    Ok(HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).finish())
}
