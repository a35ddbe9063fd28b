//! How a function is measured, as far as a client chooses it or an answer tells: places, options, inputs, the code.
//!
//! No figure is held against a time; what is asserted is what an answer lists and what the function was seen to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::{Value, json};
use webrunner_tests::http::slug;
use webrunner_tests::objects;
use webrunner_tests::service::{Launch, Service};

const CHAIN: &str = "good/chain100.o";
const PLAYGROUND: &str = "kernel=playground";

/// One member of each place an answer lists.
fn of_places(answer: &Value, member: &str) -> Vec<Value> {
    let places = answer["method"]["placements"].as_array().expect("a list of places");
    places.iter().map(|place| place[member].clone()).collect()
}

fn figure<'a>(answer: &'a Value, name: &str) -> Option<&'a Value> {
    answer["results"].as_array()?.iter().find(|figure| figure["name"] == name)
}

#[test]
fn a_function_is_measured_at_four_offsets_of_a_line() {
    let answer = Service::start().measure(CHAIN, PLAYGROUND);
    assert_eq!(of_places(&answer, "offset"), [0, 16, 32, 48]);
    let counting: u64 = answer["method"]["placements"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|place| place["counts"] == true)
        .filter_map(|place| place["rounds"].as_u64())
        .sum();
    assert_eq!(answer["method"]["rounds"], counting, "rounds of the places that count make the answer");
    assert!(answer["method"]["placement_spread"].as_f64().is_some_and(|spread| spread >= 0.0), "{answer}");
}

#[test]
fn a_place_that_no_round_was_made_at_has_no_figure() {
    // 80 ms and more a call: time is up after a few.
    let long = format!("{PLAYGROUND}&iterations=30000000&_counts=no");
    let answer = Service::start().measure("peachpy/spin_peachpy.o", &long);
    let places = answer["method"]["placements"].as_array().expect("a list of places");
    let unreached: Vec<_> = places.iter().filter(|place| place["rounds"] == 0).collect();
    assert!(!unreached.is_empty(), "{places:?}");
    for place in unreached {
        assert_eq!((&place["cycles"], &place["counts"]), (&Value::Null, &json!(false)));
    }
    assert!(!answer["warnings"].to_string().contains("where it lies"), "{answer}");
}

#[test]
fn one_place_can_be_asked_for_and_is_all_a_quick_job_has() {
    let service = Service::start();
    let one = service.measure(CHAIN, &format!("{PLAYGROUND}&_placements=1"));
    assert_eq!(of_places(&one, "offset").len(), 1);
    assert_eq!(one["method"]["placement_spread"], Value::Null);
    let quick = service.measure(CHAIN, &format!("{PLAYGROUND}&_effort=quick"));
    assert_eq!(of_places(&quick, "offset"), [0; 0]);
    assert_eq!(quick["method"]["options"]["placements"], 1);
}

#[test]
fn an_object_that_asks_for_alignment_has_it_at_every_place() {
    let answer = Service::start().measure("good/aligned64.o", "kernel=test.playground");
    assert_eq!(answer["returned"], 0);
    assert_eq!(of_places(&answer, "offset"), [0; 4]);
}

#[test]
fn static_data_is_as_it_came_when_the_function_is_first_called() {
    let answer = Service::start().measure("good/counter_gcc_O2_pic.o", "kernel=test.playground");
    assert_eq!((&answer["returned"], of_places(&answer, "offset").len()), (&json!(102), 4));
}

#[test]
fn options_that_are_wrong_are_refused_by_name() {
    let service = Service::start();
    for (option, value) in
        [("_placements", "5"), ("_cold", "1"), ("_restore", ""), ("_guard", "start"), ("_ftz", "on")]
    {
        let answer = service.post(CHAIN, &format!("{PLAYGROUND}&{option}={value}"));
        assert_eq!((answer.status, answer.slug().as_str()), (400, "bad-option"), "{option}");
        assert_eq!(answer.json()["option"], option);
    }
    let unknown = service.post(CHAIN, &format!("{PLAYGROUND}&_warm=yes"));
    assert_eq!(unknown.slug(), "unknown-option");
    for option in ["_effort", "_placements", "_cold", "_restore", "_guard", "_ftz"] {
        assert!(unknown.text().contains(option), "{option} is not in {}", unknown.text());
    }
}

