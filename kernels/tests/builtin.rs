//! The kernels that come with the program: their names, signatures, and the contract with clients of the 2015 service.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use webrunner_kernels::{Catalogue, Kernel, Reference};
use webrunner_protocol::plan::{Argument, Direction, ElementType, Fill, ReturnType};

fn builtin() -> Catalogue {
    Catalogue::builtin().unwrap()
}

/// Name, type, default, least and greatest value of each parameter.
fn query(kernel: &Kernel) -> Vec<String> {
    let describe = |p: &webrunner_kernels::Parameter| {
        format!("{} {} {} {}..{}", p.name(), p.parameter_type().name(), p.default(), p.min(), p.max())
    };
    kernel.parameters().iter().map(describe).collect()
}

const U64: &str = "18446744073709551615";
const U32: &str = "4294967295";

#[test]
fn every_builtin_file_loads_and_binds() {
    let catalogue = builtin();
    let names: Vec<&str> = catalogue.iter().map(Kernel::full_name).collect();
    assert_eq!(names.len(), 29);
    assert!(names.is_sorted());
    for kernel in catalogue.iter() {
        let binding = kernel.bind([]).unwrap();
        assert_eq!(binding.plan.check(), Ok(()), "{}", kernel.full_name());
        assert!(kernel.summary().is_some(), "{}", kernel.full_name());
        assert_eq!(binding.check.is_some(), kernel.name() != "playground", "{}", kernel.full_name());
        assert_eq!(binding.work.bytes.is_some(), kernel.name() != "playground", "{}", kernel.full_name());
    }
}

#[test]
fn sdot_keeps_its_old_parameters() {
    let catalogue = builtin();
    let expected = [
        format!("n uint64 1024 0..{U64}"),
        format!("incx uint32 1 1..{U32}"),
        format!("incy uint32 1 1..{U32}"),
        "offx uint32 0 0..63".to_owned(),
        "offy uint32 0 0..63".to_owned(),
    ];
    assert_eq!(query(catalogue.get("sdot").unwrap()), expected);
}

#[test]
fn sgemm_keeps_its_old_parameters() {
    let catalogue = builtin();
    let expected = [
        "mr uint32 8 1..64",
        "nr uint32 2 1..64",
        "k uint32 1024 1..65536",
        "rs_c uint32 1 1..64",
        "cs_c uint32 1 1..64",
    ];
    assert_eq!(query(catalogue.get("sgemm").unwrap()), expected);
}

#[test]
fn playground_keeps_its_old_parameter() {
    let catalogue = builtin();
    let kernel = catalogue.get("playground").unwrap();
    assert_eq!(query(kernel), [format!("iterations uint64 1000 1..{U64}")]);
    assert_eq!(kernel.bind([]).unwrap().plan.arguments, [Argument::Integer(1000)]);
}

#[test]
fn prototypes_are_those_of_the_functions() {
    let catalogue = builtin();
    let cases = [
        ("sdot", "float sdot(size_t n, const float* x, size_t incx, const float* y, size_t incy);"),
        (
            "sgemm",
            "void sgemm(size_t k, const float* alpha, const float* a, const float* b, const float* beta, float* c, size_t rs_c, size_t cs_c);",
        ),
        ("playground", "void playground(uint64_t iterations);"),
        (
            "daxpy",
            "void daxpy(size_t n, double alpha, const double* x, size_t incx, double* y, size_t incy);",
        ),
        ("sscal", "void sscal(size_t n, float alpha, float* x, size_t incx);"),
        ("dcopy", "void dcopy(size_t n, const double* x, size_t incx, double* y, size_t incy);"),
        ("snrm2", "float snrm2(size_t n, const float* x, size_t incx);"),
        ("vector.dlog", "void dlog(size_t n, const double* x, double* y);"),
    ];
    for (name, prototype) in cases {
        assert_eq!(catalogue.get(name).unwrap().prototype(), prototype);
    }
}

#[test]
fn sdot_makes_the_plan_of_its_parameters() {
    let catalogue = builtin();
    let binding = catalogue.get("sdot").unwrap().bind([("n", "10"), ("incy", "3"), ("offx", "4")]).unwrap();
    let plan = &binding.plan;
    let expected = [
        Argument::Integer(10),
        Argument::Pointer(0),
        Argument::Integer(1),
        Argument::Pointer(1),
        Argument::Integer(3),
    ];
    assert_eq!(plan.arguments, expected);
    assert_eq!((plan.buffers[0].elements, plan.buffers[0].offset), (10, 4));
    assert_eq!((plan.buffers[1].elements, plan.buffers[1].offset), (30, 0));
    assert_eq!((plan.buffers[0].direction, plan.buffers[0].fill), (Direction::In, Fill::Uniform));
    assert_eq!(plan.returns, ReturnType::Scalar(ElementType::Float));
    assert_eq!((binding.work.flop, binding.work.bytes), (Some(20), Some(80)));
    let names: Vec<&str> = binding.parameters.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["n", "incx", "incy", "offx", "offy"]);
    assert_eq!(binding.check.unwrap().reference, Reference::Dot);
}

#[test]
fn sgemm_passes_the_alpha_and_beta_of_the_old_service() {
    let catalogue = builtin();
    let plan = catalogue.get("blis.sgemm").unwrap().bind([("mr", "4"), ("cs_c", "8")]).unwrap().plan;
    let buffers: Vec<(u64, Fill)> =
        plan.buffers.iter().map(|buffer| (buffer.elements, buffer.fill)).collect();
    let expected = [
        (1, Fill::Constant(1.0)),
        (4 * 1024, Fill::Uniform),
        (2 * 1024, Fill::Uniform),
        (1, Fill::Zero),
        (4 * 16, Fill::Uniform),
    ];
    assert_eq!(buffers, expected);
}

#[test]
fn logarithms_get_positive_numbers() {
    let catalogue = builtin();
    for name in ["slog", "dlog", "ssqrt"] {
        let plan = catalogue.get(name).unwrap().bind([]).unwrap().plan;
        let Fill::Range { low, .. } = plan.buffers[0].fill else {
            panic!("{name} is not filled from a range")
        };
        assert!(low >= 0.0, "{name}");
        assert_eq!(plan.buffers[1].direction, Direction::Out);
    }
}
