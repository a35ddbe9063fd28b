//! What the service can do, as ratios to what the machine can do at all, measured in the same run.
//!
//! `just bench`, or `cargo bench -p webrunner-tests --bench service -- [quick]` once the executables are built. Starts
//! the service on a loopback port, loads it for a bounded time, checks every answer, and stops it. Clients are threads of
//! this process on the supervisor's cores. Fails if an answer was wrong, never for being slow.

mod answer;
mod client;
mod cpu;
mod floor;
mod footprint;
mod idle;
mod jobs;
mod load;
mod phases;
mod procfs;
mod quantiles;
mod ratios;
mod service;
mod table;
mod variants;

use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use answer::Expected;
use floor::Floor;
use footprint::Footprint;
use jobs::Run;
use load::Load;
use service::Service;
use variants::Cores;

/// Numbers of clients that quick jobs are measured with: from an empty line to one as full as it may be.
const QUICK_CLIENTS: [usize; 5] = [1, 2, 8, 32, 64];

/// Numbers of clients that standard jobs are measured with.
const STANDARD_CLIENTS: [usize; 4] = [1, 2, 8, 32];

/// A short loop of additions, and the job most figures are about.
const SPIN: &[u8] = include_bytes!("../../objects/peachpy/spin_peachpy.o");
const SPIN_QUERY: &str = "kernel=playground&iterations=100";

/// A dot product, for buffers of any size.
const DOT: &[u8] = include_bytes!("../../objects/good/sdot_gcc_O2_pic.o");

/// How long things are measured.
struct Times {
    route: Duration,
    quick: Duration,
    standard: Duration,
    phase: Duration,
    idle: Duration,
    variant: Duration,
    /// Jobs after which memory is looked at.
    jobs: u64,
}

