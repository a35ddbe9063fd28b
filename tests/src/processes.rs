//! What `/proc` tells of the service's processes: who descends from whom, and what each holds.
//!
//! A process is named by its id and the time it started, so that a number used again is not mistaken for the old process.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

/// A process that was seen once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub id: i32,
    /// Its parent's id when it was seen.
    pub parent: i32,
    /// When it started, in clock ticks since boot.
    started: u64,
    /// Whether it had ended and only its entry was left.
    ended: bool,
}

impl Process {
    /// The process with this id, if there is one.
    #[must_use]
    pub fn find(id: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name, in parentheses, may hold anything; fields are counted from what follows it (proc_pid_stat(5)).
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        Some(Self {
            id,
            parent: fields[1].parse().ok()?,
            started: fields[19].parse().ok()?,
            ended: matches!(fields[0], "Z" | "X"),
        })
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::find(self.id).is_some_and(|now| now.started == self.started && !now.ended)
    }

    /// A line of its `status` file, trimmed.
    #[must_use]
    pub fn status(self, name: &str) -> Option<String> {
        let status = fs::read_to_string(self.path("status")).ok()?;
        let (_, value) =
            status.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| *key == name)?;
        Some(value.trim().to_owned())
    }

    /// CPU time it has used in user mode, in ticks; 0 once it is gone.
    #[must_use]
    pub fn user_ticks(self) -> u64 {
        let stat = fs::read_to_string(self.path("stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
        fields.split(' ').nth(11).and_then(|ticks| ticks.parse().ok()).unwrap_or_default()
    }

    /// Whether it is the first process of a process namespace of its own.
    #[must_use]
    pub fn is_init(self) -> bool {
        let ids = self.status("NSpid").unwrap_or_default();
        ids.split_whitespace().count() > 1 && ids.ends_with("\t1")
    }

    /// Sends it a signal, if it still runs.
    pub fn signal(self, signal: Signal) {
        if self.is_alive() {
            // It may end just now, which is as good.
            let _ = Pid::from_raw(self.id).map(|pid| kill_process(pid, signal));
        }
    }

    /// Lowers or raises the soft limit of a resource; gives what it was.
    ///
    /// # Panics
    /// If it is gone, or not one's own.
    pub fn limit(self, resource: Resource, soft: Option<u64>) -> Option<u64> {
        let pid = Pid::from_raw(self.id);
        let before = prlimit(pid, resource, Rlimit { current: soft, maximum: hard(self.id, resource) });
        before.expect("a process to limit").current
    }

    /// A file of its folder in `/proc`.
    #[must_use]
    pub fn path(self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.id))
    }

    /// Its open descriptors with what they point to; `None` if this process may not see them.
    #[must_use]
    pub fn descriptors(self) -> Option<Vec<(i32, String)>> {
        let entries = fs::read_dir(self.path("fd")).ok()?;
        let describe = |entry: fs::DirEntry| {
            let target = fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, target.to_string_lossy().into_owned()))
        };
        let mut descriptors: Vec<_> = entries.filter_map(Result::ok).filter_map(describe).collect();
        descriptors.sort();
        Some(descriptors)
    }
}

/// Every TCP socket of this network namespace, as a process's descriptors name it.
#[must_use]
pub fn tcp_sockets() -> HashSet<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let inode = |line: &str| line.split_ascii_whitespace().nth(9).map(|inode| format!("socket:[{inode}]"));
    tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(inode).collect()
}

/// The hard limit a process has now, so that setting the soft one leaves it as it is.
fn hard(id: i32, resource: Resource) -> Option<u64> {
    let name = match resource {
        Resource::Nofile => "Max open files",
        other => panic!("no test limits {other:?}"),
    };
    let limits = fs::read_to_string(format!("/proc/{id}/limits")).expect("limits of a process");
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("a line for each limit");
    line.split_whitespace().nth(1).and_then(|hard| hard.parse().ok())
}

/// Every process that has not ended.
fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").filter_map(Result::ok);
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(Process::find).filter(|process| !process.ended).collect()
}

/// Processes that were started from this executable, and their forks, and have not ended.
#[must_use]
pub fn of_executable(path: &Path) -> Vec<Process> {
    let runs_it = |process: &Process| {
        let words = fs::read(process.path("cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).next() == Some(path.as_os_str().as_bytes())
    };
    all().into_iter().filter(runs_it).collect()
}

/// Processes with this parent that have not ended.
#[must_use]
pub fn children(parent: i32) -> Vec<Process> {
    all().into_iter().filter(|process| process.parent == parent).collect()
}

/// All processes that descend from this one, children first, as they were at one look.
#[must_use]
pub fn descendants(ancestor: i32) -> Vec<Process> {
    let (all, mut found) = (all(), Vec::new());
    let mut parents = vec![ancestor];
    while let Some(parent) = parents.pop() {
        for child in all.iter().filter(|process| process.parent == parent) {
            parents.insert(0, child.id);
            found.push(*child);
        }
    }
    found
}

/// Seccomp filters and other BPF programs of this whole machine, by the memory they lie in; `None` for whoever may not
/// know. A filter that is longer as the kernel has it than as it was given is moved, and then goes by another name.
#[must_use]
pub fn bpf_programs() -> Option<usize> {
    let mappings = fs::read_to_string("/proc/vmallocinfo").ok()?;
    let holds_program = |line: &&str| line.contains("bpf_prog_alloc") || line.contains("bpf_prog_realloc");
    Some(mappings.lines().filter(holds_program).count())
}
