//! Who may post jobs, where not everybody may: bearer tokens (RFC 6750) from a file.
//!
//! The file holds a line for each client, `NAME:SHA-256`, the digest in hexadecimal; empty lines and those that begin with
//! `#` are skipped. A file that leaks gives no token away, and nothing here keeps one: what a request brings is hashed
//! and the digests are compared, all of them and in constant time. One round of SHA-256 is enough because tokens are
//! random, not words that somebody chose: guessing one is guessing 128 bits and more.
//!
//! Errors and logs name lines and clients, never a digest, and never a byte of a line that cannot be read: it may be a
//! token.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// Largest file taken, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Longest name of a client, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// Fewest bytes a request's token may have: 128 bits in base 64.
pub(crate) const MIN_TOKEN_BYTES: usize = 22;

/// Most bytes of a request's token that are hashed.
pub(crate) const MAX_TOKEN_BYTES: usize = 512;

/// Clients that may post jobs; at least one.
#[derive(Clone)]
pub struct Tokens {
    clients: Vec<Client>,
}

#[derive(Clone)]
struct Client {
    name: Arc<str>,
    digest: [u8; 32],
}

/// Digests are not shown: they are of no use to a reader of logs.
impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clients.iter().map(|client| &client.name)).finish()
    }
}

/// Why a request may not post a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// It brings no token.
    NoToken,
    /// It brings something that is no bearer token, or one that is not known.
    UnknownToken,
}

/// Why a file of tokens cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// It cannot be read.
    #[error("cannot read the tokens in {}; name another file with --tokens", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is too large.
    #[error("{} is larger than the {MAX_FILE_BYTES} bytes a file of tokens may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A line is wrong.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, the first being 1.
        line: usize,
        /// What is wrong with it.
        reason: LineError,
    },
    /// It has no line that names a client, so nobody could post anything.
    #[error("{} names no client; add a line NAME:SHA-256, or leave --tokens out to let everybody in", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// It has no colon.
    #[error("a line is NAME:SHA-256, with a colon between; a token itself does not belong here")]
    NoColon,
    /// The name is none.
    #[error("a name is 1 to {MAX_NAME_BYTES} letters, digits and any of .-_")]
    Name,
    /// The digest is none.
    #[error("a digest is 64 hexadecimal digits, as sha256sum prints it, got {length} characters")]
    Digest {
        /// Characters that came.
        length: usize,
    },
    /// The name was there before.
    #[error("the name `{name}` stands in line {first} already")]
    SameName {
        /// The name.
        name: String,
        /// Where it was.
        first: usize,
    },
    /// The digest was there before, so that a token would have two names.
    #[error("the digest stands in line {first} already")]
    SameDigest {
        /// Where it was.
        first: usize,
    },
}

impl Tokens {
    /// Reads a file. Warns where others than its owner and group may read it.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, TokensError> {
        let failed = |source| TokensError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode();
        if mode & 0o007 != 0 {
            tracing::warn!(
                path = %path.display(),
                mode = format_args!("{:04o}", mode & 0o7777),
                "everybody on this host may use the file of tokens; chmod o= it"
            );
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(TokensError::TooLarge { path: path.to_owned() });
        }
        Self::parse(&bytes).map_err(|wrong| match wrong {
            Some((line, reason)) => TokensError::Line { path: path.to_owned(), line, reason },
            None => TokensError::Empty { path: path.to_owned() },
        })
    }

    /// Reads the lines of a file; the error is the number of a line and what is wrong with it, or nothing if there is none.
    fn parse(text: &[u8]) -> Result<Self, Option<(usize, LineError)>> {
        let mut clients: Vec<Client> = Vec::new();
        let mut lines: Vec<usize> = Vec::new();
        for (number, line) in (1..).zip(text.split(|&byte| byte == b'\n')) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let client = client(line).map_err(|reason| Some((number, reason)))?;
            let same_name = clients.iter().position(|known| known.name == client.name);
            let same_digest = clients.iter().position(|known| known.digest == client.digest);
            let twice = match (same_name, same_digest) {
                (Some(at), _) => {
                    Some(LineError::SameName { name: client.name.to_string(), first: lines[at] })
                }
                (None, Some(at)) => Some(LineError::SameDigest { first: lines[at] }),
                (None, None) => None,
            };
            if let Some(reason) = twice {
                return Err(Some((number, reason)));
            }
            clients.push(client);
            lines.push(number);
        }
        if clients.is_empty() { Err(None) } else { Ok(Self { clients }) }
    }

    /// Clients there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.clients.len()
    }

    /// The client that an `Authorization` header stands for. How long this takes tells nothing about the tokens there are.
    ///
    /// # Errors
    /// Why it stands for none.
    pub fn client(&self, authorization: Option<&[u8]>) -> Result<Arc<str>, Stranger> {
        let token = bearer(authorization.ok_or(Stranger::NoToken)?).ok_or(Stranger::UnknownToken)?;
        let digest: [u8; 32] = Sha256::digest(token).into();
        let (mut found, mut at) = (Choice::from(0), 0_u64);
        for (index, client) in (0_u64..).zip(&self.clients) {
            let same = client.digest.ct_eq(&digest);
            at.conditional_assign(&index, same);
            found |= same;
        }
        let client = self.clients.get(at as usize).filter(|_| found.into());
        client.map(|client| Arc::clone(&client.name)).ok_or(Stranger::UnknownToken)
    }
}

