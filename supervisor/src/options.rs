//! The options of a measurement as a client writes them: query names that begin with `_`, or flags of `webrunner run`.
//!
//! A further option is a field of [`MeasureOptions`], a row of [`TABLE`], and a flag of [`OptionArgs`] with its line in
//! [`OptionArgs::pairs`].

use clap::Args;
use serde_json::{Value, json};
use webrunner_protocol::job::Effort;
use webrunner_protocol::options::{Guard, MeasureOptions};

use crate::problem::Problem;

/// An option of the service.
struct Row {
    /// Its name in a query.
    name: &'static str,
    /// What it takes, in words.
    expected: &'static str,
    /// Sets it; `None` for a word it does not take.
    set: fn(&mut MeasureOptions, &str) -> Option<()>,
}

/// Every option, in the order documents list them.
const TABLE: [Row; 5] = [
    Row {
        name: "_placements",
        expected: "1 or 4",
        set: |options, word| {
            options.placements = match word {
                "1" => 1,
                "4" => 4,
                _ => return None,
            };
            Some(())
        },
    },
    Row {
        name: "_cold",
        expected: "yes or no",
        set: |options, word| {
            options.cold = yes_or_no(word)?;
            Some(())
        },
    },
    Row {
        name: "_restore",
        expected: "yes or no",
        set: |options, word| {
            options.restore = yes_or_no(word)?;
            Some(())
        },
    },
    Row {
        name: "_guard",
        expected: "none or end",
        set: |options, word| {
            options.guard = match word {
                "none" => Guard::None,
                "end" => Guard::End,
                _ => return None,
            };
            Some(())
        },
    },
    Row {
        name: "_ftz",
        expected: "yes or no",
        set: |options, word| {
            options.flush_denormals = yes_or_no(word)?;
            Some(())
        },
    },
];

/// Sets the option of this name; false if there is none.
///
/// # Errors
/// [`Problem::BadOption`] for a value it does not take.
pub fn set(options: &mut MeasureOptions, name: &str, value: &str) -> Result<bool, Problem> {
    let Some(row) = TABLE.iter().find(|row| row.name == name) else { return Ok(false) };
    match (row.set)(options, value) {
        Some(()) => Ok(true),
        None => Err(Problem::BadOption { name: row.name, expected: row.expected, got: value.to_owned() }),
    }
}

/// Names of all options of a measurement, joined by commas.
#[must_use]
pub fn names() -> String {
    TABLE.map(|row| row.name).join(", ")
}

/// Reads the word for a choice.
pub(crate) fn yes_or_no(word: &str) -> Option<bool> {
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

/// The same as flags.
#[derive(Debug, Default, Args)]
pub struct OptionArgs {
    /// Places in memory to measure the function at: 1 or 4 [default: 4; always 1 at quick effort]
    #[arg(long, value_name = "N")]
    placements: Option<String>,
    /// Measure calls with all buffers out of the caches too: yes or no [default: no]
    #[arg(long, value_name = "YES|NO")]
    cold: Option<String>,
    /// Fill the buffers again before each measured batch: yes or no [default: no]
    #[arg(long, value_name = "YES|NO")]
    restore: Option<String>,
    /// Where a closed page lies by each buffer: none, or end, so that reading on past it faults [default: none]
    #[arg(long, value_name = "WHERE")]
    guard: Option<String>,
    /// Take denormals for zero and make them zero: yes or no [default: no]
    #[arg(long, value_name = "YES|NO")]
    ftz: Option<String>,
}

impl OptionArgs {
    /// The flags that were given, by their names in a query.
    fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("_placements", &self.placements),
            ("_cold", &self.cold),
            ("_restore", &self.restore),
            ("_guard", &self.guard),
            ("_ftz", &self.ftz),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }

    /// What the flags say.
    ///
    /// # Errors
    /// [`Problem::BadOption`], of the first that is wrong.
    pub fn options(&self) -> Result<MeasureOptions, Problem> {
        let mut options = MeasureOptions::default();
        for (name, value) in self.pairs() {
            set(&mut options, name, value)?;
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each option with a value that is not its default.
    const OTHER: [(&str, &str); TABLE.len()] =
        [("_placements", "1"), ("_cold", "yes"), ("_restore", "yes"), ("_guard", "end"), ("_ftz", "yes")];

    #[test]
    fn every_option_is_set_by_its_name_and_shown_by_it() {
        for (name, value) in OTHER {
            let mut options = MeasureOptions::default();
            assert!(set(&mut options, name, value).unwrap());
            assert_ne!(options, MeasureOptions::default(), "{name}");
            let shown = &describe(&options, Effort::Standard)[&name[1..]];
            assert_eq!(shown.as_str().map_or_else(|| shown.to_string(), str::to_owned), value);
        }
        assert_eq!(OTHER.map(|(name, _)| name), TABLE.map(|row| row.name));
        assert_eq!(describe(&MeasureOptions::default(), Effort::Quick)["placements"], 1);
    }

    #[test]
    fn an_option_takes_nothing_but_what_it_says() {
        for row in &TABLE {
            for value in ["", "2", "YES", "true", "end ", "both"] {
                let refused = set(&mut MeasureOptions::default(), row.name, value);
                assert!(matches!(refused, Err(Problem::BadOption { name, .. }) if name == row.name));
            }
        }
        assert!(!set(&mut MeasureOptions::default(), "_hot", "yes").unwrap());
    }

    #[test]
    fn flags_are_the_options_by_another_name() {
        let yes = || Some("yes".to_owned());
        let flags = OptionArgs {
            placements: Some("1".into()),
            cold: yes(),
            restore: yes(),
            guard: Some("end".into()),
            ftz: yes(),
        };
        assert_eq!(flags.pairs().collect::<Vec<_>>(), OTHER);
        let wanted = MeasureOptions {
            cold: true,
            restore: true,
            guard: Guard::End,
            flush_denormals: true,
            placements: 1,
        };
        assert_eq!(flags.options().unwrap(), wanted);
        assert_eq!(OptionArgs::default().options().unwrap(), MeasureOptions::default());
    }
}
