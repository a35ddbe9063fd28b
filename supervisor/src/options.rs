//! The options of a job as a client writes them: query names that begin with `_`, or flags of `webrunner run`.
//!
//! A further option is a field of [`Options`], or of [`MeasureOptions`] if the worker is to hear of it, and a row of
//! [`TABLE`].

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value, json};
use webrunner_protocol::job::Effort;
use webrunner_protocol::options::{Guard, MeasureOptions};

use crate::negotiate::Format;
use crate::problem::Problem;

/// Longest symbol name taken, in bytes.
const MAX_SYMBOL_BYTES: usize = 512;

/// What a client chose; the rest is left to the effort.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Name of the function.
    pub symbol: Option<String>,
    /// How much time to spend.
    pub effort: Effort,
    /// Whether to count instructions; left to the effort if not said.
    pub counts: Option<bool>,
    /// Whether to check what the function computes; left to the effort if not said.
    pub check: Option<bool>,
    /// Hardware events to count in place of the usual ones.
    pub events: Option<String>,
    /// How to measure.
    pub measuring: MeasureOptions,
    /// Form of the answer, if one is named.
    pub format: Option<Format>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            symbol: None,
            effort: Effort::Standard,
            counts: None,
            check: None,
            events: None,
            measuring: MeasureOptions::default(),
            format: None,
        }
    }
}

/// An option of the service.
struct Row {
    /// Its name in a query. Its flag has the same after two hyphens, without the underscore.
    name: &'static str,
    /// What it takes, in words.
    expected: &'static str,
    /// Sets it; `None` for a word it does not take.
    set: fn(&mut Options, &str) -> Option<()>,
    /// Its flag, if it has one.
    flag: Option<Flag>,
}

/// What the help says of a flag.
struct Flag {
    placeholder: &'static str,
    help: &'static str,
}

/// Every option, in the order documents list them.
const TABLE: [Row; 11] = [
    Row {
        name: "_symbol",
        expected: "a name of 1 to 512 bytes",
        set: |options, word| {
            options.symbol = Some(symbol(word)?);
            Some(())
        },
        flag: Some(Flag {
            placeholder: "NAME",
            help: "Function to call [default: the one named as the kernel, or the only one]",
        }),
    },
    Row {
        name: "_effort",
        expected: "quick, standard or thorough",
        set: |options, word| {
            options.effort = Effort::ALL.into_iter().find(|effort| effort.name() == word)?;
            Some(())
        },
        flag: Some(Flag {
            placeholder: "EFFORT",
            help: "How much time to spend on a steady answer: quick, standard or thorough [default: standard]",
        }),
    },
    Row {
        name: "_counts",
        expected: "yes or no",
        set: |options, word| {
            options.counts = Some(yes_or_no(word)?);
            Some(())
        },
        flag: Some(Flag {
            placeholder: "YES|NO",
            help: "Count what one call executes: yes or no [default: yes unless the effort is quick]",
        }),
    },
    Row {
        name: "_check",
        expected: "yes or no",
        set: |options, word| {
            options.check = Some(yes_or_no(word)?);
            Some(())
        },
        flag: Some(Flag {
            placeholder: "YES|NO",
            help: "Check what the function computes: yes or no [default: yes unless the effort is quick]",
        }),
    },
    Row {
        name: "_events",
        expected: "1 to 64 events, joined by commas",
        set: |options, word| {
            options.events = Some(word.to_owned());
            Some(())
        },
        flag: Some(Flag {
            placeholder: "LIST",
            help: "Hardware events to count in place of the usual ones: names, aliases or cpu/event=0xa1,umask=1/, joined by commas",
        }),
    },
    Row {
        name: "_placements",
        expected: "1 or 4",
        set: |options, word| {
            options.measuring.placements = match word {
                "1" => 1,
                "4" => 4,
                _ => return None,
            };
            Some(())
        },
        flag: Some(Flag {
            placeholder: "N",
            help: "Places in memory to measure the function at: 1 or 4 [default: 4; always 1 at quick effort]",
        }),
    },
    Row {
        name: "_cold",
        expected: "yes or no",
        set: |options, word| {
            options.measuring.cold = yes_or_no(word)?;
            Some(())
        },
        flag: Some(Flag {
            placeholder: "YES|NO",
            help: "Measure calls with all buffers out of the caches too: yes or no [default: no]",
        }),
    },
    Row {
        name: "_restore",
        expected: "yes or no",
        set: |options, word| {
            options.measuring.restore = yes_or_no(word)?;
            Some(())
        },
        flag: Some(Flag {
            placeholder: "YES|NO",
            help: "Fill the buffers again before each measured batch: yes or no [default: no]",
        }),
    },
    Row {
        name: "_guard",
        expected: "none or end",
        set: |options, word| {
            options.measuring.guard = match word {
                "none" => Guard::None,
                "end" => Guard::End,
                _ => return None,
            };
            Some(())
        },
        flag: Some(Flag {
            placeholder: "WHERE",
            help: "Where a closed page lies by each buffer: none, or end, so that reading on past it faults [default: none]",
        }),
    },
    Row {
        name: "_ftz",
        expected: "yes or no",
        set: |options, word| {
            options.measuring.flush_denormals = yes_or_no(word)?;
            Some(())
        },
        flag: Some(Flag {
            placeholder: "YES|NO",
            help: "Take denormals for zero and make them zero: yes or no [default: no]",
        }),
    },
    Row {
        name: "_format",
        expected: Format::EXPECTED,
        set: |options, word| {
            options.format = Some(Format::from_name(word)?);
            Some(())
        },
        flag: None,
    },
];

