//! Every committed object that is good gives what its row in `objects/README.md` says; every bad one is refused by name.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use webrunner_tests::http::slug;
use webrunner_tests::jobs::takes_cycles;
use webrunner_tests::objects;
use webrunner_tests::service::Service;

const SDOT: &str = "kernel=blis.sdot";
const SGEMM: &str = "kernel=blis.sgemm&mr=8&nr=2";

/// Objects that are measured; what they return depends on data, or is nothing.
const MEASURED: &[(&str, &str)] = &[
    ("peachpy/sdot_peachpy.o", "kernel=blis.sdot&incx=1&incy=1"),
    ("peachpy/spin_peachpy.o", "kernel=playground"),
    ("good/sdot_gcc_O0_pic.o", SDOT),
    ("good/sdot_gcc_O2_pic.o", SDOT),
    ("good/sdot_gcc_O3_pic.o", SDOT),
    ("good/sdot_gcc_O2_nopic.o", SDOT),
    ("good/sdot_gcc_O2_sections_debug.o", SDOT),
    ("good/sdot_clang_O0_pic.o", SDOT),
    ("good/sdot_clang_O2_pic.o", SDOT),
    ("good/sdot_clang_O3_pic.o", SDOT),
    ("good/sdot_clang_O2_nopic.o", SDOT),
    ("good/sdot_clang_O2_sections_debug.o", SDOT),
    ("good/sdot_gcc_O3_avx2.o", SDOT),
    ("good/sdot_gcc_O2_cet.o", SDOT),
    ("good/sdot_gcc_O2_x87.o", SDOT),
    ("good/sdot_gcc_O2_compressed_debug.o", SDOT),
    ("good/sdot_gas.o", SDOT),
    ("good/sgemm_gcc_O3_avx2.o", SGEMM),
    ("good/sgemm_clang_O2_pic.o", SGEMM),
    ("good/ddot_gcc_O2_pic.o", "kernel=blis.ddot"),
    ("good/saxpy_clang_O3_pic.o", "kernel=blis.saxpy"),
    ("good/scopy.o", "kernel=blis.scopy"),
    ("good/snrm2_gcc_O2_pic.o", "kernel=blis.snrm2"),
    ("good/sexp_gcc_O3_avx2.o", "kernel=vector.sexp"),
    ("good/sexp_clang_O2_nopic.o", "kernel=vector.sexp"),
    ("good/empty.o", "kernel=playground"),
    ("good/denormal.o", "kernel=test.returns_float"),
    ("good/chain100_stripped.o", "kernel=playground"),
    ("bad/entry_undefined.o", "kernel=playground"),
    ("../../examples/sdot.o", SDOT),
    ("../../examples/sdot_avx2.o", "kernel=blis.sdot&n=1024"),
];

/// Chains and the cycles they take.
const CHAINS: &[(&str, f64)] = &[
    ("good/chain100.o", 100.0),
    ("good/chain200.o", 200.0),
    ("good/chain1000.o", 1000.0),
    ("good/imul100.o", 300.0),
    ("../../examples/chain1000.o", 1000.0),
];

