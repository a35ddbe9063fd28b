//! The id of a request: the client's own if it is fit to be repeated, else a fresh one.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use actix_web::http::header::HeaderName;

/// Name of the header that carries it both ways.
pub static HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id taken from a client, in bytes.
const MAX_BYTES: usize = 64;

/// At most 64 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// The client's id, if it is 1 to 64 visible ASCII characters.
    #[must_use]
    pub fn from_client(raw: &[u8]) -> Option<Self> {
        let sane = !raw.is_empty() && raw.len() <= MAX_BYTES && raw.iter().all(u8::is_ascii_graphic);
        sane.then(|| Self(raw.iter().copied().map(char::from).collect()))
    }

    /// A fresh id of 16 hexadecimal digits. It names a request in logs and protects nothing.
    #[must_use]
    pub fn fresh() -> Self {
        thread_local! {
            // The standard library seeds its hash maps from the system's random source.
            static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0u64));
        }
        // splitmix64, Steele, Lea and Flood 2014: every state gives a different output.
        let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        STATE.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(format!("{:016x}", mixed ^ (mixed >> 31)))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sane_ids_are_kept_and_others_are_not() {
        assert_eq!(RequestId::from_client(b"job-17/3").unwrap().as_str(), "job-17/3");
        for bad in [&b""[..], b"two words", b"line\nbreak", "ü".as_bytes(), &[b'x'; 65]] {
            assert_eq!(RequestId::from_client(bad), None);
        }
    }

    #[test]
    fn fresh_ids_differ_and_are_sane() {
        let (one, two) = (RequestId::fresh(), RequestId::fresh());
        assert_ne!(one, two);
        assert!(RequestId::from_client(one.as_str().as_bytes()).is_some());
    }
}
