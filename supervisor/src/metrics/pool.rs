//! The pool: slots, zygotes, workers, the queue. Events are counted as they happen; what is, is read at each scrape.

use std::io;
use std::time::Duration;

use prometheus::{Counter, CounterVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use rustix::process::Signal;
use webrunner_protocol::control::{Event, ExitStatus, Lane};
use webrunner_protocol::ids::CoreId;

use super::families::{Doubling, Families};
use crate::pool::{Gauges, SlotView};

/// 50 us to 1.6 s: a fork takes some 100 us.
const FORK: Doubling = Doubling { from: 50e-6, count: 16 };

/// Figures about the pool.
#[derive(Debug)]
pub struct PoolMetrics {
    forks: IntCounter,
    fork_failures: IntCounter,
    fork_seconds: Histogram,
    exits: ExitMetrics,
    zygotes_lost: ZygoteLosses,
    perf_failures: IntCounterVec,
    queue_length: IntGauge,
    queue_capacity: IntGauge,
    workers_busy: IntGauge,
    workers_standby: IntGauge,
    workers_starting: IntGauge,
    slots: IntGaugeVec,
    zygote_up: IntGaugeVec,
    core_busy: CounterVec,
}

/// How workers ended, one counter for each way.
#[derive(Debug)]
struct ExitMetrics {
    finished: IntCounter,
    failed: IntCounter,
    killed: IntCounter,
    cpu_time: IntCounter,
    system_call: IntCounter,
    crashed: IntCounter,
    idle: IntCounter,
}

/// Why zygotes were replaced, one counter for each reason.
#[derive(Debug)]
struct ZygoteLosses {
    ended: IntCounter,
    silent: IntCounter,
    nonsense: IntCounter,
    failed: IntCounter,
}

impl PoolMetrics {
    pub(super) fn new(families: &Families<'_>) -> Self {
        let workers = families.gauges("workers", "Worker processes, by what they do.", &["state"]);
        let worker = |state: &str| workers.with_label_values(&[state]);
        Self {
            forks: families.counter("worker_forks_total", "Workers forked."),
            fork_failures: families
                .counter("worker_fork_failures_total", "Workers asked for that could not be forked."),
            fork_seconds: families.histogram(
                "worker_fork_seconds",
                "Time from asking a zygote for a worker until it waits for a job.",
                FORK,
            ),
            exits: ExitMetrics::new(families),
            zygotes_lost: ZygoteLosses::new(families),
            perf_failures: families.counters(
                "perf_open_failures_total",
                "Starts of a zygote at which an event could not be opened.",
                &["event"],
            ),
            queue_length: families.gauge("queue_length", "Jobs waiting for a worker."),
            queue_capacity: families.gauge("queue_capacity", "Jobs that may wait for a worker."),
            workers_busy: worker("busy"),
            workers_standby: worker("standby"),
            workers_starting: worker("starting"),
            slots: families.gauges("slots", "Cores of the pool, by lane and state.", &["lane", "state"]),
            zygote_up: families.gauges("zygote_up", "1 while the core's zygote answers.", &["cpu"]),
            core_busy: families.all_seconds(
                "core_busy_seconds_total",
                "Time the core had at least one job, self-checks included.",
                &["cpu"],
            ),
        }
    }

    /// A worker that was asked for this long ago waits for a job.
    pub fn forked(&self, took: Duration) {
        self.forks.inc();
        self.fork_seconds.observe(took.as_secs_f64());
    }

    /// A worker that was asked for could not be forked.
    pub fn fork_failed(&self) {
        self.fork_failures.inc();
    }

    /// A worker has ended; `idle` if it had no job.
    pub fn worker_ended(&self, status: ExitStatus, idle: bool) {
        let exits = &self.exits;
        let counter = match status {
            _ if idle => &exits.idle,
            ExitStatus::Code(0) => &exits.finished,
            ExitStatus::Code(_) => &exits.failed,
            ExitStatus::Signal(signal) if signal == Signal::KILL.as_raw() => &exits.killed,
            ExitStatus::Signal(signal) if signal == Signal::XCPU.as_raw() => &exits.cpu_time,
            ExitStatus::Signal(signal) if signal == Signal::SYS.as_raw() => &exits.system_call,
            ExitStatus::Signal(_) => &exits.crashed,
        };
        counter.inc();
    }

    /// A zygote is up and says which events it could open.
    pub fn zygote_started(&self, events: &[Event]) {
        for event in events {
            self.perf_failures
                .with_label_values(&[event.name.as_str()])
                .inc_by(u64::from(event.missing.is_some()));
        }
    }

    /// A zygote was given up for this reason; another is started.
    pub fn zygote_lost(&self, reason: &io::Error) {
        let lost = &self.zygotes_lost;
        let counter = match reason.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => &lost.ended,
            io::ErrorKind::TimedOut => &lost.silent,
            io::ErrorKind::InvalidData => &lost.nonsense,
            _ => &lost.failed,
        };
        counter.inc();
    }

    /// Takes over how the pool is now.
    pub(super) fn refresh(&self, gauges: &Gauges, slots: &[SlotView]) {
        self.queue_length.set(signed(gauges.queued));
        self.queue_capacity.set(signed(gauges.queue_capacity));
        self.workers_busy.set(signed(gauges.running));
        self.workers_standby.set(signed(gauges.standby));
        self.workers_starting.set(signed(gauges.starting));
        for lane in [Lane::Measuring, Lane::Quick] {
            for state in [State::Busy, State::Idle, State::Down] {
                let alike = slots.iter().filter(|slot| slot.lane == lane && State::of(slot) == state);
                self.slots.with_label_values(&[lane_label(lane), state.label()]).set(signed(alike.count()));
            }
        }
        for slot in slots {
            let cpu = cpu_label(slot.core);
            self.zygote_up.with_label_values(&[&cpu]).set(slot.up.into());
            advance(&self.core_busy.with_label_values(&[&cpu]), slot.busy_time);
        }
    }
}

