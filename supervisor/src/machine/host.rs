//! Facts that `/proc` and `/sys` tell about this host.
//!
//! A file that is not there or cannot be read makes the fact unknown, with that as the reason. Nothing is guessed, and
//! nothing here is read after the start.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// A fact, or why it is not known.
pub type Fact = Result<Value, String>;

/// Longest value taken from a file, in characters.
const MAX_CHARS: usize = 512;

const CPU: &str = "/sys/devices/system/cpu";

/// First line of a small file.
pub(crate) fn line(path: impl AsRef<Path>) -> Result<String, String> {
    let path = path.as_ref();
    let text =
        fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().trim().chars().take(MAX_CHARS).collect())
}

fn text(path: impl AsRef<Path>) -> Fact {
    line(path).map(Value::from)
}

/// Value of `key: value` in the first block of a file such as `/proc/cpuinfo`.
fn keyed(path: &str, key: &str) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let value = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().to_owned());
    value.ok_or_else(|| format!("{path} has no line {key}"))
}

/// Words of the `flags` line of `/proc/cpuinfo`.
pub(super) fn cpu_flags() -> Result<String, String> {
    keyed("/proc/cpuinfo", "flags")
}

/// `model name` of `/proc/cpuinfo`.
pub(super) fn cpu_model() -> Result<String, String> {
    keyed("/proc/cpuinfo", "model name")
}

pub(super) fn microcode() -> Fact {
    keyed("/proc/cpuinfo", "microcode").map(Value::from)
}

pub(super) fn kernel() -> Fact {
    text("/proc/sys/kernel/osrelease")
}

/// Whether several threads share a physical core.
pub(super) fn smt() -> Fact {
    Ok(Value::from(line(format!("{CPU}/smt/active"))? == "1"))
}

pub(super) fn governor(core: u32) -> Fact {
    let path = format!("{CPU}/cpu{core}/cpufreq/scaling_governor");
    if Path::new(&path).exists() {
        text(path)
    } else {
        Err("the kernel does not control the clock here, as in most virtual machines".into())
    }
}

pub(super) fn clocksource() -> Fact {
    text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
}

pub(super) fn perf_event_paranoid() -> Fact {
    Ok(line("/proc/sys/kernel/perf_event_paranoid")?
        .parse::<i64>()
        .map_err(|error| error.to_string())?
        .into())
}

/// Whether the kernel keeps a counter for itself, to notice cores that hang.
pub(super) fn nmi_watchdog() -> Fact {
    Ok(Value::from(line("/proc/sys/kernel/nmi_watchdog")? == "1"))
}

/// As this process has it; workers inherit it unless the kernel is older than 5.16, which forces it on under seccomp.
pub(super) fn speculation_store_bypass() -> Fact {
    keyed("/proc/self/status", "Speculation_Store_Bypass").map(Value::from)
}

/// Vulnerabilities this CPU has, with what is done about each: mitigations change timings.
pub(super) fn mitigations() -> Fact {
    let path = format!("{CPU}/vulnerabilities");
    let entries = fs::read_dir(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let mut found = BTreeMap::new();
    for entry in entries.flatten() {
        if let Ok(state) = line(entry.path())
            && state != "Not affected"
        {
            found.insert(entry.file_name().to_string_lossy().into_owned(), state);
        }
    }
    Ok(found.into_iter().collect())
}

/// Why there are no hardware counters; `None` if the kernel has a driver for them.
#[must_use]
pub fn missing_hardware_counters() -> Option<&'static str> {
    let pmus = ["cpu", "cpu_core", "cpu_atom"];
    let present = pmus.iter().any(|pmu| Path::new("/sys/bus/event_source/devices").join(pmu).exists());
    (!present).then_some("this host has no hardware counters, as is usual in virtual machines")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_there_are_a_reason() {
        let reason = text("/proc/no/such/file").unwrap_err();
        assert!(reason.starts_with("cannot read /proc/no/such/file"), "{reason}");
    }

    #[test]
    fn keys_that_are_not_there_are_a_reason() {
        assert!(keyed("/proc/self/status", "Name").is_ok());
        assert_eq!(keyed("/proc/self/status", "Nam").unwrap_err(), "/proc/self/status has no line Nam");
    }
}
