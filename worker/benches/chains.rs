//! How true and how steady the harness is: functions of known latency, measured again and again.
//!
//! `cargo bench -p webrunner-worker --bench chains -- [standard|quick|thorough] [runs] [core]` prints, for each
//! function, the median answer, the spread, the largest error and how many answers were accepted. Nothing is asserted: a
//! busy machine is no failure of the code.

use std::arch::global_asm;
use std::time::Instant;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use webrunner_protocol::job::Effort;
use webrunner_protocol::reply::Gate;
use webrunner_worker::measure::{
    Host, Measured, NoCounters, NoInputs, PreparedCall, Schedule, Session, measure,
};

macro_rules! chain {
    ($name:ident, $label:literal, $step:literal, $times:literal) => {
        global_asm!(
            ".p2align 6",
            concat!(".globl ", $label),
            concat!($label, ":"),
            concat!(".rept ", $times),
            $step,
            ".endr",
            "ret"
        );
        unsafe extern "sysv64" {
            #[link_name = $label]
            fn $name();
        }
    };
}

chain!(adds_100, "bench_adds_100", "add rax, rax", "100");
chain!(adds_200, "bench_adds_200", "add rax, rax", "200");
chain!(adds_1000, "bench_adds_1000", "add rax, rax", "1000");
chain!(imuls_100, "bench_imuls_100", "imul rax, rax", "100");
chain!(imuls_200, "bench_imuls_200", "imul rax, rax", "200");
chain!(nothing, "bench_nothing", "nop", "0");

/// A function and the cycles it should take, where that is known.
const FUNCTIONS: [(&str, unsafe extern "sysv64" fn(), Option<f64>); 6] = [
    ("100 adds", adds_100, Some(100.0)),
    ("200 adds", adds_200, Some(200.0)),
    ("1000 adds", adds_1000, Some(1000.0)),
    ("100 imuls", imuls_100, Some(300.0)),
    ("200 imuls", imuls_200, Some(600.0)),
    ("empty", nothing, None),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let word = |index: usize| words.get(index).map(String::as_str);
    let effort = Effort::ALL.into_iter().find(|effort| Some(effort.name()) == word(0));
    let schedule = Schedule::of(effort.unwrap_or(Effort::Standard));
    let runs = word(1).and_then(|runs| runs.parse().ok()).unwrap_or(50);
    pin(word(2).and_then(|core| core.parse().ok()).unwrap_or(1));

    let mut session = Session::open().expect("nothing else uses the trampoline");
    let host = Host::probe(&mut session, ticks_per_microsecond());
    let mut stack = vec![0u128; 4096];
    let top = stack.as_mut_ptr_range().end as u64;
    println!(
        "{:10} {:>8} {:>9} {:>17} {:>7} {:>8} {:>8}  medians of the rest",
        "function", "accepted", "median", "5 % .. 95 %", "cv %", "in 0.3%", "worst %"
    );
    for (name, function, expected) in FUNCTIONS {
        let call =
            PreparedCall::new(&[], &[], function as *const () as u64, top).expect("a call without arguments");
        let begun = Instant::now();
        // SAFETY: the functions above use no stack but for their return address, and this stack is used for nothing else.
        let once =
            |_| unsafe { measure(&mut session, &call, &schedule, &host, &mut NoCounters, &mut NoInputs) };
        let answers: Vec<Measured> = (0..runs).map(once).collect();
        report(name, expected, &answers, begun.elapsed().as_secs_f64() * 1e3);
    }
}

fn report(name: &str, expected: Option<f64>, answers: &[Measured], elapsed_ms: f64) {
    let accepted: Vec<&Measured> = answers
        .iter()
        .filter(|answer| !matches!(answer.cycles.gate, Gate::BestAgreeing | Gate::Shared))
        .collect();
    let values: Vec<f64> = accepted.iter().map(|answer| median(&answer.cycles.isolated)).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
    let error = |value: &f64| (value / expected.unwrap_or(mean) - 1.0).abs() * 100.0;
    let worst = values.iter().map(error).fold(0.0, f64::max);
    let within = values.iter().filter(|value| error(value) <= 0.3).count() * 100 / values.len().max(1);
    let figure =
        |of: fn(&Measured) -> f64| median(&accepted.iter().map(|answer| of(answer)).collect::<Vec<_>>());
    println!(
        "{name:10} {:>4}/{:<3} {:>9.3} {:>8.2}..{:<7.2} {:>7.3} {within:>7}% {worst:>8.3}  overhead {:.2}, empty {:.2}, back to back {:.2}, \
         {:.4} ticks/cycle, {} calls, {} dropped, {:.3} ms a run",
        values.len(),
        answers.len(),
        median(&values),
        quantile(&values, 0.05),
        quantile(&values, 0.95),
        variance.sqrt() / mean * 100.0,
        figure(|answer| answer.cycles.overhead_cycles),
        figure(|answer| answer.cycles.empty_call_cycles),
        figure(|answer| median(&answer.cycles.throughput)),
        figure(|answer| answer.cycles.ticks_per_cycle),
        figure(|answer| answer.cycles.calls_per_round.into()),
        figure(|answer| answer.cycles.dropped.into()),
        elapsed_ms / answers.len() as f64,
    );
}

fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get((sorted.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN)
}

fn pin(core: usize) {
    let mut set = CpuSet::new();
    let pinned = set.set(core).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    if let Err(error) = pinned {
        eprintln!("not pinned to core {core}: {error}");
    }
}

/// Speed of the time stamp counter, held against the system's clock for 20 ms.
fn ticks_per_microsecond() -> f64 {
    // SAFETY: rdtsc reads a counter and touches no memory.
    let ticks = || unsafe { std::arch::x86_64::_rdtsc() };
    let (begun, first) = (Instant::now(), ticks());
    while begun.elapsed().as_millis() < 20 {}
    (ticks() - first) as f64 / (begun.elapsed().as_secs_f64() * 1e6)
}
