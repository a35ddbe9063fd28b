//! The floor: what the machine takes for the least that a job needs, a process and a way there and back.
//!
//! Measured in a process of its own that has one thread, because only such a process may fork and go on in Rust: this
//! executable starts itself with the word `floor` and the cores, and reads its figures from standard output.

use std::error::Error;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use serde_json::{Value, json};

use crate::procfs;
use crate::quantiles::Quantiles;

/// Processes forked and pings sent, after a tenth of that to warm up.
const TIMES: usize = 3000;

/// Longest each of the three may take.
const LIMIT: Duration = Duration::from_secs(2);

/// The floor, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    /// Fork, exit and wait, one after the other on one core: median.
    pub(crate) fork: f64,
    /// The same: 99th percentile.
    pub(crate) fork_p99: f64,
    /// Mappings of the process that was forked.
    pub(crate) mappings: u64,
    /// One byte to a process on another core and back: median.
    pub(crate) across: f64,
    /// The same on one core.
    pub(crate) within: f64,
}

/// Runs a process that measures the floor; `near` is the supervisor's core, `far` the one jobs run on.
///
/// # Errors
/// If it cannot be run.
pub(crate) fn measure(near: usize, far: usize) -> Result<Floor, Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?)
        .args(["floor", &near.to_string(), &far.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    let figures: Value = serde_json::from_slice(&output.stdout)?;
    let figure = |name: &str| figures[name].as_f64().ok_or_else(|| format!("the floor has no {name}"));
    Ok(Floor {
        fork: figure("fork")?,
        fork_p99: figure("fork_p99")?,
        mappings: figure("mappings")? as u64,
        across: figure("across")?,
        within: figure("within")?,
    })
}

/// What that process does: measures and prints. To be called before any thread is started.
///
/// # Errors
/// If a process cannot be forked, pinned or reached.
pub(crate) fn child_main(cores: &[String]) -> Result<(), Box<dyn Error>> {
    let core = |at: usize| cores.get(at).and_then(|core| core.parse().ok()).ok_or("floor takes two cores");
    let (near, far) = (core(0)?, core(1)?);
    pin(&[far])?;
    let forks = repeat(|| wait_for(fork_one(|| {})?))?;
    let mappings = procfs::mappings(std::process::id());
    let across = round_trips(near, far)?;
    let within = round_trips(far, far)?;
    let figures = json!({
        "fork": forks.median(),
        "fork_p99": forks.at(0.99),
        "mappings": mappings,
        "across": across.median(),
        "within": within.median(),
    });
    println!("{figures}");
    Ok(())
}

/// Keeps this thread, and what it will start, on these cores.
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn pin(cores: &[usize]) -> nix::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().try_for_each(|&core| set.set(core))?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

fn repeat(mut once: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<Quantiles, Box<dyn Error>> {
    for _ in 0..TIMES / 10 {
        once()?;
    }
    let mut figures = Vec::with_capacity(TIMES);
    let start = Instant::now();
    while figures.len() < TIMES && start.elapsed() < LIMIT {
        let begun = Instant::now();
        once()?;
        figures.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(Quantiles::of(figures))
}

/// Forks a process that does `work`, which must not panic, and exits.
fn fork_one(work: impl FnOnce()) -> nix::Result<Pid> {
    // SAFETY: only the process started by `measure` comes here, and it has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            work();
            // SAFETY: ends this process at once; nothing of the parent's is flushed or dropped here.
            unsafe { nix::libc::_exit(0) }
        }
    }
}

fn wait_for(child: Pid) -> Result<(), Box<dyn Error>> {
    waitpid(child, None)?;
    Ok(())
}

/// From a process on `near` to one on `far` and back over a Unix socket.
fn round_trips(near: usize, far: usize) -> Result<Quantiles, Box<dyn Error>> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let echo = fork_one(|| echo_on(far, &theirs))?;
    pin(&[near])?;
    let mut byte = [0];
    let figures = repeat(|| {
        ours.write_all(&byte)?;
        ours.read_exact(&mut byte)?;
        Ok(())
    });
    // Closing would not do: the other process has a copy of this end.
    ours.shutdown(Shutdown::Both)?;
    wait_for(echo)?;
    figures
}

/// Sends back what comes, until nothing does.
fn echo_on(core: usize, mut socket: &UnixStream) {
    let mut byte = [0];
    if pin(&[core]).is_err() {
        return;
    }
    while socket.read_exact(&mut byte).is_ok() && socket.write_all(&byte).is_ok() {}
}
