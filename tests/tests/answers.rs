//! What an answer holds: figures with their sources, everything needed to compare machines, and doubts.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use webrunner_tests::http::Request;
use webrunner_tests::jobs;
use webrunner_tests::objects;
use webrunner_tests::service::Service;

const CHAIN: &str = "good/chain1000.o";
const PLAYGROUND: &str = "kernel=playground";

/// The members of a list that have this name.
fn named<'a>(list: &'a Value, name: &str) -> Vec<&'a Value> {
    list.as_array().into_iter().flatten().filter(|member| member["name"] == name).collect()
}

#[test]
fn an_answer_has_every_member_it_is_to_have() {
    let service = Service::start();
    let answer = service.measure(CHAIN, PLAYGROUND);
    assert_eq!(answer["schema"], 1);
    for name in ["id", "kernel", "prototype", "quality", "integrity"] {
        assert!(answer[name].as_str().is_some_and(|text| !text.is_empty()), "{name}: {answer}");
    }
    for name in ["machine", "parameters", "object", "method", "derived", "timing"] {
        assert!(answer[name].is_object(), "{name}: {answer}");
    }
    for name in ["results", "absent", "isolation", "isolation_missing", "findings", "warnings"] {
        assert!(answer[name].is_array(), "{name}: {answer}");
    }
}

#[test]
fn every_figure_has_a_unit_a_source_and_as_many_samples_as_it_says() {
    let answer = Service::start().measure(CHAIN, PLAYGROUND);
    for figure in answer["results"].as_array().expect("figures") {
        assert!(figure["unit"].is_string() && figure["value"].is_number(), "{figure}");
        let source = figure["source"].as_str().expect("a source");
        assert!(["pmu", "tsc-chain", "tsc-single", "block-count", "kernel"].contains(&source), "{figure}");
        if source == "tsc-chain" {
            let samples = figure["samples"].as_array().expect("samples");
            assert_eq!(figure["n"], samples.len(), "{figure}");
            let of = |name: &str| figure[name].as_f64().expect("a number");
            assert!(of("min") <= of("p25") && of("p25") <= of("value"), "{figure}");
            assert!(of("value") <= of("p75") && of("p75") <= of("max"), "{figure}");
        }
    }
}

