//! What each command of the program does, and how it ends: 0, 1 for what went wrong, 2 for a wrong command line.

mod kernels;
mod run;
mod serve;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

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
            ConfigError::Worker { .. } => Self::Other(error.to_string()),
            _ => Self::Usage(error.to_string()),
        }
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::serve(args),
        Command::Run(args) => run::run(args),
        Command::Kernels(args) => kernels::kernels(&args),
    };
    let (code, message) = match result {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => (2, message),
        Err(Failure::Other(message)) => (1, message),
    };
    eprintln!("webrunner: {message}");
    ExitCode::from(code)
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
    fn a_missing_worker_is_no_fault_of_the_command_line() {
        let missing = ConfigError::Worker { path: "/x".into() };
        assert!(matches!(Failure::from(missing), Failure::Other(_)));
        let wrong = ConfigError::Isolation { got: "x".into() };
        assert!(matches!(Failure::from(wrong), Failure::Usage(_)));
    }
}
