//! Telephone events that come in: RFC 4733 §2.5.2, one digit each, whatever of its packets was lost.
//!
//! All packets of one key press carry one timestamp. The digit is told at the first packet with the end
//! bit; or, where all of those are lost, when the next press begins or nothing came for [`PATIENCE`]. Packets
//! of a press that was told already are repeats. A press longer than 8 s goes on as a segment with the
//! timestamp at which the one before ended (§2.5.1.3) and is still one digit.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::DtmfDigit;
use crate::Digit;

/// How long after its last packet a press without an end is over.
const PATIENCE: Duration = Duration::from_millis(200);

/// The most digits that wait to be taken; more are lost, and nobody types that far ahead.
const WAITING: usize = 32;

/// See the head.
#[derive(Debug)]
pub(super) struct DtmfIn {
    press: Option<Press>,
    digits: VecDeque<DtmfDigit>,
    heard: u64,
    /// Ticks of a duration in a millisecond.
    per_ms: u32,
}

/// The latest press.
#[derive(Debug, Clone, Copy)]
struct Press {
    event: u8,
    timestamp: u32,
    /// Samples of this segment, and of the segments before it.
    duration: u32,
    before: u32,
    last: Instant,
    told: bool,
}

/// The four bytes of the payload (§2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventPayload {
    pub(super) event: u8,
    pub(super) end: bool,
    pub(super) duration: u16,
}

impl EventPayload {
    /// Nothing when it is shorter than four bytes. More follow in no known stack, and are left out.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let [event, flags, high, low] = *payload.first_chunk()?;
        Some(Self { event, end: flags & 0x80 != 0, duration: u16::from_be_bytes([high, low]) })
    }
}

impl DtmfIn {
    /// For events whose durations are told at this clock, in Hz.
    pub(super) fn new(clock: u32) -> Self {
        let per_ms = (clock / 1_000).max(1);
        Self { press: None, digits: VecDeque::with_capacity(WAITING), heard: 0, per_ms }
    }

    pub(super) fn switch_clock(&mut self, clock: u32) {
        self.per_ms = (clock / 1_000).max(1);
    }

    /// One packet. Events that are no digit (flash, tones of fax) end a press and are nothing themselves.
    pub(super) fn handle(&mut self, now: Instant, timestamp: u32, marker: bool, payload: EventPayload) {
        let duration = u32::from(payload.duration);
        match &mut self.press {
            Some(press) if press.timestamp == timestamp && press.event == payload.event => {
                press.last = now;
                press.duration = press.duration.max(duration);
            }
            // Of the press before, delayed on the way.
            Some(press) if timestamp.wrapping_sub(press.timestamp).cast_signed() < 0 => return,
            Some(press) if !marker && press.continues(timestamp, payload.event) => {
                press.before += timestamp.wrapping_sub(press.timestamp);
                press.timestamp = timestamp;
                press.duration = duration;
                press.last = now;
            }
            Some(_) | None => {
                self.tell();
                let event = payload.event;
                self.press = Some(Press { event, timestamp, duration, before: 0, last: now, told: false });
            }
        }
        if payload.end {
            self.tell();
        }
    }

    /// When an open press is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.press.as_ref().filter(|press| !press.told).map(|press| press.last + PATIENCE)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.tell();
        }
    }

    pub(super) fn next(&mut self) -> Option<DtmfDigit> {
        self.digits.pop_front()
    }

    /// Digits that were told.
    pub(super) fn heard(&self) -> u64 {
        self.heard
    }

    /// Another stream begins, with timestamps that say nothing about those of the old one.
    pub(super) fn restart(&mut self) {
        self.tell();
        self.press = None;
    }

    fn tell(&mut self) {
        let Some(press) = self.press.as_mut().filter(|press| !press.told) else { return };
        press.told = true;
        let Some(digit) = Digit::from_event(press.event) else { return };
        self.heard += 1;
        if self.digits.len() < WAITING {
            let duration_ms = (press.before + press.duration) / self.per_ms;
            self.digits.push_back(DtmfDigit { digit, duration_ms });
        }
    }
}

impl Press {
    /// The next segment of a long press begins where this one ended, at the most 0xFFFF after its own
    /// beginning; some of its last packets may be lost.
    fn continues(&self, timestamp: u32, event: u8) -> bool {
        let step = timestamp.wrapping_sub(self.timestamp);
        !self.told && event == self.event && (60_000..=0xFFFF).contains(&step) && step >= self.duration
    }
}
