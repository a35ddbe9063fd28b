//! Settings in a TOML file: one key for each, no tables. An unknown key is refused, by its line.

use std::io;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{Origin, SettingsError, Written, advice, find, nearest, table};

/// Read if it is there and no other file is named. `/dev/null` is a file that sets nothing.
pub(super) const DEFAULT_PATH: &str = "/etc/webrunner/webrunner.toml";

/// Reads the file named, or the default one if there is one.
///
/// # Errors
/// If it cannot be read, is no TOML, or holds a key that is no setting.
pub(super) fn read(named: Option<&Path>) -> Result<Vec<Written>, SettingsError> {
    let path = named.unwrap_or(Path::new(DEFAULT_PATH));
    match std::fs::read(path) {
        Ok(bytes) => parse(&utf8(bytes, path)?, path),
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(SettingsError::Unreadable { path: path.to_owned(), source }),
    }
}

/// TOML is text; what is none is a wrong value like any other.
fn utf8(bytes: Vec<u8>, path: &Path) -> Result<String, SettingsError> {
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
        let reason = "not UTF-8; save the file as such".into();
        SettingsError::Syntax { path: path.to_owned(), line, reason }
    })
}

fn parse(text: &str, path: &Path) -> Result<Vec<Written>, SettingsError> {
    let line_of = |offset: usize| 1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count();
    let table = DeTable::parse(text).map_err(|error| SettingsError::Syntax {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| line_of(span.start)),
        reason: reason(&error, text),
    })?;
    let mut written = Vec::new();
    for (key, value) in table.get_ref() {
        let line = line_of(key.span().start);
        let name = key.get_ref().as_ref();
        let Some(setting) = find(name) else {
            let near = nearest(name, table::ALL.iter().map(|setting| setting.name));
            let is_table = matches!(value.get_ref(), DeValue::Table(_));
            return Err(SettingsError::Unknown {
                place: format!("{}:{line}: ", path.display()),
                got: name.escape_debug().to_string(),
                advice: if is_table { "settings stand in no table".into() } else { advice(near) },
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

/// What the parser says, and of what where it leaves that out.
fn reason(error: &toml::de::Error, text: &str) -> String {
    let key = error.span().and_then(|span| text.get(span)).filter(|_| error.message() == "duplicate key");
    let message = error.message().replace('\n', " ");
    key.map_or_else(|| message.clone(), |key| format!("{message} {}; keep one", key.escape_debug()))
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
        assert_eq!(refusal("deadline = 1\ndeadline = 2\n"), "x.toml:2: duplicate key deadline; keep one");
    }

    #[test]
    fn tables_and_lists_are_refused() {
        assert_eq!(
            refusal("\ncores = [1, 2]"),
            "x.toml:2: cores takes a string, a number, true or false, got a value of type array"
        );
        assert_eq!(
            refusal("[serve]\ndeadline = 1"),
            "x.toml:1: there is no setting serve; settings stand in no table"
        );
    }
}
