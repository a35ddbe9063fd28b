//! The event tables: one for each family of CPUs, embedded as data.
//!
//! The file is ours and checked by the tests here; codes were checked against the vendors' as `docs/events.md` tells.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use webrunner_protocol::events::EncodedEvent;

/// Alias of the cycles of every pass, in every family.
pub const CYCLES: &str = "cycles";

/// Alias of the instructions of every pass, in every family.
pub const INSTRUCTIONS: &str = "instructions";

/// `PERF_TYPE_HARDWARE` of linux/perf_event.h.
pub(super) const HARDWARE: u32 = 0;

/// `PERF_TYPE_HW_CACHE`.
const CACHE: u32 = 3;

/// Every family.
static TABLES: LazyLock<Tables> = LazyLock::new(|| match toml::from_str(include_str!("events.toml")) {
    Ok(tables) => tables,
    // Embedded data: the tests below have read it.
    Err(error) => unreachable!("events.toml: {error}"),
});

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    #[serde(rename = "schema")]
    _schema: u32,
    families: BTreeMap<String, Family>,
}

/// A family of CPUs with the same events.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// Name for people.
    pub label: String,
    /// Where the codes are from.
    pub source: String,
    /// Kept from the program of 2015, not checked on hardware.
    #[serde(default)]
    pub legacy: bool,
    /// Vendor as `cpuid` tells it.
    pub vendor: String,
    /// Family, extended bits added in.
    pub family: u32,
    models: Vec<Models>,
    /// The kernel's name for the PMU of such a core.
    pub pmu: String,
    /// Programmable counters per thread with SMT on / off; for people.
    #[serde(rename = "gp")]
    pub general_counters: String,
    /// Fixed counters; for people.
    #[serde(rename = "fixed")]
    pub fixed_counters: u32,
    base: Option<String>,
    default: Vec<String>,
    events: BTreeMap<String, Row>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Models {
    One(u32),
    Range([u32; 2]),
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The vendor's name.
    #[serde(rename = "n")]
    pub name: String,
    #[serde(rename = "e", default)]
    select: u16,
    #[serde(rename = "u", default)]
    unit_mask: u8,
    #[serde(rename = "c", default)]
    counter_mask: u8,
    #[serde(rename = "i", default)]
    inverted: u8,
    #[serde(rename = "d", default)]
    edge: u8,
    #[serde(rename = "m", default)]
    counters: u16,
    #[serde(rename = "w", default = "one")]
    weight: u8,
    perf: Option<Generic>,
    #[serde(default)]
    config: u64,
}

/// A generic event of the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Generic {
    Hardware,
    Cache,
}

fn one() -> u8 {
    1
}

/// Fields of a raw event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fields {
    /// Event select; past 0xff on AMD only.
    pub select: u16,
    /// Unit mask.
    pub unit_mask: u8,
    /// Counter mask.
    pub counter_mask: u8,
    /// Inverted.
    pub inverted: bool,
    /// Edge.
    pub edge: bool,
}

impl Fields {
    /// `config` as perf has it for a PMU of x86.
    #[must_use]
    pub fn config(self) -> u64 {
        let select = u64::from(self.select);
        (select & 0xff)
            | u64::from(self.unit_mask) << 8
            | u64::from(self.edge) << 18
            | u64::from(self.inverted) << 23
            | u64::from(self.counter_mask) << 24
            | (select & 0xf00) << 24
    }
}

impl Row {
    /// The event on a core PMU of this type.
    #[must_use]
    pub fn encode(&self, kind: u32) -> EncodedEvent {
        let (kind, config) = match self.perf {
            Some(Generic::Hardware) => (HARDWARE, self.config),
            Some(Generic::Cache) => (CACHE, self.config),
            None => {
                let fields = Fields {
                    select: self.select,
                    unit_mask: self.unit_mask,
                    counter_mask: self.counter_mask,
                    inverted: self.inverted != 0,
                    edge: self.edge != 0,
                };
                (kind, fields.config())
            }
        };
        EncodedEvent { kind, config, counters: self.counters, weight: self.weight }
    }
}

impl Family {
    /// Whether it describes such a CPU.
    #[must_use]
    pub fn describes(&self, vendor: &str, family: u32, model: u32) -> bool {
        let has = |models: &Models| match *models {
            Models::One(known) => known == model,
            Models::Range([first, last]) => (first..=last).contains(&model),
        };
        self.vendor == vendor && self.family == family && self.models.iter().any(has)
    }

    fn base(&self) -> Option<&'static Self> {
        self.base.as_deref().and_then(|id| TABLES.families.get(id))
    }

    /// Every event, by alias.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &Row)> {
        let inherited = self.base().into_iter().flat_map(|base| &base.events);
        let inherited = inherited.filter(|(alias, _)| !self.events.contains_key(*alias));
        self.events.iter().chain(inherited).map(|(alias, row)| (alias.as_str(), row))
    }

    /// The event with this alias.
    #[must_use]
    pub fn row(&self, alias: &str) -> Option<&Row> {
        self.rows().find_map(|(known, row)| (known == alias).then_some(row))
    }

    /// Events of the usual set.
    pub fn default_rows(&self) -> impl Iterator<Item = &Row> {
        let inherited = self.base().into_iter().flat_map(|base| &base.default);
        inherited.chain(&self.default).filter_map(|alias| self.row(alias))
    }
}