#[test]
fn options_are_told_with_their_defaults() {
    let service = Service::start();
    let options = |query: &str| service.measure(CHAIN, query)["method"]["options"].clone();
    let defaults = json!({ "placements": 4, "cold": "no", "restore": "no", "guard": "none", "ftz": "no" });
    assert_eq!(options(PLAYGROUND), defaults);
    let all = format!("{PLAYGROUND}&_placements=1&_cold=yes&_restore=yes&_guard=end&_ftz=yes");
    let chosen = json!({ "placements": 1, "cold": "yes", "restore": "yes", "guard": "end", "ftz": "yes" });
    assert_eq!(options(&all), chosen);
}

#[test]
fn the_program_takes_the_same_options_as_flags() {
    let path = objects::path("good/sdot_gas.o").to_string_lossy().into_owned();
    let run = |flags: &[&str]| {
        let words = ["run", path.as_str(), "--kernel", "sdot", "n=100", "--json"];
        Launch::command(words.into_iter().chain(flags.iter().copied())).run()
    };
    let flags = ["--cold", "yes", "--restore", "yes", "--guard", "end", "--ftz", "yes", "--placements", "1"];
    let ended = run(&[&flags[..], &["--counts", "no"]].concat());
    let answer: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("no JSON: {ended:?}"));
    let chosen = json!({ "placements": 1, "cold": "yes", "restore": "yes", "guard": "end", "ftz": "yes" });
    assert_eq!(answer["method"]["options"], chosen);
    assert_eq!(answer["counts"], Value::Null);
    for (flag, value, expected) in
        [("--cold", "maybe", "yes or no"), ("--counts", "1", "yes or no"), ("--placements", "3", "1 or 4")]
    {
        let ended = run(&[flag, value]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert_eq!(ended.complaint(), format!("{flag} takes {expected}, but `{value}` came."));
    }
}

#[test]
fn cold_calls_are_a_figure_only_where_they_were_asked_for() {
    let service = Service::start();
    for effort in ["quick", "standard"] {
        let query = format!("kernel=sdot&n=100&_effort={effort}");
        assert_eq!(figure(&service.measure("good/sdot_gas.o", &query), "ColdCycles"), None);
        let answer = service.measure("good/sdot_gas.o", &format!("{query}&_cold=yes"));
        let cold = figure(&answer, "ColdCycles").expect("a figure of cold calls");
        assert_eq!((&cold["source"], &cold["unit"]), (&json!("tsc-single"), &json!("cycles")));
        assert!(cold["n"].as_u64().is_some_and(|calls| calls > 0), "{cold}");
    }
}

#[test]
fn reading_one_element_too_many_faults_at_a_guarded_end_only() {
    let (service, object, query) = (Service::start(), "hostile/overrun_by_one.o", "kernel=sdot&n=10");
    let _ = service.measure(object, query);
    // An offset cannot be kept beside a guard; the end is what counts.
    for offset in ["", "&offx=4"] {
        let problem = service.refusal(object, &format!("{query}{offset}&_guard=end"));
        assert_eq!((slug(&problem), &problem["signal"]), ("fault", &json!("SIGSEGV")), "{problem}");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| { detail.contains("0 bytes past the end of x (40 bytes)") }),
            "{problem}"
        );
    }
    let problem = service.refusal(object, "kernel=sdot&n=0&_guard=end");
    assert!(problem["detail"].to_string().contains("0 bytes past the end of x (0 bytes)"), "{problem}");
    let _ = service.measure("good/sdot_gas.o", "kernel=sdot&n=0&_guard=end&_cold=yes");
    let within = service.measure("good/sdot_gas.o", &format!("{query}&_guard=end"));
    assert_eq!(within["returned"], service.measure("good/sdot_gas.o", query)["returned"]);
}

#[test]
fn denormals_become_zero_where_that_is_asked() {
    let service = Service::start();
    let returned = |options: &str| {
        service.measure("good/denormal.o", &format!("kernel=test.returns_float{options}"))["returned"]
            .as_f64()
    };
    assert_eq!(returned(""), Some(f64::from(f32::MIN_POSITIVE) / 2.0));
    assert_eq!(returned("&_ftz=yes"), Some(0.0));
    assert_eq!(returned("&_ftz=yes&_effort=quick"), Some(0.0));
    let findings = &service.measure("good/denormal.o", "kernel=test.returns_float&_ftz=yes")["findings"];
    assert_eq!(*findings, json!([]), "flushing is not the function's doing");
}

