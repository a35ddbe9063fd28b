//! Every object that attacks its worker is stopped, named for what it did, and harms nothing else.
//!
//! Rows are those of `objects/README.md`. After each of them a good job on the same core must be right, no process may be
//! left, and the pool must be full again.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use webrunner_tests::http::slug;
use webrunner_tests::jobs::good_job_is_right;
use webrunner_tests::objects;
use webrunner_tests::service::Service;

const PLAYGROUND: &str = "kernel=playground";
const SDOT: &str = "kernel=blis.sdot";

/// A signal to be raised: object, query, signal, its code where it is told, and words about the data address.
type FaultRow = (&'static str, &'static str, &'static str, Option<i64>, Option<&'static str>);

const MEMORY: &[FaultRow] = &[
    ("null_read", PLAYGROUND, "SIGSEGV", Some(1), Some("a null pointer")),
    ("null_jump", PLAYGROUND, "SIGSEGV", Some(1), Some("a null pointer")),
    ("non_canonical_read", PLAYGROUND, "SIGSEGV", Some(128), None),
    ("non_canonical_stack", PLAYGROUND, "SIGBUS", Some(128), None),
    ("kernel_read", PLAYGROUND, "SIGSEGV", Some(1), Some("near nothing the function was given")),
    ("write_text", PLAYGROUND, "SIGSEGV", Some(2), Some("the object's code, which cannot be written")),
    ("write_rodata", PLAYGROUND, "SIGSEGV", Some(2), Some("the object's read-only data")),
    ("execute_stack", PLAYGROUND, "SIGSEGV", Some(2), Some("the function's stack")),
    ("execute_data", PLAYGROUND, "SIGSEGV", Some(2), Some("writable data, which cannot be executed")),
    ("overrun_read_forward", SDOT, "SIGSEGV", Some(2), Some("0 bytes past the end of x (4096 bytes)")),
    ("overrun_write_forward", SDOT, "SIGSEGV", Some(2), Some("0 bytes past the end of x (4096 bytes)")),
    ("overrun_read_backward", SDOT, "SIGSEGV", Some(2), Some("4 bytes before x")),
    ("overrun_write_backward", SDOT, "SIGSEGV", Some(2), Some("4 bytes before x")),
];

const STACK: &[FaultRow] = &[
    ("recursion", PLAYGROUND, "SIGSEGV", Some(2), Some("below the function's stack, which overflowed")),
    ("stack_leap", PLAYGROUND, "SIGSEGV", None, Some("")),
    ("stack_walk", PLAYGROUND, "SIGSEGV", Some(2), Some("below the function's stack, which overflowed")),
    ("smash_stack", PLAYGROUND, "SIGSEGV", None, Some("")),
    ("stack_null", PLAYGROUND, "SIGSEGV", Some(1), Some("near nothing the function was given")),
    ("stack_non_canonical", PLAYGROUND, "SIGBUS", Some(128), None),
    ("stack_in_text", PLAYGROUND, "SIGSEGV", Some(2), Some("the object's code, which cannot be written")),
];

const INSTRUCTIONS: &[FaultRow] = &[
    ("ud2", PLAYGROUND, "SIGILL", Some(2), None),
    ("hlt", PLAYGROUND, "SIGSEGV", Some(128), None),
    ("int3", PLAYGROUND, "SIGTRAP", Some(128), None),
    ("trap_flag", PLAYGROUND, "SIGTRAP", Some(2), None),
    ("divide_by_zero", PLAYGROUND, "SIGFPE", Some(1), None),
    ("sse_divide_by_zero", PLAYGROUND, "SIGFPE", Some(3), None),
    ("mxcsr_reserved", PLAYGROUND, "SIGSEGV", Some(128), None),
    ("misaligned_with_ac", PLAYGROUND, "SIGBUS", Some(1), None),
    ("fault_flags", PLAYGROUND, "SIGSEGV", Some(1), Some("a null pointer")),
];

/// What is left behind on return, and what the answer finds.
const LEFT_BEHIND: &[(&str, &[&str])] = &[
    ("return_clobbered", &["rbx, rbp, r12, r13, r14, r15"]),
    ("unreached", &["only the kernel", "system calls"]),
    ("return_popping", &["wrong stack pointer"]),
    ("return_direction", &["direction flag"]),
    ("return_ac", &[]),
    ("return_mxcsr", &["MXCSR"]),
    ("return_x87_full", &["x87 stack"]),
    ("return_x87_control", &["x87 stack"]),
];

