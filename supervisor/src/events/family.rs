//! Which table describes a core, and which PMU counts on it.
//!
//! Recognised by vendor, family and model. Where the CPU has two kinds of core, the kernel has a PMU for each and lists
//! their cores; which of two tables of the same model applies is told by the name of the core's PMU.

use std::fs;
use std::path::Path;

use raw_cpuid::CpuId;
use webrunner_protocol::ids::CoreId;

use super::table::{self, Family};
use crate::cores;

/// Where the kernel lists its PMUs.
const DEVICES: &str = "/sys/bus/event_source/devices";

/// PMUs of a CPU with two kinds of core.
const HYBRID: [&str; 2] = ["cpu_core", "cpu_atom"];

/// The PMU of every other CPU.
const PLAIN: &str = "cpu";

/// Id of the family for CPUs that no table describes.
pub const GENERIC: &str = "generic";

/// A CPU, as `cpuid` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuModel {
    /// Vendor.
    pub vendor: String,
    /// Family, extended bits added in.
    pub family: u32,
    /// Model, extended bits added in.
    pub model: u32,
}

impl CpuModel {
    /// This machine's; empty where the CPU does not tell, which no table describes.
    #[must_use]
    pub fn read() -> Self {
        let cpuid = CpuId::new();
        let info = cpuid.get_feature_info();
        Self {
            vendor: cpuid.get_vendor_info().map(|vendor| vendor.as_str().to_owned()).unwrap_or_default(),
            family: info.as_ref().map_or(0, |info| info.family_id().into()),
            model: info.as_ref().map_or(0, |info| info.model_id().into()),
        }
    }

    /// Whether its event selects have twelve bits.
    #[must_use]
    pub fn has_wide_selects(&self) -> bool {
        ["AuthenticAMD", "HygonGenuine"].contains(&self.vendor.as_str())
    }

    /// The table for a core with a PMU of this name, or the generic one.
    #[must_use]
    pub fn table(&self, pmu: &str) -> (&'static str, &'static Family) {
        let describing = || {
            table::families().filter(|(_, family)| family.describes(&self.vendor, self.family, self.model))
        };
        // A CPU of a hybrid model with one kind of core only calls its PMU `cpu`; tables of big cores come first.
        let named = describing().find(|(_, family)| family.pmu == pmu);
        let big_first = || describing().max_by_key(|(_, family)| family.pmu == HYBRID[0]);
        named.or_else(big_first).unwrap_or_else(generic)
    }
}

fn generic() -> (&'static str, &'static Family) {
    match table::families().find(|(id, _)| *id == GENERIC) {
        Some(found) => found,
        // Embedded data, held by a test.
        None => unreachable!("events.toml has a generic family"),
    }
}

/// The PMU of a core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorePmu {
    /// The kernel's name for it.
    pub name: String,
    /// `perf_event_attr.type` of its raw events.
    pub kind: u32,
}

impl CorePmu {
    /// Whether it is one of two.
    #[must_use]
    pub fn is_hybrid(&self) -> bool {
        self.name != PLAIN
    }

    /// The PMU of a core on this host; `None` if it has none.
    #[must_use]
    pub fn of(core: CoreId) -> Option<Self> {
        Self::below(Path::new(DEVICES), core)
    }

    fn below(devices: &Path, core: CoreId) -> Option<Self> {
        let read = |name: &str, file: &str| fs::read_to_string(devices.join(name).join(file)).ok();
        let kind = |name: &str| read(name, "type")?.trim().parse().ok();
        let counts_on_core = |name: &&&str| {
            read(name, "cpus")
                .and_then(|list| cores::parse(list.trim()).ok())
                .is_some_and(|c| c.contains(&core))
        };
        let name = HYBRID.iter().find(counts_on_core).copied().unwrap_or(PLAIN);
        Some(Self { name: name.to_owned(), kind: kind(name)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(vendor: &str, family: u32, model: u32, pmu: &str) -> &'static str {
        CpuModel { vendor: vendor.into(), family, model }.table(pmu).0
    }

    #[test]
    fn cpus_are_recognised_by_vendor_family_and_model() {
        for (vendor, family, model, expected) in [
            ("GenuineIntel", 6, 0x3a, "ivy_bridge"),
            ("GenuineIntel", 6, 0x3f, "haswell"),
            ("GenuineIntel", 6, 0x4f, "broadwell"),
            ("GenuineIntel", 6, 0x9e, "skylake"),
            ("GenuineIntel", 6, 0x55, "skylake_x"),
            ("GenuineIntel", 6, 0x6a, "ice_lake"),
            ("GenuineIntel", 6, 0x8f, "sapphire_rapids"),
            ("GenuineIntel", 6, 0xbe, "gracemont"),
            ("GenuineIntel", 6, 0x1c, "bonnell"),
            ("AuthenticAMD", 0x14, 0x01, "bobcat"),
            ("AuthenticAMD", 0x15, 0x02, "bulldozer"),
            ("AuthenticAMD", 0x15, 0x30, "steamroller"),
            ("AuthenticAMD", 0x17, 0x08, "zen1"),
            ("AuthenticAMD", 0x17, 0x71, "zen2"),
            ("AuthenticAMD", 0x19, 0x01, "zen3"),
            ("AuthenticAMD", 0x19, 0x61, "zen4"),
            ("AuthenticAMD", 0x1a, 0x02, "zen5"),
        ] {
            assert_eq!(table(vendor, family, model, PLAIN), expected);
        }
    }

    #[test]
    fn a_cpu_in_no_table_has_the_kernels_generic_events() {
        assert_eq!(table("AuthenticAMD", 0x1a, 0x50, PLAIN), GENERIC, "Zen 6");
        assert_eq!(table("GenuineIntel", 6, 0, PLAIN), GENERIC);
        assert_eq!(table("AMDisbetter!", 0x19, 1, PLAIN), GENERIC);
        assert_eq!(table("", 0, 0, PLAIN), GENERIC);
    }

    #[test]
    fn of_two_kinds_of_core_each_has_its_table() {
        assert_eq!(table("GenuineIntel", 6, 0x97, "cpu_core"), "golden_cove");
        assert_eq!(table("GenuineIntel", 6, 0x97, "cpu_atom"), "gracemont");
        assert_eq!(table("GenuineIntel", 6, 0x97, PLAIN), "golden_cove", "with its small cores switched off");
    }

    #[test]
    fn a_cores_pmu_is_the_one_that_lists_it() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, kind: &str, cpus: Option<&str>| {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("type"), kind).unwrap();
            if let Some(cpus) = cpus {
                fs::write(folder.path().join(name).join("cpus"), cpus).unwrap();
            }
        };
        assert_eq!(CorePmu::below(folder.path(), CoreId(0)), None);
        make("cpu_core", "4\n", Some("0-15\n"));
        make("cpu_atom", "10\n", Some("16-23\n"));
        let pmu = |core| CorePmu::below(folder.path(), CoreId(core)).map(|pmu| (pmu.name, pmu.kind));
        assert_eq!(pmu(3), Some(("cpu_core".into(), 4)));
        assert_eq!(pmu(16), Some(("cpu_atom".into(), 10)));
        assert_eq!(pmu(99), None);
        make("cpu", "4\n", None);
        assert_eq!(pmu(99), Some(("cpu".into(), 4)));
    }
}
