//! From a word to a value. What cannot be read is answered with what would be: the words that follow "takes".

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// How the path of a Unix socket begins.
const UNIX: &str = "unix:";

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// At an address of a network.
    Tcp(SocketAddr),
    /// At a path.
    Unix(PathBuf),
}

impl Default for Listen {
    /// Only this host can connect, at a port that the system chooses; the table's own default goes over it.
    fn default() -> Self {
        Self::Tcp((Ipv4Addr::LOCALHOST, 0).into())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// An address with a port, or `unix:` and a path.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix(UNIX).filter(|path| path.starts_with('/')) {
        return Ok(Listen::Unix(path.into()));
    }
    let expected = "an address and a port such as 127.0.0.1:8081, or unix: and an absolute path";
    text.parse().map(Listen::Tcp).map_err(|_| expected.to_owned())
}

/// An address with a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address and a port such as 127.0.0.1:9100".to_owned())
}

/// A whole number within bounds.
pub(super) fn number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{least} to {most}"))
}

/// A whole number above zero.
pub(super) fn positive(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_| format!("1 to {}", u32::MAX))
}

/// A time in whole seconds within bounds.
pub(super) fn seconds(text: &str, least: u32, most: u32) -> Result<Duration, String> {
    Ok(Duration::from_secs(number(text, least, most)?.into()))
}

/// A path, which may be relative to where the program was started.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("a path".into()) } else { Ok(text.into()) }
}

/// Permissions of a file, in octal.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(digits, 8).ok().filter(|&mode| mode <= 0o777 && !digits.starts_with('+'));
    mode.ok_or_else(|| "permissions in octal such as 0660".into())
}

/// One of a few words.
pub(super) fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        match words.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => words.concat(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_a_path_can_be_listened_on() {
        assert_eq!(listen("[::1]:80").unwrap().to_string(), "[::1]:80");
        assert_eq!(listen("unix:/run/x.sock").unwrap(), Listen::Unix("/run/x.sock".into()));
        for wrong in ["", "localhost", "127.0.0.1", "unix:", "unix:x.sock", "/run/x.sock"] {
            assert!(listen(wrong).unwrap_err().starts_with("an address and a port"), "{wrong}");
        }
    }

    #[test]
    fn permissions_are_octal() {
        assert_eq!((mode("0660"), mode("0o600"), mode("7")), (Ok(0o660), Ok(0o600), Ok(7)));
        for wrong in ["", "888", "01777", "-1", "+7", "rw"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_held_to_their_bounds() {
        assert_eq!(number("7", 0, 7), Ok(7));
        for wrong in ["8", "-1", "", "1.5", "0x1"] {
            assert_eq!(number(wrong, 0, 7), Err("0 to 7".into()));
        }
        assert!(positive("0").is_err());
    }

    #[test]
    fn words_are_listed_where_none_fits() {
        let words = [("a", 1), ("b", 2), ("c", 3)];
        assert_eq!((word("b", &words), word("d", &words)), (Ok(2), Err("a, b or c".into())));
    }
}