/// System calls, by name and number.
const CALLS: &[(&str, &str, i64)] = &[
    ("syscall_getpid", "getpid", 39),
    ("syscall_openat", "openat", 257),
    ("syscall_fork", "fork", 57),
    ("syscall_clone3", "clone3", 435),
    ("syscall_execve", "execve", 59),
    ("syscall_socket", "socket", 41),
    ("syscall_write_stderr", "write", 1),
    ("syscall_kill_all", "kill", 62),
    ("syscall_mmap_rwx", "mmap", 9),
    ("mprotect_text", "mprotect", 10),
    ("syscall_ptrace", "ptrace", 101),
    ("syscall_perf_event_open", "perf_event_open", 298),
    ("syscall_prctl", "prctl", 157),
    ("syscall_rt_sigaction", "rt_sigaction", 13),
    ("syscall_memfd_create", "memfd_create", 319),
    ("syscall_io_uring_setup", "io_uring_setup", 425),
    ("syscall_bpf", "bpf", 321),
    ("syscall_process_vm_readv", "process_vm_readv", 310),
    ("syscall_ioctl_tiocsti", "ioctl", 16),
    ("syscall_sendmsg", "sendmsg", 46),
    ("syscall_nanosleep", "nanosleep", 35),
    ("close_descriptors", "close", 3),
    ("sigreturn", "rt_sigreturn", 15),
    ("munmap_everything", "munmap", 11),
];

/// Exits, and the code each ends with.
const EXITS: &[(&str, i64)] = &[("syscall_exit_0", 0), ("syscall_exit_9", 9), ("syscall_exit_high_bits", 9)];

/// Forged replies after which the process ends, or a true reply follows.
const FORGED: &[&str] = &[
    "forge_junk_exit",
    "forge_junk_return",
    "forge_junk_flood",
    "forge_length_exit",
    "forge_header_exit",
    "forge_brief_exit",
];

/// Functions that never return; some forge a reply first.
const ENDLESS: &[&str] =
    &["spin", "spin_pause", "forge_junk_spin", "forge_length_spin", "forge_header_spin", "forge_brief_spin"];

/// Objects with a test of their own, here or in `system_calls.rs`, `truth.rs` or `measuring.rs`.
const OTHERS: &[&str] = &[
    "overrun_by_one",
    "write_input",
    "fault_fs_base",
    "avx512",
    "amx",
    "forge_reply",
    "forge_reply_code",
    "forge_reply_idle",
    "forge_outputs",
    "return_dirty_ymm",
    "return_fs_base",
    "syscall_x32_getpid",
    "syscall_minus_one",
    "syscall_argument",
    "syscall_arguments",
    "vsyscall",
    "int80",
    "int80_argument",
    "far_return_32",
    "sysenter",
];

/// Posts a hostile object; whatever its answer, the service must be as good as before.
fn attack(service: &Service, object: &str, query: &str) -> (u16, Value) {
    let answer = service.post(&format!("hostile/{object}.o"), &format!("{query}&_format=json"));
    let body = if answer.status == 200 { answer.json() } else { answer.problem() };
    service.settle();
    good_job_is_right(service);
    (answer.status, body)
}

/// Posts a hostile object that must end in a problem.
fn stopped(service: &Service, object: &str, query: &str) -> Value {
    let (status, problem) = attack(service, object, query);
    assert_eq!(status, 422, "{object}: {problem}");
    problem
}

