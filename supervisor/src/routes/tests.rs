//! Routes over a service without a pool: everything that needs no worker.

use std::collections::BTreeSet;

use actix_web::body::MessageBody;
use actix_web::dev::{Service as _, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, init_service, read_body};
use actix_web::web::Data;
use actix_web::{App, Error};
use serde_json::Value;
use webrunner_kernels::Catalogue;

use crate::envelope::envelope;
use crate::machine::Machine;
use crate::service::Service;

/// What came back: status, some headers, body.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: impl AsRef<str>) -> Option<String> {
        self.headers.get(name.as_ref()).map(|value| value.to_str().unwrap().to_owned())
    }

    /// Status and slug of a problem, with the headers every problem has.
    fn problem(&self) -> (u16, String) {
        assert_eq!(self.header(CONTENT_TYPE).as_deref(), Some("application/problem+json"));
        assert_eq!(self.header("x-content-type-options").as_deref(), Some("nosniff"));
        let body = self.json();
        assert_eq!(body["status"], self.status);
        assert!(!body["detail"].as_str().unwrap().is_empty());
        (self.status, body["type"].as_str().unwrap().trim_start_matches("/problems/").to_owned())
    }
}

async fn send(request: TestRequest) -> Answer {
    let service = Service::new(Catalogue::builtin().unwrap(), Machine::gather(0), None);
    let app = App::new().app_data(Data::new(service)).configure(super::configure).wrap(from_fn(envelope));
    let app = init_service(app).await;
    let response: Result<ServiceResponse<_>, Error> = app.call(request.to_request()).await;
    answer(response.unwrap()).await
}

async fn answer<B: MessageBody>(response: ServiceResponse<B>) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, body: read_body(response).await.to_vec() }
}

async fn get(path: &str) -> Answer {
    send(TestRequest::get().uri(path)).await
}

async fn post(path: &str) -> Answer {
    send(TestRequest::post().uri(path).insert_header((CONTENT_TYPE, "application/octet-stream"))).await
}

fn problem(status: u16, slug: &str) -> (u16, String) {
    (status, slug.to_owned())
}

#[actix_web::test]
async fn kernels_are_listed_and_described() {
    let list = get("/kernels").await.json();
    let names: Vec<_> = list["kernels"].as_array().unwrap().iter().map(|kernel| &kernel["name"]).collect();
    assert!(names.iter().any(|name| **name == "blis.sdot"), "{names:?}");
    for name in ["sdot", "blis.sdot", "blis::sdot", "blis%3A%3Asdot"] {
        let kernel = get(&format!("/kernels/{name}")).await.json();
        assert_eq!(kernel["name"], "blis.sdot");
        assert!(kernel["prototype"].as_str().unwrap().starts_with("float sdot("));
        assert_eq!(kernel["parameters"][0]["name"], "n");
    }
}

#[actix_web::test]
async fn an_unknown_kernel_is_answered_with_names_like_it() {
    let answer = get("/kernels/sdott").await;
    assert_eq!(answer.problem(), problem(404, "unknown-kernel"));
    assert_eq!(answer.json()["near"][0], "blis.sdot");
    assert_eq!(post("/zen5/run?kernel=sdott").await.problem(), problem(404, "unknown-kernel"));
}

#[actix_web::test]
async fn a_service_without_a_pool_is_alive_but_not_ready() {
    assert_eq!(get("/livez").await.status, 200);
    for path in ["/readyz", "/zen5/monitor"] {
        let answer = get(path).await;
        assert_eq!(answer.problem(), problem(503, "not-ready"));
        assert_eq!(answer.header(RETRY_AFTER).as_deref(), Some("1"));
    }
    assert_eq!(post("/zen5/run?kernel=sdot").await.problem(), problem(503, "not-ready"));
}

#[actix_web::test]
async fn wrong_methods_are_told_the_right_ones() {
    let answer = post("/kernels").await;
    assert_eq!(answer.problem(), problem(405, "method-not-allowed"));
    assert_eq!(answer.header(ALLOW).as_deref(), Some("GET, HEAD"));
    let answer = get("/zen5/run?kernel=sdot").await;
    assert_eq!(answer.problem(), problem(405, "method-not-allowed"));
    assert_eq!(answer.header(ALLOW).as_deref(), Some("POST"));
}

#[actix_web::test]
async fn head_is_answered_wherever_get_is() {
    for path in ["/kernels", "/machine", "/livez", "/version", "/metrics", "/openapi.json"] {
        assert_eq!(send(TestRequest::default().method(Method::HEAD).uri(path)).await.status, 200, "{path}");
    }
}

