//! The headers that precede a job and a reply on a worker's socket.
//!
//! A worker's socket carries one [`JobHeader`], the encoded job and the object's bytes one way, and one [`ReplyHeader`]
//! and the encoded reply the other way. Where a job asks for what its function computes, frames of outputs come beside
//! the reply ([`check`](crate::check)). Lengths are checked against [`limits`](crate::limits) when a header is parsed,
//! so whoever holds a header may allocate what it says.

use crate::PROTOCOL_VERSION;
use crate::limits::{MAX_JOB_BYTES, MAX_OBJECT_BYTES, MAX_OUTPUTS_BYTES, MAX_REPLY_BYTES};

const JOB_MAGIC: [u8; 4] = *b"WRjb";
const REPLY_MAGIC: [u8; 4] = *b"WRre";
const OUTPUTS_MAGIC: [u8; 4] = *b"WRou";

/// Why a header was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first bytes are not the mark of this kind of frame.
    #[error("frame begins with {found:02x?}")]
    Magic {
        /// The bytes that came.
        found: [u8; 4],
    },
    /// The sender speaks another version.
    #[error("frame has protocol version {found}, this program speaks {PROTOCOL_VERSION}")]
    Version {
        /// The version that came.
        found: u16,
    },
    /// A length is past its limit.
    #[error("frame claims {len} bytes, the limit is {limit}")]
    TooLong {
        /// The length that came.
        len: u64,
        /// The most allowed.
        limit: u64,
    },
}

/// Precedes a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobHeader {
    /// Bytes of the encoded job.
    pub job_bytes: u32,
    /// Bytes of the object that follows it.
    pub object_bytes: u32,
}

impl JobHeader {
    /// Bytes a header takes.
    pub const BYTES: usize = 14;

    /// Writes the header.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&JOB_MAGIC);
        bytes[4..6].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
        bytes[6..10].copy_from_slice(&self.job_bytes.to_le_bytes());
        bytes[10..].copy_from_slice(&self.object_bytes.to_le_bytes());
        bytes
    }

    /// Reads a header and holds its lengths against the limits.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn parse(bytes: &[u8; Self::BYTES]) -> Result<Self, FrameError> {
        check_start(bytes[..6].try_into().unwrap_or_default(), JOB_MAGIC)?;
        let header = Self { job_bytes: u32_at(bytes, 6), object_bytes: u32_at(bytes, 10) };
        check_length(header.job_bytes, MAX_JOB_BYTES)?;
        check_length(header.object_bytes, MAX_OBJECT_BYTES)?;
        Ok(header)
    }
}

/// Precedes a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyHeader {
    /// Bytes of the encoded reply.
    pub reply_bytes: u32,
}

impl ReplyHeader {
    /// Bytes a header takes.
    pub const BYTES: usize = 10;

    /// Writes the header.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        answer_header(REPLY_MAGIC, self.reply_bytes)
    }

    /// Reads a header and holds its length against the limit.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn parse(bytes: &[u8; Self::BYTES]) -> Result<Self, FrameError> {
        check_start(bytes[..6].try_into().unwrap_or_default(), REPLY_MAGIC)?;
        let header = Self { reply_bytes: u32_at(bytes, 6) };
        check_length(header.reply_bytes, MAX_REPLY_BYTES)?;
        Ok(header)
    }
}

/// Precedes what a call left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputsHeader {
    /// Bytes of the call's record and its buffers.
    pub outputs_bytes: u32,
}

impl OutputsHeader {
    /// Writes the header.
    #[must_use]
    pub fn to_bytes(self) -> [u8; ReplyHeader::BYTES] {
        answer_header(OUTPUTS_MAGIC, self.outputs_bytes)
    }
}

/// What a worker that is asked for outputs may send next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announced {
    /// A reply.
    Reply(ReplyHeader),
    /// Outputs.
    Outputs(OutputsHeader),
}

impl Announced {
    /// Reads either header and holds its length against the limit.
    ///
    /// # Errors
    /// See [`FrameError`].
    pub fn parse(bytes: &[u8; ReplyHeader::BYTES]) -> Result<Self, FrameError> {
        if !bytes.starts_with(&OUTPUTS_MAGIC) {
            return ReplyHeader::parse(bytes).map(Self::Reply);
        }
        check_start(bytes[..6].try_into().unwrap_or_default(), OUTPUTS_MAGIC)?;
        let header = OutputsHeader { outputs_bytes: u32_at(bytes, 6) };
        check_length(header.outputs_bytes, MAX_OUTPUTS_BYTES)?;
        Ok(Self::Outputs(header))
    }
}

fn answer_header(magic: [u8; 4], len: u32) -> [u8; ReplyHeader::BYTES] {
    let mut bytes = [0; ReplyHeader::BYTES];
    bytes[..4].copy_from_slice(&magic);
    bytes[4..6].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    bytes[6..].copy_from_slice(&len.to_le_bytes());
    bytes
}

fn check_start(start: [u8; 6], magic: [u8; 4]) -> Result<(), FrameError> {
    let found = [start[0], start[1], start[2], start[3]];
    if found != magic {
        return Err(FrameError::Magic { found });
    }
    let version = u16::from_le_bytes([start[4], start[5]]);
    if version != PROTOCOL_VERSION {
        return Err(FrameError::Version { found: version });
    }
    Ok(())
}

fn check_length(len: u32, limit: usize) -> Result<(), FrameError> {
    if len as usize > limit {
        return Err(FrameError::TooLong { len: len.into(), limit: limit as u64 });
    }
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}