/// Objects whose first call returns a fixed number, called as `test.playground` unless a kernel is named.
const RETURNS: &[(&str, &str, u64)] = &[
    ("good/chain_loop.o", "playground&iterations=1000", 8000),
    ("good/jump_table_gcc_O2_nopic.o", "playground", 1103),
    ("good/jump_table_gcc_O2_pic.o", "playground", 1103),
    ("good/jump_table_clang_O2_pic.o", "playground", 1103),
    ("good/const_table_gcc_O2_nopic.o", "playground", 72),
    ("good/const_table_gcc_O2_pic.o", "playground", 72),
    ("good/const_table_gcc_O2_large.o", "playground", 72),
    ("good/strings_gcc_O2_pic.o", "playground", 16),
    ("good/strings_clang_O2_nopic.o", "playground", 16),
    ("good/aligned64.o", "playground", 0),
    ("good/offsets.o", "playground&_symbol=turns", 1000),
    ("good/counter_gcc_O2_pic.o", "playground", 102),
    ("good/golden.o", "golden", 4312057813076251648),
    ("good/common_gcc_O2_nopic.o", "playground", 65),
    ("good/cross_section_gcc_O2_pic.o", "playground", 23),
    ("good/several_functions_gcc_O2_pic.o", "playground&_symbol=second", 2),
    ("good/weak_gcc_O2_pic.o", "playground", 5),
    ("good/got_gcc_O2_pic.o", "playground", 122),
    ("good/got_gcc_O2_pic_plain.o", "playground", 122),
    ("good/got_clang_O2_pic.o", "playground", 122),
    ("good/got_gcc_O2_large.o", "playground", 122),
    ("good/got_gcc_O2_pic_large.o", "playground", 122),
    ("good/relocations_gas.o", "playground", 27),
    ("good/base_gas.o", "playground", 24),
    ("good/mixed_gcc_O2_pic.o", "mixed", 0),
    ("good/mixed_clang_O0_pic.o", "mixed", 0),
    ("good/stack_arguments_gcc_O2_pic.o", "stack_arguments", 0),
    ("good/stack_arguments_clang_O2_pic.o", "stack_arguments", 0),
];

