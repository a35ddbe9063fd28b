//! A running service, which ends with its guard, and commands that run to their end.
//!
//! Every service listens on a port of its own, so that tests run beside each other; they do share the cores that jobs
//! are measured on, which is why no test asserts a time.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use serde_json::Value;

use crate::exposition::Exposition;
use crate::http::{Answer, Request};
use crate::processes::{self, Process};
use crate::{executables, objects, wait};

/// How a service or a command is to be started.
#[derive(Debug, Clone)]
pub struct Launch {
    words: Vec<String>,
    environment: Vec<(String, String)>,
    folder: Option<PathBuf>,
}

impl Launch {
    /// The program with these arguments.
    #[must_use]
    pub fn command<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Self {
        Self::executable(&executables::get().supervisor, arguments)
    }

    /// A copy of the program that lies elsewhere, with these arguments.
    #[must_use]
    pub fn executable<'a>(program: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let words = [program.to_string_lossy().into_owned()].into_iter();
        let words = words.chain(arguments.into_iter().map(str::to_owned)).collect();
        Self { words, environment: Vec::new(), folder: None }
    }

    /// `webrunner serve` on a free port, with the kernels of the tests and these flags. Without self-checks, if no flag
    /// asks for them: they are jobs too, and would be taken for those of a test.
    #[must_use]
    pub fn serve<'a>(flags: impl IntoIterator<Item = &'a str>) -> Self {
        let mut launch = Self::command(["serve", "--listen", "127.0.0.1:0"]);
        launch.words.extend(["--kernels".into(), objects::kernels().to_string_lossy().into_owned()]);
        launch.words.extend(flags.into_iter().map(str::to_owned));
        if !launch.words.iter().any(|word| word == "--self-check") {
            launch.words.extend(["--self-check".into(), "0".into()]);
        }
        launch
    }

    /// Started by another program, such as `setpriv`, that ends in becoming this one.
    #[must_use]
    pub fn through<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.words.splice(0..0, words.into_iter().map(str::to_owned));
        self
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// In this folder.
    #[must_use]
    pub fn within(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// With workers that leave their lock off: what is tried on them shows what the lock is for.
    #[must_use]
    pub fn unlocked(self) -> Self {
        self.with_worker_for_tests(&executables::get().unlocked)
    }

    /// With workers that leave off their filter alone: what is tried on them shows what is behind it.
    #[must_use]
    pub fn unfiltered(self) -> Self {
        self.with_worker_for_tests(&executables::get().unfiltered)
    }

    fn with_worker_for_tests(mut self, worker: &Path) -> Self {
        let worker = worker.to_string_lossy().into_owned();
        self.words.extend(["--require-isolation".into(), "unlocked".into(), "--worker".into(), worker]);
        self
    }

    /// Runs a command to its end as in a container whose filter answers this system call with EPERM.
    ///
    /// # Panics
    /// As [`run`](Self::run), or if there can be no filter.
    #[must_use]
    pub fn run_without(&self, call: i64) -> Ended {
        const EPERM: u32 = 1;
        let program = SeccompFilter::new(
            [(call, Vec::new())].into(),
            SeccompAction::Allow,
            SeccompAction::Errno(EPERM),
            TargetArch::x86_64,
        )
        .and_then(BpfProgram::try_from)
        .expect("a filter");
        // A filter is a thread's own, and of what that starts.
        let filtered = || {
            seccompiler::apply_filter(&program).expect("a filter in force");
            self.run()
        };
        thread::scope(|scope| scope.spawn(filtered).join()).expect("no panic")
    }

    fn spawn(&self) -> Child {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        // No file of this host, and a log that a test can read; a test may ask for something else.
        command.env("WEBRUNNER_CONFIG", "/dev/null").env("WEBRUNNER_LOG_FORMAT", "human");
        command.env("WEBRUNNER_LOG_FILTER", "info,request=off");
        command.envs(self.environment.iter().cloned());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap_or_else(|error| panic!("cannot start {:?}: {error}", self.words))
    }

    /// Starts a service and waits until it listens.
    ///
    /// # Panics
    /// If it ends instead.
    #[must_use]
    pub fn start(&self) -> Service {
        self.start_when("the service listens", |log| log.address("listening"))
    }

    /// Starts a service that listens at no address, and waits until it says that it is ready.
    ///
    /// # Panics
    /// If it ends instead.
    #[must_use]
    pub fn start_elsewhere(&self) -> Service {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        self.start_when("the service is ready", |log| log.text().contains("ready").then_some(nowhere))
    }

    /// Starts a service whose log goes somewhere else, and waits until it has said something there.
    ///
    /// # Panics
    /// If it ends instead.
    #[must_use]
    pub fn start_when_said(&self, what: &str, said: impl Fn() -> bool) -> Service {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        self.start_when(what, |_| said().then_some(nowhere))
    }

    fn start_when(&self, what: &str, address: impl Fn(&Log) -> Option<SocketAddr>) -> Service {
        let mut child = self.spawn();
        let log = Log::follow(child.stderr.take().expect("a pipe"));
        let address = wait::until_some(what, || {
            let ended = child.try_wait().expect("a child to wait for");
            assert!(ended.is_none(), "the service ended at once: {ended:?}\n{}", log.text());
            address(&log)
        });
        Service { child, address, log }
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// If it does not end.
    #[must_use]
    pub fn run(&self) -> Ended {
        let mut child = self.spawn();
        let log = Log::follow(child.stderr.take().expect("a pipe"));
        let mut stdout = child.stdout.take().expect("a pipe");
        let reader = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        });
        let mut guard = Guard(child);
        let status =
            wait::until_some("the command ends", || guard.0.try_wait().expect("a child to wait for"));
        let stdout = reader.join().expect("no panic").expect("output of UTF-8");
        wait::until("standard error ends", || log.has_ended());
        Ended { code: status.code(), stdout, stderr: log.text() }
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All it wrote to standard output.
    pub stdout: String,
    /// All it wrote to standard error.
    pub stderr: String,
}

