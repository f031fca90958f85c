//! So many times a second, and no more.

use std::time::{Duration, Instant};

/// What may be done a limited number of times in a second.
#[derive(Debug)]
pub(crate) struct Budget {
    a_second: u32,
    left: u32,
    /// When the second that is running began.
    since: Option<Instant>,
}

impl Budget {
    pub(crate) fn new(a_second: u32) -> Self {
        Self { a_second, left: a_second, since: None }
    }

    /// Whether it may be done once more at `now`.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let is_over = |since: Instant| now.saturating_duration_since(since) >= Duration::from_secs(1);
        if self.since.is_none_or(is_over) {
            (self.since, self.left) = (Some(now), self.a_second);
        }
        let may = self.left > 0;
        self.left -= u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test asks once, for its beginning")]
    fn what_is_spent_comes_back_with_the_next_second() {
        let start = Instant::now();
        let mut budget = Budget::new(2);
        let mut takes = |millis| budget.take(start + Duration::from_millis(millis));

        assert_eq!(
            [0, 500, 999, 1000, 1001, 1999, 2500].map(&mut takes),
            [true, true, false, true, true, false, true]
        );
    }
}