impl Times {
    /// With the starts between them about 150 s together, or about 40.
    fn new(short: bool) -> Self {
        let seconds = Duration::from_secs_f64;
        if short {
            Self {
                route: seconds(0.7),
                quick: seconds(1.5),
                standard: seconds(1.5),
                phase: seconds(0.1),
                idle: seconds(2.0),
                variant: seconds(0.7),
                jobs: 0,
            }
        } else {
            Self {
                route: seconds(2.5),
                quick: seconds(7.0),
                standard: seconds(7.0),
                phase: seconds(0.7),
                idle: seconds(10.0),
                variant: seconds(2.0),
                jobs: 100_000,
            }
        }
    }
}

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let done = match words.first().map(String::as_str) {
        Some("floor") => floor::child_main(&words[1..]).map(|()| 0),
        Some("quick") => bench(&Times::new(true)),
        None => bench(&Times::new(false)),
        Some(word) => Err(format!("the only word there is to add is `quick`, got `{word}`").into()),
    };
    match done {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("bench: {wrong} answers were wrong");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures everything, prints it, and gives the number of wrong answers.
fn bench(times: &Times) -> Result<u64, Box<dyn Error>> {
    let begun = Instant::now();
    println!("# {}\n\nLoad average before: {}.", procfs::machine(), procfs::load_average());
    let all_cores = procfs::cores(std::process::id());
    let service = Service::start()?;
    let (near, far) = service.cores();
    let near_core = *near.first().ok_or("the supervisor has no core")?;
    // What is started from here on stays off the cores that jobs are measured on.
    floor::pin(&near)?;
    println!("Supervisor and clients on cores {near:?}; measuring on core {far}.\n");

    let wrong_warm = warm_up(&service);
    let before = Footprint::of(&service);
    let floor_before = floor::measure(near_core, far)?;
    let runs = measure_jobs(&service, times);
    let floor_after = floor::measure(near_core, far)?;
    ratios::print(&[floor_before, floor_after], &runs);
    print_floor(&floor_before, &floor_after);
    jobs::print_rates(&runs);
    jobs::print_costs(&runs);
    let wrong_phases = phases::run(&service, SPIN, DOT, times.phase);
    let asked = runs.iter().filter(|run| run.name != jobs::ROUTE).map(|run| run.outcome.right).sum();
    let (jobs, wrong_more) = run_more(&service, asked, times.jobs);
    service.settle();
    footprint::print(&before, &Footprint::of(&service), jobs);
    idle::run(&service, times.idle);

    let wrong_runs = runs.iter().map(|run| run.outcome.wrong).sum::<u64>();
    let wrong = wrong_warm + wrong_phases + wrong_more + wrong_runs;
    let right: u64 = runs.iter().map(|run| run.outcome.right).sum();
    if procfs::children(service.supervisor()) != service.zygotes {
        return Err(
            "a zygote died and was replaced: its workers' CPU time is lost, and it should not die".into()
        );
    }
    let cores = Cores { all: all_cores, near, measuring: service.measuring_cores() };
    service.stop()?;
    let quick = client::run(&format!("{SPIN_QUERY}&_effort=quick"), SPIN);
    let wrong = wrong + variants::run(&cores, &quick, times.variant)?;
    println!(
        "{right} answers in the table of answers, {wrong} wrong in all; {:.0} s; load average after: {}.",
        begun.elapsed().as_secs_f64(),
        procfs::load_average()
    );
    Ok(wrong)
}

/// Has quick jobs run until there were so many; gives how many there were, and the number of wrong answers.
fn run_more(service: &Service, mut jobs: u64, wanted: u64) -> (u64, u64) {
    let request = client::run(&format!("{SPIN_QUERY}&_effort=quick"), SPIN);
    let mut wrong = 0;
    while jobs < wanted && wrong == 0 {
        let outcome = load::run(&Load {
            address: service.address,
            request: &request,
            expected: Expected::Text,
            clients: 8,
            time: Duration::from_secs(60),
            requests: wanted - jobs,
        });
        (jobs, wrong) = (jobs + outcome.right, outcome.wrong);
    }
    (jobs, wrong)
}

/// So that what happens once has happened.
fn warm_up(service: &Service) -> u64 {
    let request = client::run(&format!("{SPIN_QUERY}&_effort=quick"), SPIN);
    let setting = (32, Duration::from_millis(500));
    let warm = Run::of("warm-up", service, &request, Expected::Text, setting);
    service.settle();
    warm.outcome.wrong
}

/// The bare route beside quick jobs, for each number of clients; then standard jobs.
fn measure_jobs(service: &Service, times: &Times) -> Vec<Run> {
    let route = client::get("/livez");
    let quick = client::run(&format!("{SPIN_QUERY}&_effort=quick"), SPIN);
    let standard = client::run(&format!("{SPIN_QUERY}&_effort=standard&_format=json"), SPIN);
    let mut runs = Vec::new();
    for clients in QUICK_CLIENTS {
        runs.push(Run::of(jobs::ROUTE, service, &route, Expected::Alive, (clients, times.route)));
        runs.push(Run::of(jobs::QUICK, service, &quick, Expected::Text, (clients, times.quick)));
    }
    for clients in STANDARD_CLIENTS {
        runs.push(Run::of(jobs::STANDARD, service, &standard, Expected::Json, (clients, times.standard)));
    }
    runs
}

fn print_floor(before: &Floor, after: &Floor) {
    let mut table = table::Table::new(&["floor, us", "before", "after"]);
    let mut add = |name: String, of: fn(&Floor) -> f64| {
        table.row([name, table::number(of(before)), table::number(of(after))]);
    };
    let mappings = before.mappings;
    add(format!("fork, exit, wait of a static process of {mappings} mappings, p50"), |floor| floor.fork);
    add("the same, p99".into(), |floor| floor.fork_p99);
    add("Unix socket round trip between two cores, p50".into(), |floor| floor.across);
    add("Unix socket round trip on one core, p50".into(), |floor| floor.within);
    table.print("Floor");
}
