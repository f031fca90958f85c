//! The reorder window on the way up: packets in, frames out in their order.
//!
//! ```text
//!   received   12 13 .. 15        14
//!   out        12 13    (waits)   14 15      14 came within `wait`
//!   out        12 13    (waits..) 15!        it did not: 15 goes out with `discontinuity`
//! ```
//!
//! In order, a frame passes at once. Behind a gap frames wait, the first of them at most `wait`. That follows what the
//! network does: packets that overtake each other, or come after they were given up, make it long enough for the likes of
//! them; gaps that nothing came for make it shorter. What comes after its turn is late, what comes again is a duplicate. There are 16 places; when they are full the
//! gap is given up, so whoever takes frames after each packet never sees the window refuse one.
//!
//! Packets without audio (telephone events, comfort noise, keep-alives) take part by their number only.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Discard;
use crate::Codec;

/// Places in the window, 320 ms of ordinary packets.
const PLACES: usize = 16;

/// How much longer is waited than a packet needed that was overtaken.
const SPARE: Duration = Duration::from_millis(5);

/// The most audio of one packet: 60 ms at one byte a sample.
pub(super) const PAYLOAD_MAX: usize = 480;

/// A frame as it waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) number: u32,
    pub(super) media_time: u32,
    pub(super) arrived: Instant,
    pub(super) marker: bool,
    pub(super) discontinuity: bool,
    /// Packets right before it that never came; known when it is taken.
    pub(super) missing: u32,
    /// Of the audio.
    pub(super) codec: Codec,
    pub(super) content: Content,
}

/// What a packet brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Audio in a slot.
    Audio { slot: u8, length: u16 },
    /// Nothing, and nothing is missed.
    Nothing,
    /// Nothing, although there was audio in it.
    Unusable,
}

/// See the head.
#[derive(Debug)]
pub(super) struct Window {
    /// In the order of their numbers.
    frames: VecDeque<Frame>,
    slots: Box<[[u8; PAYLOAD_MAX]; PLACES]>,
    /// One bit a slot.
    free: u16,
    /// The number whose turn it is.
    next: u32,
    /// Which of the 64 numbers before `next` came, the nearest in the lowest bit.
    came: u64,
    /// Another stream began with this number: gaps before it are given up at once.
    begun: Option<u32>,
    /// Something is missing before the next frame.
    broken: bool,
    wait: Duration,
    bounds: Wait,
    /// The gap given up last: its first number, and when the first frame behind it came.
    given_up: Option<(u32, Instant)>,
}

/// How long a gap waits for what is missing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    /// In a network that overtakes nothing.
    pub(super) least: Duration,
    pub(super) most: Duration,
}

impl Window {
    pub(super) fn new(bounds: Wait) -> Self {
        Self {
            frames: VecDeque::with_capacity(PLACES),
            slots: Box::new([[0; PAYLOAD_MAX]; PLACES]),
            free: u16::MAX,
            next: 0,
            came: 0,
            begun: None,
            broken: false,
            wait: (2 * bounds.least).min(bounds.most),
            bounds,
            given_up: None,
        }
    }

    /// A stream begins; answers the number of its first packet. What waits of the one before goes out
    /// without waiting for its gaps.
    pub(super) fn begin(&mut self) -> u32 {
        let number = self.frames.back().map_or(self.next, |last| last.number.wrapping_add(1));
        self.begun = Some(number);
        number
    }

    /// The slot for the next audio, nothing when the window is full.
    pub(super) fn slot(&mut self) -> Option<(u8, &mut [u8; PAYLOAD_MAX])> {
        let slot = self.free.trailing_zeros() as usize;
        self.slots.get_mut(slot).map(|bytes| (slot as u8, bytes))
    }

    /// Whether this number is still wanted; to be asked before a slot is filled.
    pub(super) fn admit(&mut self, now: Instant, number: u32) -> Result<(), Discard> {
        let ahead = number.wrapping_sub(self.next).cast_signed();
        if ahead < 0 {
            let back = ahead.unsigned_abs() - 1;
            let came = back < 64 && self.came >> back & 1 == 1;
            let missed = self.given_up.filter(|(first, _)| !came && !is_later(*first, number));
            if let Some((_, since)) = missed {
                self.needed(now.saturating_duration_since(since));
            }
            return Err(if came { Discard::Duplicate } else { Discard::Late });
        }
        if self.frames.iter().any(|frame| frame.number == number) {
            return Err(Discard::Duplicate);
        }
        if self.frames.len() == PLACES {
            return Err(Discard::WindowFull);
        }
        Ok(())
    }

