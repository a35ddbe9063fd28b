//! A mixed run of good and hostile jobs and clients: all jobs are answered right, and nothing is left of it.

use std::time::Duration;

use webrunner_tests::soak;

#[test]
fn a_mixed_run_loses_and_leaks_nothing() {
    let report = soak::run(Duration::from_secs(16));
    let faults = report.faults();
    assert!(faults.is_empty(), "{report}\n{}", faults.join("\n"));
}
