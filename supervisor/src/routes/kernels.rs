//! `GET /kernels` and `GET /kernels/{name}`: what can be measured and which parameters it takes.

use actix_web::web::{Data, Path};
use actix_web::{HttpResponse, Responder};

use crate::catalogue;
use crate::problem::Problem;
use crate::service::Service;

/// All kernels.
pub(super) async fn list(service: Data<Service>) -> impl Responder {
    super::json(service.live.state().listing())
}

/// One kernel.
pub(super) async fn one(service: Data<Service>, name: Path<String>) -> Result<HttpResponse, Problem> {
    let state = service.live.state();
    let kernel = catalogue::find(&state.catalogue, &name)?;
    Ok(super::json(catalogue::describe(kernel).to_string()))
}