#[test]
fn inputs_that_calls_change_are_named() {
    let service = Service::start();
    let answer = service.measure("hostile/write_input.o", "kernel=sdot&n=10");
    assert_eq!(answer["inputs_mutated"], json!(["x"]));
    let found = answer["findings"][0].as_str().unwrap_or_default();
    assert!(found.contains("wrote to x"), "{answer}");
    let answer = service.measure("good/sdot_gas.o", "kernel=sdot&n=10");
    assert_eq!((&answer["inputs_mutated"], &answer["findings"]), (&json!([]), &json!([])));
    // Changing what is both read and written is what the function is for.
    let answer = service.measure("good/saxpy_clang_O3_pic.o", "kernel=blis.saxpy&_restore=yes");
    assert_eq!((&answer["inputs_mutated"], &answer["findings"]), (&json!(["y"]), &json!([])));
    let quick = service.measure("hostile/write_input.o", "kernel=sdot&n=10&_effort=quick");
    assert_eq!(quick["inputs_mutated"], Value::Null, "nobody looked");
}

#[test]
fn what_the_code_is_like_is_told_whether_it_is_counted_or_not() {
    let service = Service::start();
    for counts in ["yes", "no"] {
        let answer = service.measure("good/chain100.o", &format!("{PLAYGROUND}&_counts={counts}"));
        let code = &answer["code"];
        assert_eq!((&code["instructions"], &code["vector_bits"]), (&json!(101), &json!(0)));
        assert_eq!((&code["needs"], &code["system_calls"]), (&json!([]), &json!(false)));
    }
    assert_eq!(service.measure(CHAIN, &format!("{PLAYGROUND}&_effort=quick"))["code"], Value::Null);
    let denormal = service.measure("good/denormal.o", "kernel=test.returns_float");
    assert_eq!(denormal["code"]["vector_bits"], 128);
}

#[test]
fn how_deep_the_stack_goes_is_told_or_why_it_cannot_be() {
    let service = Service::start();
    let stack = |object: &str, query: &str| {
        let code = service.measure(object, query)["code"].clone();
        (code["stack_bytes"].clone(), code["stack_unbounded"].clone())
    };
    // NASM, GCC and Clang; the last two keep their variables below a frame pointer that was pushed.
    assert_eq!(stack(CHAIN, PLAYGROUND), (json!(0), Value::Null));
    for object in ["good/sdot_gcc_O0_pic.o", "good/sdot_clang_O0_pic.o"] {
        let (bytes, why) = stack(object, "kernel=sdot&n=10");
        assert!(bytes.as_u64().is_some_and(|bytes| (52..=72).contains(&bytes)), "{object}: {bytes}");
        assert_eq!(why, Value::Null);
    }
    // A `switch` by a table of addresses.
    let (bytes, why) = stack("good/jump_table_gcc_O2_pic.o", "kernel=test.playground");
    assert_eq!(bytes, Value::Null);
    assert!(why.as_str().is_some_and(|why| why.contains("branches through a register or memory")), "{why}");
}

#[test]
fn a_fence_that_does_not_serialise_would_be_told() {
    let service = Service::start();
    let machine = service.get("/machine").json();
    let answer = service.measure(CHAIN, PLAYGROUND);
    let weak = answer["method"]["fence_weak"].as_bool().expect("a verdict");
    assert_eq!(machine["fence_weak"], weak);
    // Half way between 64 cycles and 128.
    assert_eq!(machine["fenced_chains_cycles"].as_u64().is_some_and(|cycles| cycles < 96), weak);
    let warned = answer["warnings"].to_string().contains("lfence");
    assert_eq!(warned, weak, "{answer}");
}

#[test]
fn what_is_said_of_the_text_is_said_by_the_offsets_of_the_object_as_sent() {
    let (service, object) = (Service::start(), "good/offsets.o");
    for places in [1, 4] {
        let query = |symbol: &str| format!("{PLAYGROUND}&_symbol={symbol}&_placements={places}");
        let turns = service.measure(object, &query("turns"));
        assert_eq!(turns["object"]["offset"], 40, "{places} places");
        assert_eq!(turns["counts"]["loops"], json!([{ "offset": 48, "turns": 1000 }]), "{places} places");
        let why = service.measure(object, &query("deep"))["code"]["stack_unbounded"].clone();
        assert!(why.as_str().is_some_and(|why| why.contains("at offset 105 ")), "{places} places: {why}");
        if std::arch::is_x86_feature_detected!("avx512f") {
            eprintln!("not asked of what this CPU lacks: it has AVX-512F");
            continue;
        }
        let problem = service.refusal(object, &query("wide"));
        assert_eq!((slug(&problem), &problem["text_offset"]), ("unsupported-instruction", &json!(152)));
        assert!(problem["detail"].to_string().contains("152"), "{problem}");
    }
}

