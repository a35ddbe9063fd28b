//! Who gets a worker next: one bounded queue over all slots, first come first served.
//!
//! Owns the slots. A job that finds a free worker gets it at once; otherwise it waits, unless the queue is full. What a
//! job holds is a [`Lease`]; however the job ends, dropping the lease ends the worker, frees the slot, asks for a new
//! worker and serves the next in line.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use webrunner_protocol::control::{Lane, WorkerProfile};
use webrunner_protocol::ids::CoreId;

use super::outcome::RunError;
use super::slot::{Slot, Worker, WorkerNumbers};
use super::{Gauges, SlotView};
use crate::metrics::PoolMetrics;

/// What a job asks of the worker it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    /// What the worker must be ready for.
    pub(super) profile: WorkerProfile,
    /// Whether nothing of the pool's own may be going on on its core.
    pub(super) quiet: bool,
}

/// A job in line.
struct Waiter {
    need: Need,
    hand_over: oneshot::Sender<Grant>,
}

/// The queue and the slots it feeds.
pub(super) struct Queue {
    /// The slots, one for each core.
    pub(super) slots: Vec<Slot>,
    /// Where events are counted.
    pub(super) metrics: Rc<PoolMetrics>,
    /// Numbers for new workers.
    pub(super) numbers: WorkerNumbers,
    waiting: VecDeque<Waiter>,
    capacity: usize,
    running: usize,
    draining: bool,
    /// Who is to hear when the last accepted job has ended.
    emptied: Vec<oneshot::Sender<()>>,
    /// Moving average of what a job took, for the estimate a refused client gets.
    usual_run: Duration,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("slots", &self.slots.len())
            .field("waiting", &self.waiting.len())
            .finish()
    }
}

impl Queue {
    /// An empty queue over slots that have no zygote yet.
    #[must_use]
    pub(super) fn new(cores: &[(CoreId, Lane)], capacity: usize, metrics: Rc<PoolMetrics>) -> Self {
        Self {
            slots: cores.iter().map(|&(core, lane)| Slot::new(core, lane)).collect(),
            metrics,
            numbers: WorkerNumbers::default(),
            waiting: VecDeque::new(),
            capacity,
            running: 0,
            draining: false,
            emptied: Vec::new(),
            usual_run: Duration::from_millis(10),
        }
    }

    /// Gets a worker, waiting in line for it.
    ///
    /// # Errors
    /// If the queue is full or the pool is draining, or no zygote is left to serve the line.
    pub(super) async fn lease(queue: &Rc<RefCell<Self>>, need: Need) -> Result<Lease, RunError> {
        let waiting = {
            let mut this = queue.borrow_mut();
            if this.draining {
                return Err(RunError::Draining);
            }
            this.ready().map_err(|reason| RunError::NoWorker { reason })?;
            let at_once = if this.waiting.is_empty() { this.take(need) } else { None };
            match at_once {
                Some(grant) => return Ok(Lease { queue: Rc::clone(queue), grant }),
                None if !this.has_room(need.profile) => return Err(this.full()),
                None => {
                    let (hand_over, receiver) = oneshot::channel();
                    this.waiting.push_back(Waiter { need, hand_over });
                    receiver
                }
            }
        };
        let mut place = Place { queue: Rc::clone(queue), waiting };
        match (&mut place.waiting).await {
            Ok(grant) => Ok(Lease { queue: Rc::clone(queue), grant }),
            Err(_) => Err(RunError::NoWorker { reason: "the pool stopped".into() }),
        }
    }

