//! All receivers' queues together: whose turn it is, what is read from disk, what is forgotten. Pure.
//!
//! ```text
//!   changed, receivers, page, verdict, settled, timeout ---> [Outbox] ---> scan, load, post, settle
//! ```
//! Fair between receivers: one that has nothing under way goes first, the others take turns; and once half of the posts
//! that may be under way are, only receivers that have none may begin one. So it takes as many slow receivers as half the
//! limit before one of them can delay any other.
//!
//! Memory is bounded: [`RECEIVERS`] queues of a window each. When there are more receivers, one that is paused makes room;
//! when none is, the newcomer waits on disk for the next scan.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::queue::{Limits, Queue, WINDOW};
use super::verdict::Verdict;
use crate::call::{Timestamp, WallClock};
use crate::store::{DeliveryId, OutboxChange, ReceiverId, Settled, Step, WaitingPage};

/// Queues in memory.
const RECEIVERS: usize = 8_192;

/// Receivers asked for at once.
const SCAN: u32 = 1_000;

/// Between scans of the disk while some receivers have no queue.
const RESCAN: Duration = Duration::from_secs(60);

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// List receivers with something pending; answered by [`Outbox::handle_receivers`].
    Scan {
        /// After this one.
        after: Option<ReceiverId>,
        /// At most.
        limit: u32,
    },
    /// Read what a receiver waits for; answered by [`Outbox::handle_page`] or [`Outbox::handle_unread`].
    Load {
        /// Whose.
        receiver: ReceiverId,
        /// Parked until then at the latest.
        due: Timestamp,
        /// At most.
        limit: u32,
    },
    /// Send; answered by [`Outbox::handle_verdict`].
    Post {
        /// To whom.
        receiver: ReceiverId,
        /// What.
        delivery: DeliveryId,
    },
    /// Write down; answered by [`Outbox::handle_settled`].
    Settle {
        /// Whose.
        receiver: ReceiverId,
        /// What.
        settled: Settled,
    },
}

/// Decides what is sent to whom and when.
#[derive(Debug)]
pub struct Outbox {
    queues: BTreeMap<ReceiverId, Slot>,
    /// Receivers that may have something to post, by ticket: with nothing under way, and with something.
    idle: BTreeMap<u64, ReceiverId>,
    busy: BTreeMap<u64, ReceiverId>,
    next_ticket: u64,
    wakes: BTreeSet<(Instant, ReceiverId)>,
    /// Receivers that may be forgotten for others, by the end of their pause.
    paused: BTreeSet<(Instant, ReceiverId)>,
    outputs: VecDeque<Output>,
    in_flight: usize,
    scan: Scan,
    limits: Limits,
    clock: WallClock,
    chance: SmallRng,
}

#[derive(Debug)]
struct Slot {
    queue: Queue,
    place: Option<Place>,
    /// Its entry in `wakes`, and in `paused`.
    wake: Option<Instant>,
    paused: Option<Instant>,
}

/// A place in one of the two lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Idle(u64),
    Busy(u64),
}

/// Whether the disk may know receivers that are not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scan {
    Complete,
    /// It does: there was no room for them.
    Later {
        at: Instant,
    },
    UnderWay {
        /// Something was left out since it began.
        incomplete: bool,
    },
}

impl Outbox {
    /// Begins with a scan of the disk. `clock` says what time it is for events and receivers.
    pub fn new(limits: Limits, clock: WallClock, seed: u64) -> Self {
        let mut outbox = Self {
            queues: BTreeMap::new(),
            idle: BTreeMap::new(),
            busy: BTreeMap::new(),
            next_ticket: 0,
            wakes: BTreeSet::new(),
            paused: BTreeSet::new(),
            outputs: VecDeque::new(),
            in_flight: 0,
            scan: Scan::Complete,
            limits,
            clock,
            chance: SmallRng::seed_from_u64(seed),
        };
        outbox.begin_scan();
        outbox
    }

    /// Other limits from now on. What is under way beyond them is let finish.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The wall clock was looked at anew.
    pub fn set_clock(&mut self, clock: WallClock) {
        self.clock = clock;
    }

