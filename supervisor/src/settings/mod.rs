//! What an operator can set, where each value came from, and nothing else: one table drives all of it.
//!
//! A setting is written once, in [`table`]. Its flag, its variable (`WEBRUNNER_` and its name in capitals), its key in the
//! configuration file, its line in `webrunner config` and its row in the documentation follow from that. Defaults give
//! way to the file, the file to the environment, and that to flags. Everything is read here, once; nothing later looks
//! at a flag, a file or a variable.
//!
//! # Layout
//!
//! - [`table`]: the settings, and the typed [`Values`] they fill.
//! - `parse`: from a word to a value.
//! - [`flags`], `environment`, `file`: the three places to set something.
//! - [`listing`]: what is in force, as text; the documented defaults.

mod environment;
mod file;
pub mod flags;
pub mod listing;
mod parse;
pub mod table;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

pub use self::flags::Flags;
pub use self::parse::Listen;
pub use self::table::{DEFAULT_ADDRESS, LogFormat, Values};

/// Something an operator can set.
#[derive(Debug)]
pub struct Setting {
    /// Its name, as in the file; with two hyphens before it, its flag.
    pub name: &'static str,
    /// Its short flag.
    pub short: Option<char>,
    /// What a value is called in the help: `N`, `FILE`.
    pub placeholder: &'static str,
    /// What holds if nobody sets it.
    pub default: Default,
    /// One sentence without a full stop.
    pub help: &'static str,
    /// Commands that take its flag. The file and the environment may hold it whatever the command.
    pub used_by: &'static [Program],
    /// Reads a value into its place.
    ///
    /// # Errors
    /// What it takes, to follow the words "--name takes".
    pub set: fn(&mut Values, &str) -> Result<(), String>,
}

/// What holds if nobody sets a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// This value.
    Is(&'static str),
    /// No value, which means this.
    Means(&'static str),
}

/// A command that takes settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `webrunner serve`; `webrunner config` shows what it would do.
    Serve,
    /// `webrunner run`.
    Run,
    /// `webrunner kernels`.
    Kernels,
    /// `webrunner self-check`.
    SelfCheck,
}

/// Where a value came from, the weakest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line of the key, from 1.
        line: usize,
    },
    /// The environment.
    Environment,
    /// The command line.
    Flag,
}

/// A setting with what is in force.
#[derive(Debug)]
pub struct Entry {
    /// The setting.
    pub setting: &'static Setting,
    /// Its value as it was written; `None` if it has none.
    pub text: Option<String>,
    /// Where that came from.
    pub origin: Origin,
}

/// Everything that is set.
#[derive(Debug)]
pub struct Settings {
    /// One for each setting, in the table's order.
    pub entries: Vec<Entry>,
    /// What they mean.
    pub values: Values,
}

/// Why the settings cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration {}; name another with --config", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration file is no TOML.
    #[error("{}:{line}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// A name that no setting has.
    #[error("{place}there is no setting {got}; {advice}")]
    Unknown {
        /// File and line with a colon and a space, or nothing.
        place: String,
        /// The name.
        got: String,
        /// What may have been meant, or where the names are.
        advice: String,
    },
    /// A value that cannot be taken.
    #[error("{label} takes {expected}, got {got}")]
    Value {
        /// The setting, by where it was set.
        label: String,
        /// What it takes.
        expected: String,
        /// What came.
        got: String,
    },
}

