//! A worker as the pool holds it: its job socket, what it is ready for, and how it is ended.
//!
//! Owns the socket; dropping it lets a worker that waits end by itself. One that may be running somebody's code is
//! ended by its zygote, whose child it is until it is reaped, so that no other process can be meant by its number.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use tokio::sync::oneshot;
use webrunner_protocol::control::{ExitStatus, Lane, Usage, WorkerProfile};
use webrunner_protocol::ids::{CoreId, WorkerId};

use super::readable::Readable;
use super::zygote;

/// How a worker's process ended, as the zygote saw it.
pub(super) type Exit = (ExitStatus, Usage);

/// Which of a slot's zygotes something comes from; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Generation(pub(super) u64);

/// What a worker is ready for, and what a job asks of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Ready {
    /// A job that counts no events.
    Plain,
    /// A job that counts the usual events.
    Counting,
    /// The one job with this number, which counts events of its own.
    Chosen(u64),
}

/// A worker that waits for a job or runs one.
#[derive(Debug)]
pub(super) struct Worker {
    /// Its number.
    pub(super) id: WorkerId,
    /// The core it is pinned to.
    pub(super) core: CoreId,
    /// What it is ready for.
    pub(super) ready: Ready,
    /// Which zygote it was forked from.
    pub(super) generation: Generation,
    /// The control socket of that zygote.
    pub(super) zygote: Rc<OwnedFd>,
    /// Its job socket.
    pub(super) socket: Readable,
    /// Gives its end once the zygote has reported it.
    pub(super) exit: oneshot::Receiver<Exit>,
}

impl Worker {
    /// Whether it can do a job that asks for `ready`: one that counts can also do without.
    pub(super) fn serves(&self, ready: Ready) -> bool {
        self.ready == ready || (self.ready, ready) == (Ready::Counting, Ready::Plain)
    }

    /// Has the process ended. One that has already ended is not harmed.
    pub(super) fn end(&self) {
        // A zygote that cannot be told is gone, and its workers with it, or is about to be found silent.
        let _ = zygote::request_end(&*self.zygote, self.id);
    }
}

/// Jobs that run on a core, by what they asked for.
#[derive(Debug, Default)]
pub(super) struct Running {
    plain: usize,
    counting: usize,
}

/// Quick jobs that run on a core at a time: while the reply of one is on its way the next already runs. A core that
/// only measures has enough to do until the supervisor, whose own core may be busy, comes round to it again. Each is
/// still measured by its own time, and a job that is measured with care always runs alone.
const fn quick_at_once(lane: Lane) -> usize {
    match lane {
        Lane::Measuring => 6,
        Lane::Quick => 1,
    }
}

impl Running {
    /// Whether a job that asks for `ready` may run beside them, in this lane.
    pub(super) fn admits(&self, lane: Lane, ready: Ready) -> bool {
        match ready {
            Ready::Plain => self.counting == 0 && self.plain < quick_at_once(lane),
            Ready::Counting | Ready::Chosen(_) => self.counting == 0 && self.plain == 0,
        }
    }

    /// How many there are of those that asked for `ready`.
    pub(super) fn count(&mut self, ready: Ready) -> &mut usize {
        match ready {
            Ready::Plain => &mut self.plain,
            Ready::Counting | Ready::Chosen(_) => &mut self.counting,
        }
    }

    /// How many there are.
    pub(super) fn all(&self) -> usize {
        self.plain + self.counting
    }

    /// Whether one of them must not be disturbed.
    pub(super) fn any_measured(&self) -> bool {
        self.counting > 0
    }
}

/// Workers of a kind that wait on a core. More than can run cover the forks of the next: one where there are many, and
/// two where the supervisor's work delays each. A job that counts takes milliseconds, in which the next is long forked.
pub(super) fn standby_wanted(lane: Lane) -> [(Ready, WorkerProfile, usize); 2] {
    let (spare, counting) = match lane {
        Lane::Measuring => (1, 1),
        Lane::Quick => (2, 0),
    };
    [
        (Ready::Plain, WorkerProfile::Plain, quick_at_once(lane) + spare),
        (Ready::Counting, WorkerProfile::Counting, counting),
    ]
}
