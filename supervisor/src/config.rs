//! What the command line means, checked once; nothing later reads flags or the environment.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use webrunner_protocol::control::Isolation;
use webrunner_protocol::ids::CoreId;

use crate::cli::{PoolArgs, ServeArgs};
use crate::cores::{self, CoresError};
use crate::pool::{LaunchError, PoolConfig, ZygoteSettings, find_executable};

/// Port the old service listened on.
const DEFAULT_PORT: u16 = 8081;

/// Most jobs that may wait; each holds its object in memory.
const MAX_QUEUE: usize = 4096;

/// Longest a job may be allowed to take, in seconds.
const MAX_SECONDS: u32 = 3600;

/// What to serve, and where.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Address for operators; `None` for the same as clients.
    pub metrics_listen: Option<SocketAddr>,
    /// Time between two self-checks; `None` for none.
    pub self_check: Option<Duration>,
    /// File for one line a request; `None` for no such log.
    pub access_log: Option<PathBuf>,
    /// File for everything else; `None` for standard error.
    pub error_log: Option<PathBuf>,
    /// Directory of further kernels.
    pub kernels: Option<PathBuf>,
    /// Jobs a second that one address may post; `None` for no limit.
    pub rate_limit: Option<NonZeroU32>,
    /// Where and how jobs run.
    pub pool: PoolConfig,
}

