//! Outputs are checked: right ones are verified, wrong ones found where they are wrong. Figures that cannot be true are
//! suspect.

use serde_json::{Value, json};
use webrunner_tests::jobs;
use webrunner_tests::service::Service;

/// A check that takes no longer than it must.
const QUICK: &str = "&_effort=quick&_check=yes";

/// Answers a busy machine gets to know a worker's end in time.
const ATTEMPTS: usize = 5;

/// What the answer says about outputs.
fn correctness(service: &Service, object: &str, query: &str) -> Value {
    let answer = service.measure(object, query);
    let told = answer["correctness"].clone();
    let warned = answer["warnings"].as_array().into_iter().flatten();
    let warned =
        warned.filter(|warning| warning.as_str().is_some_and(|text| text.contains("output is wrong")));
    assert_eq!(warned.count(), usize::from(told["verdict"] == "wrong_output"), "{answer}");
    told
}

/// Asserts that an output is found wrong, and gives what the answer says about it.
fn wrong(service: &Service, object: &str, query: &str) -> Value {
    let told = correctness(service, object, query);
    assert_eq!(told["verdict"], "wrong_output", "{object}, {query}: {told}");
    told
}

/// Asserts that an output is left unchecked for a reason with these words.
fn unchecked(service: &Service, object: &str, query: &str, words: &str) {
    let told = correctness(service, object, query);
    assert_eq!(told["verdict"], "unchecked", "{object}, {query}: {told}");
    assert!(
        told["reason"].as_str().is_some_and(|reason| reason.contains(words)),
        "{object}, {query}: {told}"
    );
}

#[test]
fn right_outputs_are_verified() {
    let service = Service::start();
    for (object, query) in [
        ("good/sdot_gas.o", "kernel=sdot"),
        ("good/sdot_gas.o", "kernel=sdot&_counts=no"),
        ("good/sgemm_clang_O2_pic.o", "kernel=sgemm&cs_c=8"),
        ("good/sdot_gcc_O2_pic.o", "kernel=sdot&n=1000&incx=3&incy=2&offx=4&_effort=quick&_check=yes"),
        ("good/sdot_gas.o", "kernel=sdot&n=1&_effort=quick&_check=yes"),
        ("good/sdot_gas.o", "kernel=sdot&n=100000&_effort=quick&_check=yes"),
        ("good/ddot_gcc_O2_pic.o", "kernel=ddot&_effort=quick&_check=yes"),
        ("good/saxpy_clang_O3_pic.o", "kernel=saxpy&incy=2&_effort=quick&_check=yes&_counts=yes"),
        ("good/snrm2_gcc_O2_pic.o", "kernel=snrm2&_effort=quick&_check=yes"),
        (
            "checked/copy_right.o",
            "kernel=scopy&n=7&incx=2&incy=3&offy=3&_effort=quick&_check=yes&_counts=yes",
        ),
        ("checked/root.o", "kernel=test.root&_effort=quick&_check=yes"),
    ] {
        let told = correctness(&service, object, query);
        assert_eq!(told["verdict"], "verified", "{object}, {query}: {told}");
        assert_eq!(told["call_ticks"].as_array().map(Vec::len), Some(4), "{told}");
    }
}

/// Every built-in kernel that has a reference: all but `playground`.
fn checked_kernels(service: &Service) -> Vec<String> {
    let listed = service.get("/kernels").json();
    let kernels = listed["kernels"].as_array().expect("a list of kernels");
    let names = kernels.iter().filter_map(|kernel| kernel["name"].as_str()).map(str::to_owned);
    names.filter(|name| name.starts_with("blis.") || name.starts_with("vector.")).collect()
}

/// Parameters that make the buffers of a kernel larger than a frame of outputs.
fn large(kernel: &str) -> &'static str {
    if kernel.ends_with("gemm") { "&mr=64&nr=64&k=65536&rs_c=2&cs_c=64" } else { "&n=5000000" }
}

/// The rates of an answer that are made of declared work.
fn rates(answer: &Value) -> Vec<&Value> {
    ["flop_per_cycle", "bytes_per_cycle"].into_iter().filter_map(|name| answer["derived"].get(name)).collect()
}

