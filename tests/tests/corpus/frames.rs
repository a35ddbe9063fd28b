//! Rows 21, 26 to 29, 54 and 55: what a function sends in the place of the worker's reply.
//!
//! The best forgery is made with the service's own protocol crate, which an attacker has too, and carries the number of
//! its job, which it finds in the worker's memory.

use serde_json::json;
use webrunner_protocol::codec;
use webrunner_protocol::frame::ReplyHeader;
use webrunner_protocol::ids::JobId;
use webrunner_protocol::limits::MAX_REPLY_BYTES;
use webrunner_protocol::reply::{CounterReading, CycleSamples, Gate, Measurement, Outcome, Reply, Returned};
use webrunner_tests::http::{Answer, Request};
use webrunner_tests::objects;

use crate::outcome::{ends_with, is, is_measured};
use crate::target::{Target, locked, of_its_own, request_of};

/// Where `forge.o` puts the number of its job.
const NUMBER_OF_THE_JOB: JobId = JobId(0xa5a5_a5a5_a5a5_a5a5);

/// What stands before the room for the frame in `forge.o`.
const MARK: [u64; 2] = [0x6d61_7266_6568_7421, 0x2165_7265_6865_6d61];

/// Functions that send a frame, or something like one, and never return.
const ENDLESS: [&str; 4] = ["forge_junk_spin", "forge_length_spin", "forge_header_spin", "forge_brief_spin"];

/// What a forger does next.
#[derive(Debug, Clone, Copy)]
enum Then {
    End = 0,
    Spin = 1,
    Return = 2,
    Again = 3,
    /// Says that this was all, and spins.
    Shut = 4,
}

/// The request whose function sends `frame`.
fn forging(frame: &[u8], then: Then) -> Request {
    forging_for("kernel=playground", frame, then)
}

fn forging_for(query: &str, frame: &[u8], then: Then) -> Request {
    let mut object = objects::read("hostile/forge.o");
    let mark = MARK.map(u64::to_le_bytes).concat();
    let at = object.windows(mark.len()).position(|bytes| bytes == mark).expect("the mark in forge.o");
    let mut put = |offset: usize, bytes: &[u8]| object[at + offset..][..bytes.len()].copy_from_slice(bytes);
    put(16, &(frame.len() as u64).to_le_bytes());
    put(24, &(then as u64).to_le_bytes());
    put(32, frame);
    request_of(&object, query)
}

/// A measurement like many.
fn measurement() -> Measurement {
    Measurement {
        returned: Returned { integer: 7, vector: 0 },
        cycles: CycleSamples {
            isolated: vec![1.0; 41],
            throughput: vec![1.0; 41],
            gate: Gate::Clean,
            calls_per_round: 64,
            overhead_cycles: 29.0,
            empty_call_cycles: 3.0,
            ticks_per_cycle: 1.0,
            first_call_ticks: 1000,
            ..CycleSamples::default()
        },
        ..Measurement::default()
    }
}

fn reply(measurement: Measurement) -> Reply {
    Reply { job: NUMBER_OF_THE_JOB, outcome: Outcome::Measured(Box::new(measurement)) }
}

/// A reply as a worker sends it.
fn frame(reply: &Reply) -> Vec<u8> {
    let body = codec::encode(reply, MAX_REPLY_BYTES).expect("a reply that can be encoded");
    let header = ReplyHeader { reply_bytes: u32::try_from(body.len()).expect("a length") };
    [&header.to_bytes()[..], &body].concat()
}

/// A good frame after a change to its bytes.
fn spoilt(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = frame(&reply(measurement()));
    change(&mut bytes);
    bytes
}

/// A frame whose measurement was changed.
fn absurd(change: impl FnOnce(&mut Measurement)) -> Vec<u8> {
    let mut measurement = measurement();
    change(&mut measurement);
    frame(&reply(measurement))
}

fn attack(target: &Target, request: &Request) -> Answer {
    target.unharmed_by(|| target.send(request))
}

/// R21. The end of the process: at once, and after a frame that is good.
#[test]
fn an_early_end_is_told_by_its_code() {
    let target = locked();
    for (object, code) in [("syscall_exit_0", 0), ("syscall_exit_9", 9)] {
        ends_with(&target.attack(&format!("hostile/{object}.o"), "kernel=playground"), code);
    }
    is_measured(&attack(&target, &forging(&frame(&reply(measurement())), Then::End)));
}

/// R26. Good frames without end: no more is taken than one reply can hold.
#[test]
fn a_flood_of_replies_is_cut_off() {
    let target = locked();
    is(&attack(&target, &forging(&frame(&reply(measurement())), Then::Again)), "protocol-violation");
    is(&target.attack("hostile/forge_junk_flood.o", "kernel=playground"), "protocol-violation");
    // Two are one too many as well: the forger's, then the worker's own.
    is(&attack(&target, &forging(&frame(&reply(measurement())), Then::Return)), "protocol-violation");
}

/// R27. One perfect frame with figures of the forger's own: believed as far as any figure is, and never called more than
/// what it is.
#[test]
fn a_perfect_forgery_is_never_called_verified() {
    let target = locked();
    let answer = attack(&target, &forging(&frame(&reply(measurement())), Then::End));
    is_measured(&answer);
    let answer = answer.json();
    assert_eq!(answer["results"][0]["value"], 1.0, "the forgery was meant to be believed: {answer}");
    // A forger that takes the time a measurement takes is consistent; `truth.rs` has one that does not, and is suspect.
    let careful = forging_for("kernel=playground&_effort=standard", &frame(&reply(measurement())), Then::End);
    for answer in [answer, attack(&target, &careful).json()] {
        let word = answer["integrity"].as_str().unwrap_or_default();
        assert!(["unverified", "consistent", "suspect"].contains(&word), "{answer}");
    }
}

