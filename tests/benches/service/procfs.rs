//! What the kernel tells of processes and of the machine, read from `/proc`.
//!
//! A process may end while it is looked at; then there is nothing to tell, which is no error here.
#![forbid(unsafe_code)]

use std::fs;
use std::time::Duration;

/// Length of a tick in `/proc/*/stat` and `/proc/stat`: `USER_HZ` is 100 on x86-64.
const TICK: Duration = Duration::from_millis(10);

/// A process id.
pub(crate) type Pid = u32;

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The fields of `/proc/PID/stat` that follow the name, so that the first is the state, field 3 of proc(5).
fn stat(pid: Pid) -> Option<Vec<i64>> {
    let text = read(&format!("/proc/{pid}/stat"))?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(|word| word.parse().unwrap_or_default()).collect())
}

/// Field `number` of proc(5)'s list for `/proc/PID/stat`.
fn field(pid: Pid, number: usize) -> Option<i64> {
    stat(pid)?.get(number - 3).copied()
}

/// CPU time of the children that a process has reaped, and of theirs, in steps of a tick.
pub(crate) fn reaped_children(pid: Pid) -> Duration {
    let ticks = field(pid, 16).unwrap_or_default() + field(pid, 17).unwrap_or_default();
    TICK * u32::try_from(ticks).unwrap_or_default()
}

/// CPU time of all threads of a process.
pub(crate) fn cpu_time(pid: Pid) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// Times a thread of a process gave its core up to wait for something.
pub(crate) fn waits(pid: Pid) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let waits = tasks.filter_map(|task| {
        line(&task.path().join("status").to_string_lossy(), "voluntary_ctxt_switches")?.parse::<u64>().ok()
    });
    waits.sum()
}

/// Processes whose parent is `pid`.
pub(crate) fn children(pid: Pid) -> Vec<Pid> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut children: Vec<Pid> = names
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&process| field(process, 4) == Some(pid.into()))
        .collect();
    children.sort_unstable();
    children
}

/// What stands behind `name:` in a file of such lines.
fn line(path: &str, name: &str) -> Option<String> {
    let text = read(path)?;
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(found, _)| found.trim() == name).map(|(_, value)| value.trim().to_owned())
}

fn kib(path: &str, name: &str) -> Option<u64> {
    line(path, name)?.split_whitespace().next()?.parse().ok()
}

/// Cores a process may run on.
pub(crate) fn cores(pid: Pid) -> Vec<usize> {
    let list = line(&format!("/proc/{pid}/status"), "Cpus_allowed_list").unwrap_or_default();
    let range = |item: &str| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

/// Whether it is the first process of a process namespace.
pub(crate) fn is_init(pid: Pid) -> bool {
    let numbers = line(&format!("/proc/{pid}/status"), "NSpid").unwrap_or_default();
    numbers.split_whitespace().count() > 1 && numbers.ends_with("\t1")
}

/// Resident set, KiB.
pub(crate) fn resident(pid: Pid) -> Option<u64> {
    kib(&format!("/proc/{pid}/status"), "VmRSS")
}

/// Proportional share of memory, KiB: pages shared by n processes count one n-th.
pub(crate) fn proportional(pid: Pid) -> Option<u64> {
    kib(&format!("/proc/{pid}/smaps_rollup"), "Pss")
}

/// Open descriptors.
pub(crate) fn descriptors(pid: Pid) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}

/// Mappings of a process.
pub(crate) fn mappings(pid: Pid) -> Option<usize> {
    Some(read(&format!("/proc/{pid}/maps"))?.lines().count())
}

/// Time all cores together were busy, with what the host took from them.
pub(crate) fn machine_busy() -> Duration {
    let text = read("/proc/stat").unwrap_or_default();
    let words = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u32> = words.map(|word| word.parse().unwrap_or_default()).collect();
    // user nice system idle iowait irq softirq steal; guest time is part of user.
    let busy = ticks.iter().take(8).enumerate().filter(|(at, _)| ![3, 4].contains(at));
    TICK * busy.map(|(_, ticks)| ticks).sum::<u32>()
}

/// CPU, cores, kernel: what to name beside any figure.
pub(crate) fn machine() -> String {
    let model = line("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown CPU".into());
    let family = line("/proc/cpuinfo", "cpu family").unwrap_or_default();
    let number = line("/proc/cpuinfo", "model").unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model} (family {family}, model {number}), {} cores, Linux {}", core_count(), kernel.trim())
}

/// Cores that are switched on.
pub(crate) fn core_count() -> usize {
    let text = read("/proc/stat").unwrap_or_default();
    let is_core = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
    text.lines().filter(is_core).count().max(1)
}

/// Processes that ran or wanted to, on average over the last 1, 5 and 15 minutes.
pub(crate) fn load_average() -> String {
    let text = read("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(", ")
}