impl Row {
    /// Its name without the underscore.
    fn word(&self) -> &'static str {
        &self.name[1..]
    }

    /// Its flag for clap.
    fn arg(&self) -> Option<Arg> {
        let Flag { placeholder, help } = self.flag.as_ref()?;
        Some(Arg::new(self.word()).long(self.word()).value_name(placeholder).help(help))
    }
}

impl Options {
    /// Sets the option of this name.
    ///
    /// # Errors
    /// [`Problem::UnknownOption`], or [`Problem::BadOption`] for a value it does not take.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let Some(row) = TABLE.iter().find(|row| row.name == name) else {
            return Err(Problem::UnknownOption { name: name.to_owned() });
        };
        let bad = || Problem::BadOption { name: row.name, expected: row.expected, got: value.to_owned() };
        (row.set)(self, value).ok_or_else(bad)
    }
}

/// Names of all options, joined by commas.
#[must_use]
pub fn names() -> String {
    TABLE.map(|row| row.name).join(", ")
}

fn symbol(word: &str) -> Option<String> {
    (!word.is_empty() && word.len() <= MAX_SYMBOL_BYTES).then(|| word.to_owned())
}

/// Reads the word for a choice.
fn yes_or_no(word: &str) -> Option<bool> {
    match word {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// The options of a measurement as its answer lists them. A quick one has one place, whatever was asked.
#[must_use]
pub fn describe(options: &MeasureOptions, effort: Effort) -> Value {
    let word = |yes| if yes { "yes" } else { "no" };
    json!({
        "placements": if effort == Effort::Quick { 1 } else { options.placements },
        "cold": word(options.cold),
        "restore": word(options.restore),
        "guard": match options.guard {
            Guard::None => "none",
            Guard::End => "end",
        },
        "ftz": word(options.flush_denormals),
    })
}

/// The same as flags: those that were given, by their names in a query.
#[derive(Debug, Default)]
pub struct OptionArgs(Vec<(&'static str, String)>);

impl OptionArgs {
    /// What the flags say.
    ///
    /// # Errors
    /// [`Problem::BadOption`], of the first that is wrong.
    pub fn options(&self) -> Result<Options, Problem> {
        let mut options = Options::default();
        for (name, value) in &self.0 {
            options.set(name, value)?;
        }
        Ok(options)
    }
}

impl Args for OptionArgs {
    fn augment_args(command: Command) -> Command {
        command.args(TABLE.iter().filter_map(Row::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for OptionArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let rows = TABLE.iter().filter(|row| row.flag.is_some());
        let given = rows.filter_map(|row| Some((row.name, matches.get_one::<String>(row.word())?.clone())));
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each option with a value that is not its default.
    const OTHER: [(&str, &str); TABLE.len()] = [
        ("_symbol", "dot"),
        ("_effort", "quick"),
        ("_counts", "no"),
        ("_check", "yes"),
        ("_events", "r1c2"),
        ("_placements", "1"),
        ("_cold", "yes"),
        ("_restore", "yes"),
        ("_guard", "end"),
        ("_ftz", "yes"),
        ("_format", "json"),
    ];

    #[test]
    fn every_option_is_set_by_its_name() {
        for (name, value) in OTHER {
            let mut options = Options::default();
            options.set(name, value).unwrap();
            assert_ne!(options, Options::default(), "{name}");
        }
        assert_eq!(OTHER.map(|(name, _)| name), TABLE.map(|row| row.name));
    }

    #[test]
    fn every_option_of_a_measurement_is_shown_by_its_name() {
        for (name, value) in OTHER {
            let mut options = Options::default();
            options.set(name, value).unwrap();
            let shown = &describe(&options.measuring, Effort::Standard)[&name[1..]];
            let shown = shown.as_str().map_or_else(|| shown.to_string(), str::to_owned);
            assert_eq!(shown == value, options.measuring != MeasureOptions::default(), "{name}: {shown}");
        }
        assert_eq!(describe(&MeasureOptions::default(), Effort::Quick)["placements"], 1);
    }

    #[test]
    fn an_option_takes_nothing_but_what_it_says() {
        for row in TABLE.iter().filter(|row| !["_symbol", "_events"].contains(&row.name)) {
            for value in ["", "2", "YES", "true", "end ", "both"] {
                let refused = Options::default().set(row.name, value);
                assert!(matches!(refused, Err(Problem::BadOption { name, .. }) if name == row.name));
            }
        }
        let unknown = Options::default().set("_hot", "yes");
        assert!(matches!(unknown, Err(Problem::UnknownOption { name }) if name == "_hot"));
    }

    #[test]
    fn flags_are_the_options_by_another_name() {
        let given = |words: &[&str]| {
            let command = OptionArgs::augment_args(Command::new("run").no_binary_name(true));
            OptionArgs::from_arg_matches(&command.try_get_matches_from(words).unwrap())
                .unwrap()
                .options()
                .unwrap()
        };
        assert_eq!(given(&[]), Options::default());
        let (mut words, mut wanted) = (Vec::new(), Options::default());
        for (name, value) in OTHER.into_iter().filter(|(name, _)| *name != "_format") {
            wanted.set(name, value).unwrap();
            words.extend([format!("--{}", &name[1..]), value.to_owned()]);
        }
        assert_eq!(given(&words.iter().map(String::as_str).collect::<Vec<_>>()), wanted);
    }

    #[test]
    fn the_description_of_the_interface_has_every_option() {
        let described: Value = serde_json::from_str(include_str!("openapi.json")).unwrap();
        let parameters = described["paths"]["/{machine}/run"]["post"]["parameters"].as_array().unwrap();
        let names = parameters.iter().filter_map(|parameter| parameter["name"].as_str());
        let mut names: Vec<_> = names.filter(|name| name.starts_with('_')).collect();
        let mut known = TABLE.map(|row| row.name);
        names.sort_unstable();
        known.sort_unstable();
        assert_eq!(names, known);
    }
}
