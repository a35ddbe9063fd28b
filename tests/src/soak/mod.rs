//! A mixed run: good jobs, hostile jobs and hostile clients on eight connections, for as long as is asked for, and then the
//! question what is left of it: answers that were wrong or never came, descriptors, processes, filters, memory.
//!
//! What each client does is drawn from a seed of its own, so that a run can be repeated as far as time allows. Zygotes are
//! renewed all the while.

mod acts;
mod report;

use std::thread;
use std::time::{Duration, Instant};

pub use self::report::{Before, Report};
use crate::http::Connection;
use crate::processes::{Process, descendants};
use crate::service::Service;

/// Clients, each with a connection of its own.
const CLIENTS: u64 = 8;

/// Jobs a zygote serves, so that many are renewed.
const ZYGOTE_JOBS: &str = "300";

/// What one client has seen.
#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    right: u64,
    lost: u64,
    rude: u64,
    /// Answers that were wrong, the first few of them.
    wrong: Vec<String>,
}

/// Runs for so long.
///
/// # Panics
/// If the service cannot be started or asked.
#[must_use]
pub fn run(time: Duration) -> Report {
    let flags = ["--deadline", "1", "--cpu-limit", "1", "--zygote-jobs", ZYGOTE_JOBS];
    let service = Service::with_flags(flags);
    // Whatever is made at the first job of its kind is no leak.
    let mut tally = load(&service, time / 4);
    let before = Before::of(&service);
    tally.add(load(&service, time * 3 / 4));
    Report::new(&service, before, tally)
}

/// Lets every client loose for so long.
fn load(service: &Service, time: Duration) -> Tally {
    let end = Instant::now() + time;
    let mut all = Tally::default();
    thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|seed| scope.spawn(move || client(service, seed, end))).collect();
        for client in clients {
            // One that panicked waited for an answer in vain, and has said so.
            all.add(client.join().unwrap_or(Tally { sent: 1, lost: 1, ..Tally::default() }));
        }
    });
    all
}

fn client(service: &Service, seed: u64, end: Instant) -> Tally {
    let mut chance = Chance(seed);
    let mut tally = Tally::default();
    let mut connection = Connection::open(service.address());
    while Instant::now() < end {
        if chance.one_in(10) {
            acts::be_rude(service.address(), &mut chance);
            tally.rude += 1;
            continue;
        }
        let job = acts::job(&mut chance);
        tally.sent += 1;
        let answer = connection.try_send(job.request()).is_ok() && !connection.ends();
        if !answer {
            tally.lost += 1;
            connection = Connection::open(service.address());
            continue;
        }
        match job.check(&connection.receive()) {
            Ok(()) => tally.right += 1,
            Err(why) => tally.wrong.push(why),
        }
    }
    tally
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.right += other.right;
        self.lost += other.lost;
        self.rude += other.rude;
        self.wrong.extend(other.wrong);
    }
}

/// Numbers that look like chance and are the same each time (splitmix64, Steele, Lea and Flood 2014).
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn one_in(&mut self, number: u64) -> bool {
        self.below(number) == 0
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

/// Processes that the service has.
fn processes(service: &Service) -> usize {
    descendants(service.id()).len()
}

/// Resident memory of the supervisor, in KiB.
fn memory_kib(service: &Service) -> u64 {
    let resident = Process::find(service.id()).and_then(|process| process.status("VmRSS"));
    resident.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// How many zygotes there have been.
fn zygotes(service: &Service) -> u64 {
    let machine = service.get("/machine").json();
    let zygotes = machine["zygotes"].as_array().map(Vec::as_slice).unwrap_or_default();
    zygotes.iter().filter_map(|zygote| zygote["generation"].as_u64()).sum()
}
