//! Routes: which path takes which methods, and who answers.
//!
//! The two old paths have any machine's name in front; names that are paths of this service are no machines.

mod body;
mod client;
mod health;
mod jobs;
mod kernels;
mod machine;
mod monitor;
mod problems;

#[cfg(test)]
mod tests;

use actix_web::body::MessageBody;
use actix_web::http::Method;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{Handler, HttpRequest, HttpResponse, Resource, Responder, guard, web};

use crate::problem::Problem;

/// First segments that are no machine's name: paths there are, or may come to be.
const RESERVED: [&str; 14] = [
    "docs",
    "healthz",
    "jobs",
    "kernels",
    "livez",
    "machine",
    "machines",
    "metrics",
    "openapi.json",
    "problems",
    "readyz",
    "v1",
    "v2",
    "version",
];

/// Every path, for the test that holds `openapi.json` against them.
#[cfg(test)]
const PATHS: [&str; 12] = [
    "/kernels",
    "/kernels/{name}",
    "/livez",
    "/machine",
    "/metrics",
    "/openapi.json",
    "/problems",
    "/problems/{slug}",
    "/readyz",
    "/version",
    "/{machine}/monitor",
    "/{machine}/run",
];

/// Paths whose answer is how the service is.
const READY: &str = "/readyz";
const MONITOR: &str = "/{machine}/monitor";

/// The pattern a request matched, for metrics: put beside each handler, so that no look-up is needed to name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route(&'static str);

impl Route {
    /// The pattern; `none` if the request matched no route.
    #[must_use]
    pub fn pattern(self) -> &'static str {
        self.0
    }

    /// Whether it is there to ask how the service is.
    #[must_use]
    pub fn is_of_health(self) -> bool {
        [READY, MONITOR].contains(&self.0)
    }
}

impl Default for Route {
    fn default() -> Self {
        Self("none")
    }
}

/// Registers every route.
pub fn configure(app: &mut web::ServiceConfig) {
    app.service(get("/metrics", health::metrics));
    configure_clients(app);
}

/// Registers what operators need on a listener of their own.
pub fn configure_operators(app: &mut web::ServiceConfig) {
    app.service(get("/livez", health::live))
        .service(get(READY, health::ready))
        .service(get("/metrics", health::metrics))
        .service(get("/version", health::version))
        .default_service(web::to(not_found));
}

/// Registers every route but `/metrics`, which operators have on a listener of their own.
pub fn configure_clients(app: &mut web::ServiceConfig) {
    // A path that cannot be decoded names nothing.
    let paths = web::PathConfig::default().error_handler(|_, request| no_such_path(request).into());
    app.app_data(paths)
        // Paths are tried in order and patterns cost the most of it, so what is asked for most comes first. It is none of
        // the paths behind it, and what the guard leaves finds the same resource in its place at the end.
        .service(run().guard(guard::fn_guard(names_machine)))
        .service(get("/kernels", kernels::list))
        .service(get("/kernels/{name}", kernels::one))
        .service(get("/machine", machine::describe))
        .service(get("/livez", health::live))
        .service(get(READY, health::ready))
        .service(get("/version", health::version))
        .service(get("/openapi.json", health::openapi))
        .service(get("/problems", problems::list))
        .service(get("/problems/{slug}", problems::one))
        .service(get(MONITOR, monitor::monitor))
        .service(run())
        .default_service(web::to(not_found));
}

/// The resource that takes jobs.
fn run() -> Resource {
    resource("/{machine}/run").route(web::post().to(jobs::run)).default_service(refuse("POST"))
}

/// Whether the first segment, as it was written, is no path of this service.
fn names_machine(request: &guard::GuardContext<'_>) -> bool {
    let path = request.head().uri.path();
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    !first.contains('%') && !RESERVED.contains(&first)
}

/// A resource that answers GET, and HEAD with the same headers.
fn get<F, Args>(path: &'static str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    let method = guard::Any(guard::Get()).or(guard::Method(Method::HEAD));
    resource(path).route(web::route().guard(method).to(handler)).default_service(refuse("GET, HEAD"))
}

/// A resource that metrics know by its pattern.
fn resource(pattern: &'static str) -> Resource {
    web::resource(pattern).app_data(Route(pattern))
}

fn refuse(allow: &'static str) -> actix_web::Route {
    web::to(move || async move { Err::<HttpResponse, _>(Problem::MethodNotAllowed { allow }) })
}

async fn not_found(request: HttpRequest) -> Result<HttpResponse, Problem> {
    Err(no_such_path(&request))
}

fn no_such_path(request: &HttpRequest) -> Problem {
    Problem::NotFound { path: request.path().to_owned() }
}

/// Checks that the first segment may be a machine's name.
fn check_machine(request: &HttpRequest) -> Result<(), Problem> {
    match request.match_info().get("machine") {
        Some(machine) if !RESERVED.contains(&machine) => Ok(()),
        _ => Err(no_such_path(request)),
    }
}

fn json(body: impl MessageBody + 'static) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(body)
}
