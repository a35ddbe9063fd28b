//! Every setting, once. To add one: an entry here, and a place for its value in [`Values`].

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use webrunner_protocol::control::Isolation;

use super::parse::{self, Listen};
use super::{Default, Program, Setting};

/// What is set, by type. Made from the table's defaults and what goes over them; never by hand but in tests.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is the setting of the same name, described in the table")]
pub struct Values {
    pub listen: Listen,
    pub socket_mode: u32,
    pub queue_size: usize,
    pub max_connections: usize,
    pub tokens: Option<PathBuf>,
    pub token_file: Option<PathBuf>,
    pub zygote_jobs: u32,
    pub rate_limit: Option<NonZeroU32>,
    pub metrics_listen: Option<SocketAddr>,
    pub self_check: Option<Duration>,
    pub drain_limit: Duration,
    pub access_log: Option<PathBuf>,
    pub error_log: Option<PathBuf>,
    pub log_format: LogFormat,
    pub log_filter: String,
    pub cores: Option<String>,
    pub kernels: Option<PathBuf>,
    pub deadline: Duration,
    pub cpu_limit: u32,
    pub isolation: Isolation,
    pub worker: Option<PathBuf>,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, as fields to the journal under systemd, else as JSON.
    Auto,
    /// A line of text.
    Human,
    /// A JSON object a line.
    Json,
    /// Fields, to the system's journal.
    Journal,
}

impl std::default::Default for Values {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            socket_mode: 0,
            queue_size: 0,
            max_connections: 0,
            tokens: None,
            token_file: None,
            zygote_jobs: 0,
            rate_limit: None,
            metrics_listen: None,
            self_check: None,
            drain_limit: Duration::ZERO,
            access_log: None,
            error_log: None,
            log_format: LogFormat::Auto,
            log_filter: String::new(),
            cores: None,
            kernels: None,
            deadline: Duration::ZERO,
            cpu_limit: 0,
            isolation: Isolation::Full,
            worker: None,
        }
    }
}

/// Where the service listens; the port is the old service's.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:8081";

const SERVE: &[Program] = &[Program::Serve];
const SELF_CHECK: &[Program] = &[Program::SelfCheck];
const JOBS: &[Program] = &[Program::Serve, Program::Run];
const ALL_PROGRAMS: &[Program] = &[Program::Serve, Program::Run, Program::Kernels];

