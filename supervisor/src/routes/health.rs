//! Paths for operators: is it alive, is it ready, which version, how busy; and the description of the interface.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Data;
use actix_web::{HttpResponse, Responder};
use serde_json::{Value, json};
use webrunner_protocol::PROTOCOL_VERSION;

use crate::metrics;
use crate::problem::Problem;
use crate::self_check::Verdict;
use crate::service::Service;

/// Kept true by hand; a test holds its paths against the routes.
const OPENAPI: &str = include_str!("../openapi.json");

/// 200 as long as the event loop turns.
pub(super) async fn live() -> impl Responder {
    super::json(json!({ "status": "alive" }).to_string())
}

/// 200 while jobs can run, with how busy it is; else a problem that says why.
pub(super) async fn ready(service: Data<Service>) -> Result<HttpResponse, Problem> {
    service.ready()?;
    let gauges = service.gauges();
    let events = &service.facts().events;
    let missing = events.iter().filter(|event| event.missing.is_some()).count();
    Ok(super::json(
        json!({
            "status": "ready",
            "queued": gauges.queued,
            "queue_capacity": gauges.queue_capacity,
            "running": gauges.running,
            "standby": gauges.standby,
            "zygotes": gauges.zygotes,
            "self_check": describe(&service.verdict()),
            "counters": {
                "open": events.len() - missing,
                "missing": missing,
                "hardware": service.machine.no_counters.is_none(),
                "reason": service.machine.no_counters,
            },
        })
        .to_string(),
    ))
}

/// A verdict that leaves the service ready, with its age.
fn describe(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Off => json!({ "state": "off" }),
        Verdict::Pending => json!({ "state": "pending" }),
        Verdict::Passed { at } => json!({ "state": "passed", "age_seconds": at.elapsed().as_secs() }),
        Verdict::Failed { reason } => json!({ "state": "failed", "reason": reason }),
    }
}

/// Version of the program and of its protocol with workers.
pub(super) async fn version() -> impl Responder {
    super::json(
        json!({
            "name": "webrunner",
            "version": env!("CARGO_PKG_VERSION"),
            "protocol": PROTOCOL_VERSION,
        })
        .to_string(),
    )
}

/// Prometheus's text format.
pub(super) async fn metrics(service: Data<Service>) -> impl Responder {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, metrics::CONTENT_TYPE)).body(service.render_metrics())
}

/// The interface in OpenAPI 3.1.
pub(super) async fn openapi() -> impl Responder {
    super::json(OPENAPI)
}
