//! Rows 6 to 10: other ways into the kernel than the `syscall` instruction of a 64-bit program.

use webrunner_tests::http::Request;

use crate::outcome::{ends_with, exit_code, is_foreign_or, raises};
use crate::target::{body, locked, request, unlocked};

/// First call of the vsyscall page, of three that are 1 KiB apart.
const VSYSCALL: u64 = 0xffff_ffff_ff60_0000;

const PLAYGROUND: &str = "kernel=playground";

/// The request that makes this call of the 32-bit table, all arguments zero.
fn through_int80(number: u64) -> Request {
    request("hostile/int80_argument.o", &format!("kernel=test.probe&number={number}"))
}

/// The request that hands an address to a function.
fn at(function: &str, address: u64) -> Request {
    request("hostile/instructions.o", &format!("kernel=test.probe&number={address}&_symbol={function}"))
}

/// R6. `int 0x80` with every number from 0 to 1023.
#[test]
fn no_number_passes_the_32_bit_gate() {
    let target = locked();
    for answer in target.unharmed_by(|| target.send_all((0..1024).map(through_int80))) {
        is_foreign_or(&answer, &["SIGSEGV"]);
    }
    is_foreign_or(&target.attack("hostile/int80.o", PLAYGROUND), &["SIGSEGV"]);
    drop(target);
    // getpid of the 32-bit table; a kernel without the gate raises a signal.
    let control = unlocked().send(&through_int80(20));
    match control.status {
        200 => assert!(control.json()["returned"].as_u64().is_some_and(|process| process > 1)),
        _ => raises(&control, "SIGSEGV", None),
    }
}

/// R7. A far return to 32-bit code, and from there each gate.
#[test]
fn gates_are_shut_to_32_bit_code() {
    let gates =
        ["far_int80", "far_sysenter", "far_syscall"].map(|gate| format!("{PLAYGROUND}&_symbol={gate}"));
    let signals = ["SIGSEGV", "SIGILL"];
    let target = locked();
    for gate in &gates {
        is_foreign_or(&target.attack("hostile/gates_32.o", gate), &signals);
    }
    is_foreign_or(&target.attack("hostile/far_return_32.o", PLAYGROUND), &signals);
    drop(target);
    let control = unlocked();
    for gate in &gates {
        // Each maker's CPUs have two of the three; where the call is made, it ends the process.
        let answer = control.post("hostile/gates_32.o", gate);
        let problem = body(&answer);
        assert!(
            exit_code(&answer) == Some(42) || signals.iter().any(|name| problem["signal"] == *name),
            "{problem}"
        );
    }
    let int80 = control.post("hostile/gates_32.o", &gates[0]);
    let has_gate = control.send(&through_int80(20)).status == 200;
    if has_gate {
        ends_with(&int80, 42);
    }
}

/// R8. `sysenter` from 64-bit code: an instruction AMD's CPUs do not have there, and the 32-bit gate of Intel's.
#[test]
fn sysenter_ends_the_worker() {
    is_foreign_or(&locked().attack("hostile/sysenter.o", PLAYGROUND), &["SIGILL"]);
    let control = unlocked().post("hostile/sysenter.o", PLAYGROUND);
    assert!(control.status == 200 || control.slug() != "system-call-refused", "{}", body(&control));
}

/// R9. The vsyscall page: each of its three calls, and a read of its bytes.
#[test]
fn the_vsyscall_page_is_no_way_around_the_lock() {
    let target = locked();
    for (index, call) in ["gettimeofday", "time", "getcpu"].into_iter().enumerate() {
        let answer = target.unharmed_by(|| target.send(&at("call_at", VSYSCALL + 1024 * index as u64)));
        let problem = answer.problem();
        assert!(problem["syscall"] == call || problem["signal"] == "SIGSEGV", "{call}: {problem}");
    }
    let time = target.attack("hostile/vsyscall.o", PLAYGROUND).problem();
    assert!(time["syscall_number"] == 201 || time["signal"] == "SIGSEGV", "{time}");
    // Only a kernel told `vsyscall=emulate` lets the page be read, which is no harm.
    let read = target.unharmed_by(|| target.send(&at("read_at", VSYSCALL)));
    assert!(read.status == 200 || body(&read)["signal"] == "SIGSEGV", "{}", body(&read));
    drop(target);
    let control = unlocked().send(&request("hostile/vsyscall.o", "kernel=test.playground"));
    match control.status {
        200 => assert!(control.json()["returned"].as_u64().is_some_and(|seconds| seconds > 1 << 30)),
        _ => raises(&control, "SIGSEGV", None),
    }
}

/// R10. The vDSO, at the address the kernel named: the zygote has given it up.
#[test]
fn there_is_no_vdso_to_call() {
    /// The ends of the attack: the page is another, and there are no more (objects/hostile/attack.h).
    const OTHER: i64 = 1;
    const NO_MORE: i64 = 255;
    let target = locked();
    let mut gone = 0;
    for number in 0.. {
        let query = format!("kernel=test.probe&number={number}&_symbol=read_vdso");
        let answer = target.attack("hostile/harness.o", &query);
        match exit_code(&answer) {
            Some(NO_MORE) => break,
            Some(code) => assert_eq!(code, OTHER, "page {number}"),
            None => {
                raises(&answer, "SIGSEGV", None);
                // Not only out of reach: nothing is mapped there.
                gone += u32::from(answer.problem()["code"] == 1);
            }
        }
    }
    assert!(gone > 0, "no address of what is gone");
}
