//! The zygote: becomes what the supervisor configures, then forks workers on request and reports their ends.
//!
//! It has one thread, trusts the supervisor, and reads nothing from workers: what it knows of them it learns from
//! `wait4`. After the lock it makes only keyed calls, and allocates no more than a request to fork holds. When its
//! control socket closes it exits, and the kernel takes its workers with it.

use std::io::{self, Write as _};
use std::ops::Range;
use std::time::Duration;

use seccompiler::BpfProgram;
use webrunner_protocol::control::{
    Ended, Ends, WorkerProfile, ZygoteConfig, ZygoteReport, ZygoteRequest, ZygoteStatus,
};
use webrunner_protocol::ids::WorkerId;
use webrunner_protocol::limits::{MAX_CONTROL_BYTES, MAX_FORK_BYTES, MAX_REPORT_BYTES};
use webrunner_protocol::{PROTOCOL_VERSION, codec};

use crate::clock;
use crate::count;
use crate::counters::EventTable;
use crate::heap::Bump;
use crate::job_sockets::JobSockets;
use crate::kernel_job::Meter;
use crate::lockdown::{self, Lock, Locked};
use crate::measure::{Host, Session};
use crate::sys::keyed;
use crate::sys::packet::{self, Descriptors};
use crate::sys::{self, Errno, boot, fd, image, process};
use crate::worker::{self, Profile};

/// Exit code for a start that failed; the reason went to the supervisor, or to standard error.
const EXIT_UNABLE: i32 = 1;
/// Exit code for a start by hand.
const EXIT_USAGE: i32 = 2;

/// The program. `lock` is [`Lock::On`] in every program that is meant to be used.
pub fn main(allocator: &Bump, lock: Lock) -> ! {
    if !boot::started_by_supervisor() {
        // Not eprintln, which panics where nobody can read it.
        let _ = writeln!(
            io::stderr(),
            "webrunner-worker {} is started by webrunner, not by hand",
            env!("CARGO_PKG_VERSION")
        );
        sys::exit(EXIT_USAGE);
    }
    // The lock begins by placing descriptors; until then the control socket is the first.
    let (config, meter, own) = before_lock(lock).unwrap_or_else(|reason| unable(0, reason));
    let Ready { report, filter, init } =
        under_lock(config, meter, lock).unwrap_or_else(|reason| unable(fd::CONTROL, reason));
    // When all that forks are to find is built, and before the filter, which lets nobody advise the kernel on memory.
    allocator.settle();
    image::keep_from_forks(&own);
    if lock.filters()
        && let Err(error) = lockdown::install_filter(filter)
    {
        unable(fd::CONTROL, chain(&error));
    }
    // Only now: once it has heard this the supervisor sends jobs.
    if packet::send(&report, None).is_err() {
        sys::exit(EXIT_UNABLE);
    }
    serve(init)
}

/// Does what needs the rights that the lock takes away, and gives the configuration, what jobs are measured with, and the
/// memory that is the zygote's alone.
fn before_lock(lock: Lock) -> Result<(ZygoteConfig, Meter, Vec<Range<usize>>), String> {
    let config = receive_config()?;
    lock.check(config.require).map_err(|error| chain(&error))?;
    lockdown::set_name(config.core);
    // Before anything is looked at: the clock and what calling costs are to be this core's.
    lockdown::pin(config.core).map_err(|error| chain(&error))?;
    // The last that needs the vDSO and /proc.
    let ticks_per_us = clock::ticks_per_microsecond();
    let own = image::economise();
    let mut session = Session::open().ok_or("the trampoline is in use")?;
    count::rehearse();
    let host = Host::probe(&mut session, ticks_per_us);
    let meter = Meter { session, host, ticks_per_us, missing_features: count::missing() };
    Ok((config, meter, own))
}

/// What a zygote has once workers could be born.
struct Ready {
    /// The report for the supervisor.
    report: Vec<u8>,
    filter: BpfProgram,
    /// The first process of its pid namespace, if it has one.
    init: Option<i32>,
}

