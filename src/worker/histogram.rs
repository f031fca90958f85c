//! How long the edge kept a frame: fixed buckets, so that counting costs nothing and a call takes 80 bytes.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::Duration;

/// Upper bounds in microseconds; a last bucket takes what is above.
const BOUNDS: [u32; 19] = [
    25, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 7_500, 10_000, 20_000,
    50_000,
];

/// What is told for the last bucket.
const ABOVE: u32 = 100_000;

/// Counts of lengths of time.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram {
    counts: [u32; BOUNDS.len() + 1],
}

impl Histogram {
    /// Counts one.
    pub(super) fn count(&mut self, length: Duration) {
        let micros = u32::try_from(length.as_micros()).unwrap_or(u32::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        self.counts[bucket] = self.counts[bucket].saturating_add(1);
    }

    /// The bound below which 99 of 100 lie, milliseconds; nothing when nothing was counted.
    pub(super) fn p99_ms(&self) -> Option<f32> {
        let total: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        let wanted = total - total / 100;
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            total > 0 && seen >= wanted
        })?;
        Some(BOUNDS.get(bucket).copied().unwrap_or(ABOVE) as f32 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_percentile_is_told_as_the_bound_above_it() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.p99_ms(), None);

        for _ in 0..99 {
            histogram.count(Duration::from_micros(60));
        }
        assert_eq!(histogram.p99_ms(), Some(0.075));
        histogram.count(Duration::from_secs(4));
        assert_eq!(histogram.p99_ms(), Some(0.075), "one in a hundred may be slow");
        histogram.count(Duration::from_micros(20_000));
        assert_eq!(histogram.p99_ms(), Some(20.0), "two may not");
    }
}
