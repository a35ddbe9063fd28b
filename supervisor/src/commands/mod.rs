//! What each command of the program does, and how it ends: 0, 1 for what went wrong, 2 for a wrong command line.

mod config;
mod doctor;
mod generate;
mod kernels;
mod run;
mod self_check;
mod serve;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::cli::{self, Command};
use crate::config::ConfigError;
use crate::settings::{Flags, Settings, SettingsError};

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
            ConfigError::Cores { .. } => Self::Usage(error.to_string()),
            ConfigError::Worker { .. } | ConfigError::NoWorker(_) => Self::Other(error.to_string()),
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Unreadable { .. } => Self::of(&error),
            _ => Self::Usage(chain(&error)),
        }
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let (code, message) = match parse(std::env::args_os()).and_then(dispatch) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => (2, message),
        Err(Failure::Other(message)) => (1, message),
    };
    // Not eprintln, which panics where standard error is a full disk; there is nobody left to tell.
    let _ = writeln!(io::stderr(), "webrunner: {message}");
    ExitCode::from(code)
}

fn dispatch(parsed: Option<(Command, Flags)>) -> Result<(), Failure> {
    let Some((command, flags)) = parsed else { return Ok(()) };
    if let Command::Generate(args) = &command {
        return generate::generate(args);
    }
    // The one place that reads the environment; what systemd says there is for sd-notify to read.
    let settings = Settings::gather(&flags, std::env::vars_os())?;
    match command {
        Command::Serve => serve::serve(&settings),
        Command::Run(args) => run::run(&args, &settings),
        Command::Kernels => kernels::kernels(&settings),
        Command::SelfCheck(args) => self_check::self_check(&args, &settings),
        Command::Doctor(args) => doctor::doctor(&args, &settings),
        Command::Config => config::config(&settings),
        Command::Generate(_) => Ok(()),
    }
}

/// Reads the command line; `None` if it asked for help or the version, which is then printed.
fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Option<(Command, Flags)>, Failure> {
    match cli::parse(words) {
        Ok(parsed) => Ok(Some(parsed)),
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

/// Writes what a command has to say to standard output. A reader such as `head` may leave before the end.
fn print(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut out = io::stdout();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Other(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// The first paragraph of clap's message as one line, without its heading, and what it says is similar.
fn usage_line(message: &str) -> String {
    let one_line = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut paragraphs = message.split("\n\n").map(one_line);
    let what = paragraphs.next().unwrap_or_default();
    let similar = paragraphs.find_map(|paragraph| {
        let tip = paragraph.strip_prefix("tip: ")?;
        tip.contains("similar").then(|| format!("; {tip}"))
    });
    format!("{}{}; --help tells more", what.trim_start_matches("error: "), similar.unwrap_or_default())
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
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
    use super::*;
    use crate::cores::CoresError;
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
            (&["serv"], "unrecognized subcommand 'serv'; a similar subcommand exists: 'serve'"),
            (
                &["serve", "--queue-siz", "1"],
                "unexpected argument '--queue-siz' found; a similar argument exists: '--queue-size'",
            ),
        ] {
            let words = ["webrunner"].iter().chain(words).map(OsString::from);
            let Err(Failure::Usage(line)) = parse(words) else { panic!("taken") };
            assert_eq!(line, format!("{message}; --help tells more"));
        }
    }

    #[test]
    fn a_missing_worker_is_no_fault_of_the_command_line() {
        let named = ConfigError::Worker { label: "--worker".into(), path: "/x".into() };
        assert!(matches!(Failure::from(named), Failure::Other(_)));
        let found_nowhere = LaunchError::NoExecutable { looked: Vec::new() };
        assert!(matches!(Failure::from(ConfigError::from(found_nowhere)), Failure::Other(_)));
        let source = CoresError::Item { item: "x".into() };
        let wrong = ConfigError::Cores { label: "--cores".into(), source };
        assert!(matches!(Failure::from(wrong), Failure::Usage(_)));
    }
}
