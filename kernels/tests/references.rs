//! Plain implementations of the built-in kernels pass their checks, and results that are off do not.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use webrunner_kernels::{Before, Binding, Block, Catalogue, Observation, Place, Shown, Verdict};
use webrunner_protocol::plan::{ElementType, Fill};
use webrunner_protocol::reply::Returned;

/// A call as a worker would see it, over `double` or `float` arrays held as `f64`.
struct Trial {
    binding: Binding,
    before: Vec<Vec<f64>>,
    after: Vec<Vec<f64>>,
    returned: f64,
}

fn trial(kernel: &str, given: &[(&str, &str)]) -> Trial {
    let catalogue = Catalogue::builtin().unwrap();
    let binding = catalogue.get(kernel).unwrap().bind(given.iter().copied()).unwrap();
    let mut state = 1_u64;
    let mut unit = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // A float holds 24 bits exactly.
        (state >> 40) as f64 / f64::from(1 << 24)
    };
    let mut fill = |fill, element| {
        let value = match fill {
            Fill::Zero => 0.0,
            Fill::Constant(value) => value,
            Fill::Range { low, high } => low + (high - low) * unit(),
            _ => 2.0 * unit() - 1.0,
        };
        if element == ElementType::Float { f64::from(value as f32) } else { value }
    };
    let before: Vec<Vec<f64>> = binding
        .plan
        .buffers
        .iter()
        .map(|buffer| (0..buffer.elements).map(|_| fill(buffer.fill, buffer.element)).collect())
        .collect();
    Trial { after: before.clone(), binding, before, returned: 0.0 }
}

impl Trial {
    fn verdict(&self) -> Verdict {
        self.judged(Binding::verify)
    }

    fn repeated(&self) -> Verdict {
        self.judged(Binding::verify_repeated)
    }

