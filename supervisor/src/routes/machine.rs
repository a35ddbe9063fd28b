//! `GET /machine`: what this machine is, and what it cannot do, with reasons.

use actix_web::Responder;
use actix_web::web::Data;

use crate::service::Service;

/// All facts.
pub(super) async fn describe(service: Data<Service>) -> impl Responder {
    super::json(service.machine.describe(service.facts()).to_string())
}
