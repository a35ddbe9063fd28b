//! Keeps one slot supplied with a zygote: hears its reports, notices its death or silence, and renews it in time.
//!
//! One task for each slot. A zygote that is lost takes its workers with it, so their jobs end with a 503 and nothing else
//! is lost; another is started after a pause that grows while starts keep failing.
//!
//! A zygote that has served its jobs is renewed, so that the addresses its workers share are drawn anew. Its successor is
//! started beside it, takes over when it is ready, and the old one is let go once the last of its jobs has ended: no job is
//! lost, and only those that must have the core quiet wait, for as long as the start takes.

use std::cell::RefCell;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use tokio::task;
use tokio::time::{sleep, timeout};
use webrunner_protocol::control::{Ended, Ends, ExitStatus, ZygoteReport};
use webrunner_protocol::ids::CoreId;

use super::blame;
use super::launcher::Launcher;
use super::queue::Queue;
use super::readable::Readable;
use super::slot::Slot;
use super::worker::Generation;
use super::zygote::{self, Incoming, JobSockets, LaunchError, Zygote};
use crate::metrics::PoolMetrics;

/// A zygote that owes a worker for longer is taken for dead.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);

/// A zygote that lived this long was a good one: the next failure begins with the shortest pause again.
const GOOD_LIFE: Duration = Duration::from_secs(10);

/// However few jobs a zygote is to serve, it lives this long: each start makes the kernel compile a filter.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);

/// Time between two looks whether a retired zygote is needed, should it say nothing itself.
const RETIRED_CHECK: Duration = Duration::from_secs(1);

/// Starts the task. The slot is usable before this returns, as far as its workers have been asked for.
pub(super) fn start(queue: &Rc<RefCell<Queue>>, index: usize, launcher: Launcher, jobs: u64, zygote: Zygote) {
    let keeper = Keeper { queue: Rc::downgrade(queue), index, launcher, jobs };
    let adopted = keeper.adopt(&zygote);
    task::spawn_local(keeper.keep(zygote, adopted));
}

/// What a task needs to know of its slot.
#[derive(Debug, Clone)]
struct Keeper {
    /// Gone with the pool, and with it the need for zygotes, which end as they are dropped.
    queue: Weak<RefCell<Queue>>,
    index: usize,
    launcher: Launcher,
    /// Jobs a zygote serves before it is renewed.
    jobs: u64,
}

/// A zygote that has taken its place in the slot.
#[derive(Debug)]
struct Adopted {
    control: Readable,
    /// Job sockets that came by it for workers yet to come.
    sockets: RefCell<JobSockets>,
    generation: Generation,
    since: Instant,
}

/// Why a zygote is attended no longer.
enum Stop {
    /// It is gone or of no use.
    Lost(io::Error),
    /// It has served its jobs.
    Due,
}

/// What came after a zygote.
enum After {
    /// It was lost.
    Lost(io::Error),
    /// Another has taken its place.
    Renewed(Box<(Zygote, Adopted)>),
}

impl Keeper {
    async fn keep(self, mut zygote: Zygote, mut adopted: io::Result<Adopted>) {
        loop {
            let (lost, why) = match adopted {
                Err(error) => (None, error),
                Ok(current) => match self.attend_or_renew(&current).await {
                    After::Lost(error) => (Some(current), error),
                    After::Renewed(renewed) => {
                        let (fresh, taken_over) = *renewed;
                        let retired = std::mem::replace(&mut zygote, fresh);
                        adopted = Ok(taken_over);
                        task::spawn_local(self.clone().retire(retired, current));
                        continue;
                    }
                },
            };
            let Some(fresh) = self.replace(zygote, lost, &why).await else { return };
            zygote = fresh;
            adopted = self.adopt(&zygote);
        }
    }

    /// Does something with the slot; `None` if the pool is gone.
    fn with_slot<T>(&self, act: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let queue = self.queue.upgrade()?;
        let mut queue = queue.borrow_mut();
        queue.slots.get_mut(self.index).map(act)
    }

    /// Gives the slot a zygote to ask for workers, and has it asked.
    fn adopt(&self, zygote: &Zygote) -> io::Result<Adopted> {
        let control = Readable::new(zygote.control()?)?;
        let own = zygote.control()?;
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let generation = self.with_slot(|slot| slot.adopt(own)).ok_or_else(gone)?;
        let queue = self.queue.upgrade().ok_or_else(gone)?;
        let mut queue = queue.borrow_mut();
        queue.metrics.zygote_started(&zygote.status().events);
        queue.refill(self.index);
        Ok(Adopted { control, sockets: RefCell::default(), generation, since: Instant::now() })
    }