impl Ended {
    /// What it said about its failure: one line, after the program's name, and nothing else.
    ///
    /// # Panics
    /// If it said more, or nothing.
    #[must_use]
    pub fn complaint(&self) -> &str {
        let mut lines = self.stderr.lines();
        let line = lines.next().and_then(|line| line.strip_prefix("webrunner: "));
        let line = line.unwrap_or_else(|| panic!("no complaint: {self:?}"));
        assert!(lines.next().is_none() && self.stdout.is_empty(), "more than one line: {self:?}");
        line
    }
}

/// Ends a process that a panic leaves behind.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a process writes to standard error, as far as it has come.
#[derive(Debug, Clone)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn follow(stderr: impl Read + Send + 'static) -> Self {
        let log = Self(Arc::default());
        let shared = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                shared.0.lock().expect("no panic").push_str(&(line + "\n"));
            }
        });
        log
    }

    fn text(&self) -> String {
        self.0.lock().expect("no panic").clone()
    }

    /// Whether the process has closed its end and everything was taken: nobody else holds the log then.
    fn has_ended(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// The address in the first line with these words.
    fn address(&self, words: &str) -> Option<SocketAddr> {
        let text = self.text();
        let line = text.lines().find(|line| line.contains(words))?;
        if let Ok(line) = serde_json::from_str::<Value>(line) {
            return line["address"].as_str()?.parse().ok();
        }
        line.split("address=").nth(1)?.split(' ').next()?.parse().ok()
    }
}

/// A running service; killed when dropped.
#[derive(Debug)]
pub struct Service {
    child: Child,
    address: SocketAddr,
    log: Log,
}

