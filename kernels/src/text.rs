//! Text that came from outside: made safe to show, and compared with names we know.
//!
//! Trusts nothing about its input. It must never return more text, or take more time, than its limits allow.

/// Most characters of foreign text shown in a message.
const MAX_SHOWN_CHARS: usize = 64;

/// Names longer than this are near to nothing.
const MAX_COMPARED_CHARS: usize = 64;

/// Most near names offered.
const MAX_NEAR: usize = 5;

/// Longest name a specification may give to anything.
pub(crate) const MAX_IDENTIFIER_BYTES: usize = 64;

/// The text with control characters escaped, cut to [`MAX_SHOWN_CHARS`].
#[must_use]
pub fn shown(text: &str) -> String {
    let mut characters = text.chars();
    let mut shown: String = characters.by_ref().take(MAX_SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Whether the text is a C identifier of sensible length.
pub(crate) fn is_identifier(text: &str) -> bool {
    let starts_well = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts_well
        && text.len() <= MAX_IDENTIFIER_BYTES
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The names most like `name`, nearest first; letter case does not count.
///
/// Each known name comes as the text to compare and the text to offer.
#[must_use]
pub fn near<'a>(name: &str, known: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let Some(wanted) = comparable(name) else { return Vec::new() };
    let mut found: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|(candidate, offered)| {
            let distance = edit_distance(&wanted, &comparable(candidate)?);
            // A third of the letters wrong is still a slip; more is another word.
            (distance <= 1 + wanted.len() / 3).then_some((distance, offered))
        })
        .collect();
    found.sort_unstable();
    let mut names: Vec<String> = Vec::new();
    for (_, offered) in found {
        if names.len() < MAX_NEAR && !names.iter().any(|name| name == offered) {
            names.push(offered.to_owned());
        }
    }
    names
}

/// Letters in lower case; `None` for a text too long to compare.
fn comparable(text: &str) -> Option<Vec<char>> {
    let letters: Vec<char> =
        text.chars().take(MAX_COMPARED_CHARS + 1).map(|letter| letter.to_ascii_lowercase()).collect();
    (letters.len() <= MAX_COMPARED_CHARS).then_some(letters)
}

/// Levenshtein distance: the fewest letters put in, taken out or changed to turn one into the other.
fn edit_distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_come_nearest_first() {
        assert_eq!(near("SDTO", ["sdot", "ddot", "sasum"].map(|name| (name, name))), ["sdot"]);
        assert_eq!(near("incz", ["n", "incy", "incx", "offx"].map(|name| (name, name))), ["incx", "incy"]);
        assert_eq!(near("sdot", [("blis.sdot", "blis.sdot"), ("sdot", "blis.sdot")]), ["blis.sdot"]);
    }

    #[test]
    fn a_very_long_name_is_near_to_nothing() {
        let long = "n".repeat(1 << 20);
        assert!(near(&long, [(long.as_str(), long.as_str())]).is_empty());
    }

    #[test]
    fn foreign_text_is_escaped_and_cut() {
        assert_eq!(shown("a\nb\u{7f}"), "a\\nb\\u{7f}");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), MAX_SHOWN_CHARS + 1);
    }
}
