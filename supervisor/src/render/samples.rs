//! Small made-up measurements for the tests of this folder.

use std::sync::LazyLock;
use std::time::Duration;

use webrunner_kernels::Catalogue;
use webrunner_protocol::control::{Event, Layer};
use webrunner_protocol::counts::{Counting, Counts, NotCountable};
use webrunner_protocol::events::{EncodedEvent, EventSet, OpenRefusal, RefusedEvent};
use webrunner_protocol::ids::CoreId;
use webrunner_protocol::passes::{BatchCalls, BatchCounts, PassCounts};
use webrunner_protocol::reply::{CounterReading, CycleSamples, Gate, Measurement};

use super::{Report, Run};
use crate::check::{Correctness, Examined};
use crate::events::Selection;
use crate::machine::Machine;
use crate::pool;
use crate::repeat::Measured;
use crate::request::{Call, RunRequest};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::builtin().unwrap());
static MACHINE: LazyLock<Machine> = LazyLock::new(|| Machine::gather(0));

/// A measured `blis.sdot`, to be changed by each test.
pub(crate) struct Sample {
    call: Call<'static>,
    pool: pool::Facts,
    measurement: Measurement,
    run: Run,
}

impl Sample {
    pub(crate) fn new() -> Self {
        let request = RunRequest::from_query("kernel=blis.sdot&n=1024").unwrap();
        let layers = vec![
            Layer { name: "seccomp".into(), missing: None },
            Layer { name: "landlock".into(), missing: Some("the kernel lacks it".into()) },
        ];
        Self {
            call: request.resolve(&CATALOGUE).unwrap(),
            pool: pool::Facts {
                cores: vec![CoreId(1)],
                ticks_per_ms: 2_000_000,
                layers,
                fenced_chains_cycles: 130,
                ..pool::Facts::default()
            },
            measurement: measurement(),
            run: Run {
                core: CoreId(1),
                queued: Duration::from_micros(3),
                ran: Duration::from_micros(900),
                exit: None,
                examined: None,
                repeated: false,
            },
        }
    }