/// Locks this process but for the filter, and builds what workers are born with.
fn under_lock(config: ZygoteConfig, meter: Meter, lock: Lock) -> Result<Ready, String> {
    let Locked { layers, init } = lockdown::lock_down(&config, lock).map_err(|error| chain(&error))?;
    // As the user that workers are too, and before the filter, which lets workers alone open events, on themselves.
    let events = EventTable::probe(config.events);
    let status = ZygoteStatus {
        pid: std::process::id() as i32,
        ticks_per_ms: (meter.ticks_per_us * 1e3) as u64,
        layers,
        fenced_chains_cycles: meter.host.fenced_chains_cycles(),
        events: events.events(),
        plan: events.plan().clone(),
    };
    worker::prepare(Profile { events, cpu_seconds: config.cpu_seconds, meter, lock });
    // Made before the allocator settles: what is allocated later lies in the array that each worker goes on with.
    let report = codec::encode(&ZygoteReport::Ready(status), MAX_CONTROL_BYTES)
        .map_err(|_| "the list of events is too long")?;
    let filter = lockdown::compile_filter().map_err(|error| chain(&error))?;
    Ok(Ready { report, filter, init })
}

/// An error and its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn receive_config() -> Result<ZygoteConfig, String> {
    let mut buffer = [0; MAX_CONTROL_BYTES];
    let len = boot::receive_first(&mut buffer)
        .map_err(|errno| format!("cannot read the configuration: {errno:?}"))?;
    match codec::decode(&buffer[..len]) {
        Ok(ZygoteRequest::Configure(config)) => check_version(config),
        Ok(ZygoteRequest::Fork { .. } | ZygoteRequest::End { .. } | ZygoteRequest::Ping) => {
            Err("a request came before the configuration".into())
        }
        Err(_) => Err(format!(
            "the configuration cannot be decoded; are webrunner and webrunner-worker {} of one build?",
            env!("CARGO_PKG_VERSION")
        )),
    }
}

fn check_version(config: ZygoteConfig) -> Result<ZygoteConfig, String> {
    let own = env!("CARGO_PKG_VERSION");
    if config.protocol == PROTOCOL_VERSION && config.version == own {
        return Ok(config);
    }
    Err(format!(
        "webrunner-worker is version {own} (protocol {PROTOCOL_VERSION}), webrunner is {} (protocol {}); install both \
         from one build",
        config.version, config.protocol
    ))
}

/// Says why the zygote cannot start, and ends.
fn unable(descriptor: i32, reason: String) -> ! {
    if let Ok(bytes) = codec::encode(&ZygoteReport::Unable { reason }, MAX_CONTROL_BYTES) {
        let _ = boot::send_first(descriptor, &bytes);
    }
    sys::exit(EXIT_UNABLE)
}

/// Workers that live; more than any supervisor asks for on one core.
const MAX_WORKERS: usize = 64;

/// The numbers the supervisor gave to process ids that live.
struct Children {
    living: [Option<(i32, WorkerId)>; MAX_WORKERS],
}

impl Children {
    fn add(&mut self, pid: i32, worker: WorkerId) {
        if let Some(free) = self.living.iter_mut().find(|slot| slot.is_none()) {
            *free = Some((pid, worker));
        }
    }

    fn remove(&mut self, pid: i32) -> Option<WorkerId> {
        let slot = self.living.iter_mut().find(|slot| slot.is_some_and(|(known, _)| known == pid))?;
        slot.take().map(|(_, worker)| worker)
    }

    /// Ends a worker, unless it was reaped.
    fn end(&self, worker: WorkerId) {
        if let Some((pid, _)) = self.living.iter().flatten().find(|(_, known)| *known == worker) {
            process::kill(*pid);
        }
    }

    fn is_full(&self) -> bool {
        self.living.iter().all(Option::is_some)
    }
}

/// How long ends of workers may wait to be reported together with the fork of the next, which is usually asked for
/// just then: a packet less to wake the supervisor with.
const REPORT_DELAY: Duration = Duration::from_micros(300);

/// What the zygote keeps account of.
struct Family {
    children: Children,
    /// The first process of the pid namespace, if there is one.
    init: Option<i32>,
    /// Job sockets of workers to come.
    sockets: JobSockets,
    /// Ends that are to be reported with the next fork.
    unreported: Ends,
}

