//! The services under attack, and what must hold of one after each attack.
//!
//! There are two: one as it is shipped, and one whose workers leave their lock off, the control. Each is shared by the
//! tests that run at the time, which take turns; a test that fails spoils its service, and the next starts another. A
//! third, whose workers leave off the filter alone, is for the one test of what is behind it.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use webrunner_tests::http::{Answer, Connection, Request};
use webrunner_tests::jobs;
use webrunner_tests::processes::{Process, descendants};
use webrunner_tests::service::{Launch, Service};
use webrunner_tests::wait;

use crate::kernel_log::KernelLog;

/// A variable of the supervisor's environment, of which nobody may ever hear.
const SECRET: (&str, &str) = ("SECRET_OF_THE_TEST", "canary-1b7e-of-the-environment");

/// What the buffer of [`GOLDEN`] holds in every word, as a number that could turn up in an answer or a log.
const PATTERN: u64 = 0x001d_ebc0_de0b_adca;

/// The job that must go as ever after an attack. Its input is the next attacker's prize.
const GOLDEN: (&str, &str) = ("good/golden.o", "kernel=test.golden");

/// The sum of 512 words of [`PATTERN`].
const GOLDEN_SUM: u64 = PATTERN.wrapping_mul(512);

/// Workers that wait on a core for a job when all is at rest (`standby_wanted` of the pool).
const WAITING: usize = 8;

/// Most the supervisor may grow over all attacks on it together: its allocator keeps what the largest bodies took.
const MOST_GROWTH_KIB: u64 = 32 << 10;

/// A service, and what was heard from it.
pub(crate) struct Target {
    service: Service,
    /// Where it runs; must stay empty.
    folder: TempDir,
    core: u32,
    heard: Mutex<String>,
    /// Memory it took when it was new, in KiB.
    new: u64,
    spoilt: AtomicBool,
}

/// A service all tests of a kind share.
struct Shared {
    launch: fn(&[&str]) -> Launch,
    current: Mutex<Weak<Target>>,
    turn: Mutex<()>,
}

static LOCKED: Shared = Shared::new(|flags| Launch::serve(flags.iter().copied()));
static UNLOCKED: Shared = Shared::new(|flags| Launch::serve(flags.iter().copied()).unlocked());

/// The service as it is shipped, for this test alone until it is dropped.
pub(crate) fn locked() -> Turn {
    LOCKED.take()
}

/// The service whose workers leave their lock off.
pub(crate) fn unlocked() -> Turn {
    UNLOCKED.take()
}

/// A service whose workers leave off the filter alone.
pub(crate) fn unfiltered() -> Target {
    Target::start(|flags| Launch::serve(flags.iter().copied()).unfiltered(), &[])
}

/// A service of this test's own, with further flags.
pub(crate) fn of_its_own(flags: &[&str]) -> Target {
    Target::start(LOCKED.launch, flags)
}

/// A turn with a shared service.
pub(crate) struct Turn {
    target: Arc<Target>,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Turn {
    type Target = Target;

    fn deref(&self) -> &Target {
        &self.target
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.target.spoilt.store(true, Ordering::Relaxed);
            eprintln!("the service said:\n{}", self.target.service.log());
        }
    }
}

impl Shared {
    const fn new(launch: fn(&[&str]) -> Launch) -> Self {
        Self { launch, current: Mutex::new(Weak::new()), turn: Mutex::new(()) }
    }

    fn take(&'static self) -> Turn {
        // Held while waiting for the turn, so that the service lives from one test to the next.
        let _waiting = self.get();
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        Turn { target: self.get(), _turn: turn }
    }

    fn get(&self) -> Arc<Target> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = current.upgrade()
            && !target.spoilt.load(Ordering::Relaxed)
        {
            return target;
        }
        let target = Arc::new(Target::start(self.launch, &[]));
        *current = Arc::downgrade(&target);
        target
    }
}

/// The last core this process may use: jobs run there alone, so that the next job runs where the attack ran.
fn last_core() -> u32 {
    let allowed = sched_getaffinity(Pid::from_raw(0)).expect("the cores of this process");
    let is_allowed = |core: &usize| allowed.is_set(*core).unwrap_or(false);
    let core = (0..CpuSet::count()).rev().find(is_allowed).expect("a core to run on");
    u32::try_from(core).expect("a core's number")
}

/// What a service is made of at rest.
#[derive(Debug, PartialEq, Eq)]
struct Rest {
    zygotes: Vec<Process>,
    /// How many programs filter the system calls of its zygote, of the namespace's first process, of workers: none is made
    /// for a job.
    filters: BTreeSet<String>,
    processes: usize,
}

impl Target {
    fn start(launch: fn(&[&str]) -> Launch, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let core = last_core();
        let cores = core.to_string();
        let flags = [&["--cores", cores.as_str()], flags].concat();
        let service = launch(&flags).with_variable(SECRET.0, SECRET.1).within(folder.path()).start();
        let mut target =
            Self { service, folder, core, heard: Mutex::default(), new: 0, spoilt: AtomicBool::new(false) };
        target.golden_job_is_right();
        target.settle();
        target.new = target.memory();
        target
    }

