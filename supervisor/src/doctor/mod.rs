//! `webrunner doctor`: what isolation and measurement this host offers, what keeps it from more, and what to do.
//!
//! Every line is a [`Finding`]: its state, the reason, and for what is not as it should be a [`Remedy`]. A remedy that
//! can be applied on this host counts against it; one that cannot, such as another hypervisor, does not, unless the
//! caller requires that line. Findings are facts that were read or tried here; nothing is changed.
//!
//! # Layout
//!
//! - [`isolation`]: the layers a zygote put in force here, and what decides about them.
//! - [`host`]: counters, clock, cores, memory, limits.
//! - [`acceptance`]: `--measure`: functions of known length, measured as a client's would be, against their bounds.
//! - [`report`]: all of it as text and as JSON.

pub mod acceptance;
mod host;
mod isolation;
pub mod report;

use crate::machine::Machine;
use crate::pool::{Facts, LaunchError, PoolConfig};

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Ok,
    /// There, but less than it could be.
    Degraded,
    /// Not there.
    Missing,
}

impl State {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }
}

/// What to do about something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// A command or setting for this host.
    Here(String),
    /// Nothing can be done on this host; what another would need, or how to live without.
    Elsewhere(String),
}

impl Remedy {
    /// What to do, in words.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Here(text) | Self::Elsewhere(text) => text,
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Short name; `--require` takes it.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub reason: String,
    /// What to do; there is one exactly if the state is not ok.
    pub remedy: Option<Remedy>,
}

impl Finding {
    fn ok(name: &str, reason: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ok, reason: reason.into(), remedy: None }
    }

    fn degraded(name: &str, reason: impl Into<String>, remedy: Remedy) -> Self {
        Self { name: name.into(), state: State::Degraded, reason: reason.into(), remedy: Some(remedy) }
    }

    fn missing(name: &str, reason: impl Into<String>, remedy: Remedy) -> Self {
        Self { name: name.into(), state: State::Missing, reason: reason.into(), remedy: Some(remedy) }
    }

    /// Whether something can be done about it on this host.
    #[must_use]
    pub fn can_be_mended_here(&self) -> bool {
        matches!(self.remedy, Some(Remedy::Here(_)))
    }
}

fn here(text: impl Into<String>) -> Remedy {
    Remedy::Here(text.into())
}

fn elsewhere(text: impl Into<String>) -> Remedy {
    Remedy::Elsewhere(text.into())
}

/// Looks at everything. `pool` is what starting the zygotes came to.
#[must_use]
pub fn examine(machine: &Machine, config: &PoolConfig, pool: &Result<&Facts, &LaunchError>) -> Vec<Finding> {
    let mut findings = isolation::examine(machine, pool);
    findings.extend(host::examine(machine, config, pool.as_ref().ok().copied()));
    findings
}

/// Names of the findings that keep this host from being good: those that could be mended here, and those in `required`.
#[must_use]
pub fn failing<'a>(findings: &'a [Finding], required: &[String]) -> Vec<&'a str> {
    let counts = |finding: &&Finding| {
        finding.state != State::Ok && (finding.can_be_mended_here() || required.contains(&finding.name))
    };
    findings.iter().filter(counts).map(|finding| finding.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_mended_or_is_required_counts() {
        let findings = [
            Finding::ok("seccomp", "in force"),
            Finding::missing("pmu", "a virtual machine", elsewhere("another host")),
            Finding::degraded("smt", "threads share a core", here("switch it off")),
        ];
        assert_eq!(failing(&findings, &[]), ["smt"]);
        assert_eq!(failing(&findings, &["pmu".into(), "seccomp".into()]), ["pmu", "smt"]);
    }
}