#[test]
fn a_function_that_does_nothing_is_wrong_whatever_the_kernel() {
    let service = Service::start();
    let kernels = checked_kernels(&service);
    assert_eq!(kernels.len(), 28, "{kernels:?}");
    for kernel in &kernels {
        for size in ["", large(kernel)] {
            let query = format!("kernel={kernel}{size}{QUICK}");
            let told = wrong(&service, "checked/nothing.o", &query);
            // Of the elements of a large tile a sample is computed.
            let is_first = told["returned"] == true || told["index"] == 0 || kernel.ends_with("gemm");
            assert!(is_first, "{query}: {told}");
        }
    }
    wrong(&service, "checked/nothing.o", &format!("kernel=test.root{QUICK}"));
    let told = wrong(&service, "checked/nothing.o", "kernel=sgemm&cs_c=8");
    assert_eq!((&told["argument"], &told["index"]), (&json!("c"), &json!(0)), "{told}");
}

#[test]
fn a_wrong_output_has_no_rates_of_the_work_that_was_not_done() {
    let service = Service::start();
    for kernel in ["sgemm", "dgemm", "sdot&n=3000000"] {
        let answer = service.measure("checked/nothing.o", &format!("kernel={kernel}"));
        assert_eq!(answer["correctness"]["verdict"], "wrong_output", "{answer}");
        assert_eq!(rates(&answer), [&Value::Null; 2], "{answer}");
        let absent = answer["absent"].as_array().into_iter().flatten();
        let reasons: Vec<_> = absent.filter(|absent| absent["name"] == "flop_per_cycle").collect();
        assert!(reasons.len() == 1 && reasons[0]["reason"].is_string(), "{answer}");
    }
}

#[test]
fn work_that_was_neither_checked_nor_possible_is_suspect() {
    let service = Service::start();
    for (query, rules) in [
        ("kernel=sgemm&_effort=quick", ["flop-rate"].as_slice()),
        ("kernel=scopy&n=100000&_effort=quick", &["byte-rate"]),
        ("kernel=sdot&_check=no", &["flop-executed"]),
        ("kernel=dgemm&_check=no", &["flop-rate", "flop-executed"]),
    ] {
        let answer = service.measure("checked/nothing.o", query);
        assert_eq!(answer["integrity"], "suspect", "{answer}");
        assert!(rules.iter().all(|rule| broken(&answer).contains(rule)), "{answer}");
    }
}

#[test]
fn work_that_nothing_shows_to_be_done_is_warned_of() {
    let service = Service::start();
    let warned = |object: &str, query: &str, words: &str| {
        let answer = service.measure(object, query);
        let warnings = answer["warnings"].as_array().into_iter().flatten();
        let mut about = warnings.filter_map(Value::as_str);
        (about.any(|warning| warning.contains(words)), answer)
    };
    for (object, query, words, expected) in [
        ("good/sdot_gas.o", "kernel=sdot&_effort=quick", "nothing shows that it was done", true),
        ("good/sdot_gas.o", &format!("kernel=sdot{QUICK}"), "nothing shows that it was done", false),
        ("good/sdot_gas.o", "kernel=sdot&_check=no", "the kernel declares", false),
        ("checked/nothing.o", "kernel=scopy&_check=no", "of the bytes that the kernel declares", true),
    ] {
        let (is_warned, answer) = warned(object, query, words);
        assert_eq!(is_warned, expected, "{object}, {query}: {answer}");
    }
}

#[test]
fn right_outputs_are_verified_whatever_their_size() {
    let service = Service::start();
    for (object, query, left_out) in [
        ("good/sdot_gas.o", "kernel=sdot", None),
        ("good/sgemm_clang_O2_pic.o", "kernel=sgemm", Some("16 elements of c share 9 places")),
        ("good/sgemm_gcc_O3_avx2.o", "kernel=sgemm", Some("share 9 places")),
        ("good/sdot_clang_O0_pic.o", "kernel=sdot&n=3000000", Some("4096 places of 64 bytes")),
        ("good/ddot_gcc_O2_pic.o", "kernel=ddot&n=3000000", Some("4096 places")),
        ("good/snrm2_gcc_O2_pic.o", "kernel=snrm2&n=5000000", Some("4096 places")),
        ("good/saxpy_clang_O3_pic.o", "kernel=saxpy&n=3000000", Some("4096 places")),
        ("checked/copy_right.o", "kernel=scopy&n=1500000&incx=2&incy=3", Some("4096 places")),
        ("good/sexp_gcc_O3_avx2.o", "kernel=vector.sexp&n=3000000", Some("4096 places")),
    ] {
        let told = correctness(&service, object, &format!("{query}{QUICK}"));
        assert_eq!(told["verdict"], "verified", "{object}, {query}: {told}");
        let words = told["left_out"].as_str();
        assert_eq!(words.is_some(), left_out.is_some(), "{object}, {query}: {told}");
        assert!(
            words.unwrap_or_default().contains(left_out.unwrap_or_default()),
            "{object}, {query}: {told}"
        );
    }
}

