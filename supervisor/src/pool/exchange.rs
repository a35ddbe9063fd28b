//! One job's conversation with its worker: the frame out, exactly one frame back, then end of file; more where outputs are
//! checked (`examine`).
//!
//! Every byte that comes back is hostile. At most one frame's worth is kept, lengths are held against the limits before
//! anything is allocated for them, and what is not a reply is described without repeating a byte of it.

use std::io::{self, IoSlice};
use std::sync::Arc;

use actix_web::web::Bytes;
use webrunner_protocol::codec;
use webrunner_protocol::frame::{JobHeader, ReplyHeader};
use webrunner_protocol::ids::JobId;
use webrunner_protocol::limits::MAX_REPLY_BYTES;
use webrunner_protocol::reply::Reply;

use super::examine;
use super::readable::Readable;
use crate::check::{Examination, Examined};

/// Bytes most replies fit in.
const USUAL_REPLY_BYTES: usize = 2048;

/// What a worker sent before it ended or closed its socket.
#[derive(Debug)]
pub(super) enum Sent {
    /// One reply that can be true, and what came of its check if there was one.
    Reply(Box<Reply>, Option<Examined>),
    /// Nothing.
    Nothing,
    /// Something else.
    Garbage {
        /// What was wrong with it.
        reason: String,
    },
}

/// Sends the job and takes what comes back, until end of file.
///
/// # Errors
/// If the socket fails other than by the worker's end.
pub(super) async fn exchange(
    socket: &Readable,
    id: JobId,
    job: &[u8],
    object: &Bytes,
    examination: Option<&Arc<Examination>>,
) -> io::Result<Sent> {
    let header = JobHeader { job_bytes: job.len() as u32, object_bytes: object.len() as u32 }.to_bytes();
    // A worker that ended early does not take it all; what it said before says why.
    let mut parts = [IoSlice::new(&header), IoSlice::new(job), IoSlice::new(object)];
    if let Err(error) = socket.send(&mut parts).await
        && !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
    {
        return Err(error);
    }
    match examination {
        None => receive(socket, id).await,
        Some(examination) => examine::receive(socket, id, examination).await,
    }
}

async fn receive(socket: &Readable, id: JobId) -> io::Result<Sent> {
    const LONGEST: usize = ReplyHeader::BYTES + MAX_REPLY_BYTES;
    let mut bytes = Vec::with_capacity(USUAL_REPLY_BYTES);
    loop {
        if bytes.len() == bytes.capacity() {
            bytes.reserve(bytes.len());
        }
        match socket.receive(&mut bytes).await {
            Ok(0) => break,
            Ok(_) if bytes.len() > LONGEST => {
                return Ok(Sent::Garbage { reason: format!("it sent more than {LONGEST} bytes") });
            }
            Ok(_) => {}
            // Unread job bytes turn the close into a reset.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
        }
    }
    Ok(judge(&bytes, id))
}

/// Decides what the bytes are.
fn judge(bytes: &[u8], id: JobId) -> Sent {
    if bytes.is_empty() {
        return Sent::Nothing;
    }
    match parse(bytes, id) {
        Ok(reply) => Sent::Reply(Box::new(reply), None),
        Err(reason) => Sent::Garbage { reason },
    }
}

fn parse(bytes: &[u8], id: JobId) -> Result<Reply, String> {
    let Some((start, body)) = bytes.split_first_chunk::<{ ReplyHeader::BYTES }>() else {
        return Err(format!("it sent {} bytes, fewer than a reply's header", bytes.len()));
    };
    let header =
        ReplyHeader::parse(start).map_err(|_| "what it sent does not begin like a reply".to_owned())?;
    let claimed = header.reply_bytes as usize;
    if body.len() != claimed {
        return Err(format!("its reply claims {claimed} bytes and {} came", body.len()));
    }
    decode(body, id)
}

/// Decodes the body of a reply's frame.
pub(super) fn decode(body: &[u8], id: JobId) -> Result<Reply, String> {
    let reply: Reply = codec::decode(body).map_err(|_| "its reply cannot be decoded".to_owned())?;
    reply.check(id).map_err(|error| error.to_string())?;
    Ok(reply)
}