    /// Takes a worker from the best slot there is: one where nothing runs, that is not the supervisor's, that is quiet,
    /// that has been idle longest; in this order.
    fn take(&mut self, need: Need) -> Option<Grant> {
        let (slot, _) = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.can_start(need.profile) && (slot.is_quiet() || !need.quiet))
            .min_by_key(|(_, slot)| {
                (slot.running(), slot.lane == Lane::Quick, !slot.is_quiet(), slot.idle_since)
            })?;
        let worker = self.slots[slot].take(need.profile)?;
        self.running += 1;
        Some(Grant { slot, profile: need.profile, worker })
    }

    /// Serves the line for as long as its head can be served. To be called whenever a slot may have become usable.
    pub(super) fn serve(&mut self) {
        while let Some(waiter) = self.waiting.pop_front() {
            if waiter.hand_over.is_closed() {
                continue;
            }
            let Some(grant) = self.take(waiter.need) else {
                self.waiting.push_front(waiter);
                break;
            };
            if let Err(grant) = waiter.hand_over.send(grant) {
                self.give_back(&grant);
            }
        }
        self.note_if_empty();
    }

    /// A job has ended: its worker is of no further use, whatever it is doing.
    fn give_back(&mut self, grant: &Grant) {
        grant.worker.kill();
        self.running -= 1;
        if let Some(slot) = self.slots.get_mut(grant.slot) {
            slot.release(grant.profile);
        }
        self.refill(grant.slot);
    }

    /// Asks the slot's zygote for what it is short of. A zygote that cannot be asked is found dead by its keeper.
    pub(super) fn refill(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            let _ = slot.refill(&mut self.numbers);
        }
    }

    fn note_if_empty(&mut self) {
        if self.running == 0 && self.waiting.is_empty() {
            for listener in self.emptied.drain(..) {
                let _ = listener.send(());
            }
        }
    }

    /// Takes no more jobs; the future ends when the last accepted one has.
    pub(super) fn drain(&mut self) -> impl Future<Output = ()> + use<> {
        self.draining = true;
        let (sender, emptied) = oneshot::channel();
        self.emptied.push(sender);
        self.note_if_empty();
        async move {
            let _ = emptied.await;
        }
    }

    /// Whether a job could be taken.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn ready(&self) -> Result<(), String> {
        if self.draining {
            return Err("the service is stopping".into());
        }
        let measures = |slot: &Slot| slot.lane == Lane::Measuring && slot.control.is_some();
        if !self.slots.iter().any(measures) {
            return Err("no zygote is up; one is being started".into());
        }
        Ok(())
    }

    /// Whether no further job may wait, of whatever kind.
    #[must_use]
    pub(super) fn is_full(&self) -> bool {
        !WorkerProfile::ALL.into_iter().any(|profile| self.has_room(profile))
    }

    /// Whether a job that cannot start at once may wait. One that only waits for a free core to become quiet, or for the
    /// fork of its worker, takes no place in line.
    fn has_room(&self, profile: WorkerProfile) -> bool {
        let starting = self.slots.iter().filter(|slot| slot.is_free_for(profile)).count();
        self.waiting.len() < self.capacity + starting
    }

    /// The refusal for that, with an estimate of when to come back.
    #[must_use]
    pub(super) fn full(&self) -> RunError {
        let jobs_ahead = (self.waiting.len() + 1) as u32;
        let slots = self.slots.len().max(1) as u32;
        RunError::QueueFull { capacity: self.capacity, retry_after: self.usual_run * jobs_ahead / slots }
    }

    /// Remembers what a job took.
    pub(super) fn record_run(&mut self, took: Duration) {
        self.usual_run = (self.usual_run * 7 + took) / 8;
    }

    /// How things are.
    #[must_use]
    pub(super) fn gauges(&self) -> Gauges {
        Gauges {
            queued: self.waiting.len(),
            queue_capacity: self.capacity,
            running: self.running,
            standby: self.slots.iter().map(Slot::standby).sum(),
            starting: self.slots.iter().map(Slot::starting).sum(),
            zygotes: self.slots.iter().filter(|slot| slot.control.is_some()).count(),
        }
    }

    /// How each slot is.
    #[must_use]
    pub(super) fn slots(&self) -> Vec<SlotView> {
        self.slots.iter().map(Slot::view).collect()
    }
}

/// A place in line. If the job goes away in the moment a worker is handed over, the worker is given back.
struct Place {
    queue: Rc<RefCell<Queue>>,
    waiting: oneshot::Receiver<Grant>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.close();
        let mut queue = self.queue.borrow_mut();
        if let Ok(grant) = self.waiting.try_recv() {
            queue.give_back(&grant);
            queue.serve();
        } else {
            queue.waiting.retain(|waiter| !waiter.hand_over.is_closed());
            queue.note_if_empty();
        }
    }
}

/// A worker and the place it holds.
#[derive(Debug)]
struct Grant {
    slot: usize,
    /// What the job asked for, which may be less than the worker is ready for.
    profile: WorkerProfile,
    worker: Worker,
}

/// A worker, held for one job.
#[derive(Debug)]
pub(super) struct Lease {
    queue: Rc<RefCell<Queue>>,
    grant: Grant,
}

impl Lease {
    /// The worker.
    pub(super) fn worker(&mut self) -> &mut Worker {
        &mut self.grant.worker
    }

    /// Asks for the next worker while this one ends.
    pub(super) fn refill(&self) {
        self.queue.borrow_mut().refill(self.grant.slot);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut queue = self.queue.borrow_mut();
        queue.give_back(&self.grant);
        queue.serve();
    }
}
