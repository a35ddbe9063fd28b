//! Who gets a worker next: one bounded queue over all slots, first come first served.
//!
//! A job that waits keeps those behind it from every core that it could use itself, and from no other: a quick job starts
//! on the supervisor's core while a job that must be measured elsewhere waits ahead of it.
//!
//! Owns the slots. A job that finds a free worker gets it at once; otherwise it waits, unless the queue is full. What a
//! job holds is a [`Lease`]; however the job ends, dropping the lease ends the worker, frees the slot, asks for a new
//! worker and serves the next in line.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use webrunner_protocol::control::Lane;
use webrunner_protocol::events::EventSet;
use webrunner_protocol::ids::CoreId;

use super::outcome::RunError;
use super::slot::{Slot, WorkerNumbers};
use super::worker::{Ready, Worker};
use super::{Gauges, SlotView};
use crate::metrics::PoolMetrics;

/// What a job asks of the worker it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    /// What the worker must be ready for.
    pub(super) ready: Ready,
    /// Whether nothing of the pool's own may be going on on its core.
    pub(super) quiet: bool,
}

/// Cores that somebody in line could use, which those behind may therefore not take.
#[derive(Debug, Clone, Copy, Default)]
struct Claims {
    measuring: bool,
    quick: bool,
}

impl Claims {
    fn add(&mut self, need: Need) {
        self.measuring = true;
        self.quick |= need.ready == Ready::Plain;
    }

    fn hold(self, lane: Lane) -> bool {
        match lane {
            Lane::Measuring => self.measuring,
            Lane::Quick => self.quick,
        }
    }

    fn all(self) -> bool {
        self.measuring && self.quick
    }
}

/// A job in line.
struct Waiter {
    need: Need,
    /// Events of its own, for which a worker is made when its turn comes.
    events: Option<EventSet>,
    /// How often one was asked for.
    summoned: u32,
    hand_over: oneshot::Sender<Grant>,
}

/// Workers asked for, at most, to be made for one job.
const MOST_SUMMONS: u32 = 3;

/// The queue and the slots it feeds.
pub(super) struct Queue {
    /// The slots, one for each core.
    pub(super) slots: Vec<Slot>,
    /// Where events are counted.
    pub(super) metrics: Rc<PoolMetrics>,
    /// Numbers for new workers.
    pub(super) numbers: WorkerNumbers,
    waiting: VecDeque<Waiter>,
    /// Cores that jobs with events of their own may run on.
    chosen_cores: Vec<CoreId>,
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
    pub(super) fn new(
        cores: &[(CoreId, Lane)],
        chosen_cores: &[CoreId],
        capacity: usize,
        metrics: Rc<PoolMetrics>,
    ) -> Self {
        Self {
            chosen_cores: chosen_cores.to_vec(),
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
    pub(super) async fn lease(
        queue: &Rc<RefCell<Self>>,
        need: Need,
        events: Option<EventSet>,
    ) -> Result<Lease, RunError> {
        let waiting = {
            let mut this = queue.borrow_mut();
            if this.draining {
                return Err(RunError::Draining);
            }
            this.ready().map_err(|reason| RunError::NoWorker { reason })?;
            let claims = this.claims();
            let at_once = this.take(need, claims);
            match at_once {
                Some(grant) => return Ok(Lease { queue: Rc::clone(queue), grant }),
                None if !this.has_room(need.ready) => return Err(this.full()),
                None => {
                    let (hand_over, receiver) = oneshot::channel();
                    this.waiting.push_back(Waiter { need, events, summoned: 0, hand_over });
                    this.serve();
                    receiver
                }
            }
        };
        let mut place = Place { queue: Rc::clone(queue), waiting };
        match (&mut place.waiting).await {
            Ok(grant) => Ok(Lease { queue: Rc::clone(queue), grant }),
            Err(_) => {
                let reason = queue.borrow().ready().err();
                Err(RunError::NoWorker { reason: reason.unwrap_or_else(|| "all of them failed".into()) })
            }
        }
    }

    /// Takes a worker from the best slot there is: one where nothing runs, that is quiet, that is not the supervisor's,
    /// that has been idle longest; in this order. A fork under way keeps a job waiting for longer than the supervisor's
    /// own work does. Cores that others have a claim to are not looked at.
    fn take(&mut self, need: Need, claims: Claims) -> Option<Grant> {
        let (slot, _) = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| !claims.hold(slot.lane))
            .filter(|(_, slot)| slot.can_start(need.ready) && (slot.is_quiet() || !need.quiet))
            .min_by_key(|(_, slot)| {
                (slot.running(), !slot.is_quiet(), slot.lane == Lane::Quick, slot.idle_since)
            })?;
        let worker = self.slots[slot].take(need.ready)?;
        self.running += 1;
        Some(Grant { slot, ready: need.ready, worker })
    }

    /// Serves everybody in line who can be served; turns them away if nobody can be for some time. To be called
    /// whenever a slot may have become usable.
    pub(super) fn serve(&mut self) {
        let mut claims = Claims::default();
        let mut at = 0;
        while at < self.waiting.len() && !claims.all() {
            let waiter = &self.waiting[at];
            let (need, left) = (waiter.need, waiter.hand_over.is_closed());
            let grant = if left { None } else { self.take(need, claims) };
            // One behind others must not have a worker forked on a core that is theirs first.
            let may_wait = |queue: &mut Self| claims.hold(Lane::Measuring) || queue.summon(at);
            if !left && grant.is_none() && may_wait(self) {
                claims.add(need);
                at += 1;
                continue;
            }
            if let (Some(waiter), Some(grant)) = (self.waiting.remove(at), grant)
                && let Err(grant) = waiter.hand_over.send(grant)
            {
                self.give_back(&grant);
            }
        }
        if self.measuring().all(Slot::is_hopeless) {
            // Each learns why from `lease`.
            self.waiting.clear();
        }
        self.dismiss_unawaited();
        self.note_if_empty();
    }

    /// Sees to it that a job with events of its own, at this place in line, gets a worker made for them, on a free core;
    /// others need nothing. Gives false for one whose workers keep failing.
    fn summon(&mut self, at: usize) -> bool {
        let waiter = &mut self.waiting[at];
        let (Some(events), ready) = (&waiter.events, waiter.need.ready) else { return true };
        if self.slots.iter().any(|slot| slot.expects(ready)) {
            return true;
        }
        let chosen_cores = &self.chosen_cores;
        let free = |slot: &&mut Slot| {
            slot.is_free_for(ready) && chosen_cores.contains(&slot.core) && !slot.births.is_pausing()
        };
        let Some(slot) = self.slots.iter_mut().filter(free).min_by_key(|slot| slot.idle_since) else {
            return true;
        };
        waiter.summoned += 1;
        // A zygote that cannot be asked is found dead by its keeper; then another core serves, or this one again.
        let _ = slot.summon(&mut self.numbers, ready, events);
        waiter.summoned <= MOST_SUMMONS
    }

    /// Ends workers that were made for a job which has left the line.
    fn dismiss_unawaited(&mut self) {
        let waiting = &self.waiting;
        for slot in &mut self.slots {
            slot.dismiss_unless(|ready| waiting.iter().any(|waiter| waiter.need.ready == ready));
        }
    }

    /// What those in line have a claim to.
    fn claims(&self) -> Claims {
        let mut claims = Claims::default();
        for waiter in &self.waiting {
            if claims.all() {
                break;
            }
            claims.add(waiter.need);
        }
        claims
    }

    /// A job has ended: its worker is ended too, and another asked for.
    fn give_back(&mut self, grant: &Grant) {
        self.running -= 1;
        if let Some(slot) = self.slots.get_mut(grant.slot) {
            slot.release(grant.ready, &grant.worker);
        }
        self.refill(grant.slot);
    }

    /// Asks the slot's zygote for what it is short of. A zygote that cannot be asked is found dead by its keeper.
    pub(super) fn refill(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            let _ = slot.refill(&mut self.numbers);
        }
    }

