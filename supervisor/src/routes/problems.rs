//! `GET /problems/{slug}`: what the `type` of a problem body points to.

use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse, Responder};
use serde_json::{Value, json};

use super::no_such_path;
use crate::problem::{Kind, Problem};

/// All kinds of problem.
pub(super) async fn list() -> impl Responder {
    let kinds: Vec<Value> = Kind::ALL.into_iter().map(describe).collect();
    super::json(json!({ "problems": kinds }).to_string())
}

/// One kind.
pub(super) async fn one(request: HttpRequest, slug: Path<String>) -> Result<HttpResponse, Problem> {
    let kind = Kind::from_slug(&slug).ok_or_else(|| no_such_path(&request))?;
    Ok(super::json(describe(kind).to_string()))
}

fn describe(kind: Kind) -> Value {
    json!({
        "type": format!("/problems/{}", kind.slug()),
        "title": kind.title(),
        "status": kind.status().as_u16(),
    })
}