impl Drop for Service {
    fn drop(&mut self) {
        if thread::panicking() {
            let ended = self.child.try_wait();
            eprintln!("the service, ended before its test: {ended:?}, said:\n{}", self.log.text());
        }
        let zygotes = self.zygotes();
        let _ = self.child.kill();
        let _ = self.child.wait();
        // They end by themselves, but not where a test that failed has left one stopped.
        for zygote in zygotes.into_iter().filter(|zygote| zygote.is_alive()) {
            let _ = Pid::from_raw(zygote.id).map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

impl Service {
    /// Starts one with the kernels of the tests.
    #[must_use]
    pub fn start() -> Self {
        Self::with_flags([])
    }

    /// Starts one with further flags.
    #[must_use]
    pub fn with_flags<'a>(flags: impl IntoIterator<Item = &'a str>) -> Self {
        Launch::serve(flags).start()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for operators, with `--metrics-listen`; told before it tells where it listens for clients.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn operators_address(&self) -> SocketAddr {
        self.log.address("for operators").expect("a listener for operators")
    }

    /// What it tells Prometheus.
    #[must_use]
    pub fn metrics(&self) -> Exposition {
        Exposition::parse(self.get("/metrics").text())
    }

    /// All it has written to standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// The log once the service is ready, which is the last thing it says unasked.
    #[must_use]
    pub fn log_of_start(&self) -> String {
        wait::until("the service says that it is ready", || self.log().contains(" ready workers="));
        self.log()
    }

    /// Asks for a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Answer {
        Request::new("GET", path).send(self.address)
    }

    /// How busy it says it is.
    #[must_use]
    pub fn readiness(&self) -> Value {
        self.get("/readyz").json()
    }

    /// The supervisor's process id.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Sends the supervisor a signal.
    ///
    /// # Panics
    /// If it is gone.
    pub fn signal(&self, signal: Signal) {
        kill(self.id(), signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not come.
    pub fn wait(&mut self) -> ExitStatus {
        let status =
            wait::until_some("the service ends", || self.child.try_wait().expect("a child to wait for"));
        wait::until("its log has been read", || self.log.has_ended());
        status
    }

    /// Processes of zygotes, one for each core that takes jobs.
    #[must_use]
    pub fn zygotes(&self) -> Vec<Process> {
        processes::children(self.id())
    }

    /// The zygote of the first core that jobs are measured on.
    #[must_use]
    pub fn zygote(&self) -> Process {
        let core = self.get("/machine").json()["cores"][0].to_string();
        let is_there =
            |zygote: &Process| zygote.status("Cpus_allowed_list").as_deref() == Some(core.as_str());
        wait::until_some("there is a zygote", || self.zygotes().into_iter().find(is_there))
    }

    /// Processes of workers, waiting or running.
    #[must_use]
    pub fn workers(&self) -> Vec<Process> {
        let family = processes::descendants(self.id()).into_iter();
        family.filter(|process| process.parent != self.id() && !process.is_init()).collect()
    }

    /// Waits until a job that never ends has begun to: a worker has been given it before, and may not have read it yet.
    pub fn spins(&self) {
        wait::until("a worker spins", || self.workers().iter().any(|worker| worker.user_ticks() > 2));
    }

    /// How many descriptors the supervisor has open, but for job sockets of workers yet to come and what looks like
    /// them: of those there are now more and now fewer, up to seven for each zygote.
    ///
    /// # Panics
    /// If it is gone.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        /// These seven, and for each zygote its control socket.
        const FOR_EACH_ZYGOTE: usize = 8;
        /// Those of the runtime and of a log.
        const OTHERS: usize = 8;
        let process = Process::find(self.id()).expect("the supervisor runs");
        let open = process.descriptors().expect("descriptors of a process of one's own");
        // Job sockets may belong to a network namespace of the zygote's, which no table here lists.
        let tcp = processes::tcp_sockets();
        let others = open.iter().filter(|(_, target)| target.starts_with("socket:") && !tcp.contains(target));
        let ahead = others.count().saturating_sub(self.workers().len());
        open.len() - ahead.min(FOR_EACH_ZYGOTE * self.zygotes().len() + OTHERS)
    }

    /// Waits until no job runs, no worker is left but those that wait for one, and those are as many as are kept.
    pub fn settle(&self) {
        wait::until("the pool is at rest", || {
            let is = self.readiness();
            let standby = is["standby"].as_u64();
            is["running"] == 0 && standby > Some(0) && standby == Some(self.workers().len() as u64)
        });
    }
}

/// Sends a process a signal.
///
/// # Panics
/// If it is gone.
pub fn kill(id: i32, signal: Signal) {
    let pid = Pid::from_raw(id).expect("a process id");
    kill_process(pid, signal).expect("a process to signal");
}