    /// Adds a frame that was admitted. Answers whether it came before one that was here already.
    pub(super) fn insert(&mut self, frame: Frame) -> bool {
        match frame.content {
            Content::Audio { slot, .. } => self.free &= !(1 << slot),
            // Whose turn it is and who has nothing to say need not wait to be taken.
            Content::Nothing | Content::Unusable if self.frames.is_empty() && frame.number == self.next => {
                self.pass(&frame);
                return false;
            }
            Content::Nothing | Content::Unusable => {}
        }
        let later = |other: &&Frame| is_later(other.number, frame.number);
        let overtaken = self.frames.iter().rev().take_while(later).count();
        if overtaken > 0
            && let Some(first) = self.first_arrival()
        {
            self.needed(frame.arrived.saturating_duration_since(first));
        }
        self.frames.insert(self.frames.len() - overtaken, frame);
        overtaken > 0
    }

    /// The frame whose turn it is.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Frame, &[u8])> {
        loop {
            let front = self.frames.front()?;
            let missing = front.number.wrapping_sub(self.next);
            if missing > 0 {
                let hopeless = self.begun.is_some_and(|first| !is_later(front.number, first));
                if !hopeless && self.frames.len() < PLACES && now < self.patience()? {
                    return None;
                }
                self.came = self.came.checked_shl(missing).unwrap_or(0);
                self.broken = true;
                self.give_up();
            }
            let mut frame = self.frames.pop_front()?;
            frame.missing = missing;
            self.pass(&frame);
            if let Content::Audio { slot, length } = frame.content {
                self.free |= 1 << slot;
                frame.discontinuity |= std::mem::take(&mut self.broken);
                return Some((frame, &self.slots[usize::from(slot)][..usize::from(length)]));
            }
        }
    }

    /// When the gap before the waiting frames is given up; nothing when nothing waits.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.frames.front().filter(|front| front.number != self.next)?;
        self.patience()
    }

    /// The turn goes on to the number after this frame's.
    fn pass(&mut self, frame: &Frame) {
        self.next = frame.number.wrapping_add(1);
        self.begun.take_if(|first| !is_later(*first, frame.number));
        self.came = self.came << 1 | 1;
        self.broken |= frame.content == Content::Unusable;
    }

    /// The frame that came first decides, wherever it stands.
    fn patience(&self) -> Option<Instant> {
        self.first_arrival().map(|first| first + self.wait)
    }

    fn first_arrival(&self) -> Option<Instant> {
        self.frames.iter().map(|frame| frame.arrived).min()
    }

    /// A packet was overtaken and came so long after the first one behind it.
    fn needed(&mut self, time: Duration) {
        self.wait = self.wait.max(time + SPARE).min(self.bounds.most);
    }

    /// Nothing came for a gap: the next one is not waited for so long, by an eighth of what is beyond the least.
    fn give_up(&mut self) {
        self.given_up = self.first_arrival().map(|first| (self.next, first));
        self.wait = self.wait.saturating_sub(self.wait.saturating_sub(self.bounds.least) / 8);
    }
}

