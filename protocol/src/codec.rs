//! Turns messages into bytes and back; the only place that knows which serialisation is used.
//!
//! bincode is declared unmaintained (RUSTSEC-2025-0141), so it stays behind the three functions below: changing it is
//! one commit here. Two of its habits are mended: encoding ignores a size limit, and decoding accepts trailing bytes.

use serde::{Serialize, de::DeserializeOwned};

/// Allocation limit handed to the decoder: nothing it decodes may claim more than the largest message.
const DECODE_LIMIT: usize = crate::limits::MAX_JOB_BYTES;

/// Why a message could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The value cannot be written, or does not fit the space given.
    #[error("cannot encode message")]
    Encode(#[from] bincode::error::EncodeError),
    /// The bytes are no such message, or claim more than the limit allows.
    #[error("cannot decode message")]
    Decode(#[from] bincode::error::DecodeError),
    /// The message is well-formed but too long.
    #[error("message of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Bytes the message takes.
        len: usize,
        /// Bytes it may take.
        limit: usize,
    },
    /// Bytes were left over after the message.
    #[error("{extra} bytes follow the message")]
    Trailing {
        /// How many.
        extra: usize,
    },
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<DECODE_LIMIT>()
}

/// Encodes `message` into a new vector of at most `limit` bytes.
///
/// # Errors
/// [`CodecError::TooLong`] past the limit, [`CodecError::Encode`] if the value cannot be written.
pub fn encode<T: Serialize>(message: &T, limit: usize) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::serde::encode_to_vec(message, config())?;
    if bytes.len() > limit {
        return Err(CodecError::TooLong { len: bytes.len(), limit });
    }
    Ok(bytes)
}

/// Encodes `message` at the start of `space` without allocating, and returns the bytes it took.
///
/// # Errors
/// [`CodecError::Encode`] if `space` is too small.
pub fn encode_into<T: Serialize>(message: &T, space: &mut [u8]) -> Result<usize, CodecError> {
    Ok(bincode::serde::encode_into_slice(message, space, config())?)
}

/// Decodes exactly one message from exactly `bytes`.
///
/// # Errors
/// [`CodecError::Decode`] for anything malformed, [`CodecError::Trailing`] if bytes are left over.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let (message, used) = bincode::serde::decode_from_slice(bytes, config())?;
    match bytes.len() - used {
        0 => Ok(message),
        extra => Err(CodecError::Trailing { extra }),
    }
}
