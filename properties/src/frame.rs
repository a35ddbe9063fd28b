//! Frames: what a worker answers, what it is told, and what passes between supervisor and zygote.
//!
//! One input is tried as each of them, since each begins in its own way. A reply that the supervisor would believe goes
//! on to where believed replies go: it is rendered in every format, or becomes a problem body.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use webrunner::machine::Machine;
use webrunner::pool::{End, Facts};
use webrunner::problem::Problem;
use webrunner::render::{self, Report, Run};
use webrunner::request::{Call, RunRequest};
use webrunner_kernels::Catalogue;
use webrunner_protocol::codec;
use webrunner_protocol::control::{ZygoteReport, ZygoteRequest};
use webrunner_protocol::frame::JobHeader;
use webrunner_protocol::ids::{CoreId, JobId};
use webrunner_protocol::job::{Job, Work};
use webrunner_protocol::limits::{
    MAX_BUFFER_BYTES, MAX_CONTROL_BYTES, MAX_JOB_BYTES, MAX_OBJECT_BYTES, MAX_REPLY_BYTES,
};
use webrunner_protocol::reply::Reply;

use crate::memory;

/// The job that replies are taken as answers to; seeds carry it.
pub const JOB: JobId = JobId(0x5eed);

/// Query of the call that replies are taken as answers to.
pub const QUERY: &str = "kernel=sdot&n=100";

/// Most that decoding one message may allocate. Decoded, a message takes more room than encoded: a name of one byte is
/// a string. A list that claims to be long gets room for 1 MiB at once, and lists stand in lists three deep.
const MAX_DECODER_BYTES: u64 = 4 << 20;

/// Most that one answer may allocate.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::builtin().expect("built in"));
static CALL: LazyLock<Call<'_>> = LazyLock::new(|| {
    RunRequest::from_query(QUERY).and_then(|request| request.resolve(&CATALOGUE)).expect("a good query")
});
static MACHINE: LazyLock<Machine> = LazyLock::new(|| Machine::gather(0));
static POOL: LazyLock<Facts> = LazyLock::new(Facts::default);

/// Takes the bytes as every kind of message there is; whether they were one.
///
/// # Panics
/// If something that must hold does not.
pub fn check(bytes: &[u8]) -> bool {
    let made_before = (&*CALL, &*MACHINE, &*POOL);
    let is_reply = check_reply(bytes, made_before);
    let is_job = check_job(bytes);
    let is_control = check_control(bytes);
    is_reply || is_job || is_control
}

/// As the supervisor takes what came by a worker's socket.
fn check_reply(bytes: &[u8], (call, machine, pool): (&Call<'_>, &Machine, &Facts)) -> bool {
    let taken =
        memory::within(MAX_DECODER_BYTES, "the reply decoder", || webrunner::pool::parse_reply(bytes, JOB));
    let Ok(reply) = taken else { return false };
    round_trip(&reply, MAX_REPLY_BYTES);
    memory::within(MAX_ANSWER_BYTES, "the answer", || answer(reply, call, machine, pool));
    true
}

fn answer(reply: Reply, call: &Call<'_>, machine: &Machine, pool: &Facts) {
    match call.measurement(End::of(reply), &machine.isa) {
        Ok(measurement) => {
            let run = Run {
                core: CoreId(0),
                queued: Duration::ZERO,
                ran: Duration::ZERO,
                exit: None,
                examined: None,
                repeated: false,
            };
            let report =
                Report { id: "id", machine, pool, call, object: &[], run: &run, measurement: &measurement };
            check_text(&render::text(&report));
            let json = render::json(&report).expect("a measurement that was believed becomes JSON");
            let body: Value = serde_json::from_slice(&json).expect("an answer is JSON");
            assert_eq!(body["schema"], 1);
            assert!(render::csv(&report).lines().count() > 1, "no line but the head");
            assert!(render::table(&report).contains("quality: "));
        }
        Err(problem) => check_problem(&problem),
    }
}

/// The old client takes lines of a name and an integer, and nothing else.
fn check_text(text: &str) {
    for line in text.lines() {
        let value = line.split_once(": ").map(|(_, value)| value.parse::<i128>());
        assert!(matches!(value, Some(Ok(_))), "a line of the text answer: {line:?}");
    }
}

/// No problem may carry raw bytes of a stranger's into a terminal or a log.
pub(crate) fn check_problem(problem: &Problem) {
    let detail = problem.detail();
    assert!(!detail.chars().any(char::is_control), "a control character in {detail:?}");
    let body = problem.body().to_string();
    assert!(body.len() <= MAX_REPLY_BYTES, "a problem of {} bytes", body.len());
}

/// As a worker takes what came by its socket.
fn check_job(bytes: &[u8]) -> bool {
    let Some((head, body)) = bytes.split_first_chunk() else { return false };
    let Ok(header) = JobHeader::parse(head) else { return false };
    assert!(header.job_bytes as usize <= MAX_JOB_BYTES && header.object_bytes as usize <= MAX_OBJECT_BYTES);
    let Some(encoded) = body.get(..header.job_bytes as usize) else { return false };
    let decoded = memory::within(MAX_DECODER_BYTES, "the job decoder", || codec::decode::<Job>(encoded));
    let Ok(job) = decoded else { return false };
    round_trip(&job, MAX_JOB_BYTES);
    let Work::Kernel(work) = job.work;
    if work.call.check().is_ok() {
        assert!(work.call.buffer_bytes() <= MAX_BUFFER_BYTES);
    }
    true
}

/// As supervisor and zygote take each other's packets.
fn check_control(bytes: &[u8]) -> bool {
    if bytes.len() > MAX_CONTROL_BYTES {
        return false;
    }
    let report = memory::within(MAX_DECODER_BYTES, "the report decoder", || codec::decode(bytes));
    let request = memory::within(MAX_DECODER_BYTES, "the request decoder", || codec::decode(bytes));
    report.as_ref().iter().for_each(|report: &&ZygoteReport| round_trip(*report, MAX_CONTROL_BYTES));
    request.as_ref().iter().for_each(|request: &&ZygoteRequest| round_trip(*request, MAX_CONTROL_BYTES));
    report.is_ok() || request.is_ok()
}

/// What was decoded is written within the limit and read again as the same; compared encoded, since NaN equals nothing.
fn round_trip<T>(message: &T, limit: usize)
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let written = codec::encode(message, limit).expect("what was decoded can be encoded");
    let read: T = codec::decode(&written).expect("what was encoded can be decoded");
    assert_eq!(codec::encode(&read, limit).expect("and again"), written);
}
