//! The command line as it was written. What several commands share are settings, whose flags come from
//! [`settings`](crate::settings); here are the commands and what only one of them takes.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::settings::{Flags, Program, flags};

use crate::options::OptionArgs;

/// Runs untrusted x86-64 functions in locked-down processes and measures them.
#[derive(Debug, Parser)]
#[command(name = "webrunner", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve measurements over HTTP.
    Serve,
    /// Measure one object here, without HTTP.
    Run(Box<RunArgs>),
    /// List the kernels with their prototypes and parameters.
    Kernels,
    /// Ask a running service whether it is ready and its answers are right.
    SelfCheck(SelfCheckArgs),
    /// Say what isolation and measurement this host offers, and what would improve them.
    Doctor(DoctorArgs),
    /// Print the settings in force for `serve`, and where each comes from.
    Config,
    /// Write manual pages, shell completions, the default configuration and the table of settings into a directory.
    Generate(GenerateArgs),
}

/// What `webrunner run` takes beside settings.
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
    /// The same as in a query.
    #[command(flatten)]
    pub options: OptionArgs,
    /// Print the full answer as JSON
    #[arg(long)]
    pub json: bool,
}

/// What `webrunner generate` takes.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Directory to write into; made if it is not there
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// Flags of `webrunner self-check`.
#[derive(Debug, Args)]
pub struct SelfCheckArgs {
    /// The service, a machine behind a proxy as http://HOST:PORT/MACHINE, or unix:PATH [default: where the setting
    /// listen says]
    #[arg(value_name = "URL")]
    pub url: Option<String>,
    /// Seconds (1 or more) the whole check may take
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub timeout: u32,
}

/// What `webrunner doctor` takes beside settings.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Measure functions of known length as well, and hold the figures against their bounds; takes up to a minute
    #[arg(long)]
    pub measure: bool,
    /// How often (1 to 1000) to measure each function
    #[arg(long, value_name = "N", default_value_t = 50, requires = "measure", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Lines that must be ok even if nothing can be done about them here, such as pmu,tsc
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub require: Vec<String>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// The whole command line, settings included.
#[must_use]
pub fn definition() -> clap::Command {
    let commands = [
        (
            "serve",
            Some(Program::Serve),
            "0 once it has stopped as asked, 1 if it cannot start or was told twice to stop",
        ),
        ("config", Some(Program::Serve), "0 if serve could take them, 1 if a file is not there"),
        ("run", Some(Program::Run), "0 for a measurement, 1 for any problem of the object or the host"),
        (
            "doctor",
            Some(Program::Run),
            "0 if all holds that this host can support and that --require names, 1 if not",
        ),
        ("kernels", Some(Program::Kernels), "0 for a list, 1 if a specification is wrong"),
        ("self-check", Some(Program::SelfCheck), "0 if the service is ready and its answer right, 1 if not"),
        ("generate", None, "0 if all is written, 1 if not"),
    ];
    let note = "Each setting's flag can stand in the configuration file too, without its hyphens, or in the environment, as \
                WEBRUNNER_ and its name in capitals. Flags go over the environment, and that over the file.";
    commands.into_iter().fold(Cli::command(), |cli, (name, program, status)| {
        let status = format!("Exit status: {status}, 2 for a wrong command line or setting.");
        cli.mut_subcommand(name, |command| match program {
            Some(program) => command.args(flags::of(program)).after_help(format!("{note}\n\n{status}")),
            None => command.after_help(status),
        })
    })
}

/// Reads the command line.
///
/// # Errors
/// clap's, which also stands for a request for help or the version.
pub fn parse(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<(Command, Flags), clap::Error> {
    let matches = definition().try_get_matches_from(words)?;
    let flags = matches.subcommand().map(|(_, matches)| Flags::given(matches)).unwrap_or_default();
    Ok((Cli::from_arg_matches(&matches)?.command, flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        definition().debug_assert();
    }

    #[test]
    fn parameters_of_a_run_may_stand_before_and_after_flags() {
        let words = ["webrunner", "run", "dot.o", "n=8", "--kernel", "sdot", "incx=2", "--deadline", "7"];
        let (Command::Run(run), flags) = parse(words).unwrap() else { panic!("not a run") };
        assert_eq!(run.parameters, ["n=8", "incx=2"]);
        let written: Vec<_> =
            flags.written.iter().map(|(setting, text)| (setting.name, text.as_str())).collect();
        assert_eq!(written, [("deadline", "7")]);
    }

    #[test]
    fn a_port_and_an_address_exclude_each_other() {
        let words = ["webrunner", "serve", "-p", "80", "--listen", "127.0.0.1:80"];
        assert!(parse(words).is_err());
    }

    #[test]
    fn a_command_takes_only_the_flags_it_has_a_use_for() {
        assert!(parse(["webrunner", "kernels", "--listen", "127.0.0.1:80"]).is_err());
        assert!(parse(["webrunner", "config", "--listen", "127.0.0.1:80"]).is_ok());
    }
}
