//! Counts of latencies, fine enough to tell a budget of a millisecond from its miss: 32 buckets to every doubling.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::time::Duration;

use serde::{Serialize, Serializer};

/// Buckets of each doubling, as a power of two.
const FINENESS: u32 = 5;
/// Half a minute of nanoseconds and more.
const DOUBLINGS: u32 = 36;

/// Latencies, or other lengths of time, each known to three in a hundred.
#[derive(Debug, Clone)]
pub struct Latency {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self { counts: vec![0; (DOUBLINGS << FINENESS) as usize], total: 0, max: 0 }
    }
}

impl Latency {
    /// Counts one.
    pub fn count(&mut self, length: Duration) {
        let nanoseconds = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bucket_of(nanoseconds).min(self.counts.len() - 1);
        self.counts[bucket] += 1;
        self.total += 1;
        self.max = self.max.max(nanoseconds);
    }

    /// How many were counted.
    pub fn counted(&self) -> u64 {
        self.total
    }

    /// So many of a thousand are not longer; nothing when none was counted.
    pub fn permille(&self, permille: u64) -> Option<Duration> {
        let wanted = (self.total * permille).div_ceil(1000).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(Duration::from_nanos(end_of(bucket).min(self.max)))
    }

    /// The longest; nothing when none was counted.
    pub fn max(&self) -> Option<Duration> {
        (self.total > 0).then_some(Duration::from_nanos(self.max))
    }
}

/// Milliseconds.
#[derive(Serialize)]
struct Told {
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ms = |length: Option<Duration>| length.map(|length| length.as_micros() as f64 / 1e3);
        let (p50, p99) = (self.permille(500), self.permille(990));
        Told { p50_ms: ms(p50), p99_ms: ms(p99), max_ms: ms(self.max()) }.serialize(serializer)
    }
}

/// Below `1 << FINENESS` a bucket each; above, the position of the highest bit and the bits after it choose.
fn bucket_of(nanoseconds: u64) -> usize {
    let Some(shift) = nanoseconds.checked_ilog2().and_then(|highest| highest.checked_sub(FINENESS)) else {
        return nanoseconds as usize;
    };
    let within = nanoseconds >> shift & ((1 << FINENESS) - 1);
    (u64::from(shift + 1) << FINENESS | within) as usize
}

/// The longest that `bucket` counts.
fn end_of(bucket: usize) -> u64 {
    let (doubling, within) = (bucket >> FINENESS, bucket as u64 & ((1 << FINENESS) - 1));
    match doubling.checked_sub(1) {
        None => within,
        Some(shift) => (((1 << FINENESS | within) + 1) << shift) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_lies_in_a_bucket_that_ends_at_most_a_thirtieth_above_it() {
        for nanoseconds in (0..200).chain((0..200_000_000).step_by(997)) {
            let end = end_of(bucket_of(nanoseconds));
            assert!(end >= nanoseconds && end - nanoseconds <= nanoseconds / 30, "{nanoseconds}: {end}");
        }
    }

    #[test]
    fn buckets_follow_each_other_without_gap() {
        for bucket in 0..(DOUBLINGS - 1) as usize * 32 {
            assert_eq!(bucket_of(end_of(bucket)), bucket);
            assert_eq!(bucket_of(end_of(bucket) + 1), bucket + 1);
        }
    }

    #[test]
    fn permilles_are_those_of_what_was_counted() {
        let mut latency = Latency::default();
        assert_eq!((latency.permille(990), latency.max()), (None, None));

        (1..=1000).for_each(|ms| latency.count(Duration::from_millis(ms)));

        let p99 = latency.permille(990).unwrap();
        assert!((Duration::from_millis(990)..Duration::from_millis(1023)).contains(&p99), "{p99:?}");
        assert_eq!(latency.permille(1000), Some(Duration::from_secs(1)));
        assert_eq!(latency.max(), Some(Duration::from_secs(1)));
    }
}
