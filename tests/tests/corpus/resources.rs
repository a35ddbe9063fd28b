//! Rows 22, 25 and 30: time, memory and processes used up.

use std::thread;

use webrunner_tests::http::Connection;
use webrunner_tests::jobs;

use crate::outcome::{Control, is, is_measured, is_refused, raises};
use crate::target::{body, locked, of_its_own, unlocked};

const PLAYGROUND: &str = "kernel=playground";

/// Instructions that wait: their flag in `/proc/cpuinfo`, and the function that waits with them for ever.
const WAITS: [(&str, &str); 4] = [
    ("waitpkg", "umwait_for_ever"),
    ("waitpkg", "tpause_for_ever"),
    ("mwaitx", "mwaitx_for_ever"),
    // A right of the kernel's.
    ("", "mwait_for_ever"),
];

/// R22. Loops, pauses and waits that never end.
#[test]
fn a_function_that_never_returns_is_stopped() {
    let target = of_its_own(&["--deadline", "1", "--cpu-limit", "60"]);
    for object in ["spin", "spin_pause"] {
        is(&target.attack(&format!("hostile/{object}.o"), PLAYGROUND), "time-limit");
    }
    for (flag, function) in WAITS {
        let answer = target.attack("hostile/instructions.o", &format!("{PLAYGROUND}&_symbol={function}"));
        let problem = body(&answer);
        let trapped = problem["signal"] == "SIGILL" || problem["signal"] == "SIGSEGV";
        let stopped = answer.slug() == "time-limit";
        assert!(stopped && !flag.is_empty() || trapped, "{function}: {problem}");
    }
    drop(target);
    let target = of_its_own(&["--deadline", "60", "--cpu-limit", "1"]);
    is(&target.attack("hostile/spin.o", PLAYGROUND), "cpu-time-limit");
}

/// R25. All the memory a job may have, touched; and asking for more: by its file, by a parameter, by a system call.
#[test]
fn memory_is_given_up_to_a_limit() {
    let target = locked();
    is_measured(&target.attack("hostile/touch.o", PLAYGROUND));
    is(&target.attack("bad/huge_bss.o", PLAYGROUND), "bad-object");
    for query in
        ["kernel=sdot&n=1099511627776", "kernel=sdot&n=16777216&incx=1024", "kernel=sgemm&mr=4294967295"]
    {
        let answer = target.attack("good/sdot_gas.o", query);
        assert_eq!((answer.status, answer.slug().as_str()), (400, "bad-parameter"), "{query}");
    }
    let more = format!("{PLAYGROUND}&_symbol=mmap_16_gib");
    is_refused(&target.attack("hostile/calls.o", &more), "mmap");
    drop(target);
    Control::Works.holds("mmap_16_gib", &unlocked().post("hostile/calls.o", &more));
}

/// R30. A thousand crashes, from eight clients at once.
#[test]
fn a_thousand_crashes_are_all_answered() {
    const CLIENTS: usize = 8;
    const CRASHES: usize = 125;
    let target = locked();
    let log = target.service().log_of_start();
    let crash = jobs::request("hostile/null_read.o", &format!("{PLAYGROUND}&_effort=quick")).bytes();
    let answers = target.unharmed_by(|| {
        let client = || {
            let mut connection = Connection::open(target.service().address());
            let ask = |_| {
                connection.send(&crash);
                connection.receive()
            };
            (0..CRASHES).map(ask).collect::<Vec<_>>()
        };
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
            clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect::<Vec<_>>()
        })
    });
    assert_eq!(answers.len(), CLIENTS * CRASHES);
    for answer in answers {
        raises(&answer, "SIGSEGV", Some(1));
    }
    assert_eq!(target.service().log(), log, "a job that crashes is no news to an operator");
}
