//! The conversation with a worker whose function's outputs are checked.
//!
//! The worker sends what the measured calls left, then its reply. Only once that is here does it get the challenge;
//! then come the outputs of the challenged calls, and the end of the stream:
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
use webrunner_protocol::frame::{Announced, OutputsHeader, ReplyHeader};
use webrunner_protocol::ids::JobId;
use webrunner_protocol::reply::{Outcome, Outputs, Reply};

use super::exchange::{Sent, decode};
use super::readable::Readable;
use super::zygote::random_bytes;
use crate::check::{Correctness, Examination, Examined};

/// One frame, or what came instead.
enum Frame {
    Outputs(Vec<u8>),
    Reply(Box<Reply>),
    End,
    /// The end, by a worker that had not read all it was sent.
    Unread,
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
    // The worker learns it only with the challenge.
    let seed = u64::from_le_bytes(random_bytes()?);
    let measured = match conversation.next(Stage::Measured).await? {
        Frame::Outputs(outputs) => outputs,
        Frame::Reply(reply) => return conversation.last(reply).await,
        Frame::End => return Ok(Sent::Nothing),
        Frame::Unread => return Ok(Sent::NotTaken),
        Frame::Garbage(reason) => return Ok(Sent::Garbage { reason }),
    };
    let correctness = examination.judge(Stage::Measured, seed, measured).await;
    let reply = match conversation.next(Stage::Measured).await? {
        Frame::Reply(reply) => reply,
        Frame::End | Frame::Unread | Frame::Outputs(_) => {
            return Ok(garbage("outputs came without a reply"));
        }
        Frame::Garbage(reason) => return Ok(Sent::Garbage { reason }),
    };
    let Outcome::Measured(measurement) = &reply.outcome else {
        return conversation.finish(reply, None).await;
    };
    match (measurement.outputs, correctness) {
        (Outputs::Shown, Correctness::Verified) => conversation.challenge(reply, seed).await,
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
    async fn challenge(&self, reply: Box<Reply>, seed: u64) -> io::Result<Sent> {
        let begun = Instant::now();
        // A worker that is gone says so by what does not come.
        let _ = self.socket.send(&mut [io::IoSlice::new(&Challenge { seed }.to_bytes())]).await;
        let mut examined = settled(Correctness::Verified);
        for stage in Stage::CHALLENGED {
            let outputs = match self.next(stage).await? {
                Frame::Outputs(outputs) => outputs,
                Frame::Reply(fault) => {
                    examined.correctness = no_outputs(examined.correctness, stage, said_instead(&fault));
                    break;
                }
                Frame::End | Frame::Unread => {
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
        match self.next(Stage::Fresh).await? {
            Frame::End | Frame::Unread => Ok(Sent::Reply(reply, examined)),
            Frame::Outputs(_) | Frame::Reply(_) | Frame::Garbage(_) => {
                Ok(garbage("more followed its last frame"))
            }
        }
    }

    /// The next frame; outputs are to be as long as those of this stage.
    async fn next(&self, stage: Stage) -> io::Result<Frame> {
        let mut header = [0; ReplyHeader::BYTES];
        match self.fill(&mut header).await? {
            (0, true) => return Ok(Frame::Unread),
            (0, false) => return Ok(Frame::End),
            (ReplyHeader::BYTES, _) => {}
            (some, _) => {
                return Ok(Frame::Garbage(format!("it sent {some} bytes, fewer than a frame's header")));
            }
        }
        let Ok(announced) = Announced::parse(&header) else {
            return Ok(Frame::Garbage("what it sent does not begin like a frame".to_owned()));
        };
        let expected = self.examination.outputs_bytes(stage);
        let len = match announced {
            Announced::Reply(header) => header.reply_bytes as usize,
            Announced::Outputs(header) if header.outputs_bytes as usize == expected => expected,
            Announced::Outputs(OutputsHeader { outputs_bytes }) => {
                return Ok(Frame::Garbage(format!(
                    "it announces {outputs_bytes} bytes of outputs, expected {expected}"
                )));
            }
        };
        let mut body = vec![0; len];
        let (came, _) = self.fill(&mut body).await?;
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

    /// Fills `space`, or as much of it as comes before the end of the stream; gives how much, and whether the end came with
    /// something of ours unread.
    async fn fill(&self, space: &mut [u8]) -> io::Result<(usize, bool)> {
        let mut have = 0;
        while have < space.len() {
            let read = self.socket.when_readable(|socket| {
                Ok(rustix::net::recv(socket, &mut space[have..], RecvFlags::DONTWAIT)?.0)
            });
            match read.await {
                Ok(0) => break,
                Ok(count) => have += count,
                // Unread bytes turn the close into a reset.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok((have, true)),
                Err(error) => return Err(error),
            }
        }
        Ok((have, false))
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use actix_web::rt::System;
    use webrunner_kernels::Catalogue;
    use webrunner_protocol::codec;
    use webrunner_protocol::limits::MAX_REPLY_BYTES;
    use webrunner_protocol::reply::{CycleSamples, Measurement, WorkerFailure};

    use super::*;

    const JOB: JobId = JobId(7);

    /// Outputs of `scopy` of no elements to speak of: whatever they are, they are as long as they should be.
    fn examination() -> Arc<Examination> {
        let binding = Catalogue::builtin().unwrap().get("scopy").unwrap().bind([("n", "4")]).unwrap();
        Arc::new(Examination::of(binding, 1).unwrap())
    }

    fn measured(outputs: Outputs) -> Outcome {
        Outcome::Measured(Box::new(Measurement {
            cycles: CycleSamples {
                isolated: vec![1.0],
                calls_per_round: 1,
                ticks_per_cycle: 1.0,
                ..CycleSamples::default()
            },
            outputs,
            ..Measurement::default()
        }))
    }

    fn reply(outcome: Outcome) -> Vec<u8> {
        let body = codec::encode(&Reply { job: JOB, outcome }, MAX_REPLY_BYTES).unwrap();
        [&ReplyHeader { reply_bytes: body.len() as u32 }.to_bytes()[..], &body].concat()
    }

    fn outputs(bytes: usize) -> Vec<u8> {
        [&OutputsHeader { outputs_bytes: bytes as u32 }.to_bytes()[..], &vec![0; bytes]].concat()
    }

    /// What is made of a worker that says this and ends.
    fn said(frames: &[Vec<u8>]) -> Sent {
        let (ours, theirs) = UnixStream::pair().unwrap();
        hear(ours, theirs, frames)
    }

    fn hear(ours: UnixStream, mut theirs: UnixStream, frames: &[Vec<u8>]) -> Sent {
        theirs.write_all(&frames.concat()).unwrap();
        drop(theirs);
        System::new().block_on(async {
            let socket = Readable::new(OwnedFd::from(ours)).unwrap();
            receive(&socket, JOB, &examination()).await.unwrap()
        })
    }

    fn garbage_of(frames: &[Vec<u8>]) -> String {
        match said(frames) {
            Sent::Garbage { reason } => reason,
            Sent::Reply(..) | Sent::Nothing | Sent::NotTaken => String::new(),
        }
    }

    fn correctness(frames: &[Vec<u8>]) -> Option<Correctness> {
        match said(frames) {
            Sent::Reply(_, examined) => examined.map(|examined| examined.correctness),
            Sent::Garbage { .. } | Sent::Nothing | Sent::NotTaken => None,
        }
    }

    #[test]
    fn frames_out_of_order_of_other_lengths_or_too_many_are_no_answer() {
        let right = examination().outputs_bytes(Stage::Fresh);
        let shown = || reply(measured(Outputs::Shown));
        assert!(garbage_of(&[shown()]).contains("without the outputs"));
        assert!(garbage_of(&[reply(measured(Outputs::NotAsked))]).contains("without the outputs"));
        assert!(garbage_of(&[outputs(right)]).contains("without a reply"));
        assert!(garbage_of(&[outputs(right), outputs(right), shown()]).contains("without a reply"));
        assert!(garbage_of(&[outputs(right + 1), shown()]).contains("expected 56"));
        assert!(garbage_of(&[outputs(right)[..20].to_vec()]).contains("claims 56 bytes and 10 came"));
        assert!(garbage_of(&[outputs(right), reply(measured(Outputs::TooLong))]).contains("denies"));
        assert!(garbage_of(&[outputs(right), shown(), outputs(right)]).contains("more followed"));
        assert!(garbage_of(&[b"WRxx 012345".to_vec()]).contains("does not begin"));
        assert!(garbage_of(&[reply(Outcome::Failed(WorkerFailure::Job)), vec![0]]).contains("more followed"));
    }

    #[test]
    fn a_worker_that_says_nothing_or_fails_is_heard_as_ever() {
        assert!(matches!(said(&[]), Sent::Nothing));
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"a job").unwrap();
        assert!(matches!(hear(ours, theirs, &[]), Sent::NotTaken));
        let failed = said(&[reply(Outcome::Failed(WorkerFailure::Job))]);
        assert!(matches!(failed, Sent::Reply(reply, None) if matches!(reply.outcome, Outcome::Failed(_))));
    }

    #[test]
    fn what_is_wrong_or_missing_is_told_beside_the_reply() {
        let right = examination().outputs_bytes(Stage::Fresh);
        let wrong = correctness(&[outputs(right), reply(measured(Outputs::Shown))]);
        assert!(matches!(wrong, Some(Correctness::Wrong { stage: Stage::Measured, .. })), "{wrong:?}");
        let long = correctness(&[reply(measured(Outputs::TooLong))]);
        assert!(matches!(&long, Some(Correctness::Unchecked { reason }) if reason.contains("too long")));
    }
}
