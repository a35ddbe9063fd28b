//! The cores of this machine, by what can be counted on them.
//!
//! Most machines have one kind. Where there are two, each has its table and its PMU, and a job that asks for events of its
//! own runs on cores of the first kind: the kind of the first core that jobs are measured on.

use serde_json::{Value, json};
use webrunner_protocol::events::{EncodedEvent, EventSet, PassPlan};
use webrunner_protocol::ids::CoreId;

use super::Selection;
use super::family::{CorePmu, CpuModel};
use super::select::{self, SelectError};
use super::table::{Family, HARDWARE};

/// `PERF_TYPE_RAW` of linux/perf_event.h, for a core whose PMU is not known.
const RAW: u32 = 4;

/// `PERF_COUNT_HW_CPU_CYCLES`, `PERF_COUNT_HW_INSTRUCTIONS`.
const LEADERS: [u64; 2] = [0, 1];

/// One kind of core.
#[derive(Debug, Clone)]
pub struct CoreKind {
    /// Cores of this kind that jobs run on.
    pub cores: Vec<CoreId>,
    /// Id of its table.
    pub table_id: &'static str,
    /// Its table.
    pub table: &'static Family,
    /// Whether event selects have twelve bits.
    pub wide_selects: bool,
    /// What is counted for every job that asks for nothing else.
    pub usual: Selection,
    pmu: Option<CorePmu>,
}

impl CoreKind {
    /// What can be counted on such a core of such a CPU.
    #[must_use]
    pub fn new(cpu: &CpuModel, pmu: Option<CorePmu>) -> Self {
        let (table_id, table) = cpu.table(pmu.as_ref().map_or("", |pmu| &pmu.name));
        let mut kind = Self {
            cores: Vec::new(),
            table_id,
            table,
            wide_selects: cpu.has_wide_selects(),
            usual: Selection::default(),
            pmu,
        };
        let rows = || table.default_rows();
        let events = rows().map(|row| row.encode(kind.pmu_kind())).collect();
        kind.usual = Selection { names: rows().map(|row| row.name.clone()).collect(), set: kind.set(events) };
        kind
    }

    /// The kernel's name for its PMU, or what it would be.
    pub(super) fn pmu_name(&self) -> &str {
        self.pmu.as_ref().map_or(&self.table.pmu, |pmu| &pmu.name)
    }

    /// The type of its raw events.
    pub(super) fn pmu_kind(&self) -> u32 {
        self.pmu.as_ref().map_or(RAW, |pmu| pmu.kind)
    }

    /// A set of these events with cycles and instructions; `None` without a PMU.
    pub(super) fn set(&self, events: Vec<EncodedEvent>) -> Option<EventSet> {
        let pmu = self.pmu.as_ref()?;
        // Of two PMUs the one meant stands in the high half.
        let high = if pmu.is_hybrid() { u64::from(pmu.kind) << 32 } else { 0 };
        let [cycles, instructions] = LEADERS.map(|config| EncodedEvent::anywhere(HARDWARE, high | config));
        Some(EventSet { cycles, instructions, events })
    }

    fn describe(&self, plan: Option<&PassPlan>) -> Value {
        let name = |event: &u16| self.usual.names.get(usize::from(*event)).map(String::as_str);
        let passes: Vec<Vec<&str>> = plan
            .iter()
            .flat_map(|plan| &plan.passes)
            .map(|pass| pass.iter().filter_map(name).collect())
            .collect();
        let refused = plan.iter().flat_map(|plan| &plan.refused).filter_map(|refused| {
            Some(json!({ "name": name(&refused.event)?, "reason": refused.reason.to_string() }))
        });
        json!({
            "cores": self.cores.iter().map(|core| core.0).collect::<Vec<_>>(),
            "pmu": self.pmu.as_ref().map(|pmu| &pmu.name),
            "table": {
                "id": self.table_id,
                "label": self.table.label,
                "source": self.table.source,
                "legacy": self.table.legacy,
                "general_counters": self.table.general_counters,
                "fixed_counters": self.table.fixed_counters,
                "events": self.table.rows().map(|(alias, row)| (alias, row.name.as_str())).collect::<std::collections::BTreeMap<_, _>>(),
            },
            "usual": self.usual.names,
            "passes": passes,
            "refused": refused.collect::<Vec<_>>(),
        })
    }
}

/// What can be counted on the cores of this machine.
#[derive(Debug, Clone, Default)]
pub struct HostEvents {
    kinds: Vec<CoreKind>,
}

impl HostEvents {
    /// Looks at the cores that jobs run on, those that take every job first.
    #[must_use]
    pub fn gather(cpu: &CpuModel, cores: impl IntoIterator<Item = CoreId>) -> Self {
        let mut host = Self::default();
        for core in cores {
            let pmu = CorePmu::of(core);
            match host.kinds.iter_mut().find(|kind| kind.pmu == pmu) {
                Some(kind) => kind.cores.push(core),
                None => host.kinds.push(CoreKind { cores: vec![core], ..CoreKind::new(cpu, pmu) }),
            }
        }
        host
    }

    /// With one kind of core, which counts this set for every job.
    #[must_use]
    pub fn with_usual(mut kind: CoreKind, cores: Vec<CoreId>, usual: Selection) -> Self {
        (kind.cores, kind.usual) = (cores, usual);
        Self { kinds: vec![kind] }
    }

    fn kind_of(&self, core: CoreId) -> Option<&CoreKind> {
        self.kinds.iter().find(|kind| kind.cores.contains(&core))
    }

    /// What a core counts for every job that asks for nothing else.
    #[must_use]
    pub fn usual(&self, core: CoreId) -> Option<&Selection> {
        self.kind_of(core).map(|kind| &kind.usual)
    }

    /// The cores that a job with events of its own may run on.
    #[must_use]
    pub fn cores_for_chosen(&self) -> &[CoreId] {
        self.kinds.first().map_or(&[], |kind| &kind.cores)
    }

    /// Reads `_events=`.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn select(&self, list: &str) -> Result<Selection, SelectError> {
        match self.kinds.first() {
            Some(kind) => select::select(list, kind),
            None => Ok(Selection::default()),
        }
    }

    /// What `GET /machine` says of it; `plan` tells how a core's zygote counts its set.
    #[must_use]
    pub fn describe<'a>(&self, plan: impl Fn(CoreId) -> Option<&'a PassPlan>) -> Value {
        let describe = |kind: &CoreKind| kind.describe(kind.cores.first().and_then(|core| plan(*core)));
        self.kinds.iter().map(describe).collect()
    }
}
