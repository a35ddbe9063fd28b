//! Rows 23, 24, 31 to 36, 52 and 53: stacks that overflow, memory that is not the job's, and what could be found in it.

use serde_json::{Value, json};
use webrunner_tests::http::slug;

use crate::outcome::{Control, ends_with, exit_code, is, is_measured, is_refused, raises};
use crate::target::{Target, body, locked, unlocked};

const PLAYGROUND: &str = "kernel=playground";
const SDOT: &str = "kernel=blis.sdot";

/// Ends that are the function's own doing.
const OWN: [&str; 5] =
    ["fault", "protocol-violation", "kernel-exited", "kernel-killed", "system-call-refused"];

/// The code of an attack that came to nothing (objects/hostile/attack.h).
const CAME_TO_NOTHING: i64 = 255;

/// A signal to be raised: object, query, signal, its code where it is told, and words about the data address; `None`
/// where the CPU tells no address.
type Fault<'a> = (&'a str, &'a str, &'a str, Option<i64>, Option<&'a str>);

/// Attacks with each object, and holds the signal it raises against its row.
fn raise(faults: &[Fault<'_>]) {
    let target = locked();
    for (object, query, signal, code, place) in faults {
        let problem = target.attack(&format!("hostile/{object}.o"), query).problem();
        assert_eq!(
            (slug(&problem), problem["signal"].as_str()),
            ("fault", Some(*signal)),
            "{object}: {problem}"
        );
        assert!(code.is_none_or(|code| problem["code"] == code), "{object}: {problem}");
        match place {
            None => assert_eq!(problem["address"], Value::Null, "{object}: {problem}"),
            Some(words) => {
                assert!(problem["place"].as_str().is_some_and(|place| place.contains(words)), "{problem}");
                assert!(problem["address"].as_str().is_some_and(|address| address.starts_with("0x")));
            }
        }
    }
}

/// A function of `harness.o` or `instructions.o`, with its argument.
fn of(function: &str, argument: u64) -> String {
    format!("kernel=test.probe&number={argument}&_symbol={function}")
}

fn harness(target: &Target, function: &str) -> webrunner_tests::http::Answer {
    target.attack("hostile/harness.o", &of(function, 0))
}

/// R23. A stack that overflows: by recursion, by a leap, step by step.
#[test]
fn a_stack_that_overflows_ends_at_its_guard() {
    raise(&[
        ("recursion", PLAYGROUND, "SIGSEGV", Some(2), Some("below the function's stack, which overflowed")),
        ("stack_leap", PLAYGROUND, "SIGSEGV", None, Some("")),
        ("stack_walk", PLAYGROUND, "SIGSEGV", Some(2), Some("below the function's stack, which overflowed")),
    ]);
}

/// R24. A stack pointer that is null, non-canonical, or in text; the report comes all the same.
#[test]
fn a_stack_pointer_to_nowhere_is_told() {
    raise(&[
        ("stack_null", PLAYGROUND, "SIGSEGV", Some(1), Some("near nothing the function was given")),
        ("stack_non_canonical", PLAYGROUND, "SIGBUS", Some(128), None),
        ("stack_in_text", PLAYGROUND, "SIGSEGV", Some(2), Some("the object's code, which cannot be written")),
    ]);
}

/// R31. Reads of and jumps to null, non-canonical addresses, the kernel and the vsyscall page; steps past its buffers.
#[test]
fn memory_that_is_not_its_own_is_out_of_reach() {
    let nothing = Some("near nothing the function was given");
    raise(&[
        ("null_read", PLAYGROUND, "SIGSEGV", Some(1), Some("a null pointer")),
        ("null_jump", PLAYGROUND, "SIGSEGV", Some(1), Some("a null pointer")),
        ("non_canonical_read", PLAYGROUND, "SIGSEGV", Some(128), None),
        ("non_canonical_stack", PLAYGROUND, "SIGBUS", Some(128), None),
        ("kernel_read", PLAYGROUND, "SIGSEGV", Some(1), nothing),
        ("overrun_read_forward", SDOT, "SIGSEGV", Some(2), Some("0 bytes past the end of x (4096 bytes)")),
        ("overrun_write_forward", SDOT, "SIGSEGV", Some(2), Some("0 bytes past the end of x (4096 bytes)")),
        ("overrun_read_backward", SDOT, "SIGSEGV", Some(2), Some("4 bytes before x")),
        ("overrun_write_backward", SDOT, "SIGSEGV", Some(2), Some("4 bytes before x")),
        ("instructions", &of("write_at", 8), "SIGSEGV", Some(1), Some("a null pointer")),
        ("instructions", &of("jump_to", 1 << 47), "SIGSEGV", Some(128), None),
        ("instructions", &of("read_at", 0xffff_8880_0000_0000), "SIGSEGV", Some(1), nothing),
        ("instructions", &of("jump_to", 0xffff_ffff_8100_0000), "SIGSEGV", Some(1), nothing),
        ("instructions", &of("write_at", 0xffff_ffff_ff60_0000), "SIGSEGV", None, nothing),
    ]);
}

/// What a fault is told with: the instruction and its place in the function, or that there is none.
#[test]
fn a_fault_names_the_instruction_and_its_offset_in_the_function() {
    let target = locked();
    let problem = target.attack("hostile/null_read.o", PLAYGROUND).problem();
    assert_eq!((&problem["instruction"], &problem["function_offset"]), (&json!("mov eax, [rax]"), &json!(2)));
    assert!(problem["instruction_bytes"].as_str().is_some_and(|bytes| bytes.starts_with("8b00c3")));
    let problem = target.attack("hostile/null_jump.o", PLAYGROUND).problem();
    assert_eq!((&problem["instruction"], &problem["function_offset"]), (&Value::Null, &Value::Null));
    assert_eq!(problem["instruction_pointer"], "0x0");
}

/// R32. Code in the stack, in data and in a buffer.
#[test]
fn data_is_not_executed() {
    raise(&[
        ("execute_stack", PLAYGROUND, "SIGSEGV", Some(2), Some("the function's stack")),
        ("execute_data", PLAYGROUND, "SIGSEGV", Some(2), Some("writable data, which cannot be executed")),
        ("execute_buffer", SDOT, "SIGSEGV", Some(2), Some("0 bytes into x")),
    ]);
}

/// R33. Writes to code and constants, its own and the worker's.
#[test]
fn code_and_constants_are_not_written() {
    raise(&[
        ("write_text", PLAYGROUND, "SIGSEGV", Some(2), Some("the object's code, which cannot be written")),
        ("write_rodata", PLAYGROUND, "SIGSEGV", Some(2), Some("the object's read-only data")),
        (
            "harness",
            &of("modify_own_code", 0),
            "SIGSEGV",
            Some(2),
            Some("the object's code, which cannot be written"),
        ),
        ("harness", &of("write_harness_text", 0), "SIGSEGV", Some(2), Some("")),
        ("harness", &of("write_harness_constants", 0), "SIGSEGV", Some(2), Some("")),
    ]);
}

/// R34. Everything the worker can write, filled with 0x41: then a return, a fault, a call, an end.
#[test]
fn a_worker_whose_memory_is_overwritten_harms_itself_alone() {
    let target = locked();
    for function in [
        "fill_statics_and_return",
        "fill_statics_and_fault",
        "fill_statics_and_call",
        "fill_statics_and_end",
        "fill_stack_and_return",
    ] {
        let answer = harness(&target, function);
        let problem = body(&answer);
        assert!(OWN.contains(&slug(&problem)), "{function}: {problem}");
        assert!(!answer.text().contains("AAAA"), "{function}: its bytes came through: {problem}");
    }
    let smashed = target.attack("hostile/smash_stack.o", PLAYGROUND).problem();
    assert_eq!((slug(&smashed), &smashed["signal"]), ("fault", &json!("SIGSEGV")), "{smashed}");
}

/// R35. A search of all that can be read for what the job before it was given and for the supervisor's environment,
/// directly and by what `write` tells; and all of it sent out.
#[test]
fn no_secret_is_found_in_a_worker() {
    let target = locked();
    ends_with(&harness(&target, "search_for_secrets"), 0);
    // The search does find what is there.
    assert_eq!(exit_code(&harness(&target, "search_for_planted")), Some(2));
    // A byte goes out for each page that can be read, so the end is a violation; a find would have been a time limit.
    is(&harness(&target, "search_by_write"), "protocol-violation");
    is(&harness(&target, "dump_statics"), "protocol-violation");
}

/// R36. Every register as a function finds it: the same for each job, and nothing of another.
#[test]
fn registers_hold_nothing_of_another_job() {
    // rsp, and rdi, in which the argument is.
    const OF_THIS_JOB: [u64; 2] = [4, 7];
    const CALLEE_SAVED: [u64; 6] = [3, 5, 12, 13, 14, 15];
    let target = locked();
    let entry = |register: u64| {
        let query = format!("kernel=test.probe&number={register}");
        let answer = target.post("hostile/registers.o", &query);
        (answer.status == 200).then(|| answer.json()["returned"].as_u64().expect("a number"))
    };
    let all = || {
        let registers = (0..20).chain(32..64).chain(64..96).filter(|number| !OF_THIS_JOB.contains(number));
        registers.map(|number| (number, entry(number))).collect::<Vec<_>>()
    };
    let first = target.unharmed_by(all);
    assert_eq!(first, all(), "registers differ from one job to the next");
    for (number, value) in first {
        match (number, value) {
            // rflags: interrupts are on, and what comparing nothing leaves; no direction, alignment or trap.
            (16, Some(flags)) => assert_eq!(flags & !0x8d5, 0x202, "{flags:#x}"),
            (17, value) => assert_eq!(value, Some(0x1f80), "mxcsr"),
            (18, value) => assert_eq!(value.map(|word| word & 0xffff), Some(0x37f), "x87 control"),
            (19, value) => assert_eq!(value, Some(0xffff), "x87 tags"),
            (number, value) if CALLEE_SAVED.contains(&number) => assert!(value.is_some_and(|word| word != 0)),
            // Upper quarters, on a CPU without AVX.
            (64.., None) => {}
            (number, value) => assert_eq!(value, Some(0), "register {number}"),
        }
    }
    is_measured(&target.post("hostile/registers.o", "kernel=test.probe&number=0"));
}

/// R52. Everything the worker can write, filled with small numbers, lengths, ranges and addresses of the function's own
/// code.
#[test]
fn a_worker_whose_memory_is_given_a_meaning_harms_itself_alone() {
    let target = locked();
    for function in ["mean_and_return", "mean_and_fault"] {
        for meaning in 0.. {
            let answer = target.attack("hostile/harness.o", &of(function, meaning));
            if exit_code(&answer) == Some(CAME_TO_NOTHING) {
                assert!(meaning > 10, "{meaning} meanings");
                break;
            }
            let problem = body(&answer);
            assert!(OWN.contains(&slug(&problem)), "{function} {meaning}: {problem}");
        }
    }
}

/// R53. Words of the worker that could be one of the keys, tried as one: those beside which the keys were, and what is
/// on its stack.
#[test]
fn no_word_of_a_worker_is_a_key() {
    const WORDS: u64 = 60;
    let attempts = [("close_with_key", "close"), ("write_text_with_key", "mprotect")];
    let target = locked();
    target.unharmed_by(|| {
        for (function, call) in attempts {
            for number in 0..WORDS {
                is_refused(&target.post("hostile/harness.o", &of(function, number)), call);
            }
        }
    });
    drop(target);
    let control = unlocked();
    Control::Works.holds("close_with_key", &control.post("hostile/harness.o", &of("close_with_key", 0)));
    // What can be written is executed no more.
    raises(&control.post("hostile/harness.o", &of("write_text_with_key", 0)), "SIGSEGV", Some(2));
}
