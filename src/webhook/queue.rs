//! One receiver's queue: what is tried next, when, and when no longer. Pure.
//!
//! The receiver:
//! ```text
//!            5 different events failed in a row,
//!            or 429/503 with Retry-After
//!   [Open] --------------------------------------> [Paused] <------+
//!     ^ ^                                             | until      | the probe failed:
//!     | +--- a post from before the pause: 2xx -------+            | twice the pause,
//!     |                                               v            | a minute at most
//!     +------------- the probe: 2xx -------------- [Probing] ------+
//! ```
//! A delivery in the queue's memory (the window; the rest is on disk and loaded as the window drains):
//! ```text
//!            its turn             2xx, given up, or parked
//!   [Due] -------------> [InFlight] ----------------> [Settling] --- on disk ---> gone
//!     ^                     |                            ^
//!     +---- failed: later --+                            |
//!     +------- failing for 60 s, or out of time ---------+
//! ```
//! - Within a call the order is that of `seq`: an event waits for the one before it, until that one has been failing for
//!   [`OVERTAKE`]. From then on it is *parked*: its next attempts are noted on disk and it takes no place here.
//! - Attempts of one event are [`FIRST_RETRY`] apart, then twice that, at most [`LONGEST_RETRY`], each by up to a
//!   quarter more or less; a `Retry-After` that is longer counts. The last attempt is [`GIVE_UP`] after the event.
//! - While the receiver is paused nothing is tried, and what runs out of time is given up without a further attempt.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rand::Rng;

use super::verdict::Verdict;
use crate::call::{CallId, EventId, Timestamp, WallClock};
use crate::store::{DeliveryId, Settled, Step, Tried, Waiting, WaitingPage};

/// Between the first attempt and the second, about.
pub const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Between two attempts, about.
pub const LONGEST_RETRY: Duration = Duration::from_secs(15 * 60);

/// An event that has been failing for so long no longer holds up those after it.
pub const OVERTAKE: Duration = Duration::from_secs(60);

/// After the event occurred, or was replayed.
pub const GIVE_UP: Duration = Duration::from_secs(24 * 60 * 60);

/// Different events that fail in a row before the receiver is taken to be down.
const DOWN_AFTER: usize = 5;

/// The first pause of a receiver that is down, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Deliveries of one receiver in memory; loaded anew when half of them are gone. What does not fit waits on disk.
pub(super) const WINDOW: usize = 128;

/// Before a page that could not be read is asked for again.
const REREAD: Duration = Duration::from_secs(1);

/// How many posts may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// To one receiver. At least 1.
    pub per_receiver: usize,
    /// To all of them together; half of it is kept for receivers that have none under way yet. At least 2.
    pub in_all: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_receiver: 16, in_all: 256 }
    }
}

/// The deliveries of one receiver.
#[derive(Debug)]
pub(super) struct Queue {
    state: State,
    entries: BTreeMap<DeliveryId, Entry>,
    in_flight: usize,
    settling: usize,
    reading: Reading,
    /// When the next of those parked on disk is due.
    parked_due: Option<Instant>,
}

#[derive(Debug)]
enum State {
    Open {
        failing: BTreeSet<DeliveryId>,
    },
    /// `asked`: by the receiver itself, so that a late 2xx does not end it.
    Paused {
        until: Instant,
        pause: Duration,
        asked: bool,
    },
    Probing {
        probe: DeliveryId,
        pause: Duration,
    },
}

#[derive(Debug)]
struct Entry {
    event: EventId,
    attempts: u32,
    give_up: Instant,
    /// From when on others need not wait for it; nothing before it has failed.
    overtake: Option<Instant>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Due {
        at: Instant,
    },
    InFlight,
    /// Kept until the disk knows, so that a page read before that is not taken for news.
    Settling {
        /// When it is to be read from disk again.
        parked: Option<Instant>,
    },
    /// The disk knows, but a page is being read that may be from before that.
    Settled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// There is nothing on disk that is not here, except what is parked.
    Complete,
    /// There may be more on disk.
    More { not_before: Option<Instant> },
    /// A page was asked for; whether there was news meanwhile.
    UnderWay { news: bool },
}

impl Queue {
    /// A receiver of which nothing is known but that it has something on disk.
    pub(super) fn new() -> Self {
        Self {
            state: State::Open { failing: BTreeSet::new() },
            entries: BTreeMap::new(),
            in_flight: 0,
            settling: 0,
            reading: Reading::More { not_before: None },
            parked_due: None,
        }
    }

