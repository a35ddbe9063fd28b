//! Settings in a TOML file: one key for each, no tables. An unknown key is refused, by its line.

use std::io;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{Origin, SettingsError, Written, find, nearest, table};

/// Read if it is there and no other file is named. `/dev/null` is a file that sets nothing.
pub(super) const DEFAULT_PATH: &str = "/etc/webrunner/webrunner.toml";

/// Reads the file named, or the default one if there is one.
///
/// # Errors
/// If it cannot be read, is no TOML, or holds a key that is no setting.
pub(super) fn read(named: Option<&Path>) -> Result<Vec<Written>, SettingsError> {
    let path = named.unwrap_or(Path::new(DEFAULT_PATH));
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, path),
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(SettingsError::Unreadable { path: path.to_owned(), source }),
    }
}

fn parse(text: &str, path: &Path) -> Result<Vec<Written>, SettingsError> {
    let line_of = |offset: usize| 1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count();
    let table = DeTable::parse(text).map_err(|error| SettingsError::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line_of(span.start)),
        reason: error.message().replace('\n', " "),
    })?;
    let mut written = Vec::new();
    for (key, value) in table.get_ref() {
        let line = line_of(key.span().start);
        let name = key.get_ref().as_ref();
        let Some(setting) = find(name) else {
            return Err(SettingsError::Unknown {
                place: format!("{}:{line}: ", path.display()),
                got: name.escape_debug().to_string(),
                near: nearest(name, table::ALL.iter().map(|setting| setting.name)).map(str::to_owned),
            });
        };
        let Some(text) = plain(value.get_ref()) else {
            return Err(SettingsError::Value {
                label: format!("{}:{line}: {name}", path.display()),
                expected: "a string, a number, true or false".into(),
                got: format!("a value of type {}", value.get_ref().type_str()),
            });
        };
        written.push((setting, text, Origin::File { path: path.to_owned(), line }));
    }
    // The parser sorts by key; the first mistake to be told is the one that stands first.
    written.sort_by_key(|(_, _, origin)| match origin {
        Origin::File { line, .. } => *line,
        _ => 0,
    });
    Ok(written)
}

/// A plain value as it would stand on a command line.
fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => Some(match number.radix() {
            16 => format!("0x{}", number.as_str()),
            8 => format!("0o{}", number.as_str()),
            2 => format!("0b{}", number.as_str()),
            _ => number.as_str().to_owned(),
        }),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let line = parse(text, Path::new("x.toml")).unwrap_err().to_string();
        assert!(!line.contains('\n'), "{line}");
        line
    }

    #[test]
    fn values_are_taken_as_they_stand() {
        let text = "# comment\nsocket-mode = 0o660\nqueue-size = 1_000\naccess-log = \"a\\tb\"\n";
        let words: Vec<_> =
            parse(text, Path::new("x.toml")).unwrap().into_iter().map(|(_, text, _)| text).collect();
        assert_eq!(words, ["0o660", "1000", "a\tb"]);
    }

    #[test]
    fn what_is_no_toml_is_refused_by_its_line() {
        assert!(refusal("deadline = 1\nqueue-size = = 2\n").starts_with("x.toml:2: "));
        assert!(refusal("deadline = 1\ndeadline = 2\n").starts_with("x.toml:2: "));
    }

    #[test]
    fn tables_and_lists_are_refused() {
        assert_eq!(
            refusal("\ncores = [1, 2]"),
            "x.toml:2: cores takes a string, a number, true or false, got a value of type array"
        );
        assert_eq!(refusal("[serve]\ndeadline = 1"), "x.toml:1: there is no setting serve");
    }
}
