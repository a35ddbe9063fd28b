//! Keeps one slot's zygote alive: hears its reports, notices its death or silence, and starts another.
//!
//! One task for each slot. A zygote that ends takes its workers with it, so their jobs end with a 503 and nothing else
//! is lost; a new one is started after a pause that grows while starts or workers keep failing.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task;
use tokio::time::{sleep, timeout};
use webrunner_protocol::control::{Ended, ZygoteReport};

use super::queue::Queue;
use super::readable::Readable;
use super::slot::Slot;
use super::zygote::{self, Incoming, Zygote, ZygoteSettings};
use crate::metrics::PoolMetrics;

/// A zygote that owes a worker for longer is taken for dead.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);

/// Shortest and longest pause before another attempt.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));

/// A zygote that lived this long was a good one: the next failure begins with the shortest pause again.
const GOOD_LIFE: Duration = Duration::from_secs(10);

/// Starts the task. The slot is usable before this returns, as far as its workers have been asked for.
pub(super) fn start(queue: &Rc<RefCell<Queue>>, index: usize, settings: ZygoteSettings, zygote: Zygote) {
    let adopted = adopt(queue, index, &zygote);
    task::spawn_local(keep(Rc::downgrade(queue), index, settings, zygote, adopted));
}

/// Gives the slot its control socket, and asks for workers.
fn adopt(queue: &Rc<RefCell<Queue>>, index: usize, zygote: &Zygote) -> io::Result<Readable> {
    let control = Readable::new(zygote.control()?)?;
    let mut queue = queue.borrow_mut();
    queue.metrics.zygote_started(&zygote.status().events);
    if let Some(slot) = queue.slots.get_mut(index) {
        slot.control = Some(zygote.control()?);
    }
    queue.refill(index);
    Ok(control)
}

async fn keep(
    queue: std::rc::Weak<RefCell<Queue>>,
    index: usize,
    settings: ZygoteSettings,
    mut zygote: Zygote,
    mut control: io::Result<Readable>,
) {
    let mut pause = PAUSES.0;
    loop {
        let born = Instant::now();
        let end = match &control {
            Ok(control) => attend(&queue, index, control).await,
            Err(error) => io::Error::new(error.kind(), error.to_string()),
        };
        // The pool is gone: so is the need for a zygote, which ends as it is dropped.
        let Some(alive) = queue.upgrade() else { return };
        let core = alive.borrow().slots.get(index).map_or(0, |slot| slot.core.0);
        tracing::error!(core, error = %end, "zygote lost; starting another");
        alive.borrow().metrics.zygote_lost(&end);
        if let Some(slot) = alive.borrow_mut().slots.get_mut(index) {
            slot.lose_zygote();
        }
        drop(alive);
        zygote.end();
        pause = if born.elapsed() > GOOD_LIFE { PAUSES.0 } else { (pause * 2).min(PAUSES.1) };
        let Some(fresh) = replace(&queue, index, &settings, &mut pause).await else { return };
        zygote = fresh;
        let Some(alive) = queue.upgrade() else { return };
        control = adopt(&alive, index, &zygote);
    }
}

/// Starts zygotes until one comes up; `None` if the pool went away meanwhile.
async fn replace(
    queue: &std::rc::Weak<RefCell<Queue>>,
    index: usize,
    settings: &ZygoteSettings,
    pause: &mut Duration,
) -> Option<Zygote> {
    loop {
        sleep(*pause).await;
        let (core, lane) = queue.upgrade()?.borrow().slots.get(index).map(|slot| (slot.core, slot.lane))?;
        let settings = settings.clone();
        match task::spawn_blocking(move || Zygote::launch(&settings, core, lane)).await {
            Ok(Ok(zygote)) => return Some(zygote),
            Ok(Err(error)) => tracing::error!(
                core = core.0,
                error = &error as &dyn std::error::Error,
                "cannot start a zygote"
            ),
            Err(error) => tracing::error!(core = core.0, %error, "cannot start a zygote"),
        }
        *pause = (*pause * 2).min(PAUSES.1);
    }
}

/// Hears reports until the zygote is gone or silent; gives why.
async fn attend(queue: &std::rc::Weak<RefCell<Queue>>, index: usize, control: &Readable) -> io::Error {
    let mut fork_pause = PAUSES.0;
    loop {
        let heard = timeout(SILENCE_LIMIT, control.when_readable(|socket| zygote::receive(socket))).await;
        let Some(alive) = queue.upgrade() else { return io::ErrorKind::NotConnected.into() };
        match heard {
            Err(_) if is_silent(&alive, index) => return io::ErrorKind::TimedOut.into(),
            Err(_) => {}
            Ok(Err(error)) => return error,
            Ok(Ok(report)) => {
                if let Err(error) = hear(&alive, index, report, &mut fork_pause) {
                    return error;
                }
            }
        }
    }
}

fn is_silent(queue: &Rc<RefCell<Queue>>, index: usize) -> bool {
    let queue = queue.borrow();
    let owes = queue.slots.get(index).and_then(Slot::owes_since);
    owes.is_some_and(|since| since.elapsed() >= SILENCE_LIMIT)
}

/// Acts on one report, and serves the line if it made a slot usable.
fn hear(
    queue: &Rc<RefCell<Queue>>,
    index: usize,
    incoming: Incoming,
    fork_pause: &mut Duration,
) -> io::Result<()> {
    let mut this = queue.borrow_mut();
    let metrics = Rc::clone(&this.metrics);
    let Some(slot) = this.slots.get_mut(index) else { return Ok(()) };
    match incoming {
        Incoming::Forked { worker, socket, pidfd, ended } => {
            if let Some(took) = slot.add(worker, Readable::new(socket)?, pidfd) {
                metrics.forked(took);
            }
            *fork_pause = PAUSES.0;
            if let Some(ended) = ended {
                hear_end(queue, index, slot, &metrics, &ended, fork_pause);
            }
        }
        Incoming::Report(ZygoteReport::Ended(ended)) => {
            hear_end(queue, index, slot, &metrics, &ended, fork_pause);
        }
        Incoming::Report(ZygoteReport::ForkFailed { worker, errno }) => {
            slot.fork_failed(worker);
            metrics.fork_failed();
            let error = io::Error::from_raw_os_error(errno);
            tracing::error!(core = slot.core.0, %worker, %error, "cannot fork a worker");
            refill_later(queue, index, fork_pause);
        }
        Incoming::Report(report) => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("unexpected report {report:?}")));
        }
    }
    this.serve();
    Ok(())
}

/// A worker has ended. One that was waiting should not have: another is asked for, but not at once.
fn hear_end(
    queue: &Rc<RefCell<Queue>>,
    index: usize,
    slot: &mut Slot,
    metrics: &PoolMetrics,
    ended: &Ended,
    pause: &mut Duration,
) {
    let idle = slot.ended(ended.worker, (ended.status, ended.usage));
    metrics.worker_ended(ended.status, idle);
    if idle {
        tracing::warn!(core = slot.core.0, worker = %ended.worker, status = ?ended.status, "a waiting worker ended");
        refill_later(queue, index, pause);
    }
}

/// Asks for workers again after a pause that doubles: whatever ended or refused one may do so to the next.
fn refill_later(queue: &Rc<RefCell<Queue>>, index: usize, pause: &mut Duration) {
    let (queue, now) = (Rc::downgrade(queue), *pause);
    *pause = (*pause * 2).min(PAUSES.1);
    task::spawn_local(async move {
        sleep(now).await;
        if let Some(queue) = queue.upgrade() {
            queue.borrow_mut().refill(index);
        }
    });
}
