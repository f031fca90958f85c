//! What has come in by one intake of late: an event that comes again is known, and whoever knocks all day does not fill the log.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::REPLAY_WINDOW;

/// How long an event's id is remembered: from the earliest moment at which its time is good to the last.
const REMEMBERED: Duration = Duration::from_secs(2 * REPLAY_WINDOW.as_secs());

/// Ids that are remembered; of more than so many within [`REMEMBERED`] the oldest is forgotten.
const IDS_MAX: usize = 65_536;

/// Refusals of one hour that are worth a record each.
const REFUSALS_TOLD: u32 = 16;
const HOUR: Duration = Duration::from_secs(3600);

/// What an event is, as far as its id says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It has not come before. Worth a record when it is the first since the start, or the first after a refusal.
    New {
        /// Whether it is.
        worth_a_record: bool,
    },
    /// It has.
    Repeated,
}

/// The memory of one intake.
#[derive(Debug, Default)]
pub struct Gate {
    known: HashSet<Arc<str>>,
    order: VecDeque<(Instant, Arc<str>)>,
    last_was_accepted: bool,
    refusals: Option<(Instant, u32)>,
}

impl Gate {
    /// A verified event came.
    pub fn accept(&mut self, now: Instant, id: &str) -> Arrival {
        while self.order.front().is_some_and(|(at, _)| now.duration_since(*at) > REMEMBERED) {
            self.forget_oldest();
        }
        let id: Arc<str> = id.into();
        if !self.known.insert(Arc::clone(&id)) {
            return Arrival::Repeated;
        }
        self.order.push_back((now, id));
        if self.order.len() > IDS_MAX {
            self.forget_oldest();
        }
        let worth_a_record = !std::mem::replace(&mut self.last_was_accepted, true);
        Arrival::New { worth_a_record }
    }

    /// Something came that is not known to be the platform's. Answers whether that is worth a record.
    pub fn refuse(&mut self, now: Instant) -> bool {
        self.last_was_accepted = false;
        match &mut self.refusals {
            Some((since, count)) if now.duration_since(*since) < HOUR => {
                *count = count.saturating_add(1);
                *count <= REFUSALS_TOLD
            }
            Some(_) | None => {
                self.refusals = Some((now, 1));
                true
            }
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.order.pop_front() {
            self.known.remove(&id);
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test asks the clock once, for its beginning")]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_new_once_for_as_long_as_its_time_can_be_good() {
        let start = Instant::now();
        let mut gate = Gate::default();

        assert_eq!(gate.accept(start, "1"), Arrival::New { worth_a_record: true });
        assert_eq!(gate.accept(start + REMEMBERED, "1"), Arrival::Repeated);
        assert_eq!(gate.accept(start, "2"), Arrival::New { worth_a_record: false });
        let later = start + REMEMBERED + Duration::from_millis(1);
        assert_eq!(gate.accept(later, "1"), Arrival::New { worth_a_record: false });
    }

    #[test]
    fn refusals_are_worth_16_records_an_hour_and_the_first_event_after_them_one() {
        let start = Instant::now();
        let mut gate = Gate::default();
        gate.accept(start, "1");

        let told = (0..100).filter(|second| gate.refuse(start + Duration::from_secs(*second))).count();

        assert_eq!(told, 16);
        assert!(gate.refuse(start + HOUR));
        assert_eq!(gate.accept(start, "2"), Arrival::New { worth_a_record: true });
        assert_eq!(gate.accept(start, "3"), Arrival::New { worth_a_record: false });
    }

    #[test]
    fn a_flood_of_events_is_remembered_in_so_many_ids_and_no_more() {
        let start = Instant::now();
        let mut gate = Gate::default();

        for number in 0..=IDS_MAX {
            gate.accept(start, &number.to_string());
        }

        assert_eq!((gate.known.len(), gate.order.len()), (IDS_MAX, IDS_MAX));
        assert_eq!(gate.accept(start, &IDS_MAX.to_string()), Arrival::Repeated);
        assert!(matches!(gate.accept(start, "0"), Arrival::New { .. }));
    }
}