    /// Some receivers have something new on disk.
    pub fn handle_changed(&mut self, now: Instant, change: &OutboxChange) {
        match change {
            OutboxChange::Receivers(receivers) => {
                for receiver in receivers {
                    self.note(now, *receiver);
                }
            }
            OutboxChange::Everything => self.begin_scan(),
        }
        self.start(now);
    }

    /// What a scan found, in the order of ids; fewer than its limit means that there are no more.
    pub fn handle_receivers(&mut self, now: Instant, found: &[ReceiverId]) {
        for receiver in found {
            self.note(now, *receiver);
        }
        let incomplete = self.scan == Scan::UnderWay { incomplete: true };
        match found.last() {
            Some(last) if u32::try_from(found.len()) == Ok(SCAN) && !incomplete => {
                self.outputs.push_back(Output::Scan { after: Some(*last), limit: SCAN });
            }
            Some(_) | None if incomplete => self.scan = Scan::Later { at: now + RESCAN },
            Some(_) | None => self.scan = Scan::Complete,
        }
        self.start(now);
    }

    /// A scan could not be made.
    pub fn handle_unscanned(&mut self, now: Instant) {
        self.scan = Scan::Later { at: now + Duration::from_secs(1) };
    }

    /// What a receiver waits for.
    pub fn handle_page(&mut self, now: Instant, receiver: ReceiverId, page: WaitingPage) {
        if let Some(slot) = self.queues.get_mut(&receiver) {
            slot.queue.handle_page(now, &self.clock, page);
        }
        self.touch(now, receiver);
        self.start(now);
    }

    /// What a receiver waits for could not be read.
    pub fn handle_unread(&mut self, now: Instant, receiver: ReceiverId) {
        if let Some(slot) = self.queues.get_mut(&receiver) {
            slot.queue.handle_unread(now);
        }
        self.touch(now, receiver);
    }

    /// What became of a post.
    pub fn handle_verdict(
        &mut self,
        now: Instant,
        receiver: ReceiverId,
        delivery: DeliveryId,
        verdict: &Verdict,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(slot) = self.queues.get_mut(&receiver) {
            let settled = slot.queue.handle_verdict(now, &self.clock, &mut self.chance, delivery, verdict);
            self.outputs.extend(settled.map(|settled| Output::Settle { receiver, settled }));
        }
        self.touch(now, receiver);
        self.start(now);
    }

    /// What was settled is on disk.
    pub fn handle_settled(&mut self, now: Instant, receiver: ReceiverId, delivery: DeliveryId, step: Step) {
        if let Some(slot) = self.queues.get_mut(&receiver) {
            slot.queue.handle_settled(delivery, step);
        }
        self.touch(now, receiver);
        self.start(now);
    }