/// R28. Frames that are wrong in one thing each: mark, version, lengths, job, figures, numbers of things.
#[test]
fn a_frame_that_cannot_be_true_is_a_violation() {
    let mut other_job = reply(measurement());
    other_job.job = JobId(1 << 40);
    let counter = CounterReading { event: 0, count: 1 << 63, calls: 0, time_enabled: 1, time_running: 1 };
    let frames = [
        ("mark", spoilt(|bytes| bytes[0] = b'w')),
        ("version", spoilt(|bytes| bytes[4] ^= 0xff)),
        ("length, one less", spoilt(|bytes| bytes[6] -= 1)),
        ("length, one more", spoilt(|bytes| bytes[6] += 1)),
        ("length of 4 GiB", spoilt(|bytes| bytes[6..10].fill(0xff))),
        ("a byte too few", spoilt(|bytes| bytes.truncate(bytes.len() - 1))),
        ("a byte too many", spoilt(|bytes| bytes.push(0))),
        ("half of it", spoilt(|bytes| bytes.truncate(bytes.len() / 2))),
        ("header alone", spoilt(|bytes| bytes.truncate(ReplyHeader::BYTES))),
        ("two", frame(&reply(measurement())).repeat(2)),
        ("outcome there is none of", spoilt(|bytes| bytes[ReplyHeader::BYTES + 9] = 200)),
        ("junk", vec![0xff; 100]),
        ("another job", frame(&other_job)),
        ("NaN", absurd(|it| it.cycles.isolated[3] = f64::NAN)),
        ("infinity", absurd(|it| it.cycles.throughput[0] = f64::INFINITY)),
        ("1e300 cycles", absurd(|it| it.cycles.isolated[0] = 1e300)),
        ("overhead of NaN", absurd(|it| it.cycles.overhead_cycles = f64::NAN)),
        ("no rounds", absurd(|it| it.cycles.isolated.clear())),
        ("too many rounds", absurd(|it| it.cycles.isolated = vec![1.0; 1025])),
        ("counter over no calls", absurd(|it| it.counters.push(counter))),
    ];
    let target = locked();
    for (what, frame) in frames {
        let answer = attack(&target, &forging(&frame, Then::End));
        assert_eq!(answer.slug(), "protocol-violation", "{what}: {}", answer.text());
    }
}

/// R28 once more, with what needs no number of a job; not a byte of it comes through.
#[test]
fn junk_in_the_place_of_a_reply_is_a_violation() {
    let target = locked();
    for object in
        ["forge_junk_exit", "forge_junk_return", "forge_length_exit", "forge_header_exit", "forge_brief_exit"]
    {
        let answer = target.attack(&format!("hostile/{object}.o"), "kernel=playground");
        is(&answer, "protocol-violation");
        assert!(!answer.text().contains("AAAA"), "{object}: its bytes came through: {}", answer.text());
    }
}

/// R29. A good frame, and then no end: the deadline wins, and the frame is not believed.
#[test]
fn a_frame_before_an_endless_loop_is_not_believed() {
    let target = of_its_own(&["--deadline", "1", "--cpu-limit", "60"]);
    let mut answers = vec![attack(&target, &forging(&frame(&reply(measurement())), Then::Spin))];
    answers.extend(ENDLESS.map(|object| target.attack(&format!("hostile/{object}.o"), "kernel=playground")));
    for answer in answers {
        is(&answer, "time-limit");
        assert_eq!(answer.problem()["limit_seconds"], json!(1.0));
    }
    drop(target);
    // Where its CPU time is up first, the report of that follows the frame: two of them.
    let target = of_its_own(&["--deadline", "60", "--cpu-limit", "1"]);
    for object in &ENDLESS[..2] {
        is(&target.attack(&format!("hostile/{object}.o"), "kernel=playground"), "protocol-violation");
    }
}

/// R54. The socket shut, with and without a good frame before, and then no end, a wait, a return, a fault, a call: what
/// was sent counts, and the worker does not outlive its job.
#[test]
fn a_worker_that_says_it_is_done_and_is_not_is_ended() {
    let target = of_its_own(&["--deadline", "1", "--cpu-limit", "60"]);
    let answer = attack(&target, &forging(&frame(&reply(measurement())), Then::Shut));
    is_measured(&answer);
    assert_ne!(answer.json()["integrity"], "verified");
    for (function, outcome) in [
        ("shut_and_spin", "protocol-violation"),
        ("shut_and_wait", "protocol-violation"),
        ("shut_and_return", "kernel-exited"),
        ("shut_and_fault", "kernel-exited"),
        ("shut_and_call", "kernel-exited"),
    ] {
        is(&socket(&target, function), outcome);
    }
}

/// R55. The socket read, written and the counters started without end or sense.
#[test]
fn a_socket_used_without_sense_is_a_violation_or_runs_out_of_time() {
    let target = of_its_own(&["--deadline", "1", "--cpu-limit", "60"]);
    for (function, outcome) in [
        ("wait_for_a_job", "time-limit"),
        ("read_over_text", "time-limit"),
        ("write_nothing_for_ever", "time-limit"),
        ("write_kernel_for_ever", "time-limit"),
        ("start_counters_for_ever", "time-limit"),
        ("write_a_byte_and_spin", "time-limit"),
        ("write_a_byte_and_fault", "protocol-violation"),
        ("write_a_byte_and_return", "protocol-violation"),
        ("write_scratch_for_ever", "protocol-violation"),
    ] {
        is(&socket(&target, function), outcome);
    }
}

fn socket(target: &Target, function: &str) -> Answer {
    target.attack("hostile/socket.o", &format!("kernel=playground&_symbol={function}"))
}
