//! What the user wrote: the command line as it is, checked for form only. [`config`](crate::config) says what it means.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Runs untrusted x86-64 functions in locked-down processes and measures them.
#[derive(Debug, Parser)]
#[command(name = "webrunner", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve measurements over HTTP.
    Serve(ServeArgs),
    /// Measure one object here, without HTTP.
    Run(RunArgs),
    /// List the kernels with their prototypes and parameters.
    Kernels(KernelsArgs),
    /// Ask a running service whether it is ready and its answers are right: exit code 0, or 1 with a line that says why
    SelfCheck(SelfCheckArgs),
}

/// Flags of `webrunner serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address and port to listen on; any but a loopback address opens the service to others [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "port")]
    pub listen: Option<String>,
    /// Port to listen on at 127.0.0.1
    #[arg(short, long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Jobs that may wait for a worker
    #[arg(short, long, value_name = "N", default_value_t = 64)]
    pub queue_size: usize,
    /// Jobs a second that one address may post, and as many at once; no limit if not given
    #[arg(long, value_name = "N")]
    pub rate_limit: Option<NonZeroU32>,
    /// Address and port for /metrics, /livez and /readyz, apart from clients [default: those of --listen]
    #[arg(long, value_name = "ADDR:PORT")]
    pub metrics_listen: Option<String>,
    /// Seconds between two self-checks, each a quick job of the service's own; 0 for none
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub self_check: u32,
    /// File that gets one line for each request; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<PathBuf>,
    /// File that gets everything else there is to say [default: standard error]
    #[arg(long, value_name = "FILE")]
    pub error_log: Option<PathBuf>,
    /// Where and how jobs run.
    #[command(flatten)]
    pub pool: PoolArgs,
}

/// Flags of `webrunner run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Relocatable ELF object that holds the function
    #[arg(value_name = "OBJECT")]
    pub object: PathBuf,
    /// Kernel to call it as
    #[arg(long, value_name = "NAME")]
    pub kernel: String,
    /// Parameters of the kernel, as name=value
    #[arg(value_name = "PARAM=VALUE")]
    pub parameters: Vec<String>,
    /// Function to call [default: the one named as the kernel, or the only one]
    #[arg(long, value_name = "NAME")]
    pub symbol: Option<String>,
    /// How much time to spend on a steady answer: quick, standard or thorough
    #[arg(long, value_name = "EFFORT", default_value = "standard")]
    pub effort: String,
    /// Print the full answer as JSON
    #[arg(long)]
    pub json: bool,
    /// Where and how jobs run.
    #[command(flatten)]
    pub pool: PoolArgs,
}

/// Flags of `webrunner kernels`.
#[derive(Debug, Args)]
pub struct KernelsArgs {
    /// Directory of kernel specifications that add to or replace those built in
    #[arg(long, value_name = "DIR")]
    pub kernels: Option<PathBuf>,
}

/// Flags of `webrunner self-check`.
#[derive(Debug, Args)]
pub struct SelfCheckArgs {
    /// The service, or a machine behind a proxy as http://HOST:PORT/MACHINE
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8081")]
    pub url: String,
    /// Seconds the whole check may take
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub timeout: u32,
}

/// Where and how jobs run.
#[derive(Debug, Args)]
pub struct PoolArgs {
    /// Cores to measure on, such as 1,3-5 [default: one thread of each core but the first]
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// Directory of kernel specifications that add to or replace those built in
    #[arg(long, value_name = "DIR")]
    pub kernels: Option<PathBuf>,
    /// Seconds a job may take from the moment a worker has it
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub deadline: u32,
    /// Seconds of CPU time a job may use
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    pub cpu_limit: u32,
    /// Isolation a worker must have: `full` refuses to start if a layer is missing, `best` takes what the host allows
    #[arg(long, value_name = "LEVEL", default_value = "best")]
    pub isolation: String,
    /// The worker executable [default: webrunner-worker beside this one]
    #[arg(long, value_name = "FILE")]
    pub worker: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn parameters_of_a_run_may_stand_before_and_after_flags() {
        let words = ["webrunner", "run", "dot.o", "n=8", "--kernel", "sdot", "incx=2", "--json"];
        let Command::Run(run) = Cli::parse_from(words).command else { panic!("not a run") };
        assert_eq!(run.parameters, ["n=8", "incx=2"]);
        assert!(run.json);
    }

    #[test]
    fn a_port_and_an_address_exclude_each_other() {
        let words = ["webrunner", "serve", "-p", "80", "--listen", "127.0.0.1:80"];
        assert!(Cli::try_parse_from(words).is_err());
    }
}
