//! What the settings mean on this machine, checked once: which cores, which executable. Nothing later reads a setting.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use webrunner_protocol::ids::CoreId;

use crate::cores::{self, CoresError};
use crate::events::family::CpuModel;
use crate::events::host::HostEvents;
use crate::pool::{LaunchError, PoolConfig, ZygoteSettings, find_executable};
use crate::reload::Files;
use crate::settings::{Listen, Settings};

/// What to serve, and where.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    /// Where to listen, if systemd hands no socket over.
    pub listen: Listen,
    /// Permissions of a Unix socket.
    pub socket_mode: u32,
    /// How long a service that stops waits for the jobs it has.
    pub drain_limit: Duration,
    /// Address for operators; `None` for the same as clients.
    pub metrics_listen: Option<SocketAddr>,
    /// Time between two self-checks; `None` for none.
    pub self_check: Option<Duration>,
    /// File for one line a request; `None` for no such log.
    pub access_log: Option<PathBuf>,
    /// What is read from files and may be read again.
    pub files: Files,
    /// Most connections at a time.
    pub max_connections: usize,
    /// Jobs a second that one client may post; `None` for no limit.
    pub rate_limit: Option<NonZeroU32>,
    /// Where and how jobs run.
    pub pool: PoolConfig,
}

/// A setting that cannot be taken on this machine.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Cores that are no list, or not there.
    #[error("{label}: {source}")]
    Cores {
        /// The setting, by where it was set.
        label: String,
        /// What is wrong with it.
        source: CoresError,
    },
    /// The worker executable named is not there.
    #[error("{label}: there is no file {}; name that of webrunner-worker", path.display())]
    Worker {
        /// The setting, by where it was set.
        label: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The worker executable is in none of its usual places.
    #[error(transparent)]
    NoWorker(#[from] LaunchError),
}

impl ServeConfig {
    /// Holds the settings of `webrunner serve` against the machine.
    ///
    /// # Errors
    /// The first that cannot be taken.
    pub fn new(settings: &Settings) -> Result<Self, ConfigError> {
        let values = &settings.values;
        Ok(Self {
            listen: values.listen.clone(),
            socket_mode: values.socket_mode,
            drain_limit: values.drain_limit,
            metrics_listen: values.metrics_listen,
            self_check: values.self_check,
            access_log: values.access_log.clone(),
            files: Files { kernels: values.kernels.clone(), tokens: values.tokens.clone() },
            max_connections: values.max_connections,
            rate_limit: values.rate_limit,
            pool: PoolConfig::new(settings, values.queue_size)?,
        })
    }
}

impl PoolConfig {
    /// Holds the settings about jobs against the machine.
    ///
    /// # Errors
    /// The first that cannot be taken.
    pub fn new(settings: &Settings, queue_capacity: usize) -> Result<Self, ConfigError> {
        let values = &settings.values;
        let (cores, quick_cores) = job_cores(values.cores.as_deref())
            .map_err(|source| ConfigError::Cores { label: settings.label("cores"), source })?;
        let events = HostEvents::gather(&CpuModel::read(), cores.iter().chain(&quick_cores).copied());
        let zygote = ZygoteSettings {
            executable: worker(settings)?,
            require: values.isolation,
            cpu_seconds: values.cpu_limit,
            events: Arc::new(events),
        };
        let (deadline, jobs_per_zygote) = (values.deadline, values.zygote_jobs.into());
        Ok(Self { cores, quick_cores, queue_capacity, deadline, jobs_per_zygote, zygote })
    }
}

/// Cores for every job, and cores for quick ones besides: with no list, the first core that is left to the supervisor.
/// An operator who names cores gets those and no other.
fn job_cores(list: Option<&str>) -> Result<(Vec<CoreId>, Vec<CoreId>), CoresError> {
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

fn worker(settings: &Settings) -> Result<PathBuf, ConfigError> {
    match &settings.values.worker {
        None => Ok(find_executable()?),
        // Zygotes are started elsewhere.
        Some(path) if path.is_file() => Ok(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
        Some(path) => Err(ConfigError::Worker { label: settings.label("worker"), path: path.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(flags: &[&str]) -> Result<ServeConfig, ConfigError> {
        let words = ["webrunner", "serve", "--config", "/dev/null", "--worker", "/proc/self/exe"];
        let (_, flags) = crate::cli::parse(words.iter().chain(flags).copied()).unwrap();
        ServeConfig::new(&Settings::gather(&flags, []).unwrap())
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
    fn cores_that_cannot_be_used_are_refused_in_one_line() {
        for (cores, words) in
            [("x", "--cores: `x` is no core number"), ("1023", "--cores: core 1023 cannot be used")]
        {
            let error = serve(&["--cores", cores]).unwrap_err().to_string();
            assert!(error.starts_with(words) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_worker_that_is_not_there_stops_the_start() {
        let (_, flags) =
            crate::cli::parse(["webrunner", "run", "x", "--kernel", "x", "--worker", "/no"]).unwrap();
        let settings = Settings::gather(&Flags { config: Some("/dev/null".into()), ..flags }, []).unwrap();
        assert_eq!(
            worker(&settings).unwrap_err().to_string(),
            "--worker: there is no file /no; name that of webrunner-worker"
        );
    }

    use crate::settings::Flags;
}
