//! The service under load: starts it, finds its processes, and ends it.
//!
//! Runs the executables that lie where this one was built to, as an operator would, with no flags but the address where
//! a table does not say otherwise.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::procfs::{self, Pid};

/// Longest the service may take to end; its own limit is 12 s.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// How long the same workers must wait for the pool to have settled, and the longest to wait for that.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

/// A service that runs. Dropped without [`stop`](Service::stop), it is killed.
#[derive(Debug)]
pub(crate) struct Service {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its zygotes.
    pub(crate) zygotes: Vec<Pid>,
}

impl Service {
    /// Starts it on a free port and waits until it listens, which it does when its zygotes are up.
    ///
    /// # Errors
    /// If it cannot be started or ends before it listens.
    pub(crate) fn start() -> Result<Self, Box<dyn Error>> {
        Self::start_with(&[])
    }

    /// Starts it with further flags.
    ///
    /// # Errors
    /// As [`Service::start`].
    pub(crate) fn start_with(flags: &[String]) -> Result<Self, Box<dyn Error>> {
        let executable = executable()?;
        let mut child = Command::new(&executable)
            .args(["serve", "--listen", "127.0.0.1:0"])
            // A zygote that is renewed takes the account of its workers' CPU time with it.
            .args(["--zygote-jobs", "1000000000"])
            .args(flags)
            .env("WEBRUNNER_CONFIG", "/dev/null")
            .env("WEBRUNNER_LOG_FORMAT", "human")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", executable.display()))?;
        let log = child.stderr.take().ok_or("the service has no standard error")?;
        let mut service = Self { child, address: ([127, 0, 0, 1], 0).into(), zygotes: Vec::new() };
        let mut lines = BufReader::new(log).lines();
        service.address = loop {
            let line = lines.next().ok_or("the service ended before it listened")??;
            match line.split_once("listening address=") {
                Some((_, address)) => break address.trim().parse()?,
                None => eprintln!("service: {line}"),
            }
        };
        // A full pipe would stop it. Its line for each request is part of what a job costs; what is worse matters here.
        let worse = |line: &String| !line.contains(" INFO ");
        thread::spawn(move || {
            lines.map_while(Result::ok).filter(worse).for_each(|line| eprintln!("service: {line}"));
        });
        service.zygotes = procfs::children(service.supervisor());
        Ok(service)
    }

    /// The supervisor's process.
    pub(crate) fn supervisor(&self) -> Pid {
        self.child.id()
    }

    /// The workers of a zygote that are there now.
    pub(crate) fn workers(&self, zygote: Pid) -> Vec<Pid> {
        procfs::children(zygote).into_iter().filter(|&pid| !procfs::is_init(pid)).collect()
    }

    /// Cores the supervisor uses, and a core that it leaves to measurements; the same if there is but one.
    pub(crate) fn cores(&self) -> (Vec<usize>, usize) {
        let own = procfs::cores(self.supervisor());
        let zygotes = self.zygotes.iter().flat_map(|&zygote| procfs::cores(zygote));
        let measuring = zygotes.filter(|core| !own.contains(core)).min();
        let measuring = measuring.or_else(|| own.first().copied()).unwrap_or_default();
        (own, measuring)
    }

    /// Cores that every job may run on: those of zygotes that the supervisor leaves alone, or all where it shares them.
    pub(crate) fn measuring_cores(&self) -> Vec<usize> {
        let own = procfs::cores(self.supervisor());
        let mut all: Vec<_> = self.zygotes.iter().flat_map(|&zygote| procfs::cores(zygote)).collect();
        all.sort_unstable();
        all.dedup();
        let left: Vec<_> = all.iter().copied().filter(|core| !own.contains(core)).collect();
        if left.is_empty() { all } else { left }
    }

    /// Waits until the last workers have ended and others wait in their place, so that what is held can be compared.
    pub(crate) fn settle(&self) {
        let all = || self.zygotes.iter().flat_map(|&zygote| self.workers(zygote)).collect::<Vec<_>>();
        let begun = Instant::now();
        let mut before = all();
        loop {
            thread::sleep(SETTLE_PAUSE);
            let now = all();
            if now == before || begun.elapsed() > SETTLE_LIMIT {
                break;
            }
            before = now;
        }
    }

    /// Asks it to stop and waits for its end.
    ///
    /// # Errors
    /// If it does not end, or not well.
    pub(crate) fn stop(mut self) -> Result<(), Box<dyn Error>> {
        kill(nix::unistd::Pid::from_raw(i32::try_from(self.supervisor())?), Signal::SIGTERM)?;
        let begun = Instant::now();
        while begun.elapsed() < STOP_LIMIT {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() {
                    Ok(())
                } else {
                    Err(format!("the service ended with {status}").into())
                };
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err("the service did not stop; it is killed".into())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail if it has ended, which is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The `webrunner` of the same build folder: this executable lies in its `deps`.
fn executable() -> Result<PathBuf, Box<dyn Error>> {
    let own = std::env::current_exe()?;
    let path = own.ancestors().nth(2).ok_or("this executable lies in no build folder")?.join("webrunner");
    if path.is_file() && path.with_file_name("webrunner-worker").is_file() {
        Ok(path)
    } else {
        Err(format!("there is no {} with its worker; build them first: just dist", path.display()).into())
    }
}
