//! `GET /machine`: what this machine is, and what it cannot do, with reasons.

use actix_web::Responder;
use actix_web::web::Data;
use serde_json::json;

use crate::pool::ZygoteFacts;
use crate::service::Service;

/// All facts.
pub(super) async fn describe(service: Data<Service>) -> impl Responder {
    let mut body = service.machine.describe(service.facts());
    let describe = |zygote: ZygoteFacts| {
        json!({
            "core": zygote.core.0,
            "generation": zygote.generation,
            "jobs": zygote.jobs,
            "up": zygote.up,
        })
    };
    body["zygotes"] = service.zygotes().into_iter().map(describe).collect();
    super::json(body.to_string())
}
