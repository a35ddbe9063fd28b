//! What the service costs while nobody asks for anything: CPU time and wake-ups of all its processes over some seconds.
#![forbid(unsafe_code)]

use std::thread;
use std::time::Duration;

use crate::procfs;
use crate::service::Service;
use crate::table::{Table, number};

/// Watches an idle service and prints what it used a second.
pub(crate) fn run(service: &Service, time: Duration) {
    let supervisor = vec![service.supervisor()];
    let workers: Vec<_> = service.zygotes.iter().flat_map(|&zygote| service.workers(zygote)).collect();
    let groups = [("supervisor", &supervisor), ("zygotes", &service.zygotes), ("waiting workers", &workers)];
    let before = groups.map(|(_, processes)| used(processes));
    thread::sleep(time);
    let mut table = Table::new(&["idle, each second", "CPU, us", "wake-ups"]);
    for ((name, processes), before) in groups.into_iter().zip(before) {
        let now = used(processes);
        let a_second = |amount: f64| number(amount / time.as_secs_f64());
        let cpu = now.0.saturating_sub(before.0).as_secs_f64() * 1e6;
        table.row([name.to_owned(), a_second(cpu), a_second(now.1.saturating_sub(before.1) as f64)]);
    }
    table.print(&format!("What it costs while idle, over {:.1} s", time.as_secs_f64()));
}

/// CPU time and times that a thread waited for something, of all these processes.
fn used(processes: &[procfs::Pid]) -> (Duration, u64) {
    let times = processes.iter().map(|&pid| procfs::cpu_time(pid)).sum();
    (times, processes.iter().map(|&pid| procfs::waits(pid)).sum())
}
