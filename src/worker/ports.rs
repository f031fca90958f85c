//! Pairs of UDP ports for RTP and RTCP (RFC 3550 §11: RTP even, RTCP the next one).
//!
//! A pair given back rests before it is used again, so that packets of an old call that are still under way
//! meet nobody. A pair that somebody outside of us holds rests as well.
//! ```text
//!   free --- take ---> in use --- give back, refused ---> resting --- quarantine over ---> free
//! ```
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// The pairs of one worker.
#[derive(Debug)]
pub(super) struct PortPool {
    free: VecDeque<u16>,
    /// By the time they gave up their call, so the oldest is in front.
    resting: VecDeque<(Instant, u16)>,
    quarantine: Duration,
    in_use: usize,
}

impl PortPool {
    /// All pairs that lie in `range` whole. `seed` chooses with which to begin, so that a restart does not
    /// meet the packets of the run before.
    pub(super) fn new(range: RangeInclusive<u16>, quarantine: Duration, seed: u64) -> Self {
        let mut free: VecDeque<u16> =
            range.clone().filter(|port| port % 2 == 0 && *port < *range.end()).collect();
        if !free.is_empty() {
            let begin = seed % free.len() as u64;
            free.rotate_left(usize::try_from(begin).unwrap_or(0));
        }
        Self { free, resting: VecDeque::new(), quarantine, in_use: 0 }
    }

    /// The RTP port of the pair that rested longest; nothing when all are in use or resting.
    pub(super) fn take(&mut self, now: Instant) -> Option<u16> {
        while let Some((since, port)) = self.resting.front().copied() {
            if now.saturating_duration_since(since) < self.quarantine {
                break;
            }
            self.resting.pop_front();
            self.free.push_back(port);
        }
        let port = self.free.pop_front()?;
        self.in_use += 1;
        Some(port)
    }

    /// The pair is no longer used: its call is over, or the system would not give it to us.
    pub(super) fn give_back(&mut self, now: Instant, port: u16) {
        debug_assert!(self.in_use > 0, "only what was taken is given back");
        self.in_use = self.in_use.saturating_sub(1);
        self.resting.push_back((now, port));
    }

    /// Pairs that were taken.
    pub(super) fn in_use(&self) -> usize {
        self.in_use
    }

    /// Pairs that rest, some of them perhaps long enough by now.
    pub(super) fn resting(&self) -> usize {
        self.resting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARANTINE: Duration = Duration::from_secs(30);

    #[test]
    fn pairs_are_even_whole_and_each_given_once() {
        let mut pool = PortPool::new(10_001..=10_010, QUARANTINE, 0);

        let mut taken: Vec<u16> = std::iter::from_fn(|| pool.take(now())).collect();

        taken.sort_unstable();
        assert_eq!(taken, [10_002, 10_004, 10_006, 10_008], "10010 has no partner");
        assert_eq!(pool.in_use(), 4);
    }

    #[test]
    fn a_pair_is_not_used_again_before_it_has_rested() {
        let start = now();
        let mut pool = PortPool::new(10_000..=10_003, QUARANTINE, 0);
        let first = pool.take(start).unwrap();
        let second = pool.take(start).unwrap();

        pool.give_back(start, first);
        assert_eq!(pool.take(start + QUARANTINE - Duration::from_millis(1)), None);
        pool.give_back(start + Duration::from_secs(1), second);

        assert_eq!(pool.take(start + QUARANTINE), Some(first));
        assert_eq!(pool.take(start + QUARANTINE), None, "the other one rests a second longer");
        assert_eq!(pool.take(start + QUARANTINE + Duration::from_secs(1)), Some(second));
        assert_eq!((pool.in_use(), pool.resting()), (2, 0));
    }

    #[test]
    fn the_seed_chooses_the_beginning() {
        let first = |seed| PortPool::new(10_000..=10_999, QUARANTINE, seed).take(now()).unwrap();

        assert_eq!(first(0), 10_000);
        assert_eq!(first(3), 10_006);
        assert_eq!(first(503), 10_006, "it wraps");
    }

    #[test]
    fn an_empty_range_has_no_pair() {
        #[expect(clippy::reversed_empty_ranges, reason = "what a wrong configuration may say")]
        let range = 10..=9;
        assert_eq!(PortPool::new(range, QUARANTINE, 7).take(now()), None);
        assert_eq!(PortPool::new(65_535..=65_535, QUARANTINE, 7).take(now()), None);
    }

    #[expect(clippy::disallowed_methods, reason = "the one question to the clock, for the beginning")]
    fn now() -> Instant {
        Instant::now()
    }
}
