//! What measurement this host offers: counters, clock, cores, memory, limits.
//!
//! Cycles are measured everywhere by chains of known length (`docs/measurement.md`), so what a virtual machine hides is
//! stated and costs nothing; what a command could improve counts.

use std::net::TcpListener;

use rustix::process::{Resource, getrlimit};
use webrunner_protocol::ids::CoreId;

use super::{Finding, elsewhere, here};
use crate::machine::Machine;
use crate::machine::host::line;
use crate::pool::{Facts, PoolConfig};
use crate::settings::DEFAULT_ADDRESS;
use crate::{cores, descriptors};

/// Connections a service takes at a time unless told otherwise.
const CONNECTIONS: u64 = 256;

/// What users without privileges may count; not there on a kernel without perf events.
const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";

pub(super) fn examine(machine: &Machine, config: &PoolConfig, facts: Option<&Facts>) -> Vec<Finding> {
    let mut findings = vec![pmu(machine), perf_event_paranoid(), nmi_watchdog(machine)];
    findings.extend(facts.map(counters));
    findings.extend([
        tsc(machine),
        clocksource(machine.fact("clocksource").as_str()),
        measuring_cores(config),
        smt(&config.cores),
        governor(machine),
        boost(),
        huge_pages(),
        hypervisor(machine),
        microcode(machine),
        open_files(config),
        port(),
    ]);
    findings
}

fn pmu(machine: &Machine) -> Finding {
    match machine.no_counters {
        None => Finding::ok("pmu", "the kernel has a driver for hardware counters"),
        Some(reason) => Finding::missing(
            "pmu",
            reason,
            elsewhere(
                "bare metal, or a virtual machine with a virtual PMU; cycles and instructions are had without",
            ),
        ),
    }
}

fn perf_event_paranoid() -> Finding {
    const NAME: &str = "perf_event_paranoid";
    match line(PARANOID).map(|text| text.parse::<i64>()) {
        Ok(Ok(level)) if level <= 2 => {
            Finding::ok(NAME, format!("{level}: workers may count their own events"))
        }
        Ok(Ok(level)) => Finding::missing(
            NAME,
            format!("{level}: ordinary users may count nothing"),
            here("sysctl -w kernel.perf_event_paranoid=2"),
        ),
        _ => Finding::missing(
            NAME,
            "the kernel has no perf events",
            elsewhere("a kernel with CONFIG_PERF_EVENTS"),
        ),
    }
}

fn nmi_watchdog(machine: &Machine) -> Finding {
    const NAME: &str = "nmi_watchdog";
    let on = line("/proc/sys/kernel/nmi_watchdog").is_ok_and(|value| value != "0");
    if on && machine.no_counters.is_none() {
        let reason = "it holds one hardware counter of every core";
        Finding::degraded(NAME, reason, here("sysctl -w kernel.nmi_watchdog=0"))
    } else if on {
        Finding::ok(NAME, "on, but there are no hardware counters for it to take")
    } else {
        Finding::ok(NAME, "takes no hardware counter")
    }
}

/// What a zygote found when it tried the kernel's own events, which take no hardware counter: a kernel that has them counts
/// them for whoever may ask.
fn counters(facts: &Facts) -> Finding {
    let missing: Vec<_> = facts.events.iter().filter(|event| event.missing.is_some()).collect();
    let counted = facts.events.len() - missing.len();
    let reason = match missing.first() {
        None => return Finding::ok("counters", format!("all {counted} events can be counted")),
        Some(event) => {
            let why = event.missing.as_deref().unwrap_or_default();
            format!("{counted} events can be counted, {} cannot; {}: {why}", missing.len(), event.name)
        }
    };
    let remedy = if line(PARANOID).is_ok() {
        here("as the reason says, for perf_event_open; what is absent is named in each answer")
    } else {
        elsewhere("as for perf_event_paranoid; what is absent is named in each answer")
    };
    Finding::degraded("counters", reason, remedy)
}

fn tsc(machine: &Machine) -> Finding {
    let tsc = machine.fact("tsc");
    if tsc["constant"] == true && tsc["nonstop"] == true {
        Finding::ok("tsc", "its rate is constant and it never stops")
    } else {
        let reason =
            "the CPU does not promise a constant rate: its length of a cycle is measured in each round";
        Finding::degraded("tsc", reason, elsewhere("a CPU with constant_tsc and nonstop_tsc"))
    }
}

fn clocksource(name: Option<&str>) -> Finding {
    const NAME: &str = "clocksource";
    match name {
        Some(name @ ("tsc" | "kvm-clock" | "hyperv_clocksource_tsc_page")) => {
            Finding::ok(NAME, format!("{name}, which is read from the time stamp counter"))
        }
        Some(name) => Finding::degraded(
            NAME,
            format!("{name}: the kernel does not trust the time stamp counter, and each reading is slow"),
            here("see `dmesg | grep -i tsc`; if the machine is sound, boot with tsc=reliable"),
        ),
        None => Finding::degraded(NAME, "it cannot be read", here("mount /sys")),
    }
}

fn measuring_cores(config: &PoolConfig) -> Finding {
    let cores = cores::list(&config.cores);
    let others = cores::allowed().unwrap_or_default().iter().any(|core| !config.cores.contains(core));
    if others {
        return Finding::ok(
            "cores",
            format!(
                "jobs are measured on {cores}, the rest is left to the supervisor; where no cores are named, one of these takes \
                 quick jobs too"
            ),
        );
    }
    let reason = format!("jobs are measured on {cores}, and the supervisor has no core of its own");
    Finding::degraded("cores", reason, elsewhere("one core more, or fewer in --cores"))
}