    /// Some time has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, receiver)) = self.wakes.first().copied()
            && at <= now
        {
            if let Some(slot) = self.queues.get_mut(&receiver) {
                let settled = slot.queue.handle_timeout(now, &self.clock);
                self.outputs.extend(settled.into_iter().map(|settled| Output::Settle { receiver, settled }));
            }
            self.touch(now, receiver);
        }
        if let Scan::Later { at } = self.scan
            && at <= now
        {
            self.begin_scan();
        }
        self.start(now);
    }

    /// When [`Self::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let wake = self.wakes.first().map(|(at, _)| *at);
        let scan = match self.scan {
            Scan::Later { at } => Some(at),
            Scan::Complete | Scan::UnderWay { .. } => None,
        };
        [wake, scan].into_iter().flatten().min()
    }

    /// What is to be done next, until there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Posts under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Receivers in memory.
    pub fn receivers(&self) -> usize {
        self.queues.len()
    }

    /// A receiver has something on disk.
    fn note(&mut self, now: Instant, receiver: ReceiverId) {
        if let Some(slot) = self.queues.get_mut(&receiver) {
            slot.queue.handle_news();
        } else if self.queues.len() < RECEIVERS || self.evict() {
            self.queues.insert(receiver, Slot { queue: Queue::new(), place: None, wake: None, paused: None });
        } else {
            self.leave_out(now);
        }
        self.touch(now, receiver);
    }

    /// Forgets the receiver that is paused for longest; it is found again by a later scan.
    fn evict(&mut self) -> bool {
        let Some((until, receiver)) = self.paused.last().copied() else { return false };
        self.forget(receiver);
        self.leave_out(until);
        true
    }

    /// There is a receiver on disk that has no queue: the disk is scanned later, not long after `at`.
    fn leave_out(&mut self, at: Instant) {
        self.scan = match self.scan {
            Scan::Complete => Scan::Later { at: at + RESCAN },
            later @ Scan::Later { .. } => later,
            Scan::UnderWay { .. } => Scan::UnderWay { incomplete: true },
        };
    }

    fn begin_scan(&mut self) {
        match self.scan {
            Scan::Complete | Scan::Later { .. } => {
                self.scan = Scan::UnderWay { incomplete: false };
                self.outputs.push_back(Output::Scan { after: None, limit: SCAN });
            }
            Scan::UnderWay { .. } => self.scan = Scan::UnderWay { incomplete: true },
        }
    }

    /// After anything that concerns a receiver: its page, its place in line, its next wake, or its end.
    fn touch(&mut self, now: Instant, receiver: ReceiverId) {
        let Some(slot) = self.queues.get_mut(&receiver) else { return };
        if slot.queue.is_done(now) {
            return self.forget(receiver);
        }
        if slot.queue.wants_page(now) {
            let limit = u32::try_from(WINDOW).unwrap_or(u32::MAX);
            self.outputs.push_back(Output::Load { receiver, due: self.clock.timestamp(now), limit });
        }
        replace(&mut self.wakes, receiver, &mut slot.wake, slot.queue.next_wake(now));
        replace(&mut self.paused, receiver, &mut slot.paused, slot.queue.evictable());
        let idle = slot.queue.in_flight() == 0;
        match slot.place {
            None => self.join_line(receiver),
            Some(Place::Busy(_)) if idle => {
                self.leave_line(receiver);
                self.join_line(receiver);
            }
            Some(Place::Idle(_) | Place::Busy(_)) => {}
        }
    }

    /// At the end of the line for those who have something under way, or of the other.
    fn join_line(&mut self, receiver: ReceiverId) {
        let Some(slot) = self.queues.get_mut(&receiver) else { return };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        slot.place = Some(if slot.queue.in_flight() == 0 {
            self.idle.insert(ticket, receiver);
            Place::Idle(ticket)
        } else {
            self.busy.insert(ticket, receiver);
            Place::Busy(ticket)
        });
    }

    fn leave_line(&mut self, receiver: ReceiverId) {
        match self.queues.get_mut(&receiver).and_then(|slot| slot.place.take()) {
            Some(Place::Idle(ticket)) => drop(self.idle.remove(&ticket)),
            Some(Place::Busy(ticket)) => drop(self.busy.remove(&ticket)),
            None => {}
        }
    }

    fn forget(&mut self, receiver: ReceiverId) {
        self.leave_line(receiver);
        if let Some(mut slot) = self.queues.remove(&receiver) {
            replace(&mut self.wakes, receiver, &mut slot.wake, None);
            replace(&mut self.paused, receiver, &mut slot.paused, None);
        }
    }

    /// Begins as many posts as may be under way.
    fn start(&mut self, now: Instant) {
        while self.in_flight < self.limits.in_all.max(2) {
            let busy =
                || (self.in_flight < self.limits.in_all / 2).then(|| self.busy.values().next()).flatten();
            let Some(receiver) = self.idle.values().next().or_else(busy).copied() else { return };
            self.leave_line(receiver);
            let slot = self.queues.get_mut(&receiver);
            if let Some(delivery) = slot.and_then(|slot| slot.queue.start(now, &self.limits)) {
                self.in_flight += 1;
                self.outputs.push_back(Output::Post { receiver, delivery });
                self.join_line(receiver);
            }
        }
    }
}

/// Keeps a receiver's entry in an index in step with what it is by now.
fn replace(
    index: &mut BTreeSet<(Instant, ReceiverId)>,
    receiver: ReceiverId,
    known: &mut Option<Instant>,
    at: Option<Instant>,
) {
    if *known == at {
        return;
    }
    if let Some(earlier) = std::mem::replace(known, at) {
        index.remove(&(earlier, receiver));
    }
    index.extend(at.map(|at| (at, receiver)));
}