fn is_later(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(60);

    #[test]
    fn frames_in_order_pass_at_once() {
        let (start, mut window) = window();

        for number in 0..100 {
            add(&mut window, start, number).unwrap();
            assert_eq!(drain(&mut window, start), [(number, false)]);
        }
    }

    #[test]
    fn frames_that_overtook_each_other_come_out_in_order_without_a_break() {
        let (start, mut window) = window();
        let mut out = Vec::new();
        for number in [0, 2, 3, 1, 5, 4] {
            add(&mut window, start, number).unwrap();
            out.extend(drain(&mut window, start));
        }

        assert_eq!(out, [0, 1, 2, 3, 4, 5].map(|number| (number, false)));
    }

    #[test]
    fn a_gap_waits_for_its_time_counted_from_the_first_frame_behind_it() {
        let (start, mut window) = window();
        add(&mut window, start, 0).unwrap();
        drain(&mut window, start);
        add(&mut window, start, 3).unwrap();
        add(&mut window, start + WAIT / 2, 2).unwrap();

        assert_eq!(window.deadline(), Some(start + WAIT));
        assert_eq!(drain(&mut window, start + WAIT - Duration::from_millis(1)), []);

        assert_eq!(drain(&mut window, start + WAIT), [(2, true), (3, false)]);
        assert_eq!(window.deadline(), None);
    }

    #[test]
    fn late_ones_and_duplicates_are_told_apart() {
        let (start, mut window) = window();
        for number in [0, 2] {
            add(&mut window, start, number).unwrap();
        }
        drain(&mut window, start + WAIT);

        assert_eq!(add(&mut window, start, 1), Err(Discard::Late));
        assert_eq!(add(&mut window, start, 2), Err(Discard::Duplicate));
        assert_eq!(add(&mut window, start, 0), Err(Discard::Duplicate));
        add(&mut window, start, 4).unwrap();
        assert_eq!(add(&mut window, start, 4), Err(Discard::Duplicate));
        assert_eq!(add(&mut window, start, 3), Ok(()));
    }

    #[test]
    fn a_full_window_gives_its_gap_up() {
        let (start, mut window) = window();
        add(&mut window, start, 0).unwrap();
        drain(&mut window, start);
        for number in 2..18 {
            assert_eq!(drain(&mut window, start), [], "before {number}");
            add(&mut window, start, number).unwrap();
        }
        assert_eq!(add(&mut window, start, 18), Err(Discard::WindowFull));

        let out = drain(&mut window, start);

        assert_eq!(out.len(), 16);
        assert_eq!(out[0], (2, true));
        assert!(out[1..].iter().all(|(_, broken)| !broken));
    }

    #[test]
    fn packets_without_audio_close_gaps_and_unusable_ones_leave_a_break() {
        let (start, mut window) = window();
        for (number, content) in [(0, Content::Nothing), (1, Content::Unusable)] {
            window.insert(frame(start, number, content));
        }
        add(&mut window, start, 2).unwrap();
        add(&mut window, start, 3).unwrap();

        assert_eq!(drain(&mut window, start), [(2, true), (3, false)]);
    }

    #[test]
    fn a_new_stream_follows_what_waits_of_the_old_one() {
        let (start, mut window) = window();
        add(&mut window, start, 0).unwrap();
        drain(&mut window, start);
        add(&mut window, start, 3).unwrap();

        let first = window.begin();
        add(&mut window, start, first).unwrap();

        assert_eq!(drain(&mut window, start), [(3, true), (first, false)]);
    }

    #[test]
    fn the_wait_grows_to_what_overtaken_packets_need_and_shrinks_where_gaps_stay_empty() {
        let (least, most) = (Duration::from_millis(10), Duration::from_millis(60));
        let (start, mut window) = (start(), Window::new(Wait { least, most }));
        let mut now = start;
        add(&mut window, now, 0).unwrap();
        drain(&mut window, now);
        // Overtaken by 30 ms, then by far too much.
        add(&mut window, now, 2).unwrap();
        now += Duration::from_millis(15);
        add(&mut window, now, 1).unwrap();
        assert_eq!(window.wait, Duration::from_millis(20), "what it waits is enough");
        drain(&mut window, now);
        add(&mut window, now, 4).unwrap();
        now += Duration::from_millis(40);
        assert_eq!(drain(&mut window, now), [(4, true)]);
        assert_eq!(add(&mut window, now, 3), Err(Discard::Late));
        assert_eq!(window.wait, Duration::from_millis(45), "3 came 40 ms after 4");

        for number in (6..200).step_by(2) {
            now += most;
            add(&mut window, now, number).unwrap();
            assert_eq!(drain(&mut window, now + most), [(number, true)]);
        }

        assert!(window.wait < least + Duration::from_millis(1), "{:?}", window.wait);
        assert_eq!(window.deadline(), None);
    }

    #[test]
    fn numbers_may_wrap() {
        let (start, mut window) = window();
        window.next = u32::MAX - 1;
        let mut out = Vec::new();
        for number in [u32::MAX - 1, 0, u32::MAX, 2] {
            add(&mut window, start, number).unwrap();
            out.extend(drain(&mut window, start));
        }
        out.extend(drain(&mut window, start + WAIT));

        assert_eq!(out, [(u32::MAX - 1, false), (u32::MAX, false), (0, false), (2, true)]);
    }

    fn window() -> (Instant, Window) {
        (start(), Window::new(Wait { least: WAIT, most: WAIT }))
    }

    #[expect(clippy::disallowed_methods, reason = "a test asks once, for its beginning")]
    fn start() -> Instant {
        Instant::now()
    }

    fn add(window: &mut Window, now: Instant, number: u32) -> Result<(), Discard> {
        window.admit(now, number)?;
        let (slot, bytes) = window.slot().unwrap();
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        window.insert(frame(now, number, Content::Audio { slot, length: 4 }));
        Ok(())
    }

    fn frame(arrived: Instant, number: u32, content: Content) -> Frame {
        let codec = Codec::Pcmu;
        Frame {
            number,
            media_time: 0,
            arrived,
            marker: false,
            discontinuity: false,
            missing: 0,
            codec,
            content,
        }
    }

    fn drain(window: &mut Window, now: Instant) -> Vec<(u32, bool)> {
        let mut out = Vec::new();
        while let Some((frame, audio)) = window.take(now) {
            assert_eq!(audio, frame.number.to_be_bytes());
            out.push((frame.number, frame.discontinuity));
        }
        out
    }
}