#[test]
fn what_a_call_moves_and_computes_is_counted_whatever_instructions_do_it() {
    let service = Service::start();
    let copied = service.measure("good/scopy.o", "kernel=scopy&n=4096");
    assert_eq!(copied["correctness"]["verdict"], "verified");
    let of = |name: &str| figure(&copied, name).map(|figure| figure["value"].clone());
    assert_eq!((of("Instructions"), of("BytesStored")), (Some(json!(3.0)), Some(json!(16384.0))));
    assert_eq!(copied["counts"]["string_elements"], 4096);
    // The return reads its address too.
    assert_eq!(copied["derived"]["bytes_percent_of_work"], 100.0 * (32768.0 + 8.0) / 32768.0);
    let dot = service.measure("good/sdot_gcc_O2_x87.o", "kernel=sdot&n=1000");
    assert_eq!(dot["correctness"]["verdict"], "verified");
    assert_eq!(figure(&dot, "X87Flops").map(|figure| figure["value"].clone()), Some(json!(2000.0)));
    assert_eq!(dot["derived"]["flop_percent_of_work"], 100.0);
    assert_eq!(dot["counts"]["unlisted"], json!({ "mnemonics": 0, "instructions": 0, "loops": 0 }));
}

/// Tells the hog to stop, also where the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Spins on a core until told to stop.
fn hog(core: usize, stop: &AtomicBool) {
    let mut set = CpuSet::new();
    set.set(core).expect("a core number");
    sched_setaffinity(Pid::from_raw(0), &set).expect("to be pinned");
    while !stop.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

#[test]
fn rounds_in_which_the_core_was_taken_away_are_told() {
    let service = Service::start();
    if service.measure(CHAIN, PLAYGROUND)["method"]["preempted_rounds"].is_null() {
        eprintln!("skipped: this kernel has no restartable sequences (CONFIG_RSEQ), so nothing tells of it");
        return;
    }
    let core = service.get("/machine").json()["cores"][0].as_u64().expect("a core") as usize;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| hog(core, &stop));
        let _stop = Stop(&stop);
        let query = PLAYGROUND;
        // The hog has as good a right to the core as the worker; turns are shorter than a measurement.
        let told = (0..20).any(|_| {
            let method = service.measure(CHAIN, query)["method"].clone();
            let preempted = method["preempted_rounds"].as_u64().expect("a number");
            assert!(
                preempted <= method["rounds"].as_u64().unwrap_or(0) + method["dropped"].as_u64().unwrap_or(0)
            );
            preempted > 0
        });
        assert!(told, "a core that was shared was never seen to be taken away");
    });
}

#[test]
fn a_long_call_is_taken_by_the_time_its_process_had_itself() {
    let service = Service::start();
    let core = service.get("/machine").json()["cores"][0].as_u64().expect("a core") as usize;
    // Longer than 20 ms, so that the first call is the measurement, and some turns of whoever shares the core.
    let query = format!("{PLAYGROUND}&iterations=15000000&_effort=quick");
    let part_measured = || {
        let answer = service.measure("peachpy/spin_peachpy.o", &query);
        let ticks = answer["method"]["first_call_ticks"].as_f64().expect("ticks");
        (ticks / answer["timing"]["measure_us"].as_f64().expect("microseconds"), answer)
    };
    let alone = (0..5).map(|_| part_measured().0).fold(0.0, f64::max);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| hog(core, &stop));
        let _stop = Stop(&stop);
        let left_out = (0..20).any(|_| {
            let (shared, answer) = part_measured();
            let told = answer["method"]["preempted_rounds"].as_u64();
            shared < 0.75 * alone && told.is_none_or(|rounds| rounds == 1)
        });
        assert!(left_out, "half of the core was another's, and the figure never lacked it");
    });
}

#[test]
fn a_function_of_two_speeds_is_measured_twice_and_still_in_doubt() {
    let service = Service::start();
    let answer = service.measure("good/two_speeds.o", PLAYGROUND);
    let quality = answer["quality"].as_str().unwrap_or_default();
    assert!(["unstable", "contended"].contains(&quality), "{answer}");
    assert_eq!(answer["method"]["repeated"], true, "{answer}");
    assert!(answer["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty()), "{answer}");
    let quick = service.measure("good/two_speeds.o", &format!("{PLAYGROUND}&_effort=quick"));
    assert_eq!((&quick["quality"], &quick["method"]["repeated"]), (&json!("quick"), &json!(false)));
}

#[test]
fn an_answer_says_whether_it_is_the_better_of_two() {
    let service = Service::start();
    for effort in ["quick", "standard"] {
        let answer = service.measure(CHAIN, &format!("{PLAYGROUND}&_effort={effort}"));
        let repeated = answer["method"]["repeated"].as_bool().expect("a word on it");
        assert!(!repeated || effort != "quick", "{answer}");
    }
}
