//! Rows 42 to 51 and 56: instructions that need a right, a mode, or a part of the CPU that a function may not have.

use serde_json::{Value, json};
use webrunner_tests::http::{Answer, slug};

use crate::outcome::{Control, is_foreign_or, is_measured, is_refused, raises};
use crate::target::{Target, body, locked, unlocked};

const PLAYGROUND: &str = "kernel=playground";
const OBJECT: &str = "hostile/instructions.o";

/// Attacks with a function of `instructions.o`.
fn attempt(target: &Target, function: &str) -> Answer {
    target.attack(OBJECT, &format!("{PLAYGROUND}&_symbol={function}"))
}

/// The same on workers without a lock, with what it returned.
fn attempt_without_lock(control: &Target, function: &str) -> Answer {
    control.post(OBJECT, &format!("kernel=test.probe&number=0&_symbol={function}"))
}

/// Asserts that a function was measured, or raised one of these signals: what it tries depends on the CPU.
fn passes_or_raises(target: &Target, function: &str, signals: &[&str]) {
    let answer = attempt(target, function);
    let body = body(&answer);
    let raised = signals.iter().any(|signal| body["signal"] == *signal);
    let expected = ["fault", "unsupported-instruction"].contains(&slug(&body)) && raised;
    assert!(answer.status == 200 || expected, "{function}: {body}");
}

/// R42. Rights of the kernel: interrupts, ports, registers, caches, tables, ways in and out.
#[test]
fn privileged_instructions_are_told_by_their_signal() {
    let target = locked();
    raises(&target.attack("hostile/hlt.o", PLAYGROUND), "SIGSEGV", Some(128));
    for name in [
        "cli",
        "sti",
        "in",
        "out",
        "rdmsr",
        "wrmsr",
        "invlpg",
        "wbinvd",
        "invd",
        "read_cr0",
        "write_cr4",
        "read_dr7",
        "clts",
        "xsetbv",
        "swapgs",
        "lgdt",
        "lidt",
        "ltr",
        "lmsw",
        "iret_to_kernel",
    ] {
        raises(&attempt(&target, &format!("do_{name}")), "SIGSEGV", Some(128));
    }
    // What only one maker's CPUs have, or only some of them.
    for name in ["sysret", "clgi", "vmcall"] {
        let problem = body(&attempt(&target, &format!("do_{name}")));
        assert!(problem["signal"] == "SIGSEGV" || problem["signal"] == "SIGILL", "{name}: {problem}");
    }
    // An exit to the hypervisor, which no filter sees and every hypervisor refuses to user mode.
    passes_or_raises(&target, "do_vmmcall", &["SIGILL", "SIGSEGV"]);
}

/// R43. Instructions that only tell where tables lie: the kernel answers with constants, or forbids them.
#[test]
fn addresses_of_the_kernel_s_tables_are_not_told() {
    let target = locked();
    for name in ["sgdt", "sidt", "sldt", "str", "smsw"] {
        passes_or_raises(&target, &format!("do_{name}"), &["SIGSEGV"]);
    }
}

/// R44. Traps: undefined instructions, breakpoints, and `int` with every number.
#[test]
fn traps_are_told_by_their_signal() {
    let target = locked();
    raises(&target.attack("hostile/ud2.o", PLAYGROUND), "SIGILL", Some(2));
    raises(&target.attack("hostile/int3.o", PLAYGROUND), "SIGTRAP", Some(128));
    raises(&attempt(&target, "do_icebp"), "SIGTRAP", None);
    raises(&attempt(&target, "do_rsm"), "SIGILL", None);
    raises(&attempt(&target, "do_bad_lock"), "SIGILL", None);
    target.unharmed_by(|| {
        for number in 0..256 {
            let answer = target.post(OBJECT, &format!("kernel=test.probe&number={number}&_symbol=interrupt"));
            match number {
                3 => raises(&answer, "SIGTRAP", None),
                0x80 => is_foreign_or(&answer, &["SIGSEGV"]),
                _ => raises(&answer, "SIGSEGV", None),
            }
        }
    });
    drop(target);
    // Where the kernel has that gate, call 0 of the 32-bit table answers.
    let gate = unlocked().post(OBJECT, "kernel=test.probe&number=128&_symbol=interrupt");
    assert!(gate.status == 200 || body(&gate)["signal"] == "SIGSEGV", "{}", body(&gate));
}