fn serve(init: Option<i32>) -> ! {
    let mut family = Family {
        children: Children { living: [None; MAX_WORKERS] },
        init,
        sockets: JobSockets::none(),
        unreported: Ends::default(),
    };
    let mut buffer = [0; MAX_FORK_BYTES];
    loop {
        let patience = (!family.unreported.is_empty()).then_some(REPORT_DELAY);
        let Ok(ready) = packet::wait(patience) else { sys::exit(EXIT_UNABLE) };
        if !ready.child && !ready.control {
            family.report_ends();
        }
        if ready.child {
            // One pending SIGCHLD may stand for several ended children: acknowledge first, then reap them all.
            let _ = packet::acknowledge_child();
            family.reap_all();
        }
        if !ready.control {
            continue;
        }
        match packet::receive(&mut buffer) {
            Ok(0) => sys::exit(0),
            Ok(len) => family.obey(&buffer[..len]),
            Err(Errno(libc::EINTR)) => {}
            Err(_) => sys::exit(EXIT_UNABLE),
        }
    }
}

impl Family {
    fn obey(&mut self, request: &[u8]) {
        match codec::decode(request) {
            Ok(ZygoteRequest::Fork { worker, profile: kind, end }) => {
                if let Some(worker) = end {
                    self.children.end(worker);
                }
                let forked = self.try_fork(&kind).and_then(|pid| self.introduce(pid, worker));
                if let Err(Errno(errno)) = forked {
                    report(&ZygoteReport::ForkFailed { worker, errno });
                }
            }
            Ok(ZygoteRequest::End { worker }) => self.children.end(worker),
            Ok(ZygoteRequest::Ping) => report(&ZygoteReport::Pong),
            // The supervisor is trusted; what it says twice or garbled is a bug that must not go unseen.
            Ok(ZygoteRequest::Configure(_)) | Err(_) => sys::exit(EXIT_UNABLE),
        }
    }

    /// Forks one worker; its process id.
    fn try_fork(&mut self, kind: &WorkerProfile) -> Result<i32, Errno> {
        if self.children.is_full() {
            return Err(Errno(libc::EAGAIN));
        }
        let socket = self.sockets.upcoming()?;
        // SAFETY: the zygote has one thread, and a worker uses only what it is born with.
        let pid = unsafe { keyed::fork(worker::birth(socket, kind)) }?;
        self.sockets.take();
        Ok(pid)
    }

    /// Reports a worker, with job sockets if its own is not yet sent.
    fn introduce(&mut self, pid: i32, worker: WorkerId) -> Result<(), Errno> {
        let forked = ZygoteReport::Forked { worker, ended: self.unreported };
        match send(&forked, self.sockets.unsent()) {
            Ok(()) => {
                self.children.add(pid, worker);
                self.sockets.sent();
                self.unreported = Ends::default();
                Ok(())
            }
            // Other zygotes of this user have as many on the way as the kernel allows. The worker reads the end of its own.
            Err(errno @ Errno(libc::ETOOMANYREFS)) => {
                self.sockets.give_up();
                Err(errno)
            }
            Err(_) => sys::exit(EXIT_UNABLE),
        }
    }

    /// Takes every ended child off the kernel's list; the last ends are left to be reported.
    ///
    /// Without the first process of its namespace the zygote is of no use: the kernel has ended all workers with it,
    /// and lets no other be forked.
    fn reap_all(&mut self) {
        while let Ok(Some((pid, status, usage))) = process::reap() {
            if self.init == Some(pid) {
                report(&ZygoteReport::Unable {
                    reason: "the first process of its namespace has ended".into(),
                });
                sys::exit(EXIT_UNABLE)
            }
            if let Some(worker) = self.children.remove(pid) {
                if self.unreported.is_full() {
                    self.report_ends();
                }
                self.unreported.add(Ended { worker, status, usage });
            }
        }
    }

    fn report_ends(&mut self) {
        report(&ZygoteReport::Ended(std::mem::take(&mut self.unreported)));
    }
}

/// Sends a report; a supervisor that cannot be reached is gone, and so then is the zygote.
fn report(report: &ZygoteReport) {
    if send(report, None).is_err() {
        sys::exit(EXIT_UNABLE);
    }
}

/// Sends a report with job sockets or without.
fn send(report: &ZygoteReport, sockets: Option<&Descriptors>) -> Result<(), Errno> {
    let mut buffer = [0; MAX_REPORT_BYTES];
    let len = codec::encode_into(report, &mut buffer).map_err(|_| Errno(libc::EMSGSIZE))?;
    packet::send(&buffer[..len], sockets)
}
