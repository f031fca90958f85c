//! When each leg's next packet is due: every 20 ms, the legs spread over the 20 ms.
//!
//! ```text
//!   slot     0    1    2  ...  19    0    1      a slot is 1 ms
//!            |    |    |        |    |    |
//!   legs     ab   c    d        e    ab   c
//! ```
//!
//! A few legs share a slot, since each slot in use wakes the worker 50 times a second; more are spread evenly, so
//! that the load of a full worker is flat.
//!
//! A worker that comes late makes up for the slots it missed, up to [`MADE_UP`]; what is older is left out, since
//! a burst of old packets helps nobody.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::{Duration, Instant};

/// How finely legs are spread.
const SLOT: Duration = Duration::from_millis(1);

/// Slots in one beat.
const SLOTS: usize = (media::BEAT.as_millis() / SLOT.as_millis()) as usize;

/// So many legs share a slot before another is begun.
const COMPANY: usize = 8;

/// How much of what was missed is made up for.
const MADE_UP: Duration = Duration::from_millis(100);

/// Where something sits, to take it out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat(usize);

/// Who is due when. `T` names a leg.
#[derive(Debug)]
pub(super) struct Beats<T> {
    slots: [Vec<T>; SLOTS],
    /// When the slot `next` is due.
    due: Instant,
    next: usize,
    seated: usize,
    left_out: u64,
}

impl<T: Copy + PartialEq> Beats<T> {
    /// Nobody is due.
    pub(super) fn new(now: Instant) -> Self {
        Self { slots: Default::default(), due: now, next: 0, seated: 0, left_out: 0 }
    }

    /// From now on `leg` is due every 20 ms.
    pub(super) fn add(&mut self, leg: T) -> Seat {
        let has_room = |slot: &usize| (1..COMPANY).contains(&self.slots[*slot].len());
        let with_company = (0..SLOTS).find(has_room);
        let emptiest = (0..SLOTS).min_by_key(|slot| self.slots[(self.next + slot) % SLOTS].len());
        let slot = with_company.unwrap_or_else(|| (self.next + emptiest.unwrap_or(0)) % SLOTS);
        self.slots[slot].push(leg);
        self.seated += 1;
        Seat(slot)
    }

    /// `leg` is due no more.
    pub(super) fn remove(&mut self, Seat(slot): Seat, leg: T) {
        let Some(place) = self.slots[slot].iter().position(|seated| *seated == leg) else { return };
        self.slots[slot].swap_remove(place);
        self.seated -= 1;
    }

    /// When somebody is due next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.seated == 0 {
            return None;
        }
        let steps = (0..SLOTS).find(|step| !self.slots[(self.next + step) % SLOTS].is_empty())?;
        Some(self.due + SLOT * u32::try_from(steps).unwrap_or(0))
    }

    /// Writes the legs of the oldest slot that is due at `now` into `legs`, and answers when it was due;
    /// nothing when none is.
    pub(super) fn pop(&mut self, now: Instant, legs: &mut Vec<T>) -> Option<Instant> {
        self.leave_out(now);
        while self.due <= now {
            let (slot, due) = (self.next, self.due);
            self.next = (self.next + 1) % SLOTS;
            self.due += SLOT;
            if !self.slots[slot].is_empty() {
                legs.clear();
                legs.extend_from_slice(&self.slots[slot]);
                return Some(due);
            }
        }
        None
    }

    /// Beats that were left out because nobody came in time, counted by leg.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }

    fn leave_out(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.due);
        if late <= MADE_UP {
            return;
        }
        let missed = (late - MADE_UP).as_millis() / SLOT.as_millis();
        let (rounds, rest) = (missed / SLOTS as u128, (missed % SLOTS as u128) as usize);
        let in_rest: usize = (0..rest).map(|step| self.slots[(self.next + step) % SLOTS].len()).sum();
        self.left_out += u64::try_from(rounds).unwrap_or(u64::MAX).saturating_mul(self.seated as u64);
        self.left_out += in_rest as u64;
        self.next = (self.next + rest) % SLOTS;
        self.due += SLOT * u32::try_from(missed).unwrap_or(u32::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn every_leg_is_due_every_20_ms_and_a_full_worker_has_as_much_to_do_at_all_times() {
        let start = now();
        let mut beats = Beats::new(start);
        for leg in 0..400 {
            beats.add(leg);
        }

        let log = run(&mut beats, start, 100);

        for leg in 0..400 {
            let times: Vec<u32> = log.iter().filter(|(_, who)| *who == leg).map(|(at, _)| *at).collect();
            assert_eq!(times.len(), 5, "leg {leg}: {times:?}");
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] == 20), "leg {leg}: {times:?}");
        }
        for ms in 0..100 {
            assert_eq!(log.iter().filter(|(at, _)| *at == ms).count(), 20, "at {ms}");
        }
    }

    #[test]
    fn few_legs_wake_the_worker_seldom() {
        let start = now();
        let mut beats = Beats::new(start);
        for leg in 0..20 {
            beats.add(leg);
        }

        let mut times: Vec<u32> = run(&mut beats, start, 20).iter().map(|(at, _)| *at).collect();

        times.dedup();
        assert_eq!(times.len(), 3, "{times:?}");
    }

    #[test]
    fn who_left_is_due_no_more_and_its_seat_is_taken_next() {
        let start = now();
        let mut beats = Beats::new(start);
        let seats: Vec<Seat> = (0..40).map(|leg| beats.add(leg)).collect();

        beats.remove(seats[7], 7);
        beats.remove(seats[7], 7);

        assert_eq!(beats.add(99), seats[7]);
        assert!(run(&mut beats, start, 40).iter().all(|(_, who)| *who != 7));
    }

    #[test]
    fn nobody_wakes_a_worker_without_legs() {
        let start = now();
        let mut beats = Beats::<u8>::new(start);
        assert_eq!(beats.next_due(), None);
        assert_eq!(beats.pop(start + 7 * MS, &mut Vec::new()), None);

        beats.add(1);
        assert_eq!(beats.next_due(), Some(start + 8 * MS));
    }

    #[test]
    fn a_late_worker_makes_up_for_100_ms_and_counts_the_rest() {
        let start = now();
        let mut beats = Beats::new(start);
        beats.add('a');
        let mut legs = Vec::new();
        assert_eq!(beats.pop(start, &mut legs), Some(start));

        let late = start + 1_000 * MS;
        let made_up = std::iter::from_fn(|| beats.pop(late, &mut legs)).count();

        assert_eq!((made_up, beats.left_out()), (6, 44), "at 900, 920 .. 1000 ms");
        assert_eq!(beats.next_due(), Some(late + 20 * MS), "and goes on in its old rhythm");
    }

    /// Which leg was due after how many milliseconds.
    fn run(beats: &mut Beats<u32>, start: Instant, length: u32) -> Vec<(u32, u32)> {
        let mut log = Vec::new();
        let mut legs = Vec::new();
        for at in 0..length {
            while beats.pop(start + MS * at, &mut legs).is_some() {
                log.extend(legs.iter().map(|leg| (at, *leg)));
            }
        }
        log
    }

    #[expect(clippy::disallowed_methods, reason = "the one question to the clock, for the beginning")]
    fn now() -> Instant {
        Instant::now()
    }
}
