//! Cores: which to measure on, and which to leave to the supervisor.

use std::collections::BTreeSet;
use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use webrunner_protocol::ids::CoreId;

/// What is wrong with a list of cores.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CoresError {
    /// Something in the list is no core and no range.
    #[error("`{item}` is no core number or range; write a list such as 1,3-5")]
    Item {
        /// What stands there.
        item: String,
    },
    /// A core this process may not run on, or that does not exist.
    #[error("core {core} cannot be used; this process may use {allowed}")]
    NotAllowed {
        /// The core.
        core: CoreId,
        /// Those it may use, as a list.
        allowed: String,
    },
    /// The kernel does not tell which cores may be used.
    #[error("cannot read the cores this process may use: {reason}")]
    Affinity {
        /// Why.
        reason: String,
    },
}

/// Reads a list such as `1,3-5`; repeated cores count once.
///
/// # Errors
/// [`CoresError::Item`] for anything else.
pub fn parse(list: &str) -> Result<Vec<CoreId>, CoresError> {
    let mut cores = BTreeSet::new();
    for item in list.split(',') {
        let wrong = || CoresError::Item { item: item.to_owned() };
        let number = |text: &str| {
            let number = text.trim().parse::<u32>().map_err(|_| wrong())?;
            if (number as usize) < CpuSet::MAX_CPU { Ok(number) } else { Err(wrong()) }
        };
        let (first, last) = match item.split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(item)?, number(item)?),
        };
        if first > last {
            return Err(wrong());
        }
        cores.extend(first..=last);
    }
    Ok(cores.into_iter().map(CoreId).collect())
}

/// Cores this process may run on.
///
/// # Errors
/// [`CoresError::Affinity`].
pub fn allowed() -> Result<Vec<CoreId>, CoresError> {
    let set = sched_getaffinity(None).map_err(|error| CoresError::Affinity { reason: error.to_string() })?;
    Ok((0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).map(|core| CoreId(core as u32)).collect())
}

/// Checks that every core may be used.
///
/// # Errors
/// [`CoresError::NotAllowed`] for the first that may not.
pub fn check(cores: &[CoreId], allowed: &[CoreId]) -> Result<(), CoresError> {
    match cores.iter().find(|core| !allowed.contains(core)) {
        None => Ok(()),
        Some(&core) => Err(CoresError::NotAllowed { core, allowed: list(allowed) }),
    }
}

/// Cores to measure on where none are named: one thread of each physical core, the first core left to the supervisor
/// if there is another.
#[must_use]
pub fn choose(allowed: &[CoreId], siblings: impl Fn(CoreId) -> Vec<CoreId>) -> Vec<CoreId> {
    let mut physical: Vec<CoreId> = Vec::new();
    for &core in allowed {
        if !siblings(core).iter().any(|sibling| physical.contains(sibling)) {
            physical.push(core);
        }
    }
    if physical.len() > 1 {
        physical.remove(0);
    }
    physical
}

/// Threads that share a core's physical core, itself included; only itself if the kernel does not tell.
#[must_use]
pub fn siblings(core: CoreId) -> Vec<CoreId> {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    fs::read_to_string(path).ok().and_then(|list| parse(list.trim()).ok()).unwrap_or_else(|| vec![core])
}

/// Moves this thread, and those it will start, off the cores that jobs are measured on, if any other is left.
///
/// # Errors
/// [`CoresError::Affinity`].
pub fn leave_to_jobs(jobs: &[CoreId]) -> Result<(), CoresError> {
    let mut set = CpuSet::new();
    for core in allowed()?.iter().filter(|core| !jobs.contains(core)) {
        set.set(core.0 as usize);
    }
    if set.count() == 0 {
        return Ok(());
    }
    sched_setaffinity(None, &set).map_err(|error| CoresError::Affinity { reason: error.to_string() })
}

/// Moves this thread to one core.
///
/// # Errors
/// [`CoresError::Affinity`].
pub fn stay_on(core: CoreId) -> Result<(), CoresError> {
    let mut set = CpuSet::new();
    set.set(core.0 as usize);
    sched_setaffinity(None, &set).map_err(|error| CoresError::Affinity { reason: error.to_string() })
}

/// The cores as a list with commas.
#[must_use]
pub fn list(cores: &[CoreId]) -> String {
    cores.iter().map(CoreId::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(cores: &[u32]) -> Vec<CoreId> {
        cores.iter().copied().map(CoreId).collect()
    }

    #[test]
    fn lists_and_ranges_are_read_once_each() {
        assert_eq!(parse("1,3-5"), Ok(ids(&[1, 3, 4, 5])));
        assert_eq!(parse("2, 2,1-2"), Ok(ids(&[1, 2])));
    }

    #[test]
    fn what_is_no_list_is_refused_by_its_item() {
        for (list, item) in [
            ("", ""),
            ("1,,2", ""),
            ("a", "a"),
            ("5-3", "5-3"),
            ("-1", "-1"),
            ("0-4294967295", "0-4294967295"),
        ] {
            assert_eq!(parse(list), Err(CoresError::Item { item: item.to_owned() }));
        }
    }

    #[test]
    fn a_core_out_of_reach_is_refused_with_those_in_reach() {
        let error = check(&ids(&[1, 9]), &ids(&[0, 1])).unwrap_err();
        assert_eq!(error.to_string(), "core 9 cannot be used; this process may use 0,1");
    }

    #[test]
    fn one_thread_of_each_core_is_chosen_and_the_first_core_left_alone() {
        let pairs = |core: CoreId| ids(&[core.0 & !1, core.0 | 1]);
        assert_eq!(choose(&ids(&[0, 1, 2, 3, 4, 5]), pairs), ids(&[2, 4]));
        assert_eq!(choose(&ids(&[0, 1]), pairs), ids(&[0]));
        assert_eq!(choose(&ids(&[0, 1]), |core| vec![core]), ids(&[1]));
        assert_eq!(choose(&ids(&[3]), |core| vec![core]), ids(&[3]));
    }
}
