//! Telephone events that we send: RFC 4733 §2.5.1.
//!
//! ```text
//!             next in the queue                 duration reached
//!   [Quiet] ---------------------> [Sounding] ------------------> [Ending] twice again
//!      ^                             a packet a beat                 |
//!      +------------- 3 beats of audio <-- [Pausing] <---------------+
//! ```
//!
//! All packets of a digit have the timestamp of its first one, the first has the marker, the duration grows
//! by 160 a beat, and the last one is sent three times in all. Between two digits there are at least 60 ms.

use std::collections::VecDeque;
use std::time::Duration;

use super::DtmfRefused;
use crate::{Digit, SAMPLES_PER_BEAT};

/// The most digits that wait.
const WAITING: usize = 32;

/// Repeats of the last packet.
const REPEATS: u8 = 2;

/// Beats between two digits.
const PAUSE: u8 = 3;

/// What receivers still take for a key (ITU-T Q.24), and what fits into the 16 bits of a duration.
const SHORTEST: Duration = Duration::from_millis(40);
const LONGEST: Duration = Duration::from_millis(8_000);

/// -10 dBm0, in the words of §2.3.4.
const VOLUME: u8 = 10;

/// See the head.
#[derive(Debug)]
pub(super) struct DtmfOut {
    queue: VecDeque<(Digit, u16)>,
    state: State,
    sent: u64,
    /// Ticks of a duration in 1/8,000 s.
    scale: u16,
}

/// The head draws it.
#[derive(Debug, Clone, Copy)]
enum State {
    Quiet,
    Sounding { digit: Digit, timestamp: u32, elapsed: u16, total: u16 },
    Ending { digit: Digit, timestamp: u32, total: u16, left: u8 },
    Pausing { beats: u8 },
}

/// What one beat sends instead of audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventPacket {
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload: [u8; 4],
}

impl DtmfOut {
    /// For events whose durations are told at this clock, in Hz.
    pub(super) fn new(clock: u32) -> Self {
        let scale = scale_of(clock);
        Self { queue: VecDeque::with_capacity(WAITING), state: State::Quiet, sent: 0, scale }
    }

    pub(super) fn switch_clock(&mut self, clock: u32) {
        self.scale = scale_of(clock);
    }

    pub(super) fn push(&mut self, digit: Digit, duration: Duration) -> Result<(), DtmfRefused> {
        if self.queue.len() == WAITING {
            return Err(DtmfRefused::Full);
        }
        let milliseconds = duration.clamp(SHORTEST, LONGEST).as_millis();
        let units = u16::try_from(milliseconds * 8).unwrap_or(u16::MAX);
        // A faster clock fills the 16 bits of a duration sooner.
        self.queue.push_back((digit, units.min(u16::MAX / self.scale)));
        Ok(())
    }

    /// The peer takes no events any more.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.state = State::Quiet;
    }

    /// The packet of this beat, whose audio would have `timestamp`.
    pub(super) fn next(&mut self, timestamp: u32) -> Option<EventPacket> {
        match self.state {
            State::Quiet => {
                let (digit, total) = self.queue.pop_front()?;
                Some(self.sound(digit, timestamp, 0, total, true))
            }
            State::Sounding { digit, timestamp, elapsed, total } => {
                Some(self.sound(digit, timestamp, elapsed, total, false))
            }
            State::Ending { digit, timestamp, total, left } => {
                self.state = match left {
                    0 | 1 => State::Pausing { beats: PAUSE },
                    _ => State::Ending { digit, timestamp, total, left: left - 1 },
                };
                Some(packet(digit, timestamp, total.saturating_mul(self.scale), true, false))
            }
            State::Pausing { beats } => {
                self.state = match beats {
                    0 | 1 => State::Quiet,
                    _ => State::Pausing { beats: beats - 1 },
                };
                None
            }
        }
    }

    /// Digits sent to their end.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    fn sound(&mut self, digit: Digit, timestamp: u32, elapsed: u16, total: u16, marker: bool) -> EventPacket {
        let elapsed = elapsed.saturating_add(SAMPLES_PER_BEAT as u16);
        if elapsed < total {
            self.state = State::Sounding { digit, timestamp, elapsed, total };
            return packet(digit, timestamp, elapsed.saturating_mul(self.scale), false, marker);
        }
        self.sent += 1;
        self.state = State::Ending { digit, timestamp, total, left: REPEATS };
        packet(digit, timestamp, total.saturating_mul(self.scale), true, marker)
    }
}

fn scale_of(clock: u32) -> u16 {
    u16::try_from(clock / 8_000).unwrap_or(1).max(1)
}

fn packet(digit: Digit, timestamp: u32, duration: u16, end: bool, marker: bool) -> EventPacket {
    let [high, low] = duration.to_be_bytes();
    let flags = VOLUME | if end { 0x80 } else { 0 };
    EventPacket { timestamp, marker, payload: [digit.event(), flags, high, low] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_of_100_ms_is_five_growing_packets_with_the_last_one_three_times() {
        let mut out = DtmfOut::new(8_000);
        out.push(five(), Duration::from_millis(100)).unwrap();

        let packets: Vec<_> = (0..7).map(|beat| out.next(1_000 + 160 * beat).unwrap()).collect();

        assert!(packets.iter().all(|packet| packet.timestamp == 1_000));
        let markers: Vec<_> = packets.iter().map(|packet| packet.marker).collect();
        assert_eq!(markers, [true, false, false, false, false, false, false]);
        let payloads: Vec<_> = packets.iter().map(|packet| packet.payload).collect();
        let growing =
            [160, 320, 480, 640].map(|duration: u16| [5, 10, (duration >> 8) as u8, duration as u8]);
        assert_eq!(payloads[..4], growing);
        assert_eq!(payloads[4..], [[5, 0x8A, 0x03, 0x20]; 3]);
        assert_eq!(out.next(0), None);
    }

    #[test]
    fn two_digits_have_at_least_50_ms_of_audio_between() {
        let mut out = DtmfOut::new(8_000);
        out.push(five(), Duration::from_millis(40)).unwrap();
        out.push(five(), Duration::from_millis(40)).unwrap();

        let beats: Vec<_> = (0..12).map(|beat| out.next(160 * beat).map(|packet| packet.timestamp)).collect();

        let (one, two) = (Some(0), Some(7 * 160));
        assert_eq!(beats, [one, one, one, one, None, None, None, two, two, two, two, None]);
    }

    #[test]
    fn durations_are_kept_within_what_can_be_heard_and_written() {
        for (asked, heard) in [(0, 320_u16), (40, 320), (250, 2_000), (60_000, 64_000)] {
            let mut out = DtmfOut::new(8_000);
            out.push(five(), Duration::from_millis(asked)).unwrap();

            let last = std::iter::from_fn(|| out.next(0)).last().unwrap();

            assert_eq!(last.payload[2..], heard.to_be_bytes(), "{asked} ms");
        }
    }

    #[test]
    fn the_33rd_waiting_digit_is_refused() {
        let mut out = DtmfOut::new(8_000);

        let taken = (0..40).take_while(|_| out.push(five(), SHORTEST).is_ok()).count();

        assert_eq!(taken, 32);
        assert_eq!(out.push(five(), SHORTEST), Err(DtmfRefused::Full));
    }

    fn five() -> Digit {
        Digit::try_from('5').unwrap()
    }
}