/// The token of an `Authorization: Bearer …` header.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let space = header.iter().position(|&byte| byte == b' ')?;
    let (scheme, token) = header.split_at(space);
    let token = token.trim_ascii();
    let sane = (MIN_TOKEN_BYTES..=MAX_TOKEN_BYTES).contains(&token.len());
    (scheme.eq_ignore_ascii_case(b"bearer") && sane).then_some(token)
}

fn client(line: &[u8]) -> Result<Client, LineError> {
    let colon = line.iter().position(|&byte| byte == b':').ok_or(LineError::NoColon)?;
    let (name, digest) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
    let fits = |&byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.iter().all(fits) {
        return Err(LineError::Name);
    }
    let digest = from_hex(digest).ok_or(LineError::Digest { length: digest.len() })?;
    Ok(Client { name: String::from_utf8_lossy(name).into(), digest })
}

fn from_hex(digits: &[u8]) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = digits.try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let value = |digit: u8| char::from(digit).to_digit(16);
        *byte = (value(pair[0])? << 4 | value(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn line(name: &str, token: &str) -> String {
        let digest: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name}:{digest}\n")
    }

    fn tokens(text: &str) -> Tokens {
        Tokens::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_token_stands_for_its_client() {
        let other = "another-token-of-this-file";
        let text = format!("# clients\n\n{}  {}", line("farm", TOKEN), line("page-2", other));
        let tokens = tokens(&text);
        assert_eq!(tokens.count(), 2);
        for (header, name) in [
            (format!("Bearer {TOKEN}"), "farm"),
            (format!("bearer   {TOKEN} "), "farm"),
            (format!("BEARER {other}"), "page-2"),
        ] {
            assert_eq!(&*tokens.client(Some(header.as_bytes())).unwrap(), name);
        }
    }

    #[test]
    fn what_is_no_token_of_the_file_stands_for_nobody() {
        let tokens = tokens(&line("farm", TOKEN));
        assert_eq!(tokens.client(None), Err(Stranger::NoToken));
        let near = format!("Bearer {}", TOKEN.to_uppercase());
        let long = format!("Bearer {}", "x".repeat(100_000));
        let (basic, cut) = (format!("Basic {TOKEN}"), format!("Bearer {}", &TOKEN[1..]));
        for header in [&near, &long, &basic, &cut, TOKEN, "Bearer", "Bearer ", "", "\u{ff}"] {
            assert_eq!(tokens.client(Some(header.as_bytes())), Err(Stranger::UnknownToken), "{header}");
        }
    }

    #[test]
    fn the_digest_is_no_token() {
        let text = line("farm", TOKEN);
        let digest = text.trim_end().split_once(':').unwrap().1;
        let header = format!("Bearer {digest}");
        assert_eq!(tokens(&text).client(Some(header.as_bytes())), Err(Stranger::UnknownToken));
    }

    #[test]
    fn a_line_that_is_wrong_is_told_by_its_number_and_nothing_of_it_is_repeated() {
        let good = line("farm", TOKEN);
        let wrong = |text: String| Tokens::parse(text.as_bytes()).unwrap_err();
        assert_eq!(wrong(format!("{good}{TOKEN}\n")), Some((2, LineError::NoColon)));
        assert_eq!(wrong(format!("\n{good}two words:00\n")), Some((3, LineError::Name)));
        assert_eq!(wrong(format!("farm:{TOKEN}")), Some((1, LineError::Digest { length: 32 })));
        assert_eq!(wrong(format!("farm:{}", "g".repeat(64))), Some((1, LineError::Digest { length: 64 })));
        let twice = LineError::SameName { name: "farm".into(), first: 1 };
        assert_eq!(wrong(format!("{good}{}", line("farm", "x"))), Some((2, twice)));
        let same = LineError::SameDigest { first: 1 };
        assert_eq!(wrong(format!("{good}{}", line("other", TOKEN))), Some((2, same)));
        assert_eq!(wrong("# nobody\n".into()), None);
        for error in [LineError::NoColon, LineError::Name, LineError::Digest { length: 32 }] {
            assert!(!error.to_string().contains(TOKEN));
        }
    }
}