    /// There is something new on disk.
    pub(super) fn handle_news(&mut self) {
        match &mut self.reading {
            Reading::Complete => self.reading = Reading::More { not_before: None },
            Reading::More { .. } => {}
            Reading::UnderWay { news } => *news = true,
        }
    }

    /// Whether a page is to be read now; then it counts as being read.
    pub(super) fn wants_page(&mut self, now: Instant) -> bool {
        let more = match self.reading {
            Reading::Complete => self.parked_due.is_some_and(|due| due <= now),
            Reading::More { not_before } => not_before.is_none_or(|at| at <= now),
            Reading::UnderWay { .. } => false,
        };
        let wants = more && self.entries.len() <= WINDOW / 2;
        if wants {
            self.reading = Reading::UnderWay { news: false };
            // The page will have it. What is parked from here on may not be on the page.
            self.parked_due = self.parked_due.filter(|due| *due > now);
        }
        wants
    }

    /// What was on disk. Takes from those in turn and from the parked ones by turns, as far as there is room.
    pub(super) fn handle_page(&mut self, now: Instant, clock: &WallClock, page: WaitingPage) {
        let news = self.reading == Reading::UnderWay { news: true };
        let mut in_turn = page.in_turn.into_iter();
        let mut due = page.due.into_iter();
        let mut left_out = false;
        loop {
            let pair = [in_turn.next(), due.next()];
            if pair.iter().all(Option::is_none) {
                break;
            }
            for waiting in pair.into_iter().flatten() {
                left_out |= !self.admit(now, clock, waiting);
            }
        }
        self.entries.retain(|_, entry| entry.stage != Stage::Settled);
        let on_page = page.next_due.map(|due| moment(now, clock, due));
        self.parked_due = [self.parked_due, on_page].into_iter().flatten().min();
        self.reading = if news || page.more || left_out {
            Reading::More { not_before: None }
        } else {
            Reading::Complete
        };
    }

    /// The page could not be read.
    pub(super) fn handle_unread(&mut self, now: Instant) {
        self.entries.retain(|_, entry| entry.stage != Stage::Settled);
        self.reading = Reading::More { not_before: Some(now + REREAD) };
    }

    /// False when there is no room for it.
    fn admit(&mut self, now: Instant, clock: &WallClock, waiting: Waiting) -> bool {
        if self.entries.contains_key(&waiting.delivery) {
            return true;
        }
        if self.entries.len() >= WINDOW {
            return false;
        }
        // A replay takes the place of what waits of the same event.
        let older = DeliveryId { replays: 0, ..waiting.delivery }..waiting.delivery;
        let replaced: Vec<DeliveryId> = self
            .entries
            .range(older)
            .filter(|(_, entry)| matches!(entry.stage, Stage::Due { .. }))
            .map(|(delivery, _)| *delivery)
            .collect();
        for delivery in replaced {
            self.entries.remove(&delivery);
        }
        let entry = Entry {
            event: waiting.event,
            attempts: waiting.attempts,
            give_up: moment(now, clock, end(waiting.since)),
            overtake: waiting.parked.then_some(now),
            stage: Stage::Due { at: now },
        };
        self.entries.insert(waiting.delivery, entry);
        true
    }

    /// What to post next, if anything may be posted now; it counts as under way.
    pub(super) fn start(&mut self, now: Instant, limits: &Limits) -> Option<DeliveryId> {
        let delivery = match &self.state {
            State::Open { .. } if self.in_flight < limits.per_receiver.max(1) => self.ready(now).next()?,
            State::Paused { until, pause, .. } if *until <= now => {
                // One that was never tried says more about the receiver than one that has failed, and the newest of
                // them is the least likely to share the fate of the others.
                let fresh = self.ready(now).filter(|delivery| self.entries[delivery].attempts == 0).last();
                let probe = fresh.or_else(|| self.ready(now).next())?;
                self.state = State::Probing { probe, pause: *pause };
                probe
            }
            State::Open { .. } | State::Paused { .. } | State::Probing { .. } => return None,
        };
        self.entries.get_mut(&delivery)?.stage = Stage::InFlight;
        self.in_flight += 1;
        Some(delivery)
    }