/// One value from one place.
type Written = (&'static Setting, String, Origin);

impl Settings {
    /// Puts together what the flags, the environment and the file they name say.
    ///
    /// # Errors
    /// The first thing that cannot be taken, by its place.
    pub fn gather(
        flags: &Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let environment = environment::read(environment)?;
        let file = file::read(flags.config.as_deref().or(environment.config.as_deref()))?;
        let mut entries: Vec<Entry> = table::ALL.iter().map(Entry::by_default).collect();
        let from_flags = flags.written.iter().cloned().map(|(setting, text)| (setting, text, Origin::Flag));
        for (setting, text, origin) in file.into_iter().chain(environment.written).chain(from_flags) {
            if let Some(entry) = entries.iter_mut().find(|entry| std::ptr::eq(entry.setting, setting)) {
                (entry.text, entry.origin) = (Some(text), origin);
            }
        }
        let mut values = Values::default();
        for entry in &entries {
            if let Some(text) = &entry.text {
                (entry.setting.set)(&mut values, text).map_err(|expected| entry.refused(expected, text))?;
            }
        }
        Ok(Self { entries, values })
    }

    /// How to call a setting in a complaint about its value: as it was set.
    #[must_use]
    pub fn label(&self, name: &str) -> String {
        let entry = self.entries.iter().find(|entry| entry.setting.name == name);
        entry.map_or_else(|| format!("--{name}"), Entry::label)
    }
}

impl Entry {
    fn by_default(setting: &'static Setting) -> Self {
        let text = match setting.default {
            Default::Is(text) => Some(text.to_owned()),
            Default::Means(_) => None,
        };
        Self { setting, text, origin: Origin::Default }
    }

    fn label(&self) -> String {
        let Setting { name, .. } = self.setting;
        match &self.origin {
            Origin::Default | Origin::Flag => format!("--{name}"),
            Origin::Environment => environment::variable(name),
            Origin::File { path, line } => format!("{}:{line}: {name}", path.display()),
        }
    }

    fn refused(&self, expected: String, got: &str) -> SettingsError {
        let is_number = got.parse::<f64>().is_ok();
        let got = if is_number { got.to_owned() } else { format!("`{}`", got.escape_debug()) };
        SettingsError::Value { label: self.label(), expected, got }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// The name nearest to what came, if it is near enough to be meant.
fn nearest<'a>(got: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(&got.to_lowercase(), name);
    let near = names.into_iter().map(|name| (distance(name), name)).min()?;
    (near.0 <= 1 + got.len() / 3).then_some(near.1)
}

/// What to do about a name that no setting has: take the nearest, if one is near.
fn advice(near: Option<impl fmt::Display>) -> String {
    near.map_or_else(
        || "`webrunner serve --help` lists those there are".into(),
        |near| format!("did you mean {near}?"),
    )
}

/// The setting with this name.
fn find(name: &str) -> Option<&'static Setting> {
    table::ALL.iter().find(|setting| setting.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(
        words: &[&str],
        variables: &[(&str, &str)],
        file: Option<&str>,
    ) -> Result<Settings, SettingsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("webrunner.toml");
        std::fs::write(&path, file.unwrap_or_default()).unwrap();
        let words = ["webrunner", "serve", "--config", path.to_str().unwrap()]
            .into_iter()
            .chain(words.iter().copied());
        let (_, flags) = crate::cli::parse(words).unwrap();
        Settings::gather(&flags, variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    fn origin(settings: &Settings, name: &str) -> Origin {
        settings.entries.iter().find(|entry| entry.setting.name == name).unwrap().origin.clone()
    }

    #[test]
    fn the_file_gives_way_to_the_environment_and_that_to_flags() {
        let file = Some("queue-size = 1\nrate-limit = 1\n\ndeadline = 1\n");
        let variables = [("WEBRUNNER_QUEUE_SIZE", "2"), ("WEBRUNNER_RATE_LIMIT", "2"), ("PATH", "/bin")];
        let settings = gather(&["--queue-size", "3"], &variables, file).unwrap();
        let values = &settings.values;
        assert_eq!((values.queue_size, values.rate_limit.unwrap().get()), (3, 2));
        assert_eq!((values.deadline.as_secs(), values.cpu_limit), (1, 3));
        assert_eq!(origin(&settings, "queue-size"), Origin::Flag);
        assert_eq!(origin(&settings, "rate-limit"), Origin::Environment);
        assert!(matches!(origin(&settings, "deadline"), Origin::File { line: 4, .. }));
        assert_eq!(origin(&settings, "cpu-limit"), Origin::Default);
    }

    #[test]
    fn a_value_is_refused_by_the_place_it_came_from() {
        let of = |words: &[&str], variables: &[(&str, &str)], file| {
            gather(words, variables, file).unwrap_err().to_string()
        };
        assert_eq!(of(&["--deadline", "0"], &[], None), "--deadline takes 1 to 3600, got 0");
        let variable = of(&[], &[("WEBRUNNER_DEADLINE", "x\ny")], None);
        assert_eq!(variable, "WEBRUNNER_DEADLINE takes 1 to 3600, got `x\\ny`");
        let line = of(&[], &[], Some("\ndeadline = \"soon\""));
        assert!(line.ends_with("webrunner.toml:2: deadline takes 1 to 3600, got `soon`"), "{line}");
    }

    #[test]
    fn a_name_that_is_wrong_is_refused_with_the_nearest() {
        let of = |variables: &[(&str, &str)], file| gather(&[], variables, file).unwrap_err().to_string();
        let line = of(&[], Some("queue-sise = 1"));
        assert!(line.ends_with("webrunner.toml:1: there is no setting queue-sise; did you mean queue-size?"));
        let line = of(&[("WEBRUNNER_QUEUE_SISE", "1")], None);
        assert_eq!(line, "there is no setting WEBRUNNER_QUEUE_SISE; did you mean WEBRUNNER_QUEUE_SIZE?");
        let line = of(&[("WEBRUNNER_ZZZZ", "1")], None);
        let help = "`webrunner serve --help` lists those there are";
        assert_eq!(line, format!("there is no setting WEBRUNNER_ZZZZ; {help}"));
    }

    #[test]
    fn every_default_can_be_taken_and_every_name_is_unique() {
        let settings = gather(&[], &[], None).unwrap();
        let mut names: Vec<_> = settings.entries.iter().map(|entry| entry.setting.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), table::ALL.len());
    }
}
