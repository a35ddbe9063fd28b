//! The token that `webrunner self-check` sends: one line of a file.
//!
//! On a command line or in the environment every process of its user could read it. Nothing of the file is ever repeated.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::tokens::{MAX_TOKEN_BYTES, MIN_TOKEN_BYTES};

/// A token, fit for a header.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why a file holds no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("cannot read the token in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "{} holds no token: one line of {MIN_TOKEN_BYTES} to {MAX_TOKEN_BYTES} visible characters",
        path.display()
    )]
    NoToken {
        /// The file.
        path: PathBuf,
    },
}

impl Token {
    /// Reads a file.
    ///
    /// # Errors
    /// See [`TokenFileError`].
    pub fn load(path: &Path) -> Result<Self, TokenFileError> {
        let failed = |source| TokenFileError::Read { path: path.to_owned(), source };
        // As much again for white space around it.
        let most = 2 * MAX_TOKEN_BYTES as u64;
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(failed)?;
        Self::parse(&bytes).ok_or_else(|| TokenFileError::NoToken { path: path.to_owned() })
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let token = bytes.trim_ascii();
        let is_sane = (MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&token.len())
            && token.iter().all(u8::is_ascii_graphic);
        is_sane.then(|| Self(token.iter().copied().map(char::from).collect()))
    }

    /// The token, to be sent and not to be shown.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line_of_visible_characters() {
        let good = "0123456789abcdef0123456789abcdef";
        assert_eq!(Token::parse(format!(" {good}\r\n").as_bytes()).unwrap().as_str(), good);
        let (short, long) = (&good[..21], "x".repeat(513));
        for wrong in [
            "",
            "\n",
            short,
            &long,
            &format!("{good}\n{good}"),
            &format!("{good}\r\nX: y"),
            "ü".repeat(30).as_str(),
        ] {
            assert_eq!(Token::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_is_not_shown() {
        let token = Token::parse(b"0123456789abcdef0123456789abcdef").unwrap();
        assert!(!format!("{token:?}").contains("0123"));
    }
}