    /// Those that are due and need not wait for another of their call.
    fn ready(&self, now: Instant) -> impl Iterator<Item = DeliveryId> {
        // The first event of each call that others wait for; an earlier sending of the same event is none.
        let mut holds: HashMap<CallId, i64> = HashMap::new();
        self.entries.iter().filter_map(move |(delivery, entry)| {
            let (pending, due) = match entry.stage {
                Stage::Due { at } => (true, at <= now),
                Stage::InFlight => (true, false),
                Stage::Settling { .. } | Stage::Settled => (false, false),
            };
            let held = holds.get(&entry.event.call).is_some_and(|first| *first != delivery.number);
            if pending && entry.overtake.is_none_or(|at| at > now) {
                holds.entry(entry.event.call).or_insert(delivery.number);
            }
            (due && !held).then_some(*delivery)
        })
    }

    /// What became of a post. Answers what to write down, if anything.
    pub(super) fn handle_verdict(
        &mut self,
        now: Instant,
        clock: &WallClock,
        chance: &mut impl Rng,
        delivery: DeliveryId,
        verdict: &Verdict,
    ) -> Option<Settled> {
        let entry = self.entries.get_mut(&delivery)?;
        self.in_flight = self.in_flight.saturating_sub(1);
        let (outcome, step) = match verdict {
            Verdict::Obsolete => {
                self.entries.remove(&delivery);
                self.leave_probe(now, delivery);
                return None;
            }
            Verdict::NotRead => {
                entry.stage = Stage::Due { at: now + REREAD };
                self.leave_probe(now, delivery);
                return None;
            }
            Verdict::Acknowledged(status) => {
                entry.attempts += 1;
                entry.stage = Stage::Settling { parked: None };
                (format!("HTTP {}", status.as_u16()), Step::Delivered)
            }
            Verdict::Failed { failure, retry_after } => {
                (failure.to_string(), entry.fail(now, clock, chance, *retry_after))
            }
        };
        self.settling += usize::from(matches!(entry.stage, Stage::Settling { .. }));
        let tried = Some(Tried { at: clock.timestamp(now), outcome });
        let settled = Settled { delivery, step, attempts: entry.attempts, tried };
        match verdict {
            Verdict::Acknowledged(_) => self.recover(now),
            Verdict::Failed { failure, retry_after } => {
                let asked = retry_after.filter(|_| failure.speaks_for_the_receiver());
                self.suffer(now, chance, delivery, asked);
            }
            Verdict::Obsolete | Verdict::NotRead => {}
        }
        Some(settled)
    }

    /// The receiver works.
    fn recover(&mut self, now: Instant) {
        match self.state {
            State::Paused { until, asked: true, .. } if until > now => {}
            State::Open { .. } | State::Paused { .. } | State::Probing { .. } => {
                self.state = State::Open { failing: BTreeSet::new() };
            }
        }
    }

    /// A failure may mean that the receiver is down, and says so when it `asked` for a pause.
    fn suffer(&mut self, now: Instant, chance: &mut impl Rng, delivery: DeliveryId, asked: Option<Duration>) {
        match &mut self.state {
            State::Open { failing } => {
                failing.insert(delivery);
                if failing.len() >= DOWN_AFTER || asked.is_some() {
                    let until = now + asked.unwrap_or_else(|| jitter(chance, PAUSE.0));
                    self.state = State::Paused { until, pause: PAUSE.0, asked: asked.is_some() };
                }
            }
            State::Probing { probe, pause } if *probe == delivery => {
                let pause = PAUSE.1.min(*pause * 2);
                let until = now + asked.unwrap_or_default().max(jitter(chance, pause));
                self.state = State::Paused { until, pause, asked: asked.is_some() };
            }
            // From before the pause: it says what we know, unless it asks for more.
            State::Paused { until, asked: by_receiver, .. } => {
                *by_receiver |= asked.is_some();
                *until = (*until).max(now + asked.unwrap_or_default());
            }
            State::Probing { .. } => {}
        }
    }

    /// The probe came to nothing: another may be tried at once.
    fn leave_probe(&mut self, now: Instant, delivery: DeliveryId) {
        if let State::Probing { probe, pause } = self.state
            && probe == delivery
        {
            self.state = State::Paused { until: now, pause, asked: false };
        }
    }

    /// What was settled is on disk.
    pub(super) fn handle_settled(&mut self, delivery: DeliveryId, step: Step) {
        match step {
            Step::Delivered | Step::GivenUp | Step::Parked { .. } => {}
            // Only noted: the delivery goes on, and may by now be settling for good.
            Step::Failed { .. } => return,
        }
        let Some(entry) = self.entries.get_mut(&delivery) else { return };
        let Stage::Settling { parked } = entry.stage else { return };
        self.settling -= 1;
        self.parked_due = [self.parked_due, parked].into_iter().flatten().min();
        match self.reading {
            Reading::UnderWay { .. } => entry.stage = Stage::Settled,
            Reading::Complete | Reading::More { .. } => drop(self.entries.remove(&delivery)),
        }
    }

