//! Small made-up measurements for the tests of this folder.

use std::sync::LazyLock;
use std::time::Duration;

use webrunner_kernels::Catalogue;
use webrunner_protocol::control::{Event, EventSource, Layer};
use webrunner_protocol::counts::{Counting, Counts, NotCountable};
use webrunner_protocol::ids::CoreId;
use webrunner_protocol::reply::{
    CounterReading, CycleSamples, EntryPoint, Findings, Gate, Measurement, Outputs, Phases, Returned,
};

use super::{Report, Run};
use crate::check::{Correctness, Examined};
use crate::machine::Machine;
use crate::pool;
use crate::request::{Call, RunRequest};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::builtin().unwrap());
static MACHINE: LazyLock<Machine> = LazyLock::new(|| Machine::gather(0));

/// A measured `blis.sdot`, to be changed by each test.
pub(super) struct Sample {
    call: Call<'static>,
    pool: pool::Facts,
    measurement: Measurement,
    run: Run,
}

impl Sample {
    pub(super) fn new() -> Self {
        let request = RunRequest::from_query("kernel=blis.sdot&n=1024").unwrap();
        let layers = vec![
            Layer { name: "seccomp".into(), missing: None },
            Layer { name: "landlock".into(), missing: Some("the kernel lacks it".into()) },
        ];
        Self {
            call: request.resolve(&CATALOGUE).unwrap(),
            pool: pool::Facts {
                cores: vec![CoreId(1)],
                quick_cores: Vec::new(),
                ticks_per_ms: 2_000_000,
                layers,
                events: Vec::new(),
            },
            measurement: measurement(),
            run: Run {
                core: CoreId(1),
                queued: Duration::from_micros(3),
                ran: Duration::from_micros(900),
                exit: None,
                examined: None,
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

    pub(super) fn cycles(mut self, samples: &[f64]) -> Self {
        self.measurement.cycles.isolated = samples.to_vec();
        self
    }

    pub(super) fn throughput(mut self, samples: &[f64]) -> Self {
        self.measurement.cycles.throughput = samples.to_vec();
        self
    }

    pub(super) fn gate(mut self, gate: Gate) -> Self {
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

    pub(super) fn counted(self, name: &str, count: u64, calls: u64) -> Self {
        self.event(name, None).reading(count, calls, 100)
    }

    /// Counted for half of the time.
    pub(super) fn shared(self, name: &str, count: u64, calls: u64) -> Self {
        self.event(name, None).reading(count, calls, 50)
    }

    pub(super) fn missing(self, name: &str, reason: &str) -> Self {
        self.event(name, Some(reason))
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
        self
    }

    fn event(mut self, name: &str, missing: Option<&str>) -> Self {
        let missing = missing.map(str::to_owned);
        // Lower case is how the kernel's own events are written.
        let source =
            if name.starts_with(char::is_lowercase) { EventSource::Kernel } else { EventSource::Pmu };
        self.pool.events.push(Event { name: name.to_owned(), unit: "1".into(), source, missing });
        self
    }

    fn reading(mut self, count: u64, calls: u64, time_running: u64) -> Self {
        let event = u16::try_from(self.pool.events.len() - 1).unwrap();
        let reading = CounterReading { event, count, calls, time_enabled: 100, time_running };
        self.measurement.counters.push(reading);
        self
    }
}

fn measurement() -> Measurement {
    Measurement {
        entry: EntryPoint { symbol: None, offset: 0 },
        returned: Returned { integer: 0, vector: 0 },
        cycles: CycleSamples {
            isolated: vec![10.0],
            throughput: Vec::new(),
            gate: Gate::Clean,
            dropped: 0,
            calls_per_round: 100,
            overhead_cycles: 29.1,
            empty_call_cycles: 9.9,
            ticks_per_cycle: 0.6,
            first_call_ticks: 5000,
        },
        counters: Vec::new(),
        counts: Counting::Impossible(NotCountable::TooLong),
        findings: Findings::default(),
        phases: Phases::default(),
        outputs: Outputs::NotAsked,
    }
}