/// Types with the value that the object of their name returns.
fn values() -> [(&'static str, Value); 10] {
    [
        ("int8", json!(-128)),
        ("uint8", json!(255)),
        ("int16", json!(-32768)),
        ("uint16", json!(65535)),
        ("int32", json!(-2147483648)),
        ("uint32", json!(4294967295_u32)),
        ("int64", json!(i64::MIN)),
        ("uint64", json!(u64::MAX)),
        ("float", json!(1.5)),
        ("double", json!(-2.5)),
    ]
}

/// Files the loader refuses, with what the sentence says.
const REFUSED: &[(&str, &str)] = &[
    (
        "bad/empty_file.o",
        "The body is empty; send the object as the body, with its length in Content-Length.",
    ),
    ("bad/one_byte.o", "The body is not an ELF file."),
    ("bad/text_file.o", "The body is not an ELF file."),
    ("bad/zip_header.o", "The body is not an ELF file."),
    ("bad/truncated_header.o", "The body is not an ELF file."),
    ("bad/truncated.o", "section header table 0 does not fit the file"),
    ("bad/truncated_half.o", "section header table 0 does not fit the file"),
    ("bad/class_32.o", "class is 1, expected 2"),
    ("bad/big_endian.o", "byte order is 2, expected 1"),
    ("bad/ident_version.o", "version is 2, expected 1"),
    ("bad/file_version.o", "version is 2, expected 1"),
    ("bad/et_exec.o", "type is 2, expected 1"),
    ("bad/et_dyn.o", "type is 3, expected 1"),
    ("bad/et_core.o", "type is 4, expected 1"),
    ("bad/machine_aarch64.o", "machine is 183, expected 62"),
    ("bad/section_header_size.o", "section header size is 40, expected 64"),
    ("bad/program_headers.o", "number of program headers is 1, expected 0"),
    ("bad/section_table_far.o", "section header table 0 does not fit the file"),
    ("bad/section_table_wraps.o", "section header table 0 does not fit the file"),
    ("bad/section_count.o", "65279 sections, the limit is"),
    ("bad/section_count_extended.o", "4294967296 sections, the limit is"),
    ("bad/section_names_outside.o", "section 32767 does not fit the file"),
    ("bad/section_outside.o", "section 1 does not fit the file"),
    ("bad/section_wraps.o", "section 1 does not fit the file"),
    ("bad/section_name_outside.o", "name 1 does not fit the file"),
    ("bad/section_alignment_3.o", ".data has alignment 3, expected a power of two"),
    ("bad/section_alignment_huge.o", ".data has alignment 9223372036854775808, expected"),
    ("bad/section_unknown_type.o", "Section .data is of type 0x60000001"),
    ("bad/section_compressed.o", "Section .rodata is compressed"),
    ("bad/bss_sum_wraps.o", "bytes when loaded, the limit is"),
    ("bad/symbol_table_entries.o", "symbol table 10 does not fit the file"),
    ("bad/symbol_names_link.o", "string table 32767 does not fit the file"),
    ("bad/symbol_name_outside.o", "name 9 does not fit the file"),
    ("bad/symbol_section_outside.o", "symbol 9 does not fit the file"),
    ("bad/symbol_outside.o", "Symbol playground lies outside its section."),
    ("bad/symbol_extended_index.o", "Symbol playground is in a section with an extended index"),
    ("bad/relocation_outside.o", "Relocation 0 of section .text writes at offset 1099511627776, outside"),
    ("bad/relocation_straddles.o", "Relocation 0 of section .data writes at offset 4, outside the section."),
    ("bad/relocation_type.o", "Relocation 0 of section .text has type 255"),
    ("bad/relocation_symbol.o", "Relocation 0 of section .text names symbol 16777215"),
    (
        "bad/relocation_overflow.o",
        "Relocation 0 of section .text (type 2, symbol .rodata) overflows its field.",
    ),
    ("bad/relocation_target.o", "relocation table 2 does not fit the file"),
    ("bad/relocation_without_addend.o", "Section .rela.text is a relocation table without addends"),
    ("bad/undefined.o", "Symbol puts is undefined; an object must bring all it calls."),
    ("bad/tls.o", "Section .tdata is thread-local"),
    ("bad/ifunc.o", "Symbol playground is an indirect function"),
    ("bad/constructor.o", "Section .init_array is a table of constructors"),
    ("bad/ctors.o", "Section .ctors is a table of constructors"),
    ("bad/writable_code.o", "Section .both is both writable and executable"),
    ("bad/huge_bss.o", "takes 1099511627776 bytes when loaded"),
    ("bad/huge_common.o", "takes 1099511627776 bytes when loaded"),
];

/// Files that load but hold no function to call.
const WITHOUT_ENTRY: &[(&str, &str)] = &[
    ("bad/no_code.o", "The object has no code."),
    ("bad/entry_is_data.o", "Symbol playground is not a function in the object's text."),
    ("bad/entry_absolute.o", "Symbol playground is not a function in the object's text."),
];

/// Measures an object; on a CPU that lacks what it needs, the answer must say so, and `None` comes back.
fn measure(service: &Service, object: &str, query: &str) -> Option<Value> {
    let answer = service.post(object, &format!("{query}&_format=json"));
    if answer.status == 200 {
        return Some(answer.json());
    }
    let problem = answer.problem();
    assert_eq!(slug(&problem), "unsupported-instruction", "{object}: {problem}");
    let machine = service.get("/machine").json();
    let has = machine["isa"].as_array().expect("a list of instruction sets");
    let needs = problem["needs"].as_array().expect("what it needs");
    assert!(!needs.is_empty() && needs.iter().all(|need| !has.contains(need)), "{object}: {problem}");
    None
}

#[test]
fn every_good_object_is_measured() {
    let service = Service::start();
    for (object, query) in MEASURED {
        let Some(answer) = measure(&service, object, query) else { continue };
        let cycles = &answer["results"][0];
        assert_eq!(cycles["name"], "Cycles", "{object}");
        assert!(cycles["value"].as_f64().is_some_and(|cycles| cycles > 0.0), "{object}: {cycles}");
        assert_eq!(answer["findings"], json!([]), "{object}");
    }
}

#[test]
fn every_object_with_a_fixed_result_returns_it() {
    let service = Service::start();
    for (object, kernel, expected) in RETURNS {
        let answer = service.measure(object, &format!("kernel=test.{kernel}"));
        assert_eq!(answer["returned"], *expected, "{object}");
    }
}

#[test]
fn a_value_of_each_type_comes_back_as_itself() {
    let service = Service::start();
    for (kind, expected) in values() {
        let object = format!("good/returns_{kind}.o");
        let answer = service.measure(&object, &format!("kernel=test.returns_{kind}&_effort=quick"));
        assert_eq!(answer["returned"], expected, "{object}");
    }
}

#[test]
fn a_pointer_comes_back_as_an_address() {
    let service = Service::start();
    let answer = service.measure("good/returns_pointer_gcc_O2_pic.o", "kernel=test.returns_pointer");
    let address = answer["returned"].as_str().and_then(|text| text.strip_prefix("0x")).expect("hexadecimal");
    let address = u64::from_str_radix(address, 16).expect("an address");
    // The second float of a buffer that begins at a multiple of 64.
    assert_eq!(address % 64, 4);
}

#[test]
fn a_function_that_returns_nothing_has_no_value() {
    let service = Service::start();
    let answer = service.measure("good/jump_table_gcc_O2_pic.o", "kernel=playground");
    assert_eq!(answer["returned"], Value::Null);
}

#[test]
fn chains_take_as_many_cycles_as_they_are_long() {
    let service = Service::start();
    for (object, cycles) in CHAINS {
        takes_cycles(&service, object, *cycles);
    }
}

#[test]
fn every_bad_object_is_refused_by_what_is_wrong_with_it() {
    let service = Service::start();
    for (object, words) in REFUSED {
        let problem = service.refusal(object, "kernel=playground");
        assert_eq!(slug(&problem), "bad-object", "{object}: {problem}");
        assert!(problem["detail"].as_str().unwrap_or_default().contains(words), "{object}: {problem}");
    }
}

#[test]
fn an_object_without_a_function_to_call_is_refused() {
    let service = Service::start();
    for (object, words) in WITHOUT_ENTRY {
        let problem = service.refusal(object, "kernel=playground");
        assert_eq!((slug(&problem), &problem["candidates"]), ("missing-symbol", &json!([])), "{object}");
        assert_eq!(problem["detail"], *words, "{object}");
    }
}

#[test]
fn a_choice_of_functions_is_listed() {
    let (service, object) = (Service::start(), "good/several_functions_gcc_O2_pic.o");
    let ambiguous = service.refusal(object, "kernel=playground");
    let missing = service.refusal(object, "kernel=playground&_symbol=fourth");
    for problem in [&ambiguous, &missing] {
        assert_eq!(slug(problem), "missing-symbol");
        assert_eq!(problem["candidates"], json!(["first", "second", "third"]));
    }
    assert!(ambiguous["detail"].as_str().expect("a sentence").contains("choose one with _symbol"));
    assert!(missing["detail"].as_str().expect("a sentence").contains("no function named fourth"));
}

#[test]
fn an_object_cut_at_any_byte_never_harms_its_worker() {
    let service = Service::start();
    let whole = objects::read("good/base_gas.o");
    for length in (0..whole.len()).step_by(7) {
        let cut = webrunner_tests::http::Request::post("/here/run?kernel=playground", &whole[..length]);
        let answer = cut.send(service.address());
        assert_eq!((answer.status, answer.slug().as_str()), (422, "bad-object"), "{length} bytes");
    }
}

#[test]
fn no_row_of_the_table_goes_untested() {
    let listed = objects::listed(&["peachpy/", "good/", "bad/", "../../examples/"]);
    let returned = values().map(|(kind, _)| format!("good/returns_{kind}.o"));
    let tested: BTreeSet<String> = [MEASURED, REFUSED, WITHOUT_ENTRY]
        .into_iter()
        .flatten()
        .map(|(object, _)| *object)
        .chain(CHAINS.iter().map(|(object, _)| *object))
        .chain(RETURNS.iter().map(|(object, ..)| *object))
        // The last is what `measuring.rs` is about.
        .chain(["good/returns_pointer_gcc_O2_pic.o", "good/two_speeds.o"])
        .map(str::to_owned)
        .chain(returned)
        .collect();
    assert_eq!(listed, tested);
}