#[actix_web::test]
async fn paths_of_the_service_are_no_machines() {
    assert_eq!(post("/metrics/run?kernel=sdot").await.problem(), problem(404, "not-found"));
    assert_eq!(get("/machine/monitor").await.problem(), problem(404, "not-found"));
    assert_eq!(get("/no/such/path").await.problem(), problem(404, "not-found"));
    assert_eq!(get("/").await.problem(), problem(404, "not-found"));
}

#[actix_web::test]
async fn a_bad_parameter_is_named_before_the_body_is_looked_at() {
    let answer = post("/zen5/run?kernel=sdot&n=-1").await;
    assert_eq!(answer.problem(), problem(400, "bad-parameter"));
    let body = answer.json();
    assert_eq!((&body["parameter"], &body["got"]), (&"n".into(), &"-1".into()));
}

#[actix_web::test]
async fn queries_are_read_strictly() {
    for (query, slug) in [
        ("", "kernel-missing"),
        ("kernel=sdot&kernel=sdot", "malformed-query"),
        ("kernel=sdot&n=%zz", "malformed-query"),
        ("kernel=sdot&_what=1", "unknown-option"),
        ("kernel=sdot&_effort=best", "bad-option"),
    ] {
        assert_eq!(post(&format!("/zen5/run?{query}")).await.problem(), problem(400, slug), "{query}");
    }
}

#[actix_web::test]
async fn an_object_must_be_declared_as_one() {
    let answer = send(TestRequest::post().uri("/zen5/run?kernel=sdot")).await;
    assert_eq!(answer.problem(), problem(415, "wrong-content-type"));
    let json =
        TestRequest::post().uri("/zen5/run?kernel=sdot").insert_header((CONTENT_TYPE, "application/json"));
    assert_eq!(send(json).await.json()["got"], "application/json");
}

#[actix_web::test]
async fn a_long_target_is_refused() {
    let answer = get(&format!("/zen5/monitor?x={}", "y".repeat(9000))).await;
    assert_eq!(answer.problem(), problem(414, "uri-too-long"));
}

#[actix_web::test]
async fn any_site_may_call() {
    let answer = send(TestRequest::default().method(Method::OPTIONS).uri("/zen5/run")).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.header("access-control-allow-methods").as_deref(), Some("GET, HEAD, POST, OPTIONS"));
    assert_eq!(answer.header("access-control-max-age").as_deref(), Some("1728000"));
    assert!(answer.header("access-control-allow-headers").unwrap().contains("Content-Type"));
    for answer in [answer, get("/livez").await, get("/none").await] {
        assert_eq!(answer.header(ACCESS_CONTROL_ALLOW_ORIGIN).as_deref(), Some("*"));
    }
}

#[actix_web::test]
async fn a_request_keeps_its_id_or_is_given_one() {
    let answer = send(TestRequest::get().uri("/livez").insert_header(("x-request-id", "job-17"))).await;
    assert_eq!(answer.header("x-request-id").as_deref(), Some("job-17"));
    let answer = send(TestRequest::get().uri("/livez").insert_header(("x-request-id", "two words"))).await;
    assert_eq!(answer.header("x-request-id").unwrap().len(), 16);
}

#[actix_web::test]
async fn requests_are_counted_by_route_and_not_by_path() {
    let service = Data::new(Service::new(Catalogue::builtin().unwrap(), Machine::gather(0), None));
    let app = App::new().app_data(service.clone()).configure(super::configure).wrap(from_fn(envelope));
    let app = init_service(app).await;
    for path in ["/one/monitor", "/two/monitor"] {
        app.call(TestRequest::get().uri(path).to_request()).await.unwrap();
    }
    let text = String::from_utf8(service.render_metrics()).unwrap();
    let line = "webrunner_http_requests_total{code=\"503\",method=\"GET\",route=\"/{machine}/monitor\"} 2";
    assert!(text.contains(line), "{text}");
}

#[actix_web::test]
async fn each_kind_of_problem_has_a_page() {
    let all = get("/problems").await.json();
    assert!(all["problems"].as_array().unwrap().len() > 20);
    assert_eq!(get("/problems/queue-full").await.json()["status"], 503);
    assert_eq!(get("/problems/none").await.problem(), problem(404, "not-found"));
}

#[actix_web::test]
async fn the_description_names_every_path_and_no_other() {
    let described: Value = serde_json::from_slice(&get("/openapi.json").await.body).unwrap();
    assert_eq!(described["openapi"], "3.1.0");
    let described: BTreeSet<_> = described["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let registered: BTreeSet<_> = super::PATHS.into_iter().collect();
    assert_eq!(described, registered);
    for path in registered {
        let path = path.replace("{machine}", "zen5").replace("{name}", "sdot").replace("{slug}", "fault");
        assert_ne!(get(&path).await.status, 404, "{path}");
    }
}
