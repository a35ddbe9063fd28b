//! What a client's parameters are refused for, and that each refusal says what to do.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use webrunner_kernels::{Binding, Catalogue, ParameterError, Value};
use webrunner_protocol::plan::Argument;

fn bind(kernel: &str, given: &[(&str, &str)]) -> Result<Binding, ParameterError> {
    Catalogue::builtin().unwrap().get(kernel).unwrap().bind(given.iter().copied())
}

fn refusal(kernel: &str, given: &[(&str, &str)]) -> ParameterError {
    bind(kernel, given).unwrap_err()
}

#[test]
fn an_unknown_parameter_is_refused_with_near_names() {
    let error = refusal("sdot", &[("incz", "1")]);
    assert_eq!(error.to_string(), "kernel blis.sdot has no parameter `incz`; did you mean incx or incy?");
    assert_eq!((error.kind(), error.parameter()), ("unknown-parameter", Some("incz")));
    assert_eq!(error.near(), ["incx", "incy"]);
    let error = refusal("sdot", &[("something", "1")]);
    assert_eq!(
        error.to_string(),
        "kernel blis.sdot has no parameter `something`; it takes n, incx, incy, offx, offy"
    );
}

#[test]
fn a_repeated_parameter_is_refused() {
    let error = refusal("sdot", &[("n", "1"), ("n", "1")]);
    assert_eq!(error.to_string(), "parameter `n` is given more than once; give it once");
    assert_eq!(error.kind(), "repeated-parameter");
}

#[test]
fn a_value_out_of_range_is_refused_with_range_and_value() {
    let error = refusal("sgemm", &[("k", "65537")]);
    assert_eq!(error.to_string(), "parameter `k` must be a whole number from 1 to 65536, got `65537`");
    assert_eq!(error.kind(), "parameter-value");
    assert_eq!(error.parameter(), Some("k"));
    assert_eq!(error.expected().as_deref(), Some("a whole number from 1 to 65536"));
    assert_eq!(error.got().as_deref(), Some("65537"));
}

#[test]
fn values_that_are_no_plain_numbers_are_refused() {
    for text in ["", " 1", "+1", "-1", "1.0", "0x1", "1e3", "1_000", "18446744073709551616", "٣"] {
        assert_eq!(refusal("playground", &[("iterations", text)]).kind(), "parameter-value", "{text}");
    }
    for text in ["inf", "NaN", "1e39", "-", "1,5", ""] {
        assert_eq!(refusal("saxpy", &[("alpha", text)]).kind(), "parameter-value", "{text}");
    }
}

#[test]
fn what_came_is_escaped_and_cut() {
    let long = "\n".repeat(100_000);
    let error = refusal("sdot", &[("n", &long)]);
    assert!(error.to_string().len() < 300);
    assert!(!error.to_string().contains('\n'));
    assert!(refusal("sdot", &[(&long, "1")]).to_string().len() < 300);
}

#[test]
fn a_size_that_overflows_names_the_expression_and_its_values() {
    let error = refusal("sdot", &[("n", "18446744073709551615"), ("incx", "2")]);
    assert_eq!(
        error.to_string(),
        "length of x, `n * incx`, overflows 64 bits with n = 18446744073709551615, incx = 2; \
         it must be from 0 to 18446744073709551615"
    );
    assert_eq!((error.kind(), error.parameter()), ("computed-size", None));
}

#[test]
fn arrays_above_the_memory_limit_are_refused_before_dispatch() {
    let error = refusal("sdot", &[("n", "33554433")]);
    assert_eq!(error.kind(), "memory-limit");
    assert!(error.to_string().starts_with("the arrays take 268435464 bytes together with n = 33554433, "));
    assert_eq!(error.expected().as_deref(), Some("at most 268435456 bytes"));
    assert!(bind("sdot", &[("n", "33554432")]).is_ok());
    assert_eq!(refusal("sdot", &[("n", "4611686018427387904")]).kind(), "memory-limit");
}

#[test]
fn arrays_may_be_empty() {
    assert_eq!(bind("sdot", &[("n", "0")]).unwrap().plan.buffers[0].elements, 0);
}

#[test]
fn floating_point_parameters_reach_the_call() {
    let binding = bind("saxpy", &[("alpha", "-2.5e-1")]).unwrap();
    assert_eq!(binding.plan.arguments[1], Argument::Float(-0.25));
    assert_eq!(binding.parameters[1], ("alpha".to_owned(), Value::Float(-0.25)));
    assert_eq!(bind("daxpy", &[]).unwrap().plan.arguments[1], Argument::Double(1.5));
}

proptest! {
    #[test]
    fn any_parameters_bind_to_a_sound_plan_or_are_refused(name in "n|incx|offy|.{0,80}", value in "[0-9]{1,20}|.{0,80}") {
        if let Ok(binding) = bind("sdot", &[(&name, &value)]) {
            prop_assert_eq!(binding.plan.check(), Ok(()));
        }
    }
}