    /// The service.
    pub(crate) fn service(&self) -> &Service {
        &self.service
    }

    /// Posts an object of the tests, quickly measured, and keeps in mind what was answered.
    pub(crate) fn post(&self, object: &str, query: &str) -> Answer {
        self.send(&request(object, query))
    }

    /// The same for any request.
    pub(crate) fn send(&self, request: &Request) -> Answer {
        self.hear(request.send(self.service.address()))
    }

    /// The same for many, over one connection.
    pub(crate) fn send_all(&self, requests: impl IntoIterator<Item = Request>) -> Vec<Answer> {
        let mut connection = Connection::open(self.service.address());
        let mut ask = |request: Request| {
            connection.send(&request.bytes());
            self.hear(connection.receive())
        };
        requests.into_iter().map(&mut ask).collect()
    }

    fn hear(&self, answer: Answer) -> Answer {
        let mut heard = self.heard.lock().expect("no panic");
        heard.push_str(&String::from_utf8_lossy(&answer.body));
        answer
    }

    /// Posts an object; afterwards the service must be as good as before.
    pub(crate) fn attack(&self, object: &str, query: &str) -> Answer {
        self.unharmed_by(|| self.post(object, query))
    }

    /// Lets an attack happen. Right after it a good job on the same core gives the answer it always gives; then nothing is
    /// left of the attack, the pool is full again, and no secret has come out.
    pub(crate) fn unharmed_by<T>(&self, attack: impl FnOnce() -> T) -> T {
        self.settle();
        let (before, descriptors, cores) = (self.rest(), self.service.descriptors(), core_files());
        let kernel_log = KernelLog::follow();
        let result = attack();
        self.golden_job_is_right();
        self.settle();
        assert_eq!(self.rest(), before, "its processes before and after");
        wait::until("descriptors are given back", || self.service.descriptors() <= descriptors);
        let growth = self.growth();
        assert!(growth <= MOST_GROWTH_KIB, "the supervisor grew by {growth} KiB");
        assert_eq!(core_files(), cores, "core files");
        assert_eq!(kernel_log.alarms(), [""; 0], "what the kernel said");
        let files = fs::read_dir(self.folder.path()).expect("its folder").count();
        assert_eq!(files, 0, "files in the folder the service runs in");
        self.tells_no_secret();
        result
    }

    /// Waits until nothing runs and the pool is full.
    fn settle(&self) {
        wait::until("the pool is full", || {
            let is = self.service.readiness();
            is["running"] == 0 && is["standby"] == WAITING && self.service.workers().len() == WAITING
        });
    }

    fn golden_job_is_right(&self) {
        let answer = request(GOLDEN.0, GOLDEN.1).send(self.service.address());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!(answer["returned"], GOLDEN_SUM, "{answer}");
        assert_eq!(answer["machine"]["core"], self.core, "{answer}");
    }

    fn rest(&self) -> Rest {
        let family = descendants(self.service.id());
        let filters = family.iter().filter_map(|process| process.status("Seccomp_filters")).collect();
        let zygotes = family.iter().copied().filter(|process| process.parent == self.service.id()).collect();
        Rest { zygotes, filters, processes: family.len() }
    }

    /// What the supervisor has grown by since it was new, in KiB.
    pub(crate) fn growth(&self) -> u64 {
        self.memory().saturating_sub(self.new)
    }

    /// Memory of the supervisor, in KiB.
    fn memory(&self) -> u64 {
        let resident = Process::find(self.service.id()).and_then(|process| process.status("VmRSS"));
        let resident = resident.expect("the memory of a process of one's own");
        resident.trim_end_matches(" kB").parse().expect("a number of KiB")
    }

    fn tells_no_secret(&self) {
        let said = self.service.log() + &self.heard.lock().expect("no panic");
        for secret in
            [SECRET.1.to_owned(), PATTERN.to_string(), format!("{PATTERN:x}"), "panicked".to_owned()]
        {
            assert!(!said.contains(&secret), "{secret} is in what was said");
        }
    }
}

/// Files in the root folder, where zygotes and workers run, that a core dump could be.
fn core_files() -> usize {
    let names = fs::read_dir("/").expect("the root folder").filter_map(Result::ok);
    names.filter(|entry| entry.file_name().to_string_lossy().starts_with("core")).count()
}

/// The request for a quick measurement of an object, with the answer in full.
pub(crate) fn request(object: &str, query: &str) -> Request {
    jobs::request(object, &with_options(query))
}

/// The same for bytes.
pub(crate) fn request_of(object: &[u8], query: &str) -> Request {
    Request::post(&format!("/here/run?{}", with_options(query)), object)
}

fn with_options(query: &str) -> String {
    let effort = if query.contains("_effort=") { "" } else { "&_effort=quick" };
    format!("{query}{effort}&_format=json")
}

/// The body of an answer, whether it is a measurement or a problem.
pub(crate) fn body(answer: &Answer) -> Value {
    if answer.status == 200 { answer.json() } else { answer.problem() }
}