    /// Starts a zygote; this thread goes on meanwhile.
    async fn launch(&self) -> Option<Result<Zygote, LaunchError>> {
        let (core, lane) = self.with_slot(|slot| (slot.core, slot.lane))?;
        let launcher = self.launcher.clone();
        let launched = task::spawn_blocking(move || launcher.launch(core, lane)).await;
        Some(launched.unwrap_or_else(|error| Err(LaunchError::Thread(io::Error::other(error)))))
    }

    /// Starts zygotes in place of one that is lost until one comes up; `None` if the pool went away meanwhile.
    async fn replace(&self, zygote: Zygote, lost: Option<Adopted>, why: &io::Error) -> Option<Zygote> {
        self.queue.upgrade()?.borrow().metrics.zygote_lost(why);
        let mut pause = self.with_slot(|slot| {
            if let Some(lost) = &lost {
                slot.lose(lost.generation);
                if lost.since.elapsed() > GOOD_LIFE {
                    slot.starts.succeed();
                }
            }
            let reason = format!("the zygote of core {} was lost ({why})", slot.core);
            slot.starts.fail(reason)
        })?;
        end(zygote).await;
        loop {
            self.serve();
            sleep(pause.unwrap_or_default()).await;
            self.with_slot(|slot| slot.starts.attempt())?;
            let failed = match self.launch().await? {
                Ok(zygote) => return Some(zygote),
                Err(error) => error,
            };
            pause = self.with_slot(|slot| slot.starts.fail(cannot_start(slot.core, &failed)))?;
        }
    }

    /// Hears reports until the zygote is lost or has been renewed.
    async fn attend_or_renew(&self, current: &Adopted) -> After {
        loop {
            match self.attend(current).await {
                Stop::Lost(error) => return After::Lost(error),
                Stop::Due => {}
            }
            let fresh = tokio::select! {
                stop = self.attend(current) => match stop {
                    Stop::Lost(error) => return After::Lost(error),
                    // Not while it is being renewed.
                    Stop::Due => continue,
                },
                fresh = self.launch() => fresh,
            };
            let adopted = match fresh {
                None => return After::Lost(io::ErrorKind::NotConnected.into()),
                Some(Ok(fresh)) => {
                    self.adopt(&fresh).map(|adopted| (fresh, adopted)).map_err(LaunchError::Socket)
                }
                Some(Err(error)) => Err(error),
            };
            match adopted {
                Ok((fresh, adopted)) => return After::Renewed(Box::new((fresh, adopted))),
                Err(error) => {
                    self.with_slot(|slot| {
                        tracing::error!("{}; the one there is goes on", cannot_start(slot.core, &error));
                        slot.put_off_renewal();
                    });
                    self.serve();
                }
            }
        }
    }

    /// Hears reports until the zygote is gone, silent or due to be renewed.
    async fn attend(&self, current: &Adopted) -> Stop {
        loop {
            if self.begin_renewal(current) {
                return Stop::Due;
            }
            // Only now, so that no job that must have the core quiet begins under a renewal.
            self.serve();
            let heard = receive(current, SILENCE_LIMIT).await;
            let heard = heard.and_then(|report| match report {
                Some(report) => self.hear(current.generation, report),
                None if self.is_silent() => Err(io::ErrorKind::TimedOut.into()),
                None => Ok(()),
            });
            if let Err(error) = heard {
                return Stop::Lost(error);
            }
        }
    }

    /// Whether the time has come to renew the zygote; the slot then counts as disturbed.
    fn begin_renewal(&self, current: &Adopted) -> bool {
        let may = current.since.elapsed() >= SHORTEST_LIFE;
        may && self.with_slot(|slot| slot.begin_renewal(self.jobs)).unwrap_or(false)
    }

    /// Lets a zygote that was renewed go once none of its jobs is left.
    async fn retire(self, zygote: Zygote, retired: Adopted) {
        while self.with_slot(|slot| slot.needs(retired.generation)).unwrap_or(false) {
            let heard = receive(&retired, RETIRED_CHECK).await;
            let heard = heard.and_then(|report| match report {
                Some(report) => self.hear(retired.generation, report),
                None => Ok(()),
            });
            self.serve();
            if let Err(error) = heard {
                // Those of its jobs that were left end with a 503, as ever when a zygote is lost.
                self.with_slot(|slot| {
                    tracing::error!(core = slot.core.0, %error, "a zygote was lost while it was being retired");
                });
                break;
            }
        }
        self.with_slot(|slot| slot.lose(retired.generation));
        end(zygote).await;
        self.with_slot(Slot::end_renewal);
        self.serve();
    }

