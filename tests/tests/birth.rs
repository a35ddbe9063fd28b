//! What a worker is born with: the fewer mappings and pages a fork copies, the sooner the next job can start.
//!
//! None of this can be told from an answer; it is looked up in `/proc`, which shows a worker's memory to root alone.

use std::fs;

use webrunner_tests::processes::Process;
use webrunner_tests::service::Launch;

/// A mapping, as `smaps` has it.
struct Mapping {
    rights: String,
    resident_kib: u64,
    huge_kib: u64,
}

/// The mappings of a process that are its own; `None` if they may not be seen.
fn mappings(process: Process) -> Option<Vec<Mapping>> {
    let text = fs::read_to_string(process.path("smaps")).ok()?;
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (first, second) = (words.next()?, words.next().unwrap_or_default());
        if first.contains('-') {
            mappings.push(Mapping { rights: second.to_owned(), resident_kib: 0, huge_kib: 0 });
        } else if let Some(last) = mappings.last_mut() {
            match first {
                "Rss:" => last.resident_kib = second.parse().ok()?,
                "AnonHugePages:" => last.huge_kib = second.parse().ok()?,
                _ => {}
            }
        }
    }
    mappings.retain(|mapping| mapping.rights != "--xp");
    Some(mappings)
}

fn huge_pages_on_request() -> bool {
    let choice = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    ["[always]", "[madvise]"].iter().any(|on| choice.contains(on))
}

#[test]
fn a_worker_is_born_with_four_mappings_and_its_code_on_huge_pages() {
    let service = Launch::serve([]).start();
    service.settle();
    for worker in service.workers() {
        let Some(mappings) = mappings(worker) else {
            eprintln!("skipped: the memory of a worker is closed to all but root");
            return;
        };
        if !huge_pages_on_request() {
            eprintln!("skipped: this host has no transparent huge pages");
            return;
        }
        let rights: Vec<&str> = mappings.iter().map(|mapping| mapping.rights.as_str()).collect();
        assert_eq!(rights, ["---p", "---p", "r-xp", "rw-p"]);
        for mapping in mappings.iter().filter(|mapping| mapping.rights == "r-xp") {
            assert_eq!(mapping.huge_kib, mapping.resident_kib, "of the code on huge pages");
        }
    }
}