#[test]
fn a_wrong_element_of_a_large_array_is_found_though_only_a_sample_is_looked_at() {
    let service = Service::start();
    for (object, argument) in [("copy_reversed", "y"), ("copy_once", "y"), ("copy_between", "y")] {
        let query = format!("kernel=scopy&n=3000000&incy=2{QUICK}");
        let told = wrong(&service, &format!("checked/{object}.o"), &query);
        assert_eq!(told["argument"], argument, "{object}: {told}");
        assert_ne!(told["call"], "measured", "{object}: {told}");
    }
}

#[test]
fn where_nan_is_right_nothing_else_is() {
    let service = Service::start();
    let query = format!("kernel=test.root_of_any{QUICK}");
    assert_eq!(correctness(&service, "checked/root.o", &query)["verdict"], "verified");
    assert_eq!(wrong(&service, "checked/nothing.o", &format!("{query}&n=1000"))["call"], "measured");
}

#[test]
fn a_wrong_element_is_named_by_argument_and_index() {
    let service = Service::start();
    for (object, query, argument, index) in [
        ("copy_one_wrong", "kernel=scopy", "y", 513),
        ("copy_one_wrong", "kernel=scopy&incy=2", "y", 1026),
        ("copy_reversed", "kernel=scopy", "y", 0),
        ("copy_between", "kernel=scopy&incy=2", "y", 1),
        ("copy_spoiling", "kernel=scopy", "x", 5),
        ("dot_zeroing", "kernel=sdot", "x", 3),
    ] {
        let told = wrong(&service, &format!("checked/{object}.o"), query);
        assert_eq!(
            (&told["argument"], &told["index"]),
            (&json!(argument), &json!(index)),
            "{object}: {told}"
        );
        assert_eq!(told["call"], "measured", "{object}: {told}");
        assert_ne!(told["expected"], told["got"], "{object}: {told}");
    }
    let told = wrong(&service, "checked/copy_one_wrong.o", &format!("kernel=scopy{QUICK}"));
    let of = |name: &str| told[name].as_f64().expect("a number");
    assert!((of("got") - of("expected") - 1.0).abs() < 1e-6, "{told}");
}

#[test]
fn work_that_is_done_once_or_only_where_it_shows_is_found_out() {
    let service = Service::start();
    for (object, query) in [
        ("copy_once", "kernel=scopy"),
        ("copy_once", "kernel=scopy&_effort=quick&_check=yes"),
        ("copy_peeking", "kernel=scopy"),
        ("copy_peeking", "kernel=scopy&_effort=quick&_check=yes"),
    ] {
        let told = wrong(&service, &format!("checked/{object}.o"), query);
        assert_eq!((&told["call"], &told["argument"]), (&json!("altered"), &json!("y")), "{object}: {told}");
        assert!(told["index"].as_u64().is_some_and(|index| index < 1024), "{object}: {told}");
    }
    for object in ["dot_for_ever", "dot_by_first_element"] {
        let told = wrong(&service, &format!("checked/{object}.o"), &format!("kernel=sdot{QUICK}"));
        assert_eq!((&told["call"], &told["returned"]), (&json!("altered"), &json!(true)), "{object}: {told}");
    }
}

#[test]
fn a_checked_call_that_does_not_return_is_no_right_one() {
    let service = Service::start();
    let told = wrong(&service, "checked/dot_faulting.o", &format!("kernel=sdot{QUICK}"));
    assert!(told["reason"].as_str().is_some_and(|reason| reason.contains("SIGSEGV")), "{told}");
    service.settle();
    jobs::good_job_is_right(&service);
}

#[test]
fn what_cannot_be_checked_says_why() {
    let service = Service::start();
    unchecked(&service, "good/chain1000.o", &format!("kernel=playground{QUICK}"), "no reference");
    unchecked(&service, "good/sdot_gas.o", "kernel=sdot&_effort=quick", "_check=yes");
    unchecked(&service, "checked/nothing.o", "kernel=sdot&_check=no", "_check=yes");
    unchecked(&service, "checked/nothing.o", &format!("kernel=sdot&n=0{QUICK}"), "no elements");
    let answer = service.post("checked/nothing.o", "kernel=sdot&_check=maybe");
    assert_eq!((answer.status, &answer.problem()["option"]), (400, &json!("_check")));
}

