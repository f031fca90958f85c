//! The peer's timestamps as one time line that only goes forward, in units of 1/8,000 s whatever the codec's clock.
//!
//! A timestamp begins anywhere, wraps after six days, jumps when a stream is replaced, and in some stacks
//! stands still during hold or starts over in the middle. As long as it agrees with the arrival of packets
//! within [`TOLERANCE`], it is believed; where it does not, the time that passed here takes its place.

use std::time::{Duration, Instant};

/// Beyond this difference to the time that passed, a timestamp means something else than time.
const TOLERANCE: i64 = 5 * 8_000;

/// See the head.
#[derive(Debug, Default)]
pub(super) struct MediaClock {
    last: Option<Last>,
    /// Where another stream's first packet belongs.
    anew: Option<u32>,
}

/// The newest packet.
#[derive(Debug, Clone, Copy)]
struct Last {
    timestamp: u32,
    media_time: u32,
    samples: u32,
    arrived: Instant,
}

impl MediaClock {
    /// The next packet begins a stream with timestamps of its own.
    pub(super) fn restart(&mut self, now: Instant) {
        self.anew = self.last.map(|last| last.after(now));
    }

    /// The media time of the newest packet, and whether the timestamp had to be left aside.
    /// `samples`: how long it lasts, in units; `scale`: ticks of the timestamp in a unit.
    pub(super) fn newest(&mut self, now: Instant, timestamp: u32, samples: u32, scale: u32) -> (u32, bool) {
        let (media_time, jumped) = match (self.last, self.anew.take()) {
            (None, _) => (0, false),
            (Some(_), Some(chosen)) => (chosen, true),
            (Some(last), None) => {
                let step = timestamp.wrapping_sub(last.timestamp).cast_signed() / scale.max(1).cast_signed();
                let passed = samples_in(now, last.arrived);
                if step < 0 || (i64::from(step) - i64::from(passed)).abs() > TOLERANCE {
                    (last.after(now), true)
                } else {
                    (last.media_time.wrapping_add(step.unsigned_abs()), false)
                }
            }
        };
        self.last = Some(Last { timestamp, media_time, samples, arrived: now });
        (media_time, jumped)
    }

    /// The media time of a packet that came after newer ones.
    pub(super) fn older(&self, timestamp: u32, scale: u32) -> u32 {
        match self.last {
            Some(last) => last.media_time.wrapping_sub(last.timestamp.wrapping_sub(timestamp) / scale.max(1)),
            None => 0,
        }
    }
}

impl Last {
    /// Where audio belongs that arrives `now` and says nothing of use about it.
    fn after(self, now: Instant) -> u32 {
        self.media_time.wrapping_add(self.samples.max(samples_in(now, self.arrived)))
    }
}

/// Samples at 8,000 Hz from `since` to `now`; none when time went back.
fn samples_in(now: Instant, since: Instant) -> u32 {
    let passed: Duration = now.saturating_duration_since(since);
    u32::try_from(passed.as_micros() * 8 / 1_000).unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_time_follows_the_timestamps_through_their_wrap() {
        let (start, mut clock) = clock();
        let first = u32::MAX - 200;

        let times: Vec<_> = (0..4)
            .map(|packet| {
                clock.newest(start + ms(20 * u64::from(packet)), first.wrapping_add(160 * packet), 160, 1)
            })
            .collect();

        assert_eq!(times, [(0, false), (160, false), (320, false), (480, false)]);
        assert_eq!(clock.older(first.wrapping_add(320), 1), 320);
    }

    #[test]
    fn suppressed_silence_is_a_step_and_no_jump() {
        let (start, mut clock) = clock();
        clock.newest(start, 1_000, 160, 1);

        assert_eq!(clock.newest(start + ms(30_000), 241_000, 160, 1), (240_000, false));
    }

    #[test]
    fn timestamps_that_stood_still_or_start_over_are_replaced_by_the_time_that_passed() {
        let (start, mut clock) = clock();
        clock.newest(start, 5_000_000, 160, 1);

        assert_eq!(clock.newest(start + ms(20_000), 5_000_160, 160, 1), (160_000, true), "stood still");
        assert_eq!(clock.newest(start + ms(20_020), 7, 160, 1), (160_160, true), "started over");
        assert_eq!(clock.newest(start + ms(20_040), 3_000_000_000, 160, 1), (160_320, true), "jumped");
        assert_eq!(clock.newest(start + ms(20_060), 3_000_000_160, 160, 1), (160_480, false), "goes on");
    }

    #[test]
    fn another_stream_goes_on_where_the_first_one_was() {
        let (start, mut clock) = clock();
        clock.newest(start, 77, 160, 1);
        clock.restart(start + ms(40));

        assert_eq!(clock.newest(start + ms(40), 900_000, 160, 1), (320, true));
    }

    #[test]
    fn a_clock_of_ours_that_stands_still_does_no_harm() {
        let (start, mut clock) = clock();
        clock.newest(start, 0, 160, 1);

        assert_eq!(clock.newest(start, 160, 160, 1), (160, false));
        assert_eq!(clock.newest(start - ms(10), 320, 160, 1), (320, false));
    }

    #[expect(clippy::disallowed_methods, reason = "a test asks once, for its beginning")]
    fn clock() -> (Instant, MediaClock) {
        (Instant::now() + ms(1_000), MediaClock::default())
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }
}
