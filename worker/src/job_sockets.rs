//! The job sockets of workers to come. The zygote makes some at a time and keeps the ends that workers are born with; the
//! others go to the supervisor with the report of the first of these workers.
//!
//! While a Unix socket is on its way in a packet, the kernel looks for lost ones each time any other is closed. One packet
//! with eight costs little more than one with one, and there are an eighth as many.
//!
//! Every worker is born with the ends of those to come among its descriptors, as with the control socket, and closes
//! them all before it reads a byte of its job ([`process::keep_only_job_socket`]).

use webrunner_protocol::limits::SOCKETS_PER_PACKET;

use crate::sys::Errno;
use crate::sys::packet::{self, Descriptors};
use crate::sys::process;

/// Pairs of which one end or both are still here.
#[derive(Debug)]
pub struct JobSockets {
    /// The ends of workers; of these the last `left` are still here.
    workers: Descriptors,
    left: usize,
    /// The other ends, until they are sent.
    unsent: Option<Descriptors>,
}

impl JobSockets {
    /// None yet.
    #[must_use]
    pub fn none() -> Self {
        Self { workers: [-1; SOCKETS_PER_PACKET], left: 0, unsent: None }
    }

    /// The end of the next worker.
    ///
    /// # Errors
    /// The kernel's error number, if there are to be new ones and cannot be.
    pub fn upcoming(&mut self) -> Result<i32, Errno> {
        if self.left == 0 {
            self.make()?;
        }
        Ok(self.workers[SOCKETS_PER_PACKET - self.left])
    }

    fn make(&mut self) -> Result<(), Errno> {
        let mut others = [-1; SOCKETS_PER_PACKET];
        for at in 0..SOCKETS_PER_PACKET {
            match packet::job_socket() {
                Ok([other, worker]) => (others[at], self.workers[at]) = (other, worker),
                Err(errno) => {
                    close_all(&others[..at]);
                    close_all(&self.workers[..at]);
                    return Err(errno);
                }
            }
        }
        (self.left, self.unsent) = (SOCKETS_PER_PACKET, Some(others));
        Ok(())
    }

    /// A worker was born with the end that was next.
    pub fn take(&mut self) {
        process::close(self.workers[SOCKETS_PER_PACKET - self.left]);
        self.left -= 1;
    }

    /// What is to go with the next report.
    #[must_use]
    pub fn unsent(&self) -> Option<&Descriptors> {
        self.unsent.as_ref()
    }

    /// It has gone.
    pub fn sent(&mut self) {
        if let Some(sent) = self.unsent.take() {
            close_all(&sent);
        }
    }

    /// Closes all there are, so that the next are new.
    pub fn give_up(&mut self) {
        self.sent();
        close_all(&self.workers[SOCKETS_PER_PACKET - self.left..]);
        self.left = 0;
    }
}

fn close_all(descriptors: &[i32]) {
    for &descriptor in descriptors {
        process::close(descriptor);
    }
}