/// What is wrong with the command line.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// An address to listen on is none, or has no port.
    #[error("{flag} takes an address and a port such as 127.0.0.1:8081, got `{got}`")]
    Listen {
        /// The flag.
        flag: &'static str,
        /// What came.
        got: String,
    },
    /// A number out of range.
    #[error("{flag} takes {least} to {most}, got {got}")]
    Range {
        /// The flag.
        flag: &'static str,
        /// Least value.
        least: u64,
        /// Greatest value.
        most: u64,
        /// What came.
        got: u64,
    },
    /// `--isolation` is none of its words.
    #[error("--isolation takes full or best, got `{got}`")]
    Isolation {
        /// What came.
        got: String,
    },
    /// `--cores` cannot be taken.
    #[error("--cores: {0}")]
    Cores(#[from] CoresError),
    /// The worker executable named is not there.
    #[error("--worker: there is no file {}", path.display())]
    Worker {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The worker executable is in none of its usual places.
    #[error(transparent)]
    NoWorker(#[from] LaunchError),
}

impl ServeConfig {
    /// Checks the flags of `webrunner serve`.
    ///
    /// # Errors
    /// The first flag that cannot be taken.
    pub fn new(args: ServeArgs) -> Result<Self, ConfigError> {
        range("--queue-size", args.queue_size as u64, 0, MAX_QUEUE as u64)?;
        range("--self-check", args.self_check.into(), 0, MAX_SECONDS.into())?;
        Ok(Self {
            listen: listen(args.listen.as_deref(), args.port)?,
            metrics_listen: args.metrics_listen.map(|text| address("--metrics-listen", &text)).transpose()?,
            self_check: (args.self_check > 0).then(|| Duration::from_secs(args.self_check.into())),
            access_log: args.access_log,
            error_log: args.error_log,
            kernels: args.pool.kernels.clone(),
            rate_limit: args.rate_limit,
            pool: PoolConfig::new(args.pool, args.queue_size)?,
        })
    }
}

impl PoolConfig {
    /// Checks the flags about jobs.
    ///
    /// # Errors
    /// The first flag that cannot be taken.
    pub fn new(args: PoolArgs, queue_capacity: usize) -> Result<Self, ConfigError> {
        range("--deadline", args.deadline.into(), 1, MAX_SECONDS.into())?;
        range("--cpu-limit", args.cpu_limit.into(), 1, MAX_SECONDS.into())?;
        let require = match args.isolation.as_str() {
            "full" => Isolation::Full,
            "best" => Isolation::Best,
            // Not told of in --help: it takes a worker that is built for tests alone.
            "unlocked" => Isolation::Unlocked,
            _ => return Err(ConfigError::Isolation { got: args.isolation }),
        };
        let (cores, quick_cores) = job_cores(args.cores.as_deref())?;
        Ok(Self {
            cores,
            quick_cores,
            queue_capacity,
            deadline: Duration::from_secs(args.deadline.into()),
            zygote: ZygoteSettings { executable: worker(args.worker)?, require, cpu_seconds: args.cpu_limit },
        })
    }
}

fn range(flag: &'static str, got: u64, least: u64, most: u64) -> Result<(), ConfigError> {
    if (least..=most).contains(&got) { Ok(()) } else { Err(ConfigError::Range { flag, least, most, got }) }
}

/// Only this host can connect unless `--listen` names another address: a port alone, as the old program took it, does
/// not open the service to others.
fn listen(listen: Option<&str>, port: Option<u16>) -> Result<SocketAddr, ConfigError> {
    match (listen, port) {
        (Some(listen), _) => address("--listen", listen),
        (None, Some(port)) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        (None, None) => Ok((Ipv4Addr::LOCALHOST, DEFAULT_PORT).into()),
    }
}

fn address(flag: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_| ConfigError::Listen { flag, got: text.to_owned() })
}

/// Cores for every job, and cores for quick ones besides: with no list, the first core that is left to the supervisor.
/// An operator who names cores gets those and no other.
fn job_cores(list: Option<&str>) -> Result<(Vec<CoreId>, Vec<CoreId>), ConfigError> {
    let allowed = cores::allowed()?;
    let Some(list) = list else {
        let measuring = cores::choose(&allowed, cores::siblings);
        let quick = allowed.iter().find(|core| !measuring.contains(core)).copied();
        return Ok((measuring, quick.into_iter().collect()));
    };
    let cores = cores::parse(list)?;
    cores::check(&cores, &allowed)?;
    Ok((cores, Vec::new()))
}

fn worker(named: Option<PathBuf>) -> Result<PathBuf, ConfigError> {
    match named {
        None => Ok(find_executable()?),
        Some(path) if path.is_file() => Ok(path),
        Some(path) => Err(ConfigError::Worker { path }),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn serve(flags: &[&str]) -> Result<ServeConfig, ConfigError> {
        let words = ["webrunner", "serve", "--worker", "/proc/self/exe"].iter().chain(flags);
        let Command::Serve(args) = Cli::parse_from(words).command else { panic!("not serve") };
        ServeConfig::new(args)
    }

    #[test]
    fn without_flags_only_this_host_can_connect() {
        let config = serve(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8081");
        assert_eq!((config.pool.deadline.as_secs(), config.pool.zygote.cpu_seconds), (10, 3));
        assert!(!config.pool.cores.is_empty());
    }

    #[test]
    fn only_an_address_opens_the_service_to_others() {
        assert_eq!(serve(&["-p", "80"]).unwrap().listen.to_string(), "127.0.0.1:80");
        assert_eq!(serve(&["--listen", "[::1]:80"]).unwrap().listen.to_string(), "[::1]:80");
    }

    #[test]
    fn flags_that_make_no_sense_are_refused_in_one_line() {
        for (flags, words) in [
            (["--listen", "localhost"], "--listen takes"),
            (["--metrics-listen", "9100"], "--metrics-listen takes"),
            (["--self-check", "3601"], "--self-check takes 0 to 3600, got 3601"),
            (["--queue-size", "5000"], "--queue-size takes 0 to 4096, got 5000"),
            (["--deadline", "0"], "--deadline takes 1 to 3600, got 0"),
            (["--isolation", "some"], "--isolation takes full or best"),
            (["--cores", "x"], "--cores: `x` is no core number"),
            (["--cores", "1023"], "--cores: core 1023 cannot be used"),
        ] {
            let error = serve(&flags).unwrap_err().to_string();
            assert!(error.starts_with(words) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_worker_that_is_not_there_stops_the_start() {
        let error = worker(Some("/no/worker".into())).unwrap_err().to_string();
        assert_eq!(error, "--worker: there is no file /no/worker");
    }
}