/// R45. Arithmetic that has no result: integers, SSE and x87.
#[test]
fn impossible_arithmetic_is_told_by_its_code() {
    let target = locked();
    raises(&target.attack("hostile/divide_by_zero.o", PLAYGROUND), "SIGFPE", Some(1));
    raises(&attempt(&target, "least_by_minus_one"), "SIGFPE", Some(1));
    raises(&target.attack("hostile/sse_divide_by_zero.o", PLAYGROUND), "SIGFPE", Some(3));
    raises(&attempt(&target, "x87_divide_by_zero"), "SIGFPE", Some(3));
}

/// R46. Alignment: vectors, the alignment check, and a lock over two cache lines.
#[test]
fn misaligned_accesses_are_told() {
    let target = locked();
    raises(&attempt(&target, "misaligned_movaps"), "SIGSEGV", Some(128));
    raises(&target.attack("hostile/misaligned_with_ac.o", PLAYGROUND), "SIGBUS", Some(1));
    // A host may be set up to forbid it.
    passes_or_raises(&target, "split_lock", &["SIGBUS"]);
}

/// R47. Clocks, the CPU's name, chance: all but counters of the CPU, which no job has mapped.
#[test]
fn clocks_and_the_cpu_s_name_may_be_read() {
    let target = locked();
    for name in ["rdtsc", "rdtscp", "cpuid"] {
        is_measured(&attempt(&target, &format!("do_{name}")));
    }
    for name in ["rdpid", "rdrand", "rdpru"] {
        passes_or_raises(&target, &format!("do_{name}"), &["SIGILL"]);
    }
    raises(&attempt(&target, "do_rdpmc"), "SIGSEGV", Some(128));
}

/// R48. Memory keys, shadow stacks, transactions: nothing that most CPUs have, and no right where they do.
#[test]
fn keys_shadow_stacks_and_transactions_give_no_rights() {
    let target = locked();
    for name in ["wrpkru", "incssp", "setssbsy", "wrss", "rdssp", "xabort", "xbegin"] {
        passes_or_raises(&target, &format!("do_{name}"), &["SIGILL", "SIGSEGV"]);
    }
}

/// R49. Instruction sets this CPU lacks, by name; and the call that would ask the kernel for one.
#[test]
fn an_instruction_set_the_cpu_lacks_is_named() {
    let target = locked();
    let machine = target.service().get("/machine").json();
    let has = |flag| machine["isa"].as_array().is_some_and(|isa| isa.contains(&json!(flag)));
    for (object, flag) in [("avx512", "avx512f"), ("amx", "amx_tile")] {
        // By the CPU, in a quick measurement, and in a full one before anything is run.
        for effort in ["quick", "standard"] {
            let query = format!("{PLAYGROUND}&_effort={effort}");
            let answer = target.attack(&format!("hostile/{object}.o"), &query);
            let body = body(&answer);
            if has(flag) {
                assert!(answer.status == 200 || slug(&body) == "fault", "{object}: {body}");
            } else {
                assert_eq!(
                    (slug(&body), &body["needs"]),
                    ("unsupported-instruction", &json!([flag])),
                    "{body}"
                );
            }
        }
    }
    for (function, flag) in [
        ("do_wrpkru", "pku"),
        ("do_rdpkru", "pku"),
        ("tpause_for_ever", "waitpkg"),
        ("do_serialize", "serialize"),
        ("do_xbegin", "rtm"),
        ("do_llwpcb", "lwp"),
        ("do_enqcmd", "enqcmd"),
    ] {
        if !has(flag) {
            let query = format!("{PLAYGROUND}&_effort=standard&_symbol={function}");
            let body = body(&target.attack(OBJECT, &query));
            assert_eq!((slug(&body), &body["needs"]), ("unsupported-instruction", &json!([flag])), "{body}");
            assert!(body.get("signal").is_none_or(Value::is_null), "{function} was run: {body}");
        }
    }
    let permission = format!("{PLAYGROUND}&_symbol=arch_prctl_amx");
    is_refused(&target.attack("hostile/calls.o", &permission), "arch_prctl");
    drop(target);
    Control::Reaches.holds("arch_prctl_amx", &unlocked().post("hostile/calls.o", &permission));
}

