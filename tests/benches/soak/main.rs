//! The soak test for as long as is asked for: `just soak`, or `cargo bench -p webrunner-tests --bench soak -- --seconds N`.
//!
//! Ends with counts, and with status 1 if a job was lost or answered wrong, or something leaked.

use std::process::ExitCode;
use std::time::Duration;

use webrunner_tests::soak;

/// Without `--seconds`.
const AN_HOUR: u64 = 3600;

fn main() -> ExitCode {
    let Some(seconds) = seconds(std::env::args().skip(1)) else {
        eprintln!("soak: --seconds takes a number of seconds");
        return ExitCode::from(2);
    };
    let report = soak::run(Duration::from_secs(seconds));
    print!("{report}");
    let faults = report.faults();
    for fault in &faults {
        println!("FAULT: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The number after `--seconds`; cargo adds a flag of its own, `--bench`.
fn seconds(arguments: impl Iterator<Item = String>) -> Option<u64> {
    let mut arguments = arguments.filter(|argument| argument != "--bench");
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => Some(AN_HOUR),
        (Some("--seconds"), Some(number)) => number.parse().ok().filter(|&number| number > 0),
        (Some(_), _) => None,
    }
}
