//! What the service holds: memory, descriptors, and what it leaves in the kernel.
#![forbid(unsafe_code)]

use webrunner_tests::processes;

use crate::procfs;
use crate::quantiles::Quantiles;
use crate::service::Service;
use crate::table::Table;

/// What it holds at a moment when no job runs.
#[derive(Debug, Clone)]
pub(crate) struct Footprint {
    supervisor_resident: Option<u64>,
    supervisor_proportional: Option<u64>,
    zygote_proportional: Vec<u64>,
    worker_proportional: Vec<u64>,
    supervisor_descriptors: Option<usize>,
    zygote_descriptors: usize,
    workers: usize,
    bpf_programs: Option<usize>,
}

impl Footprint {
    /// Looks.
    pub(crate) fn of(service: &Service) -> Self {
        let supervisor = service.supervisor();
        let zygotes = &service.zygotes;
        let workers: Vec<_> = zygotes.iter().flat_map(|&zygote| service.workers(zygote)).collect();
        Self {
            supervisor_resident: procfs::resident(supervisor),
            supervisor_proportional: procfs::proportional(supervisor),
            zygote_proportional: zygotes.iter().filter_map(|&pid| procfs::proportional(pid)).collect(),
            worker_proportional: workers.iter().filter_map(|&pid| procfs::proportional(pid)).collect(),
            supervisor_descriptors: procfs::descriptors(supervisor),
            zygote_descriptors: zygotes.iter().filter_map(|&pid| procfs::descriptors(pid)).sum(),
            workers: workers.len(),
            bpf_programs: processes::bpf_programs(),
        }
    }
}

/// Prints the two side by side; between them lie so many jobs.
pub(crate) fn print(before: &Footprint, after: &Footprint, jobs: u64) {
    let mut table = Table::new(&["while no job runs", "warmed up", &format!("after {jobs} jobs")]);
    let mut add = |name: &str, of: &dyn Fn(&Footprint) -> Option<String>| {
        let cell = |side| of(side).unwrap_or_else(|| "not readable".into());
        table.row([name.to_owned(), cell(before), cell(after)]);
    };
    add("supervisor, resident, KiB", &|side| Some(side.supervisor_resident?.to_string()));
    add("supervisor, proportional share, KiB", &|side| Some(side.supervisor_proportional?.to_string()));
    add("a zygote, proportional share, KiB", &|side| middle(&side.zygote_proportional));
    add("a waiting worker, proportional share, KiB", &|side| middle(&side.worker_proportional));
    add("waiting workers", &|side| Some(side.workers.to_string()));
    add("supervisor, descriptors", &|side| Some(side.supervisor_descriptors?.to_string()));
    add("zygotes, descriptors", &|side| Some(side.zygote_descriptors.to_string()));
    add("BPF programs, whole machine", &|side| Some(side.bpf_programs?.to_string()));
    table.print("What it holds");
}

/// The median and the largest of several processes.
fn middle(figures: &[u64]) -> Option<String> {
    let quantiles = Quantiles::of(figures.iter().map(|&kib| kib as f64).collect());
    (!figures.is_empty()).then(|| format!("{:.0} (largest {:.0})", quantiles.median(), quantiles.at(1.0)))
}