#[test]
fn what_was_not_counted_is_absent_with_a_reason_and_never_zero() {
    let answer = Service::start().measure(CHAIN, PLAYGROUND);
    for absent in answer["absent"].as_array().expect("a list") {
        let name = absent["name"].as_str().expect("a name");
        assert!(absent["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{absent}");
        assert!(named(&answer["results"], name).is_empty(), "{name} is both there and absent");
    }
    let there = named(&answer["results"], "Instructions").len();
    let absent = ["Instructions", "*hardware*"].map(|name| named(&answer["absent"], name).len());
    assert!(there > 0 || absent != [0, 0], "{answer}");
}

#[test]
fn the_object_is_named_by_its_digest_and_the_function_that_ran() {
    let answer = Service::start().measure(CHAIN, PLAYGROUND);
    let bytes = objects::read(CHAIN);
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(answer["object"]["sha256"], digest);
    assert_eq!(answer["object"]["bytes"], bytes.len());
    assert_eq!(answer["object"]["symbol"], "playground");
}

#[test]
fn all_parameters_are_told_whether_given_or_not() {
    let answer = Service::start().measure("good/sdot_gas.o", "kernel=sdot&n=100&offx=4&_effort=quick");
    assert_eq!(answer["kernel"], "blis.sdot");
    assert_eq!(answer["parameters"], json!({ "n": 100, "incx": 1, "incy": 1, "offx": 4, "offy": 0 }));
    assert!(answer["prototype"].as_str().expect("a prototype").starts_with("float sdot("));
}

#[test]
fn the_same_data_is_measured_every_time() {
    let service = Service::start();
    let query = "kernel=sdot&n=100&_effort=quick";
    let first = service.measure("good/sdot_gas.o", query);
    assert_eq!(first["returned"], service.measure("good/sdot_gas.o", query)["returned"]);
    assert_eq!(first["returned"], Service::start().measure("good/sdot_gas.o", query)["returned"]);
    assert_ne!(
        first["returned"],
        service.measure("good/sdot_gas.o", "kernel=sdot&n=99&_effort=quick")["returned"]
    );
}

#[test]
fn figures_are_derived_from_what_was_measured_alone() {
    let answer = Service::start().measure("good/sdot_gas.o", "kernel=sdot&n=100");
    let cycles = answer["results"][0]["value"].as_f64().expect("cycles");
    assert_eq!(answer["derived"]["flop_per_cycle"].as_f64(), Some(200.0 / cycles));
    let counts = !named(&answer["results"], "Instructions").is_empty();
    assert_eq!(answer["derived"].get("ipc").is_some(), counts);
}

#[test]
fn each_effort_is_told_and_a_quick_one_doubted() {
    let service = Service::start();
    for effort in ["quick", "standard", "thorough"] {
        let answer = service.measure(CHAIN, &format!("{PLAYGROUND}&_effort={effort}"));
        assert_eq!(answer["method"]["effort"], effort);
        let doubted = answer["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty());
        assert!(answer["quality"] == "ok" || doubted, "{answer}");
        assert_eq!(answer["quality"] == "quick", effort == "quick", "{answer}");
    }
}

#[test]
fn every_form_says_how_far_it_can_be_trusted() {
    let service = Service::start();
    for form in ["text", "csv"] {
        let answer = service.post(CHAIN, &format!("{PLAYGROUND}&_effort=quick&_format={form}"));
        assert_eq!(answer.header("x-quality"), Some("quick"), "{answer:?}");
    }
    let answer = service.post(CHAIN, &format!("{PLAYGROUND}&_format=json"));
    assert_eq!(answer.header("x-quality"), answer.json()["quality"].as_str(), "{answer:?}");
    let quick = service.measure(CHAIN, &format!("{PLAYGROUND}&_effort=quick"));
    let absent = named(&quick["absent"], "ThroughputCycles");
    assert!(absent.len() == 1 && quick["method"]["minus_empty_call"].is_null(), "{quick}");
}

#[test]
fn layers_of_isolation_are_told_and_missing_ones_explained() {
    let answer = Service::start().measure(CHAIN, PLAYGROUND);
    let layers = answer["isolation"].as_array().expect("layers");
    for always in ["seccomp", "no_new_privs", "rlimits", "not_dumpable"] {
        assert!(layers.contains(&json!(always)), "{always} is not in {layers:?}");
    }
    for missing in answer["isolation_missing"].as_array().expect("a list") {
        assert!(missing["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{missing}");
        assert!(!layers.contains(&missing["name"]), "{missing}");
    }
}

#[test]
fn the_machine_is_described_alike_in_answers_and_on_its_own() {
    let service = Service::start();
    let (answer, machine) = (service.measure(CHAIN, PLAYGROUND), service.get("/machine").json());
    for fact in ["cpu", "family", "model", "stepping", "microarchitecture", "kernel"] {
        assert_eq!(answer["machine"][fact], machine[fact], "{fact}");
    }
    assert!(machine["cores"].as_array().expect("cores").contains(&answer["machine"]["core"]));
    assert_eq!(answer["isolation"], machine["isolation"]);
}

#[test]
fn the_first_comma_separated_line_names_the_fields_of_the_others() {
    let service = Service::start();
    let answer = service.post(CHAIN, &format!("{PLAYGROUND}&_format=csv"));
    assert!(answer.header("content-type").expect("a type").starts_with("text/csv"));
    let mut lines = answer.text().lines();
    assert_eq!(lines.next(), Some("name,value,unit,source,min,p25,p75,mad,n"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert_eq!((rows[0][0], rows[0][2], rows[0][3]), ("Cycles", "cycles", "tsc-chain"));
    assert!(rows.iter().all(|row| row.len() == 9 && row[1].parse::<f64>().is_ok()), "{rows:?}");
}

#[test]
fn the_form_follows_the_accept_header_unless_the_query_names_one() {
    let service = Service::start();
    let form = |query: &str, accept: &str| {
        let request =
            jobs::request(CHAIN, &format!("{PLAYGROUND}&_effort=quick{query}")).header("Accept", accept);
        let answer = request.send(service.address());
        answer.header("content-type").and_then(|value| value.split(';').next().map(str::to_owned))
    };
    for (query, accept, expected) in [
        ("", "application/json", "application/json"),
        ("", "text/csv", "text/csv"),
        ("", "*/*", "text/plain"),
        ("", "image/png", "text/plain"),
        ("", "text/plain;q=0.5, application/json", "application/json"),
        ("&_format=text", "application/json", "text/plain"),
        ("&_format=json", "text/csv", "application/json"),
    ] {
        assert_eq!(form(query, accept).as_deref(), Some(expected), "{query} {accept}");
    }
}

#[test]
fn a_request_keeps_the_id_its_client_gave_it() {
    let service = Service::start();
    let query = format!("{PLAYGROUND}&_format=json&_effort=quick");
    let answer = jobs::request(CHAIN, &query).header("X-Request-Id", "farm-17.3").send(service.address());
    assert_eq!(answer.header("x-request-id"), Some("farm-17.3"));
    assert_eq!(answer.json()["id"], "farm-17.3");
}

#[test]
fn kernels_can_be_called_by_any_of_their_names() {
    let service = Service::start();
    for name in ["sdot", "blis.sdot", "blis::sdot", "blis%3A%3Asdot"] {
        let answer = service.measure("good/sdot_gas.o", &format!("kernel={name}&_effort=quick"));
        assert_eq!(answer["kernel"], "blis.sdot");
    }
}

#[test]
fn a_function_is_chosen_by_its_symbol() {
    let service = Service::start();
    let object = "good/several_functions_gcc_O2_pic.o";
    for (symbol, returned) in [("first", 1), ("second", 2), ("third", 3)] {
        let answer =
            service.measure(object, &format!("kernel=test.playground&_symbol={symbol}&_effort=quick"));
        assert_eq!((&answer["object"]["symbol"], &answer["returned"]), (&json!(symbol), &json!(returned)));
    }
}

#[test]
fn what_can_be_asked_of_the_service_is_described() {
    let service = Service::start();
    let kernels = service.get("/kernels").json();
    assert!(
        !named(&kernels["kernels"], "blis.sdot").is_empty()
            && !named(&kernels["kernels"], "test.probe").is_empty()
    );
    assert_eq!(service.get("/openapi.json").json()["openapi"], "3.1.0");
    assert_eq!(service.get("/version").json()["name"], "webrunner");
    assert_eq!(service.get("/livez").json()["status"], "alive");
    assert_eq!(service.readiness()["status"], "ready");
}

#[test]
fn operators_see_jobs_by_kernel_and_outcome() {
    let service = Service::start();
    let _ = service.measure(CHAIN, PLAYGROUND);
    let _ = service.refusal("hostile/ud2.o", PLAYGROUND);
    let answer = service.get("/metrics");
    for outcome in ["ok", "fault"] {
        let counted = answer.text().lines().any(|line| {
            line.contains("kernel=\"playground\"")
                && line.contains(&format!("outcome=\"{outcome}\""))
                && line.ends_with(" 1")
        });
        assert!(counted, "{outcome}: {}", answer.text());
    }
    assert_eq!(Request::new("HEAD", "/metrics").send(service.address()).status, 200);
}
