//! The conversation with a worker whose function's outputs are checked.
//!
//! The worker sends what the measured calls left, then its reply. Only once that is here does it get the challenge; then come
//! the outputs of the challenged calls, and the end of the stream:
//!
//! ```text
//! supervisor: Job                                 Challenge
//! worker:          Outputs(measured)  Reply                   Outputs(altered) × 3  Outputs(fresh)  end
//! ```
//!
//! At every place where outputs may come a reply may come instead, and ends it: a refusal, or the fault of a checked
//! call. Lengths are known before: a frame of outputs of any other length is refused by its header.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, Shutdown};
use webrunner_protocol::check::{CallRecord, Challenge, Stage};
use webrunner_protocol::fault::FaultCause;
use webrunner_protocol::frame::{Announced, ReplyHeader};
use webrunner_protocol::ids::JobId;
use webrunner_protocol::reply::{Outcome, Outputs, Reply};

use super::exchange::{Sent, decode};
use super::readable::Readable;
use super::zygote::random_bytes;
use crate::check::{Correctness, Examination, Examined};

/// The header of a frame whose length is as it may be, or what came instead.
enum Header {
    Announced(Announced),
    End,
    Garbage(String),
}

/// One frame, or what came instead.
enum Frame {
    Outputs(Vec<u8>),
    Reply(Box<Reply>),
    End,
    Garbage(String),
}

/// Takes everything that comes from a worker that was sent a job with a check, until end of file.
///
/// # Errors
/// If the socket fails other than by the worker's end, or there are no random numbers.
pub(super) async fn receive(
    socket: &Readable,
    id: JobId,
    examination: &Arc<Examination>,
) -> io::Result<Sent> {
    let conversation = Conversation { socket, id, examination };
    let first = conversation.header().await?;
    // Nobody but this job waits for the room, and while it does the worker waits to be read from.
    let _room = match first {
        Header::Announced(Announced::Outputs(_)) => examination.room().await,
        Header::Announced(Announced::Reply(_)) | Header::End | Header::Garbage(_) => None,
    };
    let measured = match conversation.body(first).await? {
        Frame::Outputs(outputs) => outputs,
        Frame::Reply(reply) => return conversation.last(reply).await,
        Frame::End => return Ok(Sent::Nothing),
        Frame::Garbage(reason) => return Ok(Sent::Garbage { reason }),
    };
    let correctness = examination.judge(Stage::Measured, 0, measured).await;
    let reply = match conversation.next().await? {
        Frame::Reply(reply) => reply,
        Frame::End | Frame::Outputs(_) => return Ok(garbage("outputs came without a reply")),
        Frame::Garbage(reason) => return Ok(Sent::Garbage { reason }),
    };
    let Outcome::Measured(measurement) = &reply.outcome else {
        return conversation.finish(reply, None).await;
    };
    match (measurement.outputs, correctness) {
        (Outputs::Shown, Correctness::Verified) => conversation.challenge(reply).await,
        (Outputs::Lost, Correctness::Verified) => {
            let reason = "its counted call raised a signal, which ended the process".to_owned();
            conversation.finish(reply, Some(settled(Correctness::Unchecked { reason }))).await
        }
        (Outputs::Shown | Outputs::Lost, known) => conversation.finish(reply, Some(settled(known))).await,
        (Outputs::NotAsked | Outputs::TooLong, _) => Ok(garbage("its reply denies the outputs that came")),
    }
}

/// A check that ended without a challenge.
fn settled(correctness: Correctness) -> Examined {
    Examined { correctness, call_ticks: Vec::new(), took: Duration::ZERO }
}

fn garbage(reason: &str) -> Sent {
    Sent::Garbage { reason: reason.to_owned() }
}

struct Conversation<'a> {
    socket: &'a Readable,
    id: JobId,
    examination: &'a Arc<Examination>,
}