impl ExitMetrics {
    fn new(families: &Families<'_>) -> Self {
        let all =
            families.counters("worker_exits_total", "Worker processes that ended, by how.", &["reason"]);
        let of = |reason: &str| all.with_label_values(&[reason]);
        Self {
            finished: of("finished"),
            failed: of("failed"),
            killed: of("killed"),
            cpu_time: of("cpu-time"),
            system_call: of("system-call"),
            crashed: of("crashed"),
            idle: of("idle"),
        }
    }
}

impl ZygoteLosses {
    fn new(families: &Families<'_>) -> Self {
        let help = "Zygotes that were lost and replaced, by what was noticed.";
        let all = families.counters("zygote_restarts_total", help, &["reason"]);
        let of = |reason: &str| all.with_label_values(&[reason]);
        Self { ended: of("ended"), silent: of("silent"), nonsense: of("nonsense"), failed: of("failed") }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Busy,
    Idle,
    Down,
}

impl State {
    fn of(slot: &SlotView) -> Self {
        match (slot.up, slot.busy) {
            (_, true) => Self::Busy,
            (true, false) => Self::Idle,
            (false, false) => Self::Down,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::Down => "down",
        }
    }
}

fn lane_label(lane: Lane) -> &'static str {
    match lane {
        Lane::Measuring => "measuring",
        Lane::Quick => "quick",
    }
}

fn cpu_label(core: CoreId) -> String {
    core.0.to_string()
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Brings a counter up to a total that never falls.
fn advance(counter: &Counter, total: Duration) {
    counter.inc_by((total.as_secs_f64() - counter.get()).max(0.0));
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;

    #[test]
    fn a_counter_of_time_follows_its_total_and_never_falls() {
        let counter = Counter::new("a", "b").unwrap();
        for (total, expected) in [(2, 2.0), (5, 5.0), (4, 5.0)] {
            advance(&counter, Duration::from_secs(total));
            assert!((counter.get() - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn every_end_of_a_worker_has_one_reason() {
        let metrics = PoolMetrics::new(&Families(&Registry::new()));
        for status in
            [0, 1].map(ExitStatus::Code).into_iter().chain([9, 24, 31, 11, 64].map(ExitStatus::Signal))
        {
            metrics.worker_ended(status, false);
        }
        metrics.worker_ended(ExitStatus::Code(0), true);
        let exits = &metrics.exits;
        let counts = [&exits.finished, &exits.failed, &exits.killed, &exits.cpu_time, &exits.system_call];
        assert_eq!(counts.map(IntCounter::get), [1; 5]);
        assert_eq!((exits.crashed.get(), exits.idle.get()), (2, 1));
    }
}