    /// Asks every zygote whether it answers, but where a job runs that this would disturb.
    pub(super) fn ask_zygotes(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.running() == 0) {
            // A zygote that cannot be asked is found dead by its keeper.
            let _ = slot.ask();
        }
    }

    /// Whether a job could be measured, and every zygote was heard of within `limit`. One whose core runs a job was not
    /// asked; the job's own deadline sees to that.
    #[must_use]
    pub(super) fn zygotes_answer(&self, limit: Duration) -> bool {
        let mut up = self.slots.iter().filter(|slot| slot.has_zygote());
        self.ready().is_ok() && up.all(|slot| slot.running() > 0 || slot.heard.elapsed() < limit)
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

    /// Slots that take every job.
    fn measuring(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.lane == Lane::Measuring)
    }

    /// Whether a job could be taken.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn ready(&self) -> Result<(), String> {
        if self.draining {
            return Err("the service is stopping".into());
        }
        let mut troubles = self.measuring().map(Slot::trouble);
        match troubles.next() {
            Some(Some(reason)) if troubles.all(|trouble| trouble.is_some()) => Err(reason.to_owned()),
            Some(_) => Ok(()),
            None => Err("there is no core to measure on".into()),
        }
    }

    /// Whether no further job may wait, of whatever kind.
    #[must_use]
    pub(super) fn is_full(&self) -> bool {
        ![Ready::Plain, Ready::Counting].into_iter().any(|ready| self.has_room(ready))
    }

    /// Whether a job that cannot start at once may wait. One that only waits for a free core to become quiet, or for the
    /// fork of its worker, takes no place in line.
    fn has_room(&self, ready: Ready) -> bool {
        let starting = self.slots.iter().filter(|slot| slot.is_free_for(ready)).count();
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
            zygotes: self.slots.iter().filter(|slot| slot.has_zygote()).count(),
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
        match self.waiting.try_recv() {
            Ok(grant) => queue.give_back(&grant),
            Err(_) => queue.waiting.retain(|waiter| !waiter.hand_over.is_closed()),
        }
        // Whoever was kept from a core by this one may have it now.
        queue.serve();
    }
}

/// A worker and the place it holds.
#[derive(Debug)]
struct Grant {
    slot: usize,
    /// What the job asked for, which may be less than the worker is ready for.
    ready: Ready,
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
