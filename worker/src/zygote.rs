//! The zygote: becomes what the supervisor configures, then forks workers on request and reports their ends.
//!
//! It has one thread, trusts the supervisor, and reads nothing from workers: what it knows of them it learns from `wait4`. After
//! the lock it makes only keyed calls, and allocates no more than a request to fork holds. When its control socket closes it exits, and the kernel
//! takes its workers with it.

use std::time::Duration;

use webrunner_protocol::control::{
    Ended, WorkerProfile, ZygoteConfig, ZygoteReport, ZygoteRequest, ZygoteStatus,
};
use webrunner_protocol::ids::WorkerId;
use webrunner_protocol::limits::{MAX_CONTROL_BYTES, MAX_FORK_BYTES};
use webrunner_protocol::{PROTOCOL_VERSION, codec};

use crate::clock;
use crate::count;
use crate::counters::EventTable;
use crate::heap::Bump;
use crate::kernel_job::Meter;
use crate::lockdown::{self, Lock};
use crate::measure::{Host, Session};
use crate::sys::keyed;
use crate::sys::{self, Errno, boot, fd, image, packet, process};
use crate::worker::{self, Profile};

/// Exit code for a start that failed; the reason went to the supervisor, or to standard error.
const EXIT_UNABLE: i32 = 1;
/// Exit code for a start by hand.
const EXIT_USAGE: i32 = 2;

/// The program. `lock` is [`Lock::On`] in every program that is meant to be used.
pub fn main(allocator: &Bump, lock: Lock) -> ! {
    if !boot::started_by_supervisor() {
        eprintln!("webrunner-worker {} is started by webrunner, not by hand", env!("CARGO_PKG_VERSION"));
        sys::exit(EXIT_USAGE);
    }
    let config = match receive_config() {
        Ok(config) => config,
        Err(reason) => unable(0, reason),
    };
    if let Err(error) = lock.check(config.require) {
        unable(0, error.to_string());
    }
    lockdown::set_name(config.core);
    if let Err(error) = lockdown::pin(config.core) {
        unable(0, chain(&error));
    }
    // The clock and /proc are not needed after this.
    let ticks_per_us = clock::ticks_per_microsecond();
    let own = image::economise();
    let Some(meter) = meter(ticks_per_us) else { unable(0, "the trampoline is in use".into()) };
    let layers = match lockdown::lock_down(&config, lock) {
        Ok(layers) => layers,
        Err(error) => unable(fd::CONTROL, chain(&error)),
    };
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
    let Ok(ready) = codec::encode(&ZygoteReport::Ready(status), MAX_CONTROL_BYTES) else {
        unable(fd::CONTROL, "the list of events is too long".into())
    };
    let filter = match lockdown::compile_filter() {
        Ok(filter) => filter,
        Err(error) => unable(fd::CONTROL, chain(&error)),
    };
    allocator.settle();
    image::keep_from_forks(&own);
    if lock.filters()
        && let Err(error) = lockdown::install_filter(filter)
    {
        unable(fd::CONTROL, chain(&error));
    }
    if packet::send(&ready, None).is_err() {
        sys::exit(EXIT_UNABLE);
    }
    serve()
}

fn meter(ticks_per_us: f64) -> Option<Meter> {
    let mut session = Session::open()?;
    count::rehearse();
    let host = Host::probe(&mut session, ticks_per_us);
    Some(Meter { session, host, ticks_per_us, missing_features: count::missing() })
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

/// How long the end of a worker may wait to be reported together with the fork of the next, which is usually asked for
/// just then: a packet less to wake the supervisor with.
const REPORT_DELAY: Duration = Duration::from_micros(300);

fn serve() -> ! {
    let mut children = Children { living: [None; MAX_WORKERS] };
    let mut unreported = None;
    let mut buffer = [0; MAX_FORK_BYTES];
    loop {
        let Ok(ready) = packet::wait(unreported.map(|_| REPORT_DELAY)) else { sys::exit(EXIT_UNABLE) };
        if !ready.child && !ready.control {
            report_end(&mut unreported);
        }
        if ready.child {
            // One pending SIGCHLD may stand for several ended children: acknowledge first, then reap them all.
            let _ = packet::acknowledge_child();
            reap_all(&mut children, &mut unreported);
        }
        if !ready.control {
            continue;
        }
        match packet::receive(&mut buffer) {
            Ok(0) => sys::exit(0),
            Ok(len) => obey(&mut children, &mut unreported, &buffer[..len]),
            Err(Errno(libc::EINTR)) => {}
            Err(_) => sys::exit(EXIT_UNABLE),
        }
    }
}

fn obey(children: &mut Children, unreported: &mut Option<Ended>, request: &[u8]) {
    match codec::decode(request) {
        Ok(ZygoteRequest::Fork { worker, profile: kind, end }) => {
            if let Some(worker) = end {
                children.end(worker);
            }
            let forked = if children.is_full() { Err(Errno(libc::EAGAIN)) } else { try_fork(&kind) };
            note_fork(children, unreported, worker, forked);
        }
        Ok(ZygoteRequest::End { worker }) => children.end(worker),
        Ok(ZygoteRequest::Ping) => report(&ZygoteReport::Pong, None),
        // The supervisor is trusted; what it says twice or garbled is a bug that must not go unseen.
        Ok(ZygoteRequest::Configure(_)) | Err(_) => sys::exit(EXIT_UNABLE),
    }
}

/// Reports what came of a fork.
fn note_fork(
    children: &mut Children,
    unreported: &mut Option<Ended>,
    worker: WorkerId,
    forked: Result<(i32, i32), Errno>,
) {
    match forked {
        Ok((pid, socket)) => {
            children.add(pid, worker);
            let ended = unreported.take();
            report(&ZygoteReport::Forked { worker, ended }, Some(socket));
            process::close(socket);
        }
        Err(Errno(errno)) => report(&ZygoteReport::ForkFailed { worker, errno }, None),
    }
}

/// Forks one worker; its process id, and the supervisor's end of its job socket.
fn try_fork(kind: &WorkerProfile) -> Result<(i32, i32), Errno> {
    let [ours, theirs] = packet::job_socket()?;
    // SAFETY: the zygote has one thread, and a worker uses only what it is born with.
    let forked = unsafe { keyed::fork(worker::birth(theirs, kind)) };
    process::close(theirs);
    match forked {
        Ok(pid) => Ok((pid, ours)),
        Err(errno) => {
            process::close(ours);
            Err(errno)
        }
    }
}

/// Takes every ended child off the kernel's list; the end of the last one is left to be reported.
fn reap_all(children: &mut Children, unreported: &mut Option<Ended>) {
    while let Ok(Some((pid, status, usage))) = process::reap() {
        if let Some(worker) = children.remove(pid) {
            report_end(unreported);
            *unreported = Some(Ended { worker, status, usage });
        }
    }
}

fn report_end(unreported: &mut Option<Ended>) {
    if let Some(ended) = unreported.take() {
        report(&ZygoteReport::Ended(ended), None);
    }
}

/// Sends a report; a supervisor that cannot be reached is gone, and so then is the zygote.
fn report(report: &ZygoteReport, descriptor: Option<i32>) {
    let mut buffer = [0; 256];
    let sent = codec::encode_into(report, &mut buffer).map(|len| packet::send(&buffer[..len], descriptor));
    if !matches!(sent, Ok(Ok(()))) {
        sys::exit(EXIT_UNABLE);
    }
}