/// The settings, in the order they are shown.
pub static ALL: &[Setting] = &[
    Setting {
        name: "listen",
        short: None,
        placeholder: "ADDRESS",
        default: Default::Is(DEFAULT_ADDRESS),
        help: "Address and port to listen on, or unix: and a path; any but a loopback address opens the service to \
               others. A socket that systemd hands over goes before it",
        used_by: SERVE,
        set: |values, text| parse::listen(text).map(|listen| values.listen = listen),
    },
    Setting {
        name: "socket-mode",
        short: None,
        placeholder: "MODE",
        default: Default::Is("0660"),
        help: "Permissions of the Unix socket, in octal, 0777 at most",
        used_by: SERVE,
        set: |values, text| parse::mode(text).map(|mode| values.socket_mode = mode),
    },
    Setting {
        name: "queue-size",
        short: Some('q'),
        placeholder: "N",
        default: Default::Is("64"),
        help: "Jobs (0 to 4096) that may wait for a worker; each holds its object in memory",
        used_by: SERVE,
        set: |values, text| parse::number(text, 0, 4096).map(|size| values.queue_size = size as usize),
    },
    Setting {
        name: "max-connections",
        short: None,
        placeholder: "N",
        default: Default::Is("256"),
        help: "Connections (1 to 65536) at a time; those beyond wait to be accepted",
        used_by: SERVE,
        set: |values, text| parse::number(text, 1, 65_536).map(|most| values.max_connections = most as usize),
    },
    Setting {
        name: "tokens",
        short: None,
        placeholder: "FILE",
        default: Default::Means("everybody may post"),
        help: "File of those who may post jobs, a line NAME:SHA-256 for each token",
        used_by: SERVE,
        set: |values, text| parse::path(text).map(|path| values.tokens = Some(path)),
    },
    Setting {
        name: "token-file",
        short: None,
        placeholder: "FILE",
        default: Default::Means("no token is sent"),
        help: "File that holds the token which self-check sends",
        used_by: SELF_CHECK,
        set: |values, text| parse::path(text).map(|path| values.token_file = Some(path)),
    },
    Setting {
        name: "zygote-jobs",
        short: None,
        placeholder: "N",
        default: Default::Is("50000"),
        help: "Jobs (1 to 1000000000) after which a core's zygote is renewed, with it the addresses that its workers share",
        used_by: SERVE,
        set: |values, text| parse::number(text, 1, 1_000_000_000).map(|jobs| values.zygote_jobs = jobs),
    },
    Setting {
        name: "rate-limit",
        short: None,
        placeholder: "N",
        default: Default::Means("no limit"),
        help: "Jobs a second (1 to 4294967295) that one token or address may post, and as many at once",
        used_by: SERVE,
        set: |values, text| parse::positive(text).map(|limit| values.rate_limit = Some(limit)),
    },
    Setting {
        name: "metrics-listen",
        short: None,
        placeholder: "ADDR:PORT",
        default: Default::Means("those of listen"),
        help: "Address and port for /metrics, /livez and /readyz, apart from clients",
        used_by: SERVE,
        set: |values, text| parse::address(text).map(|address| values.metrics_listen = Some(address)),
    },
    Setting {
        name: "self-check",
        short: None,
        placeholder: "SECONDS",
        default: Default::Is("60"),
        help: "Seconds (0 to 3600) between two self-checks, each a quick job of the service's own on every core; 0 for none",
        used_by: SERVE,
        set: |values, text| {
            let interval = parse::seconds(text, 0, 3600)?;
            values.self_check = (!interval.is_zero()).then_some(interval);
            Ok(())
        },
    },
    Setting {
        name: "drain-limit",
        short: None,
        placeholder: "SECONDS",
        default: Default::Is("30"),
        help: "Seconds (1 to 3600) a service that stops gives the jobs it has; what is left then is answered with 503",
        used_by: SERVE,
        set: |values, text| parse::seconds(text, 1, 3600).map(|limit| values.drain_limit = limit),
    },
    Setting {
        name: "access-log",
        short: None,
        placeholder: "FILE",
        default: Default::Means("no such log"),
        help: "File that gets one line of name=value pairs for each request; - is standard output",
        used_by: SERVE,
        set: |values, text| parse::path(text).map(|path| values.access_log = Some(path)),
    },
    Setting {
        name: "error-log",
        short: None,
        placeholder: "FILE",
        default: Default::Means("standard error, or the journal"),
        help: "File that gets the log",
        used_by: SERVE,
        set: |values, text| parse::path(text).map(|path| values.error_log = Some(path)),
    },
    Setting {
        name: "log-format",
        short: None,
        placeholder: "FORMAT",
        default: Default::Is("auto"),
        help: "How the log is written: human, json or journal; auto is human on a terminal, journal under systemd, \
               else json",
        used_by: SERVE,
        set: |values, text| {
            let words = [
                ("auto", LogFormat::Auto),
                ("human", LogFormat::Human),
                ("json", LogFormat::Json),
                ("journal", LogFormat::Journal),
            ];
            parse::word(text, &words).map(|format| values.log_format = format)
        },
    },
    Setting {
        name: "log-filter",
        short: None,
        placeholder: "FILTER",
        default: Default::Is("info"),
        help: "What the log holds: error, warn, info, debug or trace, or tracing's directives; request=off leaves out \
               the line for each request",
        used_by: SERVE,
        set: |values, text| {
            let sane = crate::telemetry::is_filter(text).then(|| text.to_owned());
            sane.map(|filter| values.log_filter = filter)
                .ok_or_else(|| "a level such as info, or directives such as info,request=off".into())
        },
    },
    Setting {
        name: "cores",
        short: None,
        placeholder: "LIST",
        default: Default::Means("one thread of each core but the first"),
        help: "Cores to measure on, such as 1,3-5; jobs then run on these only. Where none are named, quick jobs run on the \
               supervisor's too",
        used_by: JOBS,
        set: |values, text| {
            values.cores = Some(text.to_owned());
            Ok(())
        },
    },
    Setting {
        name: "kernels",
        short: None,
        placeholder: "DIR",
        default: Default::Means("only those built in"),
        help: "Directory of kernel specifications that add to or replace those built in",
        used_by: ALL_PROGRAMS,
        set: |values, text| parse::path(text).map(|path| values.kernels = Some(path)),
    },
    Setting {
        name: "deadline",
        short: None,
        placeholder: "SECONDS",
        default: Default::Is("10"),
        help: "Seconds (1 to 3600) a job may take from the moment a worker has it",
        used_by: JOBS,
        set: |values, text| parse::seconds(text, 1, 3600).map(|limit| values.deadline = limit),
    },
    Setting {
        name: "cpu-limit",
        short: None,
        placeholder: "SECONDS",
        default: Default::Is("3"),
        help: "Seconds (1 to 3600) of CPU time a job may use",
        used_by: JOBS,
        set: |values, text| parse::number(text, 1, 3600).map(|limit| values.cpu_limit = limit),
    },
    Setting {
        name: "require-isolation",
        short: None,
        placeholder: "LEVEL",
        default: Default::Is("best"),
        help: "Isolation a worker must have: full refuses to start if a layer is missing, best takes what the host \
               allows",
        used_by: JOBS,
        set: |values, text| {
            // Not told of: it takes a worker that is built for tests alone.
            if text == "unlocked" {
                values.isolation = Isolation::Unlocked;
                return Ok(());
            }
            let words = [("full", Isolation::Full), ("best", Isolation::Best)];
            parse::word(text, &words).map(|level| values.isolation = level)
        },
    },
    Setting {
        name: "worker",
        short: None,
        placeholder: "FILE",
        default: Default::Means("webrunner-worker beside webrunner, or in ../lib/webrunner"),
        help: "The worker executable",
        used_by: JOBS,
        set: |values, text| parse::path(text).map(|path| values.worker = Some(path)),
    },
];