fn raises_its_signal(rows: &[FaultRow]) {
    let service = Service::start();
    for (object, query, signal, code, place) in rows {
        let problem = stopped(&service, object, query);
        assert_eq!(slug(&problem), "fault", "{object}: {problem}");
        assert_eq!(problem["signal"], *signal, "{object}: {problem}");
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

#[test]
fn wrong_accesses_are_told_by_signal_address_and_what_lies_there() {
    raises_its_signal(MEMORY);
}

#[test]
fn a_stack_that_overflows_or_points_nowhere_is_told_as_such() {
    raises_its_signal(STACK);
}

#[test]
fn instructions_that_trap_are_told_by_signal_and_code() {
    raises_its_signal(INSTRUCTIONS);
}

#[test]
fn a_fault_names_the_instruction_and_its_offset_in_the_function() {
    let service = Service::start();
    let problem = stopped(&service, "null_read", PLAYGROUND);
    assert_eq!((&problem["instruction"], &problem["function_offset"]), (&json!("mov eax, [rax]"), &json!(2)));
    assert!(problem["instruction_bytes"].as_str().is_some_and(|bytes| bytes.starts_with("8b00c3")));
    let problem = stopped(&service, "null_jump", PLAYGROUND);
    assert_eq!((&problem["instruction"], &problem["function_offset"]), (&Value::Null, &Value::Null));
    assert_eq!(problem["instruction_pointer"], "0x0");
}

#[test]
fn a_fault_is_told_even_where_thread_locals_point_nowhere() {
    let service = Service::start();
    let problem = stopped(&service, "fault_fs_base", PLAYGROUND);
    let signal = if has(&service, "fsgsbase") { "SIGSEGV" } else { "SIGILL" };
    assert_eq!(problem["signal"], signal, "{problem}");
}

#[test]
fn a_function_that_leaves_its_own_thread_locals_harms_itself_at_most() {
    let service = Service::start();
    let (status, body) = attack(&service, "return_fs_base", PLAYGROUND);
    let own = ["fault", "unsupported-instruction", "kernel-killed", "kernel-exited"];
    assert!(status == 200 || own.contains(&slug(&body)), "{body}");
}

#[test]
fn an_instruction_set_the_cpu_lacks_is_named() {
    let service = Service::start();
    for (object, flag) in [("avx512", "avx512f"), ("amx", "amx_tile")] {
        let (status, body) = attack(&service, object, PLAYGROUND);
        match (has(&service, flag), slug(&body)) {
            (false, slug) => {
                assert_eq!((slug, &body["needs"]), ("unsupported-instruction", &json!([flag])), "{body}");
            }
            (true, slug) => assert!(status == 200 || slug == "fault", "{object}: {body}"),
        }
    }
}

/// Whether the CPU has a feature, by the kernel's word for it.
fn has(service: &Service, flag: &str) -> bool {
    let flags = std::fs::read_to_string("/proc/cpuinfo").expect("/proc/cpuinfo");
    let told = service.get("/machine").json()["isa"].as_array().is_some_and(|isa| isa.contains(&json!(flag)));
    told || flags.split_ascii_whitespace().any(|word| word == flag)
}

#[test]
fn what_a_function_leaves_behind_is_put_right_and_told() {
    let service = Service::start();
    for (object, expected) in LEFT_BEHIND {
        let (status, answer) = attack(&service, object, PLAYGROUND);
        assert_eq!(status, 200, "{object}: {answer}");
        let found: Vec<_> = answer["findings"].as_array().into_iter().flatten().collect();
        assert_eq!(found.len(), expected.len(), "{object}: {found:?}");
        for (found, words) in found.iter().zip(*expected) {
            assert!(found.as_str().is_some_and(|found| found.contains(words)), "{object}: {found}");
        }
    }
}

#[test]
fn upper_halves_in_use_are_found_where_the_cpu_can_tell() {
    let service = Service::start();
    let (status, answer) = attack(&service, "return_dirty_ymm", PLAYGROUND);
    if has(&service, "avx") && has(&service, "xgetbv1") {
        assert!(answer["findings"][0].as_str().is_some_and(|found| found.contains("vzeroupper")), "{answer}");
    } else {
        assert!(status == 200 || slug(&answer) == "unsupported-instruction", "{answer}");
    }
}

#[test]
fn system_calls_are_refused_by_name() {
    let service = Service::start();
    for (object, name, number) in CALLS {
        let problem = stopped(&service, object, PLAYGROUND);
        assert_eq!(slug(&problem), "system-call-refused", "{object}: {problem}");
        assert_eq!(
            (&problem["syscall"], &problem["syscall_number"]),
            (&json!(name), &json!(number)),
            "{object}"
        );
        assert_eq!(problem["x32"], false, "{object}");
    }
}

#[test]
fn a_call_through_the_x32_table_is_refused_and_named() {
    let problem = stopped(&Service::start(), "syscall_x32_getpid", PLAYGROUND);
    let told = (&problem["syscall"], &problem["syscall_number"], &problem["x32"]);
    assert_eq!(told, (&json!("getpid"), &json!(0x4000_0027), &json!(true)));
}

#[test]
fn a_number_that_names_no_call_is_refused() {
    let problem = stopped(&Service::start(), "syscall_minus_one", PLAYGROUND);
    assert_eq!((&problem["syscall"], &problem["syscall_number"]), (&Value::Null, &json!(-1)));
}

#[test]
fn the_vsyscall_page_is_no_way_around_the_lock() {
    let problem = stopped(&Service::start(), "vsyscall", PLAYGROUND);
    let refused = problem["syscall"] == "time" && problem["syscall_number"] == 201;
    assert!(refused || problem["signal"] == "SIGSEGV", "{problem}");
}

#[test]
fn gates_of_other_architectures_end_the_worker() {
    let service = Service::start();
    for object in ["int80", "int80_argument", "far_return_32"] {
        let problem = stopped(
            &service,
            object,
            if object == "int80_argument" { "kernel=test.probe" } else { PLAYGROUND },
        );
        let refused =
            slug(&problem) == "system-call-refused" && problem["detail"].to_string().contains("32-bit");
        // A kernel built without the gate raises a signal.
        assert!(refused || problem["signal"] == "SIGSEGV", "{object}: {problem}");
    }
    let problem = stopped(&service, "sysenter", PLAYGROUND);
    assert!(slug(&problem) == "system-call-refused" || problem["signal"] == "SIGILL", "{problem}");
}

#[test]
fn a_function_that_ends_the_process_is_told_by_its_exit_code() {
    let service = Service::start();
    for (object, code) in EXITS {
        let problem = stopped(&service, object, PLAYGROUND);
        assert_eq!((slug(&problem), &problem["exit_code"]), ("kernel-exited", &json!(code)), "{object}");
    }
}

#[test]
fn forged_replies_are_no_answers() {
    let service = Service::start();
    for object in FORGED {
        let problem = stopped(&service, object, PLAYGROUND);
        assert_eq!(slug(&problem), "protocol-violation", "{object}: {problem}");
        assert!(!problem.to_string().contains("AAAA"), "{object}: its bytes came through: {problem}");
    }
}

#[test]
fn a_function_that_never_returns_is_stopped_at_its_deadline() {
    let service = Service::with_flags(["--deadline", "1", "--cpu-limit", "60"]);
    for object in ENDLESS {
        let problem = stopped(&service, object, PLAYGROUND);
        assert_eq!(
            (slug(&problem), &problem["limit_seconds"]),
            ("time-limit", &json!(1.0)),
            "{object}: {problem}"
        );
    }
}

#[test]
fn a_function_that_never_returns_is_stopped_at_its_cpu_time() {
    let service = Service::with_flags(["--deadline", "60", "--cpu-limit", "1"]);
    for object in ENDLESS {
        let problem = stopped(&service, object, PLAYGROUND);
        let expected = if object.starts_with("forge") { "protocol-violation" } else { "cpu-time-limit" };
        assert_eq!(slug(&problem), expected, "{object}: {problem}");
    }
}

#[test]
fn nothing_of_the_supervisor_is_used_up_by_crashing_jobs() {
    let service = Service::start();
    good_job_is_right(&service);
    service.settle();
    let (zygote, descriptors) = (service.zygote(), service.descriptors());
    for _ in 0..200 {
        let crashed = service.refusal("hostile/null_read.o", PLAYGROUND);
        assert_eq!(slug(&crashed), "fault");
    }
    service.settle();
    good_job_is_right(&service);
    assert_eq!(service.zygote(), zygote);
    webrunner_tests::wait::until("descriptors are given back", || service.descriptors() <= descriptors);
}

#[test]
fn no_row_of_the_table_goes_untested() {
    let faults = [MEMORY, STACK, INSTRUCTIONS].into_iter().flatten().map(|(object, ..)| *object);
    let tested: BTreeSet<String> = faults
        .chain(LEFT_BEHIND.iter().map(|(object, _)| *object))
        .chain(CALLS.iter().map(|(object, ..)| *object))
        .chain(EXITS.iter().map(|(object, _)| *object))
        .chain([FORGED, ENDLESS, OTHERS].into_iter().flatten().copied())
        .map(|object| format!("hostile/{object}.o"))
        .collect();
    assert_eq!(objects::listed(&["hostile/"]), tested);
}