#[test]
fn inputs_are_secret_and_the_measured_ones_always_the_same() {
    let service = Service::start();
    let told = |_| {
        wrong(&service, "checked/dot_for_ever.o", "kernel=sdot&_effort=quick&_check=yes")["expected"].clone()
    };
    let [one, other] = [0, 1].map(told);
    assert_ne!(one, other, "two jobs were challenged alike");
    let returned = |_| service.measure("good/sdot_gas.o", "kernel=sdot")["returned"].clone();
    let [one, other] = [0, 1].map(returned);
    assert_eq!(one, other);
}

#[test]
fn formats_without_room_for_it_say_it_in_headers() {
    let service = Service::start();
    for format in ["text", "csv", "json"] {
        let answer = service.post("checked/copy_reversed.o", &format!("kernel=scopy&_format={format}"));
        assert_eq!(
            (answer.status, answer.header("x-correctness")),
            (200, Some("wrong_output")),
            "{answer:?}"
        );
        assert!(answer.header("x-integrity").is_some_and(|word| word != "verified"), "{answer:?}");
        assert!(format != "text" || answer.text().lines().all(|line| line.contains(": ")), "{answer:?}");
    }
}

#[test]
fn an_honest_function_is_verified_with_every_rule() {
    let service = Service::start();
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let answer = service.measure("good/sdot_gas.o", "kernel=sdot");
        assert_ne!(answer["integrity"], "suspect", "{answer}");
        if answer["integrity"] == "verified" {
            let rules = answer["integrity_rules"].as_array().expect("rules");
            assert!(rules.iter().all(|rule| rule["holds"] != false), "{answer}");
            assert!(rules.iter().filter(|rule| rule["holds"] == true).count() >= 8, "{answer}");
            assert!(answer["usage"]["user_us"].is_number(), "{answer}");
            return;
        }
        seen.push(answer["integrity"].clone());
    }
    panic!("never verified: {seen:?}");
}

#[test]
fn without_a_reference_a_figure_is_consistent_at_best() {
    let service = Service::start();
    for effort in ["quick", "standard"] {
        let answer = service.measure("good/chain1000.o", &format!("kernel=playground&_effort={effort}"));
        assert!(["consistent", "unverified"].iter().any(|word| answer["integrity"] == *word), "{answer}");
    }
}

/// The names of the rules an answer says are broken.
fn broken(answer: &Value) -> Vec<&str> {
    let rules = answer["integrity_rules"].as_array().into_iter().flatten();
    rules.filter(|rule| rule["holds"] == false).filter_map(|rule| rule["rule"].as_str()).collect()
}

#[test]
fn a_forged_reply_is_suspect_and_names_what_it_got_wrong() {
    let service = Service::start();
    let forged = service.measure("hostile/forge_reply.o", "kernel=playground");
    assert_eq!(
        (&forged["integrity"], forged["results"][0]["value"].as_f64()),
        (&json!("suspect"), Some(1.0)),
        "{forged}"
    );
    assert_eq!(broken(&forged), ["least-cpu-time"], "{forged}");
    let warning = forged["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("cannot be true") && warning.contains("least-cpu-time"), "{forged}");
    let forged = service.measure("hostile/forge_reply_code.o", "kernel=playground");
    assert_eq!(broken(&forged), ["exit-code", "least-cpu-time"], "{forged}");
    let forged = service.measure("hostile/forge_reply_idle.o", "kernel=playground");
    assert_eq!(broken(&forged), ["unaccounted-time"], "{forged}");
    service.settle();
    jobs::good_job_is_right(&service);
}

#[test]
fn a_forged_reply_does_not_pass_where_outputs_are_checked() {
    let service = Service::start();
    let refused = service.refusal("hostile/forge_reply.o", "kernel=sdot");
    assert_eq!(refused["type"], "/problems/protocol-violation", "{refused}");
    let forged = service.measure("hostile/forge_outputs.o", "kernel=sdot");
    assert_eq!(forged["integrity"], "suspect", "{forged}");
    let told = &forged["correctness"];
    assert_eq!(
        (&told["argument"], &told["index"], &told["got"]),
        (&json!("x"), &json!(0), &json!(0.0)),
        "{told}"
    );
    let quick = service.measure("hostile/forge_outputs.o", "kernel=sdot&_effort=quick&_check=yes");
    assert_eq!(quick["correctness"]["verdict"], "wrong_output", "{quick}");
    assert_ne!(quick["integrity"], "verified", "{quick}");
    service.settle();
    jobs::good_job_is_right(&service);
}