impl Conversation<'_> {
    /// A reply that came first: nothing is shown.
    async fn last(&self, reply: Box<Reply>) -> io::Result<Sent> {
        let Outcome::Measured(measurement) = &reply.outcome else { return self.finish(reply, None).await };
        if measurement.outputs != Outputs::TooLong {
            return Ok(garbage("its reply came without the outputs it was to show"));
        }
        let reason = "the function runs too long to be called again".to_owned();
        self.finish(reply, Some(settled(Correctness::Unchecked { reason }))).await
    }

    /// Challenges the worker, and judges what it shows.
    async fn challenge(&self, reply: Box<Reply>) -> io::Result<Sent> {
        let seed = u64::from_le_bytes(random_bytes()?);
        let begun = Instant::now();
        // A worker that is gone says so by what does not come.
        let _ = self.socket.send(&mut [io::IoSlice::new(&Challenge { seed }.to_bytes())]).await;
        let mut examined = settled(Correctness::Verified);
        for stage in Stage::CHALLENGED {
            let outputs = match self.next().await? {
                Frame::Outputs(outputs) => outputs,
                Frame::Reply(fault) => {
                    examined.correctness = no_outputs(examined.correctness, stage, said_instead(&fault));
                    break;
                }
                Frame::End => {
                    let reason = "the process ended".to_owned();
                    examined.correctness = no_outputs(examined.correctness, stage, reason);
                    break;
                }
                Frame::Garbage(reason) => return Ok(Sent::Garbage { reason }),
            };
            if let Some(record) = outputs.first_chunk() {
                examined.call_ticks.push(CallRecord::parse(record).ticks);
            }
            examined.took = begun.elapsed();
            // The first thing wrong is what counts; the rest is read so that the worker can end by itself.
            if examined.correctness == Correctness::Verified {
                examined.correctness = self.examination.judge(stage, seed, outputs).await;
            }
        }
        self.finish(reply, Some(examined)).await
    }

    /// Expects the end of the stream.
    async fn finish(&self, reply: Box<Reply>, examined: Option<Examined>) -> io::Result<Sent> {
        // A worker that waits for a challenge reads that there is none.
        let _ = rustix::net::shutdown(self.socket, Shutdown::Write);
        match self.next().await? {
            Frame::End => Ok(Sent::Reply(reply, examined)),
            Frame::Outputs(_) | Frame::Reply(_) | Frame::Garbage(_) => {
                Ok(garbage("more followed its last frame"))
            }
        }
    }

    async fn next(&self) -> io::Result<Frame> {
        let header = self.header().await?;
        self.body(header).await
    }

    async fn header(&self) -> io::Result<Header> {
        let mut header = [0; ReplyHeader::BYTES];
        match self.fill(&mut header).await? {
            0 => return Ok(Header::End),
            ReplyHeader::BYTES => {}
            some => return Ok(Header::Garbage(format!("it sent {some} bytes, fewer than a frame's header"))),
        }
        let expected = self.examination.outputs_bytes();
        Ok(match Announced::parse(&header) {
            Ok(Announced::Outputs(header)) if header.outputs_bytes as usize != expected => Header::Garbage(
                format!("it announces {} bytes of outputs, expected {expected}", header.outputs_bytes),
            ),
            Ok(announced) => Header::Announced(announced),
            Err(_) => Header::Garbage("what it sent does not begin like a frame".to_owned()),
        })
    }

    async fn body(&self, header: Header) -> io::Result<Frame> {
        let announced = match header {
            Header::Announced(announced) => announced,
            Header::End => return Ok(Frame::End),
            Header::Garbage(reason) => return Ok(Frame::Garbage(reason)),
        };
        let len = match announced {
            Announced::Reply(header) => header.reply_bytes as usize,
            Announced::Outputs(header) => header.outputs_bytes as usize,
        };
        let mut body = vec![0; len];
        let came = self.fill(&mut body).await?;
        if came != len {
            return Ok(Frame::Garbage(format!("its frame claims {len} bytes and {came} came")));
        }
        Ok(match announced {
            Announced::Outputs(_) => Frame::Outputs(body),
            Announced::Reply(_) => {
                decode(&body, self.id).map_or_else(Frame::Garbage, |reply| Frame::Reply(Box::new(reply)))
            }
        })
    }

    /// Fills `space`, or as much of it as comes before the end of the stream.
    async fn fill(&self, space: &mut [u8]) -> io::Result<usize> {
        let mut have = 0;
        while have < space.len() {
            let read = self.socket.when_readable(|socket| {
                Ok(rustix::net::recv(socket, &mut space[have..], RecvFlags::DONTWAIT)?.0)
            });
            match read.await {
                Ok(0) => break,
                Ok(count) => have += count,
                // Unread job bytes turn the close into a reset.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error),
            }
        }
        Ok(have)
    }
}

/// What is known already goes before a call that gave nothing.
fn no_outputs(known: Correctness, stage: Stage, reason: String) -> Correctness {
    match known {
        Correctness::Verified => Correctness::NoOutputs { stage, reason },
        known => known,
    }
}

fn said_instead(reply: &Reply) -> String {
    match &reply.outcome {
        Outcome::Faulted(fault) => match fault.cause {
            FaultCause::Signal { signal, .. } => format!("it raised {}", crate::fault::signal_name(signal)),
            FaultCause::SystemCall { number } => format!("it made system call {number}"),
            FaultCause::CpuTime => "it used up the job's CPU time".to_owned(),
        },
        Outcome::Measured(_) | Outcome::Refused(_) | Outcome::Failed(_) => "the worker failed".to_owned(),
    }
}