    fn judged(&self, judge: impl Fn(&Binding, &Observation<'_>) -> Verdict) -> Verdict {
        let single = self.binding.plan.buffers[0].element == ElementType::Float;
        let encode = |numbers: &Vec<f64>| -> Vec<u8> {
            if single {
                numbers.iter().flat_map(|number| (*number as f32).to_le_bytes()).collect()
            } else {
                numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
            }
        };
        let before: Vec<Vec<u8>> = self.before.iter().map(encode).collect();
        let after: Vec<Vec<u8>> = self.after.iter().map(encode).collect();
        let vector =
            if single { u64::from((self.returned as f32).to_bits()) } else { self.returned.to_bits() };
        let seen = Observation {
            before: &before.iter().map(|bytes| Before::Bytes(bytes)).collect::<Vec<_>>(),
            after: &after.iter().map(|bytes| Shown::Whole(bytes)).collect::<Vec<_>>(),
            returned: Returned { integer: 0, vector },
            sample: 1,
        };
        judge(&self.binding, &seen)
    }
}

fn wrong_place(verdict: &Verdict) -> Option<Place> {
    match verdict {
        Verdict::WrongOutput { place, .. } => Some(*place),
        Verdict::Verified | Verdict::Unchecked { .. } => None,
    }
}

#[test]
fn a_dot_product_added_up_in_single_precision_is_right() {
    let mut trial = trial("sdot", &[("n", "100000"), ("incx", "2")]);
    let mut sum = 0.0_f32;
    for i in 0..100_000 {
        sum += trial.before[0][2 * i] as f32 * trial.before[1][i] as f32;
    }
    trial.returned = sum.into();
    assert_eq!(trial.verdict(), Verdict::Verified);
}

#[test]
fn a_dot_product_without_its_last_element_is_wrong() {
    for kernel in ["sdot", "ddot"] {
        let mut trial = trial(kernel, &[]);
        trial.returned = (0..1023).map(|i| trial.before[0][i] * trial.before[1][i]).sum();
        assert_eq!(wrong_place(&trial.verdict()), Some(Place::Returned), "{kernel}");
    }
}

#[test]
fn a_dot_product_that_is_not_a_number_is_wrong() {
    let mut trial = trial("sdot", &[]);
    trial.returned = f64::NAN;
    assert_eq!(wrong_place(&trial.verdict()), Some(Place::Returned));
}

#[test]
fn sums_and_norms_are_checked() {
    for (kernel, power) in [("sasum", 1), ("dasum", 1), ("snrm2", 2), ("dnrm2", 2)] {
        let mut trial = trial(kernel, &[("incx", "3")]);
        let sum: f64 = trial.before[0].iter().step_by(3).map(|x| x.abs().powi(power)).sum();
        let right = sum.powf(1.0 / f64::from(power));
        trial.returned = right;
        assert_eq!(trial.verdict(), Verdict::Verified, "{kernel}");
        trial.returned = right * 1.001;
        assert_eq!(wrong_place(&trial.verdict()), Some(Place::Returned), "{kernel}");
    }
}

#[test]
fn axpy_is_checked_in_the_vector_and_between_its_elements() {
    let mut trial = trial("daxpy", &[("n", "10"), ("incy", "2"), ("alpha", "3")]);
    for i in 0..10 {
        trial.after[1][2 * i] += 3.0 * trial.before[0][i];
    }
    assert_eq!(trial.verdict(), Verdict::Verified);
    trial.after[1][5] += 1.0;
    assert_eq!(wrong_place(&trial.verdict()), Some(Place::Element { buffer: 1, index: 5 }));
}

#[test]
fn scal_and_copy_are_checked() {
    let mut scaled = trial("sscal", &[]);
    assert_eq!(wrong_place(&scaled.verdict()), Some(Place::Element { buffer: 0, index: 0 }));
    scaled.after[0].iter_mut().for_each(|x| *x = -*x);
    assert_eq!(scaled.verdict(), Verdict::Verified);

    let mut copied = trial("scopy", &[]);
    copied.after[1] = copied.before[0].clone();
    assert_eq!(copied.verdict(), Verdict::Verified);
    copied.after[1][1023] = f64::from((copied.after[1][1023] as f32).next_up());
    assert_eq!(wrong_place(&copied.verdict()), Some(Place::Element { buffer: 1, index: 1023 }));
}

#[test]
fn gemm_is_checked_in_either_storage_order() {
    for strides in [[("rs_c", "1"), ("cs_c", "8")], [("rs_c", "2"), ("cs_c", "1")]] {
        let mut trial = trial("sgemm", &strides);
        let stride = |i: usize| strides[i].1.parse::<usize>().unwrap();
        for (i, j) in (0..8).flat_map(|i| (0..2).map(move |j| (i, j))) {
            let product = (0..1024).map(|p| trial.before[1][p * 8 + i] * trial.before[2][p * 2 + j]).sum();
            trial.after[4][i * stride(0) + j * stride(1)] = product;
        }
        assert_eq!(trial.verdict(), Verdict::Verified);
        trial.after[4][7 * stride(0)] += 0.1;
        let place = Place::Element { buffer: 4, index: 7 * stride(0) };
        assert_eq!(wrong_place(&trial.verdict()), Some(place));
    }
}

#[test]
fn where_elements_overlap_the_last_one_stored_is_right_whichever_that_is() {
    let product = |trial: &Trial, i: usize, j: usize| -> f64 {
        (0..1024).map(|p| trial.before[1][p * 8 + i] * trial.before[2][p * 2 + j]).sum()
    };
    let by_rows: Vec<_> = (0..8).flat_map(|i| (0..2).map(move |j| (i, j))).collect();
    let by_columns: Vec<_> = (0..2).flat_map(|j| (0..8).map(move |i| (i, j))).collect();
    for order in [by_rows, by_columns] {
        let mut trial = trial("sgemm", &[]);
        for (i, j) in order {
            trial.after[4][i + j] = product(&trial, i, j);
        }
        assert_eq!(trial.verdict(), Verdict::Verified);
        for index in [0, 3, 8, 9] {
            let right = trial.after[4][index];
            trial.after[4][index] += 0.1;
            assert_eq!(wrong_place(&trial.verdict()), Some(Place::Element { buffer: 4, index }));
            trial.after[4][index] = right;
        }
        trial.after[4][3] = product(&trial, 3, 1);
        let place = Place::Element { buffer: 4, index: 3 };
        assert_eq!(wrong_place(&trial.verdict()), Some(place), "an element that lies elsewhere");
    }
    let left_out = |given| trial("sgemm", given).binding.left_out();
    assert!(left_out(&[]).is_some_and(|words| words.contains("the 16 elements of c share 9 places")));
    assert_eq!(left_out(&[("cs_c", "8")]), None);
}

type Function = fn(f64) -> f64;

#[test]
fn vector_functions_are_checked() {
    let functions: [(&str, Function); 7] = [
        ("exp", f64::exp),
        ("log", f64::ln),
        ("sin", f64::sin),
        ("cos", f64::cos),
        ("tan", f64::tan),
        ("tanh", f64::tanh),
        ("sqrt", f64::sqrt),
    ];
    for (name, function) in functions {
        for precision in ["s", "d"] {
            let kernel = format!("vector.{precision}{name}");
            let mut trial = trial(&kernel, &[]);
            trial.after[1] = trial.before[0].iter().copied().map(function).collect();
            assert_eq!(trial.verdict(), Verdict::Verified, "{kernel}");
            trial.after[1][9] += 0.5 * trial.after[1][9].abs() + 1.0;
            assert_eq!(
                wrong_place(&trial.verdict()),
                Some(Place::Element { buffer: 1, index: 9 }),
                "{kernel}"
            );
        }
    }
}

#[test]
fn arrays_that_are_not_those_of_the_plan_are_left_unchecked() {
    let mut trial = trial("scopy", &[]);
    trial.after[1].pop();
    assert!(matches!(trial.verdict(), Verdict::Unchecked { .. }));
    trial.after.pop();
    assert!(matches!(trial.verdict(), Verdict::Unchecked { .. }));
}

#[test]
fn a_kernel_without_a_reference_is_left_unchecked() {
    let catalogue = Catalogue::builtin().unwrap();
    let binding = catalogue.get("playground").unwrap().bind([]).unwrap();
    let seen =
        Observation { before: &[], after: &[], returned: Returned { integer: 0, vector: 0 }, sample: 1 };
    assert_eq!(
        binding.verify(&seen),
        Verdict::Unchecked { reason: "the kernel has no reference".to_owned() }
    );
}

#[test]
fn an_input_that_was_changed_is_wrong_whatever_was_returned() {
    let mut trial = trial("sdot", &[]);
    trial.returned = (0..1024).map(|i| trial.before[0][i] * trial.before[1][i]).sum();
    trial.after[1][77] += 1.0;
    assert_eq!(wrong_place(&trial.verdict()), Some(Place::Element { buffer: 1, index: 77 }));
}

#[test]
fn a_call_of_no_elements_is_left_unchecked() {
    for kernel in ["sdot", "dcopy", "vector.sexp"] {
        let verdict = trial(kernel, &[("n", "0")]).verdict();
        assert!(
            matches!(&verdict, Verdict::Unchecked { reason } if reason.contains("no elements")),
            "{verdict:?}"
        );
    }
}

#[test]
fn of_a_tile_of_too_many_products_a_sample_is_checked() {
    let given = [("mr", "64"), ("nr", "64"), ("k", "65536"), ("rs_c", "1"), ("cs_c", "64")];
    let trial = trial("sgemm", &given);
    assert!(matches!(wrong_place(&trial.verdict()), Some(Place::Element { buffer: 4, .. })));
    assert!(trial.binding.left_out().is_some_and(|words| words.contains("of the 268435456 products")));
}

#[test]
fn a_long_sum_added_up_one_by_one_in_single_precision_is_right_and_one_without_a_part_is_not() {
    for (n, part) in [(1_000_000, 500), (4_000_000, 50), (16_000_000, 8)] {
        let mut trial = trial("sasum", &[("n", &n.to_string())]);
        // Squares are as uneven as products are.
        trial.before[0].iter_mut().for_each(|x| *x = f64::from((*x * *x) as f32));
        trial.after = trial.before.clone();
        let sum = |n: usize| trial.before[0][..n].iter().fold(0.0_f32, |sum, x| sum + *x as f32);
        let (all, most) = (sum(n), sum(n - n / part));
        trial.returned = all.into();
        assert_eq!(trial.verdict(), Verdict::Verified, "{n}");
        trial.returned = f64::from(most);
        assert_eq!(wrong_place(&trial.verdict()), Some(Place::Returned), "{n}");
    }
}

#[test]
fn of_an_array_that_is_not_shown_whole_the_blocks_are_checked() {
    let mut trial = trial("dcopy", &[]);
    trial.after[1] = trial.before[0].clone();
    let bytes = |numbers: &[f64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
    let before: Vec<_> = trial.before.iter().map(|numbers| bytes(numbers)).collect();
    let before: Vec<_> = before.iter().map(|bytes| Before::Bytes(bytes)).collect();
    let judged = |first: usize, end: usize, bytes: &[u8]| {
        let part = &bytes[8 * first..(8 * end).min(bytes.len())];
        let after = [Shown::Blocks(vec![]), Shown::Blocks(vec![Block { first, bytes: part }])];
        let returned = Returned { integer: 0, vector: 0 };
        trial.binding.verify(&Observation { before: &before, after: &after, returned, sample: 1 })
    };
    let mut after = bytes(&trial.after[1]);
    after[8 * 100] ^= 1;
    assert_eq!(judged(0, 100, &after), Verdict::Verified);
    assert_eq!(wrong_place(&judged(96, 104, &after)), Some(Place::Element { buffer: 1, index: 100 }));
    after.extend([0; 8]);
    assert!(matches!(judged(1000, 1025, &after), Verdict::Unchecked { .. }), "past the end");
}

#[test]
fn repeated_calls_are_checked_where_they_do_not_read_what_they_wrote() {
    let product = [("rs_c", "1"), ("cs_c", "8")];
    for (kernel, given, written, kept) in [
        ("vector.sexp", &[] as &[_], 1, 0b10),
        ("scopy", &[], 1, 0b10),
        ("sgemm", &product, 4, 0b1_0000),
        ("saxpy", &[], 1, 0),
        ("sscal", &[], 0, 0),
        ("sdot", &[], 1, 0),
    ] {
        let mut trial = trial(kernel, given);
        assert_eq!(trial.binding.kept(), kept, "{kernel}");
        trial.after[written][0] += 1.0;
        let place = Place::Element { buffer: written, index: 0 };
        // What axpy and scal leave depends on the number of calls; the y of dot is not to be written at all.
        let expected = (kept != 0 || kernel == "sdot").then_some(place);
        assert_eq!(wrong_place(&trial.repeated()), expected, "{kernel}");
    }
}
