//! Settings as text: what is in force, the file of defaults that a package brings, the table of the documentation. All
//! three are made from the table, so none of them can be out of date.

use std::fmt::Write as _;

use super::{Default, Settings, environment, table};

/// What is in force and where each value came from: itself a configuration file that sets the same.
#[must_use]
pub fn in_force(settings: &Settings) -> String {
    let lines: Vec<(String, String)> = settings
        .entries
        .iter()
        .map(|entry| {
            let name = entry.setting.name;
            match (&entry.text, entry.setting.default) {
                (Some(text), _) => (format!("{name} = {}", toml_value(text)), entry.origin.to_string()),
                (None, Default::Is(meaning) | Default::Means(meaning)) => {
                    (format!("#{name} ="), format!("not set: {meaning}"))
                }
            }
        })
        .collect();
    let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or_default();
    lines.iter().fold(String::new(), |text, (line, origin)| text + &format!("{line:width$}  # {origin}\n"))
}

/// A configuration file that sets nothing and shows everything.
#[must_use]
pub fn defaults_file() -> String {
    let mut text = String::from(
        "# WebRunner's settings. Each line that is commented out shows the default or, where nothing is set by default, a word\n\
         # in capitals for what it takes. Variables (WEBRUNNER_QUEUE_SIZE) and flags (--queue-size) go over this file;\n\
         # `webrunner config` prints what is in force and where it is set.\n",
    );
    for setting in table::ALL {
        // Writing to a String cannot fail.
        let _ = match setting.default {
            Default::Is(value) => {
                writeln!(text, "\n# {}.\n#{} = {}", setting.help, setting.name, toml_value(value))
            }
            Default::Means(meaning) => {
                let placeholder = toml_value(setting.placeholder);
                writeln!(text, "\n# {}. Not set: {meaning}.\n#{} = {placeholder}", setting.help, setting.name)
            }
        };
    }
    text
}

/// The settings as a table in Markdown.
#[must_use]
pub fn documentation() -> String {
    let mut text = String::from("| key, flag | variable | default | |\n|---|---|---|---|\n");
    for setting in table::ALL {
        let short = setting.short.map(|short| format!(", `-{short}`")).unwrap_or_default();
        let default = match setting.default {
            Default::Is(value) => format!("`{value}`"),
            Default::Means(meaning) => meaning.to_owned(),
        };
        let (name, variable) = (setting.name, environment::variable(setting.name));
        let _ = writeln!(text, "| `{name}`{short} | `{variable}` | {default} | {} |", setting.help);
    }
    text
}

/// A bare number, else a string.
fn toml_value(text: &str) -> String {
    let is_number = text.parse::<u32>().is_ok_and(|number| number.to_string() == text);
    if is_number { text.to_owned() } else { toml::Value::String(text.to_owned()).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Flags;

    fn settings(file: &str) -> Settings {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        std::fs::write(&path, file).unwrap();
        Settings::gather(&Flags { config: Some(path), written: Vec::new() }, []).unwrap()
    }

    #[test]
    fn what_is_in_force_is_a_file_that_sets_the_same() {
        let before = settings("queue-size = 7\naccess-log = 'a \"quoted\" name'\nsocket-mode = \"0600\"");
        let after = settings(&in_force(&before));
        let texts =
            |settings: &Settings| settings.entries.iter().map(|entry| entry.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&before), texts(&after));
    }

    #[test]
    fn the_file_of_defaults_sets_nothing_and_is_right_without_its_comment_signs() {
        let text = defaults_file();
        let nothing = settings(&text);
        assert!(nothing.entries.iter().all(|entry| entry.origin == crate::settings::Origin::Default));
        let lines =
            text.lines().filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')));
        // Placeholders of settings without a default are words, which not all of those take.
        let file: String = lines
            .filter(|line| !line.ends_with(":PORT\""))
            .filter(|line| !line.ends_with("\"N\""))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(file.lines().count(), table::ALL.len() - 2);
        let everything = settings(&file);
        assert_eq!(everything.values.queue_size, 64);
    }
}