fn smt(measuring: &[CoreId]) -> Finding {
    let shared = measuring.iter().find_map(|&core| {
        let others: Vec<_> = cores::siblings(core).into_iter().filter(|other| *other != core).collect();
        (!others.is_empty())
            .then(|| format!("core {core} shares its physical core with {}", cores::list(&others)))
    });
    match shared {
        None => Finding::ok("smt", "no measuring core has a sibling thread that this system runs"),
        Some(reason) => {
            Finding::degraded("smt", reason, here("echo off > /sys/devices/system/cpu/smt/control"))
        }
    }
}

fn governor(machine: &Machine) -> Finding {
    match machine.fact("governor").as_str() {
        Some("performance") => Finding::ok("governor", "performance"),
        Some(name) => Finding::degraded(
            "governor",
            format!("{name}: the clock changes with the load"),
            here("cpupower frequency-set -g performance"),
        ),
        None => Finding::missing(
            "governor",
            unknown(machine, "governor"),
            elsewhere("nothing: the length of a cycle is measured in each round"),
        ),
    }
}

/// Two drivers have two switches that mean the opposite of each other.
fn boost() -> Finding {
    let switches = [
        ("/sys/devices/system/cpu/cpufreq/boost", "1", "echo 0 > /sys/devices/system/cpu/cpufreq/boost"),
        (
            "/sys/devices/system/cpu/intel_pstate/no_turbo",
            "0",
            "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo",
        ),
    ];
    let found = switches.into_iter().find_map(|(file, on, off)| Some((line(file).ok()?, on, off)));
    match found {
        Some((value, on, off)) if value == on => Finding::degraded(
            "boost",
            "the clock rises when neighbours are idle: memory takes more cycles then",
            here(off),
        ),
        Some(_) => Finding::ok("boost", "off"),
        None => Finding::missing(
            "boost",
            "the kernel has no switch for it",
            elsewhere("nothing: as for governor"),
        ),
    }
}

fn huge_pages() -> Finding {
    const NAME: &str = "huge_pages";
    let setting = line("/sys/kernel/mm/transparent_hugepage/enabled");
    let chosen = setting.ok().and_then(|text| Some(text.split_once('[')?.1.split_once(']')?.0.to_owned()));
    match chosen.as_deref() {
        Some(chosen @ ("always" | "madvise")) => {
            Finding::ok(NAME, format!("{chosen}: given where asked for"))
        }
        Some(chosen) => Finding::degraded(
            NAME,
            format!("{chosen}: large images and buffers take more faults"),
            here("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"),
        ),
        None => Finding::missing(
            NAME,
            "the kernel has no transparent huge pages",
            elsewhere("a kernel with CONFIG_TRANSPARENT_HUGEPAGE"),
        ),
    }
}

fn hypervisor(machine: &Machine) -> Finding {
    match machine.fact("hypervisor").as_str() {
        None => Finding::ok("hypervisor", "none reports itself"),
        Some(name) => Finding::degraded(
            "hypervisor",
            format!("{name}: neighbours that cannot be seen from here take time and caches"),
            elsewhere("bare metal, or a machine of one's own; disturbed rounds are left out either way"),
        ),
    }
}

fn microcode(machine: &Machine) -> Finding {
    match machine.fact("microcode").as_str() {
        Some(revision) => Finding::ok("microcode", revision),
        None => Finding::missing(
            "microcode",
            unknown(machine, "microcode"),
            elsewhere("a hypervisor that tells it"),
        ),
    }
}

/// Against the hard limit: the service raises its own as far as that.
fn open_files(config: &PoolConfig) -> Finding {
    let needed = descriptors::needed(CONNECTIONS, (config.cores.len() + config.quick_cores.len()) as u64);
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let reason = format!("{limit} allowed, {needed} needed for {CONNECTIONS} connections");
    if limit >= needed {
        return Finding::ok("open_files", reason);
    }
    let remedy = here(format!("LimitNOFILE={needed} in the unit, or `ulimit -Hn {needed}`"));
    Finding::degraded("open_files", reason, remedy)
}

fn port() -> Finding {
    match TcpListener::bind(DEFAULT_ADDRESS) {
        Ok(_) => Finding::ok("port", format!("{DEFAULT_ADDRESS} is free")),
        Err(error) => Finding::degraded(
            "port",
            format!("{DEFAULT_ADDRESS} cannot be listened on: {error}"),
            elsewhere("if it is not a WebRunner already, choose another with --port"),
        ),
    }
}

/// Why a fact is not known.
fn unknown(machine: &Machine, fact: &str) -> String {
    machine.fact("unknown")[fact].as_str().unwrap_or("not known").to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn clocks_that_are_not_the_counter_are_doubted() {
        assert_eq!(clocksource(Some("tsc")).state, State::Ok);
        assert_eq!(clocksource(Some("hpet")).state, State::Degraded);
        assert!(clocksource(Some("hpet")).can_be_mended_here());
    }

    #[test]
    fn every_finding_that_is_not_ok_has_a_remedy_and_no_other_has() {
        let machine = Machine::gather(0);
        for finding in [pmu(&machine), perf_event_paranoid(), nmi_watchdog(&machine), tsc(&machine), boost()]
            .into_iter()
            .chain([governor(&machine), huge_pages(), hypervisor(&machine), microcode(&machine), port()])
        {
            assert_eq!(finding.state == State::Ok, finding.remedy.is_none(), "{finding:?}");
            assert!(!finding.reason.is_empty());
        }
    }
}
