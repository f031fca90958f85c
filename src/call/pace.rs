//! Calls a second: a bucket that fills evenly and holds one second's worth, kept as the one moment at which it will be
//! full again (the generic cell rate algorithm of ITU-T I.371).

use std::time::{Duration, Instant};

/// How fast new calls may come one after another.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    full_at: Option<Instant>,
}

impl Pace {
    /// How long a call has to wait; none when it may come now.
    pub(super) fn wait(self, now: Instant, per_second: u32) -> Option<Duration> {
        let room = Duration::from_secs(1).saturating_sub(interval(per_second));
        let missing = self.full_at?.saturating_duration_since(now);
        missing.checked_sub(room).filter(|wait| !wait.is_zero())
    }

    /// One more call.
    pub(super) fn count(&mut self, now: Instant, per_second: u32) {
        let from = self.full_at.map_or(now, |at| at.max(now));
        self.full_at = Some(from + interval(per_second));
    }
}

fn interval(per_second: u32) -> Duration {
    Duration::from_secs(1) / per_second.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_worth_may_come_at_once_and_then_one_an_interval() {
        let begin = beginning();
        let mut pace = Pace::default();
        let mut taken = Vec::new();

        for ms in (0..1000).step_by(10) {
            let now = begin + Duration::from_millis(ms);
            if pace.wait(now, 5).is_none() {
                pace.count(now, 5);
                taken.push(ms);
            }
        }

        assert_eq!(taken, [0, 10, 20, 30, 40, 200, 400, 600, 800]);
    }

    #[test]
    fn the_wait_is_exact_and_a_long_rest_gives_no_more_than_a_second_s_worth() {
        let begin = beginning();
        let mut pace = Pace::default();
        pace.count(begin, 1);

        assert_eq!(pace.wait(begin, 1), Some(Duration::from_secs(1)));
        assert_eq!(pace.wait(begin + Duration::from_millis(600), 1), Some(Duration::from_millis(400)));
        let later = begin + Duration::from_secs(3600);
        assert_eq!(pace.wait(later, 1), None);
        pace.count(later, 1);
        assert!(pace.wait(later, 1).is_some());
    }

    #[expect(clippy::disallowed_methods, reason = "a test asks the clock once, for its beginning")]
    fn beginning() -> Instant {
        Instant::now()
    }
}
