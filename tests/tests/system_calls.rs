//! What the lock lets through, tried on the real kernel: every number, and the limits of every open rule.

use serde_json::{Value, json};
use webrunner_tests::http::{Answer, Connection, slug};
use webrunner_tests::jobs::{self, good_job_is_right};
use webrunner_tests::service::Service;

const READ: u64 = 0;
const WRITE: u64 = 1;
const SHUTDOWN: u64 = 48;
const EXIT_GROUP: u64 = 231;

/// Calls that newer kernels let pass every filter (`uretprobe`, `uprobe`): outside a probe they end in SIGILL or ENXIO.
const UNFILTERED: [u64; 2] = [335, 336];

/// A worker's descriptors: its job socket, and the first and last of its counters.
const JOB: u64 = 3;
const COUNTERS: (u64, u64) = (4, 35);

/// Most bytes of a read of counters, and of a reply with its header.
const MOST_READ: u64 = 512;
const MOST_WRITTEN: u64 = (64 << 10) + 10;

/// Posts an object for each number, over one connection.
fn sweep(service: &Service, object: &str, numbers: impl Iterator<Item = u64>) -> Vec<(u64, Answer)> {
    let mut connection = Connection::open(service.address());
    let mut ask = |number| {
        connection.send(
            &jobs::request(object, &format!("kernel=test.probe&number={number}&_effort=quick")).bytes(),
        );
        (number, connection.receive())
    };
    numbers.map(&mut ask).collect()
}

/// Makes one system call with these arguments.
fn call(service: &Service, number: u64, arguments: &[u64]) -> Answer {
    let names = ["a", "b", "c", "d", "e", "f"];
    let arguments: String =
        names.iter().zip(arguments).map(|(name, value)| format!("&{name}={value}")).collect();
    let query = format!("kernel=test.call&number={number}{arguments}&_effort=quick&_format=json");
    service.post("hostile/syscall_arguments.o", &query)
}

/// Whether an answer says that the lock refused this call.
fn is_refusal(answer: &Answer, number: u64) -> bool {
    let refusal = (answer.status == 422).then(|| answer.problem());
    refusal.is_some_and(|problem| {
        slug(&problem) == "system-call-refused" && problem["syscall_number"] == json!(number)
    })
}

#[test]
fn of_all_numbers_only_the_end_of_the_process_passes() {
    let service = Service::start();
    for (number, answer) in sweep(&service, "hostile/syscall_argument.o", 0..1024) {
        match number {
            EXIT_GROUP => assert_eq!(answer.problem()["exit_code"], 0),
            // Refused where the kernel knows neither; else no harm outside a probe.
            _ if UNFILTERED.contains(&number) => {
                let harmless = answer.status == 200 || answer.problem()["signal"] == "SIGILL";
                assert!(harmless || is_refusal(&answer, number), "{number}: {answer:?}");
            }
            // All arguments are zero: descriptor 0 is no worker's to use.
            _ => assert!(is_refusal(&answer, number), "{number}: {answer:?}"),
        }
    }
    service.settle();
    good_job_is_right(&service);
}

#[test]
fn no_number_of_the_x32_table_passes() {
    let service = Service::start();
    for (number, answer) in sweep(&service, "hostile/syscall_argument.o", 0x4000_0000..0x4000_0400) {
        assert!(is_refusal(&answer, number), "{number:#x}: {answer:?}");
        assert_eq!(answer.problem()["x32"], true);
    }
    good_job_is_right(&service);
}

#[test]
fn no_number_passes_the_32_bit_gate() {
    let service = Service::start();
    for (number, answer) in sweep(&service, "hostile/int80_argument.o", 0..512) {
        let problem = answer.problem();
        let refused = slug(&problem) == "system-call-refused" && problem["syscall_number"] == Value::Null;
        assert!(refused || problem["signal"] == "SIGSEGV", "{number}: {problem}");
    }
    good_job_is_right(&service);
}

#[test]
fn a_worker_may_read_its_job_socket_and_its_counters() {
    let service = Service::start();
    for arguments in [[JOB, 0, 0], [COUNTERS.0, 0, 0], [COUNTERS.0, 0, MOST_READ], [COUNTERS.1, 0, 0]] {
        assert_eq!(call(&service, READ, &arguments).status, 200, "{arguments:?}");
    }
}

#[test]
fn a_worker_may_read_nothing_else() {
    let service = Service::start();
    let others = [0, 1, 2, COUNTERS.1 + 1, u64::from(u32::MAX), u64::MAX];
    let arguments = others.map(|descriptor| [descriptor, 0, 0]).into_iter();
    for arguments in arguments.chain([[COUNTERS.0, 0, MOST_READ + 1], [COUNTERS.1, 0, u64::MAX]]) {
        assert!(is_refusal(&call(&service, READ, &arguments), READ), "{arguments:?}");
    }
}

#[test]
fn a_worker_may_write_one_reply_to_its_job_socket_and_nothing_else() {
    let service = Service::start();
    // Nothing is written from address 0, so the true reply still comes.
    for arguments in [[JOB, 0, 0], [JOB, 0, MOST_WRITTEN]] {
        assert_eq!(call(&service, WRITE, &arguments).status, 200, "{arguments:?}");
    }
    for arguments in
        [[0, 0, 0], [1, 0, 0], [2, 0, 0], [4, 0, 0], [JOB, 0, MOST_WRITTEN + 1], [JOB, 0, u64::MAX]]
    {
        assert!(is_refusal(&call(&service, WRITE, &arguments), WRITE), "{arguments:?}");
    }
}

#[test]
fn a_worker_may_close_its_job_socket_for_writing_and_in_no_other_way() {
    let service = Service::start();
    assert_eq!(call(&service, SHUTDOWN, &[JOB, 1]).slug(), "kernel-exited");
    for arguments in [[JOB, 0], [JOB, 2], [4, 1], [0, 1]] {
        assert!(is_refusal(&call(&service, SHUTDOWN, &arguments), SHUTDOWN), "{arguments:?}");
    }
    good_job_is_right(&service);
}

#[test]
fn a_worker_may_end_with_any_code() {
    let service = Service::start();
    for (code, seen) in [(0, 0), (70, 70), (71, 71), (255, 255), (256, 0)] {
        assert_eq!(call(&service, EXIT_GROUP, &[code]).problem()["exit_code"], seen);
    }
    service.settle();
    good_job_is_right(&service);
}

#[test]
fn calls_of_the_zygote_are_refused_without_its_key() {
    let service = Service::start();
    // As the policy has them, but for the key in the sixth argument: clone, mprotect, close, sendmsg, wait4, perf_event_open.
    let calls: [(u64, [u64; 6]); 7] = [
        (56, [0x1100, 0, 0, 0, 0, 0]),
        (10, [0x1000_0000, 4096, 5, 0, 0, 0]),
        (3, [3, 0, 0, 0, 0, 0]),
        (46, [4, 0, 0x4000, 0, 0, 0]),
        (61, [u64::MAX, 0, 1, 0, 0, 0]),
        (298, [0, 0, u64::from(u32::MAX), u64::MAX, 8, 0]),
        (298, [0, 0, u64::from(u32::MAX), u64::MAX, 8, u64::MAX]),
    ];
    for (number, arguments) in calls {
        assert!(is_refusal(&call(&service, number, &arguments), number), "{number}");
    }
}
