//! What each command of the program does, and how it ends: 0, 1 for what went wrong, 2 for a wrong command line.

mod kernels;
mod run;
mod self_check;
mod serve;

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::cli::{Cli, Command};
use crate::config::ConfigError;

/// Why a command ended without success.
#[derive(Debug)]
enum Failure {
    /// The command line is wrong; exit code 2.
    Usage(String),
    /// Something went wrong; exit code 1.
    Other(String),
}

impl Failure {
    /// An error with its causes, in one line.
    fn of(error: &dyn Error) -> Self {
        Self::Other(chain(error))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Worker { .. } | ConfigError::NoWorker(_) => Self::Other(error.to_string()),
            _ => Self::Usage(error.to_string()),
        }
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let result = parse(std::env::args_os()).and_then(|command| match command {
        None => Ok(()),
        Some(Command::Serve(args)) => serve::serve(args),
        Some(Command::Run(args)) => run::run(args),
        Some(Command::Kernels(args)) => kernels::kernels(&args),
        Some(Command::SelfCheck(args)) => self_check::self_check(&args),
    });
    let (code, message) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => (2, message),
        Err(Failure::Other(message)) => (1, message),
    };
    eprintln!("webrunner: {message}");
    ExitCode::from(code)
}

/// Reads the command line; `None` if it asked for help or the version, which is then printed.
fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Option<Command>, Failure> {
    match Cli::try_parse_from(words) {
        Ok(cli) => Ok(Some(cli.command)),
        Err(error)
            if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            // A reader such as `head` may leave before the end.
            let _ = error.print();
            if error.use_stderr() { Err(Failure::Usage("choose a command".into())) } else { Ok(None) }
        }
        Err(error) => Err(Failure::Usage(usage_line(&error.to_string()))),
    }
}

/// The first paragraph of clap's message as one line, without its heading.
fn usage_line(message: &str) -> String {
    let paragraph = message.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = paragraph.trim_start_matches("error: ").split_whitespace().collect();
    format!("{}; --help tells more", words.join(" "))
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::pool::LaunchError;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open {name}")]
    struct Outer {
        name: &'static str,
        source: io::Error,
    }

    #[test]
    fn causes_are_told_in_one_line() {
        let error = Outer { name: "x", source: io::Error::other("no\nluck") };
        assert_eq!(chain(&error), "cannot open x: no luck");
    }

    #[test]
    fn a_wrong_command_line_is_told_in_one_line() {
        for (words, message) in [
            (
                &["serve", "--port", "99999"][..],
                "invalid value '99999' for '--port <PORT>': 99999 is not in 0..=65535",
            ),
            (&["run", "x.o"], "the following required arguments were not provided: --kernel <NAME>"),
            (&["serv"], "unrecognized subcommand 'serv'"),
        ] {
            let words = ["webrunner"].iter().chain(words).map(OsString::from);
            let Err(Failure::Usage(line)) = parse(words) else { panic!("taken") };
            assert_eq!(line, format!("{message}; --help tells more"));
        }
    }

    #[test]
    fn a_missing_worker_is_no_fault_of_the_command_line() {
        let named = ConfigError::Worker { path: "/x".into() };
        assert!(matches!(Failure::from(named), Failure::Other(_)));
        let found_nowhere = LaunchError::NoExecutable { looked: Vec::new() };
        assert!(matches!(Failure::from(ConfigError::from(found_nowhere)), Failure::Other(_)));
        let wrong = ConfigError::Isolation { got: "x".into() };
        assert!(matches!(Failure::from(wrong), Failure::Usage(_)));
    }
}