/// R50. Caches and predictors, of the kernel and shared: no crash, and no defence either, as `docs/security.md` says.
#[test]
fn caches_and_predictors_are_open_to_all() {
    let target = locked();
    for function in ["prefetch_kernel", "flush_and_reload", "train_branch"] {
        is_measured(&attempt(&target, function));
    }
    raises(&attempt(&target, "clflush_kernel"), "SIGSEGV", None);
}

/// R56. What further parts of the CPU add: enclaves, virtual machines, user interrupts, tracing.
#[test]
fn further_parts_of_the_cpu_give_no_rights() {
    let target = locked();
    for name in [
        "enclu",
        "encls",
        "enclv",
        "getsec",
        "vmrun",
        "vmload",
        "vmfunc",
        "stgi",
        "skinit",
        "seamcall",
        "tdcall",
        "vmgexit",
        "pvalidate",
        "rmpadjust",
        "invlpgb",
        "tlbsync",
        "invpcid",
        "pconfig",
        "hreset",
        "wrmsrns",
        "rdmsrlist",
        "uiret",
        "stui",
        "senduipi",
        "eretu",
        "lkgs",
        "loadiwkey",
        "enqcmd",
        "wruss",
        "llwpcb",
        "slwpcb",
        "bndmk",
        "monitor",
        "clzero",
        "serialize",
        "ptwrite",
        "rdpkru",
    ] {
        passes_or_raises(&target, &format!("do_{name}"), &["SIGILL", "SIGSEGV"]);
    }
}

/// R51. Ways into the kernel in the shadow of a load of ss, returns from interrupts that never were, faults of 32-bit code.
#[test]
fn odd_ways_into_the_kernel_and_back_are_told_by_their_signal() {
    let target = locked();
    is_refused(&attempt(&target, "syscall_after_ss"), "getpid");
    is_foreign_or(&attempt(&target, "int80_after_ss"), &["SIGSEGV"]);
    for function in ["int3_after_ss", "icebp_after_ss"] {
        raises(&attempt(&target, function), "SIGTRAP", None);
    }
    // Bits of flags that a function may not set are left out.
    for function in ["iret_rights", "iret_virtual_86"] {
        is_measured(&attempt(&target, function));
    }
    for function in ["iret_null_stack", "iret_non_canonical"] {
        raises(&attempt(&target, function), "SIGSEGV", None);
    }
    for (function, signal, code, instruction) in [
        ("narrow_ud2", "SIGILL", None, "ud2"),
        ("narrow_divide", "SIGFPE", Some(1), "div ecx"),
        ("narrow_null", "SIGSEGV", None, "mov eax, [0]"),
        ("narrow_stack", "SIGSEGV", None, "push eax"),
    ] {
        let answer = attempt(&target, function);
        raises(&answer, signal, code);
        let problem = answer.problem();
        assert_eq!(
            (&problem["code_bits"], &problem["instruction"]),
            (&json!(32), &json!(instruction)),
            "{problem}"
        );
        assert!(problem["detail"].as_str().is_some_and(|words| words.contains("(32-bit code)")), "{problem}");
    }
    // It is back in 64 bits when it faults.
    let far = attempt(&target, "narrow_far");
    raises(&far, "SIGSEGV", Some(1));
    assert_eq!(far.problem()["code_bits"], 64);
    drop(target);
    let control = unlocked();
    let process = attempt_without_lock(&control, "syscall_after_ss").json()["returned"].as_u64();
    assert!(process.is_some_and(|process| process > 1), "{process:?}");
    let gate = attempt_without_lock(&control, "int80_after_ss");
    assert!(gate.status == 200 || body(&gate)["signal"] == "SIGSEGV", "{}", body(&gate));
}
