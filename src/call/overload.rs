//! Too much to do: new calls are sent elsewhere while what came before them still waits, and not a moment longer.
//! ```text
//!            waits for HIGH, or the disk is full
//!   [open] ------------------------------------------> [shedding]    new calls get 503 with Retry-After, by a few
//!      ^                                                    |        bytes and no state; running ones go on
//!      +----------------------------------------------------+
//!            waits for less than LOW, or none comes for QUIET, and the disk is down to DRAINED of what it may hold
//! ```
//! What is measured is how long a message has waited until its turn came. Its limit lies far below T1 (RFC 3261
//! §17.1.1.1), so that callers do not repeat what they have said and make it worse; between the two marks there is
//! always something to do, so that little of what the machine can do is lost. This is local load shedding as RFC 6357 §5.2
//! and RFC 7339 §5.10.2 describe it.

use std::time::{Duration, Instant};

/// A message that waited so long finds an edge that has too much to do.
const HIGH: Duration = Duration::from_millis(100);
/// Once that was so, it is until one waited no longer than this.
const LOW: Duration = Duration::from_millis(20);
/// When nothing comes for so long after a message that waited, nothing waits.
const QUIET: Duration = Duration::from_secs(1);
/// Percent of the records that may wait for the disk, down to which it has to work before calls come again.
const DRAINED: u64 = 80;

/// What is behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Overload {
    /// Messages wait, unless none comes until then.
    waits: Option<Instant>,
    /// Records wait for the disk.
    disk: bool,
}

impl Overload {
    /// A message has waited for so long.
    pub(super) fn handle_wait(&mut self, now: Instant, waited: Duration) {
        let limit = if self.is_late() { LOW } else { HIGH };
        self.waits = (waited >= limit).then(|| now + QUIET);
    }

    /// When it is over without another message.
    pub(super) fn poll_timeout(self) -> Option<Instant> {
        self.waits
    }

    /// Time passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.waits = self.waits.filter(|until| now < *until);
    }

    /// So many records wait, of so many that may.
    pub(super) fn handle_unsaved(&mut self, unsaved: u64, most: u64) {
        let mark = if self.disk { most.saturating_mul(DRAINED) / 100 } else { most };
        self.disk = unsaved > mark;
    }

    /// Whether new calls are sent elsewhere because messages wait.
    pub(super) fn is_late(self) -> bool {
        self.waits.is_some()
    }

    /// Whether they are because the disk does not keep up.
    pub(super) fn is_full(self) -> bool {
        self.disk
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn between_the_marks_it_stays_as_it_is() {
        let mut overload = Overload::default();
        let mut late = Vec::new();

        for waited in [99, 100, 50, 20, 19, 50, 99, 100] {
            overload.handle_wait(now(), Duration::from_millis(waited));
            late.push(overload.is_late());
        }

        assert_eq!(late, [false, true, true, true, false, false, false, true]);
    }

    /// An edge that only places calls hears nothing until it places the next one.
    #[test]
    fn one_late_message_and_silence_after_it_is_no_overload() {
        let now = now();
        let mut overload = Overload::default();

        overload.handle_wait(now, HIGH);
        let until = overload.poll_timeout().unwrap();
        overload.handle_timeout(until - Duration::from_millis(1));
        assert!(overload.is_late());
        overload.handle_timeout(until);

        assert!(!overload.is_late());
        assert_eq!((until - now, overload.poll_timeout()), (QUIET, None));
    }

    #[test]
    fn a_full_disk_lets_calls_in_again_when_a_fifth_of_it_is_done() {
        let mut overload = Overload::default();
        let mut full = Vec::new();

        for unsaved in [1000, 1001, 900, 801, 800, 1000] {
            overload.handle_unsaved(unsaved, 1000);
            full.push(overload.is_full());
        }

        assert_eq!(full, [false, true, true, true, false, false]);
    }

    /// 2 ms a call, 30 µs a refusal: nearly as many calls as it could take alone, whatever comes.
    #[test]
    fn at_twice_and_five_times_of_what_it_can_do_it_does_most_of_it_and_nobody_waits_long() {
        let (call, refusal) = (Duration::from_micros(2000), Duration::from_micros(30));
        for (times, least) in [(1, 99), (2, 95), (5, 90)] {
            let start = self::now();
            let between = call / times;
            let (mut overload, mut now, mut came) = (Overload::default(), Duration::ZERO, Duration::ZERO);
            let (mut queue, mut taken, mut longest) = (VecDeque::new(), 0, Duration::ZERO);
            let end = Duration::from_secs(20);
            while now < end {
                while came <= now {
                    queue.push_back(came);
                    came += between;
                }
                let Some(since) = queue.pop_front() else {
                    now = came;
                    continue;
                };
                longest = longest.max(now - since);
                overload.handle_wait(start + now, now - since);
                taken += u32::from(!overload.is_late());
                now += if overload.is_late() { refusal } else { call };
            }

            let possible = u32::try_from(end.as_micros() / call.as_micros()).unwrap();
            assert!(taken * 100 >= possible * least, "{times} times: {taken} of {possible}");
            assert!(longest < HIGH + 2 * call, "{longest:?}");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the one question to the clock, for the beginning")]
    fn now() -> Instant {
        Instant::now()
    }
}
