//! Descriptors: as many as the host allows this process, and no more connections than those suffice for.
//!
//! Clients must not be able to use up what jobs need. So the descriptors of the pool are set aside first, and connections
//! are limited to what is left; those beyond wait to be accepted.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For standard streams, event loops, timers, listener and logs.
const FOR_THE_SERVICE: u64 = 32;

/// For each core: control sockets of its zygote and of that one's successor, the socket of each worker that waits, runs
/// or is taken apart, and those that either zygote has sent ahead.
const FOR_EACH_CORE: u64 = 40;

/// The socket, and its duplicate by which a connection can be shut down from outside actix.
const FOR_EACH_CONNECTION: u64 = 2;

/// Why the service cannot start with the descriptors it may have.
#[derive(Debug, thiserror::Error)]
#[error(
    "{limit} open files are too few for {cores} cores, which take {least}; raise the limit (ulimit -n, LimitNOFILE=) \
     or measure on fewer cores (--cores)"
)]
pub struct TooFew {
    limit: u64,
    cores: u64,
    least: u64,
}

/// Raises this process's own limit as far as it may go; gives the limit then in force. Zygotes lower theirs again.
#[must_use]
pub fn raise_limit() -> u64 {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limits.maximum, maximum: limits.maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limits.maximum,
        // More than the kernel gives any process; what there was is what there is.
        Err(_) => limits.current,
    };
    limit.unwrap_or(u64::MAX)
}

/// Descriptors that so many connections take, and what is set aside before them.
#[must_use]
pub fn needed(connections: u64, cores: u64) -> u64 {
    FOR_THE_SERVICE + cores * FOR_EACH_CORE + connections * FOR_EACH_CONNECTION
}

/// As many connections as were asked for, or as many as `limit` leaves, which is said. Those of operators come first.
///
/// # Errors
/// [`TooFew`] if it leaves none.
pub fn connections(asked: usize, operators: usize, cores: usize, limit: u64) -> Result<usize, TooFew> {
    let (asked, operators, cores) = (asked as u64, operators as u64, cores as u64);
    let reserved = FOR_THE_SERVICE + cores * FOR_EACH_CORE + operators * FOR_EACH_CONNECTION;
    let left = limit.saturating_sub(reserved) / FOR_EACH_CONNECTION;
    if left == 0 {
        return Err(TooFew { limit, cores, least: reserved + FOR_EACH_CONNECTION });
    }
    if left < asked {
        let needed = reserved.saturating_add(asked.saturating_mul(FOR_EACH_CONNECTION));
        tracing::warn!(
            limit,
            needed,
            connections = left,
            "fewer open files are allowed than --max-connections {asked} needs; so many connections are taken instead"
        );
    }
    Ok(left.min(asked) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_jobs_leave() {
        assert_eq!(connections(256, 0, 2, 1024).unwrap(), 256);
        assert_eq!(connections(256, 0, 2, 212).unwrap(), 50);
        assert_eq!(connections(256, 10, 2, 212).unwrap(), 40);
        assert_eq!(connections(256, 0, 2, 114).unwrap(), 1);
        assert_eq!(connections(usize::MAX, 0, 2, u64::MAX).unwrap() as u64, (u64::MAX - 112) / 2);
        let error = connections(1, 0, 2, 113).unwrap_err().to_string();
        assert!(error.contains("113 open files are too few for 2 cores, which take 114"), "{error}");
    }
}
