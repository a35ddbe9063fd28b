//! What a client of the soak does: a job whose answer is known, or something that no client should do.

use std::net::SocketAddr;
use std::sync::OnceLock;

use super::Chance;
use crate::http::{Answer, Connection, Request};
use crate::jobs;

/// How a job must end.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// Measured, with so many instructions.
    Instructions(u64),
    /// One of these problems.
    Problem(&'static [&'static str]),
}

use Ending::{Instructions, Problem};

const COUNTED: &str = "kernel=playground&_effort=quick&_counts=yes";
const QUICK: &str = "kernel=playground&_effort=quick";
const STANDARD: &str = "kernel=playground";

/// Objects, queries and endings. Good jobs come more often than not.
const JOBS: &[(&str, &str, Ending)] = &[
    ("good/chain100.o", COUNTED, Instructions(101)),
    ("good/chain1000.o", COUNTED, Instructions(1001)),
    ("good/chain100.o", COUNTED, Instructions(101)),
    ("good/chain1000.o", COUNTED, Instructions(1001)),
    ("good/chain100.o", STANDARD, Instructions(101)),
    ("good/chain1000.o", STANDARD, Instructions(1001)),
    ("hostile/ud2.o", QUICK, Problem(&["fault"])),
    ("hostile/null_read.o", STANDARD, Problem(&["fault"])),
    ("hostile/smash_stack.o", QUICK, Problem(&["fault"])),
    ("hostile/int80.o", QUICK, Problem(&["system-call-refused", "fault"])),
    ("hostile/sigreturn.o", QUICK, Problem(&["system-call-refused"])),
    ("hostile/syscall_exit_9.o", QUICK, Problem(&["kernel-exited"])),
    ("hostile/forge_junk_exit.o", QUICK, Problem(&["protocol-violation"])),
    ("hostile/forge_junk_flood.o", QUICK, Problem(&["protocol-violation"])),
    ("bad/text_file.o", QUICK, Problem(&["bad-object"])),
];

/// Jobs that last until a limit ends them; a few of them, or the run would be nothing else.
const ENDLESS: &[(&str, &str, Ending)] = &[
    ("hostile/spin.o", QUICK, Problem(&["time-limit", "cpu-time-limit"])),
    (
        "hostile/forge_brief_spin.o",
        STANDARD,
        Problem(&["time-limit", "cpu-time-limit", "protocol-violation"]),
    ),
];

/// A job as it goes over the wire, and how it must end.
#[derive(Debug)]
pub(super) struct Job {
    object: &'static str,
    request: Vec<u8>,
    ending: Ending,
}

impl Job {
    /// The bytes to send.
    pub(super) fn request(&self) -> &[u8] {
        &self.request
    }

    /// Whether an answer is right; if not, what came.
    pub(super) fn check(&self, answer: &Answer) -> Result<(), String> {
        let text = String::from_utf8_lossy(&answer.body);
        let right = match self.ending {
            Instructions(count) => {
                let line = format!("Instructions: {count}");
                answer.status == 200 && text.lines().any(|found| found == line)
            }
            Problem(slugs) => {
                let told = |slug: &&str| text.contains(&format!("\"/problems/{slug}\""));
                answer.status == 422 && slugs.iter().any(told)
            }
        };
        if right { Ok(()) } else { Err(format!("{}: {} {text}", self.object, answer.status)) }
    }
}

/// Draws a job.
pub(super) fn job(chance: &mut Chance) -> &'static Job {
    static PREPARED: OnceLock<[Vec<Job>; 2]> = OnceLock::new();
    let prepare = |jobs: &'static [(&str, &str, Ending)]| {
        let prepare = |&(object, query, ending): &(&'static str, &str, Ending)| Job {
            object,
            request: jobs::request(object, query).bytes(),
            ending,
        };
        jobs.iter().map(prepare).collect()
    };
    let [usual, endless] = PREPARED.get_or_init(|| [prepare(JOBS), prepare(ENDLESS)]);
    if chance.one_in(300) { chance.of(endless) } else { chance.of(usual) }
}

/// Does something no client should do, on a connection of its own. Whatever comes of it is not looked at.
pub(super) fn be_rude(address: SocketAddr, chance: &mut Chance) {
    let mut connection = Connection::open(address);
    let job = jobs::request("hostile/spin.o", QUICK);
    let bytes = job.bytes();
    let chunked = Request::new("POST", &format!("/here/run?{QUICK}"))
        .header("Content-Type", "application/octet-stream")
        .header("Transfer-Encoding", "chunked");
    // The service may have closed the connection already, which is its right.
    let mut say = |bytes: &[u8]| drop(connection.try_send(bytes));
    match chance.below(10) {
        // Nothing at all.
        0 => {}
        // Half a head, half a body.
        1 => say(&bytes[..20]),
        2 => say(&bytes[..bytes.len() - 1]),
        // An endless job, and gone in one of three ways.
        3 => say(&bytes),
        4 => {
            say(&bytes);
            connection.finish_sending();
        }
        5 => {
            say(&bytes);
            connection.reset();
        }
        // What is no HTTP, or asks for too much.
        6 => say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        7 => say(&Request::new("GET", &format!("/{}", "x".repeat(60_000))).bytes()),
        8 => {
            say(&chunked.head());
            say(format!("5;{}", "x".repeat(30_000)).as_bytes());
        }
        // Many at once, and nobody waits for the answers.
        _ => say(&jobs::request("good/chain100.o", QUICK).bytes().repeat(20)),
    }
}
