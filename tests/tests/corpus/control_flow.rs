//! Rows 37 to 41: ways into the worker's code, wrong ways back, and what is left in registers and segments.

use serde_json::Value;
use webrunner_tests::http::{Answer, slug};

use crate::outcome::{Control, exit_code, is_measured, is_refused, raises};
use crate::target::{Target, body, locked, unlocked};

const PLAYGROUND: &str = "kernel=playground";

/// Ends that are the function's own doing.
const OWN: [&str; 6] = [
    "fault",
    "kernel-exited",
    "kernel-killed",
    "protocol-violation",
    "system-call-refused",
    "unsupported-instruction",
];

/// Asserts that an attack came to an end of its own, or to a measurement.
fn is_its_own(answer: &Answer) {
    let body = body(answer);
    assert!(answer.status == 200 || OWN.contains(&slug(&body)), "{body}");
}

/// A function of a collection, which need not be named as the kernel.
fn of(function: &str) -> String {
    format!("{PLAYGROUND}&_symbol={function}")
}

fn harness(function: &str, argument: u64) -> String {
    format!("kernel=test.probe&number={argument}&_symbol={function}")
}

/// Attacks with an object and holds what is found on its return against words.
fn finds(target: &Target, object: &str, words: &[&str]) {
    found(&target.attack(&format!("hostile/{object}.o"), PLAYGROUND), object, words);
}

fn found(answer: &Answer, object: &str, words: &[&str]) {
    is_measured(answer);
    let answer = answer.json();
    let found: Vec<_> =
        answer["findings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(found.len(), words.len(), "{object}: {found:?}");
    for (found, words) in found.iter().zip(words) {
        assert!(found.contains(words), "{object}: {found}");
    }
}

/// Whether the CPU has a feature, by the kernel's word for it.
fn has(feature: &str) -> bool {
    let flags = std::fs::read_to_string("/proc/cpuinfo").expect("/proc/cpuinfo");
    flags.split_ascii_whitespace().any(|word| word == feature)
}

/// How often the bytes of a `syscall` instruction are in the worker's code.
fn syscall_instructions(target: &Target) -> u64 {
    /// As many as the object counts at a time.
    const AT_A_TIME: u64 = 200;
    let mut count = 0;
    loop {
        let answer = target.attack("hostile/harness.o", &harness("count_syscalls", count));
        let more = exit_code(&answer).and_then(|code| u64::try_from(code).ok()).expect("a count");
        count += more;
        if more < AT_A_TIME {
            assert!(count >= 10, "{count} instructions in the worker's code");
            return count;
        }
    }
}

/// R37. Jumps to each `syscall` instruction of the worker, to become a shell; and into the middle of its code.
#[test]
fn the_worker_s_own_code_makes_no_other_calls() {
    let target = locked();
    let count = syscall_instructions(&target);
    target.unharmed_by(|| {
        for nth in 0..count {
            is_refused(&target.post("hostile/harness.o", &harness("jump_to_syscall", nth)), "execve");
        }
    });
    target.unharmed_by(|| {
        for offset in 1..64 {
            is_its_own(&target.post("hostile/harness.o", &harness("jump_into_harness", offset)));
        }
    });
    drop(target);
    let control = unlocked();
    for nth in 0..count {
        let answer = control.post("hostile/harness.o", &harness("jump_to_syscall", nth));
        Control::Ends(42).holds(&format!("instruction {nth}"), &answer);
    }
}

/// R38. Wrong ways back: a wrong stack pointer, a wrong address, over the caller's head, by the worker's own stack.
#[test]
fn wrong_ways_back_are_put_right_or_fault() {
    let target = locked();
    finds(&target, "return_popping", &["wrong stack pointer"]);
    for function in ["return_8", "push_three", "leave_twice", "skip_caller"] {
        is_its_own(&target.attack("hostile/instructions.o", &of(function)));
    }
    is_its_own(&target.attack("hostile/harness.o", &harness("jump_out", 0)));
}

/// R39. Registers a function must keep, and flags: direction, alignment, trap, nested task, ID.
#[test]
fn clobbered_registers_and_flags_are_put_right_and_told() {
    let target = locked();
    finds(&target, "return_clobbered", &["rbx, rbp, r12, r13, r14, r15"]);
    // What the code holds is told where there is time to look.
    let patient = format!("{PLAYGROUND}&_effort=standard");
    found(&target.attack("hostile/unreached.o", &patient), "unreached", &["only the kernel", "system calls"]);
    finds(&target, "return_direction", &["direction flag"]);
    finds(&target, "return_ac", &[]);
    for function in ["return_nested_task", "return_id"] {
        is_measured(&target.attack("hostile/instructions.o", &of(function)));
    }
    raises(&target.attack("hostile/instructions.o", &of("return_trap")), "SIGTRAP", Some(2));
    raises(&target.attack("hostile/trap_flag.o", PLAYGROUND), "SIGTRAP", Some(2));
    // A handler that began with these flags would not get to report.
    raises(&target.attack("hostile/fault_flags.o", PLAYGROUND), "SIGSEGV", Some(1));
}

/// R40. Floating-point state: MXCSR, the x87 control word and stack, upper halves.
#[test]
fn floating_point_state_is_put_right_and_told() {
    let target = locked();
    finds(&target, "return_mxcsr", &["MXCSR"]);
    finds(&target, "return_x87_full", &["x87 stack"]);
    finds(&target, "return_x87_control", &["x87 stack"]);
    raises(&target.attack("hostile/mxcsr_reserved.o", PLAYGROUND), "SIGSEGV", Some(128));
    match (has("avx"), has("xgetbv1")) {
        (true, true) => finds(&target, "return_dirty_ymm", &["vzeroupper"]),
        _ => is_its_own(&target.attack("hostile/return_dirty_ymm.o", PLAYGROUND)),
    }
}

/// R41. The bases of fs and gs, on which thread-locals hang, and segment selectors.
#[test]
fn segments_and_their_bases_harm_the_function_alone() {
    let target = locked();
    let lacking = if has("fsgsbase") { None } else { Some("SIGILL") };
    // The handler is told the fault although thread-locals point nowhere.
    raises(&target.attack("hostile/fault_fs_base.o", PLAYGROUND), lacking.unwrap_or("SIGSEGV"), None);
    is_its_own(&target.attack("hostile/return_fs_base.o", PLAYGROUND));
    let non_canonical = target.attack("hostile/instructions.o", &of("wrfsbase_non_canonical"));
    raises(&non_canonical, lacking.unwrap_or("SIGSEGV"), None);
    for function in ["wrfsbase_zero", "wrgsbase_junk", "load_ds_null", "load_gs_user"] {
        is_its_own(&target.attack("hostile/instructions.o", &of(function)));
    }
    for function in ["load_es_kernel", "load_ss_null", "load_fs_ldt"] {
        raises(&target.attack("hostile/instructions.o", &of(function)), "SIGSEGV", Some(128));
    }
}