    /// Parks what has been failing for long, and gives up what a paused receiver has no time left for.
    pub(super) fn handle_timeout(&mut self, now: Instant, clock: &WallClock) -> Vec<Settled> {
        let paused = match self.state {
            State::Open { .. } => false,
            State::Paused { .. } | State::Probing { .. } => true,
        };
        let mut settled = Vec::new();
        for (delivery, entry) in &mut self.entries {
            let Stage::Due { at } = entry.stage else { continue };
            let (step, parked) = if paused && entry.give_up <= now {
                (Step::GivenUp, None)
            } else if at > now && entry.overtake.is_some_and(|overtake| overtake <= now) {
                (Step::Parked { until: clock.timestamp(at) }, Some(at))
            } else {
                continue;
            };
            entry.stage = Stage::Settling { parked };
            self.settling += 1;
            settled.push(Settled { delivery: *delivery, step, attempts: entry.attempts, tried: None });
        }
        settled
    }

    /// The next moment after `now` at which something may become possible.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let state = match self.state {
            State::Open { .. } | State::Probing { .. } => None,
            State::Paused { until, .. } => Some(until),
        };
        let reading = match self.reading {
            Reading::Complete => self.parked_due,
            Reading::More { not_before } => not_before,
            Reading::UnderWay { .. } => None,
        };
        let entries = self.entries.values().flat_map(|entry| match entry.stage {
            Stage::Due { at } => [Some(at), entry.overtake, Some(entry.give_up)],
            Stage::InFlight => [entry.overtake, None, None],
            Stage::Settling { .. } | Stage::Settled => [None; 3],
        });
        entries.chain([state, reading]).flatten().filter(|at| *at > now).min()
    }

    /// Posts under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether it can be forgotten: it has nothing here and nothing on disk.
    pub(super) fn is_done(&self, now: Instant) -> bool {
        let at_rest = match self.state {
            State::Open { .. } => true,
            State::Paused { until, .. } => until <= now,
            State::Probing { .. } => false,
        };
        at_rest && self.entries.is_empty() && self.reading == Reading::Complete && self.parked_due.is_none()
    }

    /// Until when it is paused, when it may be forgotten although it has something on disk.
    pub(super) fn evictable(&self) -> Option<Instant> {
        match self.state {
            State::Paused { until, .. } => {
                let reads = matches!(self.reading, Reading::UnderWay { .. });
                (!reads && self.in_flight == 0 && self.settling == 0).then_some(until)
            }
            State::Open { .. } | State::Probing { .. } => None,
        }
    }
}

impl Entry {
    /// One more attempt has failed: what next.
    fn fail(
        &mut self,
        now: Instant,
        clock: &WallClock,
        chance: &mut impl Rng,
        retry_after: Option<Duration>,
    ) -> Step {
        self.attempts += 1;
        // Its time is kept in milliseconds: the last attempt may come a little before the end.
        if self.give_up <= now + FIRST_RETRY / 2 {
            self.stage = Stage::Settling { parked: None };
            return Step::GivenUp;
        }
        let doubled = FIRST_RETRY.saturating_mul(1 << (self.attempts - 1).min(20));
        let wait = jitter(chance, LONGEST_RETRY.min(doubled)).max(retry_after.unwrap_or_default());
        let next = (now + wait).min(self.give_up);
        if *self.overtake.get_or_insert(now + OVERTAKE) <= now {
            self.stage = Stage::Settling { parked: Some(next) };
            return Step::Parked { until: clock.timestamp(next) };
        }
        self.stage = Stage::Due { at: next };
        Step::Failed { next: clock.timestamp(next) }
    }
}

/// A quarter more or less.
fn jitter(chance: &mut impl Rng, about: Duration) -> Duration {
    about.mul_f64(chance.random_range(0.75..1.25))
}

/// The moment that the wall clock will show `at`; `now` when that is past.
fn moment(now: Instant, clock: &WallClock, at: Timestamp) -> Instant {
    now + clock.timestamp(now).until(at)
}

/// When the 24 hours are over.
fn end(since: Timestamp) -> Timestamp {
    let length = i64::try_from(GIVE_UP.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_unix_ms(since.unix_ms().saturating_add(length))
}