    pub(super) fn report(&self) -> Report<'_> {
        Report {
            id: "test",
            machine: &MACHINE,
            pool: &self.pool,
            call: &self.call,
            object: b"abc",
            run: &self.run,
            measurement: &self.measurement,
        }
    }

    /// The same as a job that was measured.
    pub(crate) fn measured(self) -> Measured {
        Measured { measurement: Box::new(self.measurement), run: self.run }
    }

    /// Changes what was measured in any way.
    pub(super) fn with(mut self, change: impl FnOnce(&mut Measurement)) -> Self {
        change(&mut self.measurement);
        self
    }

    /// As on a host with fences that take so long.
    pub(super) fn fenced_chains(mut self, cycles: u32) -> Self {
        self.pool.fenced_chains_cycles = cycles;
        self
    }

    pub(crate) fn cycles(mut self, samples: &[f64]) -> Self {
        self.measurement.cycles.isolated = samples.to_vec();
        self
    }

    pub(super) fn throughput(mut self, samples: &[f64]) -> Self {
        self.measurement.cycles.throughput = samples.to_vec();
        self
    }

    pub(crate) fn gate(mut self, gate: Gate) -> Self {
        self.measurement.cycles.gate = gate;
        self
    }

    /// A call counted whole: so many instructions, each of which loads four bytes and does two operations of 256 bits.
    pub(super) fn instructions(mut self, instructions: u64) -> Self {
        let each = |amount: u64| instructions.saturating_mul(amount);
        self.measurement.counts = Counting::Counted(Box::new(Counts {
            instructions,
            loads: instructions,
            load_bytes: each(4),
            single_flops: [0, 0, each(2), 0],
            ..Counts::default()
        }));
        self
    }

    /// An event of the kernel's own.
    pub(super) fn counted(self, name: &str, count: u64, calls: u64) -> Self {
        self.kernel_event(name, None).reading(count, calls)
    }

    /// One that this host does not count.
    pub(super) fn missing(self, name: &str, reason: &str) -> Self {
        self.kernel_event(name, Some(reason))
    }

    /// Checked, with this result.
    pub(super) fn examined(mut self, correctness: Correctness) -> Self {
        self.run.examined = Some(Examined { correctness, call_ticks: Vec::new(), took: Duration::ZERO });
        self
    }

    /// Measured for so many milliseconds, as the worker says.
    pub(super) fn phases_ms(mut self, ms: u64) -> Self {
        self.measurement.phases.measure_ns = ms * 1_000_000;
        self
    }

    /// A reading of an event that does not exist.
    pub(super) fn forged(mut self, event: u16) -> Self {
        let reading = CounterReading { event, count: 1, calls: 1, time_enabled: 1, time_running: 1 };
        self.measurement.counters.push(reading);
        self.measurement.events.passes.push(pass(&[(event, 1)], 35));
        self
    }

    /// Cycles as a hardware counter has them.
    pub(super) fn counted_cycles(mut self, samples: &[f64]) -> Self {
        self.measurement.cycles.counted = samples.to_vec();
        self
    }

    /// A pass of hardware events, each with its count for one call, in a function of so many instructions.
    pub(super) fn pass(mut self, events: &[(&str, u64)], instructions: u64) -> Self {
        let numbered: Vec<_> = events.iter().map(|(name, count)| (self.ask(name), *count)).collect();
        self.measurement.events.passes.push(pass(&numbered, instructions));
        self
    }

    /// Changes the last pass.
    pub(super) fn with_pass(mut self, change: impl FnOnce(&mut PassCounts)) -> Self {
        change(self.measurement.events.passes.last_mut().unwrap());
        self
    }

    /// A hardware event that the kernel did not open.
    pub(super) fn refused(mut self, name: &str, reason: OpenRefusal) -> Self {
        let event = self.ask(name);
        self.measurement.events.refused.push(RefusedEvent { event, reason });
        self
    }

    /// The number of an event that the job asks for.
    fn ask(&mut self, name: &str) -> u16 {
        let selection = self.call.events.get_or_insert_with(|| Selection {
            names: Vec::new(),
            set: Some(EventSet {
                cycles: EncodedEvent::anywhere(0, 0),
                instructions: EncodedEvent::anywhere(0, 1),
                events: Vec::new(),
            }),
        });
        selection.names.push(name.to_owned());
        u16::try_from(selection.names.len() - 1).unwrap()
    }

    fn kernel_event(mut self, name: &str, missing: Option<&str>) -> Self {
        let missing = missing.map(str::to_owned);
        self.pool.events.push(Event { name: name.to_owned(), unit: "1".into(), missing });
        self
    }

    fn reading(mut self, count: u64, calls: u64) -> Self {
        let event = u16::try_from(self.pool.events.len() - 1).unwrap();
        let reading = CounterReading { event, count, calls, time_enabled: 100, time_running: 100 };
        self.measurement.counters.push(reading);
        self
    }
}

/// A pass on honest counters: calling costs 37 cycles, 40 instructions, and 7 of any event.
fn pass(events: &[(u16, u64)], instructions: u64) -> PassCounts {
    let calls = BatchCalls { short_chain: 10, function: 20, long_chain: 5 };
    let count = |calling: u64, per_add: u64, function: u64| BatchCounts {
        nothing: 50,
        short_chain: 50 + calls.short_chain * (calling + 64 * per_add),
        function: 50 + calls.function * (calling + function),
        long_chain: 50 + calls.long_chain * (calling + 256 * per_add),
    };
    // The return is among the instructions of a function, and part of calling.
    let leading = [count(37, 1, 100), count(40, 1, instructions - 1)];
    PassCounts {
        events: events.iter().map(|(event, _)| *event).collect(),
        rounds: 3,
        calls,
        counts: leading.into_iter().chain(events.iter().map(|(_, each)| count(7, 0, *each))).collect(),
        ..PassCounts::default()
    }
}

fn measurement() -> Measurement {
    Measurement {
        cycles: CycleSamples {
            isolated: vec![10.0],
            gate: Gate::Clean,
            calls_per_round: 100,
            overhead_cycles: 29.1,
            empty_call_cycles: 9.9,
            ticks_per_cycle: 0.6,
            first_call_ticks: 5000,
            ..CycleSamples::default()
        },
        counts: Counting::Impossible(NotCountable::TooLong),
        ..Measurement::default()
    }
}