    fn is_silent(&self) -> bool {
        let owes = self.with_slot(|slot| slot.owes_since()).flatten();
        owes.is_some_and(|since| since.elapsed() >= SILENCE_LIMIT)
    }

    /// Serves the line, or tells those in it that there is no hope.
    fn serve(&self) {
        if let Some(queue) = self.queue.upgrade() {
            queue.borrow_mut().serve();
        }
    }

    /// Acts on one report.
    fn hear(&self, generation: Generation, incoming: Incoming) -> io::Result<()> {
        let Some(queue) = self.queue.upgrade() else { return Err(io::ErrorKind::NotConnected.into()) };
        let mut queue = queue.borrow_mut();
        let metrics = Rc::clone(&queue.metrics);
        let Some(slot) = queue.slots.get_mut(self.index) else { return Ok(()) };
        if slot.is_current(generation) {
            slot.heard = Instant::now();
        }
        match incoming {
            Incoming::Report(ZygoteReport::Pong) => slot.answers(generation),
            Incoming::Forked { worker, socket, ended } => {
                // One whose socket was lost on the way has read the end of it and is gone.
                match socket.and_then(Readable::new) {
                    Ok(socket) => {
                        if let Some(took) = slot.add(worker, socket) {
                            metrics.forked(took);
                        }
                    }
                    Err(error) => {
                        slot.fork_failed(worker);
                        metrics.fork_failed();
                        self.fail(
                            slot,
                            format!("a worker on core {} could not be taken over ({error})", slot.core),
                        );
                    }
                }
                self.hear_ends(slot, &metrics, &ended);
            }
            Incoming::Report(ZygoteReport::Ended(ended)) => self.hear_ends(slot, &metrics, &ended),
            Incoming::Report(ZygoteReport::ForkFailed { worker, errno }) => {
                slot.fork_failed(worker);
                metrics.fork_failed();
                // The last ones of a zygote that retires are not waited for.
                if slot.is_current(generation) {
                    let error = io::Error::from_raw_os_error(errno);
                    self.fail(slot, format!("no worker can be forked on core {} ({error})", slot.core));
                    if blame::is_zygotes_own(&queue.slots, self.index, errno) {
                        return Err(error);
                    }
                }
            }
            Incoming::Report(ZygoteReport::Unable { reason }) => {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
            }
            Incoming::Report(report) => {
                let error = format!("unexpected report {report:?}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        Ok(())
    }

    fn hear_ends(&self, slot: &mut Slot, metrics: &PoolMetrics, ended: &Ends) {
        for ended in ended.iter() {
            self.hear_end(slot, metrics, ended);
        }
    }

    /// A worker has ended. One that was waiting should not have.
    fn hear_end(&self, slot: &mut Slot, metrics: &PoolMetrics, ended: &Ended) {
        let idle = slot.ended(ended.worker, (ended.status, ended.usage));
        metrics.worker_ended(ended.status, idle);
        if idle {
            let how = match ended.status {
                ExitStatus::Code(code) => format!("exit code {code}"),
                ExitStatus::Signal(signal) => format!("signal {signal}"),
            };
            self.fail(slot, format!("workers on core {} end before they take a job ({how})", slot.core));
        }
    }

    /// Has workers asked for again after a pause: whatever ended or refused one may do so to the next.
    fn fail(&self, slot: &mut Slot, reason: String) {
        let Some(pause) = slot.births.fail(reason) else { return };
        let keeper = self.clone();
        task::spawn_local(async move {
            sleep(pause).await;
            let Some(queue) = keeper.queue.upgrade() else { return };
            keeper.with_slot(|slot| slot.births.attempt());
            queue.borrow_mut().refill(keeper.index);
        });
    }
}

/// One report, or nothing if none comes in time.
async fn receive(zygote: &Adopted, limit: Duration) -> io::Result<Option<Incoming>> {
    let take = |socket: BorrowedFd<'_>| zygote::receive(socket, &mut zygote.sockets.borrow_mut());
    match timeout(limit, zygote.control.when_readable(take)).await {
        Ok(report) => report.map(Some),
        Err(_) => Ok(None),
    }
}

/// Ends a zygote beside this thread: the kernel takes its time to take a process and its namespaces apart.
async fn end(zygote: Zygote) {
    // It has ended when this fails as well: the task is dropped only with what it holds.
    let _ = task::spawn_blocking(move || drop(zygote)).await;
}

fn cannot_start(core: CoreId, error: &LaunchError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("no zygote can be started on core {core} ({error}{cause})")
}