/// Every family with its id.
pub fn families() -> impl Iterator<Item = (&'static str, &'static Family)> {
    TABLES.families.iter().map(|(id, family)| (id.as_str(), family))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use webrunner_protocol::limits::MAX_EVENTS;

    use super::*;

    fn family(id: &str) -> &'static Family {
        families().find(|(known, _)| *known == id).unwrap().1
    }

    fn config(id: &str, alias: &str) -> u64 {
        family(id).row(alias).unwrap().encode(4).config
    }

    #[test]
    fn every_family_counts_cycles_instructions_and_a_set_of_its_own() {
        let legacy = families().filter(|(_, family)| family.legacy).count();
        assert_eq!((families().count(), legacy), (19, 5));
        for (id, family) in families() {
            assert!(family.row(CYCLES).is_some(), "{id}");
            // The legacy tables of AMD have them under other names only; they are counted all the same.
            assert!(family.row(INSTRUCTIONS).is_some() || family.legacy, "{id}");
            let own = family.default.len() + family.base().map_or(0, |base| base.default.len());
            assert_eq!(family.default_rows().count(), own, "a default of {id} is in no table");
            assert!((1..=MAX_EVENTS).contains(&own), "{id}");
            assert!(family.base.is_none() || family.base().is_some(), "{id}");
            assert!(!family.source.is_empty() && !family.label.is_empty(), "{id}");
        }
    }

    #[test]
    fn names_and_aliases_are_told_apart_in_every_family() {
        for (id, family) in families() {
            let mut seen = HashSet::new();
            for (alias, row) in family.rows() {
                assert!(seen.insert(alias.to_lowercase()), "{id}: {alias}");
                let name = row.name.to_lowercase();
                assert!(name == alias || seen.insert(name), "{id}: {}", row.name);
                // Answers are lines of `Name: number`, requests lists with commas.
                assert!(!row.name.contains([':', ',', '/', ' ']), "{id}: {}", row.name);
            }
        }
    }

    #[test]
    fn codes_are_laid_out_as_perf_has_them() {
        assert_eq!(config("haswell", "uops_port_7"), 0x80a1);
        assert_eq!(config("haswell", "fp_assists"), 0x0100_1eca, "with a counter mask");
        assert_eq!(config("haswell", "machine_clears"), 0x0104_01c3, "with an edge");
        assert_eq!(config("bulldozer", "fp_scheduler_busy"), 0x0180_0001, "inverted");
        let beyond = Fields { select: 0x1c7, unit_mask: 2, ..Fields::default() };
        assert_eq!(beyond.config(), 0x1_0000_02c7, "event selects of AMD past 0xff");
        assert_eq!(family("generic").row("l1d_miss").unwrap().encode(4).kind, CACHE);
        assert_eq!(family("zen3").row("flops_mac").unwrap().encode(4).weight, 2);
    }

    /// The table of 2015 had these wrong.
    #[test]
    fn errors_of_the_old_table_are_not_repeated() {
        let unit_mask = |id: &str, alias: &str| config(id, alias) >> 8 & 0xff;
        assert_eq!(unit_mask("ivy_bridge", "fp_256_double"), 0x02);
        assert_eq!(config("broadwell", "fp_assists") >> 24, 1);
        for (id, wrong) in [("haswell", 0x24), ("broadwell", 0x18)] {
            for (_, row) in family(id).rows().filter(|(_, row)| row.name.contains("ALL_DSB_CYCLES_4")) {
                assert_ne!(u64::from(row.unit_mask), wrong, "{id}");
            }
        }
        for id in ["bulldozer", "steamroller", "bobcat"] {
            // Inverted without a counter mask it would count nothing else than without.
            assert_eq!(config(id, "fp_scheduler_busy") >> 24, 1, "{id}");
        }
        for (alias, row) in family("bonnell").rows().filter(|(_, row)| row.name.contains("SIMD_SAT")) {
            assert_eq!(row.select, 0xcf, "{alias}");
        }
    }

    #[test]
    fn the_old_pages_plots_are_drawn_from_the_usual_set() {
        let names =
            |id: &str| -> HashSet<&str> { family(id).default_rows().map(|row| row.name.as_str()).collect() };
        let sources = [
            "IDQ.MITE_UOPS",
            "IDQ.DSB_UOPS",
            "IDQ.MS_UOPS",
            "IDQ.MS_DSB_UOPS",
            "IDQ.MS_MITE_UOPS",
            "LSD.UOPS",
        ];
        for (id, ports) in [("ivy_bridge", 0..6), ("haswell", 0..8), ("broadwell", 0..8)] {
            let names = names(id);
            assert!(sources.iter().all(|name| names.contains(name)), "{id}: {names:?}");
            let has =
                |set: &str| ports.clone().all(|port| names.contains(format!("{set}.PORT_{port}").as_str()));
            assert!(has("UOPS_DISPATCHED_PORT") || has("UOPS_EXECUTED_PORT"), "{id}: {names:?}");
        }
        for (id, pipes) in [("bulldozer", 0..4), ("steamroller", 0..3), ("bobcat", 0..2)] {
            let names = names(id);
            let mut pipes = pipes.map(|pipe| format!("DISPATCHED_FPU_OPS.PIPE_{pipe}"));
            assert!(pipes.all(|name| names.contains(name.as_str())), "{id}: {names:?}");
        }
    }

    #[test]
    fn families_that_inherit_have_their_bases_events_and_defaults() {
        assert!(family("sapphire_rapids").row("uops_mite").is_some());
        assert!(family("skylake_x").default_rows().count() > family("skylake").default_rows().count());
    }
}
